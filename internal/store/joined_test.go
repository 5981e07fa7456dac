package store_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/sagekeep/sagekeep/internal/store"
	"github.com/sagekeep/sagekeep/internal/store/driver"
	"github.com/sagekeep/sagekeep/internal/store/memstore"
	"github.com/sagekeep/sagekeep/internal/store/storetest"
)

// pending is a list of entries that are taken at commit time.
type pending struct {
	entries []string
	fail    error
	takes   int
	calls   []string
}

func (p *pending) Take() ([][]byte, error) {
	p.takes++
	p.calls = append(p.calls, "take")
	if p.fail != nil {
		return nil, p.fail
	}
	var out [][]byte
	for _, e := range p.entries {
		out = append(out, []byte(e))
	}
	return out, nil
}

func (p *pending) Mark() int {
	p.calls = append(p.calls, "mark")
	return len(p.entries)
}

func (p *pending) Rewind(mark int) {
	p.calls = append(p.calls, "rewind")
	p.entries = p.entries[:mark]
}

func TestPendingInCommit(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	tab := store.Hashed[int]("t")
	p := &pending{}
	ctx := store.WithPending(t.Context(), p)
	err := s.Update(ctx, func(tx *store.Tx) error {
		p.entries = append(p.entries, "one", "two")
		return tab.Put(tx, 1, "a")
	})
	if err != nil {
		t.Fatal(err)
	}
	appendText(t, s, "three")
	rs := records(t, s, store.JournalScan{})
	if got := texts(rs); got != "one two three" || rs[0].Seq != 0 || rs[1].Index != 1 || rs[2].Seq != 1 {
		t.Errorf("journal %q, %+v", got, rs)
	}
	if want := []string{"mark", "take"}; !slices.Equal(p.calls, want) {
		t.Errorf("calls %v, want %v", p.calls, want)
	}
}

func TestPendingOfFailedUpdate(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	tab := store.Hashed[int]("t")
	refused := errors.New("refused")
	for name, p := range map[string]*pending{"fn fails": {}, "Take fails": {fail: refused}} {
		err := s.Update(store.WithPending(t.Context(), p), func(tx *store.Tx) error {
			p.entries = append(p.entries, "never")
			if err := tab.Put(tx, 1, name); err != nil || p.fail != nil {
				return err
			}
			return refused
		})
		if !errors.Is(err, refused) || len(p.entries) != 0 || p.calls[len(p.calls)-1] != "rewind" {
			t.Errorf("%s: %v, entries %v, calls %v", name, err, p.entries, p.calls)
		}
		view(t, s, func(tx *store.Tx) error {
			if ok, err := tab.Exists(tx, name); ok || err != nil {
				t.Errorf("%s: the row is there, %v", name, err)
			}
			return nil
		})
	}
	if rs := records(t, s, store.JournalScan{}); len(rs) != 0 {
		t.Errorf("journal %q, want nothing", texts(rs))
	}
}

// retrying runs each transaction twice and throws the first run away, as a
// driver does after a serialization failure.
type retrying struct{ driver.Store }

func (r retrying) Update(ctx context.Context, fn func(driver.Txn) error) error {
	again := errors.New("run again")
	err := r.Store.Update(ctx, func(w driver.Txn) error {
		if err := fn(w); err != nil {
			return err
		}
		return again
	})
	if !errors.Is(err, again) {
		return err
	}
	return r.Store.Update(ctx, fn)
}

func TestPendingOfRetriedUpdate(t *testing.T) {
	t.Parallel()
	s := store.New(retrying{memstore.New(t)}, storetest.NewSealer(), store.Options{})
	tab := store.Hashed[int]("t")
	outer, inner := &pending{}, &pending{}
	runs := 0
	err := s.Update(store.WithPending(t.Context(), outer), func(tx *store.Tx) error {
		runs++
		tx.Bump("e")
		outer.entries = append(outer.entries, "outer")
		if len(outer.entries) != 1 {
			t.Errorf("run %d sees entries %v", runs, outer.entries)
		}
		ctx := store.WithPending(tx.Context(t.Context()), inner)
		return s.Update(ctx, func(tx *store.Tx) error {
			inner.entries = append(inner.entries, "inner")
			return tab.Put(tx, runs, "a")
		})
	})
	if err != nil || runs != 2 {
		t.Fatalf("Update = %v after %d runs", err, runs)
	}
	if got := texts(records(t, s, store.JournalScan{})); got != "outer inner" {
		t.Errorf("journal %q, want %q", got, "outer inner")
	}
	if n := s.Epoch("e"); n != 1 {
		t.Errorf("epoch %d, want 1", n)
	}
	if outer.takes != 2 || inner.takes != 2 {
		t.Errorf("taken %d and %d times, want once per attempt", outer.takes, inner.takes)
	}
}

func TestJoinedTransactions(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	tab := store.Hashed[int]("t")
	refused := errors.New("refused")
	update(t, s, func(tx *store.Tx) error {
		ctx := tx.Context(t.Context())
		if err := tab.Put(tx, 1, "a"); err != nil {
			return err
		}
		err := s.Update(ctx, func(inner *store.Tx) error {
			if n, err := tab.Get(inner, "a"); n != 1 || err != nil {
				t.Errorf("the joined update reads %d, %v", n, err)
			}
			return tab.Put(inner, 2, "b")
		})
		if err != nil {
			return err
		}
		// A joined update that only looked may fail without harm.
		if err := s.Update(ctx, func(*store.Tx) error { return refused }); !errors.Is(err, refused) {
			t.Errorf("joined update = %v, want %v", err, refused)
		}
		return s.View(ctx, func(inner *store.Tx) error {
			n, err := tab.Get(inner, "b")
			if n != 2 {
				t.Errorf("the joined view reads %d", n)
			}
			return err
		})
	})
	err := s.Update(t.Context(), func(tx *store.Tx) error {
		ctx := tx.Context(t.Context())
		_ = s.Update(ctx, func(inner *store.Tx) error {
			return errors.Join(tab.Put(inner, 9, "a"), refused)
		})
		return nil // the half-written change must not be committed
	})
	if !errors.Is(err, refused) {
		t.Errorf("Update with a failed joined update = %v, want %v", err, refused)
	}
	err = s.View(t.Context(), func(tx *store.Tx) error {
		if n, err := tab.Get(tx, "a"); n != 1 || err != nil {
			t.Errorf("row a is %d, %v, want 1", n, err)
		}
		return s.Update(tx.Context(t.Context()), func(*store.Tx) error { return nil })
	})
	if !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("Update joined to a View = %v, want ErrReadOnly", err)
	}
	other := newStore(t)
	update(t, s, func(tx *store.Tx) error {
		return other.Update(tx.Context(t.Context()), func(o *store.Tx) error {
			if o == tx {
				t.Error("another store's update joined")
			}
			return nil
		})
	})
}
