package raster

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Limits of an equation.
const (
	maxEquation = 4096 // bytes
	maxNesting  = 64
	maxArgs     = 16
)

// SyntaxError tells where an equation is wrong. Pos counts bytes from 0.
type SyntaxError struct {
	Pos int
	Msg string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("equation, position %d: %s", e.Pos+1, e.Msg) }

// node is a part of a parsed equation.
type node struct {
	op    byte // 'n' number, 'v' variable, 'f' function, '~' negation, else the operator
	text  string
	value float64
	args  []*node
}

// arity gives the least and greatest number of arguments of a function; 0 for a
// name that is none.
func arity(name string) (least, most int) {
	switch name {
	case "sqrt", "abs", "exp", "log":
		return 1, 1
	case "min", "max":
		return 2, maxArgs
	}
	return 0, 0
}

// scanner parses by recursive descent:
//
//	sum     = product { ("+" | "-") product }
//	product = unary { ("*" | "/") unary }
//	unary   = ("-" | "+") unary | power
//	power   = primary [ "^" unary ]
//	primary = number | name | name "(" sum { "," sum } ")" | "(" sum ")"
type scanner struct {
	src   string
	pos   int
	depth int
}

func parseEquation(src string) (*node, error) {
	if len(src) > maxEquation {
		return nil, &SyntaxError{maxEquation, fmt.Sprintf("longer than %d bytes", maxEquation)}
	}
	s := &scanner{src: src}
	n, err := s.sum()
	if err != nil {
		return nil, err
	}
	if c := s.peek(); c != 0 {
		return nil, s.unexpected()
	}
	return n, nil
}

func (s *scanner) fail(format string, args ...any) error {
	return &SyntaxError{s.pos, fmt.Sprintf(format, args...)}
}

func (s *scanner) unexpected() error {
	if s.pos >= len(s.src) {
		return s.fail("unexpected end")
	}
	return s.fail("unexpected %q", []rune(s.src[s.pos:])[0])
}

// peek skips blanks and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	for s.pos < len(s.src) && strings.IndexByte(" \t\r\n", s.src[s.pos]) >= 0 {
		s.pos++
	}
	if s.pos == len(s.src) {
		return 0
	}
	if s.src[s.pos] == 0 {
		return 0xff // a NUL in the text is not the end
	}
	return s.src[s.pos]
}

func (s *scanner) enter() error {
	if s.depth++; s.depth > maxNesting {
		return s.fail("nested more than %d deep", maxNesting)
	}
	return nil
}

func (s *scanner) sum() (*node, error) {
	return s.chain("+-", s.product)
}

func (s *scanner) product() (*node, error) {
	return s.chain("*/", s.unary)
}

func (s *scanner) chain(ops string, operand func() (*node, error)) (*node, error) {
	left, err := operand()
	if err != nil {
		return nil, err
	}
	for {
		c := s.peek()
		if c == 0 || strings.IndexByte(ops, c) < 0 {
			return left, nil
		}
		s.pos++
		right, err := operand()
		if err != nil {
			return nil, err
		}
		left = &node{op: c, args: []*node{left, right}}
	}
}

func (s *scanner) unary() (*node, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer func() { s.depth-- }()
	switch s.peek() {
	case '-':
		s.pos++
		n, err := s.unary()
		if err != nil {
			return nil, err
		}
		return &node{op: '~', args: []*node{n}}, nil
	case '+':
		s.pos++
		return s.unary()
	}
	base, err := s.primary()
	if err != nil || s.peek() != '^' {
		return base, err
	}
	s.pos++
	exponent, err := s.unary()
	if err != nil {
		return nil, err
	}
	return &node{op: '^', args: []*node{base, exponent}}, nil
}

func isLetter(c byte) bool { return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

func (s *scanner) primary() (*node, error) {
	c := s.peek()
	switch {
	case c == '(':
		s.pos++
		n, err := s.sum()
		if err != nil {
			return nil, err
		}
		if s.peek() != ')' {
			return nil, s.unexpected()
		}
		s.pos++
		return n, nil
	case isDigit(c) || c == '.':
		return s.number()
	case isLetter(c):
		return s.name()
	}
	return nil, s.unexpected()
}

func (s *scanner) digits() {
	for s.pos < len(s.src) && isDigit(s.src[s.pos]) {
		s.pos++
	}
}

func (s *scanner) number() (*node, error) {
	start := s.pos
	s.digits()
	if s.pos < len(s.src) && s.src[s.pos] == '.' {
		s.pos++
		s.digits()
	}
	if s.pos < len(s.src) && s.src[s.pos]|0x20 == 'e' {
		s.pos++
		if s.pos < len(s.src) && (s.src[s.pos] == '+' || s.src[s.pos] == '-') {
			s.pos++
		}
		s.digits()
	}
	text := s.src[start:s.pos]
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, &SyntaxError{start, fmt.Sprintf("%q is not a number", text)}
	}
	if s.pos < len(s.src) && (isLetter(s.src[s.pos]) || s.src[s.pos] == '.') {
		return nil, s.unexpected()
	}
	return &node{op: 'n', text: text, value: v}, nil
}

