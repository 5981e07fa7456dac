package raster

import (
	"math"
	"strings"
	"testing"
)

func TestAlignColumns(t *testing.T) {
	t.Parallel()
	utm := func(x, y, res float64, w, h int) Grid {
		return Grid{Width: w, Height: h, Transform: Affine{x, res, 0, y, 0, -res}, EPSG: 32633}
	}
	for _, tc := range []struct {
		name     string
		dst, src Grid
		cols     []int // of destination columns 0, 1, 2 …
	}{
		{"same", utm(0, 0, 10, 4, 4), utm(0, 0, 10, 4, 4), []int{0, 1, 2, 3}},
		{"20 to 10", utm(0, 0, 10, 6, 4), utm(0, 0, 20, 3, 2), []int{0, 0, 1, 1, 2, 2}},
		{"60 to 10", utm(0, 0, 10, 13, 4), utm(0, 0, 60, 3, 1), []int{0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2}},
		{"20 to 10, shifted by one", utm(10, 0, 10, 4, 4), utm(0, 0, 20, 3, 2), []int{0, 1, 1, 2}},
		{"source begins later", utm(0, 0, 10, 5, 4), utm(20, 0, 20, 1, 2), []int{-1, -1, 0, 0, -1}},
		{"15 to 10", utm(0, 0, 10, 6, 4), utm(0, 0, 15, 4, 4), []int{0, 1, 1, 2, 3, 3}},
		{"10 to 30", utm(0, 0, 30, 3, 4), utm(0, 0, 10, 9, 9), []int{1, 4, 7}},
		{"10 to 20: ties go right", utm(0, 0, 20, 2, 2), utm(0, 0, 10, 4, 4), []int{1, 3}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			a, err := Align(tc.dst, tc.src)
			if err != nil {
				t.Fatal(err)
			}
			for col, want := range tc.cols {
				if got := a.Column(col); got != want {
					t.Errorf("column %d: got %d, want %d", col, got, want)
				}
			}
		})
	}
}

func TestAlignRefuses(t *testing.T) {
	t.Parallel()
	a := Grid{Width: 2, Height: 2, Transform: Affine{0, 10, 0, 0, 0, -10}, EPSG: 32633}
	b, c := a, a
	b.EPSG = 32632
	c.Transform[2] = 1
	for _, tc := range []struct {
		src  Grid
		text string
	}{{b, "EPSG:32632"}, {c, "rotated"}, {Grid{}, "empty"}, {Grid{Width: 1, Height: 1}, "pixel size"}} {
		if _, err := Align(a, tc.src); err == nil || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("got %v, want %q", err, tc.text)
		}
	}
}

// TestReadAlignedIsKron reads the 20 m band on the 10 m grid and compares every
// pixel with each source pixel repeated twice in both directions.
func TestReadAlignedIsKron(t *testing.T) {
	t.Parallel()
	swir, nir := sceneFile(t, "B11"), sceneFile(t, "B08")
	full := make([]float32, 768*384)
	if err := swir.ReadWindow(t.Context(), 0, 0, 0, 768, 384, full); err != nil {
		t.Fatal(err)
	}
	a, err := Align(nir.Grid(), swir.Grid())
	if err != nil {
		t.Fatal(err)
	}
	for _, win := range []Window{{0, 0, 1536, 768}, {511, 255, 513, 2}, {1535, 767, 1, 1}} {
		got := make([]float32, win.Pixels())
		if err := swir.ReadAligned(t.Context(), 0, a, win, -1, got); err != nil {
			t.Fatal(err)
		}
		for i, v := range got {
			x, y := win.X+i%win.Width, win.Y+i/win.Width
			if want := full[y/2*768+x/2]; v != want {
				t.Fatalf("window %v pixel %d,%d: got %v, want %v", win, x, y, v, want)
			}
		}
	}
}

func TestReadAlignedOutside(t *testing.T) {
	t.Parallel()
	swir := sceneFile(t, "B11")
	g := swir.Grid()
	g.Transform[0] -= 40 // two columns to the west of the image
	a, err := Align(g, swir.Grid())
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float32, 4)
	if err := swir.ReadAligned(t.Context(), 0, a, Window{0, 0, 4, 1}, -1, got); err != nil {
		t.Fatal(err)
	}
	if got[0] != -1 || got[1] != -1 || got[2] <= 0 || got[3] <= 0 {
		t.Errorf("got %v, want two missing, two present", got)
	}
	g.Transform[0] -= 1e6
	if a, err = Align(g, swir.Grid()); err != nil {
		t.Fatal(err)
	}
	if err := swir.ReadAligned(t.Context(), 0, a, Window{0, 0, 4, 1}, -1, got); err != nil || got[3] != -1 {
		t.Errorf("far away: got %v, %v", got, err)
	}
}

func TestAffineInverse(t *testing.T) {
	t.Parallel()
	tr := Affine{500000, 20, 3, 4000000, -2, -30}
	inv, err := tr.Inverse()
	if err != nil {
		t.Fatal(err)
	}
	x, y := inv.Apply(tr.Apply(12.5, 7.25))
	if math.Abs(x-12.5) > 1e-6 || math.Abs(y-7.25) > 1e-6 {
		t.Errorf("got %v, %v", x, y)
	}
	if _, err := (Affine{0, 1, 1, 0, 1, 1}).Inverse(); err == nil {
		t.Error("a flat transform was inverted")
	}
}

func TestCalculatorRefuses(t *testing.T) {
	t.Parallel()
	inputs := sceneInputs(t)
	for equation, text := range map[string]string{"nir - blue": `asset "blue"`, "1 + 2": "no equation"} {
		x, err := Compile(equation)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewCalculator(inputs, x); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: got %v, want %q", equation, err, text)
		}
	}
}
