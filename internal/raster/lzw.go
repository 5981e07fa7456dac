package raster

import "errors"

// lzwDecoder reads LZW as TIFF 6.0, section 13 defines it: codes of 9 to 12
// bits, most significant bit first, and widths that grow one code early.
//
// Every string of the table is a run of what was already written (the string
// before plus the first byte of its successor), so an entry is a position and a
// length in the output and needs no memory of its own.
type lzwDecoder struct {
	start  [1 << 12]uint32
	length [1 << 12]uint32
}

const (
	lzwClear = 256
	lzwEnd   = 257
	lzwFirst = 258
)

var errLZW = errors.New("invalid LZW code")

// decode fills dst and returns how many bytes it wrote. It stops without error
// when dst is full, at the end code or when src is used up.
func (d *lzwDecoder) decode(dst, src []byte) (int, error) {
	var acc uint64
	bits, width, next := uint(0), uint(9), uint32(lzwFirst)
	n := 0
	var lastStart, lastLen uint32 // the string before; length 0 after a clear
	for n < len(dst) {
		for bits < width {
			if len(src) == 0 {
				return n, nil
			}
			acc = acc<<8 | uint64(src[0])
			src, bits = src[1:], bits+8
		}
		bits -= width
		code := uint32(acc>>bits) & (1<<width - 1)
		switch {
		case code == lzwClear:
			width, next, lastLen = 9, lzwFirst, 0
			continue
		case code == lzwEnd:
			return n, nil
		}
		if lastLen > 0 && next < 1<<12 {
			d.start[next], d.length[next] = lastStart, lastLen+1
			next++
			if next+1 >= 1<<width && width < 12 {
				width++
			}
		}
		lastStart = uint32(n)
		if code < 256 {
			dst[n] = byte(code)
			n++
			lastLen = 1
			continue
		}
		if code >= next {
			return n, errLZW
		}
		from, length := int(d.start[code]), int(d.length[code])
		if length > len(dst)-n { // the block is full before the string ends
			length = len(dst) - n
		}
		if from+length <= n {
			copy(dst[n:], dst[from:from+length])
		} else { // the entry just made: its last byte is being written now
			for i := range length {
				dst[n+i] = dst[from+i]
			}
		}
		n += length
		lastLen = uint32(length)
	}
	return n, nil
}
