package blob

import (
	"io"
	"io/fs"
)

// FS is the little of a file system that Local needs; OS returns the real one.
// Names are whole paths in the operating system's form. Errors for missing and
// existing files match fs.ErrNotExist and fs.ErrExist. It is safe for use by
// many goroutines.
type FS interface {
	// Create makes a file that must not exist, mode 0600, for writing.
	Create(name string) (File, error)
	// Open opens a file for reading.
	Open(name string) (Reader, error)
	// Rename moves a closed file. It is durable after SyncDir of both folders.
	Rename(from, to string) error
	// Remove deletes a file.
	Remove(name string) error
	// Mkdir makes a folder, mode 0700, in an existing one.
	Mkdir(name string) error
	// SyncDir makes the names in a folder durable.
	SyncDir(name string) error
	// ReadDir returns the entries of a folder.
	ReadDir(name string) ([]fs.DirEntry, error)
	// Space returns the free and total bytes of the device a folder is on.
	Space(name string) (free, total uint64, err error)
}

// File is a file that is being written. It is for one goroutine at a time.
type File interface {
	io.Writer
	// StartWriteback hints that n bytes from off on will not change any more,
	// so that they can go to the device before Sync asks for it. It promises
	// nothing and reports no error: Sync does.
	StartWriteback(off, n int64)
	// Sync makes all bytes durable. After an error the file must be given up:
	// a second Sync may report success for pages that were dropped.
	Sync() error
	io.Closer
}
