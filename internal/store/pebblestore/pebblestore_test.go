package pebblestore_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sagekeep/sagekeep/internal/store/driver"
	"github.com/sagekeep/sagekeep/internal/store/memstore"
	"github.com/sagekeep/sagekeep/internal/store/pebblestore"
	"github.com/sagekeep/sagekeep/internal/store/storetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Engine {
		t.Helper()
		return memstore.NewMachine(rand.Uint64())
	})
}

func key(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

func openDir(t *testing.T, dir string, keys pebblestore.Keys) driver.Store {
	t.Helper()
	s, err := pebblestore.Open(dir, keys, pebblestore.Options{MemTableBytes: 256 << 10})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s
}

func put(t *testing.T, s driver.Store, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		err := s.Apply(t.Context(), func(w driver.Writer) error { return w.Set(row(i), value(i)) })
		if err != nil {
			t.Fatalf("Apply: %v", err)
		}
	}
}

func row(i int) []byte   { return fmt.Appendf(nil, "marked-name-%05d", i) }
func value(i int) []byte { return bytes.Repeat(fmt.Appendf(nil, "marked-value-%05d ", i), 500) }

func check(t *testing.T, s driver.Store, n int) {
	t.Helper()
	err := s.View(t.Context(), func(r driver.Reader) error {
		i := 0
		for p, err := range r.Scan(driver.Range{}) {
			if err != nil {
				return err
			}
			if !bytes.Equal(p.Key, row(i)) || !bytes.Equal(p.Value, value(i)) {
				return fmt.Errorf("row %d reads back as %.40q = %.40q", i, p.Key, p.Value)
			}
			i++
		}
		if i != n {
			return fmt.Errorf("%d rows, want %d", i, n)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestRealFiles fills several logs, so that they are recycled, flushed and
// compacted, and opens the files again.
func TestRealFiles(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "rows")
	n := 0
	for range 3 {
		s := openDir(t, dir, pebblestore.SingleKey(key(1)))
		check(t, s, n)
		put(t, s, n, n+120)
		n += 120
		if free, total, err := s.FreeSpace(); err != nil || free == 0 || free > total {
			t.Errorf("FreeSpace = %d, %d, %v", free, total, err)
		}
		if err := s.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) < 4 {
		t.Fatalf("%d files in the directory, %v", len(names), err)
	}
	salts := make(map[string]string)
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("marked-")) || strings.Contains(name, "marked-") {
			t.Errorf("%s shows a stored name or value", filepath.Base(name))
		}
		if len(b) < 64 {
			continue
		}
		if other, ok := salts[string(b[16:48])]; ok {
			t.Errorf("%s and %s have the same salt", other, filepath.Base(name))
		}
		salts[string(b[16:48])] = filepath.Base(name)
	}
	if len(salts) < 3 {
		t.Errorf("%d encrypted files, want some", len(salts))
	}
}

func TestSecondOpenIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openDir(t, dir, pebblestore.SingleKey(key(1)))
	defer s.Close()
	if _, err := pebblestore.Open(dir, pebblestore.SingleKey(key(1)), pebblestore.Options{}); err == nil {
		t.Error("a directory in use was opened again")
	}
}

func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	m := make(map[string]string)
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no files in the directory: %v", err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		m[filepath.Base(name)] = string(b)
	}
	return m
}

func TestRefusedOpenWritesNothing(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		keys  pebblestore.Keys
		spoil func(t *testing.T, dir string)
		want  error
	}{
		{name: "wrong key", keys: pebblestore.SingleKey(key(2)), want: pebblestore.ErrWrongKey},
		{name: "unknown key number", keys: ring{3: key(1)}, want: pebblestore.ErrWrongKey},
		{name: "newer file version", keys: pebblestore.SingleKey(key(1)), want: pebblestore.ErrNewerFormat, spoil: raiseVersion},
		{name: "newer engine version", keys: pebblestore.SingleKey(key(1)), want: pebblestore.ErrNewerFormat, spoil: raiseMarker},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := openDir(t, dir, pebblestore.SingleKey(key(1)))
			put(t, s, 0, 5)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if tc.spoil != nil {
				tc.spoil(t, dir)
			}
			was := snapshot(t, dir)
			_, err := pebblestore.Open(dir, tc.keys, pebblestore.Options{})
			if !errors.Is(err, tc.want) {
				t.Fatalf("Open = %v, want %v", err, tc.want)
			}
			is := snapshot(t, dir)
			for name := range is {
				if is[name] != was[name] {
					t.Errorf("the refused Open changed %s", name)
				}
			}
			if len(is) != len(was) {
				t.Errorf("the refused Open left %d files of %d", len(is), len(was))
			}
		})
	}
}

func raiseVersion(t *testing.T, dir string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "MANIFEST-*"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no manifest: %v", err)
	}
	b, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	binary.BigEndian.PutUint16(b[4:], 2)
	if err := os.WriteFile(names[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func raiseMarker(t *testing.T, dir string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "marker.format-version.*"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no marker: %v", err)
	}
	for _, name := range names {
		newer := name[:strings.LastIndex(name, ".")] + ".999"
		if err := os.Rename(name, newer); err != nil {
			t.Fatal(err)
		}
	}
}

// ring is a set of files keys; the highest number is the newest.
type ring map[uint32][]byte

func (r ring) Newest() (uint32, []byte, error) {
	var n uint32
	for i := range r {
		n = max(n, i)
	}
	return n, r[n], nil
}

func (r ring) ByNumber(n uint32) ([]byte, error) {
	if k, ok := r[n]; ok {
		return k, nil
	}
	return nil, errors.New("no such key")
}

func TestNewKeyBesideOldFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openDir(t, dir, ring{1: key(1)})
	put(t, s, 0, 100)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openDir(t, dir, ring{1: key(1), 2: key(2)})
	defer s.Close()
	check(t, s, 100)
	put(t, s, 100, 110)
	check(t, s, 110)
}

func TestKeyDoesNotPrint(t *testing.T) {
	t.Parallel()
	got := fmt.Sprintf("%v %+v %#v", pebblestore.SingleKey(key('K')), pebblestore.SingleKey(key('K')), pebblestore.SingleKey(key('K')))
	if strings.Contains(got, "KKK") || strings.Contains(got, "75, 75") || strings.Contains(got, "0x4b") {
		t.Errorf("a files key prints as %s", got)
	}
}
