package raster

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"slices"
)

// Thumbnail is a small version of one band. NaN marks missing pixels.
type Thumbnail struct {
	Width, Height int
	Pix           []float32
}

// maxThumbnail bounds the sides of a Thumbnail.
const maxThumbnail = 2048

// NewThumbnail reduces a band to at most width by height pixels, keeping its
// proportions and never enlarging it. It reads the smallest overview that is
// large enough and averages the present pixels of each cell, one block at a
// time; without overviews the whole band is read.
func NewThumbnail(ctx context.Context, im *Image, band, width, height int) (*Thumbnail, error) {
	if width < 1 || height < 1 {
		return nil, fmt.Errorf("thumbnail of %dx%d pixels", width, height)
	}
	scale := min(1, float64(min(width, maxThumbnail))/float64(im.width), float64(min(height, maxThumbnail))/float64(im.height))
	return newThumbnail(ctx, im, band,
		max(1, int(math.Round(float64(im.width)*scale))), max(1, int(math.Round(float64(im.height)*scale))))
}

// newThumbnail reduces to exactly w by h pixels.
func newThumbnail(ctx context.Context, im *Image, band, w, h int) (*Thumbnail, error) {
	im = im.Reduced(w, h)
	w, h = min(w, im.width), min(h, im.height)
	sum, count := make([]float64, w*h), make([]uint32, w*h)
	// One block at a time, huge ones in several goes.
	rows := max(1, min(im.blockH, maxWindow/im.blockW))
	var buf []float32
	for y0 := 0; y0 < im.height; y0 += rows {
		for bx := range im.BlocksX() {
			win := Window{X: bx * im.blockW, Y: y0}
			win.Width, win.Height = min(im.blockW, im.width-win.X), min(rows, im.height-y0)
			if cap(buf) < win.Pixels() {
				buf = make([]float32, win.Pixels())
			}
			pix := buf[:win.Pixels()]
			if err := readWindow(ctx, im, band, win, pix); err != nil {
				return nil, err
			}
			if v, ok := im.NoData(); ok {
				MaskNoData(pix, v)
			}
			for i, v := range pix {
				if v-v != 0 {
					continue
				}
				x, y := win.X+i%win.Width, win.Y+i/win.Width
				cell := y*h/im.height*w + x*w/im.width
				sum[cell] += float64(v)
				count[cell]++
			}
		}
	}
	t := &Thumbnail{Width: w, Height: h, Pix: make([]float32, w*h)}
	for i := range t.Pix {
		t.Pix[i] = float32(sum[i] / float64(count[i])) // 0/0 is NaN
	}
	return t, nil
}

// Percentiles returns the values below which the given shares (0–1) of the
// present pixels lie; ok is false when there are none.
func (t *Thumbnail) Percentiles(low, high float64) (lo, hi float64, ok bool) {
	var v []float32
	for _, p := range t.Pix {
		if p == p {
			v = append(v, p)
		}
	}
	if len(v) == 0 {
		return 0, 0, false
	}
	slices.Sort(v)
	at := func(q float64) float64 {
		return float64(v[min(len(v)-1, max(0, int(q*float64(len(v)-1)+0.5)))])
	}
	return at(low), at(high), true
}

// Stop is one colour of a Ramp.
type Stop struct {
	Value   float64
	R, G, B uint8
}

// Ramp maps values to colours, linearly between stops in ascending order and
// constant beyond them. An empty Ramp stretches grey from the 2nd to the 98th
// percentile of what it is applied to.
type Ramp []Stop

// VegetationRamp suits NDVI and its relatives: blue water, brown soil, green
// vegetation.
func VegetationRamp() Ramp {
	return Ramp{
		{-0.5, 20, 50, 120},
		{-0.1, 70, 120, 180},
		{0.0, 190, 170, 140},
		{0.15, 215, 195, 130},
		{0.3, 170, 195, 85},
		{0.5, 85, 155, 50},
		{0.7, 25, 105, 35},
		{0.9, 5, 60, 25},
	}
}

// Gray runs from black at lo to white at hi.
func Gray(lo, hi float64) Ramp { return Ramp{{lo, 0, 0, 0}, {hi, 255, 255, 255}} }

// ramp returns r, or the grey stretch for an empty one.
func (t *Thumbnail) ramp(r Ramp) Ramp {
	if len(r) > 0 {
		return r
	}
	lo, hi, _ := t.Percentiles(0.02, 0.98)
	return Gray(lo, hi)
}

// At returns the colour of a value; missing values are transparent.
func (r Ramp) At(v float64) color.NRGBA {
	if v != v || len(r) == 0 {
		return color.NRGBA{}
	}
	last := r[0]
	for i, s := range r {
		if v < s.Value {
			if i == 0 {
				break
			}
			f := (v - last.Value) / (s.Value - last.Value)
			mix := func(a, b uint8) uint8 { return uint8(float64(a) + f*(float64(b)-float64(a)) + 0.5) }
			return color.NRGBA{mix(last.R, s.R), mix(last.G, s.G), mix(last.B, s.B), 255}
		}
		last = s
	}
	return color.NRGBA{last.R, last.G, last.B, 255}
}

// Render paints a thumbnail.
func (t *Thumbnail) Render(r Ramp) *image.NRGBA {
	r = t.ramp(r)
	img := image.NewNRGBA(image.Rect(0, 0, t.Width, t.Height))
	for i, v := range t.Pix {
		img.SetNRGBA(i%t.Width, i/t.Width, r.At(float64(v)))
	}
	return img
}

// Quicklook writes a PNG of a band, at most side pixels wide and high, with
// transparent missing pixels.
func Quicklook(ctx context.Context, w io.Writer, im *Image, band, side int, r Ramp) error {
	t, err := NewThumbnail(ctx, im, band, side, side)
	if err != nil {
		return fmt.Errorf("quicklook: %w", err)
	}
	if err := png.Encode(w, t.Render(r)); err != nil {
		return fmt.Errorf("quicklook: %w", err)
	}
	return nil
}
