package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sagekeep/sagekeep/internal/store"
)

func found(t *testing.T, s *store.Store, tab *store.Table[grant], prefix store.Key, opt store.ScanOptions) []string {
	t.Helper()
	var ids []string
	view(t, s, func(tx *store.Tx) error {
		for row, err := range tab.ByIndex(tx, "grantee", prefix, opt) {
			if err != nil {
				return err
			}
			ids = append(ids, row.Value.ID)
		}
		return nil
	})
	return ids
}

func TestIndexFollowsRows(t *testing.T) {
	t.Parallel()
	for name, tab := range tables() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStore(t)
			update(t, s, func(tx *store.Tx) error {
				for i, who := range []string{"alice", "bob", "alice", "bobby", "alice"} {
					id := fmt.Sprint("g", i)
					if err := tab.Put(tx, grant{ID: id, Grantee: who}, "key", id); err != nil {
						return err
					}
				}
				return nil
			})
			want := func(who string, ids ...string) {
				t.Helper()
				got := found(t, s, tab, store.Key{who}, store.ScanOptions{})
				slices.Sort(got)
				if !slices.Equal(got, ids) {
					t.Errorf("rows of %s = %v, want %v", who, got, ids)
				}
			}
			want("alice", "g0", "g2", "g4")
			want("bob", "g1")
			update(t, s, func(tx *store.Tx) error {
				return errors.Join(
					tab.Put(tx, grant{ID: "g0", Grantee: "bob"}, "key", "g0"),
					tab.Put(tx, grant{ID: "g2", Grantee: "alice", Ops: []string{"Decrypt"}}, "key", "g2"),
					tab.Delete(tx, "key", "g4"),
				)
			})
			want("alice", "g2")
			want("bob", "g0", "g1")
			if n := len(found(t, s, tab, nil, store.ScanOptions{})); n != 4 {
				t.Errorf("the whole index has %d entries, want 4", n)
			}
			// A loop may delete the rows it walks over.
			update(t, s, func(tx *store.Tx) error {
				for row, err := range tab.ByIndex(tx, "grantee", store.Key{"bob"}, store.ScanOptions{}) {
					if err != nil {
						return err
					}
					if err := errors.Join(tab.Delete(tx, "key", "g0"), tab.Delete(tx, "key", row.Value.ID)); err != nil {
						return err
					}
				}
				return nil
			})
			want("bob")
			want("bobby", "g3")
		})
	}
}

func TestOrderedIndexPages(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	tab := store.Ordered("t", store.WithIndex("grantee", byGrantee))
	var all []string
	update(t, s, func(tx *store.Tx) error {
		for i := range 25 {
			id := fmt.Sprintf("g%02d", i)
			all = append(all, id)
			if err := tab.Put(tx, grant{ID: id, Grantee: "x"}, id); err != nil {
				return err
			}
		}
		return nil
	})
	for _, reverse := range []bool{false, true} {
		var got []string
		var next []byte
		for {
			var p store.Page[grant]
			view(t, s, func(tx *store.Tx) (err error) {
				p, err = tab.PageByIndex(tx, "grantee", store.Key{"x"}, store.ScanOptions{Limit: 10, After: next, Reverse: reverse})
				return err
			})
			for _, g := range p.Values {
				got = append(got, g.ID)
			}
			if next = p.Next; next == nil {
				break
			}
		}
		want := slices.Clone(all)
		if reverse {
			slices.Reverse(want)
		}
		if !slices.Equal(got, want) {
			t.Errorf("reverse %v: got %v", reverse, got)
		}
	}
}

func TestManyIndexKeysPerRow(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	tab := store.Hashed("t", store.WithIndex("grantee", func(g grant) []store.Key {
		var keys []store.Key
		for _, op := range g.Ops {
			keys = append(keys, store.Key{op})
		}
		return keys
	}))
	update(t, s, func(tx *store.Tx) error {
		return errors.Join(
			tab.Put(tx, grant{ID: "a", Ops: []string{"Encrypt", "Decrypt", "Decrypt"}}, "a"),
			tab.Put(tx, grant{ID: "b"}, "b"),
		)
	})
	if got := strings.Join(found(t, s, tab, store.Key{"Decrypt"}, store.ScanOptions{}), " "); got != "a" {
		t.Errorf("Decrypt finds %q, want a", got)
	}
	update(t, s, func(tx *store.Tx) error {
		return tab.Put(tx, grant{ID: "a", Ops: []string{"Encrypt"}}, "a")
	})
	if got := found(t, s, tab, store.Key{"Decrypt"}, store.ScanOptions{}); len(got) > 0 {
		t.Errorf("Decrypt still finds %v", got)
	}
	if got := found(t, s, tab, store.Key{"Encrypt"}, store.ScanOptions{}); len(got) != 1 {
		t.Errorf("Encrypt finds %v, want a", got)
	}
}

func TestUnknownIndex(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	tab := store.Hashed[grant]("t")
	view(t, s, func(tx *store.Tx) error {
		for _, err := range tab.ByIndex(tx, "missing", nil, store.ScanOptions{}) {
			if err != nil {
				return nil
			}
		}
		t.Error("an unknown index yields no error")
		return nil
	})
}
