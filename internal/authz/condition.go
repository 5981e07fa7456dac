package authz

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"
)

// operand is the type of value an operator compares.
type operand uint8

const (
	operandUnknown operand = iota // an operator nobody knows
	operandString
	operandARN
	operandBool
	operandNumber
	operandDate
	operandBinary
	operandIP
	operandNull
)

// relation is what must hold between the request's value and the policy's.
type relation uint8

const (
	equal relation = iota
	less
	lessOrEqual
	greater
	greaterOrEqual
)

func (r relation) holds(cmp int) bool {
	switch r {
	case equal:
		return cmp == 0
	case less:
		return cmp < 0
	case lessOrEqual:
		return cmp <= 0
	case greater:
		return cmp > 0
	default:
		return cmp >= 0
	}
}

// operator is a condition operator without prefix and suffix.
type operator struct {
	operand  operand
	relation relation
	negated  bool
	like     bool // the policy's value is a pattern
	fold     bool // upper and lower case are one
}

// operatorNamed returns the operator of that exact spelling.
// Source: IAM User Guide, "Condition operators".
func operatorNamed(name string) operator {
	switch name {
	case "StringEquals":
		return operator{operand: operandString}
	case "StringNotEquals":
		return operator{operand: operandString, negated: true}
	case "StringEqualsIgnoreCase":
		return operator{operand: operandString, fold: true}
	case "StringNotEqualsIgnoreCase":
		return operator{operand: operandString, fold: true, negated: true}
	case "StringLike":
		return operator{operand: operandString, like: true}
	case "StringNotLike":
		return operator{operand: operandString, like: true, negated: true}
	case "Bool":
		return operator{operand: operandBool, fold: true}
	case "BinaryEquals":
		return operator{operand: operandBinary}
	case "IpAddress":
		return operator{operand: operandIP}
	case "NotIpAddress":
		return operator{operand: operandIP, negated: true}
	case "ArnEquals", "ArnLike":
		return operator{operand: operandARN, like: true}
	case "ArnNotEquals", "ArnNotLike":
		return operator{operand: operandARN, like: true, negated: true}
	case "Null":
		return operator{operand: operandNull}
	}
	op := operator{}
	rest, ok := strings.CutPrefix(name, "Numeric")
	op.operand = operandNumber
	if !ok {
		rest, ok = strings.CutPrefix(name, "Date")
		op.operand = operandDate
	}
	if !ok {
		return operator{}
	}
	switch rest {
	case "Equals":
		op.relation = equal
	case "NotEquals":
		op.relation, op.negated = equal, true
	case "LessThan":
		op.relation = less
	case "LessThanEquals":
		op.relation = lessOrEqual
	case "GreaterThan":
		op.relation = greater
	case "GreaterThanEquals":
		op.relation = greaterOrEqual
	default:
		return operator{}
	}
	return op
}

// setOperator is the prefix of an operator.
type setOperator uint8

const (
	noSet setOperator = iota
	forAllValues
	forAnyValue
)

// String returns the prefix without its colon.
func (s setOperator) String() string {
	switch s {
	case forAllValues:
		return "ForAllValues"
	case forAnyValue:
		return "ForAnyValue"
	default:
		return ""
	}
}

// condition is one key of one operator, compiled. Only the slice of the
// operator's operand is filled.
type condition struct {
	operator
	set      setOperator
	ifExists bool
	key      string // lower case

	opText  string
	keyText string
	values  []string // as text

	texts   []text
	numbers []decimal
	dates   []instant
	nets    []netip.Prefix
	blobs   [][]byte
	bools   []bool
}

