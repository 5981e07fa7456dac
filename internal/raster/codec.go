package raster

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync"

	"github.com/klauspost/compress/zlib"
)

// TileCodec turns tiles of a Layout into the bytes that the file will hold, and
// back. It is safe for concurrent use; buffers are pooled.
//
// A tile in memory has TileSize*TileSize pixels. NaN stands for a missing pixel,
// and pixels beyond the edge of the image must be NaN. Integers are rounded half
// away from zero and clamped to their range; a present pixel whose value would
// equal the nodata value is moved by one, so that it stays present.
type TileCodec struct {
	spec  Spec
	block Image // describes a tile to the decoder
	enc   sync.Pool
	dec   sync.Pool
}

// NewTileCodec returns the codec for the tiles of a layout.
func NewTileCodec(l *Layout) *TileCodec {
	s := l.spec
	c := &TileCodec{spec: s}
	c.block = Image{
		blockW: s.TileSize, blockH: s.TileSize, bands: 1, sample: s.SampleType,
		predictor: s.predictor(), order: binary.LittleEndian,
	}
	c.enc.New = func() any { return new(encoder) }
	c.dec.New = func() any { return new(scratch) }
	return c
}

func (s Spec) predictor() uint64 {
	if s.SampleType.IsFloat() {
		return 3
	}
	return 2
}

// encoder is the memory of one running Encode.
type encoder struct {
	raw   []byte
	row32 []float32
	row64 []float64
	out   appender
	z     *zlib.Writer
}

type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}

// Encode appends the compressed tile to dst.
func (c *TileCodec) Encode(dst []byte, pix []float32) ([]byte, error) {
	return encodeTile(c, dst, pix)
}

// Encode64 is Encode for float64 pixels.
func (c *TileCodec) Encode64(dst []byte, pix []float64) ([]byte, error) {
	return encodeTile(c, dst, pix)
}

// Decode fills pix with the pixels of an encoded tile.
func (c *TileCodec) Decode(pix []float32, data []byte) error { return decodeTile(c, pix, data) }

// Decode64 is Decode for float64 pixels.
func (c *TileCodec) Decode64(pix []float64, data []byte) error { return decodeTile(c, pix, data) }

func encodeTile[T Float](c *TileCodec, dst []byte, pix []T) ([]byte, error) {
	n := c.spec.TileSize
	if len(pix) != n*n {
		return nil, fmt.Errorf("tile of %d pixels, want %dx%d", len(pix), n, n)
	}
	e := c.enc.Get().(*encoder)
	defer c.enc.Put(e)
	size := c.spec.SampleType.Size()
	e.raw = grow(e.raw, n*n*size)
	for y := range n {
		row, out := pix[y*n:(y+1)*n], e.raw[y*n*size:(y+1)*n*size]
		switch c.spec.SampleType {
		case Float32:
			floatPredictor32(out, present(row, &e.row32, c.spec.NoData))
		case Float64:
			floatPredictor64(out, present(row, &e.row64, c.spec.NoData))
		default:
			packIntegers(out, row, c.spec)
			difference(out, size)
		}
	}
	e.out.b = dst
	if e.z == nil {
		z, err := zlib.NewWriterLevel(&e.out, c.spec.DeflateLevel)
		if err != nil {
			return nil, fmt.Errorf("start DEFLATE: %w", err)
		}
		e.z = z
	} else {
		e.z.Reset(&e.out)
	}
	if _, err := e.z.Write(e.raw); err != nil {
		return nil, fmt.Errorf("compress tile: %w", err)
	}
	if err := e.z.Close(); err != nil {
		return nil, fmt.Errorf("compress tile: %w", err)
	}
	dst, e.out.b = e.out.b, nil
	return dst, nil
}

// present returns the row in the file's type with missing pixels replaced; it
// is the row itself when nothing has to change.
func present[T, F Float](row []T, buf *[]F, noData float64) []F {
	if same, ok := any(row).([]F); ok && noData != noData {
		return same
	}
	if cap(*buf) < len(row) {
		*buf = make([]F, len(row))
	}
	out := (*buf)[:len(row)]
	for i, v := range row {
		if v != v {
			out[i] = F(noData)
			continue
		}
		out[i] = F(v)
	}
	return out
}

// packIntegers stores one row as little-endian integers.
func packIntegers[T Float](out []byte, row []T, s Spec) {
	lo, hi := s.SampleType.Range()
	missing := 0.0
	if s.HasNoData {
		missing = s.NoData
	}
	instead := missing + 1
	if missing >= hi {
		instead = missing - 1
	}
	size := s.SampleType.Size()
	for i, p := range row {
		v := float64(p)
		switch {
		case v != v:
			v = missing
		case v >= 0:
			v = min(math.Floor(v+0.5), hi)
		default:
			v = max(math.Ceil(v-0.5), lo)
		}
		if s.HasNoData && v == missing && p == p {
			v = instead
		}
		switch n := int64(v); size {
		case 1:
			out[i] = byte(n)
		case 2:
			binary.LittleEndian.PutUint16(out[2*i:], uint16(n))
		default:
			binary.LittleEndian.PutUint32(out[4*i:], uint32(n))
		}
	}
}

func decodeTile[T Float](c *TileCodec, pix []T, data []byte) error {
	n := c.spec.TileSize
	if len(pix) != n*n {
		return fmt.Errorf("tile of %d pixels, want %dx%d", len(pix), n, n)
	}
	if len(data) == 0 { // a tile left out
		fill(pix, math.NaN())
		return nil
	}
	s := c.dec.Get().(*scratch)
	defer c.dec.Put(s)
	s.packed = data
	raw, err := s.decompress(compressDeflate, n*n*c.spec.SampleType.Size())
	s.packed = nil
	if err != nil {
		return fmt.Errorf("decode tile: %w", err)
	}
	c.block.restore(s, raw)
	unpack(pix, raw, c.spec.SampleType, 1)
	if c.spec.HasNoData {
		MaskNoData(pix, c.spec.NoData)
	}
	return nil
}
