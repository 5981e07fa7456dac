// Package store keeps all rows: typed tables with secondary indexes, cache
// epochs and the audit journal, on an ordered transactional key-value driver.
//
// One commit holds a change, its index entries, its epochs and its audit
// record. Every value is sealed with its class and key as associated data, so
// a row cannot be read, altered or put in another row's place.
//
// The stored bytes are described in docs/formats/rows.md.
package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sagekeep/sagekeep/internal/store/driver"
)

var (
	// ErrNotFound says that a row does not exist.
	ErrNotFound = driver.ErrNotFound

	// ErrClosed says that the store has been closed.
	ErrClosed = driver.ErrClosed

	// ErrFull says that free space is low: writes are refused, reads go on.
	ErrFull = errors.New("store: free space is low, writes are refused")

	// ErrReadOnly says that a View, or an Update joined to one, tried to write.
	ErrReadOnly = errors.New("store: write in a read-only transaction")

	// ErrDamaged says that stored bytes do not open or do not fit their place.
	ErrDamaged = errors.New("store: damaged row")

	// ErrNewerFormat says that stored bytes were written by a newer version.
	ErrNewerFormat = errors.New("store: written in a newer format")

	// ErrBadCursor says that a cursor does not belong to the scan it was given to.
	ErrBadCursor = errors.New("store: cursor of another scan")

	errTxDone = errors.New("store: transaction used after its end")
)

// Sealer seals values and hides names. Implementations are safe for
// concurrent use.
type Sealer interface {
	// Seal encrypts plaintext for class, bound to aad, into a fresh slice.
	Seal(class string, aad, plaintext []byte) ([]byte, error)

	// Open reverses Seal. It fails for any other class, aad or sealed bytes.
	Open(class string, aad, sealed []byte) ([]byte, error)

	// MAC returns HMAC-SHA-256 of data under the key of class, cut to 16 bytes.
	// It must stay the same for as long as rows of class exist.
	MAC(class string, data []byte) [16]byte
}

// Options configures a Store. The zero value is usable.
type Options struct {
	// Node tells the journals of several nodes on one database apart.
	Node [8]byte

	// Now gives the commit time of journal blocks; time.Now when nil.
	Now func() time.Time

	// FreeSpace replaces the driver's own, to test what a full disk does.
	FreeSpace func() (free, total uint64, err error)
}

// Store is the portable row store. All methods may be called concurrently.
type Store struct {
	d       driver.Store
	sealer  Sealer
	now     func() time.Time
	space   *spaceGuard
	epochs  epochs
	names   nameCache
	journal *Journal
}

// New returns a store on d that seals with s. The store does not own d: close
// it with Close.
func New(d driver.Store, s Sealer, opt Options) *Store {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.FreeSpace == nil {
		opt.FreeSpace = d.FreeSpace
	}
	st := &Store{d: d, sealer: s, now: opt.Now, space: newSpaceGuard(opt.FreeSpace)}
	st.journal = newJournal(st, opt.Node)
	return st
}

// Close closes the driver. Running calls end first; later ones get ErrClosed.
func (s *Store) Close() error { return s.d.Close() }

// Compact removes deleted and replaced values from the engine's files.
func (s *Store) Compact(ctx context.Context) error { return s.d.Compact(ctx) }

// Journal returns the audit journal of this node.
func (s *Store) Journal() *Journal { return s.journal }

// View runs fn on one snapshot and returns when everything that fn can have
// seen is durable. Inside a transaction (see Tx.Context) fn runs in it.
func (s *Store) View(ctx context.Context, fn func(*Tx) error) error {
	var position uint64
	joined, err := s.view(ctx, fn, &position)
	if joined {
		return err
	}
	if werr := s.d.WaitDurable(ctx, position); werr != nil {
		return errors.Join(err, werr)
	}
	return err
}

// ViewEarly is View without the wait: what fn sees may be lost in a crash at
// this instant. Only object and online-record reads may use it.
func (s *Store) ViewEarly(ctx context.Context, fn func(*Tx) error) error {
	var position uint64
	_, err := s.view(ctx, fn, &position)
	return err
}

func (s *Store) view(ctx context.Context, fn func(*Tx) error, position *uint64) (joined bool, err error) {
	if tx := s.joined(ctx); tx != nil {
		if tx.done {
			return true, errTxDone
		}
		return true, fn(tx)
	}
	return false, s.d.View(ctx, func(r driver.Reader) error {
		tx := &Tx{s: s, r: r}
		defer tx.end()
		err := fn(tx)
		*position = r.Position()
		return err
	})
}

