package raster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// tiffOf builds a little-endian TIFF of the given directories with the values of
// each tag as LONGs, followed by data.
func tiffOf(data []byte, dirs ...map[uint16][]uint32) []byte {
	le := binary.LittleEndian
	b := []byte{'I', 'I', 42, 0, 0, 0, 0, 0}
	link := 4
	for _, d := range dirs {
		var tags []uint16
		for tag := range d {
			tags = append(tags, tag)
		}
		slices.Sort(tags)
		where := map[uint16]uint32{}
		for _, tag := range tags {
			if len(d[tag]) > 1 {
				where[tag] = uint32(len(b))
				for _, v := range d[tag] {
					b = le.AppendUint32(b, v)
				}
			}
		}
		le.PutUint32(b[link:], uint32(len(b)))
		b = le.AppendUint16(b, uint16(len(tags)))
		for _, tag := range tags {
			b = le.AppendUint16(b, tag)
			b = le.AppendUint16(b, typeLong)
			b = le.AppendUint32(b, uint32(len(d[tag])))
			if off, ok := where[tag]; ok {
				b = le.AppendUint32(b, off)
			} else {
				b = le.AppendUint32(b, d[tag][0])
			}
		}
		link = len(b)
		b = le.AppendUint32(b, 0)
	}
	return append(b, data...)
}

// base describes a 16x16 tile of uint8 at offset 8.
func base(changes map[uint16][]uint32) map[uint16][]uint32 {
	d := map[uint16][]uint32{
		tagImageWidth: {16}, tagImageLength: {16}, tagBitsPerSample: {8}, tagCompression: {1},
		tagSamplesPerPixel: {1}, tagTileWidth: {16}, tagTileLength: {16}, tagTileOffsets: {8}, tagTileByteCounts: {256},
	}
	for tag, v := range changes {
		if v == nil {
			delete(d, tag)
			continue
		}
		d[tag] = v
	}
	return d
}

func TestHostileFiles(t *testing.T) {
	t.Parallel()
	filler := make([]byte, 4096)
	loop := tiffOf(filler, base(nil))
	first := binary.LittleEndian.Uint32(loop[4:])
	n := binary.LittleEndian.Uint16(loop[first:])
	binary.LittleEndian.PutUint32(loop[first+2+12*uint32(n):], first)
	many := make([]map[uint16][]uint32, 200)
	for i := range many {
		many[i] = map[uint16][]uint32{tagNewSubfileType: {subfileMask}}
	}
	many[0] = base(nil)
	hugeCount := tiffOf(filler, base(map[uint16][]uint32{tagImageWidth: {16 * 400}, tagImageLength: {16 * 400}}))
	at := bytes.Index(hugeCount, []byte{68, 1, typeLong, 0}) // tile offsets
	binary.LittleEndian.PutUint32(hugeCount[at+4:], math.MaxUint32)
	binary.LittleEndian.PutUint32(hugeCount[at+12+4:], math.MaxUint32) // tile sizes
	big := append([]byte{'I', 'I', 43, 0, 8, 0, 0, 0}, bytes.Repeat([]byte{0xff}, 8)...)

	for _, tc := range []struct {
		name string
		data []byte
		want error
		text string
	}{
		{"empty", nil, ErrMalformed, "too short"},
		{"no TIFF", []byte("not a picture at all"), ErrMalformed, "not a TIFF"},
		{"no directory", []byte("II*\x00\x00\x00\x00\x00"), ErrMalformed, "no image"},
		{"directory outside", []byte("II*\x00\xff\xff\xff\xff"), ErrMalformed, "outside the file"},
		{"BigTIFF directory outside", big, ErrMalformed, "outside the file"},
		{"loop", loop, ErrMalformed, "loop"},
		{"too many directories", tiffOf(filler, many...), ErrMalformed, "more than 128"},
		{"huge dimensions", tiffOf(filler, base(map[uint16][]uint32{tagImageWidth: {1 << 31}, tagImageLength: {1 << 31}})), ErrMalformed, "pixels"},
		{"too many tiles", tiffOf(filler, base(map[uint16][]uint32{tagImageWidth: {1 << 24}, tagImageLength: {1 << 24}})), ErrMalformed, "too many blocks"},
		{"zero width", tiffOf(filler, base(map[uint16][]uint32{tagImageWidth: {0}})), ErrMalformed, "pixels"},
		{"zero tile width", tiffOf(filler, base(map[uint16][]uint32{tagTileWidth: {0}})), ErrMalformed, "blocks of"},
		{"zero tile length", tiffOf(filler, base(map[uint16][]uint32{tagTileLength: {0}})), ErrMalformed, "blocks of"},
		{"zero rows per strip", tiffOf(filler, base(map[uint16][]uint32{tagTileWidth: nil, tagRowsPerStrip: {0}, tagStripOffsets: {8}, tagStripByteCounts: {256}})), ErrMalformed, "blocks of"},
		{"huge tile", tiffOf(filler, base(map[uint16][]uint32{tagTileWidth: {1 << 20}, tagTileLength: {1 << 20}})), ErrMalformed, "limit"},
		{"huge tile side", tiffOf(filler, base(map[uint16][]uint32{tagTileWidth: {1<<32 - 16}})), ErrMalformed, "blocks of"},
		{"count leaves file", hugeCount, ErrMalformed, "160000 values"},
		{"too few offsets", tiffOf(filler, base(map[uint16][]uint32{tagImageWidth: {64}})), ErrMalformed, "block offsets"},
		{"no offsets", tiffOf(filler, base(map[uint16][]uint32{tagTileOffsets: nil})), ErrMalformed, "no block offsets"},
		{"many bands", tiffOf(filler, base(map[uint16][]uint32{tagSamplesPerPixel: {1 << 20}})), ErrMalformed, "bands"},
		{"no bands", tiffOf(filler, base(map[uint16][]uint32{tagSamplesPerPixel: {0}})), ErrMalformed, "bands"},
		{"JPEG", tiffOf(filler, base(map[uint16][]uint32{tagCompression: {7}})), ErrUnsupported, "compression 7"},
		{"one bit", tiffOf(filler, base(map[uint16][]uint32{tagBitsPerSample: {1}})), ErrUnsupported, "1 bits"},
		{"complex", tiffOf(filler, base(map[uint16][]uint32{tagBitsPerSample: {32}, tagSampleFormat: {5}})), ErrUnsupported, "format 5"},
		{"mixed types", tiffOf(filler, base(map[uint16][]uint32{tagSamplesPerPixel: {2}, tagBitsPerSample: {8, 16}})), ErrUnsupported, "different types"},
		{"predictor 3 on integers", tiffOf(filler, base(map[uint16][]uint32{tagCompression: {8}, tagPredictor: {3}})), ErrMalformed, "predictor 3"},
		{"overview larger than image", tiffOf(filler, base(nil), base(map[uint16][]uint32{tagNewSubfileType: {1}, tagImageWidth: {17}, tagTileWidth: {32}})), ErrMalformed, "overview"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := Open(bytes.NewReader(tc.data), int64(len(tc.data)))
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %v, want %v with %q", err, tc.want, tc.text)
			}
		})
	}
}