func (g *grammar) conditions(s *statement, n *node, vars bool) *MalformedError {
	if n.kind != nodeObject {
		return g.malformed(faultSyntax, "Condition is no object")
	}
	if n.repeats {
		return g.malformed(faultSyntax, fmt.Sprintf("Condition has %q twice", n.text))
	}
	for op := range n.children() {
		if op.kind != nodeObject {
			return g.malformed(faultSyntax, fmt.Sprintf("Condition %q is no object", op.name))
		}
		if op.repeats {
			return g.malformed(faultSyntax, fmt.Sprintf("Condition %q has %q twice", op.name, op.text))
		}
		shape, known := parseOperator(op.name)
		if !known && !g.anyOperator {
			return g.malformed(faultOperator, fmt.Sprintf("unknown condition operator %q", op.name), op.name)
		}
		if op.len == 0 && !known {
			// Nothing to test, but nothing understood either.
			s.conditions = append(s.conditions, condition{opText: op.name})
		}
		for m := range op.children() {
			c := shape
			c.opText, c.keyText, c.key = op.name, m.name, lower(m.name)
			if i := strings.IndexByte(m.name, ':'); i <= 0 || i == len(m.name)-1 {
				g.note(faultVendor, fmt.Sprintf("condition key %q", m.name))
			}
			if err := g.conditionValues(&c, m, vars); err != nil {
				return err
			}
			s.conditions = append(s.conditions, c)
		}
	}
	return nil
}

// parseOperator reads an operator with its prefix and suffix.
func parseOperator(name string) (condition, bool) {
	var c condition
	rest := name
	if r, ok := strings.CutPrefix(rest, "ForAllValues:"); ok {
		c.set, rest = forAllValues, r
	} else if r, ok := strings.CutPrefix(rest, "ForAnyValue:"); ok {
		c.set, rest = forAnyValue, r
	}
	rest, c.ifExists = strings.CutSuffix(rest, "IfExists")
	c.operator = operatorNamed(rest)
	if c.operand == operandNull && (c.ifExists || c.set != noSet) {
		c.operator = operator{}
	}
	return c, c.operand != operandUnknown
}

func (g *grammar) conditionValues(c *condition, n *node, vars bool) *MalformedError {
	for v := range n.list() {
		if v.kind != nodeString && v.kind != nodeNumber && v.kind != nodeBool {
			return g.malformed(faultSyntax, fmt.Sprintf("condition %s of %q has a value that is no string", c.opText, c.keyText))
		}
		c.values = append(c.values, v.text)
		err := c.add(v.text, vars)
		if err == nil {
			continue
		}
		detail := fmt.Sprintf("condition %s of %q: %v", c.opText, c.keyText, err)
		switch {
		case c.operand == operandDate && g.kind.ofIAM():
			g.note(faultLegacy, detail)
		case c.operand == operandIP:
			return g.malformed(faultAddress, detail)
		default:
			return g.malformed(faultCondition, detail)
		}
	}
	return nil
}

// add compiles one value of the policy.
func (c *condition) add(v string, vars bool) error {
	var err error
	ok := true
	switch c.operand {
	case operandString, operandARN, operandBool:
		wild := wildNone
		if c.like {
			wild = wildPlain
		}
		var t text
		if t, err = compileText(v, vars, wild); err != nil {
			return fmt.Errorf("%q: %w", v, err)
		}
		c.texts = append(c.texts, t)
		ok = c.operand != operandBool || t.parts != nil || isBool(v)
	case operandNumber:
		var d decimal
		d, ok = parseDecimal(v)
		c.numbers = append(c.numbers, d)
	case operandDate:
		var i instant
		i, ok = parseInstant(v)
		c.dates = append(c.dates, i)
	case operandIP:
		var p netip.Prefix
		p, ok = parsePrefix(v)
		c.nets = append(c.nets, p)
	case operandBinary:
		var b []byte
		b, err = base64.StdEncoding.DecodeString(v)
		ok = err == nil
		c.blobs = append(c.blobs, b)
	case operandNull:
		ok = isBool(v)
		c.bools = append(c.bools, strings.EqualFold(v, "true"))
	}
	if !ok {
		return fmt.Errorf("%q is not a value for this operator", v)
	}
	return nil
}

func isBool(v string) bool { return strings.EqualFold(v, "true") || strings.EqualFold(v, "false") }

// parsePrefix reads an address range; a bare address is a range of one.
func parsePrefix(v string) (netip.Prefix, bool) {
	if strings.Contains(v, "/") {
		p, err := netip.ParsePrefix(v)
		return p.Masked(), err == nil
	}
	a, err := netip.ParseAddr(v)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, a.BitLen()), true
}
