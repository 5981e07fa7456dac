package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sagekeep/sagekeep/internal/seal"
)

// openOnce opens and closes a data directory and returns its credentials.
func openOnce(t *testing.T, dir string) (Credentials, error) {
	t.Helper()
	cfg := Config{DataDir: dir}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), cfg)
	if err != nil {
		return Credentials{}, err
	}
	accounts, err := s.iam.Accounts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range s.creds.Accounts {
		if !slices.Contains(accounts, k.Account) {
			t.Errorf("the account %s of the credentials file is not there", k.Account)
		}
		if cred, err := s.iam.Lookup(t.Context(), k.AccessKeyID, ""); err != nil || cred.Secret != k.SecretAccessKey {
			t.Errorf("the key of account %s opens nothing: %v", k.Account, err)
		}
	}
	if len(s.creds.Accounts) != len(accounts) {
		t.Errorf("%d accounts, %d credentials", len(accounts), len(s.creds.Accounts))
	}
	return s.creds, s.Close()
}

// TestFirstStartInterrupted cuts the first start at each of its steps: the next
// one must go on as if it had been the first.
func TestFirstStartInterrupted(t *testing.T) {
	t.Parallel()
	made := filepath.Join(t.TempDir(), "made")
	if _, err := openOnce(t, made); err != nil {
		t.Fatal(err)
	}
	for name, gone := range map[string][]string{
		"before the root key": {"seal/root.key", "seal/epoch.json", "keyring", "rows", "objects", "tmp", "credentials"},
		"before the epoch":    {"seal/epoch.json", "keyring", "rows", "objects", "tmp", "credentials"},
		"before the keyring":  {"keyring", "rows", "objects", "tmp", "credentials"},
		"before the rows":     {"rows", "objects", "tmp", "credentials"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := copyOf(t, made, gone...)
			for _, leftover := range []string{".keyring-1", "seal/.epoch.json-1", "seal/.root.key-1"} {
				if strings.HasPrefix(leftover, ".") && !slices.Contains(gone, "keyring") {
					continue
				}
				if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(leftover)), []byte("half"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			first, err := openOnce(t, dir)
			if err != nil {
				t.Fatal(err)
			}
			second, err := openOnce(t, dir)
			if err != nil || second.Accounts[0].SecretAccessKey != first.Accounts[0].SecretAccessKey {
				t.Errorf("the start after that: %v", err)
			}
			for _, pattern := range []string{".*-*", "seal/.*-*"} {
				if left, err := filepath.Glob(filepath.Join(dir, pattern)); err != nil || len(left) > 0 {
					t.Errorf("left behind: %q, %v", left, err)
				}
			}
		})
	}
}

// TestAccountInterrupted ends the process between credentials file and commit.
func TestAccountInterrupted(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	creds, err := openOnce(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	creds.Accounts = append(creds.Accounts, AccessKey{Account: "444455556666", AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "secret"})
	if err := writeCredentials(dir, &creds); err != nil {
		t.Fatal(err)
	}
	if got, err := openOnce(t, dir); err != nil || len(got.Accounts) != 2 {
		t.Errorf("%d accounts, %v", len(got.Accounts), err)
	}
}

// TestAccountOfCancelledCall: an account whose maker is gone keeps its credentials.
func TestAccountOfCancelledCall(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.createAccount(ctx, "444455556666")
	have, herr := s.iam.AccountExists(t.Context(), "444455556666")
	creds, cerr := ReadCredentials(s.dir.path)
	if herr != nil || cerr != nil {
		t.Fatal(herr, cerr)
	}
	inFile := slices.ContainsFunc(creds.Accounts, func(k AccessKey) bool { return k.Account == "444455556666" })
	if have != inFile || have != (err == nil) {
		t.Errorf("account there: %t, credentials there: %t, answer: %v", have, inFile, err)
	}
}

func TestLostParts(t *testing.T) {
	t.Parallel()
	made := filepath.Join(t.TempDir(), "made")
	if _, err := openOnce(t, made); err != nil {
		t.Fatal(err)
	}
	for gone, want := range map[string]string{
		"rows": "rows is missing", "credentials": "accounts exist", "keyring": "no keyring", "seal/epoch.json": "deletion-epoch key",
	} {
		t.Run(gone, func(t *testing.T) {
			t.Parallel()
			dir := copyOf(t, made, gone)
			if _, err := openOnce(t, dir); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("started with %v, want %q", err, want)
			}
		})
	}
}

// TestConcurrentFirstStarts: of many starts on one new directory none replaces
// the keyring that another has made.
func TestConcurrentFirstStarts(t *testing.T) {
	t.Parallel()
	for range 20 {
		dir := filepath.Join(t.TempDir(), "data")
		spec, err := seal.Parse("", dir)
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		ids := map[string]bool{}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				d, err := openDir(t.Context(), dir, spec, slog.New(slog.DiscardHandler))
				if errors.Is(err, ErrInUse) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				ids[d.keyring.ID()] = true
				mu.Unlock()
				d.lock.Close()
			})
		}
		wg.Wait()
		if len(ids) != 1 {
			t.Fatalf("%d keyrings were made", len(ids))
		}
	}
}

func TestStaleServerFile(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	if _, err := openOnce(t, dir); err != nil {
		t.Fatal(err)
	}
	if err := writeRunning(dir, &Running{PID: os.Getpid(), URL: "http://127.0.0.1:1"}); err != nil {
		t.Fatal(err)
	}
	if r, err := ReadRunning(dir); err != nil || r.Alive() {
		t.Errorf("a process that has taken over the pid of a killed server is taken for it: %v", err)
	}
	if _, err := openOnce(t, dir); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadRunning(dir); err == nil {
		t.Error("server.json of a server that was killed is still there")
	}
}

func TestAccessKeysDoNotPrint(t *testing.T) {
	t.Parallel()
	c := Credentials{Operator: AccessKey{AccessKeyID: "SGKO1", SecretAccessKey: "hunter2"}, Accounts: []AccessKey{{SecretAccessKey: "hunter2"}}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(verb, c) + fmt.Sprintf(verb, &c.Accounts[0]); strings.Contains(text, "hunter2") {
			t.Errorf("%s prints the secret: %s", verb, text)
		}
	}
}

// copyOf copies a data directory without some of its parts.
func copyOf(t *testing.T, from string, without ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	for _, name := range without {
		if err := os.RemoveAll(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
