package raster

import (
	"fmt"
	"math"
)

// Expr is a compiled equation. It is immutable and may be shared; each
// goroutine evaluates it through an Evaluator of its own.
type Expr struct {
	root  *node
	vars  []string
	code  []instr
	temps int     // registers beyond the variables
	out   operand // where the result is
	fused kernel  // for the predefined indices, else nil
}

// instr computes one column: dst = a op b. Registers number the variables
// first, then the temporaries.
type instr struct {
	op   opcode
	dst  int
	a, b int
	c    float64 // the constant operand
}

type operand struct {
	reg   int
	isNum bool
	num   float64
}

// opcode names a column operation; a suffix tells where the constant stands.
type opcode uint8

const (
	opAdd opcode = iota
	opAddC
	opSub
	opSubC // a - c
	opCSub // c - a
	opMul
	opMulC
	opDiv
	opDivC
	opCDiv
	opPow
	opPowC
	opCPow
	opSquare
	opMin
	opMinC
	opMax
	opMaxC
	opNeg
	opSqrt
	opAbs
	opExp
	opLog
)

// emit compiles the tree. Constant parts are folded with the arithmetic that
// evaluation would have used.
func (x *Expr) emit() {
	regs := make(map[string]int, len(x.vars))
	for i, v := range x.vars {
		regs[v] = i
	}
	x.out = x.gen(x.root, regs, 0)
}

// gen emits n with temporaries from t on; its result is a constant, a variable
// or temporary t.
func (x *Expr) gen(n *node, regs map[string]int, t int) operand {
	switch n.op {
	case 'n':
		return operand{isNum: true, num: n.value}
	case 'v':
		return operand{reg: regs[n.text]}
	}
	a := x.gen(n.args[0], regs, t)
	if len(n.args) == 1 {
		return x.unary(unaryCode(n), a, t)
	}
	for _, arg := range n.args[1:] {
		up := t
		if !a.isNum && a.reg == len(x.vars)+t {
			up++ // a lives there
		}
		b := x.gen(arg, regs, up)
		a = x.binary(n, a, b, t)
	}
	return a
}

func unaryCode(n *node) opcode {
	switch n.text {
	case "sqrt":
		return opSqrt
	case "abs":
		return opAbs
	case "exp":
		return opExp
	case "log":
		return opLog
	}
	return opNeg
}

func (x *Expr) push(in instr, t int) operand {
	x.temps = max(x.temps, t+1)
	in.dst = len(x.vars) + t
	x.code = append(x.code, in)
	return operand{reg: in.dst}
}

func (x *Expr) unary(op opcode, a operand, t int) operand {
	if a.isNum {
		v := []float64{a.num}
		runUnary(op, v, v)
		return operand{isNum: true, num: v[0]}
	}
	return x.push(instr{op: op, a: a.reg}, t)
}

func (x *Expr) binary(n *node, a, b operand, t int) operand {
	// vv, vc and cv: the codes for two columns, a constant on the right, and one
	// on the left.
	var vv, vc, cv opcode
	switch {
	case n.op == '+':
		vv, vc, cv = opAdd, opAddC, opAddC
	case n.op == '-':
		vv, vc, cv = opSub, opSubC, opCSub
	case n.op == '*':
		vv, vc, cv = opMul, opMulC, opMulC
	case n.op == '/':
		vv, vc, cv = opDiv, opDivC, opCDiv
	case n.op == '^':
		vv, vc, cv = opPow, opPowC, opCPow
	case n.text == "min":
		vv, vc, cv = opMin, opMinC, opMinC
	default:
		vv, vc, cv = opMax, opMaxC, opMaxC
	}
	switch {
	case a.isNum && b.isNum:
		v, w := []float64{a.num}, []float64{b.num}
		runBinary(vv, v, v, w)
		return operand{isNum: true, num: v[0]}
	case a.isNum:
		return x.push(instr{op: cv, a: b.reg, c: a.num}, t)
	case b.isNum && vv == opPow && b.num == 2:
		return x.push(instr{op: opSquare, a: a.reg}, t)
	case b.isNum:
		return x.push(instr{op: vc, a: a.reg, c: b.num}, t)
	}
	return x.push(instr{op: vv, a: a.reg, b: b.reg}, t)
}

