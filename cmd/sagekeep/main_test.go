package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sagekeep/sagekeep/internal/server"
)

// output is a writer that a running command and the test share.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// command runs one command line to its end.
func runCommand(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err output
	code = run(t.Context(), args, stdio{strings.NewReader(""), &out, &err})
	return code, out.String(), err.String()
}

var readyLine = regexp.MustCompile(`^ready (https?://127\.0\.0\.1:\d+)\n$`)

// startServe runs `serve` until the test ends and returns its URL; stop ends it
// earlier and returns the exit code.
func startServe(t *testing.T, dir string, more ...string) (url string, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var out, errs output
	ended := make(chan int, 1)
	args := append([]string{"serve", "--data-dir", dir, "--listen", "127.0.0.1:0"}, more...)
	go func() { ended <- run(ctx, args, stdio{strings.NewReader(""), &out, &errs}) }()
	stop = sync.OnceValue(func() int { cancel(); return <-ended })
	t.Cleanup(func() { stop() })
	for deadline := time.Now().Add(20 * time.Second); ; {
		if m := readyLine.FindStringSubmatch(out.String()); m != nil {
			return m[1], stop
		}
		select {
		case code := <-ended:
			t.Fatalf("serve ended with %d: %s", code, errs.String())
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("serve is not ready: %q %q", out.String(), errs.String())
		}
	}
}

func TestServeEnvAndAccounts(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	url, stop := startServe(t, dir)
	code, env, errs := runCommand(t, "env", "--data-dir", dir)
	want := regexp.MustCompile(`^export AWS_ACCESS_KEY_ID=AKIA[A-Z2-7]{16} AWS_SECRET_ACCESS_KEY=\S{40} AWS_REGION=us-west-2 AWS_DEFAULT_REGION=us-west-2 AWS_ENDPOINT_URL=` + regexp.QuoteMeta(url) + `\n$`)
	if code != 0 || !want.MatchString(env) {
		t.Fatalf("env = %d, %q, %q", code, env, errs)
	}
	for _, id := range []string{"444455556666", "444455556667"} {
		code, out, errs := runCommand(t, "account", "create", "--data-dir", dir, "--id", id)
		if code != 0 || !strings.HasPrefix(out, "export AWS_ACCESS_KEY_ID=AKIA") {
			t.Fatalf("account create %s = %d, %q, %q", id, code, out, errs)
		}
	}
	for id, why := range map[string]string{"444455556666": "AccountAlreadyExists: account 444455556666 exists", "378778860802": "reserved", "1": "12 digits"} {
		code, out, errs := runCommand(t, "account", "create", "--data-dir", dir, "--id", id)
		if code != 1 || out != "" || !strings.Contains(errs, why) || strings.Count(errs, "\n") != 1 {
			t.Errorf("account create %s = %d, %q, %q", id, code, out, errs)
		}
	}
	if code, _, errs := runCommand(t, "serve", "--data-dir", dir, "--listen", "127.0.0.1:0"); code != 1 || !strings.Contains(errs, "in use by the server "+url) {
		t.Errorf("a second server = %d, %q", code, errs)
	}
	if code, out, _ := runCommand(t, "doctor", "--data-dir", dir); code != 0 || !strings.Contains(out, "answers 200 OK") {
		t.Errorf("doctor = %d, %q", code, out)
	}
	if code := stop(); code != 0 {
		t.Errorf("serve ended with %d", code)
	}
	if _, err := os.Stat(filepath.Join(dir, "server.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("server.json after the end: %v", err)
	}
	if code, out, errs := runCommand(t, "env", "--data-dir", dir, "--format", "json"); code != 0 || !strings.Contains(out, "http://127.0.0.1:4566") || !strings.Contains(errs, "the URL is the default") {
		t.Errorf("env without a server = %d, %q, %q", code, out, errs)
	}
	// Without a server the command opens the store itself.
	if code, out, errs := runCommand(t, "account", "create", "--data-dir", dir, "--id", "777788889999"); code != 0 || !strings.HasPrefix(out, "export ") {
		t.Fatalf("account create offline = %d, %q, %q", code, out, errs)
	}
	creds, err := server.ReadCredentials(dir)
	if err != nil || len(creds.Accounts) != 4 {
		t.Fatalf("credentials hold %d accounts, %v", len(creds.Accounts), err)
	}
}

// TestStaleServerFile: a server that was killed left its address, and its pid is
// another process's by now, as it always is in a container.
func TestStaleServerFile(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	_, stop := startServe(t, dir)
	stop()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	l.Close()
	stale := fmt.Sprintf(`{"pid":%d,"url":%q}`, os.Getpid(), url)
	if err := os.WriteFile(filepath.Join(dir, "server.json"), []byte(stale), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := runCommand(t, "env", "--data-dir", dir); code != 0 || strings.Contains(out, url) {
		t.Errorf("env = %d, %q, %q", code, out, errs)
	}
	if code, _, errs := runCommand(t, "account", "create", "--data-dir", dir, "--id", "444455556666", "--format", "xml"); code != 2 {
		t.Errorf("an unknown format = %d, %q", code, errs)
	}
	// The account was not made by the command that was refused.
	if code, out, errs := runCommand(t, "account", "create", "--data-dir", dir, "--id", "444455556666"); code != 0 || !strings.HasPrefix(out, "export ") {
		t.Errorf("account create = %d, %q, %q", code, out, errs)
	}
}

func TestFileModes(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	_, stop := startServe(t, dir)
	runCommand(t, "env", "--data-dir", dir)
	n := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		n++
		top := filepath.Dir(path) == dir
		if (e.IsDir() || top) && fi.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, fi.Mode())
		}
		return nil
	})
	if err != nil || n < 8 {
		t.Fatalf("walked %d entries: %v", n, err)
	}
	stop()
}

