package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDoctorFindsDamage: what makes a start fail is found before the start.
func TestDoctorFindsDamage(t *testing.T) {
	t.Parallel()
	good := filepath.Join(t.TempDir(), "good")
	_, stop := startServe(t, good)
	stop()
	for _, tc := range []struct {
		name   string
		damage func(dir string) error
		want   string
	}{
		{"rows gone", func(dir string) error { return os.RemoveAll(filepath.Join(dir, "rows")) }, "row store"},
		{"root key damaged", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "seal", "root.key"), []byte("x"), 0o600)
		}, "root key file"},
		{"keyring damaged", func(dir string) error { return os.WriteFile(filepath.Join(dir, "keyring"), []byte("x"), 0o600) }, "keyring"},
		{"epoch gone", func(dir string) error { return os.Remove(filepath.Join(dir, "seal", "epoch.json")) }, "deletion-epoch"},
		{"credentials damaged", func(dir string) error { return os.WriteFile(filepath.Join(dir, "credentials"), []byte("x"), 0o600) }, "credentials"},
		{"readable by others", func(dir string) error { return os.Chmod(filepath.Join(dir, "credentials"), 0o644) }, "others can read it"},
	} {
		dir := filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(dir, os.DirFS(good)); err != nil {
			t.Fatal(err)
		}
		for _, private := range []string{dir, filepath.Join(dir, "seal"), filepath.Join(dir, "rows")} {
			if err := os.Chmod(private, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		for _, private := range []string{"keyring", "credentials", "seal/root.key"} {
			if err := os.Chmod(filepath.Join(dir, private), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if code, out, _ := runCommand(t, "doctor", "--data-dir", dir); code != 0 {
			t.Fatalf("%s: doctor on a good copy = %d, %s", tc.name, code, out)
		}
		if err := tc.damage(dir); err != nil {
			t.Fatal(err)
		}
		if code, out, _ := runCommand(t, "doctor", "--data-dir", dir); code != 1 || !strings.Contains(out, tc.want) {
			t.Errorf("%s: doctor = %d, %s", tc.name, code, out)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := runCommand(t, "doctor", "--data-dir", file); code != 1 || !strings.Contains(out, "is not a directory") {
		t.Errorf("doctor on a file = %d, %s", code, out)
	}
}
