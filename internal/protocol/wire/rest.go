package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sagekeep/sagekeep/api/schema"
)

// restDecoder reads the parts of an HTTP message that REST protocols bind.
type restDecoder struct {
	op    *schema.Operation
	shape *schema.Shape
	xml   bool
	check *checker // nil for a client
	set   bitset
}

// decodeREST reads a restJson1 or restXml request.
func decodeREST(op *schema.Operation, r *Request, v reflect.Value) error {
	var c checker
	d := restDecoder{op: op, shape: op.Input, xml: op.Service.Protocol == schema.RESTXML, check: &c}
	for i := range op.Input.Members {
		m := &op.Input.Members[i]
		var err error
		switch m.In {
		case schema.InURI:
			err = d.label(i, r.Labels, v.Field(i))
		case schema.InQuery:
			err = d.query(i, r.query(), v.Field(i))
		case schema.InHeader:
			err = d.header(i, requestHeader(r.HTTP, m.Wire()), v.Field(i))
		case schema.InHeaders:
			err = d.prefixed(i, r.HTTP.Header, v.Field(i))
		}
		if err != nil {
			return err
		}
	}
	if err := d.requestBody(r, v); err != nil {
		return err
	}
	if d.xml {
		return d.required()
	}
	c.structure(op.Input, v, &d.set)
	if bad := c.result(); bad != nil {
		return bad.AsError(schema.RESTJSON1)
	}
	return nil
}

// required finds what an S3 request lacks. S3 judges everything else itself.
func (d *restDecoder) required() error {
	for i := range d.shape.Members {
		m := &d.shape.Members[i]
		if !m.Required || d.set.has(i) {
			continue
		}
		switch {
		case m.In == schema.InURI || m.In == schema.InQuery:
			return schema.NewError("InvalidArgument", 400, "This operation requires the parameter %s", m.Wire()).With("ArgumentName", m.Wire())
		case m.In == schema.InHeader:
			return schema.NewError("InvalidRequest", 400, "Missing required header for this request: %s", m.Wire())
		case d.shape.Payload == i+1:
			return schema.NewError("MissingRequestBodyError", 400, "Request Body is empty")
		}
	}
	return nil
}

// badText words a text that does not fit its member.
func (d *restDecoder) badText(m *schema.Member, value string, err error) error {
	bad, ok := errors.AsType[*textError](err)
	if !ok {
		return err
	}
	if !d.xml {
		return serializationError("STRING_VALUE can not be converted to %s", article(bad.kind))
	}
	name := m.Wire()
	text := "Invalid value for " + name
	if bad.kind == schema.Integer || bad.kind == schema.Long {
		text = "Provided " + name + " not an integer or within integer range"
	}
	e := schema.NewError("InvalidArgument", 400, "%s", text).With("ArgumentName", name)
	if m.Sensitive || m.Shape.Sensitive {
		return e
	}
	return e.With("ArgumentValue", limited(value))
}

func (d *restDecoder) label(i int, labels map[string]string, fv reflect.Value) error {
	m := &d.shape.Members[i]
	s, ok := labels[m.Wire()]
	if !ok {
		return nil
	}
	if d.xml && !utf8.ValidString(s) {
		return schema.NewError("InvalidURI", 400, "Couldn't parse the specified URI.")
	}
	if err := setText(m.Shape, fv, s); err != nil {
		return d.badText(m, s, err)
	}
	d.set.set(i)
	if s == "" && !d.xml && (m.Shape.Min == nil || *m.Shape.Min < 1) {
		d.check.push(i, m.Name)
		d.check.add(m.Shape, m.Sensitive, target(fv), "Member must have length greater than or equal to 1")
		d.check.pop()
	}
	return nil
}

func (d *restDecoder) query(i int, query url.Values, fv reflect.Value) error {
	m := &d.shape.Members[i]
	if m.Shape.Kind == schema.Map {
		return d.queryMap(i, query, fv)
	}
	values, ok := query[m.Wire()]
	if !ok || len(values) == 0 {
		return nil
	}
	return d.texts(i, values, fv)
}

// queryMap takes every parameter that no other member names.
func (d *restDecoder) queryMap(i int, query url.Values, fv reflect.Value) error {
	for name, values := range query {
		if len(values) == 0 || d.claimed(name) {
			continue
		}
		if fv.IsNil() {
			fv.Set(reflect.MakeMap(fv.Type()))
			d.set.set(i)
		}
		elem := reflect.New(fv.Type().Elem()).Elem()
		if elem.Kind() == reflect.Slice {
			elem.Set(reflect.ValueOf(values).Convert(elem.Type()))
		} else {
			elem.SetString(values[0])
		}
		fv.SetMapIndex(reflect.ValueOf(name).Convert(fv.Type().Key()), elem)
	}
	return nil
}

func (d *restDecoder) claimed(name string) bool {
	for i := range d.shape.Members {
		if m := &d.shape.Members[i]; m.In == schema.InQuery && m.Shape.Kind != schema.Map && m.Wire() == name {
			return true
		}
	}
	return false
}

func (d *restDecoder) header(i int, values []string, fv reflect.Value) error {
	if len(values) == 0 {
		return nil
	}
	if d.shape.Members[i].Shape.Kind == schema.List {
		return d.texts(i, splitHeader(values), fv)
	}
	return d.texts(i, []string{strings.Join(values, ",")}, fv)
}

