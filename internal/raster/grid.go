package raster

import (
	"context"
	"errors"
	"fmt"
	"math"
)

// Grid is a georeferenced lattice of pixels.
type Grid struct {
	Width, Height int
	Transform     Affine
	EPSG          int // 0 when unknown
}

// PixelArea is the area of one pixel in squared map units.
func (g Grid) PixelArea() float64 {
	return math.Abs(g.Transform[1]*g.Transform[5] - g.Transform[2]*g.Transform[4])
}

// Bounds returns the extent of the grid in map units.
func (g Grid) Bounds() (minX, minY, maxX, maxY float64) {
	minX, minY, maxX, maxY = math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	for _, c := range [4][2]int{{0, 0}, {g.Width, 0}, {0, g.Height}, {g.Width, g.Height}} {
		x, y := g.Transform.Apply(float64(c[0]), float64(c[1]))
		minX, maxX = min(minX, x), max(maxX, x)
		minY, maxY = min(minY, y), max(maxY, y)
	}
	return minX, minY, maxX, maxY
}

// Finest returns the index of the grid with the smallest pixels, the first of
// equals. The output of band math lies on it.
func Finest(grids []Grid) int {
	best := 0
	for i, g := range grids {
		if g.PixelArea() < grids[best].PixelArea()*(1-1e-9) {
			best = i
		}
	}
	return best
}

// Alignment finds, for each pixel of one grid, the pixel of another that covers
// its centre: nearest neighbour by coordinates.
type Alignment struct {
	src Grid
	// Source column = cols[0] + column*cols[1], before rounding down, at the
	// destination pixel's centre; rows likewise.
	cols, rows [2]float64
	identity   bool
}

// Align relates the pixels of dst to those of src. Both grids must share the
// coordinate system (an unknown one matches any) and have columns along X and
// rows along Y, unless they are the same grid.
func Align(dst, src Grid) (*Alignment, error) {
	if dst.EPSG != 0 && src.EPSG != 0 && dst.EPSG != src.EPSG {
		return nil, fmt.Errorf("grids in different coordinate systems: EPSG:%d and EPSG:%d", dst.EPSG, src.EPSG)
	}
	if dst.Width <= 0 || dst.Height <= 0 || src.Width <= 0 || src.Height <= 0 {
		return nil, errors.New("empty grid")
	}
	a := &Alignment{src: src}
	if dst.Transform == src.Transform {
		a.cols, a.rows = [2]float64{0.5, 1}, [2]float64{0.5, 1}
		a.identity = true
		return a, nil
	}
	d, s := dst.Transform, src.Transform
	if !d.axisAligned() || !s.axisAligned() {
		return nil, errors.New("rotated grids can only be combined when they are equal")
	}
	if s[1] == 0 || s[5] == 0 || !d.finite() || !s.finite() {
		return nil, errors.New("grid without pixel size")
	}
	a.cols = [2]float64{(d[0] - s[0] + 0.5*d[1]) / s[1], d[1] / s[1]}
	a.rows = [2]float64{(d[3] - s[3] + 0.5*d[5]) / s[5], d[5] / s[5]}
	return a, nil
}

// snap is the tolerance, in source pixels, for centres that fall on the border
// of two source pixels but for rounding.
const snap = 1e-6

func lookup(line [2]float64, i, limit int) int {
	v := math.Floor(line[0] + float64(i)*line[1] + snap)
	if !(v >= 0 && v < float64(limit)) {
		return -1
	}
	return int(v)
}

// Column returns the source column for a column of the destination, -1 outside.
func (a *Alignment) Column(col int) int { return lookup(a.cols, col, a.src.Width) }

// Row returns the source row for a row of the destination, -1 outside.
func (a *Alignment) Row(row int) int { return lookup(a.rows, row, a.src.Height) }

// span returns the smallest range of source indices that n destinations need.
func span(find func(int) int, first, n int) (from, to int, ok bool) {
	from, to = -1, -1
	for i := first; i < first+n; i++ {
		v := find(i)
		if v < 0 {
			continue
		}
		if from < 0 {
			from, to = v, v
		}
		from, to = min(from, v), max(to, v)
	}
	return from, to, from >= 0
}

// Source returns the part of the source that a window of the destination needs;
// ok is false when they do not meet.
func (a *Alignment) Source(win Window) (src Window, ok bool) {
	x0, x1, ok1 := span(a.Column, win.X, win.Width)
	y0, y1, ok2 := span(a.Row, win.Y, win.Height)
	if !ok1 || !ok2 {
		return Window{}, false
	}
	return Window{x0, y0, x1 - x0 + 1, y1 - y0 + 1}, true
}

// aligner reads bands onto another grid; it keeps its buffers between calls.
type aligner struct {
	cols  []int
	buf32 []float32
	buf64 []float64
}

// ReadAligned fills dst, of win.Pixels() values, with the nearest pixels of a
// band for a window of the destination grid of a. Pixels outside the image get
// missing.
func (im *Image) ReadAligned(ctx context.Context, band int, a *Alignment, win Window, missing float32, dst []float32) error {
	return readAligned(ctx, im, band, a, win, missing, dst, new(aligner))
}

func readAligned[T Float](ctx context.Context, im *Image, band int, a *Alignment, win Window, missing T, dst []T, al *aligner) error {
	if win.Width <= 0 || win.Height <= 0 || len(dst)/win.Width < win.Height {
		return fmt.Errorf("buffer of %d values for a window of %dx%d", len(dst), win.Width, win.Height)
	}
	if a.identity && win.in(im.width, im.height) {
		return readWindow(ctx, im, band, win, dst)
	}
	src, ok := a.Source(win)
	if !ok {
		for i := range dst[:win.Pixels()] {
			dst[i] = missing
		}
		return nil
	}
	// A much coarser destination would read far more than it keeps: bound it.
	if src.Pixels() > 16*max(win.Pixels(), 1<<16) {
		return fmt.Errorf("window of %dx%d would need %dx%d source pixels; use an overview",
			win.Width, win.Height, src.Width, src.Height)
	}
	pix := bufferOf[T](al, src.Pixels())
	if err := readWindow(ctx, im, band, src, pix); err != nil {
		return err
	}
	if cap(al.cols) < win.Width {
		al.cols = make([]int, win.Width)
	}
	cols := al.cols[:win.Width]
	for i := range cols {
		if cols[i] = a.Column(win.X + i); cols[i] >= 0 {
			cols[i] -= src.X
		}
	}
	above := -1
	for y := range win.Height {
		line := dst[y*win.Width : (y+1)*win.Width]
		row := a.Row(win.Y + y)
		if row >= 0 && row == above { // the row before came from the same source row
			copy(line, dst[(y-1)*win.Width:y*win.Width])
			continue
		}
		above = row
		if row < 0 {
			for i := range line {
				line[i] = missing
			}
			continue
		}
		from := pix[(row-src.Y)*src.Width : (row-src.Y+1)*src.Width]
		for i, c := range cols {
			if c < 0 {
				line[i] = missing
				continue
			}
			line[i] = from[c]
		}
	}
	return nil
}

// bufferOf returns n values of the aligner's buffer of the wanted type.
func bufferOf[T Float](al *aligner, n int) []T {
	var out []T
	switch p := any(&out).(type) {
	case *[]float32:
		if cap(al.buf32) < n {
			al.buf32 = make([]float32, n)
		}
		*p = al.buf32[:n]
	case *[]float64:
		if cap(al.buf64) < n {
			al.buf64 = make([]float64, n)
		}
		*p = al.buf64[:n]
	}
	return out
}
