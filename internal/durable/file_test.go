package durable

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
)

func TestRemoveTemporary(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "epoch.json")
	if err := WriteFile(path, []byte("new")); err != nil {
		t.Fatal(err)
	}
	// What a process that was killed before the rename leaves.
	for _, name := range []string{".epoch.json-1", ".epoch.json-22", ".epoch.json", ".other-1"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("old epoch key"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := RemoveTemporary(path); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if want := []string{".epoch.json", ".other-1", "epoch.json"}; err != nil || !slices.Equal(left, want) {
		t.Errorf("left %q, %v, want %q", left, err, want)
	}
	if err := RemoveTemporary(filepath.Join(dir, "missing", "file")); err != nil {
		t.Errorf("in a directory that is not there: %v", err)
	}
}

func TestMakeDir(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	path := filepath.Join(top, "a", "b", "c")
	for range 2 {
		if err := MakeDir(path); err != nil {
			t.Fatal(err)
		}
	}
	for p := path; p != top; p = filepath.Dir(p) {
		fi, err := os.Stat(p)
		if err != nil || !fi.IsDir() || runtime.GOOS != "windows" && fi.Mode().Perm() != 0o700 {
			t.Fatalf("%s = %v, %v", p, fi, err)
		}
	}
	file := filepath.Join(path, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := MakeDir(file); err == nil {
		t.Error("a file was taken for a directory")
	}
}
