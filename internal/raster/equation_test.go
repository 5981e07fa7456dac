package raster

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// constant evaluates an equation whose assets have one value each.
func constant(t testing.TB, equation string, values map[string]float64) float64 {
	t.Helper()
	x, err := Compile(equation)
	if err != nil {
		t.Fatalf("Compile(%q): %v", equation, err)
	}
	var cols []Column
	for _, v := range x.Vars() {
		cols = append(cols, Column{Pix64: []float64{values[v]}})
	}
	out := make([]float64, 1)
	if err := x.NewEvaluator().Eval64(out, cols); err != nil {
		t.Fatal(err)
	}
	return out[0]
}

func TestCompileAndEvaluate(t *testing.T) {
	t.Parallel()
	vars := map[string]float64{"a": 5, "b": 3, "nir08": 0.4, "swir16": 0.2, "_x1": -2, "min": 9}
	for _, tc := range []struct {
		equation, canonical string
		want                float64
	}{
		{"1 + 2 * 3", "1+2*3", 7},
		{"(1 + 2) * 3", "(1+2)*3", 9},
		{"a - b - 1", "a-b-1", 1},
		{"a - (b - 1)", "a-(b-1)", 3},
		{"a / b / 2", "a/b/2", 5.0 / 3 / 2},
		{"a / (b / 2)", "a/(b/2)", 5 / 1.5},
		{"2 ^ b ^ 2", "2^b^2", 512},
		{"(2 ^ b) ^ 2", "(2^b)^2", 64},
		{"-a ^ 2", "-a^2", -25},
		{"(-a) ^ 2", "(-a)^2", 25},
		{"2 ^ -1 * a", "2^-1*a", 2.5},
		{"a - -b", "a--b", 8},
		{"- - a", "--a", 5},
		{"+a + +b", "a+b", 8},
		{"a * -b", "a*-b", -15},
		{"(nir08 - swir16) / (nir08 + swir16)", "(nir08-swir16)/(nir08+swir16)", (0.4 - 0.2) / (0.4 + 0.2)},
		{"sqrt(abs(_x1) * 8)", "sqrt(abs(_x1)*8)", 4},
		{"min(a, b, 4) + max(a, 7)", "min(a,b,4)+max(a,7)", 10},
		{"min(3, a) - max(b, 1, 2)", "min(3,a)-max(b,1,2)", 0},
		{"min + 1", "min+1", 10},
		{"log(exp(a))", "log(exp(a))", 5},
		{"1.5e2 + .5 + 2.", "1.5e2+.5+2.", 152.5},
		{"10 - a", "10-a", 5},
		{"10 / a", "10/a", 2},
		{"2 ^ a", "2^a", 32},
		{"a ^ 3", "a^3", 125},
		{"a ^ b", "a^b", 125},
		{"a\n*\tb", "a*b", 15},
		{"(a+b)*(a-b)/((a+b)+(a-b)*(a*b))", "(a+b)*(a-b)/(a+b+(a-b)*(a*b))", 16.0 / 38},
	} {
		t.Run(tc.equation, func(t *testing.T) {
			t.Parallel()
			x, err := Compile(tc.equation)
			if err != nil {
				t.Fatal(err)
			}
			if x.String() != tc.canonical {
				t.Errorf("prints as %q, want %q", x, tc.canonical)
			}
			if got := constant(t, tc.equation, vars); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
			if got := constant(t, x.String(), vars); got != tc.want {
				t.Errorf("recompiled: got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestCompileRefuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		equation string
		pos      int
		text     string
	}{
		{"", 0, "unexpected end"},
		{"a +", 3, "unexpected end"},
		{"(a", 2, "unexpected end"},
		{"a)", 1, `unexpected ')'`},
		{"a b", 2, `unexpected 'b'`},
		{"a ** b", 3, `unexpected '*'`},
		{"a % b", 2, `unexpected '%'`},
		{"é", 0, `unexpected 'é'`},
		{"a\x00", 1, `unexpected '\x00'`},
		{"1.2.3", 3, `unexpected '.'`},
		{"1e", 0, "not a number"},
		{"1e999", 0, "not a number"},
		{"2a", 1, `unexpected 'a'`},
		{"0x10", 1, `unexpected 'x'`},
		{"system(a)", 0, `no function "system"`},
		{"sqrt(a, b)", 9, "at most 1"},
		{"max(a)", 6, "needs 2"},
		{"max()", 4, `unexpected ')'`},
		{strings.Repeat("(", 100) + "a" + strings.Repeat(")", 100), 64, "nested"},
		{strings.Repeat("-", 100) + "a", 64, "nested"},
		{"a" + strings.Repeat("^a", 100), 128, "nested"},
		{strings.Repeat("a+", 2048) + "a", 4096, "longer than 4096"},
	} {
		_, err := Compile(tc.equation)
		se, ok := errors.AsType[*SyntaxError](err)
		if !ok || !strings.Contains(se.Msg, tc.text) || se.Pos != tc.pos {
			t.Errorf("%.20q: got %v, want %q at %d", tc.equation, err, tc.text, tc.pos)
		}
	}
	var names []string
	for i := range 65 {
		names = append(names, fmt.Sprintf("b%d", i))
	}
	if _, err := Compile(strings.Join(names, "+")); err == nil {
		t.Error("65 assets were accepted")
	}
}

func TestLongChainsCompile(t *testing.T) {
	t.Parallel()
	if got := constant(t, strings.Repeat("a+", 2047)+"a", map[string]float64{"a": 1}); got != 2048 {
		t.Errorf("got %v, want 2048", got)
	}
}

func TestVarsInOrderOfAppearance(t *testing.T) {
	t.Parallel()
	x, err := Compile("(red - nir) / (nir + red + green)")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"red", "nir", "green"}; !slices.Equal(x.Vars(), want) {
		t.Errorf("got %v, want %v", x.Vars(), want)
	}
}

// TestMissingPixels checks, for every operation, that a missing input and a
// result that is not finite give NaN.
func TestMissingPixels(t *testing.T) {
	t.Parallel()
	nan := float32(math.NaN())
	for _, equation := range []string{
		"a+b", "a-b", "a*b", "a/b", "a^b", "min(a,b)", "max(a,b)", "a+b*0", "b^0+a", "1^b+a", "b^2+a", "-a+sqrt(abs(b))",
		"(a-b)/(a+b)", "2.5*(a-b)/(a+2.4*b+1)",
	} {
		x, err := Compile(equation)
		if err != nil {
			t.Fatal(err)
		}
		cols := map[string]Column{
			"a": {Pix: []float32{1, 7, 3, nan, 4}, NoData: 7, HasNoData: true},
			"b": {Pix: []float32{1, 1, 9, 1, 2}, NoData: 9, HasNoData: true, Scale: 1},
		}
		in := []Column{cols[x.Vars()[0]], cols[x.Vars()[1]]}
		out := make([]float32, 5)
		if err := x.NewEvaluator().Eval(out, in); err != nil {
			t.Fatal(err)
		}
		for i, missing := range []bool{false, true, true, true, false} {
			if got := out[i] != out[i]; got != missing {
				t.Errorf("%s: pixel %d is %v, want missing %v", equation, i, out[i], missing)
			}
		}
	}
	for _, equation := range []string{"a/0", "0*a/(a-a)", "log(a-a)", "sqrt(-a)", "exp(a*1000)", "1/0+a", "1e30*1e10*a"} {
		x, err := Compile(equation)
		if err != nil {
			t.Fatal(err)
		}
		out := []float32{0}
		if err := x.NewEvaluator().Eval(out, []Column{{Pix: []float32{5}}}); err != nil {
			t.Fatal(err)
		}
		if out[0] == out[0] {
			t.Errorf("%s of 5 as float32 is %v, want NaN", equation, out[0])
		}
	}
}

func TestScaleAndOffset(t *testing.T) {
	t.Parallel()
	x, err := Compile("a*1")
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float64, 2)
	col := Column{Pix: []float32{3000, 0}, Scale: 0.0001, Offset: -0.1, NoData: 0, HasNoData: true}
	if err := x.NewEvaluator().Eval64(out, []Column{col}); err != nil {
		t.Fatal(err)
	}
	if want := 3000*0.0001 - 0.1; math.Abs(out[0]-want) > 1e-15 || out[1] == out[1] {
		t.Errorf("got %v, want %v and NaN: nodata is compared before scaling", out, want)
	}
}

func TestEvaluatorChecksColumns(t *testing.T) {
	t.Parallel()
	x, err := Compile("a+b")
	if err != nil {
		t.Fatal(err)
	}
	ev := x.NewEvaluator()
	if err := ev.Eval(make([]float32, 2), []Column{{Pix: []float32{1, 2}}}); err == nil {
		t.Error("one column for two assets was accepted")
	}
	if err := ev.Eval(make([]float32, 2), []Column{{Pix: []float32{1, 2}}, {Pix: []float32{1}}}); err == nil {
		t.Error("a short column was accepted")
	}
}

// FuzzCompile states: an equation that compiles prints as text that compiles to
// the same text and the same values.
func FuzzCompile(f *testing.F) {
	for _, ix := range predefined() {
		f.Add(ix.Equation, 0.3, 0.1)
	}
	f.Add("min(a,b,2)^-b-max(a,1)/(-a)^2--sqrt(b)", 2.0, 3.0)
	f.Add("a^(b^2)-(a-(b-1))*1e-3/.5", 1.0, -1.0)
	f.Fuzz(func(t *testing.T, equation string, a, b float64) {
		x, err := Compile(equation)
		if err != nil {
			return
		}
		again, err := Compile(x.String())
		if err != nil {
			t.Fatalf("%q prints as %q: %v", equation, x, err)
		}
		if again.String() != x.String() || !slices.Equal(again.Vars(), x.Vars()) {
			t.Fatalf("%q prints as %q, then as %q", equation, x, again)
		}
		var cols []Column
		for i := range x.Vars() {
			cols = append(cols, Column{Pix64: []float64{a, b, float64(i)}})
		}
		var out, out2 [3]float64
		if err := x.NewEvaluator().Eval64(out[:], cols); err != nil {
			t.Fatal(err)
		}
		if err := again.NewEvaluator().Eval64(out2[:], cols); err != nil {
			t.Fatal(err)
		}
		for i := range out {
			if out[i] != out2[i] && !(math.IsNaN(out[i]) && math.IsNaN(out2[i])) {
				t.Fatalf("%q at %d: %v, recompiled %v", equation, i, out[i], out2[i])
			}
			if math.IsInf(out[i], 0) {
				t.Fatalf("%q at %d is infinite", equation, i)
			}
		}
	})
}
