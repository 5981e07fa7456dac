package wire

import (
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/sagekeep/sagekeep/api/schema"
)

// maxFormIndex bounds list positions and the number of parameters.
const maxFormIndex = 10_000

func malformedInput(format string, args ...any) *schema.Error {
	return schema.NewError("MalformedInput", 400, format, args...)
}

// formNode is one level of dotted parameter names.
type formNode struct {
	value string
	given bool // a parameter has exactly this name
	kids  map[string]*formNode
}

// formTree arranges parameters by the parts of their names.
func formTree(form url.Values) (*formNode, error) {
	root := &formNode{}
	if len(form) > maxFormIndex {
		return nil, malformedInput("The request has too many parameters")
	}
	for name, values := range form {
		if len(values) == 0 {
			continue
		}
		node, depth := root, 0
		for part := range strings.SplitSeq(name, ".") {
			if depth++; depth > maxDepth {
				return nil, malformedInput("A parameter name nests too deep")
			}
			next := node.kids[part]
			if next == nil {
				if node.kids == nil {
					node.kids = make(map[string]*formNode)
				}
				next = &formNode{}
				node.kids[part] = next
			}
			node = next
		}
		node.value, node.given = values[0], true
	}
	return root, nil
}

// indexed returns the children named by positions, in order. Gaps are closed;
// other names are ignored.
func (n *formNode) indexed() ([]*formNode, error) {
	if n == nil {
		return nil, nil
	}
	at := make([]int, 0, len(n.kids))
	for name := range n.kids {
		i, err := strconv.Atoi(name)
		switch {
		case err != nil || name[0] == '+' || name[0] == '-':
			continue
		case i < 1 || i > maxFormIndex || strconv.Itoa(i) != name:
			return nil, malformedInput("A list position is not between 1 and %d", maxFormIndex)
		}
		at = append(at, i)
	}
	slices.Sort(at)
	nodes := make([]*formNode, len(at))
	for k, i := range at {
		nodes[k] = n.kids[strconv.Itoa(i)]
	}
	return nodes, nil
}

type queryDecoder struct{ check *checker }

// decodeQueryInput reads an awsQuery request; unknown parameters are ignored.
func decodeQueryInput(shape *schema.Shape, r *Request, v reflect.Value) error {
	if r.Form == nil {
		form, err := url.ParseQuery(string(r.Body))
		if err != nil {
			return malformedInput("The form body can not be read")
		}
		r.Form = form
	}
	root, err := formTree(r.Form)
	if err != nil {
		return err
	}
	var c checker
	q := queryDecoder{check: &c}
	if err := q.structure(shape, root, v); err != nil {
		return err
	}
	if bad := c.result(); bad != nil {
		return bad.AsError(schema.AWSQuery)
	}
	return nil
}

func queryName(m *schema.Member) string {
	if m.QueryName != "" {
		return m.QueryName
	}
	if flat := m.Flattened || m.Shape.Flattened; flat && m.Shape.Kind == schema.List && m.Shape.Elem.WireName != "" {
		return m.Shape.Elem.WireName
	}
	return m.Wire()
}

func (q *queryDecoder) structure(shape *schema.Shape, node *formNode, v reflect.Value) error {
	var set bitset
	for i := range shape.Members {
		m := &shape.Members[i]
		kid := node.kids[queryName(m)]
		if kid == nil {
			continue
		}
		set.set(i)
		q.check.push(i, m.Name)
		if err := q.value(m, kid, v.Field(i)); err != nil {
			return err
		}
		q.check.pop()
	}
	q.check.structure(shape, v, &set)
	return nil
}

func (q *queryDecoder) value(m *schema.Member, node *formNode, fv reflect.Value) error {
	shape := m.Shape
	if shape.Kind >= schema.List {
		if node.value != "" {
			return malformedInput("Start of structure, list or map expected where a value was found")
		}
	} else if node.kids != nil || !node.given {
		return malformedInput("Unexpected complex element termination")
	}
	switch shape.Kind {
	case schema.Structure:
		return q.structure(shape, node, target(fv))
	case schema.List:
		return q.list(m, node, target(fv))
	case schema.Map:
		return q.mapping(m, node, target(fv))
	}
	if err := setText(shape, fv, node.value); err != nil {
		return malformedInput("STRING_VALUE can not be converted to %s", article(shape.Kind))
	}
	return nil
}

func (q *queryDecoder) list(m *schema.Member, node *formNode, v reflect.Value) error {
	if !m.Flattened && !m.Shape.Flattened {
		node = node.kids[elemName(m.Shape)]
	}
	nodes, err := node.indexed()
	if err != nil {
		return err
	}
	v.Set(reflect.MakeSlice(v.Type(), len(nodes), len(nodes)))
	for i, n := range nodes {
		q.check.pushIndex(i + 1)
		if err := q.value(m.Shape.Elem, n, v.Index(i)); err != nil {
			return err
		}
		q.check.pop()
	}
	return nil
}