func (s *scanner) name() (*node, error) {
	start := s.pos
	for s.pos < len(s.src) && (isLetter(s.src[s.pos]) || isDigit(s.src[s.pos])) {
		s.pos++
	}
	text := s.src[start:s.pos]
	if s.peek() != '(' {
		return &node{op: 'v', text: text}, nil
	}
	least, most := arity(text)
	if least == 0 {
		return nil, &SyntaxError{start, fmt.Sprintf("no function %q (sqrt, abs, exp, log, min, max)", text)}
	}
	n := &node{op: 'f', text: text}
	for {
		s.pos++
		arg, err := s.sum()
		if err != nil {
			return nil, err
		}
		n.args = append(n.args, arg)
		if len(n.args) > most {
			return nil, s.fail("%s takes at most %d values", text, most)
		}
		switch s.peek() {
		case ',':
			continue
		case ')':
			s.pos++
			if len(n.args) < least {
				return nil, s.fail("%s needs %d values", text, least)
			}
			return n, nil
		}
		return nil, s.unexpected()
	}
}

// precedence orders operators; operands bind tightest.
func (n *node) precedence() int {
	switch n.op {
	case '+', '-':
		return 1
	case '*', '/':
		return 2
	case '~':
		return 3
	case '^':
		return 4
	}
	return 5
}

// write prints the node with as few parentheses as its meaning allows, so that
// the text is never longer than the one that was parsed.
func (n *node) write(b *strings.Builder) {
	operand := func(a *node, least int) {
		if a.precedence() < least {
			b.WriteByte('(')
			a.write(b)
			b.WriteByte(')')
			return
		}
		a.write(b)
	}
	switch n.op {
	case 'n', 'v':
		b.WriteString(n.text)
	case 'f':
		b.WriteString(n.text)
		for i, a := range n.args {
			b.WriteByte("(,"[min(i, 1)])
			a.write(b)
		}
		b.WriteByte(')')
	case '~':
		b.WriteByte('-')
		operand(n.args[0], 3)
	case '^':
		operand(n.args[0], 5)
		b.WriteByte('^')
		operand(n.args[1], 3)
	default:
		p := n.precedence()
		operand(n.args[0], p)
		b.WriteByte(n.op)
		operand(n.args[1], p+1)
	}
}

// vars appends the names of the variables in order of first appearance.
func (n *node) vars(names []string) []string {
	if n.op == 'v' && !slices.Contains(names, n.text) {
		return append(names, n.text)
	}
	for _, a := range n.args {
		names = a.vars(names)
	}
	return names
}

// Compile parses an equation over STAC asset names ([A-Za-z_][A-Za-z0-9_]*)
// with decimal numbers, + - * / ^, unary minus, parentheses and the functions
// sqrt, abs, exp, log (natural), min and max. ^ binds tighter than unary minus
// and to the right, as in -a^2 = -(a^2).
//
// An equation has at most 4096 bytes, 64 levels of nesting and 64 assets.
// Errors match *SyntaxError, except for too many assets.
func Compile(equation string) (*Expr, error) {
	root, err := parseEquation(equation)
	if err != nil {
		return nil, err
	}
	x := &Expr{root: root, vars: root.vars(nil)}
	if len(x.vars) > maxNesting {
		return nil, errors.New("equation names too many assets")
	}
	x.emit()
	x.fused = fusedKernel(x.String(), x.vars)
	return x, nil
}

// Vars returns the asset names in order of first appearance, which is the order
// of the columns of an evaluation. The caller must not change it.
func (x *Expr) Vars() []string { return x.vars }

// String prints the equation in a canonical form that Compile accepts.
func (x *Expr) String() string {
	var b strings.Builder
	x.root.write(&b)
	return b.String()
}
