package store

import "context"

// Pending holds journal entries that wait for the commit of an Update. Its
// methods are called by one goroutine at a time.
type Pending interface {
	// Take hands over the waiting entries. It is called at commit time, after fn
	// returned nil, once per attempt, and again when the transaction is retried.
	Take() ([][]byte, error)

	// Mark returns a number for the present state, taken before fn runs.
	Mark() int

	// Rewind goes back to the state of mark. It is called before fn runs again
	// and when the Update fails, also after Take.
	Rewind(mark int)
}

type pendingKey struct{}

// WithPending returns a child of ctx whose next Update appends p's entries to
// the journal in its own commit.
func WithPending(ctx context.Context, p Pending) context.Context {
	return context.WithValue(ctx, pendingKey{}, p)
}

func pendingFrom(ctx context.Context) Pending {
	p, _ := ctx.Value(pendingKey{}).(Pending)
	return p
}

// adopted is a Pending that the running attempt will commit.
type adopted struct {
	p    Pending
	mark int
}

func (tx *Tx) adopt(p Pending) {
	if p == nil {
		return
	}
	for _, a := range tx.pending {
		if a.p == p {
			return
		}
	}
	tx.pending = append(tx.pending, adopted{p: p, mark: p.Mark()})
}

func (tx *Tx) rewind() {
	for i := len(tx.pending) - 1; i >= 0; i-- {
		tx.pending[i].p.Rewind(tx.pending[i].mark)
	}
}

// writePending puts the waiting entries into the transaction as one block.
func (tx *Tx) writePending() error {
	var b block
	for _, a := range tx.pending {
		entries, err := a.p.Take()
		if err != nil {
			return err
		}
		for _, e := range entries {
			if b.add(e); len(b.payload) > MaxEntry {
				return errEntryTooLong
			}
		}
	}
	if b.count == 0 {
		return nil
	}
	b.compress(nil)
	tx.writes++
	return tx.s.journal.write(tx.w, &b)
}
