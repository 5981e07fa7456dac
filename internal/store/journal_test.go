package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sagekeep/sagekeep/internal/store"
	"github.com/sagekeep/sagekeep/internal/store/driver"
	"github.com/sagekeep/sagekeep/internal/store/memstore"
	"github.com/sagekeep/sagekeep/internal/store/storetest"
)

func records(t *testing.T, s *store.Store, opt store.JournalScan) []store.JournalRecord {
	t.Helper()
	var out []store.JournalRecord
	for r, err := range s.Journal().Scan(t.Context(), opt) {
		if err != nil {
			t.Fatalf("Scan: %v", err)
		}
		out = append(out, r)
	}
	return out
}

func texts(rs []store.JournalRecord) string {
	var b []string
	for _, r := range rs {
		b = append(b, string(r.Data))
	}
	return strings.Join(b, " ")
}

func appendText(t *testing.T, s *store.Store, entries ...string) {
	t.Helper()
	var b [][]byte
	for _, e := range entries {
		b = append(b, []byte(e))
	}
	if err := s.Journal().Append(t.Context(), b...); err != nil {
		t.Fatalf("Append: %v", err)
	}
}

// clock is a settable time.
type clock struct{ ns atomic.Int64 }

func (c *clock) set(t time.Time) { c.ns.Store(t.UnixNano()) }
func (c *clock) now() time.Time  { return time.Unix(0, c.ns.Load()) }

