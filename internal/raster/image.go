package raster

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Compression schemes.
const (
	compressNone       = 1
	compressLZW        = 5
	compressDeflate    = 8
	compressOldDeflate = 32946
	compressZSTD       = 50000
)

// Image is one resolution of an opened GeoTIFF. It is immutable and safe for
// concurrent use as far as its io.ReaderAt is.
type Image struct {
	src  io.ReaderAt
	size int64

	width, height  int
	bands          int
	sample         SampleType
	noData         float64
	hasNoData      bool
	transform      Affine
	georeferenced  bool
	keys           GeoKeys
	blockW, blockH int
	tiled, planar  bool
	compression    uint64
	predictor      uint64
	order          binary.ByteOrder
	offsets        []uint64
	counts         []uint32
	overviews      []*Image
	scratch        *sync.Pool // of *scratch, shared with the overviews
}

// limits bound what a file may make the reader do.
type limits struct {
	blockBytes  int64
	blocks      uint64
	dimension   uint64
	directories int
	bands       uint64
}

// Option changes a limit of Open.
type Option func(*limits)

// WithMaxBlockBytes limits the decoded size of one block (tile or strip); the
// default is 64 MiB. Reading needs at most about three times as much memory.
func WithMaxBlockBytes(n int64) Option { return func(l *limits) { l.blockBytes = n } }

// WithMaxBlocks limits the number of blocks of all resolutions together; the
// default is 2^21. Each costs 12 bytes of memory while the image is open.
func WithMaxBlocks(n int) Option { return func(l *limits) { l.blocks = uint64(n) } }

// Open reads the directories of the TIFF or BigTIFF of the given size in bytes.
// The first directory is the image; directories marked as reduced resolution
// become its overviews; masks and further pages are ignored.
//
// Errors match ErrMalformed for broken or hostile files, ErrUnsupported for
// features this package does not read, and otherwise wrap those of r. r must
// stay readable as long as the image is used.
//
// Source: TIFF 6.0; BigTIFF; OGC GeoTIFF 1.1; GDAL's tag 42113.
func Open(r io.ReaderAt, size int64, opts ...Option) (*Image, error) {
	lim := limits{blockBytes: 64 << 20, blocks: 1 << 21, dimension: 1 << 24, directories: 128, bands: 1024}
	for _, o := range opts {
		o(&lim)
	}
	if size < 8 {
		return nil, fmt.Errorf("%w: %d bytes are too short", ErrMalformed, size)
	}
	p := &parser{src: r, size: size}
	off, err := p.header()
	if err != nil {
		return nil, err
	}
	pool := &sync.Pool{New: func() any { return new(scratch) }}
	var main *Image
	seen := make(map[uint64]bool)
	for n := 0; off != 0; n++ {
		if seen[off] {
			return nil, fmt.Errorf("%w: directories form a loop", ErrMalformed)
		}
		seen[off] = true
		if n == lim.directories {
			return nil, fmt.Errorf("%w: more than %d directories", ErrMalformed, n)
		}
		d, err := p.directory(off)
		if err != nil {
			return nil, fmt.Errorf("directory %d: %w", n, err)
		}
		off = d.next
		kind, err := p.uint(d, tagNewSubfileType, 0)
		if err != nil {
			return nil, fmt.Errorf("directory %d: %w", n, err)
		}
		if main != nil && (kind&subfileReduced == 0 || kind&subfileMask != 0) {
			continue
		}
		im, err := p.image(d, &lim)
		if err != nil {
			return nil, fmt.Errorf("directory %d: %w", n, err)
		}
		im.scratch = pool
		if main == nil {
			if err := p.georeference(d, im); err != nil {
				return nil, fmt.Errorf("directory %d: %w", n, err)
			}
			main = im
			continue
		}
		if err := main.addOverview(im); err != nil {
			return nil, fmt.Errorf("directory %d: %w", n, err)
		}
	}
	if main == nil {
		return nil, fmt.Errorf("%w: no image", ErrMalformed)
	}
	slices.SortStableFunc(main.overviews, func(a, b *Image) int { return b.width - a.width })
	return main, nil
}

func (im *Image) addOverview(o *Image) error {
	if o.width > im.width || o.height > im.height || o.bands != im.bands || o.sample != im.sample {
		return fmt.Errorf("%w: overview of %dx%d, %d bands of %v does not belong to an image of %dx%d, %d bands of %v",
			ErrMalformed, o.width, o.height, o.bands, o.sample, im.width, im.height, im.bands, im.sample)
	}
	o.noData, o.hasNoData = im.noData, im.hasNoData
	o.keys, o.georeferenced = im.keys, im.georeferenced
	o.transform = im.transform.scaled(float64(im.width)/float64(o.width), float64(im.height)/float64(o.height))
	im.overviews = append(im.overviews, o)
	return nil
}

