// Package storetest proves that a driver keeps the contract of store/driver.
package storetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sagekeep/sagekeep/internal/store/driver"
)

// Engine is one machine with an engine on it, which the kit can crash.
type Engine interface {
	// Open opens the store as it stands after whatever happened to the machine.
	// fatal is called when the log cannot be written or synced.
	Open(fatal func(error)) (driver.Store, error)

	// Crash cuts the power and starts the machine again, healthy. A store
	// opened before may still be closed, and has no effect any more.
	Crash()

	// FailLogWrites and FailLogSyncs make the log fail with err from now on.
	FailLogWrites(err error)
	FailLogSyncs(err error)

	// SlowLogSyncs makes every sync of the log take at least d.
	SlowLogSyncs(d time.Duration)
}

// Run runs the kit. open returns a machine with an empty store.
func Run(t *testing.T, open func(t *testing.T) Engine) {
	t.Helper()
	tests := []struct {
		name string
		test func(*testing.T, Engine)
	}{
		{"GetMissing", testGetMissing},
		{"ValueIsCopied", testValueIsCopied},
		{"Scan", testScan},
		{"ScanSeesOwnWrites", testScanSeesOwnWrites},
		{"ViewIsSnapshot", testViewIsSnapshot},
		{"UpdateRollsBack", testUpdateRollsBack},
		{"LargeCommits", testLargeCommits},
		{"ContextEnds", testContextEnds},
		{"Counters", testCounters},
		{"WriteSkew", testWriteSkew},
		{"Histories", testHistories},
		{"ApplyInCommitOrder", testApplyInCommitOrder},
		{"UpdateWaitsForWhatItSaw", testUpdateWaitsForWhatItSaw},
		{"SurvivesCrash", testSurvivesCrash},
		{"FullLog", testFullLog},
		{"SyncError", testSyncError},
		{"Reopen", testReopen},
		{"Compact", testCompact},
		{"FreeSpace", testFreeSpace},
		{"Close", testClose},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.test(t, open(t))
		})
	}
}

