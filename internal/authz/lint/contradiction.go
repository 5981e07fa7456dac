package lint

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/sagekeep/sagekeep/internal/authz/catalog"
)

// maxConditions bounds how many conditions are compared with each other.
const maxConditions = 100

// checkContradictions reports conditions of one statement that no request meets
// together: all conditions must hold.
func (c *checker) checkContradictions(s *statement) {
	if len(s.conditions) > maxConditions {
		return
	}
	for i := range s.conditions {
		a := &s.conditions[i]
		for j := range i {
			b := &s.conditions[j]
			if why := c.contradict(a, b); why != "" {
				c.report(s, a.keyAt, Error, ContradictingConditions, fmt.Sprintf("%s %s and %s %s never hold together: %s", b.opText, b.key, a.opText, a.key, why), "")
			}
		}
		c.aroundVia(s, a)
	}
	c.emptyRange(s)
}

// plain reports whether the condition compares the one value of its key.
func (d *condition) plain() bool {
	return d.set == "" && !d.ifExists && d.name != "Null" && len(d.values) > 0
}

// contradict says why two conditions never hold together, or "".
func (c *checker) contradict(a, b *condition) string {
	if !strings.EqualFold(a.key, b.key) || len(a.values) == 0 || len(b.values) == 0 {
		return ""
	}
	if a.name == "Null" || b.name == "Null" {
		null, other := a, b
		if b.name == "Null" {
			null, other = b, a
		}
		switch {
		case other.name == "Null":
			if null.nullAllows(true) && null.nullAllows(false) || other.nullAllows(true) && other.nullAllows(false) || null.nullAllows(true) == other.nullAllows(true) {
				return ""
			}
			return "the key cannot be absent and present"
		case !null.nullAllows(false) && null.nullAllows(true) && other.needsKey():
			return "the one wants the key absent, the other compares it"
		}
		return ""
	}
	if k, ok := catalog.KeyNamed(a.key); ok && k.Multi || !a.plain() || !b.plain() {
		return ""
	}
	switch {
	case isText(a) && isText(b):
		return c.contradictTexts(a, b)
	case isNetwork(a) && isNetwork(b):
		return contradictNetworks(a, b)
	}
	return ""
}

func isText(d *condition) bool {
	return strings.HasPrefix(d.name, "String") || strings.HasPrefix(d.name, "Arn") || d.name == "Bool"
}

func isNetwork(d *condition) bool { return strings.HasSuffix(d.name, "IpAddress") }

func (c *checker) contradictTexts(a, b *condition) string {
	if a.negated() && b.negated() {
		return ""
	}
	fold := func(p pattern) pattern { return p }
	if strings.HasSuffix(a.name, "IgnoreCase") || strings.HasSuffix(b.name, "IgnoreCase") || a.name == "Bool" || b.name == "Bool" {
		fold = pattern.fold
	}
	all := func(d *condition) []pattern {
		var out []pattern
		for _, v := range d.values {
			out = append(out, fold(d.compiled(v.text, c.variables())))
		}
		return out
	}
	if !a.negated() && !b.negated() {
		for _, p := range all(a) {
			if slices.ContainsFunc(all(b), func(q pattern) bool { return overlap(p, q) }) {
				return ""
			}
		}
		return "no value suits both"
	}
	if a.negated() {
		a, b = b, a // b excludes
	}
	if c.variables() && slices.ContainsFunc(b.values, func(v entry) bool { return strings.Contains(v.text, "${") }) {
		return ""
	}
	if strings.HasSuffix(a.name, "IgnoreCase") && !strings.HasSuffix(b.name, "IgnoreCase") {
		return "" // another spelling may be left
	}
	out := all(b)
	for _, p := range all(a) {
		if !slices.ContainsFunc(out, func(q pattern) bool { return covers(q, p) }) {
			return ""
		}
	}
	return "the one excludes every value that the other takes"
}

func contradictNetworks(a, b *condition) string {
	if a.negated() && b.negated() {
		return ""
	}
	if a.negated() {
		a, b = b, a
	}
	for _, v := range a.values {
		p, ok := network(v.text)
		if !ok {
			return ""
		}
		hit := false
		for _, w := range b.values {
			q, ok := network(w.text)
			if !ok {
				return ""
			}
			if b.negated() {
				hit = hit || q.Overlaps(p) && q.Bits() <= p.Bits() // p lies in q
			} else {
				hit = hit || p.Overlaps(q)
			}
		}
		if hit != b.negated() {
			return ""
		}
	}
	if b.negated() {
		return "the one excludes every address that the other takes"
	}
	return "no address lies in both"
}

