package wire

import (
	"cmp"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sagekeep/sagekeep/api/schema"
)

// Violations is the outcome of a constraint check: at least one broken rule.
type Violations struct{ texts []string }

// Count returns how many rules are broken.
func (v *Violations) Count() int { return len(v.texts) }

// Error returns AWS's wording: "1 validation error detected: Value 'x' at
// 'keyId' failed to satisfy constraint: …", several joined by "; ".
func (v *Violations) Error() string {
	plural := ""
	if len(v.texts) != 1 {
		plural = "s"
	}
	return strconv.Itoa(len(v.texts)) + " validation error" + plural + " detected: " + strings.Join(v.texts, "; ")
}

// AsError returns the API error of the protocol: ValidationException, or
// ValidationError in awsQuery, with status 400.
func (v *Violations) AsError(p schema.Protocol) *schema.Error {
	code := "ValidationException"
	if p == schema.AWSQuery {
		code = "ValidationError"
	}
	return schema.NewError(code, 400, "%s", v.Error())
}

// Validate checks a Go value, a pointer to the struct of shape, against the
// constraints of the model and returns nil when it meets them. It is for callers
// that build inputs in process: a required scalar that is held by value counts
// as present, because only a decoder can tell.
func Validate(shape *schema.Shape, in any) *Violations {
	v, ok := structOf(shape, in)
	if !ok {
		return nil
	}
	c := checker{deep: true}
	c.structure(shape, v, nil)
	return c.result()
}

// maxViolations bounds the texts collected from one request.
const maxViolations = 64

// checker collects violations while a decoder walks an input. The decoder keeps
// path at where it stands; structures are checked as they close.
type checker struct {
	path  []step
	found []violation
	deep  bool // recurse into structures: no decoder does it for us
}

// step is one part of a member path: a member, or an element of a list (index
// from 1) or map (key).
type step struct {
	order  int
	name   string
	member bool
}

type violation struct {
	order []int
	text  string
}

func (c *checker) push(order int, name string) {
	c.path = append(c.path, step{order, name, true})
}

func (c *checker) pushIndex(i int) {
	c.path = append(c.path, step{order: i})
}

func (c *checker) pushKey(key string) {
	c.path = append(c.path, step{name: key})
}

func (c *checker) pop() { c.path = c.path[:len(c.path)-1] }

// result returns what was found, in the order of the model's members.
func (c *checker) result() *Violations {
	if len(c.found) == 0 {
		return nil
	}
	slices.SortStableFunc(c.found, func(a, b violation) int { return slices.Compare(a.order, b.order) })
	v := &Violations{}
	for _, f := range c.found {
		v.texts = append(v.texts, f.text)
	}
	return v
}

func (c *checker) location() string {
	var b strings.Builder
	for i, s := range c.path {
		if i > 0 {
			b.WriteByte('.')
		}
		switch {
		case s.member:
			b.WriteString(lowerFirst(s.name))
		case s.name != "":
			b.WriteString(s.name + ".member")
		default:
			b.WriteString(strconv.Itoa(s.order) + ".member")
		}
	}
	return b.String()
}

// lowerFirst is how CloudTrail records and constraint texts spell member names:
// KeyId is keyId, AWSAccountId is aWSAccountId.
func lowerFirst(s string) string {
	if s == "" || s[0] >= utf8.RuneSelf || !unicode.IsUpper(rune(s[0])) {
		return s
	}
	return string(s[0]+'a'-'A') + s[1:]
}

// add records that the value at the current path breaks a rule. An invalid v
// stands for null.
func (c *checker) add(shape *schema.Shape, sensitive bool, v reflect.Value, rule string) {
	if len(c.found) >= maxViolations {
		return
	}
	value := "Value"
	switch {
	case !v.IsValid():
		value = "Value null"
	case !sensitive && !holdsSensitive(shape, nil):
		value = "Value '" + limited(renderValue(shape, v)) + "'"
	}
	order := make([]int, len(c.path))
	for i, s := range c.path {
		order[i] = s.order
	}
	c.found = append(c.found, violation{order, value + " at '" + c.location() + "' failed to satisfy constraint: " + rule})
}

func (c *checker) missing() { c.add(nil, false, reflect.Value{}, "Member must not be null") }

// structure checks the members of one structure. set says which were present;
// nil means to judge by the Go values.
func (c *checker) structure(shape *schema.Shape, v reflect.Value, set *bitset) {
	members := 0
	for i := range shape.Members {
		m := &shape.Members[i]
		fv := v.Field(i)
		present := false
		if set != nil {
			present = set.has(i)
		} else {
			_, present = held(m.Shape, fv)
		}
		if !present {
			if m.Required {
				c.push(i, m.Name)
				c.missing()
				c.pop()
			}
			continue
		}
		members++
		if !c.deep && !constrained(m.Shape) {
			continue
		}
		if fv.Kind() == reflect.Pointer {
			if fv.IsNil() {
				continue
			}
			fv = fv.Elem()
		}
		c.push(i, m.Name)
		c.value(m.Shape, m.Sensitive || m.Shape.Sensitive, fv)
		c.pop()
	}
	if shape.Union && members != 1 {
		c.add(shape, true, v, "Member must have exactly one member set")
	}
}

