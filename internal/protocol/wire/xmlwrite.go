package wire

import (
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/sagekeep/sagekeep/api/schema"
)

const xmlProlog = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"

// appendEscaped writes text or an attribute value. Bytes and characters that
// XML 1.0 cannot hold become U+FFFD; S3 clients that need such object names ask
// for encoding-type=url.
func appendEscaped(dst []byte, s string) []byte {
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		n, repl := 1, ""
		switch {
		case c == '&':
			repl = "&amp;"
		case c == '<':
			repl = "&lt;"
		case c == '>':
			repl = "&gt;"
		case c == '"':
			repl = "&quot;"
		case c == '\r':
			repl = "&#13;"
		case c == '\n' || c == '\t':
		case c < ' ':
			repl = "\uFFFD"
		case c >= utf8.RuneSelf:
			var r rune
			r, n = utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 || r == 0xFFFE || r == 0xFFFF {
				repl = "\uFFFD"
			}
		}
		if repl != "" {
			dst = append(append(dst, s[start:i]...), repl...)
			start = i + n
		}
		i += n
	}
	return append(dst, s[start:]...)
}

// appendElement writes <name>text</name>.
func appendElement(dst []byte, name, text string) []byte {
	dst = append(append(append(dst, '<'), name...), '>')
	dst = appendEscaped(dst, text)
	return appendEnd(dst, name)
}

func appendEnd(dst []byte, name string) []byte {
	return append(append(append(dst, "</"...), name...), '>')
}

// xmlWriter writes shapes as elements; fraction is the protocol's habit for
// timestamps.
type xmlWriter struct {
	fraction isoFraction
	query    bool // awsQuery: empty lists of the result always show
}

// appendXMLDocument writes a restXml document whose root is the member's
// structure. The namespace is the given one, else the service's.
func appendXMLDocument(dst []byte, op *schema.Operation, root, namespace string, m *schema.Member, v reflect.Value) []byte {
	if namespace == "" {
		namespace = op.Service.XMLNamespace
	}
	w := xmlWriter{fraction: fractionAlways}
	dst = append(dst, xmlProlog...)
	if m.Shape.Text {
		m = &m.Shape.Members[0]
		var ok bool
		if v, ok = held(m.Shape, v.Field(0)); !ok {
			return w.empty(dst, root, namespace)
		}
	}
	return w.element(dst, root, namespace, m, v)
}

// bodyRoot names the root element of a body made of all body members.
func bodyRoot(op *schema.Operation, shape *schema.Shape, output bool) string {
	if shape.XMLName != "" {
		return shape.XMLName
	}
	if !output {
		return op.Name + "Request"
	}
	return strings.TrimSuffix(shape.Name, "Output")
}

// payloadRoot names the root element of a payload member.
func payloadRoot(m *schema.Member) string {
	switch {
	case m.WireName != "":
		return m.WireName
	case m.Shape.XMLName != "":
		return m.Shape.XMLName
	}
	return m.Shape.Name
}

func (w *xmlWriter) empty(dst []byte, name, namespace string) []byte {
	dst = append(append(dst, '<'), name...)
	return append(appendNamespace(dst, namespace), "/>"...)
}

func appendNamespace(dst []byte, namespace string) []byte {
	if namespace == "" {
		return dst
	}
	dst = append(dst, ` xmlns="`...)
	return append(appendEscaped(dst, namespace), '"')
}

// element writes one value that is not behind a pointer as <name>…</name>.
func (w *xmlWriter) element(dst []byte, name, namespace string, m *schema.Member, v reflect.Value) []byte {
	dst = append(append(dst, '<'), name...)
	dst = appendNamespace(dst, namespace)
	shape := m.Shape
	if shape.Kind == schema.Structure {
		dst = w.attributes(dst, m, v)
	}
	open := len(dst)
	dst = append(dst, '>')
	switch shape.Kind {
	case schema.Structure:
		dst = w.members(dst, shape, v, false)
	case schema.List:
		dst = w.items(dst, elemName(shape), shape.Elem, v)
	case schema.Map:
		dst = w.entries(dst, "entry", shape, v)
	default:
		dst = appendEscaped(dst, string(appendText(nil, shape, v, timeFormat(m, schema.TimeISO8601), w.fraction)))
	}
	if len(dst) == open+1 && shape.Kind >= schema.List {
		return append(dst[:open], "/>"...)
	}
	return appendEnd(dst, name)
}

