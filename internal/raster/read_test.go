package raster

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// openFile opens a test file from memory.
func openFile(t testing.TB, name string, opts ...Option) *Image {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "gdal", name+".tif"))
	if err != nil {
		t.Fatal(err)
	}
	im, err := Open(bytes.NewReader(data), int64(len(data)), opts...)
	if err != nil {
		t.Fatalf("Open(%s): %v", name, err)
	}
	return im
}

// pattern is the value described in testdata/gdal/README.md.
func pattern(b, x, y int) float64 { return float64((x*7 + y*13 + b*29 + (x*y)%11) % 200) }

var gdalFiles = []struct {
	name   string
	typ    SampleType
	bands  int
	scale  float64
	noData float64 // 0: none declared
	tiled  bool
}{
	{name: "u8_strip_none", typ: Uint8, bands: 1, scale: 1},
	{name: "u16_tile_deflate_p2", typ: Uint16, bands: 1, scale: 1, tiled: true},
	{name: "u16_big_endian_p2", typ: Uint16, bands: 1, scale: 1, tiled: true},
	{name: "i16_strip_lzw_p2", typ: Int16, bands: 1, scale: -1, noData: -32768},
	{name: "u8_tile_lzw", typ: Uint8, bands: 1, scale: 1, tiled: true},
	{name: "f32_tile_deflate_p3", typ: Float32, bands: 1, scale: 0.5, noData: math.NaN(), tiled: true},
	{name: "f32_big_endian_p3", typ: Float32, bands: 1, scale: 0.5, noData: math.NaN()},
	{name: "f32_tile_lzw_p2", typ: Float32, bands: 1, scale: 0.5, noData: -9999, tiled: true},
	{name: "f64_strip_lzw_p3", typ: Float64, bands: 1, scale: 0.25},
	{name: "u16_chunky3_deflate_p2", typ: Uint16, bands: 3, scale: 1, tiled: true},
	{name: "f32_chunky2_deflate_p3", typ: Float32, bands: 2, scale: 1, tiled: true},
	{name: "i32_planar3_lzw", typ: Int32, bands: 3, scale: -100003, tiled: true},
	{name: "i32_bigendian_planar_none", typ: Int32, bands: 3, scale: -100003},
	{name: "u32_bigtiff_zstd_p2", typ: Uint32, bands: 1, scale: 20000003, tiled: true},
}

func TestReadGDALFiles(t *testing.T) {
	t.Parallel()
	for _, tc := range gdalFiles {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			im := openFile(t, tc.name)
			if im.Width() != 45 || im.Height() != 37 || im.Bands() != tc.bands || im.SampleType() != tc.typ || im.Tiled() != tc.tiled {
				t.Fatalf("opened as %dx%d, %d bands of %v, tiled %v", im.Width(), im.Height(), im.Bands(), im.SampleType(), im.Tiled())
			}
			if tr, ok := im.GeoTransform(); !ok || tr != (Affine{500000, 20, 0, 4000000, 0, -30}) || im.EPSG() != 32632 {
				t.Errorf("transform %v, EPSG %d", tr, im.EPSG())
			}
			nd, ok := im.NoData()
			if ok != (tc.noData != 0) || ok && nd != tc.noData && nd == nd {
				t.Errorf("nodata %v %v, want %v", nd, ok, tc.noData)
			}
			checkWindows(t, im, tc.scale)
		})
	}
}

func checkWindows(t *testing.T, im *Image, scale float64) {
	t.Helper()
	for _, win := range []Window{{0, 0, 45, 37}, {44, 36, 1, 1}, {13, 5, 20, 30}, {16, 32, 29, 5}, {0, 31, 45, 2}} {
		for b := range im.Bands() {
			wide := make([]float64, win.Pixels())
			if err := im.ReadWindow64(t.Context(), b, win.X, win.Y, win.Width, win.Height, wide); err != nil {
				t.Fatalf("window %v band %d: %v", win, b, err)
			}
			pix := make([]float32, win.Pixels())
			if err := im.ReadWindow(t.Context(), b, win.X, win.Y, win.Width, win.Height, pix); err != nil {
				t.Fatal(err)
			}
			for i, got := range wide {
				want := pattern(b, win.X+i%win.Width, win.Y+i/win.Width) * scale
				if got != want || pix[i] != float32(want) {
					t.Fatalf("window %v band %d pixel %d: got %v and %v, want %v", win, b, i, got, pix[i], want)
				}
			}
		}
	}
}

func TestReadBlockPadsTheEdge(t *testing.T) {
	t.Parallel()
	im := openFile(t, "f32_tile_lzw_p2")
	if im.BlockWidth() != 16 || im.BlockHeight() != 32 || im.BlocksX() != 3 || im.BlocksY() != 2 {
		t.Fatalf("blocks of %dx%d, %dx%d of them", im.BlockWidth(), im.BlockHeight(), im.BlocksX(), im.BlocksY())
	}
	block := make([]float32, 16*32)
	for by := range 2 {
		for bx := range 3 {
			if err := im.ReadBlock(t.Context(), 0, bx, by, block); err != nil {
				t.Fatal(err)
			}
			for i, got := range block {
				x, y := bx*16+i%16, by*32+i/16
				want := float32(-9999)
				if x < 45 && y < 37 {
					want = float32(pattern(0, x, y) * 0.5)
				}
				if got != want {
					t.Fatalf("block %d,%d pixel %d,%d: got %v, want %v", bx, by, x, y, got, want)
				}
			}
		}
	}
	if err := im.ReadBlock(t.Context(), 0, 3, 0, block); err == nil {
		t.Error("a block outside the image was read")
	}
}

