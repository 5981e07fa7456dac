package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/sagekeep/sagekeep/internal/server"
)

// statusOf runs `seal status --json`.
func statusOf(t *testing.T, dir string, more ...string) (server.SealStatus, int) {
	t.Helper()
	code, out, errs := runCommand(t, append([]string{"seal", "status", "--json", "--data-dir", dir}, more...)...)
	var st server.SealStatus
	if err := json.Unmarshal([]byte(out), &st); err != nil {
		t.Fatalf("seal status = %d, %q, %q", code, out, errs)
	}
	return st, code
}

func mustRun(t *testing.T, args ...string) string {
	t.Helper()
	code, out, errs := runCommand(t, args...)
	if code != 0 {
		t.Fatalf("%s = %d, %q, %q", strings.Join(args, " "), code, out, errs)
	}
	return out
}

func secretFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSealMigrateOnline changes the seal beside a running server; the next start
// must name the new one.
func TestSealMigrateOnline(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	_, stop := startServe(t, dir)
	st, code := statusOf(t, dir)
	if code != 0 || st.Seal != "file" || st.Opens == nil || !*st.Opens || st.FIPS != "approved" || st.KeyID == "" || len(st.Others) != 0 || st.Since.IsZero() {
		t.Fatalf("status of the default seal: %d, %+v", code, st)
	}
	to := "passphrase-file:" + secretFile(t, "a passphrase for the test\n")
	out := mustRun(t, "seal", "migrate", "--data-dir", dir, "--to", to)
	if !strings.Contains(out, "sagekeep serve --seal "+to) || !strings.Contains(out, "former secret") {
		t.Errorf("migrate prints %q", out)
	}
	if st, code := statusOf(t, dir, "--seal", to); code != 0 || st.Seal != "passphrase" || !*st.Opens || len(st.Others) != 0 || st.Leftovers != 0 {
		t.Errorf("status: %d, %+v", code, st)
	}
	if st, code := statusOf(t, dir); code != 0 || st.Opens != nil {
		t.Errorf("status without a seal: %d, %+v", code, st)
	}
	if st, code := statusOf(t, dir, "--seal", "file:"+filepath.Join(dir, "seal", "root.key")); code != 1 || *st.Opens || !strings.Contains(st.Problem, "kind passphrase") {
		t.Errorf("status with the former seal: %d, %+v", code, st)
	}
	// The server goes on, and rotates the seal that it has now.
	mustRun(t, "account", "create", "--data-dir", dir, "--id", "444455556666")
	mustRun(t, "seal", "rotate", "--data-dir", dir)
	if st, _ := statusOf(t, dir, "--seal", to); st.Generation != 3 || !*st.Opens {
		t.Errorf("after a rotation: %+v", st)
	}
	if code := stop(); code != 0 {
		t.Fatalf("serve ended with %d", code)
	}
	code, _, errs := runCommand(t, "serve", "--data-dir", dir, "--listen", "127.0.0.1:0")
	if code != 1 || !strings.Contains(errs, "held by a seal of the kind passphrase") || strings.Count(errs, "\n") != 1 {
		t.Errorf("a start with the former seal = %d, %q", code, errs)
	}
	_, stop = startServe(t, dir, "--seal", to)
	if code := stop(); code != 0 {
		t.Errorf("serve ended with %d", code)
	}
}

// TestSealMigrateOffline goes through files and back without a server.
func TestSealMigrateOffline(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	_, stop := startServe(t, dir)
	stop()
	elsewhere := "file:" + filepath.Join(t.TempDir(), "keys", "root.key")
	var done server.SealChange
	if err := json.Unmarshal([]byte(mustRun(t, "seal", "migrate", "--json", "--data-dir", dir, "--to", elsewhere)), &done); err != nil || done.Next != elsewhere {
		t.Fatalf("%+v, %v", done, err)
	}
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"not named":             {[]string{"seal", "rotate"}, 1, "wrong root key"},
		"an unknown kind":       {[]string{"seal", "migrate", "--to", "vault:x"}, 2, "unknown seal kind"},
		"no destination":        {[]string{"seal", "migrate"}, 2, "--to"},
		"a password in a URL":   {[]string{"seal", "migrate", "--to", "exec:https://a:hunter2@example.com/"}, 2, "credentials in the URL"},
		"a missing passphrase":  {[]string{"seal", "migrate", "--seal", elsewhere, "--to", "passphrase-env:SAGEKEEP_TEST_NOT_SET"}, 1, "is not set"},
		"a program that is not": {[]string{"seal", "migrate", "--seal", elsewhere, "--to", "exec:/nonexistent/plugin"}, 1, "find the program"},
		"a socket that is not":  {[]string{"seal", "migrate", "--seal", elsewhere, "--to", "pkcs11:" + dir + "/none"}, 1, "side program"},
	} {
		code, out, errs := runCommand(t, append(c.args, "--data-dir", dir)...)
		if code != c.code || out != "" || !strings.Contains(errs, c.want) || strings.Count(errs, "\n") != 1 || strings.Contains(errs, "hunter2") {
			t.Errorf("%s = %d, %q, %q", name, code, out, errs)
		}
	}
	if st, code := statusOf(t, dir, "--seal", elsewhere); code != 0 || st.KeyID != done.KeyID || len(st.Others) != 0 {
		t.Errorf("after all refusals: %d, %+v", code, st)
	}
	code, _, errs := runCommand(t, "seal", "status", "--data-dir", t.TempDir())
	if code != 1 || !strings.Contains(errs, "not a data directory") {
		t.Errorf("status of an empty folder = %d, %q", code, errs)
	}
}

