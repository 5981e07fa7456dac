package raster

import (
	"bytes"
	"image/color"
	"image/png"
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestQuicklook(t *testing.T) {
	t.Parallel()
	im := sceneFile(t, "B08")
	var out bytes.Buffer
	if err := Quicklook(t.Context(), &out, im, 0, 300, nil); err != nil {
		t.Fatal(err)
	}
	pic, err := png.Decode(&out)
	if err != nil {
		t.Fatal(err)
	}
	if b := pic.Bounds(); b.Dx() != 300 || b.Dy() != 150 {
		t.Errorf("picture of %v, want 300x150", b)
	}
	seen := map[color.Color]bool{}
	for i := range 300 * 150 {
		seen[pic.At(i%300, i/300)] = true
	}
	if len(seen) < 100 {
		t.Errorf("only %d greys", len(seen))
	}
}

func TestThumbnailKeepsTheMean(t *testing.T) {
	t.Parallel()
	im := sceneFile(t, "B04")
	full := make([]float32, 1536*768)
	if err := im.ReadWindow(t.Context(), 0, 0, 0, 1536, 768, full); err != nil {
		t.Fatal(err)
	}
	th, err := NewThumbnail(t.Context(), im, 0, 96, 96)
	if err != nil {
		t.Fatal(err)
	}
	if th.Width != 96 || th.Height != 48 {
		t.Fatalf("%dx%d", th.Width, th.Height)
	}
	if a, b := statsOf(full).Mean, statsOf(th.Pix).Mean; math.Abs(a-b) > 0.005*a {
		t.Errorf("mean %v of the band, %v of its thumbnail", a, b)
	}
	if th, err = NewThumbnail(t.Context(), openFile(t, "u8_tile_lzw"), 0, 500, 500); err != nil || th.Width != 45 || th.Height != 37 {
		t.Errorf("thumbnails never enlarge: %+v, %v", th, err)
	}
}

func TestThumbnailSkipsMissing(t *testing.T) {
	t.Parallel()
	th, err := NewThumbnail(t.Context(), openFile(t, "u16_sparse"), 0, 45, 37)
	if err != nil {
		t.Fatal(err)
	}
	if th.Pix[0] == th.Pix[0] || th.Pix[20] != 300 {
		t.Errorf("got %v and %v, want NaN and 300", th.Pix[0], th.Pix[20])
	}
	if c := th.Render(VegetationRamp()).NRGBAAt(0, 0); c.A != 0 {
		t.Errorf("missing pixel painted %v", c)
	}
}

func TestRamp(t *testing.T) {
	t.Parallel()
	r := Gray(0, 10)
	for v, want := range map[float64]uint8{-5: 0, 0: 0, 5: 128, 10: 255, 50: 255} {
		if c := r.At(v); c.R != want || c.A != 255 {
			t.Errorf("%v: got %v, want %d", v, c, want)
		}
	}
	if c := r.At(math.NaN()); c.A != 0 {
		t.Errorf("NaN is %v", c)
	}
}

func TestTerminal(t *testing.T) {
	t.Parallel()
	im := sceneFile(t, "B08")
	var out strings.Builder
	if err := Terminal(t.Context(), &out, im, 0, 60, nil); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 15 || strings.Count(lines[0], "▀") != 60 || !strings.HasSuffix(lines[0], "\x1b[0m") {
		t.Errorf("%d lines, the first is %q", len(lines), lines[0])
	}
	out.Reset()
	if err := TerminalASCII(t.Context(), &out, im, 0, 60); err != nil {
		t.Fatal(err)
	}
	lines = strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 15 || len(lines[3]) != 60 {
		t.Errorf("%d lines, the fourth is %q", len(lines), lines[3])
	}
	for _, c := range out.String() {
		if c >= utf8.RuneSelf || c == 0x1b {
			t.Fatalf("%q in plain text", c)
		}
	}
	if err := TerminalASCII(t.Context(), &out, im, 0, 0); err == nil {
		t.Error("zero columns were accepted")
	}
}
