package raster

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
)

// testValue is a pixel of the files written here: NaN along a diagonal.
func testValue(typ SampleType, band, x, y int) float64 {
	if (x+2*y)%29 == 0 {
		return math.NaN()
	}
	v := float64((x*31+y*17+band*5)%97 + 1)
	if typ.IsFloat() {
		return v / 8
	}
	return v
}

// writeFile writes a whole file of test values and returns its bytes.
func writeFile(t testing.TB, spec Spec, method Resampling, order func(*Layout) [][2]int) []byte {
	t.Helper()
	l, err := NewLayout(spec)
	if err != nil {
		t.Fatal(err)
	}
	spec = l.Spec()
	w := NewWriter[float64](l, method, &MemoryTiles{})
	n := spec.TileSize
	for band := range spec.Bands {
		for _, at := range order(l) {
			tile := make([]float64, n*n)
			for i := range tile {
				x, y := at[0]*n+i%n, at[1]*n+i/n
				if tile[i] = math.NaN(); x < spec.Width && y < spec.Height {
					tile[i] = testValue(spec.SampleType, band, x, y)
				}
			}
			if err := w.WriteTile(band, at[0], at[1], tile); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := w.pyramid.Pending(); n != 0 {
		t.Errorf("%d overview tiles are incomplete", n)
	}
	var out bytes.Buffer
	if n, err := w.Finish(t.Context(), &out); err != nil || n != int64(out.Len()) {
		t.Fatalf("Finish: %d of %d bytes, %v", n, out.Len(), err)
	}
	return out.Bytes()
}

func inOrder(l *Layout) [][2]int {
	var all [][2]int
	for tx, ty := range l.Order() {
		all = append(all, [2]int{tx, ty})
	}
	return all
}

func backwards(l *Layout) [][2]int {
	all := inOrder(l)
	slices.Reverse(all)
	return all
}

func TestWriteAndRead(t *testing.T) {
	t.Parallel()
	utm := Affine{300000, 10, 0, 5000000, 0, -10}
	for _, tc := range []struct {
		name string
		spec Spec
	}{
		{"float32", Spec{Width: 100, Height: 71, SampleType: Float32, TileSize: 16}},
		{"float32 with a nodata number", Spec{Width: 33, Height: 65, SampleType: Float32, TileSize: 32, NoData: -9999, HasNoData: true}},
		{"float64", Spec{Width: 50, Height: 50, SampleType: Float64, TileSize: 16}},
		{"uint8", Spec{Width: 50, Height: 20, SampleType: Uint8, TileSize: 16, NoData: 255, HasNoData: true}},
		{"int8", Spec{Width: 16, Height: 16, SampleType: Int8, TileSize: 16, NoData: -128, HasNoData: true}},
		{"uint16", Spec{Width: 90, Height: 31, SampleType: Uint16, TileSize: 16, NoData: 0, HasNoData: true, DeflateLevel: 6}},
		{"int16", Spec{Width: 40, Height: 40, SampleType: Int16, TileSize: 16, NoData: -32768, HasNoData: true}},
		{"uint32", Spec{Width: 40, Height: 40, SampleType: Uint32, TileSize: 32, NoData: math.MaxUint32, HasNoData: true}},
		{"int32 three bands", Spec{Width: 70, Height: 40, Bands: 3, SampleType: Int32, TileSize: 16, NoData: math.MinInt32, HasNoData: true, BandNames: []string{"a", "<b>", "c"}}},
		{"BigTIFF", Spec{Width: 70, Height: 40, SampleType: Float32, TileSize: 16, BigTIFF: true}},
		{"BigTIFF two bands", Spec{Width: 30, Height: 40, Bands: 2, SampleType: Float32, TileSize: 16, BigTIFF: true}},
		{"default tile", Spec{Width: 600, Height: 10, SampleType: Float32}},
	} {
		for name, order := range map[string]func(*Layout) [][2]int{"forwards": inOrder, "backwards": backwards} {
			t.Run(tc.name+" "+name, func(t *testing.T) {
				t.Parallel()
				spec := tc.spec
				spec.Transform, spec.EPSG = utm, 32633
				checkFile(t, writeFile(t, spec, Average, order), spec, Average)
			})
		}
	}
	t.Run("nearest", func(t *testing.T) {
		t.Parallel()
		spec := Spec{Width: 75, Height: 75, SampleType: Uint8, TileSize: 16, NoData: 255, HasNoData: true, Transform: Affine{1, 2, 0.5, 3, 0.25, -4}, EPSG: 4326}
		checkFile(t, writeFile(t, spec, Nearest, inOrder), spec, Nearest)
	})
}

// checkFile compares a file with test values and with overviews computed here by
// definition, from all pixels at once.
func checkFile(t *testing.T, data []byte, spec Spec, method Resampling) {
	t.Helper()
	im, err := Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if tr, ok := im.GeoTransform(); !ok || tr != spec.Transform || im.EPSG() != spec.EPSG || im.SampleType() != spec.SampleType || im.Bands() != max(1, spec.Bands) {
		t.Errorf("opened with transform %v, EPSG %d, %d bands of %v", tr, im.EPSG(), im.Bands(), im.SampleType())
	}
	checkCloudOptimized(t, im)
	for band := range im.Bands() {
		want := make([]float64, spec.Width*spec.Height)
		for i := range want {
			want[i] = testValue(spec.SampleType, band, i%spec.Width, i/spec.Width)
		}
		w, h := spec.Width, spec.Height
		for level, lev := range append([]*Image{im}, im.Overviews()...) {
			if level > 0 {
				want, w, h = halve(want, w, h, method)
			}
			if lev.Width() != w || lev.Height() != h {
				t.Fatalf("level %d is %dx%d, want %dx%d", level, lev.Width(), lev.Height(), w, h)
			}
			got := make([]float64, w*h)
			if err := lev.ReadWindow64(t.Context(), band, 0, 0, w, h, got); err != nil {
				t.Fatal(err)
			}
			nd, _ := lev.NoData()
			MaskNoData(got, nd)
			for i := range got {
				v := want[i]
				if !spec.SampleType.IsFloat() {
					v = math.Floor(v + 0.5)
				}
				// float32 files round at each level.
				if math.Abs(got[i]-v) > 1e-6*math.Abs(v) || (got[i] != got[i]) != (v != v) {
					t.Fatalf("band %d level %d pixel %d,%d: got %v, want %v", band, level, i%w, i/w, got[i], v)
				}
			}
		}
	}
}

func halve(pix []float64, w, h int, method Resampling) (out []float64, ow, oh int) {
	ow, oh = (w+1)/2, (h+1)/2
	for i := range ow * oh {
		sum, n := 0.0, 0.0
		for q := range 4 {
			x, y := i%ow*2+q%2, i/ow*2+q/2
			if x >= w || y >= h || pix[y*w+x] != pix[y*w+x] || method == Nearest && q > 0 {
				continue
			}
			sum, n = sum+pix[y*w+x], n+1
		}
		out = append(out, sum/n)
	}
	return out, ow, oh
}

// checkCloudOptimized checks the order of the file: the tiles of each overview
// before those of the next larger image, each level row by row, directories
// before all of them.
func checkCloudOptimized(t *testing.T, im *Image) {
	t.Helper()
	last := uint64(0)
	levels := append([]*Image{im}, im.Overviews()...)
	slices.Reverse(levels)
	for _, lev := range levels {
		for i, off := range lev.offsets {
			if lev.counts[i] > 0 && off <= last {
				t.Fatalf("tile %d of the %d wide level at %d follows %d", i, lev.Width(), off, last)
			}
			last = off
		}
	}
	head := make([]byte, 64)
	if _, err := im.src.ReadAt(head, 0); err != nil {
		t.Fatal(err)
	}
	if got := bytes.Contains(head, []byte("GDAL_STRUCTURAL_METADATA_SIZE=000140 bytes\n")); got != (im.Bands() == 1) {
		t.Errorf("structural metadata: %v, with %d bands", got, im.Bands())
	}
}

func TestTilesAreFramed(t *testing.T) {
	t.Parallel()
	spec := Spec{Width: 40, Height: 40, SampleType: Float32, TileSize: 16}
	data := writeFile(t, spec, Average, inOrder)
	im, err := Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	for i, off := range im.offsets {
		n := uint64(im.counts[i])
		leader := uint64(data[off-4]) | uint64(data[off-3])<<8 | uint64(data[off-2])<<16
		if leader != n || !bytes.Equal(data[off+n-4:off+n], data[off+n:off+n+4]) {
			t.Errorf("tile %d of %d bytes: leader %d, trailer %x", i, n, leader, data[off+n:off+n+4])
		}
	}
}

func TestIntegersRoundAndClamp(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	for _, tc := range []struct {
		typ      SampleType
		noData   float64
		in, want float64
	}{
		{Int16, -32768, 2.5, 3},
		{Int16, -32768, -2.5, -3},
		{Int16, -32768, 2.4999, 2},
		{Int16, -32768, 1e9, 32767},
		{Int16, -32768, -1e9, -32767},
		{Int16, -32768, nan, nan},
		{Int16, -32768, 0, 0},
		{Uint16, 65535, 70000, 65534},
		{Uint16, 65535, -3, 0},
		{Uint16, 0, 0.2, 1},
		{Uint16, 0, nan, nan},
		{Uint8, 255, 254.6, 254},
		{Int32, math.MinInt32, 16777217, 16777217},
		{Uint32, math.MaxUint32, 4e9, 4e9},
		{Int8, -128, -100, -100},
	} {
		l, err := NewLayout(Spec{Width: 16, Height: 16, SampleType: tc.typ, TileSize: 16, NoData: tc.noData, HasNoData: true})
		if err != nil {
			t.Fatal(err)
		}
		c := NewTileCodec(l)
		pix := make([]float64, 256)
		fill(pix, tc.in)
		data, err := c.Encode64(nil, pix)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Decode64(pix, data); err != nil {
			t.Fatal(err)
		}
		if pix[200] != tc.want && !(pix[200] != pix[200] && tc.want != tc.want) {
			t.Errorf("%v with nodata %v: %v became %v, want %v", tc.typ, tc.noData, tc.in, pix[200], tc.want)
		}
	}
}

func TestCodecAppendsAndIsConcurrent(t *testing.T) {
	t.Parallel()
	l, err := NewLayout(Spec{Width: 64, Height: 64, SampleType: Float32, TileSize: 64})
	if err != nil {
		t.Fatal(err)
	}
	c := NewTileCodec(l)
	var wg sync.WaitGroup
	for k := range 8 {
		wg.Go(func() {
			pix, back := make([]float32, 64*64), make([]float32, 64*64)
			for i := range pix {
				pix[i] = float32(i * k)
			}
			for range 10 {
				data, err := c.Encode([]byte("prefix"), pix)
				if err != nil || string(data[:6]) != "prefix" {
					t.Errorf("encode: %q, %v", data[:6], err)
					return
				}
				if err := c.Decode(back, data[6:]); err != nil || !slices.Equal(pix, back) {
					t.Errorf("worker %d: tile changed, %v", k, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := c.Decode(make([]float32, 64*64), []byte{1, 2, 3, 4}); !errors.Is(err, ErrMalformed) {
		t.Errorf("garbage: %v", err)
	}
}

func TestPyramidResumesFromStoredTiles(t *testing.T) {
	t.Parallel()
	l, err := NewLayout(Spec{Width: 64, Height: 64, SampleType: Float32, TileSize: 16})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	p := NewPyramid(l, Average, func(level, band, tx, ty int, pix []float32) error {
		got = append(got, fmt.Sprintf("%d/%d,%d=%v", level, tx, ty, pix[0]))
		return nil
	})
	tile := make([]float32, 256)
	for i, at := range [][2]int{{0, 0}, {1, 0}, {0, 1}, {1, 1}} {
		fill(tile, float64(i))
		if err := p.Add(1, 0, at[0], at[1], tile); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(got, []string{"2/0,0=0"}) || p.Pending() != 0 {
		t.Errorf("emitted %v, %d pending", got, p.Pending())
	}
	if err := p.Add(1, 0, 0, 0, tile); err != nil {
		t.Fatal(err)
	}
	if err := p.Add(1, 0, 0, 0, tile); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("second add of a tile: %v", err)
	}
	if err := p.Add(1, 0, 2, 0, tile); err == nil {
		t.Error("a tile outside the level was added")
	}
}

func TestPyramidMemory(t *testing.T) {
	t.Parallel()
	l, err := NewLayout(Spec{Width: 16 * 21, Height: 16 * 21, SampleType: Float32, TileSize: 16})
	if err != nil {
		t.Fatal(err)
	}
	p := NewPyramid(l, Average, func(int, int, int, int, []float32) error { return nil })
	most, tile := 0, make([]float32, 256)
	for tx, ty := range l.Order() {
		if err := p.Add(0, 0, tx, ty, tile); err != nil {
			t.Fatal(err)
		}
		most = max(most, p.Pending())
	}
	if most > len(l.Levels()) || p.Pending() != 0 {
		t.Errorf("%d tiles were pending at once, %d at the end; the layout has %d levels", most, p.Pending(), len(l.Levels()))
	}
}

func TestAssembleRefuses(t *testing.T) {
	t.Parallel()
	l, err := NewLayout(Spec{Width: 32, Height: 16, SampleType: Float32, TileSize: 16})
	if err != nil {
		t.Fatal(err)
	}
	tile := func(int, int) ([]byte, error) { return []byte("12345678"), nil }
	for name, sizes := range map[string][][]int64{
		"levels":       {{8, 8}},
		"tiles":        {{8}, {8}},
		"negative":     {{8, -8}, {8}},
		"other length": {{8, 9}, {8}},
	} {
		if _, err := Assemble(t.Context(), &bytes.Buffer{}, l, sizes, tile); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	failing := func(int, int) ([]byte, error) { return nil, errors.New("gone") }
	if _, err := Assemble(t.Context(), &bytes.Buffer{}, l, [][]int64{{8, 8}, {8}}, failing); err == nil || !strings.Contains(err.Error(), "gone") {
		t.Errorf("failing store: %v", err)
	}
	w := NewWriter[float32](l, Average, &MemoryTiles{})
	if _, err := w.Finish(t.Context(), &bytes.Buffer{}); err == nil {
		t.Error("an empty file was finished")
	}
}

func TestAssembleBecomesBigTIFF(t *testing.T) {
	t.Parallel()
	l, err := NewLayout(Spec{Width: 32, Height: 16, SampleType: Float32, TileSize: 16})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		sizes [][]int64
		big   bool
	}{
		{[][]int64{{1 << 30, 1 << 30}, {1 << 30}}, false},
		{[][]int64{{3 << 30, 1 << 30}, {1 << 20}}, true},
	} {
		a, err := newAssembly(l, tc.sizes)
		if err != nil {
			t.Fatal(err)
		}
		if a.big != tc.big {
			t.Errorf("%v: BigTIFF %v, want %v", tc.sizes, a.big, tc.big)
		}
		if n, err := AssembledSize(l, tc.sizes); err != nil || n != a.total {
			t.Errorf("size %d, %v, want %d", n, err, a.total)
		}
	}
}

func TestSparseTiles(t *testing.T) {
	t.Parallel()
	l, err := NewLayout(Spec{Width: 32, Height: 16, SampleType: Float32, TileSize: 16})
	if err != nil {
		t.Fatal(err)
	}
	tile, err := NewTileCodec(l).Encode(nil, make([]float32, 256))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	n := int64(len(tile))
	if _, err := Assemble(t.Context(), &out, l, [][]int64{{0, n}, {n}}, func(int, int) ([]byte, error) { return tile, nil }); err != nil {
		t.Fatal(err)
	}
	im, err := Open(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		t.Fatal(err)
	}
	pix := make([]float32, 32)
	if err := im.ReadWindow(t.Context(), 0, 0, 0, 32, 1, pix); err != nil {
		t.Fatal(err)
	}
	if pix[0] == pix[0] || pix[16] != 0 {
		t.Errorf("got %v and %v, want NaN and 0", pix[0], pix[16])
	}
}

func TestLayoutRefuses(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]Spec{
		"no size":        {SampleType: Float32},
		"no type":        {Width: 1, Height: 1},
		"odd tile":       {Width: 1, Height: 1, SampleType: Uint8, TileSize: 100},
		"too many tiles": {Width: 1 << 20, Height: 1 << 20, SampleType: Uint8, TileSize: 16},
		"nodata":         {Width: 1, Height: 1, SampleType: Uint8, NoData: -1, HasNoData: true},
		"nodata NaN":     {Width: 1, Height: 1, SampleType: Uint8, NoData: math.NaN(), HasNoData: true},
		"transform":      {Width: 1, Height: 1, SampleType: Uint8, Transform: Affine{math.Inf(1)}},
		"names":          {Width: 1, Height: 1, SampleType: Uint8, BandNames: []string{"a", "b"}},
		"EPSG":           {Width: 1, Height: 1, SampleType: Uint8, EPSG: 99999},
		"level":          {Width: 1, Height: 1, SampleType: Uint8, DeflateLevel: 10},
	} {
		if _, err := NewLayout(s); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestSampleTypes(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]SampleType{"INT16": Int16, "FLOAT32": Float32, "uint16": Uint16, "FLOAT64": Float64} {
		if got, err := ParseSampleType(name); err != nil || got != want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if _, err := ParseSampleType("complex64"); err == nil {
		t.Error("complex64 is a sample type")
	}
	if Uint16.DefaultNoData() != 65535 || Int16.DefaultNoData() != -32768 || !math.IsNaN(Float32.DefaultNoData()) {
		t.Error("wrong default nodata")
	}
}
