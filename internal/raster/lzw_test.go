package raster

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// lzwEncode is a plain encoder of TIFF's LZW: it clears the table one code
// before it is full, as TIFF 6.0 asks.
func lzwEncode(src []byte) []byte {
	var out []byte
	var acc uint64
	bits := uint(0)
	width := uint(9)
	put := func(code int) {
		acc, bits = acc<<width|uint64(code), bits+width
		for bits >= 8 {
			out = append(out, byte(acc>>(bits-8)))
			bits -= 8
		}
	}
	table := map[string]int{}
	next := lzwFirst
	code := func(s string) int {
		if len(s) == 1 {
			return int(s[0])
		}
		return table[s]
	}
	put(lzwClear)
	cur := ""
	for _, c := range src {
		longer := cur + string([]byte{c})
		if _, ok := table[longer]; ok || len(longer) == 1 {
			cur = longer
			continue
		}
		put(code(cur))
		table[longer] = next
		next++
		switch {
		case next == 4095:
			put(lzwClear)
			table, next, width = map[string]int{}, lzwFirst, 9
		case next >= 1<<width:
			width++
		}
		cur = string([]byte{c})
	}
	if cur != "" {
		put(code(cur))
		next++ // the decoder adds an entry here too
		if next >= 1<<width && width < 12 {
			width++
		}
	}
	put(lzwEnd)
	return append(out, byte(acc<<(8-bits)))
}

func TestLZW(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 100_000)
	steps := make([]byte, 100_000)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
		steps[i] = byte(i / 7 % 5 * int(rng.Uint32()%2))
	}
	for name, data := range map[string][]byte{
		"one byte":     {42},
		"run":          bytes.Repeat([]byte{7}, 70_000), // strings that contain themselves
		"noise":        noise,                           // many table resets
		"steps":        steps,
		"short string": []byte("TOBEORNOTTOBEORTOBEORNOT"),
	} {
		packed := lzwEncode(data)
		got := make([]byte, len(data))
		var d lzwDecoder
		if n, err := d.decode(got, packed); err != nil || n != len(data) || !bytes.Equal(got, data) {
			t.Errorf("%s: decoded %d of %d bytes, %v", name, n, len(data), err)
		}
		// Asking for less than there is must not fail.
		half := make([]byte, len(data)/2)
		if n, err := d.decode(half, packed); err != nil || n != len(half) || !bytes.Equal(half, data[:len(half)]) {
			t.Errorf("%s: first half: %d of %d bytes, %v", name, n, len(half), err)
		}
	}
	var d lzwDecoder
	if _, err := d.decode(make([]byte, 16), []byte{0x80, 0x7f, 0xff, 0xff}); err == nil {
		t.Error("a code beyond the table was accepted")
	}
}
