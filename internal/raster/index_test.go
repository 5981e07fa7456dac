package raster

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"math"
	"os"
	"path"
	"testing"

	"github.com/sagekeep/sagekeep/internal/sample"
)

// sceneFile opens a band of the sample scene, for example "B04".
func sceneFile(t testing.TB, band string) *Image {
	t.Helper()
	data, err := fs.ReadFile(sample.FS(), path.Join(sample.Scene, "T33UUU_20170216T102101_"+band+".tif"))
	if err != nil {
		t.Fatal(err)
	}
	im, err := Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// sceneInputs are the assets of the sample scene as its STAC item gives them.
func sceneInputs(t testing.TB) map[string]Input {
	in := map[string]Input{}
	for name, band := range map[string]string{"green": "B03", "red": "B04", "nir": "B08", "swir16": "B11"} {
		in[name] = Input{Image: sceneFile(t, band), Scale: 0.0001, NoData: 0, HasNoData: true}
	}
	return in
}

type stats struct {
	Count int     `json:"count"`
	Min   float64 `json:"min"`
	Max   float64 `json:"max"`
	Mean  float64 `json:"mean"`
	Std   float64 `json:"std"`
}

func statsOf(pix []float32) stats {
	s := stats{Min: math.Inf(1), Max: math.Inf(-1)}
	for _, p := range pix {
		v := float64(p)
		if v-v != 0 {
			continue
		}
		s.Count++
		s.Mean += v
		s.Min, s.Max = min(s.Min, v), max(s.Max, v)
	}
	s.Mean /= float64(s.Count)
	for _, p := range pix {
		if v := float64(p); v-v == 0 {
			s.Std += (v - s.Mean) * (v - s.Mean)
		}
	}
	s.Std = math.Sqrt(s.Std / float64(s.Count))
	return s
}

func (s stats) check(t *testing.T, want stats) {
	t.Helper()
	if s.Count != want.Count || math.Abs(s.Mean-want.Mean) > 1e-6 || math.Abs(s.Std-want.Std) > 1e-6 ||
		math.Abs(s.Min-want.Min) > 1e-5 || math.Abs(s.Max-want.Max) > 1e-5 {
		t.Errorf("got %+v, want %+v", s, want)
	}
}

// reference reads what numpy computed in float64 for the sample scene.
func reference(t *testing.T) map[string]stats {
	t.Helper()
	text, err := os.ReadFile("testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	var ref map[string]stats
	if err := json.Unmarshal(text, &ref); err != nil {
		t.Fatal(err)
	}
	return ref
}

// TestIndicesMatchReference computes every index on real pixels, all from one
// reading of the bands.
func TestIndicesMatchReference(t *testing.T) {
	t.Parallel()
	ref := reference(t)
	names := PredefinedNames()
	var exprs []*Expr
	for _, name := range names {
		ix, _ := Predefined(name)
		x, err := ix.Compile()
		if err != nil {
			t.Fatal(err)
		}
		if x.fused == nil {
			t.Errorf("%s has no fused kernel", name)
		}
		exprs = append(exprs, x)
	}
	calc, err := NewCalculator(sceneInputs(t), exprs...)
	if err != nil {
		t.Fatal(err)
	}
	win := Window{0, 0, calc.Grid().Width, calc.Grid().Height}
	out := make([][]float32, len(exprs))
	for i := range out {
		out[i] = make([]float32, win.Pixels())
	}
	if err := calc.Worker().Compute(t.Context(), win, out...); err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{
		"NDVI": "ndvi", "EVI2": "evi2", "MSAVI": "msavi", "NDWI": "ndwi", "NDMI": "ndmi", "NDSI": "ndsi", "WDRVI": "wdrvi_a02",
	}
	for i, name := range names {
		want, ok := ref[keys[name]]
		if !ok {
			t.Fatalf("no reference for %s", name)
		}
		t.Run(name, func(t *testing.T) { statsOf(out[i]).check(t, want) })
	}
}

// TestCustomEquationMatchesReference takes the general evaluator, float64
// results and other names for the same formula.
func TestCustomEquationMatchesReference(t *testing.T) {
	t.Parallel()
	x, err := Compile("2.5*(nir-red)*1/(1+nir+2.4*red)")
	if err != nil {
		t.Fatal(err)
	}
	if x.fused != nil {
		t.Fatal("the equation is fused")
	}
	calc, err := NewCalculator(sceneInputs(t), x)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float64, 1536*768)
	if err := calc.Worker().Compute64(t.Context(), Window{0, 0, 1536, 768}, out); err != nil {
		t.Fatal(err)
	}
	pix := make([]float32, len(out))
	for i, v := range out {
		pix[i] = float32(v)
	}
	statsOf(pix).check(t, reference(t)["evi2"])
}

// TestIndexFileMatchesReference writes an index as a Cloud Optimized GeoTIFF and
// compares what is read back.
func TestIndexFileMatchesReference(t *testing.T) {
	t.Parallel()
	ix, _ := Predefined("NDMI")
	x, err := ix.Compile()
	if err != nil {
		t.Fatal(err)
	}
	im := roundTrip(t, sceneInputs(t), x)
	pix := make([]float32, im.Width()*im.Height())
	if err := im.ReadWindow(t.Context(), 0, 0, 0, im.Width(), im.Height(), pix); err != nil {
		t.Fatal(err)
	}
	statsOf(pix).check(t, reference(t)["ndmi"])
	if im.EPSG() != 32633 || im.Grid().Transform != (Affine{330000, 10, 0, 5822040, 0, -10}) || len(im.Overviews()) != 2 {
		t.Errorf("grid %+v, %d overviews", im.Grid(), len(im.Overviews()))
	}
}

// roundTrip computes an expression over the scene into a file and opens it.
func roundTrip(t *testing.T, inputs map[string]Input, x *Expr) *Image {
	t.Helper()
	calc, err := NewCalculator(inputs, x)
	if err != nil {
		t.Fatal(err)
	}
	g := calc.Grid()
	l, err := NewLayout(Spec{Width: g.Width, Height: g.Height, SampleType: Float32, Transform: g.Transform, GeoKeys: calc.GeoKeys()})
	if err != nil {
		t.Fatal(err)
	}
	w := NewWriter[float32](l, Average, &MemoryTiles{})
	worker := calc.Worker()
	ww, wh := calc.WindowSize(512)
	for y := 0; y < g.Height; y += wh {
		for x := 0; x < g.Width; x += ww {
			win := Window{x, y, min(ww, g.Width-x), min(wh, g.Height-y)}
			pix := make([]float32, win.Pixels())
			if err := worker.Compute(t.Context(), win, pix); err != nil {
				t.Fatal(err)
			}
			if err := w.WriteWindow(0, win, pix); err != nil {
				t.Fatal(err)
			}
		}
	}
	var file bytes.Buffer
	if _, err := w.Finish(t.Context(), &file); err != nil {
		t.Fatal(err)
	}
	im, err := Open(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// TestFusedEqualsGeneral compares the fused kernels with the general evaluator
// bit for bit, over pixels with zeros, nodata and NaN.
func TestFusedEqualsGeneral(t *testing.T) {
	t.Parallel()
	a, b := make([]float32, 3000), make([]float32, 3000)
	for i := range a {
		a[i], b[i] = float32(i*37%1009), float32(i*53%997)
	}
	a[5], b[5] = 0, 0
	a[6] = float32(math.NaN())
	cols := []Column{
		{Pix: a, Scale: 0.0001, Offset: 0.01, NoData: 17, HasNoData: true},
		{Pix: b, Scale: 0.0002},
	}
	for _, ix := range predefined() {
		x, err := ix.Compile()
		if err != nil {
			t.Fatal(err)
		}
		general := *x
		general.fused = nil
		got, want := make([]float32, len(a)), make([]float32, len(a))
		if err := x.NewEvaluator().Eval(got, cols); err != nil {
			t.Fatal(err)
		}
		if err := general.NewEvaluator().Eval(want, cols); err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if math.Float32bits(got[i]) != math.Float32bits(want[i]) && (got[i] == got[i] || want[i] == want[i]) {
				t.Fatalf("%s pixel %d: fused %v, general %v", ix.Name, i, got[i], want[i])
			}
		}
	}
}

func TestKernelRecognisesOtherAssets(t *testing.T) {
	t.Parallel()
	for equation, want := range map[string]bool{
		"(nir08 - swir16) / (nir08 + swir16)": true,
		"(red - nir)/(red + nir)":             true,
		"(a - b)/(b + a)":                     false,
		"(nir - red) / (nir - red)":           false,
		"(a-a)/(a+a)":                         false,
	} {
		x, err := Compile(equation)
		if err != nil {
			t.Fatal(err)
		}
		if got := x.fused != nil; got != want {
			t.Errorf("%s: fused %v, want %v", equation, got, want)
		}
	}
}

func TestPredefinedNames(t *testing.T) {
	t.Parallel()
	for _, name := range PredefinedNames() {
		ix, ok := Predefined(name)
		x, err := ix.Compile()
		if !ok || err != nil || len(x.Vars()) != 2 || x.Vars()[0] != ix.Assets[0] || x.Vars()[1] != ix.Assets[1] {
			t.Errorf("%s: %+v, %v", name, ix, err)
		}
	}
	for _, name := range []string{"ndvi", "SAVI", ""} {
		if _, ok := Predefined(name); ok {
			t.Errorf("%q is predefined", name)
		}
	}
}