// members writes the body members of a structure. top marks the result of an
// awsQuery operation, where IAM shows empty lists too.
func (w *xmlWriter) members(dst []byte, shape *schema.Shape, v reflect.Value, top bool) []byte {
	for i := range shape.Members {
		m := &shape.Members[i]
		if m.In != schema.InBody || m.XMLAttribute {
			continue
		}
		fv, ok := held(m.Shape, v.Field(i))
		if !ok {
			if w.query && (top || m.Required) && (m.Shape.Kind == schema.List || m.Shape.Kind == schema.Map) {
				dst = w.empty(dst, m.Wire(), "")
			}
			continue
		}
		flat := m.Flattened || m.Shape.Flattened
		switch {
		case flat && m.Shape.Kind == schema.List:
			dst = w.items(dst, flatName(m), m.Shape.Elem, fv)
		case flat && m.Shape.Kind == schema.Map:
			dst = w.entries(dst, m.Wire(), m.Shape, fv)
		default:
			dst = w.element(dst, m.Wire(), "", m, fv)
		}
	}
	return dst
}

// elemName is the element of a list that has a wrapping element.
func elemName(shape *schema.Shape) string {
	if shape.Elem.WireName != "" {
		return shape.Elem.WireName
	}
	return "member"
}

// flatName is the element of a list that has none: the reference's name, else
// the name the list gives its elements.
func flatName(m *schema.Member) string {
	switch {
	case m.WireName != "":
		return m.WireName
	case m.Shape.Elem.WireName != "":
		return m.Shape.Elem.WireName
	}
	return m.Name
}

func (w *xmlWriter) items(dst []byte, name string, elem *schema.Member, v reflect.Value) []byte {
	for i := range v.Len() {
		dst = w.element(dst, name, "", elem, reflect.Indirect(v.Index(i)))
	}
	return dst
}

func (w *xmlWriter) entries(dst []byte, name string, shape *schema.Shape, v reflect.Value) []byte {
	key, value := mapNames(shape)
	for _, k := range sortedKeys(v) {
		dst = append(append(append(dst, '<'), name...), '>')
		dst = appendElement(dst, key, k.String())
		dst = w.element(dst, value, "", shape.Elem, reflect.Indirect(v.MapIndex(k)))
		dst = appendEnd(dst, name)
	}
	return dst
}

func mapNames(shape *schema.Shape) (key, value string) {
	key, value = "key", "value"
	if shape.Key != nil && shape.Key.WireName != "" {
		key = shape.Key.WireName
	}
	if shape.Elem.WireName != "" {
		value = shape.Elem.WireName
	}
	return key, value
}

const xsiNamespace = "http://www.w3.org/2001/XMLSchema-instance"

// attributes writes the attribute members of a structure and declares their
// prefix: S3's Grantee carries xsi:type.
func (w *xmlWriter) attributes(dst []byte, m *schema.Member, v reflect.Value) []byte {
	declared := ""
	for i := range m.Shape.Members {
		a := &m.Shape.Members[i]
		if !a.XMLAttribute {
			continue
		}
		fv, ok := held(a.Shape, v.Field(i))
		if !ok {
			continue
		}
		if prefix, _, found := strings.Cut(a.Wire(), ":"); found && prefix != declared {
			declared = prefix
			dst = append(append(append(dst, " xmlns:"...), prefix...), `="`...)
			dst = append(appendEscaped(dst, prefixNamespace(m, prefix)), '"')
		}
		dst = append(append(append(dst, ' '), a.Wire()...), `="`...)
		dst = appendEscaped(dst, string(appendText(nil, a.Shape, fv, timeFormat(a, schema.TimeISO8601), w.fraction)))
		dst = append(dst, '"')
	}
	return dst
}

func prefixNamespace(m *schema.Member, prefix string) string {
	switch {
	case m.XMLNSPrefix == prefix && m.XMLNS != "":
		return m.XMLNS
	case prefix == "xsi":
		return xsiNamespace
	}
	return m.Shape.XMLNS
}
