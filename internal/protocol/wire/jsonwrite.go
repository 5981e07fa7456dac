package wire

import (
	"encoding/base64"
	"reflect"
	"strconv"
	"unicode/utf8"

	"github.com/sagekeep/sagekeep/api/schema"
)

const hexDigits = "0123456789abcdef"

// appendJSONString writes a quoted string. Bytes that are not UTF-8 become
// U+FFFD; nothing is escaped for HTML.
func appendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			if r, n := utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || n != 1 {
				i += n
				continue
			}
			dst = append(append(dst, s[start:i]...), "\uFFFD"...)
			i++
			start = i
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}

// appendJSONStruct writes the members of a structure. bodyOnly leaves out
// members that travel outside the body.
func appendJSONStruct(dst []byte, shape *schema.Shape, v reflect.Value, bodyOnly bool) []byte {
	dst = append(dst, '{')
	first := true
	for i := range shape.Members {
		m := &shape.Members[i]
		if bodyOnly && m.In != schema.InBody {
			continue
		}
		fv, ok := held(m.Shape, v.Field(i))
		if !ok && (!m.Required || m.Shape.Kind != schema.List) {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(appendJSONString(dst, m.Wire()), ':')
		dst = appendJSON(dst, m, fv)
	}
	return append(dst, '}')
}

// appendJSON writes one value that is not behind a pointer. A nil list is
// written empty: the caller has decided that it must show.
func appendJSON(dst []byte, m *schema.Member, v reflect.Value) []byte {
	shape := m.Shape
	switch shape.Kind {
	case schema.Structure:
		return appendJSONStruct(dst, shape, v, false)
	case schema.List:
		dst = append(dst, '[')
		for i := range v.Len() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendJSON(dst, shape.Elem, reflect.Indirect(v.Index(i)))
		}
		return append(dst, ']')
	case schema.Map:
		dst = append(dst, '{')
		for i, k := range sortedKeys(v) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendJSONString(dst, k.String()), ':')
			dst = appendJSON(dst, shape.Elem, reflect.Indirect(v.MapIndex(k)))
		}
		return append(dst, '}')
	case schema.String:
		return appendJSONString(dst, v.String())
	case schema.Blob:
		if v.Kind() != reflect.Slice {
			return append(dst, "null"...)
		}
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, v.Bytes())
		return append(dst, '"')
	case schema.Boolean:
		return strconv.AppendBool(dst, v.Bool())
	case schema.Integer, schema.Long:
		return strconv.AppendInt(dst, v.Int(), 10)
	case schema.Float, schema.Double:
		return appendJSONFloat(dst, v.Float(), floatBits(shape.Kind))
	case schema.Timestamp:
		f := timeFormat(m, schema.TimeEpoch)
		if f == schema.TimeEpoch {
			return appendEpoch(dst, timeOf(v))
		}
		dst = append(dst, '"')
		dst = appendTime(dst, timeOf(v), f, fractionIfSet)
		return append(dst, '"')
	}
	panic("wire: shape " + shape.Name + " has no kind")
}

// appendJSONFloat writes a number; what JSON has no number for goes as text.
func appendJSONFloat(dst []byte, f float64, bits int) []byte {
	if f-f != 0 { // not a number, or infinite
		dst = append(dst, '"')
		return append(appendFloat(dst, f, bits), '"')
	}
	return appendFloat(dst, f, bits)
}
