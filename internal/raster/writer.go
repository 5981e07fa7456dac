package raster

import (
	"context"
	"fmt"
	"io"
	"sync"
)

// TileStore keeps encoded tiles between encoding and assembly. Both methods are
// called concurrently, Tile only after PutTile of that tile.
type TileStore interface {
	// PutTile stores a tile; data is valid during the call only.
	PutTile(level, index int, data []byte) error
	// Tile returns the bytes of a stored tile; they are not changed.
	Tile(level, index int) ([]byte, error)
}

// MemoryTiles is a TileStore in memory, for outputs known to be small.
type MemoryTiles struct {
	mu    sync.Mutex
	tiles map[[2]int][]byte
}

// PutTile implements TileStore.
func (m *MemoryTiles) PutTile(level, index int, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tiles == nil {
		m.tiles = make(map[[2]int][]byte)
	}
	m.tiles[[2]int{level, index}] = append([]byte(nil), data...)
	return nil
}

// Tile implements TileStore.
func (m *MemoryTiles) Tile(level, index int) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.tiles[[2]int{level, index}]
	if !ok {
		return nil, fmt.Errorf("tile %d of level %d was not stored", index, level)
	}
	return data, nil
}

// Writer produces one Cloud Optimized GeoTIFF: it encodes tiles as they come, in
// any order and from any number of goroutines, derives the overviews, and
// assembles the file at the end. Jobs that persist their parts use TileCodec,
// Pyramid and Assemble themselves.
type Writer[T Float] struct {
	layout  *Layout
	codec   *TileCodec
	store   TileStore
	pyramid *Pyramid[T]
	bufs    sync.Pool

	mu    sync.Mutex
	sizes [][]int64
}

// NewWriter returns a Writer that keeps encoded tiles in store until Finish.
func NewWriter[T Float](l *Layout, method Resampling, store TileStore) *Writer[T] {
	w := &Writer[T]{layout: l, codec: NewTileCodec(l), store: store}
	w.bufs.New = func() any { return new([]byte) }
	for level := range l.levels {
		w.sizes = append(w.sizes, make([]int64, l.Tiles(level)))
	}
	w.pyramid = NewPyramid(l, method, w.put)
	return w
}

// WriteTile takes in the tile in column tx and row ty of a band, with
// TileSize*TileSize pixels, NaN where missing and beyond the image. Each tile is
// written once.
func (w *Writer[T]) WriteTile(band, tx, ty int, pix []T) error {
	if !w.layout.has(0, band, tx, ty) {
		return fmt.Errorf("no tile %d,%d of band %d", tx, ty, band)
	}
	if err := w.put(0, band, tx, ty, pix); err != nil {
		return err
	}
	return w.pyramid.Add(0, band, tx, ty, pix)
}

// WriteWindow writes every tile that a window of a band covers. The window must
// start on a tile border and end on one or at the edge of the image.
func (w *Writer[T]) WriteWindow(band int, win Window, pix []T) error {
	s := w.layout.spec
	n := s.TileSize
	right, bottom := win.X+win.Width, win.Y+win.Height
	if !win.in(s.Width, s.Height) || win.X%n != 0 || win.Y%n != 0 ||
		right%n != 0 && right != s.Width || bottom%n != 0 && bottom != s.Height || len(pix) < win.Pixels() {
		return fmt.Errorf("window %dx%d at %d,%d with %d pixels does not consist of tiles",
			win.Width, win.Height, win.X, win.Y, len(pix))
	}
	tile := make([]T, n*n)
	for ty := win.Y / n; ty*n < bottom; ty++ {
		for tx := win.X / n; tx*n < right; tx++ {
			ExtractTile(tile, n, pix, win, tx, ty)
			if err := w.WriteTile(band, tx, ty, tile); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *Writer[T]) put(level, band, tx, ty int, pix []T) error {
	buf := w.bufs.Get().(*[]byte)
	defer w.bufs.Put(buf)
	data, err := encodeTile(w.codec, (*buf)[:0], pix)
	if err != nil {
		return err
	}
	*buf = data
	i := w.layout.Index(level, band, tx, ty)
	if err := w.store.PutTile(level, i, data); err != nil {
		return fmt.Errorf("store tile %d of level %d: %w", i, level, err)
	}
	w.mu.Lock()
	w.sizes[level][i] = int64(len(data))
	w.mu.Unlock()
	return nil
}

// Finish writes the file and returns its length. It fails when tiles are
// missing. The store may be cleared afterwards.
func (w *Writer[T]) Finish(ctx context.Context, out io.Writer) (int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for level, sizes := range w.sizes {
		for i, n := range sizes {
			if n == 0 {
				return 0, fmt.Errorf("tile %d of level %d was not written", i, level)
			}
		}
	}
	return Assemble(ctx, out, w.layout, w.sizes, w.store.Tile)
}
