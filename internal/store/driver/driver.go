// Package driver is what a row engine gives to package store: ordered byte
// keys, one-snapshot reads, serializable durable writes. It is deliberately
// small, so that an embedded engine and a PostgreSQL server can both keep it;
// sealing, typed rows, indexes, epochs and the journal live once, in store.
//
// Package storetest holds the conformance kit that every driver passes.
package driver

import (
	"context"
	"errors"
	"iter"
)

var (
	// ErrNotFound is returned, wrapped or not, by Get for a key without a value.
	ErrNotFound = errors.New("store: not found")

	// ErrClosed is returned by every method after Close began.
	ErrClosed = errors.New("store: closed")
)

// Range selects keys for a scan.
type Range struct {
	Lower   []byte // first key of the range; empty means the lowest key
	Upper   []byte // first key behind the range; empty means no bound
	Limit   int    // most pairs to yield; 0 means all
	Reverse bool   // highest key first
}

// Pair is one key and its value. Both slices belong to the scan and are valid
// only until its next step.
type Pair struct {
	Key, Value []byte
}

// Reader reads one snapshot. It must not be used concurrently, nor after the
// function it was given to has returned.
type Reader interface {
	// Get returns the value of key in a slice the caller owns, or ErrNotFound.
	Get(key []byte) ([]byte, error)

	// Scan yields the pairs of r in key order. In a transaction it shows the
	// writes made before the scan began. After an error nothing more is yielded.
	Scan(r Range) iter.Seq2[Pair, error]

	// Position returns a number for WaitDurable that covers every commit
	// that this reader can have seen.
	Position() uint64
}

// Writer collects changes. The caller may reuse key and value as soon as a
// method has returned.
type Writer interface {
	// Set stores value under key.
	Set(key, value []byte) error

	// Delete removes key; a missing key is no error.
	Delete(key []byte) error
}

// Txn is a serializable transaction that reads its own writes.
type Txn interface {
	Reader
	Writer
}

// Store is an ordered, transactional, durable map of byte keys. All methods
// may be called concurrently.
type Store interface {
	// View runs fn once on one snapshot, which holds every commit whose Update
	// or Apply returned before View was called. It may hold commits that are not
	// durable yet: see WaitDurable. It returns fn's error as it is.
	View(ctx context.Context, fn func(Reader) error) error

	// Update runs fn in a serializable transaction and returns when the
	// commit is durable. fn may run several times and must do no I/O of its own;
	// when it fails nothing is written and its error is returned as it is. Update
	// also waits until everything that fn can have seen is durable, even when fn
	// failed or wrote nothing. ctx is not looked at once the commit began.
	Update(ctx context.Context, fn func(Txn) error) error

	// Apply writes without reading. fn runs exactly once, when the place of
	// this commit among those of Update and Apply is settled, so that a number fn
	// takes from a counter rises in commit order. It returns when the commit is
	// durable.
	Apply(ctx context.Context, fn func(Writer) error) error

	// WaitDurable returns when every commit up to position is durable. It costs
	// next to nothing when that is already so.
	WaitDurable(ctx context.Context, position uint64) error

	// Compact rewrites the stored data so that deleted and replaced values are
	// gone from the engine's files.
	Compact(ctx context.Context) error

	// FreeSpace returns the bytes available to this process and the size of the
	// file system that holds the data. An engine that cannot know answers
	// math.MaxUint64 for both.
	FreeSpace() (free, total uint64, err error)

	// Close waits for running calls and releases the engine.
	Close() error
}
