//go:build unix

package server

import (
	"errors"
	"path/filepath"
	"testing"
	"time"
)

// TestLockFile: the lock of a directory is taken once, and had soon after its
// owner has let go.
func TestLockFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	first, err := lockFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockFile(path); !errors.Is(err, ErrInUse) {
		t.Errorf("a second owner: %v", err)
	}
	time.AfterFunc(3*lockPause, func() { _ = first.Close() })
	second, err := lockFile(path)
	if err != nil {
		t.Fatalf("the owner has just gone: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}
