package raster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// scratch is what decoding one block needs; it is reused through a pool, since
// inflate tables and block buffers would otherwise dominate allocation.
type scratch struct {
	packed []byte
	raw    []byte
	row    []byte
	in     bytes.Reader
	zlib   io.ReadCloser
	zstd   *zstd.Decoder
	lzw    lzwDecoder
}

// grow returns b with length n, reallocating only when it must.
func grow(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}

// maxRatio is the greatest possible size of decoded data per compressed byte. A
// block that claims more is refused before memory is allocated for it.
func maxRatio(compression uint64) int64 {
	switch compression {
	case compressDeflate, compressOldDeflate:
		return 1100 // the format's limit is 1032:1
	case compressLZW:
		return 4096
	case compressZSTD:
		return 1 << 15
	}
	return 1
}

// decodeBlock returns the samples of a block, little-endian and without
// predictor, or nil for a block that is not stored. The result lives in s until
// the next call.
func (im *Image) decodeBlock(s *scratch, band, bx, by int) ([]byte, error) {
	i := by*im.BlocksX() + bx
	if im.planar {
		i += band * im.BlocksX() * im.BlocksY()
	}
	off, n := im.offsets[i], int64(im.counts[i])
	if n == 0 {
		return nil, nil // sparse: GDAL's way of leaving out empty blocks
	}
	rows := im.blockH
	if !im.tiled {
		rows = min(rows, im.height-by*im.blockH)
	}
	want := int64(im.blockW) * int64(rows) * int64(im.blockSamples()) * int64(im.sample.Size())
	if off > uint64(im.size) || n > im.size-int64(off) {
		return nil, fmt.Errorf("%w: %d bytes at %d leave the file", ErrMalformed, n, off)
	}
	if im.compression == compressNone {
		if n < want {
			return nil, fmt.Errorf("%w: %d bytes instead of %d", ErrMalformed, n, want)
		}
		n = want
	}
	if n > 2*want+4096 || want > n*maxRatio(im.compression)+64 {
		return nil, fmt.Errorf("%w: %d bytes cannot be a block of %d", ErrMalformed, n, want)
	}
	s.packed = grow(s.packed, int(n))
	if err := readFullAt(im.src, s.packed, int64(off)); err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	raw, err := s.decompress(im.compression, int(want))
	if err != nil {
		return nil, err
	}
	im.restore(s, raw)
	return raw, nil
}

// decompress turns s.packed into want bytes.
func (s *scratch) decompress(compression uint64, want int) ([]byte, error) {
	if compression == compressNone {
		return s.packed[:want], nil
	}
	s.raw = grow(s.raw, want)
	s.in.Reset(s.packed)
	switch compression {
	case compressLZW:
		if n, err := s.lzw.decode(s.raw, s.packed); err != nil || n < want {
			return nil, fmt.Errorf("%w: LZW data ends after %d of %d bytes", ErrMalformed, n, want)
		}
		return s.raw, nil
	case compressZSTD:
		if s.zstd == nil {
			d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
				zstd.WithDecoderMaxWindow(8<<20))
			if err != nil {
				return nil, fmt.Errorf("start ZSTD: %w", err)
			}
			s.zstd = d
		}
		if err := s.zstd.Reset(&s.in); err != nil {
			return nil, fmt.Errorf("%w: ZSTD: %w", ErrMalformed, err)
		}
		if _, err := io.ReadFull(s.zstd, s.raw); err != nil {
			return nil, fmt.Errorf("%w: ZSTD: %w", ErrMalformed, err)
		}
		return s.raw, nil
	}
	if err := s.resetZlib(); err != nil {
		return nil, fmt.Errorf("%w: DEFLATE: %w", ErrMalformed, err)
	}
	if _, err := io.ReadFull(s.zlib, s.raw); err != nil {
		return nil, fmt.Errorf("%w: DEFLATE: %w", ErrMalformed, err)
	}
	// One byte more makes zlib check its checksum. Surplus data is ignored, as
	// other readers do.
	var one [1]byte
	if n, err := s.zlib.Read(one[:]); n == 0 && err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: DEFLATE: %w", ErrMalformed, err)
	}
	return s.raw, nil
}

func (s *scratch) resetZlib() error {
	if s.zlib == nil {
		z, err := zlib.NewReader(&s.in)
		s.zlib = z
		return err
	}
	return s.zlib.(zlib.Resetter).Reset(&s.in, nil)
}

// restore undoes byte order and predictor in place.
func (im *Image) restore(s *scratch, raw []byte) {
	size, samples := im.sample.Size(), im.blockSamples()
	width := im.blockW * samples
	if im.predictor == 3 {
		s.row = grow(s.row, width*size)
		for row := width * size; len(raw) >= row; raw = raw[row:] {
			undoFloatPredictor(raw[:row], s.row, size, samples)
		}
		return
	}
	if im.order == binary.BigEndian {
		swapBytes(raw, size)
	}
	if im.predictor == 2 {
		for row := width * size; len(raw) >= row; raw = raw[row:] {
			undoDifference(raw[:row], size, samples)
		}
	}
}
