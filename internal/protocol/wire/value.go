package wire

import (
	"encoding/base64"
	"errors"
	"io"
	"math"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sagekeep/sagekeep/api/schema"
)

// bitset marks members of one structure by index.
type bitset struct {
	low  [2]uint64
	high []uint64
}

func (b *bitset) has(i int) bool {
	if i < 128 {
		return b.low[i>>6]&(1<<(i&63)) != 0
	}
	i -= 128
	return i>>6 < len(b.high) && b.high[i>>6]&(1<<(i&63)) != 0
}

func (b *bitset) set(i int) {
	if i < 128 {
		b.low[i>>6] |= 1 << (i & 63)
		return
	}
	i -= 128
	for i>>6 >= len(b.high) {
		b.high = append(b.high, 0)
	}
	b.high[i>>6] |= 1 << (i & 63)
}

// target returns the value to store into: the field itself, or what a freshly
// allocated pointer points to.
func target(fv reflect.Value) reflect.Value {
	if fv.Kind() != reflect.Pointer {
		return fv
	}
	p := reflect.New(fv.Type().Elem())
	fv.Set(p)
	return p.Elem()
}

// held returns the value a field holds behind its pointer; false when it is
// absent: a nil pointer, slice, map or reader, or an empty enumeration.
func held(shape *schema.Shape, fv reflect.Value) (reflect.Value, bool) {
	switch fv.Kind() {
	case reflect.Pointer:
		if fv.IsNil() {
			return fv, false
		}
		return fv.Elem(), true
	case reflect.Slice, reflect.Map, reflect.Interface:
		return fv, !fv.IsNil()
	case reflect.String:
		return fv, len(shape.Enum) == 0 || fv.Len() > 0
	}
	return fv, true
}

func timeOf(v reflect.Value) time.Time {
	if v.CanAddr() {
		return *v.Addr().Interface().(*time.Time)
	}
	return v.Interface().(time.Time)
}

// setTime needs an addressable v, as all targets are.
func setTime(v reflect.Value, t time.Time) { *v.Addr().Interface().(*time.Time) = t }

func readerOf(v reflect.Value) io.Reader {
	if v.Kind() != reflect.Interface || v.IsNil() {
		return nil
	}
	r, _ := v.Interface().(io.Reader)
	return r
}

// enumString returns s as one of the shape's own strings when it is one, which
// saves a copy.
func enumString(shape *schema.Shape, b []byte) string {
	for _, e := range shape.Enum {
		if string(b) == e {
			return e
		}
	}
	return string(b)
}

// timeFormat is the wire form of a member: its own, else its shape's, else
// what the position implies.
func timeFormat(m *schema.Member, position schema.TimeFormat) schema.TimeFormat {
	if m.Time != schema.TimeDefault {
		return m.Time
	}
	if m.Shape.Time != schema.TimeDefault {
		return m.Shape.Time
	}
	return position
}

// Instants outside the years 1 to 9999 have no text form.
const (
	minEpoch = -62135596800
	maxEpoch = 253402300799
)

var errBadTime = errors.New("not a timestamp")

// epochTime reads seconds since 1970, to the millisecond.
func epochTime(s string) (time.Time, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || f < minEpoch || f > maxEpoch {
		return time.Time{}, errBadTime
	}
	return time.UnixMilli(int64(math.Round(f * 1000))).UTC(), nil
}

// parseTime reads a timestamp in any of the forms clients send: ISO 8601, the
// HTTP date forms, or epoch seconds.
func parseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, errBadTime
	}
	for _, layout := range [...]string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "20060102T150405Z", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return inRange(t)
		}
	}
	if t, err := http.ParseTime(s); err == nil {
		return inRange(t)
	}
	return epochTime(s)
}

func inRange(t time.Time) (time.Time, error) {
	if u := t.Unix(); u < minEpoch || u > maxEpoch {
		return time.Time{}, errBadTime
	}
	return t.UTC(), nil
}

// appendTime writes t in the form f. fraction says how ISO 8601 shows
// milliseconds: S3 always writes three digits, IAM and STS none.
func appendTime(dst []byte, t time.Time, f schema.TimeFormat, fraction isoFraction) []byte {
	t = t.UTC()
	switch f {
	case schema.TimeEpoch:
		return appendEpoch(dst, t)
	case schema.TimeRFC822:
		return t.AppendFormat(dst, http.TimeFormat)
	}
	switch {
	case fraction == fractionAlways, fraction == fractionIfSet && t.Nanosecond() >= int(time.Millisecond):
		return t.AppendFormat(dst, "2006-01-02T15:04:05.000Z")
	}
	return t.AppendFormat(dst, "2006-01-02T15:04:05Z")
}

type isoFraction uint8

