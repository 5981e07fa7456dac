package wire

import (
	"encoding/base64"
	"math"
	"reflect"
	"strconv"

	"github.com/sagekeep/sagekeep/api/schema"
)

// jsonDecoder reads JSON into Go values by shape. With check set it collects
// constraint violations (a server reading a request); without it is lenient
// about values, as a client must be.
type jsonDecoder struct {
	jsonReader
	check *checker
}

// decodeJSONInput reads an awsJson1.1 request. An empty body is an empty object.
func decodeJSONInput(shape *schema.Shape, body []byte, v reflect.Value) error {
	var (
		c   checker
		set bitset
	)
	d := jsonDecoder{jsonReader: jsonReader{b: body}, check: &c}
	if len(body) > 0 {
		if err := d.document(shape, v, &set, false); err != nil {
			return err
		}
	}
	c.structure(shape, v, &set)
	if bad := c.result(); bad != nil {
		return bad.AsError(schema.AWSJSON11)
	}
	return nil
}

// decodeJSON reads a whole JSON text into a struct without checking constraints.
func decodeJSON(shape *schema.Shape, body []byte, v reflect.Value) error {
	d := jsonDecoder{jsonReader: jsonReader{b: body}}
	var set bitset
	return d.document(shape, v, &set, false)
}

// document reads the one object that is the whole text. set receives the
// members found. bodyOnly leaves alone members that travel elsewhere.
func (d *jsonDecoder) document(shape *schema.Shape, v reflect.Value, set *bitset, bodyOnly bool) error {
	if c := d.peek(); c != '{' {
		if err := d.skip(); err != nil {
			return err
		}
		return d.mismatch(c, shape.Kind)
	}
	if err := d.members(shape, v, set, bodyOnly); err != nil {
		return err
	}
	return d.end()
}

// members reads an object into the fields of v.
func (d *jsonDecoder) members(shape *schema.Shape, v reflect.Value, set *bitset, bodyOnly bool) error {
	var (
		seen   bitset
		others nameSet
		next   int
	)
	return d.object(func(name []byte) error {
		i := memberByWire(shape, name, next)
		if i < 0 || bodyOnly && shape.Members[i].In != schema.InBody {
			if !others.add(name) {
				return d.fail("Duplicate member name")
			}
			return d.skip()
		}
		next = i + 1
		if seen.has(i) {
			return d.fail("Duplicate member name")
		}
		seen.set(i)
		if null, err := d.null(); null || err != nil {
			return err
		}
		set.set(i)
		m := &shape.Members[i]
		if d.check != nil {
			d.check.push(i, m.Name)
			defer d.check.pop()
		}
		return d.value(m, v.Field(i))
	})
}

// memberByWire finds a member by its wire name, looking first where the last
// one ended: clients write members in the model's order more often than not.
func memberByWire(shape *schema.Shape, name []byte, from int) int {
	for n := range len(shape.Members) {
		i := from + n
		if i >= len(shape.Members) {
			i -= len(shape.Members)
		}
		if shape.Members[i].Wire() == string(name) {
			return i
		}
	}
	return -1
}

// value reads one non-null value of the member's shape into fv.
func (d *jsonDecoder) value(m *schema.Member, fv reflect.Value) error {
	shape := m.Shape
	c := d.peek()
	switch shape.Kind {
	case schema.Structure:
		if c != '{' {
			return d.mismatchNext(shape.Kind)
		}
		var set bitset
		v := target(fv)
		if err := d.members(shape, v, &set, false); err != nil {
			return err
		}
		if d.check != nil {
			d.check.structure(shape, v, &set)
		}
		return nil
	case schema.List:
		if c != '[' {
			return d.mismatchNext(shape.Kind)
		}
		return d.list(shape, fv)
	case schema.Map:
		if c != '{' {
			return d.mismatchNext(shape.Kind)
		}
		return d.mapping(shape, fv)
	case schema.Boolean:
		switch c {
		case 't':
			target(fv).SetBool(true)
			return d.literal("true")
		case 'f':
			target(fv).SetBool(false)
			return d.literal("false")
		}
	default:
		if c == '"' {
			return d.fromString(m, fv)
		}
		if c == '-' || '0' <= c && c <= '9' {
			return d.fromNumber(m, fv)
		}
	}
	return d.mismatchNext(shape.Kind)
}

func (d *jsonDecoder) fromString(m *schema.Member, fv reflect.Value) error {
	shape := m.Shape
	s, err := d.text()
	if err != nil {
		return err
	}
	switch shape.Kind {
	case schema.String:
		target(fv).SetString(enumString(shape, s))
		return nil
	case schema.Blob:
		if fv.Kind() != reflect.Slice {
			break
		}
		b := make([]byte, base64.StdEncoding.DecodedLen(len(s)))
		n, err := base64.StdEncoding.Decode(b, s)
		if err != nil {
			clear(b)
			return serializationError("The value is not valid base64")
		}
		fv.SetBytes(b[:n])
		return nil
	case schema.Timestamp:
		t, err := parseTime(string(s))
		if err != nil {
			return serializationError("STRING_VALUE can not be converted to a Timestamp")
		}
		setTime(target(fv), t)
		return nil
	case schema.Float, schema.Double:
		switch string(s) {
		case "NaN", "Infinity", "-Infinity":
			f, _ := parseFloatText(string(s), 64)
			target(fv).SetFloat(f)
			return nil
		}
	}
	return d.mismatch('"', shape.Kind)
}

