package store_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"
	"unicode/utf16"

	"github.com/sagekeep/sagekeep/internal/store"
	"github.com/sagekeep/sagekeep/internal/store/driver"
	"github.com/sagekeep/sagekeep/internal/store/memstore"
	"github.com/sagekeep/sagekeep/internal/store/storetest"
)

// forms returns the byte forms in which a marked text might lie in a file.
func forms(mark string) [][]byte {
	b := []byte(mark)
	var le, be []byte
	for _, u := range utf16.Encode([]rune(mark)) {
		le = binary.LittleEndian.AppendUint16(le, u)
		be = binary.BigEndian.AppendUint16(be, u)
	}
	out := [][]byte{b, le, be, []byte(hex.EncodeToString(b)), bytes.ToUpper([]byte(hex.EncodeToString(b)))}
	for shift := range 3 {
		// The part of the base64 text that does not depend on its neighbours.
		e := base64.StdEncoding.EncodeToString(append(make([]byte, shift), b...))
		out = append(out, []byte(e[4:len(e)-4]))
	}
	return out
}

// TestNoPlaintextInFiles stores marked names, values, epochs and records, with
// flushes and compactions, and looks for them in every file.
func TestNoPlaintextInFiles(t *testing.T) {
	t.Parallel()
	m := memstore.NewMachine(1)
	d, err := m.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := store.New(d, storetest.NewSealer(), store.Options{})
	hashed := store.Hashed("kms.grant", store.WithIndex("grantee", byGrantee))
	ordered := store.Ordered("s3.object", store.WithIndex("grantee", byGrantee))
	for i := range 40 {
		g := grant{ID: "secretident", Grantee: "secretprincipal", Ops: []string{"secretvalue"}}
		update(t, s, func(tx *store.Tx) error {
			tx.Bump("secretepoch")
			return errors.Join(
				hashed.Put(tx, g, "secretcomponent", fmt.Sprint("secretcomponent", i)),
				ordered.Put(tx, g, "secretbucket", fmt.Sprint("secretobject", i)),
			)
		})
		if err := s.Journal().Append(t.Context(), []byte("secretrecord "+fmt.Sprint(i)), bytes.Repeat([]byte("secretrecord"), 100)); err != nil {
			t.Fatal(err)
		}
		if i == 20 {
			if err := s.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	check := func(when string) {
		files, err := m.Files()
		if err != nil || len(files) < 4 {
			t.Fatalf("%d files, %v", len(files), err)
		}
		for _, mark := range []string{
			"secretident", "secretprincipal", "secretvalue", "secretcomponent", "secretbucket",
			"secretobject", "secretepoch", "secretrecord",
		} {
			for _, form := range forms(mark) {
				for name, b := range files {
					if bytes.Contains(b, form) || bytes.Contains([]byte(name), form) {
						t.Errorf("%s: %s shows %q as %q", when, name, mark, form)
					}
				}
			}
		}
	}
	check("open")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check("closed")
}

// TestHashedKeysAreNotInRawKeys looks beneath the file encryption, where a
// database server would see.
func TestHashedKeysAreNotInRawKeys(t *testing.T) {
	t.Parallel()
	d := memstore.New(t)
	s := store.New(d, storetest.NewSealer(), store.Options{})
	tab := store.Hashed("kms.grant", store.WithIndex("grantee", byGrantee))
	update(t, s, func(tx *store.Tx) error {
		tx.Bump("secretepoch")
		return tab.Put(tx, grant{ID: "secretid", Grantee: "secretwho"}, "secretkey", "secretid")
	})
	n := 0
	err := d.View(t.Context(), func(r driver.Reader) error {
		for p, err := range r.Scan(driver.Range{}) {
			if err != nil {
				return err
			}
			n++
			if bytes.Contains(p.Key, []byte("secret")) || bytes.Contains(p.Value, []byte("secret")) {
				t.Errorf("a raw pair shows a name: %q = %q", p.Key, p.Value)
			}
		}
		return nil
	})
	if err != nil || n != 3 {
		t.Errorf("%d raw pairs, %v, want a row, an index entry and an epoch", n, err)
	}
}

// TestTamperedRowsAreRefused moves and changes raw values beneath the store.
func TestTamperedRowsAreRefused(t *testing.T) {
	t.Parallel()
	type pairs = map[string][]byte
	tests := []struct {
		name   string
		tamper func(rows, entries []string, p pairs)
		want   error
	}{
		{"swapped values", func(rows, _ []string, p pairs) {
			p[rows[0]], p[rows[1]] = p[rows[1]], p[rows[0]]
		}, store.ErrDamaged},
		{"flipped bit", func(rows, _ []string, p pairs) {
			for _, k := range rows {
				p[k][len(p[k])-1] ^= 1
			}
		}, store.ErrDamaged},
		{"cut short", func(rows, _ []string, p pairs) {
			for _, k := range rows {
				p[k] = p[k][:1]
			}
		}, store.ErrDamaged},
		{"emptied", func(rows, _ []string, p pairs) {
			for _, k := range rows {
				p[k] = nil
			}
		}, store.ErrDamaged},
		{"newer version", func(rows, _ []string, p pairs) {
			for _, k := range rows {
				p[k][0] = 2
			}
		}, store.ErrNewerFormat},
		{"index entry to another row", func(_, entries []string, p pairs) {
			// The head of one entry with the row of the other.
			a, b := entries[0], entries[1]
			value := p[a]
			delete(p, a)
			delete(p, b)
			p[a[:len(a)-16]+b[len(b)-16:]] = value
			p[b[:len(b)-16]+a[len(a)-16:]] = value
		}, store.ErrDamaged},
		{"index entry of a newer version", func(_, entries []string, p pairs) {
			for _, k := range entries {
				p[k][0] = 2
			}
		}, store.ErrNewerFormat},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d := memstore.New(t)
			s := store.New(d, storetest.NewSealer(), store.Options{})
			tab := store.Hashed("kms.grant", store.WithIndex("grantee", byGrantee))
			update(t, s, func(tx *store.Tx) error {
				return errors.Join(
					tab.Put(tx, grant{ID: "a", Grantee: "alice"}, "a"),
					tab.Put(tx, grant{ID: "b", Grantee: "bob"}, "b"),
				)
			})
			tamper(t, d, tc.tamper)
			err := s.View(t.Context(), func(tx *store.Tx) error {
				for _, who := range []string{"alice", "bob"} {
					for row, err := range tab.ByIndex(tx, "grantee", store.Key{who}, store.ScanOptions{}) {
						if err != nil {
							return err
						}
						t.Errorf("%s gets %+v", who, row.Value)
					}
				}
				return nil
			})
			if !errors.Is(err, tc.want) {
				t.Errorf("reading tampered rows: %v, want %v", err, tc.want)
			}
		})
	}
}