func TestHostileBlocks(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		changes map[uint16][]uint32
	}{
		{"data outside the file", map[uint16][]uint32{tagTileOffsets: {1 << 30}}},
		{"size beyond the file", map[uint16][]uint32{tagTileByteCounts: {1 << 30}}},
		{"uncompressed and too short", map[uint16][]uint32{tagTileByteCounts: {255}}},
		{"tiny data for a large tile", map[uint16][]uint32{tagCompression: {8}, tagTileWidth: {4096}, tagTileLength: {4096}}},
		{"LZW of zeros", map[uint16][]uint32{tagCompression: {5}}},
		{"DEFLATE of zeros", map[uint16][]uint32{tagCompression: {8}}},
		{"ZSTD of zeros", map[uint16][]uint32{tagCompression: {50000}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			data := tiffOf(bytes.Repeat([]byte{0x80, 0x7f}, 2048), base(tc.changes))
			im, err := Open(bytes.NewReader(data), int64(len(data)))
			if err != nil {
				t.Fatal(err)
			}
			pix := make([]float32, 256)
			if err := im.ReadWindow(t.Context(), 0, 0, 0, 16, 16, pix); !errors.Is(err, ErrMalformed) {
				t.Errorf("got %v, want ErrMalformed", err)
			}
		})
	}
}

// FuzzOpen states: no bytes make the reader panic or allocate more than a small
// multiple of its block limit, and reading twice gives the same pixels.
func FuzzOpen(f *testing.F) {
	names, err := filepath.Glob("testdata/gdal/*.tif")
	if err != nil || len(names) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		if len(data) < 8<<10 {
			f.Add(data)
		}
	}
	f.Add(tiffOf(make([]byte, 300), base(nil)))
	const limit = 1 << 20
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 64<<10 {
			return
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var pix [2][64]float32
		var errs [2]error
		im, err := Open(bytes.NewReader(data), int64(len(data)), WithMaxBlockBytes(limit), WithMaxBlocks(1<<12))
		if err != nil {
			return
		}
		w, h := min(8, im.Width()), min(8, im.Height())
		for i := range 2 {
			x, y := (im.Width()-w)/2, (im.Height()-h)/2
			errs[i] = im.ReadWindow(t.Context(), im.Bands()-1, x, y, w, h, pix[i][:])
		}
		runtime.ReadMemStats(&after)
		// Two reads of at most four blocks; ZSTD windows and inflate tables add a
		// constant.
		if n := after.TotalAlloc - before.TotalAlloc; n > 24*limit+16<<20 {
			t.Errorf("reading 64 pixels allocated %d bytes", n)
		}
		if (errs[0] == nil) != (errs[1] == nil) {
			t.Fatalf("first read: %v, second read: %v", errs[0], errs[1])
		}
		if errs[0] != nil {
			return
		}
		for i := range pix[0] {
			if math.Float32bits(pix[0][i]) != math.Float32bits(pix[1][i]) {
				t.Fatalf("pixel %d: first %v, then %v", i, pix[0][i], pix[1][i])
			}
		}
	})
}
