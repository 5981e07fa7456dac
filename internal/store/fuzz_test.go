package store

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/klauspost/compress/s2"
)

// parseTuple reverses appendTuple. One tuple has one encoding.
func parseTuple(b []byte) (Key, error) {
	var k Key
	for len(b) > 0 {
		var c []byte
		for {
			i := bytes.IndexByte(b, 0)
			if i < 0 || i+1 == len(b) {
				return nil, fmt.Errorf("tuple without end: %w", ErrDamaged)
			}
			c = append(c, b[:i]...)
			mark := b[i+1]
			b = b[i+2:]
			if mark == 0x01 {
				break
			}
			if mark != 0xFF {
				return nil, fmt.Errorf("tuple with byte %#x after zero: %w", mark, ErrDamaged)
			}
			c = append(c, 0)
		}
		k = append(k, string(c))
	}
	return k, nil
}

func FuzzParseTuple(f *testing.F) {
	f.Add(appendTuple(nil, "a", "", "b\x00c", "\xff"))
	f.Add([]byte{0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<12 {
			return
		}
		k, err := parseTuple(b)
		if err != nil {
			return
		}
		// One encoding per tuple.
		if got := appendTuple(nil, k...); !bytes.Equal(got, b) {
			t.Fatalf("re-encoded %x, read %x", got, b)
		}
	})
}

func FuzzTupleOrder(f *testing.F) {
	f.Add("a", "b", "a\x00", "b")
	f.Add("", "\xff", "\x00", "\x01")
	f.Fuzz(func(t *testing.T, a1, a2, b1, b2 string) {
		a, b := []string{a1, a2}, []string{b1, b2}
		want := slices.Compare(a, b)
		if got := bytes.Compare(appendTuple(nil, a...), appendTuple(nil, b...)); got != want {
			t.Fatalf("%q and %q compare %d encoded, %d plain", a, b, got, want)
		}
		if !bytes.HasPrefix(appendTuple(nil, a...), appendTuple(nil, a[:1]...)) {
			t.Fatalf("the encoding of %q does not begin with its first component's", a)
		}
	})
}

func FuzzUnpack(f *testing.F) {
	var b block
	b.add([]byte("one"))
	b.add(nil)
	b.add(bytes.Repeat([]byte("x"), 400))
	b.compress(nil)
	f.Add(b.codec, b.packed, b.count)
	f.Add(byte(codecPlain), b.payload, b.count)
	f.Fuzz(func(t *testing.T, codec byte, packed []byte, count uint32) {
		if len(packed) > 1<<14 || codec > codecS2 {
			return
		}
		if n, err := s2.DecodedLen(packed); codec == codecS2 && (err != nil || n > 1<<20) {
			return
		}
		entries, err := unpack(codec, packed, count)
		if err != nil {
			return
		}
		// What opens holds the stated number of entries and survives a new block.
		var again block
		for _, e := range entries {
			again.add(e)
		}
		again.compress(nil)
		got, err := unpack(again.codec, again.packed, count)
		if err != nil || !slices.EqualFunc(got, entries, bytes.Equal) {
			t.Fatalf("a block of the same entries gives %d of %d, %v", len(got), len(entries), err)
		}
	})
}

func FuzzParseCursor(f *testing.F) {
	f.Add(cursor{time: 5, node: [8]byte{1}, seq: 7, index: 9}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 100 || b == nil {
			return
		}
		if c, err := parseCursor(b); err == nil && !bytes.Equal(c.encode(), b) {
			t.Fatalf("re-encoded %x, read %x", c.encode(), b)
		}
	})
}