// TestSealRotateKeyFiles: the former key goes at once from the file in the data
// directory, and on demand from one that other directories may use.
func TestSealRotateKeyFiles(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	_, stop := startServe(t, dir)
	before, _ := statusOf(t, dir)
	mustRun(t, "seal", "rotate", "--data-dir", dir)
	after, _ := statusOf(t, dir)
	if after.KeyID == before.KeyID || len(after.PreviousKeys) != 0 || !*after.Opens {
		t.Errorf("the default key file: %+v", after)
	}
	shared := "file:" + filepath.Join(t.TempDir(), "root.key")
	mustRun(t, "seal", "migrate", "--data-dir", dir, "--to", shared)
	if st, code := statusOf(t, dir); code != 0 || st.Opens != nil {
		t.Errorf("status without a seal beside the server that has migrated: %d, %+v", code, st)
	}
	if code, out, _ := runCommand(t, "doctor", "--data-dir", dir); code != 0 || !strings.Contains(out, "not checked") {
		t.Errorf("doctor without a seal beside the server that has migrated = %d, %s", code, out)
	}
	stop()
	if st, code := statusOf(t, dir); code != 1 || st.Opens == nil || *st.Opens || !strings.Contains(st.Problem, "the seal was migrated") {
		t.Errorf("status without a seal after a migration to another file: %d, %+v", code, st)
	}
	if code, out, _ := runCommand(t, "doctor", "--data-dir", dir); code != 1 || !strings.Contains(out, "sagekeep doctor --seal S") {
		t.Errorf("doctor without a seal after a migration to another file = %d, %s", code, out)
	}
	other := filepath.Join(t.TempDir(), "other")
	_, stop = startServe(t, other, "--seal", shared)
	stop()
	former, _ := statusOf(t, dir, "--seal", shared)
	if out := mustRun(t, "seal", "rotate", "--data-dir", dir, "--seal", shared); !strings.Contains(out, former.KeyID+", still in the key file") {
		t.Errorf("rotate prints %q", out)
	}
	if st, _ := statusOf(t, dir, "--seal", shared); st.KeyID == former.KeyID || !slices.Equal(st.PreviousKeys, []string{former.KeyID}) {
		t.Errorf("the shared key file: %+v", st)
	}
	// The other directory has not lost its key, and takes the new one over.
	_, stop = startServe(t, other, "--seal", shared)
	mustRun(t, "seal", "rotate", "--data-dir", other, "--destroy-previous")
	stop()
	mine, _ := statusOf(t, dir, "--seal", shared)
	theirs, _ := statusOf(t, other, "--seal", shared)
	if !*mine.Opens || !*theirs.Opens || mine.KeyID != theirs.KeyID || len(mine.PreviousKeys) != 0 {
		t.Errorf("after both: %+v, %+v", mine, theirs)
	}
}

func TestPrintStatusOfSealElsewhere(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	err := printStatus(&b, &server.SealStatus{SealCopy: server.SealCopy{Seal: "exec"}})
	if err != nil || !strings.Contains(b.String(), "migrated to a seal of the kind exec; name that with --seal") {
		t.Errorf("%v\n%s", err, b.String())
	}
}

func TestNoCoreDumps(t *testing.T) {
	if err := noCoreDumps(); err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "linux" {
		return
	}
	b, err := os.ReadFile("/proc/self/limits")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); strings.HasPrefix(line, "Max core file size") && (f[4] != "0" || f[5] != "0") {
			t.Errorf("limits: %s", line)
		}
	}
}