func (q *queryDecoder) mapping(m *schema.Member, node *formNode, v reflect.Value) error {
	if !m.Flattened && !m.Shape.Flattened {
		node = node.kids["entry"]
	}
	nodes, err := node.indexed()
	if err != nil {
		return err
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(nodes)))
	keyName, valueName := mapNames(m.Shape)
	for _, n := range nodes {
		key, value := n.kids[keyName], n.kids[valueName]
		if key == nil || value == nil || key.kids != nil {
			return malformedInput("A map entry needs a key and a value")
		}
		k := reflect.ValueOf(key.value).Convert(v.Type().Key())
		if v.MapIndex(k).IsValid() {
			return malformedInput("A map key occurs twice")
		}
		q.check.pushKey(key.value)
		elem := reflect.New(v.Type().Elem()).Elem()
		if err := q.value(m.Shape.Elem, value, elem); err != nil {
			return err
		}
		q.check.pop()
		v.SetMapIndex(k, elem)
	}
	return nil
}

// encodeQueryOutput writes <OpResponse>, the result wrapper if the operation
// has one, and the metadata every answer ends with.
func encodeQueryOutput(op *schema.Operation, w http.ResponseWriter, requestID string, v reflect.Value) error {
	body := make([]byte, 0, 1024)
	body = append(append(body, '<'), op.Name...)
	body = append(body, "Response"...)
	body = append(appendNamespace(body, op.Service.XMLNamespace), '>')
	if op.ResultWrapper != "" {
		body = append(append(append(body, '<'), op.ResultWrapper...), '>')
	}
	if v.IsValid() {
		x := xmlWriter{fraction: fractionNever, query: true}
		body = x.members(body, op.Output, v, true)
	}
	if op.ResultWrapper != "" {
		body = appendEnd(body, op.ResultWrapper)
	}
	body = append(body, "<ResponseMetadata>"...)
	body = appendElement(body, "RequestId", requestID)
	body = append(body, "</ResponseMetadata>"...)
	body = appendEnd(body, op.Name+"Response")
	defer clear(body) // it may hold a secret access key
	h := w.Header()
	h["X-Amzn-Requestid"] = []string{requestID}
	h["Content-Type"] = []string{"text/xml"}
	return writeBody(w, successStatus(op), body)
}

// appendForm writes one value as form parameters under prefix, "&" before each.
func appendForm(dst []byte, prefix string, m *schema.Member, v reflect.Value) []byte {
	shape := m.Shape
	flat := m.Flattened || shape.Flattened
	switch shape.Kind {
	case schema.Structure:
		return appendFormStruct(dst, prefix+".", shape, v)
	case schema.List:
		if v.Len() == 0 {
			return appendParam(dst, prefix, "")
		}
		if !flat {
			prefix += "." + elemName(shape)
		}
		for i := range v.Len() {
			dst = appendForm(dst, prefix+"."+strconv.Itoa(i+1), shape.Elem, reflect.Indirect(v.Index(i)))
		}
		return dst
	case schema.Map:
		if v.Len() == 0 {
			return appendParam(dst, prefix, "")
		}
		if !flat {
			prefix += ".entry"
		}
		keyName, valueName := mapNames(shape)
		for i, k := range sortedKeys(v) {
			entry := prefix + "." + strconv.Itoa(i+1) + "."
			dst = appendParam(dst, entry+keyName, k.String())
			dst = appendForm(dst, entry+valueName, shape.Elem, reflect.Indirect(v.MapIndex(k)))
		}
		return dst
	}
	return appendParam(dst, prefix, string(appendText(nil, shape, v, timeFormat(m, schema.TimeISO8601), fractionIfSet)))
}

func appendFormStruct(dst []byte, prefix string, shape *schema.Shape, v reflect.Value) []byte {
	n := len(dst)
	for i := range shape.Members {
		m := &shape.Members[i]
		if fv, ok := held(m.Shape, v.Field(i)); ok {
			dst = appendForm(dst, prefix+queryName(m), m, fv)
		}
	}
	if len(dst) == n && prefix != "" {
		dst = appendParam(dst, strings.TrimSuffix(prefix, "."), "") // a structure without members
	}
	return dst
}

func appendParam(dst []byte, name, value string) []byte {
	dst = append(dst, '&')
	dst = append(append(dst, url.QueryEscape(name)...), '=')
	return append(dst, strings.ReplaceAll(url.QueryEscape(value), "+", "%20")...)
}
