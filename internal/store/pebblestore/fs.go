package pebblestore

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// encryptedFS lays encryption under the engine. Names, directories and locks
// pass through: the engine's names are numbers.
type encryptedFS struct {
	vfs.FS
	keys Keys
	pool *sync.Pool // scratch memory of the files
}

func newEncryptedFS(fs vfs.FS, keys Keys) *encryptedFS {
	return &encryptedFS{FS: fs, keys: keys, pool: &sync.Pool{New: newChunk}}
}

var _ vfs.FS = (*encryptedFS)(nil)

func (e *encryptedFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := e.FS.Create(name, category)
	if err != nil {
		return nil, err
	}
	return e.begin(f, name)
}

// begin writes a fresh header. It becomes durable with the first sync of the
// contents, because both lie in one file.
func (e *encryptedFS) begin(f vfs.File, name string) (vfs.File, error) {
	h, block, err := newHeader(e.keys)
	if err == nil {
		_, err = f.Write(h)
	}
	if err != nil {
		return nil, fmt.Errorf("begin %s: %w", e.PathBase(name), errors.Join(err, f.Close()))
	}
	return &file{File: f, block: block, pool: e.pool}, nil
}

func (e *encryptedFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := e.FS.Open(name, opts...)
	if err != nil {
		return nil, err
	}
	return e.resume(f, name)
}

func (e *encryptedFS) resume(f vfs.File, name string) (vfs.File, error) {
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		return f, nil
	}
	var out *file
	if err == nil {
		out, err = openFile(f, e.keys, e.pool)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", e.PathBase(name), errors.Join(err, f.Close()))
	}
	return out, nil
}

func (e *encryptedFS) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := e.FS.OpenReadWrite(name, category, opts...)
	if err != nil {
		return nil, err
	}
	out, err := e.resume(f, name)
	if err != nil {
		return nil, err
	}
	enc, ok := out.(*file)
	if !ok || enc.block != nil {
		return out, nil
	}
	// New, or never synced: it gets its header now.
	h, block, err := newHeader(e.keys)
	if err == nil {
		_, err = f.WriteAt(h, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("begin %s: %w", e.PathBase(name), errors.Join(err, f.Close()))
	}
	enc.block = block
	return enc, nil
}

// ReuseForWrite gives the recycled file a fresh salt, and with it another key:
// no key stream is ever used for two contents, and what the file held before
// can no longer be read by anyone.
func (e *encryptedFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := e.FS.ReuseForWrite(oldname, newname, category)
	if err != nil {
		return nil, err
	}
	return e.begin(f, newname)
}

func (e *encryptedFS) Stat(name string) (vfs.FileInfo, error) {
	info, err := e.FS.Stat(name)
	if err != nil {
		return nil, err
	}
	return shorten(info), nil
}

func (e *encryptedFS) Unwrap() vfs.FS { return e.FS }

// checkFiles looks at the header of every file in dir before the engine does,
// so that a wrong key or a newer format is told apart from damage, and nothing
// is written under a wrong key.
func (e *encryptedFS) checkFiles(dir string) error {
	names, err := e.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	for _, name := range names {
		if name == "LOCK" || isTable(name) {
			continue
		}
		if err := checkMarker(name); err != nil {
			return err
		}
		f, err := e.Open(e.PathJoin(dir, name))
		if errors.Is(err, ErrBadHeader) {
			continue // the engine judges whether it needs this file
		}
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}