// constrained reports whether value would look at anything in the shape.
func constrained(s *schema.Shape) bool {
	switch s.Kind {
	case schema.List, schema.Map:
		return true
	case schema.Structure:
		return false
	}
	return s.Min != nil || s.Max != nil || s.Pattern != "" || len(s.Enum) > 0
}

// value checks one value that is present and not behind a pointer.
func (c *checker) value(shape *schema.Shape, sensitive bool, v reflect.Value) {
	switch shape.Kind {
	case schema.Structure:
		if c.deep {
			c.structure(shape, v, nil)
		}
	case schema.List:
		c.length(shape, sensitive, v, v.Len())
		c.elements(shape, sensitive, v)
	case schema.Map:
		c.length(shape, sensitive, v, v.Len())
		c.entries(shape, sensitive, v)
	default:
		c.scalar(shape, sensitive, v)
	}
}

func (c *checker) length(shape *schema.Shape, sensitive bool, v reflect.Value, n int) {
	if shape.Max != nil && float64(n) > *shape.Max {
		c.add(shape, sensitive, v, maxRule(shape))
	}
	if shape.Min != nil && float64(n) < *shape.Min {
		c.add(shape, sensitive, v, minRule(shape))
	}
}

func (c *checker) scalar(shape *schema.Shape, sensitive bool, v reflect.Value) {
	switch shape.Kind {
	case schema.String:
		s := v.String()
		if shape.Min != nil || shape.Max != nil {
			c.length(shape, sensitive, v, utf8.RuneCountInString(s))
		}
		if !shape.Matches(s) {
			c.add(shape, sensitive, v, patternRule(shape))
		}
		if len(shape.Enum) > 0 && !slices.Contains(shape.Enum, s) {
			c.add(shape, sensitive, v, enumRule(shape))
		}
	case schema.Blob:
		if v.Kind() == reflect.Slice {
			c.length(shape, sensitive, v, v.Len())
		}
	case schema.Integer, schema.Long, schema.Float, schema.Double:
		n := numberOf(v)
		if shape.Max != nil && n > *shape.Max {
			c.add(shape, sensitive, v, maxRule(shape))
		}
		if shape.Min != nil && n < *shape.Min {
			c.add(shape, sensitive, v, minRule(shape))
		}
	}
}

func numberOf(v reflect.Value) float64 {
	if v.CanInt() {
		return float64(v.Int())
	}
	return v.Float()
}

// satisfied reports whether a scalar breaks no rule.
func satisfied(shape *schema.Shape, v reflect.Value) bool {
	n := 0.0
	switch shape.Kind {
	case schema.String:
		s := v.String()
		if !shape.Matches(s) || len(shape.Enum) > 0 && !slices.Contains(shape.Enum, s) {
			return false
		}
		if shape.Min == nil && shape.Max == nil {
			return true
		}
		n = float64(utf8.RuneCountInString(s))
	case schema.Blob:
		n = float64(v.Len())
	case schema.Integer, schema.Long, schema.Float, schema.Double:
		n = numberOf(v)
	default:
		return true
	}
	return (shape.Max == nil || n <= *shape.Max) && (shape.Min == nil || n >= *shape.Min)
}

// elements checks a list. What a scalar element breaks is told once, at the
// list, with every rule of the element, as AWS does.
func (c *checker) elements(shape *schema.Shape, sensitive bool, v reflect.Value) {
	e := shape.Elem.Shape
	sensitive = sensitive || shape.Elem.Sensitive || e.Sensitive
	switch {
	case e.Kind == schema.Structure && !c.deep:
	case e.Kind == schema.Structure || e.Kind == schema.List || e.Kind == schema.Map:
		for i := range v.Len() {
			c.pushIndex(i + 1)
			c.value(e, sensitive, reflect.Indirect(v.Index(i)))
			c.pop()
		}
	case constrained(e):
		for i := range v.Len() {
			if !satisfied(e, v.Index(i)) {
				c.add(shape, sensitive, v, "Member must satisfy constraint: ["+rules(e)+"]")
				return
			}
		}
	}
}

