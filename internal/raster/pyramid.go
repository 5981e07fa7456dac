package raster

import (
	"fmt"
	"math"
	"sync"
)

// Resampling tells how overviews are derived.
type Resampling uint8

const (
	// Average takes the mean of the present pixels among four.
	Average Resampling = iota
	// Nearest takes the upper left pixel of four; for classes such as land cover.
	Nearest
)

// Downsample writes one quadrant of an overview tile: the tile below it, child,
// at half resolution. Both tiles have size*size pixels; qx and qy (0 or 1) are
// the child's column and row modulo two. NaN pixels count as absent.
func Downsample[T Float](parent, child []T, size, qx, qy int, method Resampling) {
	half := size / 2
	for y := range half {
		at := (qy*half+y)*size + qx*half
		out := parent[at : at+half]
		a := child[2*y*size : (2*y+1)*size]
		if method == Nearest {
			for x := range out {
				out[x] = a[2*x]
			}
			continue
		}
		b := child[(2*y+1)*size : (2*y+2)*size]
		b = b[:len(a)]
		for x := range out {
			i := 2 * x
			sum := float64(a[i]) + float64(a[i+1]) + float64(b[i]) + float64(b[i+1])
			if sum == sum {
				out[x] = T(sum * 0.25)
				continue
			}
			out[x] = meanOfPresent(a[i], a[i+1], b[i], b[i+1])
		}
	}
}

func meanOfPresent[T Float](pix ...T) T {
	sum, n := 0.0, 0.0
	for _, p := range pix {
		if p == p {
			sum, n = sum+float64(p), n+1
		}
	}
	return T(sum / n) // 0/0 is NaN
}

// Pyramid builds the overviews of a layout while tiles arrive. It holds only the
// overview tiles that are begun and not complete: with tiles in the order of
// Layout.Order about one per level, row by row about one row of tiles per level.
//
// It is safe for concurrent use.
type Pyramid[T Float] struct {
	layout *Layout
	method Resampling
	emit   func(level, band, tx, ty int, pix []T) error

	mu      sync.Mutex
	pending map[tileKey]*parentTile[T]
	free    [][]T
}

type tileKey struct{ level, band, tx, ty int }

type parentTile[T Float] struct {
	pix  []T
	want uint8 // bit set of quadrants that exist
	seen uint8 // begun
	done uint8
}

// NewPyramid returns a Pyramid that calls emit once for each complete overview
// tile, on the goroutine whose Add completed it. pix is valid during the call.
func NewPyramid[T Float](l *Layout, method Resampling, emit func(level, band, tx, ty int, pix []T) error) *Pyramid[T] {
	return &Pyramid[T]{layout: l, method: method, emit: emit, pending: make(map[tileKey]*parentTile[T])}
}

// Add takes in a tile of any level but the last, normally 0; a job that is
// resumed may add stored tiles of a higher level instead of all those below
// them. Each tile may be added once. pix is not kept.
func (p *Pyramid[T]) Add(level, band, tx, ty int, pix []T) error {
	size := p.layout.spec.TileSize
	if !p.layout.has(level, band, tx, ty) || len(pix) != size*size {
		return fmt.Errorf("no tile %d,%d of band %d, level %d, with %d pixels", tx, ty, band, level, len(pix))
	}
	if level+1 == len(p.layout.levels) {
		return nil
	}
	key := tileKey{level + 1, band, tx / 2, ty / 2}
	bit := uint8(1) << (tx%2 + 2*(ty%2))
	p.mu.Lock()
	parent := p.pending[key]
	if parent == nil {
		parent = p.begin(key)
	}
	again := parent.seen&bit != 0
	parent.seen |= bit
	p.mu.Unlock()
	if again {
		return fmt.Errorf("tile %d,%d of band %d, level %d was added twice", tx, ty, band, level)
	}
	Downsample(parent.pix, pix, size, tx%2, ty%2, p.method)
	p.mu.Lock()
	parent.done |= bit
	complete := parent.done == parent.want
	if complete {
		delete(p.pending, key)
	}
	p.mu.Unlock()
	if !complete {
		return nil
	}
	if err := p.emit(key.level, key.band, key.tx, key.ty, parent.pix); err != nil {
		return err
	}
	if err := p.Add(key.level, key.band, key.tx, key.ty, parent.pix); err != nil {
		return err
	}
	p.mu.Lock()
	if len(p.free) < 4 {
		p.free = append(p.free, parent.pix)
	}
	p.mu.Unlock()
	return nil
}

// begin registers a parent tile; p.mu is held.
func (p *Pyramid[T]) begin(key tileKey) *parentTile[T] {
	t := &parentTile[T]{}
	for q := range 4 {
		if p.layout.has(key.level-1, key.band, 2*key.tx+q%2, 2*key.ty+q/2) {
			t.want |= 1 << q
		}
	}
	if n := len(p.free); n > 0 {
		t.pix, p.free = p.free[n-1], p.free[:n-1]
	} else {
		t.pix = make([]T, p.layout.spec.TileSize*p.layout.spec.TileSize)
	}
	fill(t.pix, math.NaN())
	p.pending[key] = t
	return t
}

// Pending is the number of overview tiles that wait for tiles below them; 0 when
// every tile has been added.
func (p *Pyramid[T]) Pending() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.pending)
}