func TestJournalScan(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	c := &clock{}
	s := store.New(memstore.New(t), storetest.NewSealer(), store.Options{Now: c.now})
	for i := range 10 {
		c.set(start.Add(time.Duration(i) * time.Minute))
		appendText(t, s, fmt.Sprint(i, "a"), fmt.Sprint(i, "b"))
	}
	all := "0a 0b 1a 1b 2a 2b 3a 3b 4a 4b 5a 5b 6a 6b 7a 7b 8a 8b 9a 9b"
	back := "9b 9a 8b 8a 7b 7a 6b 6a 5b 5a 4b 4a 3b 3a 2b 2a 1b 1a 0b 0a"
	at := func(minutes float64) time.Time { return start.Add(time.Duration(minutes * float64(time.Minute))) }
	tests := []struct {
		name string
		opt  store.JournalScan
		want string
	}{
		{"all", store.JournalScan{}, all},
		{"all, newest first", store.JournalScan{Reverse: true}, back},
		{"since is included", store.JournalScan{Since: at(8)}, "8a 8b 9a 9b"},
		{"until is excluded", store.JournalScan{Until: at(2)}, "0a 0b 1a 1b"},
		{"between", store.JournalScan{Since: at(2.5), Until: at(4.5)}, "3a 3b 4a 4b"},
		{"between, newest first", store.JournalScan{Since: at(2.5), Until: at(4.5), Reverse: true}, "4b 4a 3b 3a"},
		{"before the first", store.JournalScan{Until: at(-1)}, ""},
		{"after the last", store.JournalScan{Since: at(99)}, ""},
		{"nothing between", store.JournalScan{Since: at(2.1), Until: at(2.2)}, ""},
	}
	for _, tc := range tests {
		if got := texts(records(t, s, tc.opt)); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
	for _, opt := range []store.JournalScan{{}, {Reverse: true}, {Since: at(2), Until: at(7), Reverse: true}} {
		rs := records(t, s, opt)
		for i, r := range rs {
			rest := opt
			rest.After = r.Cursor
			if got, want := texts(records(t, s, rest)), texts(rs[i+1:]); got != want {
				t.Errorf("reverse %v, after %s: got %q, want %q", opt.Reverse, r.Data, got, want)
			}
		}
		if len(rs) > 0 && (rs[0].Time.Location() != time.UTC || rs[0].Time.Before(start)) {
			t.Errorf("record time is %v", rs[0].Time)
		}
	}
	for r := range s.Journal().Scan(t.Context(), store.JournalScan{}) {
		if string(r.Data) == "3a" {
			break
		}
	}
	for _, err := range s.Journal().Scan(t.Context(), store.JournalScan{After: []byte("bad")}) {
		if !errors.Is(err, store.ErrBadCursor) {
			t.Errorf("bad cursor: %v, want ErrBadCursor", err)
		}
	}
}

// TestJournalTimeNeverFalls: the clock may be set back; commit times stay put
// until it has caught up, also over a restart.
func TestJournalTimeNeverFalls(t *testing.T) {
	t.Parallel()
	d, sealer, c := memstore.New(t), storetest.NewSealer(), &clock{}
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, minute := range []int{0, 5, 2, 3, 7} {
		c.set(start.Add(time.Duration(minute) * time.Minute))
		appendText(t, store.New(d, sealer, store.Options{Now: c.now}), fmt.Sprint(minute))
	}
	var got []int
	for i, r := range records(t, store.New(d, sealer, store.Options{}), store.JournalScan{}) {
		got = append(got, int(r.Time.Sub(start)/time.Minute))
		if r.Seq != uint64(i) {
			t.Errorf("record %d has sequence %d", i, r.Seq)
		}
	}
	if want := []int{0, 5, 5, 5, 7}; !slices.Equal(got, want) {
		t.Errorf("commit minutes %v, want %v", got, want)
	}
}

func TestJournalOfSeveralNodes(t *testing.T) {
	t.Parallel()
	d, sealer, c := memstore.New(t), storetest.NewSealer(), &clock{}
	node := func(n byte) *store.Store {
		return store.New(d, sealer, store.Options{Node: [8]byte{7: n}, Now: c.now})
	}
	a, b, z := node(1), node(2), node(255)
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	c.set(start)
	appendText(t, b, "b0")
	appendText(t, a, "a0")
	appendText(t, z, "z0", "z1")
	c.set(start.Add(time.Second))
	appendText(t, z, "z2")
	c.set(start.Add(2 * time.Second))
	appendText(t, a, "a1")
	appendText(t, b, "b1")
	appendText(t, a, "a2")
	all := records(t, a, store.JournalScan{})
	if got, want := texts(all), "a0 b0 z0 z1 z2 a1 a2 b1"; got != want {
		t.Errorf("merged journal %q, want %q", got, want)
	}
	for _, reverse := range []bool{false, true} {
		rs := records(t, b, store.JournalScan{Reverse: reverse})
		for i, r := range rs {
			got := texts(records(t, z, store.JournalScan{Reverse: reverse, After: r.Cursor}))
			if want := texts(rs[i+1:]); got != want {
				t.Errorf("reverse %v, after %s: %q, want %q", reverse, r.Data, got, want)
			}
		}
	}
	got := texts(records(t, a, store.JournalScan{Since: start.Add(time.Second), Until: start.Add(2 * time.Second)}))
	if got != "z2" {
		t.Errorf("the middle second holds %q, want z2", got)
	}
}

// TestJournalGathers: while one sync runs, all other callers share one block.
func TestJournalGathers(t *testing.T) {
	t.Parallel()
	m := memstore.NewMachine(5)
	d, err := m.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := store.New(d, storetest.NewSealer(), store.Options{})
	m.SlowLogSyncs(30 * time.Millisecond)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() { appendText(t, s, fmt.Sprint("entry", i)) })
	}
	wg.Wait()
	rs := records(t, s, store.JournalScan{})
	if len(rs) != 64 {
		t.Fatalf("%d records, want 64", len(rs))
	}
	if blocks := rs[63].Seq + 1; blocks > 16 {
		t.Errorf("64 waiting callers made %d blocks", blocks)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestJournalSizes(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	j := s.Journal()
	if err := j.Append(t.Context()); err != nil {
		t.Errorf("Append of nothing: %v", err)
	}
	if err := j.Append(t.Context(), make([]byte, store.MaxEntry)); err == nil {
		t.Error("an entry over the limit is accepted")
	}
	big := bytes.Repeat([]byte("0123456789abcdef"), 50_000)
	for _, e := range [][]byte{{}, []byte("x"), big, bytes.Repeat([]byte("z"), 300)} {
		if err := j.Append(t.Context(), e); err != nil {
			t.Fatalf("Append of %d bytes: %v", len(e), err)
		}
	}
	rs := records(t, s, store.JournalScan{})
	if len(rs) != 4 || len(rs[0].Data) != 0 || !bytes.Equal(rs[2].Data, big) {
		t.Errorf("%d records came back, or not the same", len(rs))
	}
}

func TestJournalTamperedBlock(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]struct {
		at   int
		want error
	}{
		"version": {0, store.ErrNewerFormat}, "codec": {1, store.ErrDamaged}, "time": {5, store.ErrDamaged},
		"count": {13, store.ErrDamaged}, "sealed bytes": {20, store.ErrDamaged},
	} {
		d := memstore.New(t)
		s := store.New(d, storetest.NewSealer(), store.Options{})
		appendText(t, s, "entry")
		err := d.Update(t.Context(), func(w driver.Txn) error {
			for p, err := range w.Scan(driver.Range{}) {
				if err != nil {
					return err
				}
				b := bytes.Clone(p.Value)
				b[change.at]++
				return w.Set(bytes.Clone(p.Key), b)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for r, err := range s.Journal().Scan(t.Context(), store.JournalScan{}) {
			if !errors.Is(err, change.want) {
				t.Errorf("%s changed: %q, %v, want %v", name, r.Data, err, change.want)
			}
		}
	}
}

// TestFullDisk: low free space refuses writes before anything happens, reads go
// on, and the guard looks at most once a second.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var free, looks atomic.Uint64
		free.Store(10 << 30)
		s := store.New(memstore.New(t), storetest.NewSealer(), store.Options{
			FreeSpace: func() (uint64, uint64, error) { looks.Add(1); return free.Load(), 100 << 30, nil },
		})
		tab := store.Hashed[int]("t")
		put := func() error {
			return s.Update(t.Context(), func(tx *store.Tx) error { return tab.Put(tx, 1, "a") })
		}
		for range 50 {
			if err := put(); err != nil {
				t.Fatalf("Update with enough space: %v", err)
			}
		}
		if n := looks.Load(); n != 1 {
			t.Errorf("the file system was asked %d times within a second", n)
		}
		free.Store(2<<30 - 1) // 2 % of 100 GiB is 2 GiB
		time.Sleep(time.Second)
		p := &pending{entries: []string{"x"}}
		err := s.Update(store.WithPending(t.Context(), p), func(*store.Tx) error {
			t.Error("fn ran on a full disk")
			return nil
		})
		if !errors.Is(err, store.ErrFull) {
			t.Errorf("Update on a full disk = %v, want ErrFull", err)
		}
		// Reads go on, so their records must find room until very little is left.
		if err := s.Journal().Append(t.Context(), []byte("x")); err != nil {
			t.Errorf("Append when writes are refused = %v", err)
		}
		free.Store(256<<20 - 1) // an eighth of 2 GiB
		time.Sleep(time.Second)
		if err := s.Journal().Append(t.Context(), []byte("x")); !errors.Is(err, store.ErrFull) {
			t.Errorf("Append on a full disk = %v, want ErrFull", err)
		}
		view(t, s, func(tx *store.Tx) error { _, err := tab.Get(tx, "a"); return err })
		free.Store(math.MaxUint64)
		time.Sleep(time.Second)
		if err := put(); err != nil {
			t.Errorf("Update after space was freed: %v", err)
		}
	})
}