func TestReadOverviewsAndIgnoreMasks(t *testing.T) {
	t.Parallel()
	im := openFile(t, "u8_mask_overviews")
	checkWindows(t, im, 1)
	ov := im.Overviews()
	if len(ov) != 2 || ov[0].Width() != 23 || ov[0].Height() != 19 || ov[1].Width() != 12 || ov[1].Height() != 10 {
		t.Fatalf("%d overviews", len(ov))
	}
	// The file's raster type is "point": its model tags give pixel centres.
	if tr, _ := im.GeoTransform(); tr != (Affine{500000, 20, 0, 4000000, 0, -30}) {
		t.Errorf("transform %v", tr)
	}
	if tr, ok := ov[0].GeoTransform(); !ok || math.Abs(tr[1]-20*45.0/23) > 1e-9 {
		t.Errorf("overview transform %v", tr)
	}
	pix := make([]float32, 23*19)
	if err := ov[0].ReadWindow(t.Context(), 0, 0, 0, 23, 19, pix); err != nil {
		t.Fatal(err)
	}
	if r := im.Reduced(12, 10); r != ov[1] {
		t.Errorf("Reduced(12, 10) is %d wide", r.Width())
	}
	if r := im.Reduced(24, 10); r != im {
		t.Errorf("Reduced(24, 10) is %d wide", r.Width())
	}
}

func TestReadSparseBlocksAsNoData(t *testing.T) {
	t.Parallel()
	im := openFile(t, "u16_sparse")
	pix := make([]float32, 45)
	if err := im.ReadWindow(t.Context(), 0, 0, 3, 45, 1, pix); err != nil {
		t.Fatal(err)
	}
	for x, got := range pix {
		want := float32(7)
		if x >= 16 && x < 32 {
			want = 300
		}
		if got != want {
			t.Fatalf("column %d: got %v, want %v", x, got, want)
		}
	}
}

func TestGeoreference(t *testing.T) {
	t.Parallel()
	if tr, _ := openFile(t, "u16_rotated").GeoTransform(); tr != (Affine{500000, 20, 3, 4000000, -2, -30}) {
		t.Errorf("rotated transform %v", tr)
	}
	im := openFile(t, "u16_lonlat")
	if im.EPSG() != 4326 {
		t.Errorf("EPSG %d, want 4326", im.EPSG())
	}
	if tr, _ := im.GeoTransform(); math.Abs(tr[0]-10) > 1e-12 || math.Abs(tr[1]-0.001) > 1e-12 {
		t.Errorf("lon/lat transform %v", tr)
	}
}

func TestReadErrors(t *testing.T) {
	t.Parallel()
	im := openFile(t, "u16_chunky3_deflate_p2")
	pix := make([]float32, 45*37)
	for name, err := range map[string]error{
		"band":         im.ReadWindow(t.Context(), 3, 0, 0, 45, 37, pix),
		"negative":     im.ReadWindow(t.Context(), 0, -1, 0, 4, 4, pix),
		"too wide":     im.ReadWindow(t.Context(), 0, 1, 0, 45, 37, pix),
		"overflow":     im.ReadWindow(t.Context(), 0, 1, 1, math.MaxInt, math.MaxInt, pix),
		"short buffer": im.ReadWindow(t.Context(), 0, 0, 0, 45, 37, pix[1:]),
		"empty":        im.ReadWindow(t.Context(), 0, 0, 0, 0, 0, pix),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := im.ReadWindow(ctx, 0, 0, 0, 45, 37, pix); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled read: %v", err)
	}
}

func TestConcurrentReads(t *testing.T) {
	t.Parallel()
	im := openFile(t, "u16_tile_deflate_p2")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			pix := make([]float32, 45*37)
			for range 20 {
				if err := im.ReadWindow(t.Context(), 0, 0, 0, 45, 37, pix); err != nil {
					t.Error(err)
					return
				}
				for i, v := range pix {
					if want := float32(pattern(0, i%45, i/45)); v != want {
						t.Errorf("pixel %d: got %v, want %v", i, v, want)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

// TestDamagedBlockIsReported changes one byte of the first block.
func TestDamagedBlockIsReported(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join("testdata", "gdal", "u16_tile_deflate_p2.tif"))
	if err != nil {
		t.Fatal(err)
	}
	im, err := Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	data[im.offsets[0]+uint64(im.counts[0])-2] ^= 0x55 // in the checksum
	pix := make([]float32, 16)
	if err := im.ReadWindow(t.Context(), 0, 0, 0, 4, 4, pix); !errors.Is(err, ErrMalformed) {
		t.Errorf("damaged block: %v, want ErrMalformed", err)
	}
	if err := im.ReadWindow(t.Context(), 0, 16, 0, 4, 4, pix); err != nil {
		t.Errorf("the block beside it: %v", err)
	}
}