// image reads what describes the pixels of one directory.
func (p *parser) image(d *directory, lim *limits) (*Image, error) {
	im := &Image{src: p.src, size: p.size, order: p.order}
	var err error
	number := func(tag uint16, def uint64) uint64 {
		v, e := p.uint(d, tag, def)
		if err == nil {
			err = e
		}
		return v
	}
	w, h := number(tagImageWidth, 0), number(tagImageLength, 0)
	bands := number(tagSamplesPerPixel, 1)
	planar := number(tagPlanarConfig, planarChunky)
	im.compression = number(tagCompression, compressNone)
	im.predictor = number(tagPredictor, 1)
	if err != nil {
		return nil, err
	}
	switch {
	case w == 0 || h == 0 || w > lim.dimension || h > lim.dimension:
		return nil, fmt.Errorf("%w: image of %dx%d pixels", ErrMalformed, w, h)
	case bands == 0 || bands > lim.bands:
		return nil, fmt.Errorf("%w: %d bands", ErrMalformed, bands)
	case planar != planarChunky && planar != planarSeparate:
		return nil, fmt.Errorf("%w: planar configuration %d", ErrMalformed, planar)
	}
	switch im.compression {
	case compressNone, compressLZW, compressDeflate, compressOldDeflate, compressZSTD:
	default:
		return nil, fmt.Errorf("%w: compression %d (none, LZW, DEFLATE and ZSTD are read)", ErrUnsupported, im.compression)
	}
	im.width, im.height, im.bands = int(w), int(h), int(bands)
	im.planar = planar == planarSeparate && bands > 1
	bits, err := p.uniform(d, tagBitsPerSample, 1)
	if err != nil {
		return nil, err
	}
	format, err := p.uniform(d, tagSampleFormat, formatUint)
	if err != nil {
		return nil, err
	}
	if im.sample, err = sampleTypeOf(bits, format); err != nil {
		return nil, err
	}
	switch {
	case im.predictor < 1 || im.predictor > 3:
		return nil, fmt.Errorf("%w: predictor %d", ErrUnsupported, im.predictor)
	case im.compression == compressNone:
		im.predictor = 1
	case im.predictor == 3 && !im.sample.IsFloat():
		return nil, fmt.Errorf("%w: predictor 3 on %v", ErrMalformed, im.sample)
	}
	return im, p.blocks(d, im, lim)
}

// blocks reads the block size and the block lists.
func (p *parser) blocks(d *directory, im *Image, lim *limits) error {
	offTag, countTag := uint16(tagStripOffsets), uint16(tagStripByteCounts)
	bw, bh := uint64(im.width), uint64(im.height)
	var err error
	if _, im.tiled = d.find(tagTileWidth); im.tiled {
		offTag, countTag = tagTileOffsets, tagTileByteCounts
		if _, ok := d.find(offTag); !ok { // libtiff tolerates this mixture
			offTag, countTag = tagStripOffsets, tagStripByteCounts
		}
		if bw, err = p.uint(d, tagTileWidth, 0); err != nil {
			return err
		}
		if bh, err = p.uint(d, tagTileLength, 0); err != nil {
			return err
		}
	} else {
		if bh, err = p.uint(d, tagRowsPerStrip, bh); err != nil {
			return err
		}
		bh = min(bh, uint64(im.height))
	}
	if bw == 0 || bh == 0 || bw > lim.dimension || bh > lim.dimension {
		return fmt.Errorf("%w: blocks of %dx%d pixels", ErrMalformed, bw, bh)
	}
	im.blockW, im.blockH = int(bw), int(bh)
	if n := int64(bw) * int64(bh); n > lim.blockBytes || n*int64(im.blockSamples()*im.sample.Size()) > lim.blockBytes {
		return fmt.Errorf("%w: a block of %dx%d pixels exceeds the limit of %d bytes", ErrMalformed, bw, bh, lim.blockBytes)
	}
	n := uint64(im.BlocksX()) * uint64(im.BlocksY())
	if im.planar {
		n *= uint64(im.bands)
	}
	if n > lim.blocks {
		return fmt.Errorf("%w: too many blocks (%d)", ErrMalformed, n)
	}
	lim.blocks -= n
	offs, ok := d.find(offTag)
	counts, ok2 := d.find(countTag)
	if !ok || !ok2 {
		return fmt.Errorf("%w: no block offsets or sizes", ErrMalformed)
	}
	if offs.count < n || counts.count < n {
		return fmt.Errorf("%w: %d block offsets and %d sizes for %d blocks", ErrMalformed, offs.count, counts.count, n)
	}
	offs.take, counts.take = n, n // surplus values are ignored
	if im.offsets, err = p.uints(offs, n); err != nil {
		return err
	}
	get, err := p.uintGetter(counts)
	if err != nil {
		return err
	}
	if n*fieldSize(counts.typ) > uint64(p.size) {
		return fmt.Errorf("%w: block sizes leave the file", ErrMalformed)
	}
	im.counts = make([]uint32, n)
	large := false
	err = p.each(counts, n, func(i int, b []byte) {
		v := get(b)
		large = large || v > math.MaxUint32
		im.counts[i] = uint32(v)
	})
	if err == nil && large {
		err = fmt.Errorf("%w: block of more than 4 GiB", ErrMalformed)
	}
	return err
}