// TestJournalSurvivesCrash: acknowledged entries and rows with their entries
// are there after the power was cut.
func TestJournalSurvivesCrash(t *testing.T) {
	t.Parallel()
	m := memstore.NewMachine(11)
	d, err := m.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	sealer := storetest.NewSealer()
	s := store.New(d, sealer, store.Options{})
	m.SlowLogSyncs(500 * time.Microsecond)
	tab := store.Hashed[int]("t")
	ctx, cancel := context.WithCancel(t.Context())
	const writers = 8
	var acked [writers]atomic.Int64
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for n := int64(1); ctx.Err() == nil; n++ {
				text := fmt.Sprintf("%d/%d", i, n)
				var err error
				if i%2 == 0 {
					err = s.Journal().Append(context.Background(), []byte(text))
				} else {
					p := &pending{entries: []string{text}}
					err = s.Update(store.WithPending(context.Background(), p), func(tx *store.Tx) error {
						return tab.Put(tx, int(n), fmt.Sprint(i))
					})
				}
				if err != nil {
					t.Errorf("write: %v", err)
					return
				}
				acked[i].Store(n)
			}
		})
	}
	time.Sleep(40 * time.Millisecond)
	var want [writers]int64
	for i := range want {
		want[i] = acked[i].Load()
	}
	m.Crash()
	cancel()
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if d, err = m.Open(nil); err != nil {
		t.Fatal(err)
	}
	s = store.New(d, sealer, store.Options{})
	var got [writers]int64
	for _, r := range records(t, s, store.JournalScan{}) {
		var i int
		var n int64
		if _, err := fmt.Sscanf(string(r.Data), "%d/%d", &i, &n); err != nil {
			t.Fatal(err)
		}
		if n != got[i]+1 {
			t.Errorf("writer %d: entry %d follows %d", i, n, got[i])
		}
		got[i] = n
	}
	for i := range want {
		if got[i] < want[i] {
			t.Errorf("writer %d: entry %d was acknowledged, %d is there", i, want[i], got[i])
		}
		if i%2 == 0 {
			continue
		}
		view(t, s, func(tx *store.Tx) error {
			row, err := tab.Get(tx, fmt.Sprint(i))
			if int64(row) != got[i] || (err != nil && got[i] > 0) {
				t.Errorf("writer %d: row %d beside record %d, %v", i, row, got[i], err)
			}
			return nil
		})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestAppendInsideTransaction fails instead of waiting for itself.
func TestAppendInsideTransaction(t *testing.T) {
	t.Parallel()
	s := store.New(memstore.New(t), storetest.NewSealer(), store.Options{})
	err := s.Update(t.Context(), func(tx *store.Tx) error {
		return s.Journal().Append(tx.Context(t.Context()), []byte("x"))
	})
	if err == nil {
		t.Error("an append inside a transaction succeeded")
	}
}
