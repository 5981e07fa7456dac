package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sagekeep/sagekeep/internal/store"
)

type object struct{ Name string }

func TestOrderedScan(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	tab := store.Ordered[object]("s3.object")
	names := []string{"", "\x00", "\x00\x01", "a", "a\x00", "a\x00b", "a/1", "a/2", "a\xff", "b", "b/1", "ä", "\xff", "\xff\xff"}
	update(t, s, func(tx *store.Tx) error {
		for _, n := range names {
			if err := tab.Put(tx, object{Name: fmt.Sprintf("%q", n)}, "bucket", n); err != nil {
				return err
			}
		}
		return errors.Join(tab.Put(tx, object{Name: "other"}, "bucket2", "a"), tab.Put(tx, object{Name: "other"}, "b", "a"))
	})
	slices.Sort(names)
	quoted := func(keep func(string) bool) []string {
		var out []string
		for _, n := range names {
			if keep(n) {
				out = append(out, fmt.Sprintf("%q", n))
			}
		}
		return out
	}
	bucket := store.Key{"bucket"}
	tests := []struct {
		name   string
		prefix store.Key
		opt    store.ScanOptions
		want   []string
	}{
		{"a bucket", bucket, store.ScanOptions{}, quoted(func(string) bool { return true })},
		{"starts with", bucket, store.ScanOptions{StartsWith: "a"}, quoted(func(n string) bool { return strings.HasPrefix(n, "a") })},
		{"starts with zero", bucket, store.ScanOptions{StartsWith: "\x00"}, quoted(func(n string) bool { return strings.HasPrefix(n, "\x00") })},
		{"from a key that exists", bucket, store.ScanOptions{From: store.Key{"bucket", "b"}}, quoted(func(n string) bool { return n >= "b" })},
		{"from between keys", bucket, store.ScanOptions{From: store.Key{"bucket", "a/10"}}, quoted(func(n string) bool { return n >= "a/10" })},
		{"from below the prefix", bucket, store.ScanOptions{From: store.Key{"a"}}, quoted(func(string) bool { return true })},
		{"from behind the prefix", bucket, store.ScanOptions{From: store.Key{"c"}}, nil},
		{"one row", store.Key{"bucket", "a/1"}, store.ScanOptions{}, quoted(func(n string) bool { return n == "a/1" })},
		{"nothing", store.Key{"bucke"}, store.ScanOptions{}, nil},
		{"limit", bucket, store.ScanOptions{Limit: 3, From: store.Key{"bucket", "a"}}, []string{`"a"`, `"a\x00"`, `"a\x00b"`}},
	}
	for _, tc := range tests {
		for _, reverse := range []bool{false, true} {
			opt, want := tc.opt, slices.Clone(tc.want)
			if reverse {
				if opt.From != nil || opt.Limit > 0 {
					continue
				}
				opt.Reverse = true
				slices.Reverse(want)
			}
			if got := scanned(t, s, tab, tc.prefix, opt); !slices.Equal(got, want) {
				t.Errorf("%s, reverse %v:\n got %v\nwant %v", tc.name, reverse, got, want)
			}
		}
	}
	back := quoted(func(n string) bool { return n <= "a/10" })
	slices.Reverse(back)
	opt := store.ScanOptions{Reverse: true, From: store.Key{"bucket", "a/10"}}
	if got := scanned(t, s, tab, bucket, opt); !slices.Equal(got, back) {
		t.Errorf("backwards from a/10:\n got %v\nwant %v", got, back)
	}
}

func scanned(t *testing.T, s *store.Store, tab *store.Table[object], prefix store.Key, opt store.ScanOptions) []string {
	t.Helper()
	var names []string
	view(t, s, func(tx *store.Tx) error {
		for row, err := range tab.Scan(tx, prefix, opt) {
			if err != nil {
				return err
			}
			names = append(names, row.Value.Name)
		}
		return nil
	})
	return names
}