func TestServeRefuses(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "thesis.doc"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	made := filepath.Join(t.TempDir(), "made")
	_, stop := startServe(t, made)
	stop()
	newer := filepath.Join(t.TempDir(), "newer")
	if err := os.CopyFS(newer, os.DirFS(made)); err != nil {
		t.Fatal(err)
	}
	edit(t, filepath.Join(newer, "keyring"), `"format": 2`, `"format": 99`)
	otherKey := filepath.Join(t.TempDir(), "root.key")
	if err := os.WriteFile(otherKey, []byte("sagekeep-root-key-1\n"+strings.Repeat("ab", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	lost := filepath.Join(t.TempDir(), "lost")
	if err := os.CopyFS(lost, os.DirFS(made)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(lost, "seal", "root.key")); err != nil {
		t.Fatal(err)
	}
	fresh := func() string { return filepath.Join(t.TempDir(), "fresh") }
	for _, tc := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no directory", []string{}, 2, "data-dir"},
		{"taken port", []string{"--data-dir", fresh(), "--listen", taken.Addr().String()}, 1, "is taken"},
		{"foreign directory", []string{"--data-dir", foreign}, 1, "not a Sagekeep data directory"},
		{"newer format", []string{"--data-dir", newer}, 1, "newer version"},
		{"wrong seal", []string{"--data-dir", made, "--seal", "file:" + otherKey}, 1, "wrong root key"},
		{"lost root key", []string{"--data-dir", lost}, 1, "missing and data exists"},
		{"plain HTTP off loopback", []string{"--data-dir", fresh(), "--listen", "0.0.0.0:0"}, 2, "plain HTTP"},
		{"key in the directory off loopback", []string{"--data-dir", fresh(), "--listen", "0.0.0.0:0", "--tls-self-signed"}, 2, "loopback only"},
		{"bad account", []string{"--data-dir", fresh(), "--account", "12"}, 2, "12-digit"},
		{"unknown flag", []string{"--data-dir", fresh(), "--nonsense"}, 2, "nonsense"},
		{"password in a flag", []string{"--data-dir", fresh(), "--store", "postgres://u:secret@h/d"}, 2, "refused on the command line"},
		{"stray argument", []string{"--data-dir", fresh(), "extra"}, 2, "wrong number of arguments"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := append([]string{"serve"}, tc.args...)
			if !strings.Contains(strings.Join(args, " "), "--listen") {
				args = append(args, "--listen", "127.0.0.1:0")
			}
			code, out, errs := runCommand(t, args...)
			last := errs[strings.LastIndex(strings.TrimRight(errs, "\n"), "\n")+1:]
			if code != tc.code || out != "" || !strings.HasPrefix(last, "sagekeep: ") || !strings.Contains(last, tc.want) {
				t.Errorf("%v = %d, %q, %q; want %d and %q", args, code, out, errs, tc.code, tc.want)
			}
			if strings.Count(errs, "\n") != 1 {
				t.Errorf("%v says more than one line: %q", args, errs)
			}
			if strings.Contains(errs, "secret") {
				t.Errorf("the message shows the password: %q", errs)
			}
			if i := strings.Index(strings.Join(tc.args, " "), "fresh"); i >= 0 {
				if _, err := os.Stat(tc.args[1]); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s was written to", tc.args[1])
				}
			}
		})
	}
	entries, err := os.ReadDir(foreign)
	if err != nil || len(entries) != 1 {
		t.Errorf("the foreign directory was written to: %v, %v", entries, err)
	}
}

