package raster

import (
	"fmt"
	"iter"
	"math"
)

// Spec describes an output file.
type Spec struct {
	Width, Height int
	Bands         int // 0 means 1
	SampleType    SampleType
	TileSize      int // pixels, a multiple of 16; 0 means 512

	Transform Affine  // the zero value leaves the file without georeference
	GeoKeys   GeoKeys // copied from an input; empty: made from EPSG
	EPSG      int

	// NoData, when HasNoData, stands for missing pixels. Float files without it
	// get NaN; integer files without it store missing pixels as 0.
	NoData    float64
	HasNoData bool

	DeflateLevel int      // 1–9; 0 means 1
	BandNames    []string // optional descriptions, as GDAL shows them
	BigTIFF      bool     // even when the file is smaller than 4 GiB
}

// Level is one resolution of a Layout.
type Level struct {
	Width, Height  int // pixels
	TilesX, TilesY int
}

// Layout fixes the resolutions and tiles of a Cloud Optimized GeoTIFF: level 0
// is the full image, and each level halves the one before until one tile
// suffices. Tiles are numbered band by band, row by row. It is immutable.
type Layout struct {
	spec   Spec
	levels []Level
}

const (
	maxOutputTiles = 1 << 21
	maxOutputSide  = 1 << 24
)

// NewLayout checks a Spec and fills its defaults.
func NewLayout(spec Spec) (*Layout, error) {
	if spec.Bands == 0 {
		spec.Bands = 1
	}
	if spec.TileSize == 0 {
		spec.TileSize = 512
	}
	if spec.DeflateLevel == 0 {
		spec.DeflateLevel = 1
	}
	switch {
	case spec.Width <= 0 || spec.Height <= 0 || spec.Width > maxOutputSide || spec.Height > maxOutputSide:
		return nil, fmt.Errorf("output of %dx%d pixels", spec.Width, spec.Height)
	case spec.Bands < 0 || spec.Bands > 1024:
		return nil, fmt.Errorf("output with %d bands", spec.Bands)
	case spec.SampleType.Size() == 0:
		return nil, fmt.Errorf("output of %v", spec.SampleType)
	case spec.TileSize < 16 || spec.TileSize > 4096 || spec.TileSize%16 != 0:
		return nil, fmt.Errorf("tile size %d is not a multiple of 16 up to 4096", spec.TileSize)
	case spec.DeflateLevel < 1 || spec.DeflateLevel > 9:
		return nil, fmt.Errorf("DEFLATE level %d", spec.DeflateLevel)
	case !spec.Transform.finite():
		return nil, fmt.Errorf("geotransform %v is not finite", spec.Transform)
	case len(spec.BandNames) > spec.Bands:
		return nil, fmt.Errorf("%d band names for %d bands", len(spec.BandNames), spec.Bands)
	}
	if len(spec.GeoKeys.Directory) == 0 {
		keys, err := GeoKeysFor(spec.EPSG)
		if err != nil {
			return nil, err
		}
		spec.GeoKeys = keys
	}
	spec.GeoKeys = spec.GeoKeys.pixelIsArea()
	if spec.SampleType.IsFloat() {
		if !spec.HasNoData {
			spec.NoData, spec.HasNoData = math.NaN(), true
		}
	} else if spec.HasNoData {
		lo, hi := spec.SampleType.Range()
		if !(spec.NoData >= lo && spec.NoData <= hi) || spec.NoData != math.Trunc(spec.NoData) {
			return nil, fmt.Errorf("nodata value %g is not a %v", spec.NoData, spec.SampleType)
		}
	}
	l := &Layout{spec: spec}
	tiles := 0
	for w, h := spec.Width, spec.Height; ; w, h = (w+1)/2, (h+1)/2 {
		lev := Level{w, h, (w + spec.TileSize - 1) / spec.TileSize, (h + spec.TileSize - 1) / spec.TileSize}
		l.levels = append(l.levels, lev)
		if tiles += lev.TilesX * lev.TilesY * spec.Bands; tiles > maxOutputTiles {
			return nil, fmt.Errorf("output of %dx%d pixels needs too many tiles of %d", spec.Width, spec.Height, spec.TileSize)
		}
		if lev.TilesX == 1 && lev.TilesY == 1 {
			return l, nil
		}
	}
}

// Spec returns the specification with its defaults filled in.
func (l *Layout) Spec() Spec { return l.spec }

// Levels returns the resolutions, full first. The caller must not change it.
func (l *Layout) Levels() []Level { return l.levels }

// Tiles is the number of tiles of a level, all bands together.
func (l *Layout) Tiles(level int) int {
	return l.levels[level].TilesX * l.levels[level].TilesY * l.spec.Bands
}

// Index numbers the tile in column tx and row ty of a band of a level.
func (l *Layout) Index(level, band, tx, ty int) int {
	v := l.levels[level]
	return (band*v.TilesY+ty)*v.TilesX + tx
}

// has reports whether a tile exists.
func (l *Layout) has(level, band, tx, ty int) bool {
	if level < 0 || level >= len(l.levels) || band < 0 || band >= l.spec.Bands {
		return false
	}
	v := l.levels[level]
	return tx >= 0 && ty >= 0 && tx < v.TilesX && ty < v.TilesY
}

// Order yields column and row of every tile of level 0 in the order in which a
// Pyramid needs the least memory: four neighbours before the next four, and so
// on upward.
func (l *Layout) Order() iter.Seq2[int, int] {
	return func(yield func(int, int) bool) {
		var visit func(level, tx, ty int) bool
		visit = func(level, tx, ty int) bool {
			if !l.has(level, 0, tx, ty) {
				return true
			}
			if level == 0 {
				return yield(tx, ty)
			}
			for q := range 4 {
				if !visit(level-1, 2*tx+q%2, 2*ty+q/2) {
					return false
				}
			}
			return true
		}
		visit(len(l.levels)-1, 0, 0)
	}
}

// ExtractTile copies the part of a computed window that belongs to tile tx, ty
// of level 0 into dst, of size*size values. Pixels outside the window become
// NaN, as tiles beyond the image's edge must be.
func ExtractTile[T Float](dst []T, size int, pix []T, win Window, tx, ty int) {
	fill(dst[:size*size], math.NaN())
	x0, x1 := max(tx*size, win.X), min((tx+1)*size, win.X+win.Width)
	y0, y1 := max(ty*size, win.Y), min((ty+1)*size, win.Y+win.Height)
	if x0 >= x1 {
		return
	}
	for y := y0; y < y1; y++ {
		from := (y-win.Y)*win.Width + x0 - win.X
		copy(dst[(y-ty*size)*size+x0-tx*size:], pix[from:from+x1-x0])
	}
}