// power is a^b where a missing operand always stays missing; math.Pow would
// answer 1 for NaN^0 and 1^NaN.
func power(a, b float64) float64 {
	if a != a || b != b {
		return math.NaN()
	}
	return math.Pow(a, b)
}

func runUnary(op opcode, dst, a []float64) {
	a = a[:len(dst)]
	switch op {
	case opNeg:
		for i := range dst {
			dst[i] = -a[i]
		}
	case opSqrt:
		for i := range dst {
			dst[i] = math.Sqrt(a[i])
		}
	case opAbs:
		for i := range dst {
			dst[i] = math.Abs(a[i])
		}
	case opExp:
		for i := range dst {
			dst[i] = math.Exp(a[i])
		}
	case opLog:
		for i := range dst {
			dst[i] = math.Log(a[i])
		}
	case opSquare:
		for i := range dst {
			dst[i] = a[i] * a[i]
		}
	}
}

func runBinary(op opcode, dst, a, b []float64) {
	a, b = a[:len(dst)], b[:len(dst)]
	switch op {
	case opAdd:
		for i := range dst {
			dst[i] = a[i] + b[i]
		}
	case opSub:
		for i := range dst {
			dst[i] = a[i] - b[i]
		}
	case opMul:
		for i := range dst {
			dst[i] = a[i] * b[i]
		}
	case opDiv:
		for i := range dst {
			dst[i] = a[i] / b[i]
		}
	case opPow:
		for i := range dst {
			dst[i] = power(a[i], b[i])
		}
	case opMin:
		for i := range dst {
			dst[i] = min(a[i], b[i])
		}
	case opMax:
		for i := range dst {
			dst[i] = max(a[i], b[i])
		}
	}
}

func runConst(op opcode, dst, a []float64, c float64) {
	a = a[:len(dst)]
	switch op {
	case opAddC:
		for i := range dst {
			dst[i] = a[i] + c
		}
	case opSubC:
		for i := range dst {
			dst[i] = a[i] - c
		}
	case opCSub:
		for i := range dst {
			dst[i] = c - a[i]
		}
	case opMulC:
		for i := range dst {
			dst[i] = a[i] * c
		}
	case opDivC:
		for i := range dst {
			dst[i] = a[i] / c
		}
	case opCDiv:
		for i := range dst {
			dst[i] = c / a[i]
		}
	case opPowC:
		for i := range dst {
			dst[i] = power(a[i], c)
		}
	case opCPow:
		for i := range dst {
			dst[i] = power(c, a[i])
		}
	case opMinC:
		for i := range dst {
			dst[i] = min(a[i], c)
		}
	case opMaxC:
		for i := range dst {
			dst[i] = max(a[i], c)
		}
	}
}

// Column is a run of stored pixels of one input.
type Column struct {
	Pix   []float32 // stored values, or nil when Pix64 is used
	Pix64 []float64

	// A value enters the equation as stored*Scale + Offset; Scale 0 means 1.
	Scale, Offset float64

	// NoData, when HasNoData, is the stored value that makes the result missing.
	// NaN always does.
	NoData    float64
	HasNoData bool
}

// Len is the number of pixels.
func (c *Column) Len() int {
	if c.Pix != nil {
		return len(c.Pix)
	}
	return len(c.Pix64)
}

func (c *Column) scale() float64 {
	if c.Scale == 0 {
		return 1
	}
	return c.Scale
}

// missing is the stored value to compare with; NaN, which equals nothing, when
// no value is declared.
func (c *Column) missing() float64 {
	if c.HasNoData {
		return c.NoData
	}
	return math.NaN()
}

