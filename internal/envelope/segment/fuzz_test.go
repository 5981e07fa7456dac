package segment_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/sagekeep/sagekeep/internal/envelope/segment"
)

// FuzzOpen states that nobody without the keys can make a segment: bytes that
// open are one of the kept samples, unchanged.
func FuzzOpen(f *testing.F) {
	known := map[string]bool{}
	for i, s := range samples {
		b, err := os.ReadFile(filepath.Join("testdata", s.file))
		if err != nil {
			f.Fatal(err)
		}
		known[string(b)] = true
		f.Add(b, uint8(i))
	}
	f.Fuzz(func(t *testing.T, b []byte, which uint8) {
		if len(b) > 3*chunk {
			return
		}
		s := samples[int(which)%len(samples)]
		id, err := segment.ParseID(s.id)
		if err != nil {
			t.Fatal(err)
		}
		got, err := open(b, id, s.keys(), []byte("111122223333|sample|object"))
		if err != nil {
			return
		}
		if !known[string(b)] || !bytes.Equal(got, sampleText(s.size)) {
			t.Fatalf("a forged segment of %d bytes opens as %d bytes", len(b), len(got))
		}
	})
}

// FuzzSizes states that SealedSize and PlainSize are inverses, and that every
// length has at most one meaning.
func FuzzSizes(f *testing.F) {
	for _, n := range lengths {
		f.Add(n, uint8(1))
		f.Add(segment.SealedSize(n, 2), uint8(2))
	}
	f.Fuzz(func(t *testing.T, sealed int64, layers uint8) {
		plain, err := segment.PlainSize(sealed, int(layers))
		if err != nil {
			return
		}
		if got := segment.SealedSize(plain, int(layers)); got != sealed || plain < 0 || plain > segment.MaxSize {
			t.Fatalf("PlainSize(%d, %d) = %d, whose SealedSize is %d", sealed, layers, plain, got)
		}
	})
}