// WaitDurable returns when every commit visible now is durable.
func (s *Store) WaitDurable(ctx context.Context) error {
	var position uint64
	err := s.d.View(ctx, func(r driver.Reader) error {
		position = r.Position()
		return nil
	})
	if err != nil {
		return err
	}
	return s.d.WaitDurable(ctx, position)
}

// Update runs fn in a serializable transaction; the commit is durable when it
// returns nil. fn may run several times, must do no I/O and must not keep tx.
// Journal entries waiting in ctx (WithPending) are written in the same commit.
// Inside a transaction (see Tx.Context) fn runs in it and nothing is committed
// yet; when fn then fails after it wrote, the whole transaction fails.
//
// Errors: fn's own; ErrFull when free space is low; ErrClosed.
func (s *Store) Update(ctx context.Context, fn func(*Tx) error) error {
	if tx := s.joined(ctx); tx != nil {
		return tx.join(ctx, fn)
	}
	if err := s.space.check(); err != nil {
		return err
	}
	pending := pendingFrom(ctx)
	if pending != nil {
		if err := s.journal.ready(ctx); err != nil {
			return err
		}
	}
	var tx *Tx
	err := s.d.Update(ctx, func(w driver.Txn) error {
		if tx != nil {
			tx.rewind()
		}
		tx = &Tx{s: s, r: w, w: w}
		tx.adopt(pending)
		defer tx.end()
		if err := fn(tx); err != nil {
			return err
		}
		if tx.doomed != nil {
			return fmt.Errorf("store: a joined update failed: %w", tx.doomed)
		}
		if err := tx.writeEpochs(); err != nil {
			return err
		}
		if err := tx.writePending(); err != nil {
			return err
		}
		tx.complete = true
		return nil
	})
	if tx != nil && tx.complete {
		// Also after an error: whether the commit is visible may be unknown.
		tx.raiseEpochs()
	}
	if err != nil && tx != nil {
		tx.rewind()
	}
	return err
}

// Tx is one transaction. It must not be used concurrently, nor after the
// function it was given to has returned.
type Tx struct {
	s        *Store
	r        driver.Reader
	w        driver.Txn // nil in a View
	bumps    []string   // epochs to raise, each once
	pending  []adopted
	writes   int // changes so far, to see whether a failed joined update left any
	doomed   error
	complete bool // fn and the store's own writes succeeded
	done     bool
}

type txKey struct{ s *Store }

// Context returns a child of ctx in which View and Update of this store run
// inside tx. It must not outlive tx.
func (tx *Tx) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, txKey{tx.s}, tx)
}

// InTransaction reports whether View and Update run inside a transaction in ctx.
// What is read then may not be committed: no cache may keep it.
func (s *Store) InTransaction(ctx context.Context) bool { return s.joined(ctx) != nil }

func (s *Store) joined(ctx context.Context) *Tx {
	tx, _ := ctx.Value(txKey{s}).(*Tx)
	return tx
}

func (tx *Tx) join(ctx context.Context, fn func(*Tx) error) error {
	if tx.done {
		return errTxDone
	}
	if tx.w == nil {
		return ErrReadOnly
	}
	pending := pendingFrom(ctx)
	mark := 0
	if pending != nil {
		if err := tx.s.journal.ready(ctx); err != nil {
			return err
		}
		mark = pending.Mark()
		tx.adopt(pending)
	}
	before := tx.writes
	err := fn(tx)
	if err != nil {
		if tx.writes != before && tx.doomed == nil {
			tx.doomed = err
		}
		if pending != nil {
			pending.Rewind(mark)
		}
	}
	return err
}

func (tx *Tx) end() { tx.done = true }

func (tx *Tx) get(raw []byte) ([]byte, error) {
	if tx.done {
		return nil, errTxDone
	}
	return tx.r.Get(raw)
}

func (tx *Tx) set(raw, value []byte) error {
	if err := tx.writable(); err != nil {
		return err
	}
	tx.writes++
	return tx.w.Set(raw, value)
}

func (tx *Tx) remove(raw []byte) error {
	if err := tx.writable(); err != nil {
		return err
	}
	tx.writes++
	return tx.w.Delete(raw)
}

func (tx *Tx) writable() error {
	if tx.done {
		return errTxDone
	}
	if tx.w == nil {
		return ErrReadOnly
	}
	return nil
}