func edit(t *testing.T, path, from, to string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), from) {
		t.Fatalf("%s has no %q", path, from)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(b), from, to, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestSealOutsideAndPassphrase(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	pass := filepath.Join(t.TempDir(), "pass")
	if err := os.WriteFile(pass, []byte("correct horse battery staple\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second start opens what the first made
		_, stop := startServe(t, dir, "--seal", "passphrase-file:"+pass, "--tls-self-signed")
		if code, out, errs := runCommand(t, "doctor", "--data-dir", dir, "--json"); code != 0 || !strings.Contains(out, "https://127.0.0.1") {
			t.Errorf("doctor = %d, %q, %q", code, out, errs)
		}
		if code := stop(); code != 0 {
			t.Fatalf("serve ended with %d", code)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "seal", "root.key")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a root key lies in the directory: %v", err)
	}
	for name, args := range map[string][]string{
		"serve": {"serve", "--listen", "127.0.0.1:0"}, "key list": {"key", "list"}, "account create": {"account", "create", "--id", "444455556666"},
		"seal rotate": {"seal", "rotate"}, "a key file elsewhere": {"key", "list", "--seal", "file:" + filepath.Join(t.TempDir(), "none")},
	} {
		code, out, errs := runCommand(t, append(args, "--data-dir", dir)...)
		if code != 1 || out != "" || !strings.Contains(errs, "its root key is held by a seal of the kind passphrase: name that seal with --seal") || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s with the wrong kind of seal = %d, %q, %q", name, code, out, errs)
		}
	}
}

func TestConfigFile(t *testing.T) {
	t.Parallel()
	dir, file := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "c.json")
	if err := os.WriteFile(file, []byte(`{"account":"222233334444","listen":"nonsense"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, stop := startServe(t, dir, "--config", file) // --listen on the command line wins
	stop()
	c, err := server.ReadCredentials(dir)
	if err != nil || c.Accounts[0].Account != "222233334444" {
		t.Fatalf("credentials = %v", err)
	}
	if err := os.WriteFile(file, []byte(`{"acount":"1","lsten":"x"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, errs := runCommand(t, "serve", "--data-dir", dir, "--config", file)
	if code != 2 || !strings.Contains(errs, "acount: no such setting") || !strings.Contains(errs, "lsten: no such setting") {
		t.Errorf("misspelt settings = %d, %q", code, errs)
	}
}

func TestEnvFormats(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	if code, _, errs := runCommand(t, "env", "--data-dir", dir); code != 1 || !strings.Contains(errs, "sagekeep serve") {
		t.Errorf("env without data = %d, %q", code, errs)
	}
	_, stop := startServe(t, dir)
	stop()
	_, out, _ := runCommand(t, "env", "--data-dir", dir, "--format", "json")
	var m map[string]string
	if err := json.Unmarshal([]byte(out), &m); err != nil || m["AWS_ENDPOINT_URL"] != "http://127.0.0.1:4566" || len(m) != 5 {
		t.Errorf("json = %q, %v", out, err)
	}
	_, out, _ = runCommand(t, "env", "--data-dir", dir, "--format", "powershell")
	if !strings.HasPrefix(out, "$env:AWS_ACCESS_KEY_ID = 'AKIA") {
		t.Errorf("powershell = %q", out)
	}
	_, out, _ = runCommand(t, "env", "--data-dir", dir, "--format", "profile")
	if !strings.HasPrefix(out, "[sagekeep]\naws_access_key_id = AKIA") {
		t.Errorf("profile = %q", out)
	}
	if code, _, _ := runCommand(t, "env", "--data-dir", dir, "--format", "xml"); code != 2 {
		t.Errorf("format xml = %d", code)
	}
	if code, _, _ := runCommand(t, "env"); code != 2 {
		t.Errorf("env without --data-dir = %d", code)
	}
}

func TestHelpVersionCompletion(t *testing.T) {
	t.Parallel()
	walk(nil, commands(), func(path []string, c *command, _ []string) {
		code, out, errs := runCommand(t, append(path, "--help")...)
		if code != 0 || errs != "" || !strings.Contains(out, "Usage:") {
			t.Errorf("%v --help = %d, %q, %q", path, code, out, errs)
		}
		if c.subs == nil && !strings.Contains(out, "Examples:") {
			t.Errorf("%v --help has no examples", path)
		}
	})
	for _, sh := range []string{"bash", "zsh", "fish", "powershell"} {
		code, out, _ := runCommand(t, "completion", sh)
		if code != 0 || !strings.Contains(out, "doctor") || !strings.Contains(out, "data-dir") || !strings.Contains(out, "boundary session scp") {
			t.Errorf("completion %s = %d, %q", sh, code, out)
		}
	}
	if code, _, _ := runCommand(t, "completion", "tcsh"); code != 2 {
		t.Errorf("completion tcsh = %d", code)
	}
	_, out, _ := runCommand(t, "version", "--json")
	var v map[string]string
	if err := json.Unmarshal([]byte(out), &v); err != nil || v["go"] == "" || v["fips140"] == "" || len(v) != 5 {
		t.Errorf("version --json = %q, %v", out, err)
	}
	for _, args := range [][]string{{}, {"nonsense"}, {"account"}, {"account", "nonsense"}} {
		if code, out, errs := runCommand(t, args...); code != 2 || out != "" || !strings.Contains(errs, "sagekeep: ") {
			t.Errorf("%v = %d, %q, %q", args, code, out, errs)
		}
	}
}

// TestEnvWarns: what else is set is named on stderr, and stdout stays as it is.
func TestEnvWarns(t *testing.T) {
	t.Setenv("AWS_SESSION_TOKEN", "x")
	t.Setenv("AWS_PROFILE", "")
	for format, want := range map[string]bool{"sh": true, "powershell": true, "profile": false} {
		var b strings.Builder
		warnEnv(&b, format, t.TempDir())
		if got := strings.Contains(b.String(), "unset AWS_SESSION_TOKEN\n"); got != want {
			t.Errorf("%s: %q", format, b.String())
		}
	}
}

// TestPolicySimulateFile: files are read in turn; the example of the help is a
// case.
func TestPolicySimulateFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "cases.jsonl")
	if err := os.WriteFile(file, []byte(simulateExample+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := runCommand(t, "policy", "simulate", file, "-", file)
	if code != 0 || errs != "" || strings.Count(out, `"decision":"Allowed"`) != 2 {
		t.Errorf("simulate = %d, %q, %q", code, out, errs)
	}
	if code, _, errs := runCommand(t, "policy", "simulate", file+"x"); code != 1 || !strings.Contains(errs, "read cases") {
		t.Errorf("simulate of no file = %d, %q", code, errs)
	}
}

func TestPolicySimulate(t *testing.T) {
	t.Parallel()
	const cases = `{"id":"a","request":{"principal":"arn:aws:iam::111122223333:user/u","action":"s3:GetObject","resource":"arn:aws:s3:::b/k","resourceAccount":"111122223333","context":{}},"policies":{"identity":[{"Version":"2012-10-17","Statement":[{"Sid":"S","Effect":"Allow","Action":"s3:*","Resource":"*"}]}]}}
not json
`
	var out, errs output
	code := run(t.Context(), []string{"policy", "simulate"}, stdio{strings.NewReader(cases), &out, &errs})
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if code != 1 || len(lines) != 2 || errs.String() != "" {
		t.Fatalf("simulate = %d, %q, %q", code, out.String(), errs.String())
	}
	if !strings.Contains(lines[0], `"decision":"Allowed"`) || !strings.Contains(lines[0], `"statement":"S"`) || !strings.HasPrefix(lines[1], `{"id":null,"error":"line 2: `) {
		t.Errorf("verdicts = %q", lines)
	}
}
