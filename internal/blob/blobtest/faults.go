package blobtest

import (
	"io/fs"
	"sync"

	"github.com/sagekeep/sagekeep/internal/blob"
)

// Op names an operation of blob.FS or blob.File.
type Op string

// The operations that a Faults hook sees, by the method's name in lower case.
const (
	OpCreate    Op = "create"
	OpOpen      Op = "open"
	OpRename    Op = "rename" // the hook gets the new name
	OpRemove    Op = "remove"
	OpMkdir     Op = "mkdir"
	OpSyncDir   Op = "syncdir"
	OpReadDir   Op = "readdir"
	OpWrite     Op = "write"
	OpSync      Op = "sync"
	OpClose     Op = "close"
	OpWriteback Op = "writeback" // its error is ignored
)

// Changes reports whether op changes what lies on the device.
func (op Op) Changes() bool {
	switch op {
	case OpOpen, OpReadDir, OpClose, OpWriteback:
		return false
	}
	return true
}

// Faults is a file system that fails when its hook says so. A write that fails
// has written half.
type Faults struct {
	blob.FS

	mu   sync.Mutex
	hook func(op Op, name string) error
}

// NewFaults wraps fsys; without a hook nothing fails.
func NewFaults(fsys blob.FS) *Faults { return &Faults{FS: fsys} }

// Set makes hook the judge of every operation from now on; nil ends it. The
// hook may be called by many goroutines, one at a time.
func (f *Faults) Set(hook func(op Op, name string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = hook
}

func (f *Faults) check(op Op, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.hook == nil {
		return nil
	}
	if err := f.hook(op, name); err != nil {
		return &fs.PathError{Op: string(op), Path: name, Err: err}
	}
	return nil
}

// Create implements blob.FS.
func (f *Faults) Create(name string) (blob.File, error) {
	if err := f.check(OpCreate, name); err != nil {
		return nil, err
	}
	file, err := f.FS.Create(name)
	if err != nil {
		return nil, err
	}
	return &faultyFile{File: file, f: f, name: name}, nil
}

// Open implements blob.FS.
func (f *Faults) Open(name string) (blob.Reader, error) {
	if err := f.check(OpOpen, name); err != nil {
		return nil, err
	}
	return f.FS.Open(name)
}

// Rename implements blob.FS.
func (f *Faults) Rename(from, to string) error {
	if err := f.check(OpRename, to); err != nil {
		return err
	}
	return f.FS.Rename(from, to)
}

// Remove implements blob.FS.
func (f *Faults) Remove(name string) error {
	if err := f.check(OpRemove, name); err != nil {
		return err
	}
	return f.FS.Remove(name)
}

// Mkdir implements blob.FS.
func (f *Faults) Mkdir(name string) error {
	if err := f.check(OpMkdir, name); err != nil {
		return err
	}
	return f.FS.Mkdir(name)
}

// SyncDir implements blob.FS.
func (f *Faults) SyncDir(name string) error {
	if err := f.check(OpSyncDir, name); err != nil {
		return err
	}
	return f.FS.SyncDir(name)
}

// ReadDir implements blob.FS.
func (f *Faults) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := f.check(OpReadDir, name); err != nil {
		return nil, err
	}
	return f.FS.ReadDir(name)
}

type faultyFile struct {
	blob.File
	f    *Faults
	name string
}

func (x *faultyFile) Write(p []byte) (int, error) {
	if err := x.f.check(OpWrite, x.name); err != nil {
		n, _ := x.File.Write(p[:len(p)/2])
		return n, err
	}
	return x.File.Write(p)
}

func (x *faultyFile) StartWriteback(off, n int64) {
	if x.f.check(OpWriteback, x.name) == nil {
		x.File.StartWriteback(off, n)
	}
}

func (x *faultyFile) Sync() error {
	if err := x.f.check(OpSync, x.name); err != nil {
		return err
	}
	return x.File.Sync()
}

func (x *faultyFile) Close() error {
	err := x.f.check(OpClose, x.name)
	if cerr := x.File.Close(); err == nil { // closed in any case, as close(2) does
		err = cerr
	}
	return err
}