func (d *jsonDecoder) fromNumber(m *schema.Member, fv reflect.Value) error {
	shape := m.Shape
	s, err := d.number()
	if err != nil {
		return err
	}
	bad := serializationError("NUMBER_VALUE can not be converted to %s", article(shape.Kind))
	switch shape.Kind {
	case schema.Integer, schema.Long:
		n, ok := integer(s, intBits(shape.Kind))
		if !ok {
			return bad
		}
		target(fv).SetInt(n)
		return nil
	case schema.Float, schema.Double:
		f, err := strconv.ParseFloat(string(s), floatBits(shape.Kind))
		if err != nil {
			return bad
		}
		target(fv).SetFloat(f)
		return nil
	case schema.Timestamp:
		t, err := epochTime(string(s))
		if err != nil {
			return bad
		}
		setTime(target(fv), t)
		return nil
	}
	return bad
}

// integer reads a JSON number that has no fractional part, "1.0" and "1e3"
// included.
func integer(s []byte, bits int) (int64, bool) {
	if n, err := strconv.ParseInt(string(s), 10, bits); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(string(s), 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) >= 1<<53 || bits == 32 && f != float64(int32(f)) {
		return 0, false
	}
	return int64(f), true
}

// list reads an array. A null element is a violation for a server and left out
// by a client. No more elements are kept than prove the list too long.
func (d *jsonDecoder) list(shape *schema.Shape, fv reflect.Value) error {
	v := target(fv)
	v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	return d.array(func(i int) error {
		n := v.Len()
		if d.check != nil && shape.Max != nil && float64(n) > *shape.Max {
			return d.skip()
		}
		if d.check != nil {
			d.check.pushIndex(i + 1)
			defer d.check.pop()
		}
		null, err := d.null()
		if err != nil {
			return err
		}
		if null {
			if d.check != nil {
				d.check.missing()
			}
			return nil
		}
		if n == v.Cap() {
			v.Grow(1)
		}
		v.SetLen(n + 1)
		v.Index(n).SetZero()
		return d.value(shape.Elem, v.Index(n))
	})
}

// mapping reads an object into a map.
func (d *jsonDecoder) mapping(shape *schema.Shape, fv reflect.Value) error {
	v := target(fv)
	if texts, ok := v.Addr().Interface().(*map[string]string); ok && shape.Elem.Shape.Kind == schema.String {
		*texts = make(map[string]string)
		return d.textMapping(shape, *texts)
	}
	v.Set(reflect.MakeMap(v.Type()))
	elem := reflect.New(v.Type().Elem()).Elem()
	return d.object(func(name []byte) error {
		key := reflect.ValueOf(string(name)).Convert(v.Type().Key())
		if v.MapIndex(key).IsValid() {
			return d.fail("Duplicate member name")
		}
		if null, err := d.nullEntry(name); null || err != nil {
			return err
		}
		if d.check != nil {
			d.check.pushKey(string(name))
			defer d.check.pop()
		}
		elem.SetZero()
		if err := d.value(shape.Elem, elem); err != nil {
			return err
		}
		v.SetMapIndex(key, elem)
		return nil
	})
}

func (d *jsonDecoder) textMapping(shape *schema.Shape, texts map[string]string) error {
	return d.object(func(name []byte) error {
		if _, ok := texts[string(name)]; ok {
			return d.fail("Duplicate member name")
		}
		if null, err := d.nullEntry(name); null || err != nil {
			return err
		}
		if d.peek() != '"' {
			return d.mismatchNext(schema.String)
		}
		s, err := d.text()
		if err != nil {
			return err
		}
		texts[string(name)] = enumString(shape.Elem.Shape, s)
		return nil
	})
}

// nullEntry consumes the null value of a map entry, if it is one.
func (d *jsonDecoder) nullEntry(name []byte) (bool, error) {
	null, err := d.null()
	if null && err == nil && d.check != nil {
		d.check.pushKey(string(name))
		d.check.missing()
		d.check.pop()
	}
	return null, err
}

// mismatchNext reports that the next value has the wrong type, or is no JSON at all.
func (d *jsonDecoder) mismatchNext(want schema.Kind) error {
	c := d.peek()
	if err := d.skip(); err != nil {
		return err
	}
	return d.mismatch(c, want)
}

// mismatch words a wrong JSON type as AWS does; c is the value's first byte.
func (d *jsonDecoder) mismatch(c byte, want schema.Kind) error {
	switch {
	case c == '{' && want != schema.Structure && want != schema.Map:
		return serializationError("Start of structure or map found where not expected.")
	case c == '[' && want != schema.List:
		return serializationError("Start of list found where not expected.")
	case want == schema.List:
		return serializationError("Expected list or null")
	case want == schema.Structure || want == schema.Map:
		return serializationError("Unexpected field type")
	}
	token := "NUMBER_VALUE"
	switch c {
	case '"':
		token = "STRING_VALUE"
	case 't':
		token = "TRUE_VALUE"
	case 'f':
		token = "FALSE_VALUE"
	}
	return serializationError("%s can not be converted to %s", token, article(want))
}