// start opens the store of e and closes it when the test ends.
func start(t *testing.T, e Engine) driver.Store {
	t.Helper()
	s, err := e.Open(func(err error) { t.Errorf("unexpected fatal error: %v", err) })
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func set(t *testing.T, s driver.Store, pairs ...string) {
	t.Helper()
	err := s.Update(t.Context(), func(w driver.Txn) error {
		for i := 0; i < len(pairs); i += 2 {
			if err := w.Set([]byte(pairs[i]), []byte(pairs[i+1])); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("Update: %v", err)
	}
}

func get(t *testing.T, s driver.Store, key string) (string, error) {
	t.Helper()
	var value []byte
	err := s.View(t.Context(), func(r driver.Reader) (err error) {
		value, err = r.Get([]byte(key))
		return err
	})
	return string(value), err
}

func wantValue(t *testing.T, s driver.Store, key, want string) {
	t.Helper()
	if got, err := get(t, s, key); err != nil || got != want {
		t.Errorf("Get %q = %q, %v, want %q", key, got, err, want)
	}
}

func wantMissing(t *testing.T, s driver.Store, key string) {
	t.Helper()
	if got, err := get(t, s, key); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("Get %q = %q, %v, want ErrNotFound", key, got, err)
	}
}

func keys(r driver.Reader, rng driver.Range) (string, error) {
	var b bytes.Buffer
	for p, err := range r.Scan(rng) {
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%s ", p.Key)
	}
	return string(bytes.TrimSpace(b.Bytes())), nil
}

func testGetMissing(t *testing.T, e Engine) {
	s := start(t, e)
	wantMissing(t, s, "a")
	set(t, s, "a", "1", "empty", "")
	wantValue(t, s, "a", "1")
	wantValue(t, s, "empty", "")
	err := s.Update(t.Context(), func(w driver.Txn) error {
		if err := w.Delete([]byte("never")); err != nil {
			return fmt.Errorf("delete of a missing key: %w", err)
		}
		if err := w.Delete([]byte("a")); err != nil {
			return err
		}
		if _, err := w.Get([]byte("a")); !errors.Is(err, driver.ErrNotFound) {
			return fmt.Errorf("own delete: got %w, want ErrNotFound", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	wantMissing(t, s, "a")
}

func testValueIsCopied(t *testing.T, e Engine) {
	s := start(t, e)
	key, value := []byte("key"), []byte("value")
	err := s.Update(t.Context(), func(w driver.Txn) error {
		if err := w.Set(key, value); err != nil {
			return err
		}
		copy(key, "xxx")
		copy(value, "xxxxx")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wantValue(t, s, "key", "value")
	var got []byte
	err = s.View(t.Context(), func(r driver.Reader) (err error) {
		got, err = r.Get([]byte("key"))
		copy(got, "yy")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	set(t, s, "key", "other", "more", "rows")
	if string(got) != "yylue" {
		t.Errorf("a value handed out changed to %q", got)
	}
}

func testScan(t *testing.T, e Engine) {
	s := start(t, e)
	set(t, s, "a", "1", "b", "2", "b\x00", "3", "c", "4", "d", "5", "\xff\xff", "6")
	tests := []struct {
		name string
		rng  driver.Range
		want string
	}{
		{"all", driver.Range{}, "a b b\x00 c d \xff\xff"},
		{"all reversed", driver.Range{Reverse: true}, "\xff\xff d c b\x00 b a"},
		{"upper is excluded", driver.Range{Lower: []byte("b"), Upper: []byte("d")}, "b b\x00 c"},
		{"reversed, upper is excluded", driver.Range{Lower: []byte("b"), Upper: []byte("d"), Reverse: true}, "c b\x00 b"},
		{"limit", driver.Range{Lower: []byte("b"), Limit: 2}, "b b\x00"},
		{"limit reversed", driver.Range{Upper: []byte("d"), Limit: 2, Reverse: true}, "c b\x00"},
		{"limit beyond the end", driver.Range{Lower: []byte("d"), Limit: 9}, "d \xff\xff"},
		{"bounds between keys", driver.Range{Lower: []byte("aa"), Upper: []byte("bb")}, "b b\x00"},
		{"empty range", driver.Range{Lower: []byte("x"), Upper: []byte("y")}, ""},
	}
	for _, tc := range tests {
		err := s.View(t.Context(), func(r driver.Reader) error {
			got, err := keys(r, tc.rng)
			if err == nil && got != tc.want {
				t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
			}
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func testScanSeesOwnWrites(t *testing.T, e Engine) {
	s := start(t, e)
	set(t, s, "a", "1", "b", "2", "c", "3")
	err := s.Update(t.Context(), func(w driver.Txn) error {
		if err := errors.Join(w.Delete([]byte("b")), w.Set([]byte("bb"), []byte("4"))); err != nil {
			return err
		}
		if got, err := keys(w, driver.Range{}); err != nil || got != "a bb c" {
			return fmt.Errorf("scan in a transaction: got %q, %w, want %q", got, err, "a bb c")
		}
		// Rows may be taken away while the loop stands on them.
		for p, err := range w.Scan(driver.Range{}) {
			if err != nil {
				return err
			}
			if err := w.Delete(bytes.Clone(p.Key)); err != nil {
				return err
			}
		}
		got, err := keys(w, driver.Range{})
		if err != nil || got != "" {
			return fmt.Errorf("scan after deleting all: got %q, %w", got, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func testViewIsSnapshot(t *testing.T, e Engine) {
	s := start(t, e)
	set(t, s, "a", "1")
	err := s.View(t.Context(), func(r driver.Reader) error {
		first, err := r.Get([]byte("a"))
		if err != nil {
			return err
		}
		set(t, s, "a", "2", "b", "2")
		again, err := r.Get([]byte("a"))
		if err != nil || !bytes.Equal(first, again) {
			return fmt.Errorf("the same view read %q, then %q, %w", first, again, err)
		}
		if got, err := keys(r, driver.Range{}); err != nil || got != "a" {
			return fmt.Errorf("scan in an older view: got %q, %w, want %q", got, err, "a")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	wantValue(t, s, "a", "2")
}

func testUpdateRollsBack(t *testing.T, e Engine) {
	s := start(t, e)
	set(t, s, "a", "1")
	refused := errors.New("refused")
	err := s.Update(t.Context(), func(w driver.Txn) error {
		return errors.Join(w.Set([]byte("a"), []byte("2")), w.Set([]byte("b"), []byte("2")), refused)
	})
	if !errors.Is(err, refused) {
		t.Errorf("Update = %v, want %v", err, refused)
	}
	err = s.Apply(t.Context(), func(w driver.Writer) error {
		return errors.Join(w.Set([]byte("c"), []byte("2")), refused)
	})
	if !errors.Is(err, refused) {
		t.Errorf("Apply = %v, want %v", err, refused)
	}
	wantValue(t, s, "a", "1")
	wantMissing(t, s, "b")
	wantMissing(t, s, "c")
}

func testContextEnds(t *testing.T, e Engine) {
	s := start(t, e)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	fn := func(driver.Txn) error { t.Error("fn ran under a dead context"); return nil }
	if err := s.Update(ctx, fn); !errors.Is(err, context.Canceled) {
		t.Errorf("Update = %v, want context.Canceled", err)
	}
	if err := s.View(ctx, func(driver.Reader) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("View = %v, want context.Canceled", err)
	}
}

func testReopen(t *testing.T, e Engine) {
	s, err := e.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		set(t, s, fmt.Sprintf("row%03d", i), string(bytes.Repeat([]byte{byte(i)}, 10_000)))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = start(t, e)
	for i := range 200 {
		wantValue(t, s, fmt.Sprintf("row%03d", i), string(bytes.Repeat([]byte{byte(i)}, 10_000)))
	}
}

func testCompact(t *testing.T, e Engine) {
	s := start(t, e)
	for i := range 100 {
		set(t, s, fmt.Sprintf("row%03d", i), "value")
	}
	err := s.Update(t.Context(), func(w driver.Txn) error {
		for i := range 99 {
			if err := w.Delete(fmt.Appendf(nil, "row%03d", i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Compact(t.Context()); err != nil {
		t.Fatalf("Compact: %v", err)
	}
	wantMissing(t, s, "row000")
	wantValue(t, s, "row099", "value")
}

func testFreeSpace(t *testing.T, e Engine) {
	s := start(t, e)
	free, total, err := s.FreeSpace()
	if err != nil || free == 0 || free > total {
		t.Errorf("FreeSpace = %d, %d, %v", free, total, err)
	}
}

func testClose(t *testing.T, e Engine) {
	s, err := e.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	set(t, s, "a", "1")
	inside, release, done := make(chan struct{}), make(chan struct{}), make(chan error, 2)
	go func() {
		done <- s.View(context.Background(), func(r driver.Reader) error {
			close(inside)
			<-release
			_, err := r.Get([]byte("a"))
			return err
		})
	}()
	<-inside
	go func() { done <- s.Close() }()
	time.Sleep(5 * time.Millisecond)
	close(release)
	for range 2 {
		if err := <-done; err != nil {
			t.Errorf("Close beside a View: %v", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := get(t, s, "a"); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("View after Close = %v, want ErrClosed", err)
	}
	err = s.Update(t.Context(), func(driver.Txn) error { return nil })
	if !errors.Is(err, driver.ErrClosed) {
		t.Errorf("Update after Close = %v, want ErrClosed", err)
	}
	if err := s.Apply(t.Context(), func(driver.Writer) error { return nil }); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("Apply after Close = %v, want ErrClosed", err)
	}
	if err := s.Compact(t.Context()); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("Compact after Close = %v, want ErrClosed", err)
	}
}

func number(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

func bytesOf(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// read returns the number under key, 0 when there is none.
func read(r driver.Reader, key string) (uint64, error) {
	b, err := r.Get([]byte(key))
	if errors.Is(err, driver.ErrNotFound) {
		return 0, nil
	}
	return number(b), err
}