func (c *checker) entries(shape *schema.Shape, sensitive bool, v reflect.Value) {
	k, e := shape.Key.Shape, shape.Elem.Shape
	sensitive = sensitive || k.Sensitive || e.Sensitive || shape.Key.Sensitive || shape.Elem.Sensitive
	nested := e.Kind == schema.List || e.Kind == schema.Map || e.Kind == schema.Structure && c.deep
	if !nested && !constrained(e) && !constrained(k) {
		return
	}
	badKey, badValue := false, false
	for it := v.MapRange(); it.Next(); {
		badKey = badKey || !satisfied(k, it.Key())
		if nested {
			c.pushKey(it.Key().String())
			c.value(e, sensitive, reflect.Indirect(it.Value()))
			c.pop()
			continue
		}
		badValue = badValue || !satisfied(e, it.Value())
	}
	if badKey {
		c.add(shape, sensitive, v, "Map keys must satisfy constraint: ["+rules(k)+"]")
	}
	if badValue {
		c.add(shape, sensitive, v, "Map value must satisfy constraint: ["+rules(e)+"]")
	}
}

// rules lists every rule of a scalar shape.
func rules(s *schema.Shape) string {
	var all []string
	if s.Max != nil {
		all = append(all, maxRule(s))
	}
	if s.Min != nil {
		all = append(all, minRule(s))
	}
	if s.Pattern != "" {
		all = append(all, patternRule(s))
	}
	if len(s.Enum) > 0 {
		all = append(all, enumRule(s))
	}
	return strings.Join(all, ", ")
}

func maxRule(s *schema.Shape) string {
	return "Member must have " + measure(s) + " less than or equal to " + plain(*s.Max)
}

func minRule(s *schema.Shape) string {
	return "Member must have " + measure(s) + " greater than or equal to " + plain(*s.Min)
}

func patternRule(s *schema.Shape) string {
	return "Member must satisfy regular expression pattern: " + s.Pattern
}

func enumRule(s *schema.Shape) string {
	return "Member must satisfy enum value set: [" + strings.Join(s.Enum, ", ") + "]"
}

func measure(s *schema.Shape) string {
	switch s.Kind {
	case schema.Integer, schema.Long, schema.Float, schema.Double:
		return "value"
	}
	return "length"
}

func plain(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// holdsSensitive reports whether a shape or anything below it is sensitive.
func holdsSensitive(s *schema.Shape, seen map[*schema.Shape]bool) bool {
	if s == nil || seen[s] {
		return false
	}
	if s.Sensitive {
		return true
	}
	if s.Kind < schema.List {
		return false
	}
	if seen == nil {
		seen = make(map[*schema.Shape]bool)
	}
	seen[s] = true
	for i := range s.Members {
		if s.Members[i].Sensitive || holdsSensitive(s.Members[i].Shape, seen) {
			return true
		}
	}
	for _, m := range [...]*schema.Member{s.Key, s.Elem} {
		if m != nil && (m.Sensitive || holdsSensitive(m.Shape, seen)) {
			return true
		}
	}
	return false
}

// maxShown is how much of a bad value an error text repeats, in bytes.
const maxShown = 4096

func limited(s string) string {
	if len(s) <= maxShown {
		return s
	}
	cut := maxShown
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "..."
}

// renderValue shows a value the way AWS's texts do, which is Java's: lists in
// brackets, maps in braces, structures as Name(member=value).
func renderValue(shape *schema.Shape, v reflect.Value) string {
	return string(appendRendered(nil, shape, v))
}

func appendRendered(b []byte, shape *schema.Shape, v reflect.Value) []byte {
	if len(b) > maxShown {
		return b
	}
	if shape.Kind != schema.String || v.Kind() == reflect.Pointer {
		var ok bool
		if v, ok = held(shape, v); !ok {
			return append(b, "null"...)
		}
	}
	switch shape.Kind {
	case schema.Blob:
		n := 0
		if v.Kind() == reflect.Slice {
			n = v.Len()
		}
		size := strconv.Itoa(n)
		return append(b, "java.nio.HeapByteBuffer[pos=0 lim="+size+" cap="+size+"]"...)
	case schema.List:
		b = append(b, '[')
		for i := range v.Len() {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = appendRendered(b, shape.Elem.Shape, v.Index(i))
		}
		return append(b, ']')
	case schema.Map:
		b = append(b, '{')
		for i, k := range sortedKeys(v) {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = append(append(b, k.String()...), '=')
			b = appendRendered(b, shape.Elem.Shape, v.MapIndex(k))
		}
		return append(b, '}')
	case schema.Structure:
		b = append(append(b, shape.Name...), '(')
		sep := ""
		for i := range shape.Members {
			m := &shape.Members[i]
			if _, ok := held(m.Shape, v.Field(i)); !ok {
				continue
			}
			b = append(append(append(b, sep...), lowerFirst(m.Name)...), '=')
			b = appendRendered(b, m.Shape, v.Field(i))
			sep = ", "
		}
		return append(b, ')')
	}
	return appendText(b, shape, v, schema.TimeISO8601, fractionIfSet)
}

// sortedKeys returns the keys of a map with string keys in order.
func sortedKeys(v reflect.Value) []reflect.Value {
	keys := v.MapKeys()
	if len(keys) > 1 {
		slices.SortFunc(keys, func(a, b reflect.Value) int { return cmp.Compare(a.String(), b.String()) })
	}
	return keys
}