func TestHashedPrefixScan(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	tab := store.Hashed[object]("iam.user")
	update(t, s, func(tx *store.Tx) error {
		for _, account := range []string{"1", "2"} {
			for _, user := range []string{"a", "b", "c"} {
				if err := tab.Put(tx, object{Name: account + user}, account, "us-west-2", user); err != nil {
					return err
				}
			}
		}
		return nil
	})
	for _, tc := range []struct {
		prefix store.Key
		want   string
	}{
		{nil, "1a 1b 1c 2a 2b 2c"},
		{store.Key{"1"}, "1a 1b 1c"},
		{store.Key{"2", "us-west-2"}, "2a 2b 2c"},
		{store.Key{"2", "us-west-2", "b"}, "2b"},
		{store.Key{"2", "us"}, ""},
		{store.Key{"us-west-2"}, ""},
	} {
		got := scanned(t, s, tab, tc.prefix, store.ScanOptions{})
		slices.Sort(got)
		if strings.Join(got, " ") != tc.want {
			t.Errorf("scan of %v = %v, want %s", tc.prefix, got, tc.want)
		}
	}
	view(t, s, func(tx *store.Tx) error {
		for _, err := range tab.Scan(tx, nil, store.ScanOptions{StartsWith: "1"}) {
			if err == nil {
				t.Error("StartsWith on a hashed table is accepted")
			}
		}
		return nil
	})
}

func TestForeignCursor(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	one, two := store.Ordered[object]("one"), store.Ordered[object]("two")
	var cursor []byte
	update(t, s, func(tx *store.Tx) error {
		return errors.Join(one.Put(tx, object{Name: "x"}, "x"), two.Put(tx, object{Name: "y"}, "y"))
	})
	view(t, s, func(tx *store.Tx) error {
		for row := range one.Scan(tx, nil, store.ScanOptions{}) {
			cursor = row.Cursor
		}
		for _, bad := range [][]byte{cursor, {}, []byte("zzz")} {
			if _, err := two.Page(tx, nil, store.ScanOptions{After: bad}); !errors.Is(err, store.ErrBadCursor) {
				t.Errorf("a cursor of another table: %v, want ErrBadCursor", err)
			}
		}
		return nil
	})
}

// TestPagesUnderInserts: rows that were there all along come exactly once,
// whatever is inserted and deleted between the pages.
func TestPagesUnderInserts(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	for name, tab := range map[string]*store.Table[object]{
		"hashed": store.Hashed[object]("a"), "ordered": store.Ordered[object]("b"),
	} {
		const rows = 120
		update(t, s, func(tx *store.Tx) error {
			for i := range rows {
				if err := tab.Put(tx, object{Name: fmt.Sprintf("old%03d", i)}, "p", fmt.Sprintf("old%03d", i)); err != nil {
					return err
				}
			}
			return nil
		})
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				err := s.Update(t.Context(), func(tx *store.Tx) error {
					n := fmt.Sprintf("old%03d-new%d", i%rows, i)
					m := fmt.Sprintf("old%03d-new%d", (i-7)%rows, i-7)
					return errors.Join(tab.Put(tx, object{Name: n}, "p", n), tab.Delete(tx, "p", m))
				})
				if err != nil {
					t.Errorf("Update: %v", err)
					return
				}
			}
		})
		seen := make(map[string]int)
		var next []byte
		for page := 0; page == 0 || next != nil; page++ {
			view(t, s, func(tx *store.Tx) error {
				p, err := tab.Page(tx, store.Key{"p"}, store.ScanOptions{Limit: 7, After: next})
				if err != nil {
					return err
				}
				for _, o := range p.Values {
					seen[o.Name]++
				}
				next = p.Next
				return nil
			})
		}
		close(stop)
		wg.Wait()
		for i := range rows {
			if n := seen[fmt.Sprintf("old%03d", i)]; n != 1 {
				t.Errorf("%s: row %d came %d times, want once", name, i, n)
			}
		}
	}
}