const (
	fractionIfSet isoFraction = iota
	fractionAlways
	fractionNever
)

// fractionOf is the protocol's habit for ISO 8601 texts.
func fractionOf(p schema.Protocol) isoFraction {
	switch p {
	case schema.RESTXML:
		return fractionAlways
	case schema.AWSQuery:
		return fractionNever
	}
	return fractionIfSet
}

func appendEpoch(dst []byte, t time.Time) []byte {
	ms := t.UnixMilli()
	if ms < 0 {
		return strconv.AppendFloat(dst, float64(ms)/1000, 'f', -1, 64)
	}
	dst = strconv.AppendInt(dst, ms/1000, 10)
	if f := ms % 1000; f != 0 {
		dst = append(dst, '.', byte('0'+f/100), byte('0'+f/10%10), byte('0'+f%10))
		for dst[len(dst)-1] == '0' {
			dst = dst[:len(dst)-1]
		}
	}
	return dst
}

// appendFloat writes the shortest form that reads back equal; not-a-number and
// the infinities have names.
func appendFloat(dst []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, f, format, -1, bits)
}

func floatBits(k schema.Kind) int {
	if k == schema.Float {
		return 32
	}
	return 64
}

func intBits(k schema.Kind) int {
	if k == schema.Integer {
		return 32
	}
	return 64
}

// appendText writes a scalar as text, for URIs, headers, XML and form fields.
func appendText(dst []byte, shape *schema.Shape, v reflect.Value, tf schema.TimeFormat, fraction isoFraction) []byte {
	switch shape.Kind {
	case schema.String:
		return append(dst, v.String()...)
	case schema.Boolean:
		return strconv.AppendBool(dst, v.Bool())
	case schema.Integer, schema.Long:
		return strconv.AppendInt(dst, v.Int(), 10)
	case schema.Float, schema.Double:
		return appendFloat(dst, v.Float(), floatBits(shape.Kind))
	case schema.Timestamp:
		return appendTime(dst, timeOf(v), tf, fraction)
	case schema.Blob:
		return base64.StdEncoding.AppendEncode(dst, v.Bytes())
	}
	panic("wire: shape " + shape.Name + " has no text form")
}

// textError says that a text does not fit its shape; the codec words it for
// its protocol.
type textError struct{ kind schema.Kind }

func (e *textError) Error() string { return "not " + article(e.kind) }

// setText stores the text form of a scalar into fv. Texts are UTF-8.
func setText(shape *schema.Shape, fv reflect.Value, s string) error {
	bad := &textError{shape.Kind}
	switch shape.Kind {
	case schema.String:
		if !utf8.ValidString(s) {
			return bad
		}
		target(fv).SetString(s)
	case schema.Boolean:
		switch s = strings.TrimSpace(s); {
		case strings.EqualFold(s, "true"):
			target(fv).SetBool(true)
		case strings.EqualFold(s, "false"):
			target(fv).SetBool(false)
		default:
			return bad
		}
	case schema.Integer, schema.Long:
		n, err := strconv.ParseInt(strings.TrimSpace(s), 10, intBits(shape.Kind))
		if err != nil {
			return bad
		}
		target(fv).SetInt(n)
	case schema.Float, schema.Double:
		f, err := parseFloatText(strings.TrimSpace(s), floatBits(shape.Kind))
		if err != nil {
			return bad
		}
		target(fv).SetFloat(f)
	case schema.Timestamp:
		t, err := parseTime(strings.TrimSpace(s))
		if err != nil {
			return bad
		}
		setTime(target(fv), t)
	case schema.Blob:
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return bad
		}
		fv.SetBytes(b)
	default:
		return bad
	}
	return nil
}

// parseFloatText reads a decimal number or one of the three names; unlike
// strconv it takes no hexadecimal, underscore or "inf".
func parseFloatText(s string, bits int) (float64, error) {
	switch s {
	case "NaN":
		return math.NaN(), nil
	case "Infinity":
		return math.Inf(1), nil
	case "-Infinity":
		return math.Inf(-1), nil
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && c != '+' && c != '-' && c != '.' && c != 'e' && c != 'E' {
			return 0, strconv.ErrSyntax
		}
	}
	return strconv.ParseFloat(s, bits)
}

// article names a kind as AWS's error texts do.
func article(k schema.Kind) string {
	switch k {
	case schema.String:
		return "a String"
	case schema.Blob:
		return "a Blob"
	case schema.Boolean:
		return "a Boolean"
	case schema.Integer:
		return "an Integer"
	case schema.Long:
		return "a Long"
	case schema.Float:
		return "a Float"
	case schema.Double:
		return "a Double"
	case schema.Timestamp:
		return "a Timestamp"
	}
	return "a structure or map"
}
