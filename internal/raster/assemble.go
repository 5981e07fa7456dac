package raster

import (
	"context"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// Assemble writes a complete Cloud Optimized GeoTIFF in one pass: header, all
// directories from the full image to the smallest overview, then the tiles,
// those of the smallest overview first. It returns the number of bytes written.
//
// sizes holds the encoded length of each tile by level and Layout.Index; 0
// leaves a tile out, which readers take for missing pixels. tile returns the
// bytes of one tile and is called once for each that is not left out, in file
// order; they must have the announced length. The file becomes a BigTIFF when it
// exceeds 4 GiB.
//
// Single-band files carry GDAL's structural metadata: each tile is preceded by
// its length and followed by a copy of its last four bytes, so that GDAL reads a
// tile without looking up its size.
//
// Source: GDAL, Cloud Optimized GeoTIFF driver; BigTIFF.
func Assemble(ctx context.Context, w io.Writer, l *Layout, sizes [][]int64, tile func(level, index int) ([]byte, error)) (int64, error) {
	a, err := newAssembly(l, sizes)
	if err != nil {
		return 0, err
	}
	out := &counter{w: w}
	if _, err := out.Write(a.head); err != nil {
		return out.n, fmt.Errorf("write header: %w", err)
	}
	var frame [8]byte
	for level := len(l.levels) - 1; level >= 0; level-- {
		for i, size := range sizes[level] {
			if size == 0 {
				continue
			}
			if err := ctx.Err(); err != nil {
				return out.n, err
			}
			data, err := tile(level, i)
			if err != nil {
				return out.n, fmt.Errorf("tile %d of level %d: %w", i, level, err)
			}
			if int64(len(data)) != size {
				return out.n, fmt.Errorf("tile %d of level %d has %d bytes, announced were %d", i, level, len(data), size)
			}
			if a.framed {
				binary.LittleEndian.PutUint32(frame[:4], uint32(size))
				copy(frame[4:], data[size-4:])
				_, err = out.Write(frame[:4])
			}
			if err == nil {
				_, err = out.Write(data)
			}
			if err == nil && a.framed {
				_, err = out.Write(frame[4:])
			}
			if err != nil {
				return out.n, fmt.Errorf("write tile %d of level %d: %w", i, level, err)
			}
		}
	}
	if out.n != a.total {
		return out.n, fmt.Errorf("raster: wrote %d bytes, planned %d", out.n, a.total)
	}
	return out.n, nil
}

// AssembledSize is the number of bytes Assemble will write for these sizes.
func AssembledSize(l *Layout, sizes [][]int64) (int64, error) {
	a, err := newAssembly(l, sizes)
	if err != nil {
		return 0, err
	}
	return a.total, nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// assembly is the plan of a file.
type assembly struct {
	layout *Layout
	sizes  [][]int64
	big    bool
	framed bool
	head   []byte // everything before the first tile
	total  int64
}

func newAssembly(l *Layout, sizes [][]int64) (*assembly, error) {
	if len(sizes) != len(l.levels) {
		return nil, fmt.Errorf("tile sizes for %d levels, want %d", len(sizes), len(l.levels))
	}
	a := &assembly{layout: l, sizes: sizes, big: l.spec.BigTIFF, framed: l.spec.Bands == 1}
	for level, s := range sizes {
		if len(s) != l.Tiles(level) {
			return nil, fmt.Errorf("level %d: %d tile sizes, want %d", level, len(s), l.Tiles(level))
		}
		for i, n := range s {
			if n < 0 || n > math.MaxUint32 || n > 0 && n < 4 {
				return nil, fmt.Errorf("level %d: tile %d of %d bytes", level, i, n)
			}
		}
	}
	a.plan()
	if !a.big && a.total > math.MaxUint32 {
		a.big = true
		a.plan()
	}
	if a.total < 0 {
		return nil, errors.New("file of more than 2^63 bytes")
	}
	return a, nil
}

// ghost is GDAL's structural metadata: a promise about the order of the file,
// stored between the header and the first directory.
const ghost = "LAYOUT=IFDS_BEFORE_DATA\nBLOCK_ORDER=ROW_MAJOR\nBLOCK_LEADER=SIZE_AS_UINT4\n" +
	"BLOCK_TRAILER=LAST_4_BYTES_REPEATED\nKNOWN_INCOMPATIBLE_EDITION=NO\n "

// plan lays the file out: a directory's length does not depend on the values in
// it, so a first round with zero offsets gives all positions.
func (a *assembly) plan() {
	levels := a.layout.levels
	head := a.prefix()
	offsets := make([][]uint64, len(levels))
	end := int64(len(head))
	for level := range levels {
		offsets[level] = make([]uint64, len(a.sizes[level]))
		end += int64(len(a.directory(level, offsets[level], 0, false)))
	}
	for level := len(levels) - 1; level >= 0; level-- {
		for i, size := range a.sizes[level] {
			if size == 0 {
				continue
			}
			if a.framed {
				end += 4
			}
			offsets[level][i] = uint64(end)
			if end += size; a.framed {
				end += 4
			}
		}
	}
	a.total = end
	for level := range levels {
		head = append(head, a.directory(level, offsets[level], uint64(len(head)), level+1 < len(levels))...)
	}
	a.head = head
}

// align is the boundary directories and long values are padded to.
func (a *assembly) align() int {
	if a.big {
		return 8
	}
	return 2
}

func pad(b []byte, to int) []byte {
	for len(b)%to != 0 {
		b = append(b, 0)
	}
	return b
}

// prefix is the file header and the structural metadata.
func (a *assembly) prefix() []byte {
	le := binary.LittleEndian
	b := []byte("II")
	text := ""
	if a.framed {
		text = fmt.Sprintf("GDAL_STRUCTURAL_METADATA_SIZE=%06d bytes\n%s", len(ghost), ghost)
	}
	if a.big {
		b = le.AppendUint16(b, 43)
		b = le.AppendUint16(b, 8)
		b = le.AppendUint16(b, 0)
		b = le.AppendUint64(b, uint64((16+len(text)+7)/8*8))
	} else {
		b = le.AppendUint16(b, 42)
		b = le.AppendUint32(b, uint32((8+len(text)+1)/2*2))
	}
	return pad(append(b, text...), a.align())
}

// field is one directory entry with its value, little-endian.
type field struct {
	tag, typ uint16
	count    int
	data     []byte
}

func shorts(tag uint16, v ...uint16) field {
	f := field{tag: tag, typ: typeShort, count: len(v)}
	for _, x := range v {
		f.data = binary.LittleEndian.AppendUint16(f.data, x)
	}
	return f
}

func longs(tag uint16, v ...uint32) field {
	f := field{tag: tag, typ: typeLong, count: len(v)}
	for _, x := range v {
		f.data = binary.LittleEndian.AppendUint32(f.data, x)
	}
	return f
}

func doubles(tag uint16, v ...float64) field {
	f := field{tag: tag, typ: typeDouble, count: len(v)}
	for _, x := range v {
		f.data = binary.LittleEndian.AppendUint64(f.data, math.Float64bits(x))
	}
	return f
}

func text(tag uint16, s string) field {
	return field{tag: tag, typ: typeASCII, count: len(s) + 1, data: append([]byte(s), 0)}
}

func repeated(v uint16, n int) []uint16 {
	out := make([]uint16, n)
	for i := range out {
		out[i] = v
	}
	return out
}

// fields lists the entries of one level in ascending order of tags.
func (a *assembly) fields(level int, offsets []uint64) []field {
	s, v := a.layout.spec, a.layout.levels[level]
	var f []field
	if level > 0 {
		f = append(f, longs(tagNewSubfileType, subfileReduced))
	}
	planar := uint16(planarChunky)
	if s.Bands > 1 {
		planar = planarSeparate
	}
	f = append(f,
		longs(tagImageWidth, uint32(v.Width)),
		longs(tagImageLength, uint32(v.Height)),
		shorts(tagBitsPerSample, repeated(uint16(8*s.SampleType.Size()), s.Bands)...),
		shorts(tagCompression, compressDeflate),
		shorts(tagPhotometric, 1), // black is zero
		shorts(tagSamplesPerPixel, uint16(s.Bands)),
		shorts(tagPlanarConfig, planar),
		shorts(tagPredictor, uint16(s.predictor())),
		longs(tagTileWidth, uint32(s.TileSize)),
		longs(tagTileLength, uint32(s.TileSize)),
	)
	where := field{tag: tagTileOffsets, typ: typeLong, count: len(offsets)}
	if a.big {
		where.typ = typeLong8
	}
	sizes := field{tag: tagTileByteCounts, typ: typeLong, count: len(offsets)}
	for i, off := range offsets {
		if a.big {
			where.data = binary.LittleEndian.AppendUint64(where.data, off)
		} else {
			where.data = binary.LittleEndian.AppendUint32(where.data, uint32(off))
		}
		sizes.data = binary.LittleEndian.AppendUint32(sizes.data, uint32(a.sizes[level][i]))
	}
	f = append(f, where, sizes)
	if s.Bands > 1 {
		f = append(f, shorts(tagExtraSamples, repeated(0, s.Bands-1)...))
	}
	f = append(f, shorts(tagSampleFormat, repeated(s.SampleType.tiffFormat(), s.Bands)...))
	if level == 0 {
		f = append(f, geoFields(s)...)
		if len(s.BandNames) > 0 {
			f = append(f, text(tagGDALMetadata, bandMetadata(s.BandNames)))
		}
	}
	if s.HasNoData {
		f = append(f, text(tagGDALNoData, noDataText(s.NoData)))
	}
	return f
}

func geoFields(s Spec) []field {
	var f []field
	switch t := s.Transform; {
	case t == Affine{}:
	case t.axisAligned() && t[1] > 0 && t[5] < 0:
		f = append(f, doubles(tagModelPixelScale, t[1], -t[5], 0), doubles(tagModelTiepoint, 0, 0, 0, t[0], t[3], 0))
	default:
		f = append(f, doubles(tagModelTransformation, t[1], t[2], 0, t[0], t[4], t[5], 0, t[3], 0, 0, 0, 0, 0, 0, 0, 1))
	}
	if k := s.GeoKeys; len(k.Directory) > 0 {
		f = append(f, shorts(tagGeoKeyDirectory, k.Directory...))
		if len(k.Doubles) > 0 {
			f = append(f, doubles(tagGeoDoubleParams, k.Doubles...))
		}
		if k.ASCII != "" {
			f = append(f, text(tagGeoASCIIParams, k.ASCII))
		}
	}
	return f
}

func noDataText(v float64) string {
	if math.IsNaN(v) {
		return "nan"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// bandMetadata is GDAL's XML for band descriptions.
func bandMetadata(names []string) string {
	var b strings.Builder
	b.WriteString("<GDALMetadata>\n")
	for i, name := range names {
		fmt.Fprintf(&b, `  <Item name="DESCRIPTION" sample="%d" role="description">`, i)
		_ = xml.EscapeText(&b, []byte(name)) // a strings.Builder does not fail
		b.WriteString("</Item>\n")
	}
	b.WriteString("</GDALMetadata>")
	return b.String()
}

// directory renders the IFD of a level as it stands at offset at, followed by
// its long values; more links it to the directory behind it.
func (a *assembly) directory(level int, offsets []uint64, at uint64, more bool) []byte {
	le := binary.LittleEndian
	fields := a.fields(level, offsets)
	head, entrySize, inline := 2, 12, 4
	if a.big {
		head, entrySize, inline = 8, 20, 8
	}
	fixed := head + len(fields)*entrySize + inline // the link has an inline value's size
	b := make([]byte, 0, fixed)
	number := func(v uint64) {
		if a.big {
			b = le.AppendUint64(b, v)
			return
		}
		b = le.AppendUint32(b, uint32(v))
	}
	if a.big {
		b = le.AppendUint64(b, uint64(len(fields)))
	} else {
		b = le.AppendUint16(b, uint16(len(fields)))
	}
	var tail []byte
	start := (fixed + a.align() - 1) / a.align() * a.align()
	for _, f := range fields {
		b = le.AppendUint16(b, f.tag)
		b = le.AppendUint16(b, f.typ)
		number(uint64(f.count))
		if len(f.data) <= inline {
			b = append(append(b, f.data...), make([]byte, inline-len(f.data))...)
			continue
		}
		number(at + uint64(start+len(tail)))
		tail = pad(append(tail, f.data...), a.align())
	}
	if more {
		number(at + uint64(start+len(tail)))
	} else {
		number(0)
	}
	return append(pad(b, a.align()), tail...)
}
