package store_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sagekeep/sagekeep/internal/store"
	"github.com/sagekeep/sagekeep/internal/store/driver"
	"github.com/sagekeep/sagekeep/internal/store/memstore"
	"github.com/sagekeep/sagekeep/internal/store/pebblestore"
	"github.com/sagekeep/sagekeep/internal/store/storetest"
)

var keep = flag.Bool("update", false, "write the kept sample of the present format anew")

const sampleDir = "testdata/v1"

func openSample(t *testing.T, dir string) *store.Store {
	t.Helper()
	key := make([]byte, 32)
	key[0] = 'f'
	d, err := pebblestore.Open(dir, pebblestore.SingleKey(key), pebblestore.Options{})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	now := func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }
	return store.New(d, storetest.NewSealerFrom([32]byte{'r'}), store.Options{Now: now})
}

// TestKeptSample opens the files that version 1 of the formats left.
func TestKeptSample(t *testing.T) {
	t.Parallel()
	hashed := store.Hashed("kms.grant", store.WithIndex("grantee", byGrantee))
	ordered := store.Ordered[object]("s3.object")
	if *keep {
		writeSample(t, hashed, ordered)
	}
	names, err := filepath.Glob(filepath.Join(sampleDir, "*"))
	if err != nil || len(names) < 4 {
		t.Fatalf("the kept sample has %d files, %v", len(names), err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(sampleDir)); err != nil {
		t.Fatal(err)
	}
	s := openSample(t, dir)
	defer s.Close()
	if err := s.Prepare(t.Context()); err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	view(t, s, func(tx *store.Tx) error {
		g, err := hashed.Get(tx, "key", "g1")
		if err != nil || g.Grantee != "alice" {
			t.Errorf("grant %+v, %v", g, err)
		}
		return nil
	})
	if got := found(t, s, hashed, store.Key{"alice"}, store.ScanOptions{}); len(got) != 1 || got[0] != "g1" {
		t.Errorf("the index finds %v", got)
	}
	if got := scanned(t, s, ordered, store.Key{"bucket"}, store.ScanOptions{}); len(got) != 2 || got[0] != "a\x00b" {
		t.Errorf("objects %q", got)
	}
	if n := s.Epoch("key"); n != 1 {
		t.Errorf("epoch %d, want 1", n)
	}
	rs := records(t, s, store.JournalScan{})
	if texts(rs) != "first second" || rs[1].Seq != 1 || rs[0].Time.Year() != 2026 {
		t.Errorf("journal %q", texts(rs))
	}
	appendText(t, s, "third")
}

func writeSample(t *testing.T, hashed *store.Table[grant], ordered *store.Table[object]) {
	t.Helper()
	if err := os.RemoveAll(sampleDir); err != nil {
		t.Fatal(err)
	}
	s := openSample(t, sampleDir)
	if err := s.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := &pending{entries: []string{"first"}}
	err := s.Update(store.WithPending(t.Context(), p), func(tx *store.Tx) error {
		tx.Bump("key")
		return errors.Join(
			hashed.Put(tx, grant{ID: "g1", Grantee: "alice"}, "key", "g1"),
			ordered.Put(tx, object{Name: "a\x00b"}, "bucket", "a\x00b"),
		)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	update(t, s, func(tx *store.Tx) error { return ordered.Put(tx, object{Name: "b"}, "bucket", "b") })
	appendText(t, s, "second")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestPrepare(t *testing.T) {
	t.Parallel()
	d := memstore.New(t)
	sealer := storetest.NewSealer()
	for range 2 {
		if err := store.New(d, sealer, store.Options{}).Prepare(t.Context()); err != nil {
			t.Fatalf("Prepare: %v", err)
		}
	}
	err := store.New(d, storetest.NewSealer(), store.Options{}).Prepare(t.Context())
	if !errors.Is(err, store.ErrDamaged) {
		t.Errorf("Prepare with another keyring = %v, want ErrDamaged", err)
	}
	err = d.Update(t.Context(), func(w driver.Txn) error {
		key := []byte("\x01format")
		v, err := w.Get(key)
		if err != nil {
			return err
		}
		v[0]++
		return w.Set(key, v)
	})
	if err != nil {
		t.Fatal(err)
	}
	err = store.New(d, sealer, store.Options{}).Prepare(t.Context())
	if !errors.Is(err, store.ErrNewerFormat) {
		t.Errorf("Prepare over newer rows = %v, want ErrNewerFormat", err)
	}
}
