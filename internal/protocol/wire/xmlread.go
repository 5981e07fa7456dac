package wire

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"reflect"
	"strings"

	"github.com/sagekeep/sagekeep/api/schema"
)

// errXML is any fault in a document; the protocol words it.
var errXML = errors.New("not the expected XML")

func malformedXML(cause error) error {
	return schema.NewError("MalformedXML", 400, "%s",
		"The XML you provided was not well-formed or did not validate against our published schema").Because(cause)
}

// xmlReader reads shapes from elements with the standard token decoder: no
// document type, no entities beyond the five of XML, UTF-8 only, bounded depth.
type xmlReader struct {
	d      *xml.Decoder
	depth  int
	strict bool // a server: refuse repeated elements and stray text
}

func newXMLReader(body []byte, strict bool) *xmlReader {
	return &xmlReader{d: xml.NewDecoder(bytes.NewReader(body)), strict: strict}
}

// token returns the next start, end or text token.
func (x *xmlReader) token() (xml.Token, error) {
	for {
		t, err := x.d.Token()
		if err != nil {
			return nil, err
		}
		switch t := t.(type) {
		case xml.StartElement:
			if x.depth++; x.depth > maxDepth {
				return nil, errXML
			}
			return t, nil
		case xml.EndElement:
			x.depth--
			return t, nil
		case xml.CharData:
			return t, nil
		case xml.Directive:
			return nil, errXML
		}
	}
}

// root returns the first element.
func (x *xmlReader) root() (xml.StartElement, error) {
	for {
		t, err := x.token()
		if err != nil {
			return xml.StartElement{}, err
		}
		switch t := t.(type) {
		case xml.StartElement:
			return t, nil
		case xml.CharData:
			if !blank(t) {
				return xml.StartElement{}, errXML
			}
		}
	}
}

// end refuses anything behind the root element.
func (x *xmlReader) end() error {
	for {
		t, err := x.token()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		if text, ok := t.(xml.CharData); !ok || !blank(text) {
			return errXML
		}
	}
}

func blank(b []byte) bool { return len(bytes.TrimLeft(b, " \t\r\n\ufeff")) == 0 }

// text reads the rest of an element that holds only text.
func (x *xmlReader) text() (string, error) {
	var b []byte
	for {
		t, err := x.token()
		if err != nil {
			return "", err
		}
		switch t := t.(type) {
		case xml.CharData:
			b = append(b, t...)
		case xml.StartElement:
			return "", errXML
		case xml.EndElement:
			return string(b), nil
		}
	}
}

// skip reads over the rest of an element.
func (x *xmlReader) skip() error {
	for level := 1; level > 0; {
		t, err := x.token()
		if err != nil {
			return err
		}
		switch t.(type) {
		case xml.StartElement:
			level++
		case xml.EndElement:
			level--
		}
	}
	return nil
}

// children calls child for each element up to the end of the current one.
func (x *xmlReader) children(child func(xml.StartElement) error) error {
	for {
		t, err := x.token()
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.StartElement:
			if err := child(t); err != nil {
				return err
			}
		case xml.EndElement:
			return nil
		case xml.CharData:
			if x.strict && !blank(t) {
				return errXML
			}
		}
	}
}

// value reads the element just opened into fv.
func (x *xmlReader) value(m *schema.Member, start xml.StartElement, fv reflect.Value) error {
	switch shape := m.Shape; shape.Kind {
	case schema.Structure:
		v := target(fv)
		var set bitset
		if err := x.attributes(shape, start, v, &set); err != nil {
			return err
		}
		return x.structure(shape, v, &set)
	case schema.List:
		v := target(fv)
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		name := elemName(shape)
		return x.children(func(s xml.StartElement) error {
			if s.Name.Local != name {
				return x.skip()
			}
			return x.item(shape.Elem, s, v)
		})
	case schema.Map:
		v := target(fv)
		v.Set(reflect.MakeMap(v.Type()))
		return x.children(func(s xml.StartElement) error {
			if s.Name.Local != "entry" {
				return x.skip()
			}
			return x.entry(shape, v)
		})
	default:
		s, err := x.text()
		if err != nil {
			return err
		}
		if s == "" && !x.strict && shape.Kind != schema.String && shape.Kind != schema.Blob {
			return nil
		}
		if err := setText(shape, fv, s); err != nil {
			return errXML
		}
		return nil
	}
}

func (x *xmlReader) item(elem *schema.Member, start xml.StartElement, list reflect.Value) error {
	n := list.Len()
	if n == list.Cap() {
		list.Grow(1)
	}
	list.SetLen(n + 1)
	list.Index(n).SetZero()
	return x.value(elem, start, list.Index(n))
}

