package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/sagekeep/sagekeep/internal/store"
	"github.com/sagekeep/sagekeep/internal/store/memstore"
	"github.com/sagekeep/sagekeep/internal/store/storetest"
)

type grant struct {
	ID      string
	Key     string
	Grantee string
	Ops     []string
}

func byGrantee(g grant) []store.Key { return []store.Key{{g.Grantee}} }

func newStore(t *testing.T) *store.Store {
	t.Helper()
	return store.New(memstore.New(t), storetest.NewSealer(), store.Options{})
}

func tables() map[string]*store.Table[grant] {
	return map[string]*store.Table[grant]{
		"hashed":  store.Hashed("kms.grant", store.WithIndex("grantee", byGrantee)),
		"ordered": store.Ordered("kms.grant", store.WithIndex("grantee", byGrantee)),
	}
}

func update(t *testing.T, s *store.Store, fn func(*store.Tx) error) {
	t.Helper()
	if err := s.Update(t.Context(), fn); err != nil {
		t.Fatalf("Update: %v", err)
	}
}

func view(t *testing.T, s *store.Store, fn func(*store.Tx) error) {
	t.Helper()
	if err := s.View(t.Context(), fn); err != nil {
		t.Fatalf("View: %v", err)
	}
}

func TestTableRoundTrip(t *testing.T) {
	t.Parallel()
	for name, tab := range tables() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStore(t)
			g := grant{ID: "g1", Key: "k1", Grantee: "alice", Ops: []string{"Decrypt"}}
			update(t, s, func(tx *store.Tx) error {
				if _, err := tab.Get(tx, "k1", "g1"); !errors.Is(err, store.ErrNotFound) {
					return fmt.Errorf("Get before Put: %v, want ErrNotFound", err)
				}
				if err := tab.Put(tx, g, "k1", "g1"); err != nil {
					return err
				}
				got, err := tab.Get(tx, "k1", "g1")
				if err != nil || got.Grantee != "alice" {
					return fmt.Errorf("own write: got %+v, %v", got, err)
				}
				return nil
			})
			view(t, s, func(tx *store.Tx) error {
				if err := tab.Put(tx, g, "k1", "g1"); !errors.Is(err, store.ErrReadOnly) {
					t.Errorf("Put in View: %v, want ErrReadOnly", err)
				}
				ok, err := tab.Exists(tx, "k1", "g1")
				if err != nil || !ok {
					t.Errorf("Exists = %v, %v, want true", ok, err)
				}
				return nil
			})
			update(t, s, func(tx *store.Tx) error {
				return errors.Join(tab.Delete(tx, "k1", "g1"), tab.Delete(tx, "k1", "missing"))
			})
			view(t, s, func(tx *store.Tx) error {
				if ok, err := tab.Exists(tx, "k1", "g1"); ok || err != nil {
					t.Errorf("Exists after Delete = %v, %v, want false", ok, err)
				}
				return nil
			})
		})
	}
}

func TestUpdateRollsBack(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	tab := store.Hashed[grant]("kms.grant")
	want := errors.New("refused")
	err := s.Update(t.Context(), func(tx *store.Tx) error {
		if err := tab.Put(tx, grant{ID: "x"}, "x"); err != nil {
			return err
		}
		return want
	})
	if !errors.Is(err, want) {
		t.Fatalf("Update = %v, want %v", err, want)
	}
	view(t, s, func(tx *store.Tx) error {
		if ok, _ := tab.Exists(tx, "x"); ok {
			t.Error("the row of a failed Update exists")
		}
		return nil
	})
}

func TestTxAfterEnd(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	tab := store.Hashed[grant]("kms.grant")
	var kept *store.Tx
	var ctx context.Context
	update(t, s, func(tx *store.Tx) error {
		kept, ctx = tx, tx.Context(t.Context())
		return nil
	})
	if _, err := tab.Get(kept, "x"); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get on an ended transaction = %v, want an error of its own", err)
	}
	if err := s.Update(ctx, func(*store.Tx) error { return nil }); err == nil {
		t.Error("Update joined an ended transaction")
	}
}
