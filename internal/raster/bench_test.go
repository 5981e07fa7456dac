package raster

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"
)

// syntheticBand is a Sentinel-like uint16 band of side pixels as a COG in
// memory: smooth fields with sensor noise.
func syntheticBand(tb testing.TB, side int, seed uint64) *Image {
	tb.Helper()
	l, err := NewLayout(Spec{Width: side, Height: side, SampleType: Uint16, NoData: 0, HasNoData: true, Transform: Affine{0, 10, 0, 0, 0, -10}, EPSG: 32633})
	if err != nil {
		tb.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(seed, 7))
	w := NewWriter[float32](l, Average, &MemoryTiles{})
	pix := make([]float32, 512*512)
	for tx, ty := range l.Order() {
		for i := range pix {
			x, y := tx*512+i%512, ty*512+i/512
			pix[i] = float32(1200+(x/40*97+y/30*53)%1500) + float32(rng.NormFloat64()*25)
		}
		if err := w.WriteTile(0, tx, ty, pix); err != nil {
			tb.Fatal(err)
		}
	}
	var out bytes.Buffer
	if _, err := w.Finish(tb.Context(), &out); err != nil {
		tb.Fatal(err)
	}
	im, err := Open(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		tb.Fatal(err)
	}
	return im
}

// BenchmarkNDVIAndMSAVI is the whole way: inflate two bands, compute two
// indices, encode them with overviews, assemble. MB/s count input pixels.
func BenchmarkNDVIAndMSAVI(b *testing.B) {
	const side = 2048
	inputs := map[string]Input{
		"nir": {Image: syntheticBand(b, side, 1), Scale: 0.0001},
		"red": {Image: syntheticBand(b, side, 2), Scale: 0.0001},
	}
	var exprs []*Expr
	for _, name := range []string{"NDVI", "MSAVI"} {
		ix, _ := Predefined(name)
		x, err := ix.Compile()
		if err != nil {
			b.Fatal(err)
		}
		exprs = append(exprs, x)
	}
	calc, err := NewCalculator(inputs, exprs...)
	if err != nil {
		b.Fatal(err)
	}
	l, err := NewLayout(Spec{Width: side, Height: side, SampleType: Float32, Transform: calc.Grid().Transform, GeoKeys: calc.GeoKeys()})
	if err != nil {
		b.Fatal(err)
	}
	worker := calc.Worker()
	out := [][]float32{make([]float32, 512*512), make([]float32, 512*512)}
	b.SetBytes(2 * 2 * side * side)
	b.ReportAllocs()
	for b.Loop() {
		writers := []*Writer[float32]{NewWriter[float32](l, Average, &MemoryTiles{}), NewWriter[float32](l, Average, &MemoryTiles{})}
		for tx, ty := range l.Order() {
			if err := worker.Compute(b.Context(), Window{tx * 512, ty * 512, 512, 512}, out...); err != nil {
				b.Fatal(err)
			}
			for i, w := range writers {
				if err := w.WriteTile(0, tx, ty, out[i]); err != nil {
					b.Fatal(err)
				}
			}
		}
		for _, w := range writers {
			if _, err := w.Finish(b.Context(), io.Discard); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkReadWindow(b *testing.B) {
	im := syntheticBand(b, 1024, 1)
	pix := make([]float32, 1024*1024)
	b.SetBytes(2 * 1024 * 1024)
	b.ReportAllocs()
	for b.Loop() {
		if err := im.ReadWindow(b.Context(), 0, 0, 0, 1024, 1024, pix); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeTile(b *testing.B) {
	l, err := NewLayout(Spec{Width: 512, Height: 512, SampleType: Float32})
	if err != nil {
		b.Fatal(err)
	}
	c := NewTileCodec(l)
	rng := rand.New(rand.NewPCG(1, 7))
	pix := make([]float32, 512*512)
	for i := range pix {
		pix[i] = float32(0.3 + 0.1*rng.NormFloat64())
	}
	var buf []byte
	b.SetBytes(4 * 512 * 512)
	b.ReportAllocs()
	for b.Loop() {
		if buf, err = c.Encode(buf[:0], pix); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEval compares the fused kernels with the general evaluator.
func BenchmarkEval(b *testing.B) {
	for _, name := range []string{"NDVI", "MSAVI"} {
		ix, _ := Predefined(name)
		fused, err := ix.Compile()
		if err != nil {
			b.Fatal(err)
		}
		general := *fused
		general.fused = nil
		for kind, x := range map[string]*Expr{"fused": fused, "general": &general} {
			b.Run(name+"/"+kind, func(b *testing.B) {
				pix := make([]float32, 512*512)
				fill(pix, 1234)
				cols := []Column{{Pix: pix, Scale: 0.0001}, {Pix: pix, Scale: 0.0001, Offset: 0.1}}
				out := make([]float32, len(pix))
				ev := x.NewEvaluator()
				b.SetBytes(4 * 2 * 512 * 512)
				for b.Loop() {
					if err := ev.Eval(out, cols); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