// georeference reads nodata and the geo tags of the main directory.
func (p *parser) georeference(d *directory, im *Image) error {
	text, err := p.ascii(d, tagGDALNoData)
	if err != nil {
		return err
	}
	if v, err := strconv.ParseFloat(strings.TrimSpace(text), 64); err == nil {
		if im.sample == Float32 {
			v = float64(float32(v)) // as stored in the pixels
		}
		im.noData, im.hasNoData = v, true
	}
	if e, ok := d.find(tagGeoKeyDirectory); ok {
		v, err := p.uints(e, maxSmallList)
		if err != nil {
			return err
		}
		im.keys.Directory = make([]uint16, len(v))
		for i, x := range v {
			im.keys.Directory[i] = uint16(x)
		}
	}
	if im.keys.Doubles, err = p.doubles(d, tagGeoDoubleParams); err != nil {
		return err
	}
	if im.keys.ASCII, err = p.ascii(d, tagGeoASCIIParams); err != nil {
		return err
	}
	scale, err := p.doubles(d, tagModelPixelScale)
	if err != nil {
		return err
	}
	tie, err := p.doubles(d, tagModelTiepoint)
	if err != nil {
		return err
	}
	matrix, err := p.doubles(d, tagModelTransformation)
	if err != nil {
		return err
	}
	im.transform, im.georeferenced, err = geotransform(scale, tie, matrix, im.keys)
	return err
}

// Width is the number of columns.
func (im *Image) Width() int { return im.width }

// Height is the number of rows.
func (im *Image) Height() int { return im.height }

// Bands is the number of samples per pixel.
func (im *Image) Bands() int { return im.bands }

// SampleType is the stored type of every band.
func (im *Image) SampleType() SampleType { return im.sample }

// NoData returns the value that marks missing pixels, if one is declared.
func (im *Image) NoData() (value float64, ok bool) { return im.noData, im.hasNoData }

// GeoTransform returns the affine transform; ok is false, and the transform the
// identity, for a file without one.
func (im *Image) GeoTransform() (t Affine, ok bool) { return im.transform, im.georeferenced }

// EPSG returns the code of the coordinate system, or 0.
func (im *Image) EPSG() int { return im.keys.EPSG() }

// GeoKeys returns the stored keys. The caller must not change them.
func (im *Image) GeoKeys() GeoKeys { return im.keys }

// Grid returns the image's pixel grid.
func (im *Image) Grid() Grid {
	return Grid{Width: im.width, Height: im.height, Transform: im.transform, EPSG: im.EPSG()}
}

// BlockWidth and BlockHeight give the size of the unit of reading: a tile, or
// a strip as wide as the image. Windows aligned to blocks decode nothing twice.
func (im *Image) BlockWidth() int { return im.blockW }

// BlockHeight is described at BlockWidth.
func (im *Image) BlockHeight() int { return im.blockH }

// BlocksX is the number of blocks in a row of blocks.
func (im *Image) BlocksX() int { return (im.width + im.blockW - 1) / im.blockW }

// BlocksY is the number of rows of blocks.
func (im *Image) BlocksY() int { return (im.height + im.blockH - 1) / im.blockH }

// Tiled reports whether blocks are tiles rather than strips.
func (im *Image) Tiled() bool { return im.tiled }

// Overviews returns the reduced resolutions, widest first.
func (im *Image) Overviews() []*Image { return im.overviews }

// Reduced returns the smallest of the image and its overviews that is still at
// least width by height pixels.
func (im *Image) Reduced(width, height int) *Image {
	best := im
	for _, o := range im.overviews {
		if o.width >= width && o.height >= height && o.width <= best.width {
			best = o
		}
	}
	return best
}

// blockSamples is the number of interleaved samples per pixel of a block.
func (im *Image) blockSamples() int {
	if im.planar {
		return 1
	}
	return im.bands
}
