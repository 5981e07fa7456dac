package raster

import (
	"fmt"
	"math"
	"strings"
)

// Index is a predefined band math index.
type Index struct {
	Name     string // upper case, as in the PredefinedIndices of the API
	Equation string
	Assets   []string // STAC asset names, in the order of the equation's Vars
	kernel   kernel
}

// predefined lists the indices with the equations of the remote sensing
// literature. WDRVI's weight is 0.2.
func predefined() []Index {
	return []Index{
		{"NDVI", "(nir - red) / (nir + red)", []string{"nir", "red"}, kernelRatio{}},
		{"EVI2", "2.5 * (nir - red) / (nir + 2.4 * red + 1)", []string{"nir", "red"}, kernelEVI2{}},
		{"MSAVI", "(2 * nir + 1 - sqrt((2 * nir + 1)^2 - 8 * (nir - red))) / 2", []string{"nir", "red"}, kernelMSAVI{}},
		{"NDWI", "(green - nir) / (green + nir)", []string{"green", "nir"}, kernelRatio{}},
		{"NDMI", "(nir - swir16) / (nir + swir16)", []string{"nir", "swir16"}, kernelRatio{}},
		{"NDSI", "(green - swir16) / (green + swir16)", []string{"green", "swir16"}, kernelRatio{}},
		{"WDRVI", "(0.2 * nir - red) / (0.2 * nir + red)", []string{"nir", "red"}, kernelWDRVI{}},
	}
}

// Predefined returns the index of that name, exactly as the API spells it:
// NDVI, EVI2, MSAVI, NDWI, NDMI, NDSI or WDRVI.
func Predefined(name string) (Index, bool) {
	for _, ix := range predefined() {
		if ix.Name == name {
			return ix, true
		}
	}
	return Index{}, false
}

// PredefinedNames returns the names that Predefined knows.
func PredefinedNames() []string {
	var names []string
	for _, ix := range predefined() {
		names = append(names, ix.Name)
	}
	return names
}

// Compile returns the index as an expression.
func (ix Index) Compile() (*Expr, error) {
	x, err := Compile(ix.Equation)
	if err != nil {
		return nil, fmt.Errorf("index %s: %w", ix.Name, err)
	}
	return x, nil
}

// kernel is the inner loop of an index over two bands: one pass without
// intermediate columns. Its results equal those of the general evaluator.
type kernel interface {
	run32(dst []float32, a, b band)
	run64(dst []float64, a, b band)
}

// band is a column ready for a kernel.
type band struct {
	pix           []float32
	scale, offset float64
	missing       float32
}

// fusedKernel returns the kernel for an equation in canonical form, or nil. It
// recognises the shapes of the predefined indices over any two assets, since
// products name their bands differently (nir, nir08).
func fusedKernel(canonical string, vars []string) kernel {
	if len(vars) != 2 {
		return nil
	}
	for _, ix := range predefined() {
		x, err := parseEquation(ix.Equation)
		if err != nil {
			continue
		}
		x.rename(ix.Assets, vars)
		var b strings.Builder
		x.write(&b)
		if b.String() == canonical {
			return ix.kernel
		}
	}
	return nil
}

func (n *node) rename(from, to []string) {
	if n.op == 'v' {
		for i, name := range from {
			if n.text == name {
				n.text = to[i]
				break
			}
		}
		return
	}
	for _, a := range n.args {
		a.rename(from, to)
	}
}

func runFused[T Float](k kernel, dst []T, cols []Column) {
	ready := func(c *Column) band {
		return band{c.Pix[:len(dst)], c.scale(), c.Offset, float32(c.missing())}
	}
	a, b := ready(&cols[0]), ready(&cols[1])
	switch d := any(dst).(type) {
	case []float32:
		k.run32(d, a, b)
	case []float64:
		k.run64(d, a, b)
	}
}

// Each kernel repeats the loop over its formula: a formula passed as a function
// would be called per pixel. The conversions of products keep the compiler from
// fusing them with a sum, which would give other last digits on some machines.
type (
	kernelRatio struct{} // (a - b) / (a + b)
	kernelEVI2  struct{}
	kernelMSAVI struct{}
	kernelWDRVI struct{}
)

func (kernelRatio) run32(dst []float32, a, b band) { ratio(dst, a, b) }
func (kernelRatio) run64(dst []float64, a, b band) { ratio(dst, a, b) }
func (kernelEVI2) run32(dst []float32, a, b band)  { evi2(dst, a, b) }
func (kernelEVI2) run64(dst []float64, a, b band)  { evi2(dst, a, b) }
func (kernelMSAVI) run32(dst []float32, a, b band) { msavi(dst, a, b) }
func (kernelMSAVI) run64(dst []float64, a, b band) { msavi(dst, a, b) }
func (kernelWDRVI) run32(dst []float32, a, b band) { wdrvi(dst, a, b) }
func (kernelWDRVI) run64(dst []float64, a, b band) { wdrvi(dst, a, b) }

func ratio[T Float](dst []T, a, b band) {
	pa, pb := a.pix[:len(dst)], b.pix[:len(dst)]
	for i := range dst {
		x, y := float64(float64(pa[i])*a.scale)+a.offset, float64(float64(pb[i])*b.scale)+b.offset
		v := (x - y) / (x + y)
		if pa[i] == a.missing || pb[i] == b.missing {
			v = math.NaN()
		}
		dst[i] = finite[T](v)
	}
}

func evi2[T Float](dst []T, nir, red band) {
	pn, pr := nir.pix[:len(dst)], red.pix[:len(dst)]
	for i := range dst {
		n, r := float64(float64(pn[i])*nir.scale)+nir.offset, float64(float64(pr[i])*red.scale)+red.offset
		v := 2.5 * (n - r) / (n + float64(2.4*r) + 1)
		if pn[i] == nir.missing || pr[i] == red.missing {
			v = math.NaN()
		}
		dst[i] = finite[T](v)
	}
}

func msavi[T Float](dst []T, nir, red band) {
	pn, pr := nir.pix[:len(dst)], red.pix[:len(dst)]
	for i := range dst {
		n, r := float64(float64(pn[i])*nir.scale)+nir.offset, float64(float64(pr[i])*red.scale)+red.offset
		t := float64(2*n) + 1
		v := (t - math.Sqrt(float64(t*t)-float64(8*(n-r)))) / 2
		if pn[i] == nir.missing || pr[i] == red.missing {
			v = math.NaN()
		}
		dst[i] = finite[T](v)
	}
}

func wdrvi[T Float](dst []T, nir, red band) {
	pn, pr := nir.pix[:len(dst)], red.pix[:len(dst)]
	for i := range dst {
		n, r := float64(float64(pn[i])*nir.scale)+nir.offset, float64(float64(pr[i])*red.scale)+red.offset
		v := (float64(0.2*n) - r) / (float64(0.2*n) + r)
		if pn[i] == nir.missing || pr[i] == red.missing {
			v = math.NaN()
		}
		dst[i] = finite[T](v)
	}
}
