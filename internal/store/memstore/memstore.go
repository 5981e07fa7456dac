// Package memstore opens the embedded row engine on an in-memory file system,
// for tests: the same code as in production, without a disk.
package memstore

import (
	"bytes"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sagekeep/sagekeep/internal/store/driver"
	"github.com/sagekeep/sagekeep/internal/store/pebblestore"
)

// TB is the part of testing.TB that New needs.
type TB interface {
	Helper()
	Cleanup(func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// New returns an empty store that is closed when the test ends.
func New(t TB) driver.Store {
	t.Helper()
	d, err := Open()
	if err != nil {
		t.Fatalf("open the in-memory store: %v", err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close the in-memory store: %v", err)
		}
	})
	return d
}

// Open returns an empty store that lives until it is closed.
func Open() (driver.Store, error) { return OpenFS(vfs.NewMem(), nil) }

// OpenFS opens the store on fs, where it may have been before. fatal is told of
// a failed log write; it panics when nil.
func OpenFS(fs vfs.FS, fatal func(error)) (driver.Store, error) {
	if fatal == nil {
		fatal = func(err error) { panic(fmt.Sprintf("memstore: %v", err)) }
	}
	keys := pebblestore.SingleKey(bytes.Repeat([]byte{0x5a}, 32))
	return pebblestore.Open("rows", keys, pebblestore.Options{
		FS: fs, Fatal: fatal, CacheBytes: 1 << 20, MemTableBytes: 1 << 20,
	})
}
