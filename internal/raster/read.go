package raster

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
)

// Window is a rectangle of pixels.
type Window struct{ X, Y, Width, Height int }

// Pixels is the area of the window.
func (w Window) Pixels() int { return w.Width * w.Height }

// in reports whether the window is not empty and lies inside an image.
func (w Window) in(width, height int) bool {
	return w.X >= 0 && w.Y >= 0 && w.Width > 0 && w.Height > 0 &&
		w.X <= width-w.Width && w.Y <= height-w.Height
}

// ReadWindow reads w by h pixels of a band (from 0) whose upper left pixel is
// x, y into dst, row by row. Values are those stored: nodata is not replaced.
// 32-bit integers beyond 2^24 and float64 are rounded to float32; use
// ReadWindow64 for them. dst must hold w*h values and belongs to the caller.
//
// Only blocks that the window touches are read. Errors: a window or band outside
// the image, ErrMalformed for damaged blocks, those of ctx and of the source.
func (im *Image) ReadWindow(ctx context.Context, band, x, y, w, h int, dst []float32) error {
	return readWindow(ctx, im, band, Window{x, y, w, h}, dst)
}

// ReadWindow64 is ReadWindow with exact values of every sample type.
func (im *Image) ReadWindow64(ctx context.Context, band, x, y, w, h int, dst []float64) error {
	return readWindow(ctx, im, band, Window{x, y, w, h}, dst)
}

// ReadBlock reads the block in column bx and row by of the block grid into dst,
// which must hold BlockWidth*BlockHeight values. Beyond the right and lower edge
// of the image dst is filled with the nodata value, or 0 without one.
func (im *Image) ReadBlock(ctx context.Context, band, bx, by int, dst []float32) error {
	if bx < 0 || by < 0 || bx >= im.BlocksX() || by >= im.BlocksY() {
		return fmt.Errorf("block %d, %d is outside the %dx%d blocks", bx, by, im.BlocksX(), im.BlocksY())
	}
	n := im.blockW * im.blockH
	if len(dst) < n {
		return fmt.Errorf("buffer of %d values for a block of %d", len(dst), n)
	}
	x, y := bx*im.blockW, by*im.blockH
	win := Window{x, y, min(im.blockW, im.width-x), min(im.blockH, im.height-y)}
	dst = dst[:n]
	if win.Width == im.blockW {
		fill(dst[win.Pixels():], im.filler())
		return readWindow(ctx, im, band, win, dst)
	}
	if err := readWindow(ctx, im, band, win, dst); err != nil {
		return err
	}
	for row := im.blockH - 1; row >= 0; row-- { // spread the rows, last first
		line := dst[row*im.blockW : (row+1)*im.blockW]
		if row >= win.Height {
			fill(line, im.filler())
			continue
		}
		copy(line, dst[row*win.Width:(row+1)*win.Width])
		fill(line[win.Width:], im.filler())
	}
	return nil
}

// filler is the value of pixels that are not stored.
func (im *Image) filler() float64 {
	if im.hasNoData {
		return im.noData
	}
	return 0
}

func fill[T Float](dst []T, v float64) {
	for i := range dst {
		dst[i] = T(v)
	}
}

func readWindow[T Float](ctx context.Context, im *Image, band int, win Window, dst []T) error {
	if band < 0 || band >= im.bands {
		return fmt.Errorf("band %d of an image with %d bands", band, im.bands)
	}
	if !win.in(im.width, im.height) {
		return fmt.Errorf("window %dx%d at %d,%d leaves the image of %dx%d",
			win.Width, win.Height, win.X, win.Y, im.width, im.height)
	}
	if len(dst)/win.Width < win.Height {
		return fmt.Errorf("buffer of %d values for a window of %dx%d", len(dst), win.Width, win.Height)
	}
	s := im.scratch.Get().(*scratch)
	defer im.scratch.Put(s)
	size, samples := im.sample.Size(), im.blockSamples()
	first := 0 // byte position of the band in a pixel
	if !im.planar {
		first = band * size
	}
	for by := win.Y / im.blockH; by*im.blockH < win.Y+win.Height; by++ {
		y0 := max(win.Y, by*im.blockH)
		y1 := min(win.Y+win.Height, (by+1)*im.blockH)
		for bx := win.X / im.blockW; bx*im.blockW < win.X+win.Width; bx++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			x0 := max(win.X, bx*im.blockW)
			x1 := min(win.X+win.Width, (bx+1)*im.blockW)
			raw, err := im.decodeBlock(s, band, bx, by)
			if err != nil {
				return fmt.Errorf("block %d,%d of band %d: %w", bx, by, band, err)
			}
			for y := y0; y < y1; y++ {
				at := (y-win.Y)*win.Width + x0 - win.X
				line := dst[at : at+x1-x0]
				if raw == nil {
					fill(line, im.filler())
					continue
				}
				from := ((y-by*im.blockH)*im.blockW + x0 - bx*im.blockW) * samples * size
				unpack(line, raw[from+first:], im.sample, samples)
			}
		}
	}
	return nil
}

// unpack converts little-endian samples to floats. step is the distance between
// two samples of the band, in samples.
func unpack[T Float](dst []T, raw []byte, typ SampleType, step int) {
	le := binary.LittleEndian
	switch typ {
	case Uint8:
		for i := range dst {
			dst[i] = T(raw[i*step])
		}
	case Int8:
		for i := range dst {
			dst[i] = T(int8(raw[i*step]))
		}
	case Uint16:
		if step == 1 {
			raw = raw[:2*len(dst)]
			for i := range dst {
				dst[i] = T(le.Uint16(raw[2*i:]))
			}
			return
		}
		for i := range dst {
			dst[i] = T(le.Uint16(raw[2*i*step:]))
		}
	case Int16:
		for i := range dst {
			dst[i] = T(int16(le.Uint16(raw[2*i*step:])))
		}
	case Uint32:
		for i := range dst {
			dst[i] = T(le.Uint32(raw[4*i*step:]))
		}
	case Int32:
		for i := range dst {
			dst[i] = T(int32(le.Uint32(raw[4*i*step:])))
		}
	case Float32:
		for i := range dst {
			dst[i] = T(math.Float32frombits(le.Uint32(raw[4*i*step:])))
		}
	case Float64:
		for i := range dst {
			dst[i] = T(math.Float64frombits(le.Uint64(raw[8*i*step:])))
		}
	}
}

// MaskNoData replaces every pixel equal to the nodata value by NaN, the mark of
// a missing pixel everywhere else in this package.
func MaskNoData[T Float](pix []T, noData float64) {
	nd := T(noData)
	for i, v := range pix {
		if v == nd {
			pix[i] = T(math.NaN())
		}
	}
}