// texts stores a scalar or a list of scalars. S3 takes an empty text for an
// absent value where a text means nothing.
func (d *restDecoder) texts(i int, values []string, fv reflect.Value) error {
	m := &d.shape.Members[i]
	if m.Shape.Kind != schema.List {
		if values[0] == "" && m.Shape.Kind != schema.String && (d.xml || d.check == nil) {
			return nil
		}
		if err := setText(m.Shape, fv, values[0]); err != nil {
			return d.badText(m, values[0], err)
		}
		d.set.set(i)
		return nil
	}
	list := reflect.MakeSlice(fv.Type(), len(values), len(values))
	for n, s := range values {
		if err := setText(m.Shape.Elem.Shape, list.Index(n), s); err != nil {
			return d.badText(m, s, err)
		}
	}
	fv.Set(list)
	d.set.set(i)
	return nil
}

// prefixed takes the headers that begin with the member's prefix into a map;
// names are lower case, as S3 keeps them.
func (d *restDecoder) prefixed(i int, h http.Header, fv reflect.Value) error {
	m := &d.shape.Members[i]
	prefix := strings.ToLower(m.Wire())
	for name, values := range h {
		name = strings.ToLower(name)
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok || rest == "" {
			continue
		}
		if fv.IsNil() {
			fv.Set(reflect.MakeMap(fv.Type()))
			d.set.set(i)
		}
		elem := reflect.New(fv.Type().Elem()).Elem()
		if err := setText(m.Shape.Elem.Shape, elem, strings.Join(values, ",")); err != nil {
			return d.badText(m, rest, err)
		}
		fv.SetMapIndex(reflect.ValueOf(rest).Convert(fv.Type().Key()), elem)
	}
	return nil
}

// requestHeader returns a header of a request as received. Package net/http
// moves Content-Length out of the header map, and of an aws-chunked body the
// decoded length is the one that counts.
func requestHeader(r *http.Request, name string) []string {
	key := http.CanonicalHeaderKey(name)
	if key != "Content-Length" {
		return r.Header[key]
	}
	if v := r.Header["X-Amz-Decoded-Content-Length"]; len(v) > 0 {
		return v
	}
	if r.ContentLength >= 0 && (r.ContentLength > 0 || r.Header.Get(key) != "" || r.Body != nil) {
		return []string{strconv.FormatInt(r.ContentLength, 10)}
	}
	return r.Header[key]
}

// splitHeader reads a comma-separated list; an item with a comma stands in
// double quotes.
func splitHeader(values []string) []string {
	var items []string
	for _, v := range values {
		for {
			v = strings.TrimLeft(v, " \t")
			if strings.HasPrefix(v, `"`) {
				item, rest := unquote(v[1:])
				items = append(items, item)
				_, v, _ = strings.Cut(rest, ",")
			} else {
				item, rest, _ := strings.Cut(v, ",")
				if item = strings.TrimRight(item, " \t"); item != "" {
					items = append(items, item)
				}
				v = rest
			}
			if v == "" {
				break
			}
		}
	}
	return items
}

// unquote reads up to the closing quote and resolves backslashes.
func unquote(s string) (item, rest string) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:]
		case '\\':
			if i++; i < len(s) {
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), ""
}

// requestBody reads the payload member, or the members that share the body.
func (d *restDecoder) requestBody(r *Request, v reflect.Value) error {
	p := d.shape.Payload
	if p == 0 && !hasBody(d.shape) {
		return nil
	}
	if p > 0 && d.shape.Members[p-1].Shape.Streaming {
		body := r.Stream
		if body == nil {
			body = bytes.NewReader(r.Body)
		}
		return d.stream(p-1, body, v)
	}
	body := r.Body
	if body == nil && r.Stream != nil {
		var err error
		if body, err = io.ReadAll(r.Stream); err != nil {
			return fmt.Errorf("read the request body: %w", err)
		}
	}
	return d.body(body, v)
}

func (d *restDecoder) stream(i int, body io.Reader, v reflect.Value) error {
	d.set.set(i)
	if fv := v.Field(i); fv.Kind() == reflect.Interface {
		fv.Set(reflect.ValueOf(body))
		return nil
	}
	b, err := io.ReadAll(body)
	if err != nil {
		return fmt.Errorf("read the body: %w", err)
	}
	v.Field(i).SetBytes(b)
	return nil
}

// body reads a whole body into the payload member or the body members.
func (d *restDecoder) body(body []byte, v reflect.Value) error {
	p := d.shape.Payload
	if p == 0 {
		switch {
		case len(body) == 0:
			return nil
		case d.xml:
			return d.xmlBody(body, v)
		}
		j := jsonDecoder{jsonReader: jsonReader{b: body}, check: d.check}
		return j.document(d.shape, v, &d.set, true)
	}
	m, fv := &d.shape.Members[p-1], v.Field(p-1)
	if len(body) == 0 && (!m.Required || m.Shape.Kind != schema.Blob) {
		return nil
	}
	d.set.set(p - 1)
	switch {
	case m.Shape.Kind == schema.Blob:
		fv.SetBytes(body)
	case m.Shape.Kind == schema.String:
		target(fv).SetString(string(body))
	case d.xml:
		return d.xmlPayload(m, body, fv)
	default:
		j := jsonDecoder{jsonReader: jsonReader{b: body}, check: d.check}
		if d.check != nil {
			d.check.push(p-1, m.Name)
			defer d.check.pop()
		}
		if err := j.value(m, fv); err != nil {
			return err
		}
		return j.end()
	}
	return nil
}

// hasBody reports whether any member travels in the body.
func hasBody(shape *schema.Shape) bool {
	for i := range shape.Members {
		if shape.Members[i].In == schema.InBody {
			return true
		}
	}
	return false
}
