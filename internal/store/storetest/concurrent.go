package storetest

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/sagekeep/sagekeep/internal/store/driver"
)

// testCounters: nothing is lost when 32 writers count in the same row.
func testCounters(t *testing.T, e Engine) {
	s := start(t, e)
	const writers, rounds = 32, 20
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range rounds {
				err := s.Update(t.Context(), func(w driver.Txn) error {
					n, err := read(w, "count")
					if err != nil {
						return err
					}
					runtime.Gosched()
					return w.Set([]byte("count"), bytesOf(n+1))
				})
				if err != nil {
					t.Errorf("Update: %v", err)
				}
			}
		})
	}
	wg.Wait()
	wantValue(t, s, "count", string(bytesOf(writers*rounds)))
}

// testWriteSkew: each of two rows may be cleared only while the other is set.
func testWriteSkew(t *testing.T, e Engine) {
	s := start(t, e)
	for round := range 20 {
		set(t, s, "on-call/a", "yes", "on-call/b", "yes")
		var wg sync.WaitGroup
		for _, leave := range []string{"on-call/a", "on-call/b"} {
			wg.Go(func() {
				err := s.Update(t.Context(), func(w driver.Txn) error {
					n := 0
					for _, err := range w.Scan(driver.Range{Lower: []byte("on-call/"), Upper: []byte("on-call0")}) {
						if err != nil {
							return err
						}
						n++
					}
					if n < 2 {
						return nil
					}
					runtime.Gosched()
					return w.Delete([]byte(leave))
				})
				if err != nil {
					t.Errorf("Update: %v", err)
				}
			})
		}
		wg.Wait()
		n := 0
		err := s.View(t.Context(), func(r driver.Reader) error {
			for _, err := range r.Scan(driver.Range{Lower: []byte("on-call/"), Upper: []byte("on-call0")}) {
				if err != nil {
					return err
				}
				n++
			}
			return nil
		})
		if err != nil || n != 1 {
			t.Fatalf("round %d: %d rows are left, %v, want 1", round, n, err)
		}
	}
}

// access is one row that a transaction read and perhaps replaced. The versions
// of a row are numbered from 1; 0 is its absence.
type access struct {
	key     string
	version uint64
	wrote   bool // it made version + 1
}

// testHistories runs random transactions and looks for an order in which they
// could have run one after the other: the graph of who must come before whom
// has no cycle.
func testHistories(t *testing.T, e Engine) {
	s := start(t, e)
	const workers, rounds, rows = 12, 40, 6
	histories := make([][][]access, workers)
	var wg sync.WaitGroup
	for worker := range workers {
		rng := rand.New(rand.NewPCG(uint64(worker), 7))
		wg.Go(func() {
			for range rounds {
				picked := rng.Perm(rows)[:1+rng.IntN(4)]
				writes := make([]bool, len(picked))
				for i := range writes {
					writes[i] = rng.IntN(2) == 0
				}
				h, err := transact(t, s, picked, writes, rng.IntN(4) == 0)
				if err != nil {
					t.Errorf("transaction: %v", err)
					return
				}
				histories[worker] = append(histories[worker], h)
			}
		})
	}
	wg.Wait()
	var all [][]access
	for _, h := range histories {
		all = append(all, h...)
	}
	if err := serializable(all); err != nil {
		t.Error(err)
	}
}

func transact(t *testing.T, s driver.Store, picked []int, writes []bool, readOnly bool) (h []access, err error) {
	if readOnly {
		err = s.View(t.Context(), func(r driver.Reader) error {
			h = nil
			for _, row := range picked {
				key := fmt.Sprintf("row%d", row)
				n, err := read(r, key)
				if err != nil {
					return err
				}
				h = append(h, access{key: key, version: n})
			}
			return nil
		})
		return h, err
	}
	err = s.Update(t.Context(), func(w driver.Txn) error {
		h = nil
		for i, row := range picked {
			key := fmt.Sprintf("row%d", row)
			n, err := read(w, key)
			if err != nil {
				return err
			}
			h = append(h, access{key: key, version: n, wrote: writes[i]})
			if !writes[i] {
				continue
			}
			if err := w.Set([]byte(key), bytesOf(n+1)); err != nil {
				return err
			}
		}
		return nil
	})
	return h, err
}

