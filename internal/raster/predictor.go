package raster

import (
	"encoding/binary"
	"math"
)

// Predictor 2 stores each sample as its difference from the one before of the
// same band, as integers of the sample's size (TIFF 6.0, section 14). Predictor
// 3 stores a row of floats as byte planes, most significant first, and then
// byte-wise differences (TIFF Technical Note 3); it does not depend on the
// file's byte order.

// swapBytes turns big-endian samples into little-endian ones.
func swapBytes(b []byte, size int) {
	switch size {
	case 2:
		for i := 0; i+2 <= len(b); i += 2 {
			b[i], b[i+1] = b[i+1], b[i]
		}
	case 4:
		for i := 0; i+4 <= len(b); i += 4 {
			binary.LittleEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
		}
	case 8:
		for i := 0; i+8 <= len(b); i += 8 {
			binary.LittleEndian.PutUint64(b[i:], binary.BigEndian.Uint64(b[i:]))
		}
	}
}

// undoDifference reverses predictor 2 on one row of little-endian samples.
func undoDifference(row []byte, size, samples int) {
	le := binary.LittleEndian
	switch size {
	case 1:
		for i := samples; i < len(row); i++ {
			row[i] += row[i-samples]
		}
	case 2:
		if samples == 1 {
			var sum uint16
			for i := 0; i+2 <= len(row); i += 2 {
				b := row[i : i+2 : i+2]
				sum += le.Uint16(b)
				le.PutUint16(b, sum)
			}
			return
		}
		for i := 2 * samples; i+2 <= len(row); i += 2 {
			le.PutUint16(row[i:], le.Uint16(row[i:])+le.Uint16(row[i-2*samples:]))
		}
	case 4:
		for i := 4 * samples; i+4 <= len(row); i += 4 {
			le.PutUint32(row[i:], le.Uint32(row[i:])+le.Uint32(row[i-4*samples:]))
		}
	case 8:
		for i := 8 * samples; i+8 <= len(row); i += 8 {
			le.PutUint64(row[i:], le.Uint64(row[i:])+le.Uint64(row[i-8*samples:]))
		}
	}
}

// difference applies predictor 2 to one row of single-band samples.
func difference(row []byte, size int) {
	le := binary.LittleEndian
	switch size {
	case 1:
		for i := len(row) - 1; i >= 1; i-- {
			row[i] -= row[i-1]
		}
	case 2:
		var last uint16
		for i := 0; i+2 <= len(row); i += 2 {
			v := le.Uint16(row[i:])
			le.PutUint16(row[i:], v-last)
			last = v
		}
	case 4:
		var last uint32
		for i := 0; i+4 <= len(row); i += 4 {
			v := le.Uint32(row[i:])
			le.PutUint32(row[i:], v-last)
			last = v
		}
	}
}

// undoFloatPredictor reverses predictor 3 on one row. tmp has the row's length.
func undoFloatPredictor(row, tmp []byte, size, samples int) {
	if samples == 1 {
		var sum byte
		for i, b := range row {
			sum += b
			tmp[i] = sum
		}
	} else {
		copy(tmp, row)
		for i := samples; i < len(tmp); i++ {
			tmp[i] += tmp[i-samples]
		}
	}
	n := len(row) / size
	if size == 4 {
		p0, p1, p2, p3 := tmp[:n], tmp[n:2*n], tmp[2*n:3*n], tmp[3*n:4*n]
		for i := range p0 {
			v := uint32(p0[i])<<24 | uint32(p1[i])<<16 | uint32(p2[i])<<8 | uint32(p3[i])
			binary.LittleEndian.PutUint32(row[4*i:], v)
		}
		return
	}
	for i := range n {
		for b := range size {
			row[i*size+b] = tmp[(size-1-b)*n+i]
		}
	}
}

// floatPredictor32 applies predictor 3 to one row: len(out) is 4*len(pix).
func floatPredictor32(out []byte, pix []float32) {
	n := len(pix)
	p0, p1, p2, p3 := out[:n], out[n:2*n], out[2*n:3*n], out[3*n:4*n]
	// The differences run through the plane borders: the first byte of a plane
	// follows the last one of the plane before.
	last := math.Float32bits(pix[n-1]) >> 8
	for i, f := range pix {
		v := math.Float32bits(f)
		p0[i] = byte(v>>24) - byte(last>>24)
		p1[i] = byte(v>>16) - byte(last>>16)
		p2[i] = byte(v>>8) - byte(last>>8)
		p3[i] = byte(v) - byte(last)
		last = v
	}
}

// floatPredictor64 is floatPredictor32 for 64-bit samples.
func floatPredictor64(out []byte, pix []float64) {
	n := len(pix)
	last := math.Float64bits(pix[n-1]) >> 8
	for i, f := range pix {
		v := math.Float64bits(f)
		for p := range 8 {
			shift := 56 - 8*p
			out[p*n+i] = byte(v>>shift) - byte(last>>shift)
		}
		last = v
	}
}
