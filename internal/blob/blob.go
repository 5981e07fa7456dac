// Package blob keeps segments: immutable runs of bytes, written once, read at
// any offset, deleted whole. It knows nothing of keys or objects; what it is
// given is sealed already (internal/envelope/segment).
//
// Every Store keeps this contract, which blobtest.Run checks:
//
//  1. A segment is visible to Open and List after Commit was called, never
//     before, and then whole.
//  2. When Commit has returned nil, the segment survives kill -9 and power loss
//     (invariant I6).
//  3. A segment whose Commit was not called or failed is absent, or, after a
//     crash or an error in the very last step, present and whole. Such orphans
//     are found by List, being in no object's row, and deleted.
//  4. A Reader that is open goes on reading after Delete where the operating
//     system permits; elsewhere Delete fails and is tried again later.
package blob

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/sagekeep/sagekeep/internal/envelope/segment"
)

// ID names one segment in every Store. It sorts by age.
type ID = segment.ID

var (
	// ErrNotFound says that no committed segment has the identifier.
	ErrNotFound = errors.New("blob: no such segment")
	// ErrFull says that the space that must stay free has been reached, or that
	// the device or quota is full. Reads and deletions go on.
	ErrFull = errors.New("blob: not enough free space")
	// ErrClosed says that the Store was closed or the Writer has ended.
	ErrClosed = errors.New("blob: closed")
	// ErrBroken says that a directory could not be made durable. Nobody knows
	// which names a crash would keep, so the Store writes no more until it is
	// opened anew.
	ErrBroken = errors.New("blob: a directory sync failed earlier")
)

// Store holds segments. It is safe for use by many goroutines.
type Store interface {
	// Create begins a segment under a new identifier. The caller must end the
	// Writer by Commit or Abort. ErrFull when free space is short.
	Create(ctx context.Context) (Writer, error)
	// Open opens a committed segment. ErrNotFound when there is none.
	Open(ctx context.Context, id ID) (Reader, error)
	// Delete removes a segment. ErrNotFound when there is none. A power loss
	// soon after may bring the segment back: see contract 3.
	Delete(ctx context.Context, id ID) error
	// List yields every committed segment once, in no order; a segment that is
	// committed or deleted meanwhile may be missing. It ends after an error.
	List(ctx context.Context) iter.Seq2[Info, error]
	// Close frees what the Store holds. Afterwards all else fails with
	// ErrClosed, but open Readers and Writers may be used to their end.
	Close() error
}

// Writer writes one segment. It is for one goroutine at a time.
type Writer interface {
	// Write appends p, which the Writer does not keep. After an error every
	// later call fails, Commit too.
	io.Writer
	// ID returns the identifier the segment will have.
	ID() ID
	// Commit makes the segment visible and durable and returns its length in
	// bytes. On error the segment was given up, as by Abort.
	Commit() (size int64, err error)
	// Abort gives the segment up. After Commit or Abort it does nothing.
	Abort()
}

// Reader reads one segment. Many goroutines may use it, Close excepted.
type Reader interface {
	io.ReaderAt
	// Size returns the segment's length in bytes.
	Size() int64
	io.Closer
}

// Info is what List tells about a segment.
type Info struct {
	ID      ID
	Size    int64     // bytes
	ModTime time.Time // UTC, of the last write
}

// Reserve returns how many bytes must stay free on a device of the given size:
// 1 GiB or 2 %, whichever is more. Below, writes are refused beforehand.
func Reserve(total uint64) uint64 { return max(1<<30, total/50) }
