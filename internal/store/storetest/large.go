package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/sagekeep/sagekeep/internal/store/driver"
)

// testLargeCommits: a commit that is larger than what an engine keeps in memory
// before it writes a file is a commit like any other.
func testLargeCommits(t *testing.T, e Engine) {
	s := start(t, e)
	const rows, size = 1500, 8 << 10 // 12 MiB
	value := bytes.Repeat([]byte("v"), size)
	fill := func(prefix string, w driver.Writer) error {
		for i := range rows {
			if err := w.Set(fmt.Appendf(nil, "%s/%04d", prefix, i), value); err != nil {
				return err
			}
		}
		return nil
	}
	if err := s.Update(t.Context(), func(w driver.Txn) error { return fill("update", w) }); err != nil {
		t.Fatalf("Update: %v", err)
	}
	if err := s.Apply(t.Context(), func(w driver.Writer) error { return fill("apply", w) }); err != nil {
		t.Fatalf("Apply: %v", err)
	}
	refused := errors.New("refused")
	err := s.Update(t.Context(), func(w driver.Txn) error { return errors.Join(fill("refused", w), refused) })
	if !errors.Is(err, refused) {
		t.Fatalf("Update = %v, want %v", err, refused)
	}
	wantValue(t, s, "update/0000", string(value))
	wantValue(t, s, "apply/1499", string(value))
	wantMissing(t, s, "refused/0000")
	e.Crash()
	s = start(t, e)
	wantValue(t, s, "update/1499", string(value))
	wantValue(t, s, "apply/0000", string(value))
	wantMissing(t, s, "refused/0000")
}