// load converts pixels from..from+len(dst) to equation values.
func (c *Column) load(dst []float64, from int) {
	if c.Pix != nil {
		loadFrom(dst, c.Pix[from:], c.scale(), c.Offset, c.missing())
		return
	}
	loadFrom(dst, c.Pix64[from:], c.scale(), c.Offset, c.missing())
}

func loadFrom[T Float](dst []float64, pix []T, scale, offset, missing float64) {
	nd := T(missing)
	pix = pix[:len(dst)]
	for i, p := range pix {
		v := float64(float64(p)*scale) + offset
		if p == nd {
			v = math.NaN()
		}
		dst[i] = v
	}
}

// chunk is the number of pixels that pass through the whole program at a time;
// the registers of an ordinary equation then stay in the first-level cache.
const chunk = 1024

// Evaluator evaluates one expression. It keeps its registers between calls and
// must not be used by two goroutines at once.
type Evaluator struct {
	expr *Expr
	regs [][]float64
}

// NewEvaluator returns an Evaluator for x. Its memory is 8 KiB for each asset
// and each level of nesting.
func (x *Expr) NewEvaluator() *Evaluator {
	ev := &Evaluator{expr: x}
	if x.fused == nil {
		ev.regs = ev.registers()
	}
	return ev
}

func (ev *Evaluator) registers() [][]float64 {
	n := len(ev.expr.vars) + ev.expr.temps
	all := make([]float64, n*chunk)
	regs := make([][]float64, n)
	for i := range regs {
		regs[i] = all[i*chunk : (i+1)*chunk]
	}
	return regs
}

// Eval computes the equation for every pixel, in float64, and stores results as
// float32. Columns come in the order of Vars and have at least len(dst) pixels.
// A result is NaN when an input pixel is missing or when it is not finite, also
// after rounding to float32.
func (ev *Evaluator) Eval(dst []float32, cols []Column) error { return evaluate(ev, dst, cols) }

// Eval64 is Eval without the rounding to float32.
func (ev *Evaluator) Eval64(dst []float64, cols []Column) error { return evaluate(ev, dst, cols) }

func evaluate[T Float](ev *Evaluator, dst []T, cols []Column) error {
	x := ev.expr
	if len(cols) != len(x.vars) {
		return fmt.Errorf("%d columns for the %d assets of an equation", len(cols), len(x.vars))
	}
	fusable := x.fused != nil
	for i := range cols {
		if n := cols[i].Len(); n < len(dst) {
			return fmt.Errorf("column %s has %d pixels, want %d", x.vars[i], n, len(dst))
		}
		fusable = fusable && cols[i].Pix != nil
	}
	if fusable {
		runFused(x.fused, dst, cols)
		return nil
	}
	if ev.regs == nil {
		ev.regs = ev.registers()
	}
	for from := 0; from < len(dst); from += chunk {
		n := min(chunk, len(dst)-from)
		for i := range cols {
			cols[i].load(ev.regs[i][:n], from)
		}
		for _, in := range x.code {
			d, a := ev.regs[in.dst][:n], ev.regs[in.a][:n]
			switch in.op {
			case opNeg, opSqrt, opAbs, opExp, opLog, opSquare:
				runUnary(in.op, d, a)
			case opAdd, opSub, opMul, opDiv, opPow, opMin, opMax:
				runBinary(in.op, d, a, ev.regs[in.b][:n])
			default:
				runConst(in.op, d, a, in.c)
			}
		}
		out := dst[from : from+n]
		if x.out.isNum {
			for i := range out {
				out[i] = finite[T](x.out.num)
			}
			continue
		}
		for i, v := range ev.regs[x.out.reg][:n] {
			out[i] = finite[T](v)
		}
	}
	return nil
}

// finite rounds v and turns infinities into NaN.
func finite[T Float](v float64) T {
	t := T(v)
	if t-t != 0 {
		return T(math.NaN())
	}
	return t
}