// serializable returns an error when no serial order explains the history.
func serializable(history [][]access) error {
	type version struct {
		key string
		n   uint64
	}
	writer := make(map[version]int)
	for i, txn := range history {
		for _, a := range txn {
			if !a.wrote {
				continue
			}
			v := version{a.key, a.version + 1}
			if other, ok := writer[v]; ok {
				return fmt.Errorf("lost update: transactions %d and %d both made version %d of %s", other, i, v.n, v.key)
			}
			writer[v] = i
		}
	}
	next := make([][]int, len(history))
	incoming := make([]int, len(history))
	before := func(a, b int) {
		if a != b {
			next[a] = append(next[a], b)
			incoming[b]++
		}
	}
	for i, txn := range history {
		for _, a := range txn {
			if a.version > 0 {
				w, ok := writer[version{a.key, a.version}]
				if !ok {
					return fmt.Errorf("transaction %d read version %d of %s, which nobody made", i, a.version, a.key)
				}
				before(w, i)
			}
			if w, ok := writer[version{a.key, a.version + 1}]; ok {
				before(i, w)
			}
		}
	}
	var free []int
	for i, n := range incoming {
		if n == 0 {
			free = append(free, i)
		}
	}
	done := 0
	for ; len(free) > 0; done++ {
		i := free[len(free)-1]
		free = free[:len(free)-1]
		for _, j := range next[i] {
			if incoming[j]--; incoming[j] == 0 {
				free = append(free, j)
			}
		}
	}
	if done != len(history) {
		return fmt.Errorf("no serial order explains %d of %d transactions", len(history)-done, len(history))
	}
	return nil
}

// testApplyInCommitOrder: a number taken inside Apply and Update rises in the
// order in which the commits become visible.
func testApplyInCommitOrder(t *testing.T, e Engine) {
	s := start(t, e)
	var seq uint64 // guarded by the driver's commit order on one node
	var mu sync.Mutex
	take := func() []byte {
		mu.Lock()
		defer mu.Unlock()
		seq++
		return binary.BigEndian.AppendUint64([]byte("log/"), seq)
	}
	var writers, watcher sync.WaitGroup
	stop := make(chan struct{})
	watcher.Go(func() {
		for {
			err := s.View(t.Context(), func(r driver.Reader) error {
				want := uint64(0)
				for p, err := range r.Scan(driver.Range{Lower: []byte("log/"), Upper: []byte("log0")}) {
					if err != nil {
						return err
					}
					if want++; number(p.Key[4:]) != want {
						return fmt.Errorf("number %d is visible, %d before it is not", number(p.Key[4:]), want)
					}
				}
				return nil
			})
			if err != nil {
				t.Errorf("watcher: %v", err)
				return
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	for i := range 8 {
		writers.Go(func() {
			for range 25 {
				var err error
				if i%2 == 0 {
					err = s.Apply(t.Context(), func(w driver.Writer) error { return w.Set(take(), nil) })
				} else {
					err = s.Update(t.Context(), func(w driver.Txn) error { return w.Set(take(), nil) })
				}
				if err != nil {
					t.Errorf("commit: %v", err)
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	watcher.Wait()
}

// testUpdateWaitsForWhatItSaw: a refusal that rests on another's commit is not
// returned before that commit is durable; neither is what a View showed once
// WaitDurable returned.
func testUpdateWaitsForWhatItSaw(t *testing.T, e Engine) {
	s := start(t, e)
	e.SlowLogSyncs(200 * time.Millisecond)
	begun := make(chan struct{})
	var wg sync.WaitGroup
	var committed time.Time
	var mu sync.Mutex
	wg.Go(func() {
		err := s.Update(t.Context(), func(w driver.Txn) error {
			close(begun)
			return w.Set([]byte("a"), []byte("1"))
		})
		if err != nil {
			t.Errorf("Update: %v", err)
		}
		mu.Lock()
		committed = time.Now()
		mu.Unlock()
	})
	<-begun
	taken := fmt.Errorf("name is taken")
	err := s.Update(t.Context(), func(w driver.Txn) error {
		if n, err := w.Get([]byte("a")); err != nil || string(n) != "1" {
			return fmt.Errorf("the earlier commit is not visible: %q, %w", n, err)
		}
		return taken
	})
	refused := time.Now()
	if err != taken {
		t.Errorf("Update = %v, want %v", err, taken)
	}
	wg.Wait()
	if early := committed.Sub(refused); early > 100*time.Millisecond {
		t.Errorf("the refusal came %v before the commit it rests on was durable", early)
	}
}
