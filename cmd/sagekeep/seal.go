package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"github.com/sagekeep/sagekeep/internal/seal"
	"github.com/sagekeep/sagekeep/internal/server"
)

func sealCommand() *command {
	return &command{name: "seal", short: "Show and change who holds the root key", subs: []*command{
		{
			name: "status", short: "Show who holds the root key",
			example: "sagekeep seal status --data-dir ./data\nsagekeep seal status --data-dir ./data --seal passphrase-file:/etc/sagekeep/passphrase --json",
			flags: func(f *flag.FlagSet) {
				f.String("data-dir", "", "`DIR` of the server")
				f.String("seal", "", "try whether this seal opens it: "+seal.Forms)
				f.Bool("json", false, "as JSON")
			},
			run: sealStatus,
		},
		{
			name: "migrate", short: "Give the root key to another holder",
			example: "sagekeep seal migrate --data-dir ./data --to file:/etc/sagekeep/root.key\n" +
				"sagekeep seal migrate --data-dir ./data --to 'awskms:arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab?endpoint=https://kms.example.com'",
			flags: func(f *flag.FlagSet) {
				f.String("data-dir", "", "`DIR` of the server")
				f.String("to", "", "the new seal: "+seal.Forms)
				f.String("seal", "", "who holds the root key now, when no server runs")
				f.Bool("json", false, "as JSON")
			},
			run: sealMigrate,
		},
		{
			name: "rotate", short: "Replace the root key under the same seal",
			example: "sagekeep seal rotate --data-dir ./data\nsagekeep seal rotate --data-dir ./data --seal passphrase-env:SAGEKEEP_PASSPHRASE",
			flags: func(f *flag.FlagSet) {
				f.String("data-dir", "", "`DIR` of the server")
				f.String("seal", "", "who holds the root key, when no server runs")
				f.Bool("destroy-previous", false, "remove former keys from a key file outside of DIR, too: no other data directory may need them")
				f.Bool("json", false, "as JSON")
			},
			run: sealRotate,
		},
	}}
}

func sealStatus(ctx context.Context, f *flag.FlagSet, std stdio) error {
	dir := value(f, "data-dir")
	if dir == "" {
		return usagef("--data-dir is missing")
	}
	st, err := server.ReadSealStatus(ctx, dir, value(f, "seal"))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is not a data directory: it holds no keyring", dir)
	}
	if err != nil {
		return err
	}
	if boolValue(f, "json") {
		err = printJSON(std.out, st)
	} else {
		err = printStatus(std.out, &st)
	}
	if err == nil && st.Opens != nil && !*st.Opens {
		return errFound
	}
	return err
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func printStatus(w io.Writer, st *server.SealStatus) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-15s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("data directory", "%s, data format %d", st.DataDir, st.Format)
	printCopy(line, st.SealCopy)
	switch {
	case st.Opens == nil:
		line("opens", "not tried: the root key is not in the data directory, or was migrated to a seal of the kind %s; name that with --seal", st.Seal)
	case *st.Opens:
		line("opens", "yes")
	default:
		line("opens", "no: %s", oneLine(errors.New(st.Problem)))
	}
	if len(st.PreviousKeys) > 0 {
		line("previous keys", "%s, still in the key file", strings.Join(st.PreviousKeys, ", "))
	}
	for _, c := range st.Others {
		line("other copy", "%s, key %s: a change of the seal was interrupted; the next start destroys what its seal does not need", c.Seal, c.KeyID)
	}
	switch {
	case st.Leftovers > 0:
		line("old copies", "%d of deletion epochs, which nothing opens; the next start destroys them", st.Leftovers)
	case len(st.Others) == 0:
		line("old copies", "none")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func printCopy(line func(name, format string, args ...any), c server.SealCopy) {
	line("seal", "%s", c.Seal)
	if c.KeyID != "" {
		line("key id", "%s", c.KeyID)
	}
	if !c.Since.IsZero() {
		line("since", "%s", c.Since.UTC().Format(time.RFC3339))
	}
	line("algorithm", "%s", c.Algorithm)
	line("FIPS 140-3", "%s", c.FIPS)
}

func sealMigrate(ctx context.Context, f *flag.FlagSet, std stdio) error {
	dir, to := value(f, "data-dir"), value(f, "to")
	if dir == "" || to == "" {
		return usagef("--data-dir and --to are needed")
	}
	// Paths are meant from here, not from where the server was started.
	spec, err := seal.Parse(to, dir)
	if err != nil {
		return usagef("--to: %s", err)
	}
	in := server.MigrateInput{To: spec.String()}
	return changeSeal(ctx, f, std, "MigrateSeal", func(proof string) any { in.Proof = proof; return in },
		func(cfg server.Config) (server.SealChange, error) { return server.MigrateSeal(ctx, cfg, in) })
}

func sealRotate(ctx context.Context, f *flag.FlagSet, std stdio) error {
	if value(f, "data-dir") == "" {
		return usagef("--data-dir is missing")
	}
	in := server.RotateInput{DestroyPrevious: boolValue(f, "destroy-previous")}
	return changeSeal(ctx, f, std, "RotateSeal", func(proof string) any { in.Proof = proof; return in },
		func(cfg server.Config) (server.SealChange, error) { return server.RotateSeal(ctx, cfg, in) })
}

// changeSeal asks the running server, showing it that the caller can read its data
// directory, or changes the seal itself.
func changeSeal(ctx context.Context, f *flag.FlagSet, std stdio, name string, in func(proof string) any, offline func(server.Config) (server.SealChange, error)) error {
	dir := value(f, "data-dir")
	var done server.SealChange
	c, err := operator(dir)
	switch {
	case err == nil:
		var r *server.Running
		if r, err = server.ReadRunning(dir); err == nil {
			err = c.Operator(ctx, name, in(r.Proof), &done)
		}
	case errors.Is(err, fs.ErrNotExist):
		cfg := server.Config{
			DataDir: dir, Seal: value(f, "seal"),
			Log: slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: slog.LevelWarn})),
		}
		done, err = offline(cfg)
		err = explain(err, cfg)
	}
	if err != nil {
		return err
	}
	if boolValue(f, "json") {
		return printJSON(std.out, done)
	}
	return printChange(std.out, &done)
}

func printChange(w io.Writer, done *server.SealChange) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-15s %s\n", name, fmt.Sprintf(format, args...))
	}
	printCopy(line, done.SealCopy)
	line("next start", "sagekeep serve --seal %s", quoted(done.Next))
	if len(done.PreviousKeys) > 0 {
		line("previous keys", "%s, still in the key file: other data directories may need them; `sagekeep seal rotate --destroy-previous` removes them",
			strings.Join(done.PreviousKeys, ", "))
	}
	if done.FormerFile != "" {
		line("former secret", "%s opens this directory no more, but copies of its keyring from before: keep it as long as them, then destroy it", done.FormerFile)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// quoted quotes what a shell would not take as it is.
func quoted(text string) string {
	if strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:/._-+,@%") == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