func tamper(t *testing.T, d driver.Store, change func(rows, entries []string, p map[string][]byte)) {
	t.Helper()
	err := d.Update(t.Context(), func(w driver.Txn) error {
		p := make(map[string][]byte)
		var rows, entries []string
		for pair, err := range w.Scan(driver.Range{}) {
			if err != nil {
				return err
			}
			k := string(pair.Key)
			p[k] = bytes.Clone(pair.Value)
			if k[0] == 0x10 {
				rows = append(rows, k)
			} else {
				entries = append(entries, k)
			}
		}
		change(rows, entries, p)
		for _, k := range append(rows, entries...) {
			if err := w.Delete([]byte(k)); err != nil {
				return err
			}
		}
		for k, v := range p {
			if err := w.Set([]byte(k), v); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestWrongSealer: another keyring sees no rows of a hashed table, and cannot
// open those of an ordered one.
func TestWrongSealer(t *testing.T) {
	t.Parallel()
	d := memstore.New(t)
	s := store.New(d, storetest.NewSealer(), store.Options{})
	other := store.New(d, storetest.NewSealer(), store.Options{})
	tab := store.Ordered[grant]("t")
	update(t, s, func(tx *store.Tx) error { return tab.Put(tx, grant{ID: "a"}, "a") })
	err := other.View(t.Context(), func(tx *store.Tx) error {
		_, err := tab.Get(tx, "a")
		return err
	})
	if !errors.Is(err, store.ErrDamaged) {
		t.Errorf("Get with another keyring = %v, want ErrDamaged", err)
	}
}
