package raster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// ErrUnsupported marks a well-formed file that uses a feature this package does
// not read, such as JPEG compression.
var ErrUnsupported = errors.New("unsupported TIFF feature")

// ErrMalformed marks bytes that break the TIFF rules or the reader's limits.
var ErrMalformed = errors.New("malformed TIFF")

// Tags of TIFF 6.0, TIFF Technical Note 3 (predictor 3), GeoTIFF and GDAL.
const (
	tagNewSubfileType      = 254
	tagImageWidth          = 256
	tagImageLength         = 257
	tagBitsPerSample       = 258
	tagCompression         = 259
	tagPhotometric         = 262
	tagStripOffsets        = 273
	tagSamplesPerPixel     = 277
	tagRowsPerStrip        = 278
	tagStripByteCounts     = 279
	tagPlanarConfig        = 284
	tagPredictor           = 317
	tagTileWidth           = 322
	tagTileLength          = 323
	tagTileOffsets         = 324
	tagTileByteCounts      = 325
	tagExtraSamples        = 338
	tagSampleFormat        = 339
	tagModelPixelScale     = 33550
	tagModelTiepoint       = 33922
	tagModelTransformation = 34264
	tagGeoKeyDirectory     = 34735
	tagGeoDoubleParams     = 34736
	tagGeoASCIIParams      = 34737
	tagGDALMetadata        = 42112
	tagGDALNoData          = 42113
)

// Field types.
const (
	typeByte   = 1
	typeASCII  = 2
	typeShort  = 3
	typeLong   = 4
	typeFloat  = 11
	typeDouble = 12
	typeIFD    = 13
	typeLong8  = 16
	typeIFD8   = 18
)

const (
	formatUint  = 1
	formatInt   = 2
	formatFloat = 3

	subfileReduced = 1
	subfileMask    = 4

	planarChunky   = 1
	planarSeparate = 2
)

// Limits of directories, far above what real files use.
const (
	maxEntries   = 4096
	maxSmallList = 1 << 16 // values of a tag that is not a block list
	headerPage   = 16 << 10
)

// entry is one directory field; value holds the inline bytes.
type entry struct {
	tag, typ uint16
	count    uint64
	take     uint64 // how many of count values are wanted; 0 means all
	value    [8]byte
}

// wanted is the number of values to read.
func (e entry) wanted() uint64 {
	if e.take > 0 {
		return min(e.take, e.count)
	}
	return e.count
}

// directory is one IFD.
type directory struct {
	entries []entry
	next    uint64
}

func (d *directory) find(tag uint16) (entry, bool) {
	i := slices.IndexFunc(d.entries, func(e entry) bool { return e.tag == tag })
	if i < 0 {
		return entry{}, false
	}
	return d.entries[i], true
}

// parser reads directories. It is used by one goroutine, while a file is opened.
type parser struct {
	src   io.ReaderAt
	size  int64
	order binary.ByteOrder
	big   bool

	page    []byte // last page read: directories are small and close together
	pageOff int64
}

// at fills b from off. Reads that leave the file are malformed.
func (p *parser) at(b []byte, off uint64) error {
	if off > uint64(p.size) || uint64(len(b)) > uint64(p.size)-off {
		return fmt.Errorf("%w: %d bytes at offset %d lie outside the file", ErrMalformed, len(b), off)
	}
	for len(b) > 0 {
		start := int64(off)
		if p.page == nil || start < p.pageOff || start >= p.pageOff+int64(len(p.page)) {
			page := start - start%headerPage
			n := min(int64(headerPage), p.size-page)
			if int64(cap(p.page)) < n {
				p.page = make([]byte, n)
			}
			p.page = p.page[:n]
			if err := readFullAt(p.src, p.page, page); err != nil {
				p.page = nil
				return fmt.Errorf("read TIFF directory: %w", err)
			}
			p.pageOff = page
		}
		n := copy(b, p.page[start-p.pageOff:])
		b, off = b[n:], off+uint64(n)
	}
	return nil
}

