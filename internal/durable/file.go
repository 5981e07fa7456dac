// Package durable writes small files and private directories so that they
// survive a power loss whole: what a data directory needs before any store is
// open.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// temporary begins the names of the files that WriteFile renames to base.
func temporary(base string) string { return "." + base + "-" }

// IsTemporary reports whether name is that of a file that a WriteFile of base
// leaves behind when the process ends in it.
func IsTemporary(name, base string) bool { return strings.HasPrefix(name, temporary(base)) }

// RemoveTemporary removes what a WriteFile of path has left behind that did not
// come to its end: it may hold a secret that the file itself must not hold any
// more. Nobody may be writing path meanwhile.
func RemoveTemporary(path string) error {
	dir, base := filepath.Split(path)
	entries, err := os.ReadDir(filepath.Clean(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for leftovers of %s: %w", path, err)
	}
	removed := false
	for _, e := range entries {
		if !IsTemporary(e.Name(), base) || !e.Type().IsRegular() {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("remove a leftover of %s: %w", path, err)
		}
		removed = true
	}
	if !removed {
		return nil
	}
	return syncDir(filepath.Clean(dir))
}

// MakeDir makes the directory path and the parents that are missing, mode 0700.
// They survive a power loss once it has returned.
func MakeDir(path string) error {
	if fi, err := os.Stat(path); err == nil && fi.IsDir() {
		return nil
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := MakeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		if fi, serr := os.Stat(path); serr != nil || !fi.IsDir() {
			return err
		}
	}
	// A parent that may be written to and not read cannot be synced.
	if err := syncDir(parent); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

// WriteFile replaces path by data, mode 0600, so that after a crash the file
// holds either the old or the new bytes whole, and the new ones once it has
// returned.
func WriteFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, temporary(filepath.Base(path))+"*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(f.Name()) // fails after the rename, on purpose
	if err := f.Chmod(0o600); err != nil && runtime.GOOS != "windows" {
		f.Close()
		return fmt.Errorf("write %s: %w", path, err)
	}
	if _, err := f.Write(data); err != nil {
		f.Close()
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return fmt.Errorf("sync %s: %w", path, err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("close %s: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	if runtime.GOOS == "windows" { // directories cannot be synced there
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}
