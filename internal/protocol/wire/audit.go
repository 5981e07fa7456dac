package wire

import (
	"reflect"
	"strconv"

	"github.com/sagekeep/sagekeep/api/schema"
)

// auditTime is how CloudTrail's request and response elements show instants.
const auditTime = "Jan 2, 2006, 3:04:05 PM"

// AuditView returns a structure the way CloudTrail shows request parameters and
// response elements: member names with a lower-case first letter (KeyId is
// keyId, AWSAccountId is aWSAccountId), instants as UTC text such as "Aug 10,
// 2022, 10:38:27 PM". Blobs, streams, sensitive members, absent members and
// empty texts are left out, but for texts that must be there and may be empty;
// keys of maps stay as sent. It returns nil when
// nothing remains. Values are string, bool, int64, float64, []any and
// map[string]any.
//
// Source: CloudTrail record examples of AWS KMS.
func AuditView(shape *schema.Shape, v any) map[string]any {
	rv, ok := structOf(shape, v)
	if !ok || shape.Sensitive {
		return nil
	}
	return auditStruct(shape, rv)
}

// AppendAuditJSON appends AuditView as JSON text, without building it: an
// object, or null when nothing remains. Members come in the model's order, map
// keys sorted.
func AppendAuditJSON(dst []byte, shape *schema.Shape, v any) []byte {
	rv, ok := structOf(shape, v)
	if !ok || shape.Sensitive {
		return append(dst, "null"...)
	}
	n := len(dst)
	if dst = appendAuditStruct(dst, shape, rv); len(dst) == n+2 {
		dst = append(dst[:n], "null"...)
	}
	return dst
}

// audited returns the value of a member that a record shows.
func audited(m *schema.Member, fv reflect.Value) (reflect.Value, bool) {
	if secret(m) {
		return fv, false
	}
	v, ok := held(m.Shape, fv)
	if !ok || m.Shape.Kind == schema.String && v.Len() == 0 && !sentEmpty(m) {
		return v, false
	}
	return v, true
}

// sentEmpty reports whether an empty text is what was sent: the member must be
// there and may be empty, as the value of a tag.
func sentEmpty(m *schema.Member) bool {
	return m.Required && m.Shape.Min != nil && *m.Shape.Min == 0
}

// secret reports whether a member never shows: blobs, streams and what is
// sensitive, as elements or keys too.
func secret(m *schema.Member) bool {
	if m == nil {
		return false
	}
	s := m.Shape
	if m.Sensitive || s.Sensitive || s.Kind == schema.Blob || s.Streaming {
		return true
	}
	return s.Kind == schema.List && secret(s.Elem) || s.Kind == schema.Map && (secret(s.Key) || secret(s.Elem))
}

func auditStruct(shape *schema.Shape, v reflect.Value) map[string]any {
	var view map[string]any
	for i := range shape.Members {
		m := &shape.Members[i]
		fv, ok := audited(m, v.Field(i))
		if !ok {
			continue
		}
		if view == nil {
			view = make(map[string]any)
		}
		view[lowerFirst(m.Name)] = auditValue(m, fv)
	}
	return view
}

func auditValue(m *schema.Member, v reflect.Value) any {
	switch shape := m.Shape; shape.Kind {
	case schema.Structure:
		if view := auditStruct(shape, v); view != nil {
			return view
		}
		return map[string]any{}
	case schema.List:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = auditValue(shape.Elem, reflect.Indirect(v.Index(i)))
		}
		return list
	case schema.Map:
		view := make(map[string]any, v.Len())
		for it := v.MapRange(); it.Next(); {
			view[it.Key().String()] = auditValue(shape.Elem, reflect.Indirect(it.Value()))
		}
		return view
	case schema.Boolean:
		return v.Bool()
	case schema.Integer, schema.Long:
		return v.Int()
	case schema.Float, schema.Double:
		if f := v.Float(); f-f == 0 {
			return f
		}
		return string(appendFloat(nil, v.Float(), 64))
	case schema.Timestamp:
		return timeOf(v).UTC().Format(auditTime)
	}
	return v.String()
}

func appendAuditStruct(dst []byte, shape *schema.Shape, v reflect.Value) []byte {
	dst = append(dst, '{')
	n := len(dst)
	for i := range shape.Members {
		m := &shape.Members[i]
		fv, ok := audited(m, v.Field(i))
		if !ok {
			continue
		}
		if len(dst) > n {
			dst = append(dst, ',')
		}
		dst = append(appendLowerName(dst, m.Name), ':')
		dst = appendAudit(dst, m, fv)
	}
	return append(dst, '}')
}

// appendLowerName writes a member name, which needs no escapes.
func appendLowerName(dst []byte, name string) []byte {
	dst = append(dst, '"')
	at := len(dst)
	dst = append(dst, name...)
	if c := dst[at]; 'A' <= c && c <= 'Z' {
		dst[at] = c + 'a' - 'A'
	}
	return append(dst, '"')
}

func appendAudit(dst []byte, m *schema.Member, v reflect.Value) []byte {
	switch shape := m.Shape; shape.Kind {
	case schema.Structure:
		return appendAuditStruct(dst, shape, v)
	case schema.List:
		dst = append(dst, '[')
		for i := range v.Len() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendAudit(dst, shape.Elem, reflect.Indirect(v.Index(i)))
		}
		return append(dst, ']')
	case schema.Map:
		dst = append(dst, '{')
		for i, k := range sortedKeys(v) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendJSONString(dst, k.String()), ':')
			dst = appendAudit(dst, shape.Elem, reflect.Indirect(v.MapIndex(k)))
		}
		return append(dst, '}')
	case schema.Boolean:
		return strconv.AppendBool(dst, v.Bool())
	case schema.Integer, schema.Long:
		return strconv.AppendInt(dst, v.Int(), 10)
	case schema.Float, schema.Double:
		// Float widened to float64, so that both forms of the view agree.
		return appendJSONFloat(dst, v.Float(), 64)
	case schema.Timestamp:
		dst = append(dst, '"')
		dst = timeOf(v).UTC().AppendFormat(dst, auditTime)
		return append(dst, '"')
	}
	return appendJSONString(dst, v.String())
}
