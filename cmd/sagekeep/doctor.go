package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/sagekeep/sagekeep/internal/client"
	"github.com/sagekeep/sagekeep/internal/server"
)

// finding is one result of doctor; the fields are those of --json.
type finding struct {
	Check  string `json:"check"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Advice string `json:"advice,omitempty"`
}

func doctorCommand() *command {
	return &command{
		name: "doctor", short: "Look for problems with a data directory and its server",
		example: "sagekeep doctor --data-dir ./data\nsagekeep doctor --data-dir ./data --json",
		flags: func(f *flag.FlagSet) {
			f.String("data-dir", "", "`DIR` of the server")
			f.String("seal", "", "who holds the root key, as given to serve")
			f.Bool("json", false, "one JSON object a line")
		},
		run: func(ctx context.Context, f *flag.FlagSet, std stdio) error {
			dir := value(f, "data-dir")
			if dir == "" {
				return usagef("--data-dir is missing")
			}
			found := false
			enc := json.NewEncoder(std.out)
			enc.SetEscapeHTML(false)
			for _, r := range examine(ctx, dir, value(f, "seal")) {
				found = found || !r.OK
				if boolValue(f, "json") {
					if err := enc.Encode(r); err != nil {
						return err
					}
					continue
				}
				mark := "ok     "
				if !r.OK {
					mark = "problem"
				}
				fmt.Fprintf(std.out, "%s  %-12s %s\n", mark, r.Check, r.Detail)
				if r.Advice != "" {
					fmt.Fprintf(std.out, "         %-12s -> %s\n", "", r.Advice)
				}
			}
			if found {
				return errFound
			}
			return nil
		},
	}
}

// examine runs every check that makes sense for dir.
func examine(ctx context.Context, dir, sealText string) []finding {
	fi, err := os.Stat(dir)
	if err == nil && !fi.IsDir() {
		return []finding{{Check: "directory", Detail: fmt.Sprintf("%s is not a directory", dir), Advice: "name the directory that holds the data"}}
	}
	if err != nil {
		return []finding{{
			Check: "directory", Detail: fmt.Sprintf("%s is not there", dir),
			Advice: "start `sagekeep serve --data-dir " + dir + "`, which makes it",
		}}
	}
	out := []finding{modeOf("directory", dir, 0o077)}
	for _, name := range []string{"keyring", "credentials", filepath.Join("seal", "root.key")} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			if name == "keyring" {
				out = append(out, finding{Check: name, Detail: "missing: not a data directory, or the first start did not finish", Advice: "start the server once"})
			}
			continue
		}
		out = append(out, modeOf(filepath.Base(name), path, 0o077))
	}
	out = append(out, sealOf(ctx, dir, sealText), rowsOf(dir), credentialsOf(dir), spaceOf(dir))
	return append(out, serverOf(ctx, dir)...)
}

// sealOf opens the keyring as a start would.
func sealOf(ctx context.Context, dir, sealText string) finding {
	err := server.CheckSeal(ctx, dir, sealText)
	switch {
	case errors.Is(err, server.ErrSealElsewhere):
		return finding{Check: "seal", OK: true, Detail: "not checked: " + err.Error(), Advice: "sagekeep doctor --seal S, as given to serve; `sagekeep seal status` shows its kind"}
	case errors.Is(err, server.ErrSealMigrated):
		return finding{Check: "seal", Detail: oneLine(err), Advice: "sagekeep doctor --seal S, as `seal migrate` has printed it and as given to serve"}
	case err != nil:
		return finding{Check: "seal", Detail: oneLine(err), Advice: "the server does not start like this: bring back what is missing from where it is kept"}
	case sealText == "":
		return finding{
			Check: "seal", OK: true, Detail: "opens; the root key lies in the data directory: who copies the directory copies the key",
			Advice: "for production, keep it elsewhere: serve --seal file:PATH or passphrase-file:PATH",
		}
	}
	return finding{Check: "seal", OK: true, Detail: "opens"}
}

func rowsOf(dir string) finding {
	if err := server.CheckRows(dir); err != nil {
		return finding{Check: "rows", Detail: oneLine(err), Advice: "bring the folder back from a backup of the whole directory"}
	}
	return finding{Check: "rows", OK: true, Detail: "there"}
}

func credentialsOf(dir string) finding {
	c, err := server.ReadCredentials(dir)
	if err != nil {
		return finding{Check: "accounts", Detail: oneLine(err)}
	}
	return finding{Check: "accounts", OK: true, Detail: fmt.Sprintf("credentials of %d", len(c.Accounts))}
}

// modeOf checks that nobody else may read the file.
func modeOf(check, path string, forbidden fs.FileMode) finding {
	fi, err := os.Stat(path)
	switch {
	case err != nil:
		return finding{Check: check, Detail: err.Error()}
	case runtime.GOOS != "windows" && fi.Mode().Perm()&forbidden != 0:
		return finding{
			Check: check, Detail: fmt.Sprintf("%s has mode %04o: others can read it", path, fi.Mode().Perm()),
			Advice: fmt.Sprintf("chmod go-rwx %s", path),
		}
	}
	return finding{Check: check, OK: true, Detail: fmt.Sprintf("%s, mode %04o", path, fi.Mode().Perm())}
}

func spaceOf(dir string) finding {
	free, reserve, err := server.FreeSpace(dir)
	if err != nil {
		return finding{Check: "space", Detail: err.Error()}
	}
	r := finding{Check: "space", OK: free > reserve, Detail: fmt.Sprintf("%.1f GiB free, writes stop below %.1f GiB", gib(free), gib(reserve))}
	if !r.OK {
		r.Advice = "free space on the file system: writes are refused now, reads go on"
	}
	return r
}

func gib(n uint64) float64 { return float64(n) / (1 << 30) }

// clockDetail tells a difference that the header, which has whole seconds, can
// show.
func clockDetail(skew time.Duration) string {
	if skew < 2*time.Second {
		return "agrees with the server's"
	}
	return fmt.Sprintf("differs from the server's by %s", skew)
}

func serverOf(ctx context.Context, dir string) []finding {
	r, err := server.ReadRunning(dir)
	if err != nil {
		return []finding{{Check: "server", OK: true, Detail: "not running"}}
	}
	if !r.Alive() {
		return []finding{{Check: "server", OK: true, Detail: fmt.Sprintf("not running; pid %d ended without cleaning up, the next start recovers", r.PID)}}
	}
	h, err := client.Trusting(r.CA)
	if err != nil {
		return []finding{{Check: "server", Detail: err.Error()}}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL+"/readyz", nil)
	if err != nil {
		return []finding{{Check: "server", Detail: err.Error()}}
	}
	resp, err := h.Do(req)
	if err != nil {
		return []finding{{Check: "server", Detail: fmt.Sprintf("%s (pid %d) does not answer: %s", r.URL, r.PID, err), Advice: "look at its log"}}
	}
	resp.Body.Close()
	out := []finding{{Check: "server", OK: resp.StatusCode == http.StatusOK, Detail: fmt.Sprintf("%s (pid %d) answers %s", r.URL, r.PID, resp.Status)}}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		skew := time.Since(date).Round(time.Second).Abs()
		out = append(out, finding{Check: "clock", OK: skew < 5*time.Minute, Detail: clockDetail(skew)})
	}
	return out
}