// entry reads one <entry>, or one flattened element, of a map.
func (x *xmlReader) entry(shape *schema.Shape, m reflect.Value) error {
	keyName, valueName := mapNames(shape)
	var key string
	found := 0
	elem := reflect.New(m.Type().Elem()).Elem()
	err := x.children(func(s xml.StartElement) error {
		var err error
		switch s.Name.Local {
		case keyName:
			found |= 1
			key, err = x.text()
		case valueName:
			found |= 2
			err = x.value(shape.Elem, s, elem)
		default:
			err = x.skip()
		}
		return err
	})
	if err != nil {
		return err
	}
	if found != 3 {
		return errXML
	}
	m.SetMapIndex(reflect.ValueOf(key).Convert(m.Type().Key()), elem)
	return nil
}

func (x *xmlReader) attributes(shape *schema.Shape, start xml.StartElement, v reflect.Value, set *bitset) error {
	for i := range shape.Members {
		m := &shape.Members[i]
		if !m.XMLAttribute {
			continue
		}
		prefix, local, found := strings.Cut(m.Wire(), ":")
		if !found {
			prefix, local = "", prefix
		}
		for _, a := range start.Attr {
			if a.Name.Local != local || a.Name.Space == "xmlns" || (prefix == "") != (a.Name.Space == "") {
				continue
			}
			if err := setText(m.Shape, v.Field(i), a.Value); err != nil {
				return errXML
			}
			set.set(i)
		}
	}
	return nil
}

// structure reads the children of the current element into the body members.
func (x *xmlReader) structure(shape *schema.Shape, v reflect.Value, set *bitset) error {
	return x.children(func(s xml.StartElement) error {
		i, flat := memberByElement(shape, s.Name.Local)
		if i < 0 {
			return x.skip()
		}
		m := &shape.Members[i]
		fv := v.Field(i)
		if !flat {
			if set.has(i) && x.strict {
				return errXML
			}
			set.set(i)
			return x.value(m, s, fv)
		}
		set.set(i)
		v := fv
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				target(v)
			}
			v = v.Elem()
		}
		if m.Shape.Kind == schema.Map {
			if v.IsNil() {
				v.Set(reflect.MakeMap(v.Type()))
			}
			return x.entry(m.Shape, v)
		}
		if v.IsNil() {
			v.Set(reflect.MakeSlice(v.Type(), 0, 1))
		}
		return x.item(m.Shape.Elem, s, v)
	})
}

// memberByElement finds the body member an element belongs to, and whether it
// is one item of a flattened list or map.
func memberByElement(shape *schema.Shape, name string) (index int, flat bool) {
	for i := range shape.Members {
		m := &shape.Members[i]
		if m.In != schema.InBody || m.XMLAttribute {
			continue
		}
		flat := m.Flattened || m.Shape.Flattened
		switch {
		case flat && m.Shape.Kind == schema.List:
			if flatName(m) == name {
				return i, true
			}
		case m.Wire() == name:
			return i, flat && m.Shape.Kind == schema.Map
		}
	}
	return -1, false
}

// xmlBody reads a document whose root holds the body members.
func (d *restDecoder) xmlBody(body []byte, v reflect.Value) error {
	x := newXMLReader(body, d.check != nil)
	start, err := x.root()
	if err != nil {
		return malformedXML(err)
	}
	if d.check != nil && start.Name.Local != bodyRoot(d.op, d.shape, false) {
		return malformedXML(errXML)
	}
	switch {
	case d.shape.Text:
		var s string
		if s, err = x.text(); err == nil && s != "" {
			err = setText(d.shape.Members[0].Shape, v.Field(0), s)
		}
	default:
		err = x.structure(d.shape, v, &d.set)
	}
	if err == nil {
		err = x.end()
	}
	if err != nil {
		return malformedXML(err)
	}
	return nil
}

// xmlPayload reads a document that is one member. The root's namespace does not
// matter (many clients send none); its name does, for a server.
func (d *restDecoder) xmlPayload(m *schema.Member, body []byte, fv reflect.Value) error {
	x := newXMLReader(body, d.check != nil)
	start, err := x.root()
	if err == nil && d.check != nil && start.Name.Local != payloadRoot(m) {
		err = errXML
	}
	if err == nil {
		err = x.value(m, start, fv)
	}
	if err == nil {
		err = x.end()
	}
	if err != nil {
		return malformedXML(err)
	}
	return nil
}
