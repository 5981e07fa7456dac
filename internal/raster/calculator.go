package raster

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Input is one asset of a scene.
type Input struct {
	Image *Image
	Band  int // from 0

	// Reflectance = stored*Scale + Offset; Scale 0 means 1.
	Scale, Offset float64

	// NoData overrides the file's own value when HasNoData.
	NoData    float64
	HasNoData bool
}

// Calculator evaluates expressions over the assets of one scene, reading each
// window of each asset once for all of them. It is immutable.
type Calculator struct {
	grid    Grid
	keys    GeoKeys
	inputs  []alignedInput
	exprs   []*Expr
	columns [][]int // per expression: the inputs of its columns
}

type alignedInput struct {
	Input
	name  string
	align *Alignment
	wide  bool // needs float64 columns
}

// NewCalculator prepares the evaluation of expressions over named inputs. The
// output lies on the grid of the finest input that an expression uses; coarser
// ones are aligned by coordinates, nearest neighbour.
//
// Errors: an expression names an asset that is not given; inputs in different
// coordinate systems; no expression or none with an asset.
func NewCalculator(inputs map[string]Input, exprs ...*Expr) (*Calculator, error) {
	c := &Calculator{exprs: exprs}
	var grids []Grid
	for _, x := range exprs {
		var cols []int
		for _, name := range x.Vars() {
			i := slices.IndexFunc(c.inputs, func(in alignedInput) bool { return in.name == name })
			if i < 0 {
				in, ok := inputs[name]
				if !ok || in.Image == nil {
					return nil, fmt.Errorf("equation %q needs asset %q, which the scene does not have", x, name)
				}
				if in.Band < 0 || in.Band >= in.Image.Bands() {
					return nil, fmt.Errorf("asset %q has no band %d", name, in.Band)
				}
				i = len(c.inputs)
				typ := in.Image.SampleType()
				c.inputs = append(c.inputs, alignedInput{
					Input: in, name: name,
					wide: typ == Float64 || typ == Int32 || typ == Uint32,
				})
				grids = append(grids, in.Image.Grid())
			}
			cols = append(cols, i)
		}
		c.columns = append(c.columns, cols)
	}
	if len(grids) == 0 {
		return nil, errors.New("no equation names an asset")
	}
	best := Finest(grids)
	c.grid, c.keys = grids[best], c.inputs[best].Image.GeoKeys()
	for i := range c.inputs {
		a, err := Align(c.grid, grids[i])
		if err != nil {
			return nil, fmt.Errorf("asset %q: %w", c.inputs[i].name, err)
		}
		c.inputs[i].align = a
	}
	return c, nil
}

// Grid is the grid of the outputs.
func (c *Calculator) Grid() Grid { return c.grid }

// GeoKeys are those of the input that gave the grid.
func (c *Calculator) GeoKeys() GeoKeys { return c.keys }

// maxWindow is the number of pixels of a window that WindowSize keeps to.
const maxWindow = 4 << 20

// WindowSize returns a good size for the windows given to Compute: a multiple of
// the output's tile size that covers whole blocks of the inputs, so that nothing
// is decoded twice, of at most 4 Mi pixels (or one tile).
func (c *Calculator) WindowSize(tile int) (width, height int) {
	up := func(n int) int { return (n + tile - 1) / tile * tile }
	width, height = tile, tile
	for _, in := range c.inputs {
		sx, sy := math.Abs(in.align.cols[1]), math.Abs(in.align.rows[1])
		bw := math.Min(float64(in.Image.blockW)/sx, float64(c.grid.Width))
		bh := math.Min(float64(in.Image.blockH)/sy, float64(c.grid.Height))
		width, height = max(width, up(int(bw+0.5))), max(height, up(int(bh+0.5)))
	}
	for width*height > maxWindow && height > tile {
		height = up(height / 2)
	}
	for width*height > maxWindow && width > tile {
		width = up(width / 2)
	}
	return width, height
}

// Worker computes windows. It keeps buffers of the size of a window for each
// input; each goroutine needs its own.
type Worker struct {
	c    *Calculator
	eval []*Evaluator
	pix  [][]float32
	wide [][]float64
	cols []Column
	al   aligner
}

// Worker returns a new worker.
func (c *Calculator) Worker() *Worker {
	w := &Worker{c: c, pix: make([][]float32, len(c.inputs)), wide: make([][]float64, len(c.inputs))}
	for _, x := range c.exprs {
		w.eval = append(w.eval, x.NewEvaluator())
	}
	return w
}

// Compute evaluates every expression over a window of the grid. dst has one
// buffer of win.Pixels() values per expression, in their order; a nil buffer
// skips its expression.
func (w *Worker) Compute(ctx context.Context, win Window, dst ...[]float32) error {
	return compute(ctx, w, win, dst)
}

// Compute64 is Compute without the rounding to float32, for FLOAT64 and integer
// outputs.
func (w *Worker) Compute64(ctx context.Context, win Window, dst ...[]float64) error {
	return compute(ctx, w, win, dst)
}

func compute[T Float](ctx context.Context, w *Worker, win Window, dst [][]T) error {
	c := w.c
	if !win.in(c.grid.Width, c.grid.Height) {
		return fmt.Errorf("window %dx%d at %d,%d leaves the grid", win.Width, win.Height, win.X, win.Y)
	}
	if len(dst) != len(c.exprs) {
		return fmt.Errorf("%d buffers for %d equations", len(dst), len(c.exprs))
	}
	n := win.Pixels()
	for i, in := range c.inputs {
		if err := w.read(ctx, i, win, n); err != nil {
			return fmt.Errorf("asset %q: %w", in.name, err)
		}
	}
	for i := range c.exprs {
		if dst[i] == nil {
			continue
		}
		if len(dst[i]) < n {
			return fmt.Errorf("buffer of %d values for a window of %dx%d", len(dst[i]), win.Width, win.Height)
		}
		w.cols = w.cols[:0]
		for _, col := range c.columns[i] {
			w.cols = append(w.cols, w.column(col, n))
		}
		if err := evaluate(w.eval[i], dst[i][:n], w.cols); err != nil {
			return err
		}
	}
	return nil
}

func (w *Worker) read(ctx context.Context, i int, win Window, n int) error {
	in := w.c.inputs[i]
	if in.wide {
		if cap(w.wide[i]) < n {
			w.wide[i] = make([]float64, n)
		}
		w.wide[i] = w.wide[i][:n]
		return readAligned(ctx, in.Image, in.Band, in.align, win, math.NaN(), w.wide[i], &w.al)
	}
	if cap(w.pix[i]) < n {
		w.pix[i] = make([]float32, n)
	}
	w.pix[i] = w.pix[i][:n]
	return readAligned(ctx, in.Image, in.Band, in.align, win, float32(math.NaN()), w.pix[i], &w.al)
}

func (w *Worker) column(i, n int) Column {
	in := w.c.inputs[i]
	col := Column{Scale: in.Scale, Offset: in.Offset, NoData: in.NoData, HasNoData: in.HasNoData}
	if !in.HasNoData {
		col.NoData, col.HasNoData = in.Image.NoData()
	}
	if in.wide {
		col.Pix64 = w.wide[i][:n]
		return col
	}
	col.Pix = w.pix[i][:n]
	return col
}