// readFullAt is ReadAt that treats a short read as an error and ignores an EOF
// that comes with all the bytes.
func readFullAt(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// header reads the first bytes and returns the offset of the first directory.
func (p *parser) header() (uint64, error) {
	var h [16]byte
	if err := p.at(h[:8], 0); err != nil {
		return 0, fmt.Errorf("%w: too short for a TIFF", ErrMalformed)
	}
	switch string(h[:2]) {
	case "II":
		p.order = binary.LittleEndian
	case "MM":
		p.order = binary.BigEndian
	default:
		return 0, fmt.Errorf("%w: not a TIFF", ErrMalformed)
	}
	switch v := p.order.Uint16(h[2:]); v {
	case 42:
		return uint64(p.order.Uint32(h[4:])), nil
	case 43:
		if err := p.at(h[:], 0); err != nil {
			return 0, err
		}
		if p.order.Uint16(h[4:]) != 8 || p.order.Uint16(h[6:]) != 0 {
			return 0, fmt.Errorf("%w: BigTIFF with offsets of %d bytes", ErrMalformed, p.order.Uint16(h[4:]))
		}
		p.big = true
		return p.order.Uint64(h[8:]), nil
	default:
		return 0, fmt.Errorf("%w: TIFF version %d", ErrMalformed, v)
	}
}

// directory reads the IFD at off.
func (p *parser) directory(off uint64) (*directory, error) {
	var n uint64
	var b [20]byte
	width := uint64(12)
	if p.big {
		width = 20
		if err := p.at(b[:8], off); err != nil {
			return nil, err
		}
		n, off = p.order.Uint64(b[:8]), off+8
	} else {
		if err := p.at(b[:2], off); err != nil {
			return nil, err
		}
		n, off = uint64(p.order.Uint16(b[:2])), off+2
	}
	if n == 0 || n > maxEntries {
		return nil, fmt.Errorf("%w: directory with %d entries", ErrMalformed, n)
	}
	if off > uint64(p.size) || n*width > uint64(p.size)-off {
		return nil, fmt.Errorf("%w: directory of %d entries leaves the file", ErrMalformed, n)
	}
	d := &directory{entries: make([]entry, 0, min(n, 64))}
	for range n {
		if err := p.at(b[:width], off); err != nil {
			return nil, err
		}
		e := entry{tag: p.order.Uint16(b[0:]), typ: p.order.Uint16(b[2:])}
		if p.big {
			e.count = p.order.Uint64(b[4:])
			copy(e.value[:], b[12:20])
		} else {
			e.count = uint64(p.order.Uint32(b[4:]))
			copy(e.value[:], b[8:12])
		}
		d.entries, off = append(d.entries, e), off+width
	}
	if p.big {
		if err := p.at(b[:8], off); err != nil {
			return nil, err
		}
		d.next = p.order.Uint64(b[:8])
		return d, nil
	}
	if err := p.at(b[:4], off); err != nil {
		return nil, err
	}
	d.next = uint64(p.order.Uint32(b[:4]))
	return d, nil
}

func fieldSize(typ uint16) uint64 {
	switch typ {
	case typeByte, typeASCII, 6, 7:
		return 1
	case typeShort, 8:
		return 2
	case typeLong, 9, typeFloat, typeIFD:
		return 4
	case 5, 10, typeDouble, typeLong8, 17, typeIFD8:
		return 8
	}
	return 0
}

// each calls f with every element of a field, after checking that there are at
// most limit of them and that they lie inside the file.
func (p *parser) each(e entry, limit uint64, f func(i int, b []byte)) error {
	size := fieldSize(e.typ)
	if size == 0 {
		return fmt.Errorf("%w: tag %d has field type %d", ErrMalformed, e.tag, e.typ)
	}
	n := e.wanted()
	if n > limit {
		return fmt.Errorf("%w: tag %d has %d values, at most %d allowed", ErrMalformed, e.tag, n, limit)
	}
	inline := uint64(4)
	if p.big {
		inline = 8
	}
	if e.count <= inline/size {
		for i := range int(n) {
			f(i, e.value[uint64(i)*size:])
		}
		return nil
	}
	off := uint64(p.order.Uint32(e.value[:]))
	if p.big {
		off = p.order.Uint64(e.value[:])
	}
	if off > uint64(p.size) || size*n > uint64(p.size)-off {
		return fmt.Errorf("%w: values of tag %d leave the file", ErrMalformed, e.tag)
	}
	var b [8]byte
	for i := range int(n) {
		if err := p.at(b[:size], off+uint64(i)*size); err != nil {
			return err
		}
		f(i, b[:])
	}
	return nil
}

// uints reads a field of unsigned integers.
func (p *parser) uints(e entry, limit uint64) ([]uint64, error) {
	get, err := p.uintGetter(e)
	if err != nil {
		return nil, err
	}
	n := e.wanted()
	if n > limit || n*fieldSize(e.typ) > uint64(p.size) {
		return nil, fmt.Errorf("%w: tag %d has %d values", ErrMalformed, e.tag, n)
	}
	out := make([]uint64, n)
	return out, p.each(e, limit, func(i int, b []byte) { out[i] = get(b) })
}

func (p *parser) uintGetter(e entry) (func([]byte) uint64, error) {
	switch e.typ {
	case typeByte:
		return func(b []byte) uint64 { return uint64(b[0]) }, nil
	case typeShort:
		return func(b []byte) uint64 { return uint64(p.order.Uint16(b)) }, nil
	case typeLong, typeIFD:
		return func(b []byte) uint64 { return uint64(p.order.Uint32(b)) }, nil
	case typeLong8, typeIFD8:
		return func(b []byte) uint64 { return p.order.Uint64(b) }, nil
	}
	return nil, fmt.Errorf("%w: tag %d has field type %d, want an unsigned integer", ErrMalformed, e.tag, e.typ)
}

// uint returns a single value, or def when the tag is absent.
func (p *parser) uint(d *directory, tag uint16, def uint64) (uint64, error) {
	e, ok := d.find(tag)
	if !ok {
		return def, nil
	}
	v, err := p.uints(e, 1)
	if err != nil {
		return 0, err
	}
	if len(v) == 0 {
		return 0, fmt.Errorf("%w: tag %d is empty", ErrMalformed, tag)
	}
	return v[0], nil
}

// uniform returns the common value of a per-sample tag.
func (p *parser) uniform(d *directory, tag uint16, def uint64) (uint64, error) {
	e, ok := d.find(tag)
	if !ok {
		return def, nil
	}
	get, err := p.uintGetter(e)
	if err != nil {
		return 0, err
	}
	first, mixed := def, false
	err = p.each(e, maxSmallList, func(i int, b []byte) {
		v := get(b)
		if i == 0 {
			first = v
		}
		mixed = mixed || v != first
	})
	if err == nil && mixed {
		err = fmt.Errorf("%w: bands of different types (tag %d)", ErrUnsupported, tag)
	}
	return first, err
}

// doubles reads a field of IEEE numbers; an absent tag gives nil.
func (p *parser) doubles(d *directory, tag uint16) ([]float64, error) {
	e, ok := d.find(tag)
	if !ok {
		return nil, nil
	}
	if e.typ != typeDouble && e.typ != typeFloat {
		return nil, fmt.Errorf("%w: tag %d has field type %d, want a float", ErrMalformed, tag, e.typ)
	}
	if e.count > maxSmallList || e.count*fieldSize(e.typ) > uint64(p.size) {
		return nil, fmt.Errorf("%w: tag %d has %d values", ErrMalformed, tag, e.count)
	}
	out := make([]float64, e.count)
	return out, p.each(e, maxSmallList, func(i int, b []byte) {
		if e.typ == typeFloat {
			out[i] = float64(math.Float32frombits(p.order.Uint32(b)))
			return
		}
		out[i] = math.Float64frombits(p.order.Uint64(b))
	})
}

// ascii reads a text field; an absent tag gives "".
func (p *parser) ascii(d *directory, tag uint16) (string, error) {
	e, ok := d.find(tag)
	if !ok || e.typ != typeASCII {
		return "", nil
	}
	if e.count > maxSmallList || e.count > uint64(p.size) {
		return "", fmt.Errorf("%w: tag %d has %d characters", ErrMalformed, tag, e.count)
	}
	out := make([]byte, e.count)
	err := p.each(e, maxSmallList, func(i int, b []byte) { out[i] = b[0] })
	return cleanASCII(string(out)), err
}