// decimal reads a number; authz has checked it.
func decimal(v string) float64 {
	f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
	if err != nil {
		return math.NaN()
	}
	return f
}

// bounds are what numbers or dates of one key must lie between.
type bounds struct {
	low, high float64
	openLow   bool
	openHigh  bool
}

// narrow takes a condition in; ok is false for one that sets no bound.
func (b *bounds) narrow(d *condition) bool {
	rest, date := strings.CutPrefix(d.name, "Date")
	if !date {
		var numeric bool
		if rest, numeric = strings.CutPrefix(d.name, "Numeric"); !numeric {
			return false
		}
	}
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range d.values {
		f := decimal(v.text)
		if date {
			var ok bool
			if f, ok = instant(v.text); !ok {
				return false
			}
		}
		if math.IsNaN(f) {
			return false
		}
		low, high = min(low, f), max(high, f)
	}
	switch rest {
	case "Equals":
		b.above(low, false)
		b.below(high, false)
	case "LessThan":
		b.below(high, true)
	case "LessThanEquals":
		b.below(high, false)
	case "GreaterThan":
		b.above(low, true)
	case "GreaterThanEquals":
		b.above(low, false)
	default:
		return false
	}
	return true
}

func (b *bounds) above(f float64, open bool) {
	if f > b.low || f == b.low && open {
		b.low, b.openLow = f, open
	}
}

func (b *bounds) below(f float64, open bool) {
	if f < b.high || f == b.high && open {
		b.high, b.openHigh = f, open
	}
}

// emptyRange reports numbers and dates that nothing lies between.
func (c *checker) emptyRange(s *statement) {
	ranges := map[string]*bounds{}
	for i := range s.conditions {
		d := &s.conditions[i]
		if !d.plain() {
			continue
		}
		key := strings.ToLower(d.key)
		b := ranges[key]
		if b == nil {
			b = &bounds{low: math.Inf(-1), high: math.Inf(1)}
			ranges[key] = b
		}
		if b.narrow(d) && (b.low > b.high || b.low == b.high && (b.openLow || b.openHigh)) {
			c.report(s, d.keyAt, Error, ContradictingConditions, fmt.Sprintf("no value of %s meets %s and the conditions before it", d.key, d.opText), "")
			delete(ranges, key)
		}
	}
}

// aroundVia reports conditions that contradict kms:ViaService: it is there when a
// service passes a request on, and then other keys are not.
//
// Source: IAM User Guide, "Forward access sessions", "AWS global condition
// context keys" on availability.
func (c *checker) aroundVia(s *statement, via *condition) {
	if !via.is("kms:ViaService") || !via.needsKey() {
		return
	}
	for i := range s.conditions {
		d := &s.conditions[i]
		says := func(v string) bool {
			return d.name == "Bool" && !d.ifExists && len(d.values) == 1 && strings.EqualFold(d.values[0].text, v)
		}
		why := ""
		severity := Error
		switch {
		case d.is("aws:ViaAWSService") && says("false"):
			why = "a request with kms:ViaService comes through a service"
		case d.is("aws:PrincipalIsAWSService") && says("true"):
			why = "kms:ViaService is there when a service acts for somebody else, not as itself"
		case (d.is("aws:SourceArn") || d.is("aws:SourceAccount") || d.is("aws:PrincipalServiceName")) && d.needsKey():
			why = "kms:ViaService is there when a service acts for somebody else, " + d.key + " when it acts as itself"
		case (d.is("aws:SourceIp") || d.is("aws:SourceVpc") || d.is("aws:SourceVpce") || d.is("aws:VpcSourceIp")) && d.needsKey():
			severity = Warning
			why = "a request that comes through a service does not hold the caller's address or endpoint"
		}
		if why != "" {
			c.report(s, d.keyAt, severity, ContradictingConditions, fmt.Sprintf("%s and kms:ViaService do not go together: %s", d.key, why), "")
		}
	}
}
