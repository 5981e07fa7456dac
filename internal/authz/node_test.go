package authz

import (
	"encoding/json"
	"strings"
	"testing"
)

// plainValue is a node as encoding/json gives values, names that occur twice
// aside; ok is false for one that is too deep or has such names.
func (n *node) plainValue() (v any, ok bool) {
	switch n.kind {
	case nodeBool:
		return n.text == "true", true
	case nodeNumber:
		return json.Number(n.text), true
	case nodeString:
		return n.text, true
	case nodeArray:
		list := make([]any, 0, n.len)
		for e := range n.children() {
			v, ok := e.plainValue()
			if !ok {
				return nil, false
			}
			list = append(list, v)
		}
		return list, len(list) == int(n.len)
	case nodeObject:
		m := make(map[string]any, n.len)
		for e := range n.children() {
			if m[e.name], ok = e.plainValue(); !ok {
				return nil, false
			}
		}
		return m, !n.repeats
	case nodeTooDeep:
		return nil, false
	default:
		return nil, true
	}
}

// FuzzReadNode: what is read is what encoding/json reads, and every value
// stands where it says.
func FuzzReadNode(f *testing.F) {
	for _, s := range []string{
		`{}`, `[]`, ` { "a" : [ 1 , -2.5e+3 , true , null , "x\"\\\u00e9\ud83d" ] , "b":{"":{}} } `, `"\\"`, `"\\\""`, `["\\","\""]`, `{"a":1,"a":2}`,
		strings.Repeat("[", 20) + strings.Repeat("]", 20), `0`, `{"a\u0062":"\/"}`, seedFeatureStore, "[\"\x00\"]", "\"\xff\"", `{"é":"€"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		if len(doc) > 16<<10 {
			return
		}
		n, err := readNode(doc)
		if err != nil {
			if json.Valid(doc) && string(doc) == strings.ToValidUTF8(string(doc), "") {
				t.Fatalf("%q is refused: %v", doc, err)
			}
			return
		}
		checkNode(t, doc, n)
	})
}

func checkNode(t *testing.T, doc []byte, n *node) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(string(doc[n.start:n.end])))
	dec.UseNumber()
	var want any
	if err := dec.Decode(&want); err != nil || dec.More() {
		t.Fatalf("%q at %d to %d: %v", doc, n.start, n.end, err)
	}
	if got, ok := n.plainValue(); ok {
		a, aerr := json.Marshal(got)
		b, berr := json.Marshal(want)
		if aerr != nil || berr != nil || string(a) != string(b) {
			t.Fatalf("%q is read as %s, not %s", doc, a, b)
		}
	}
	names := map[string]bool{}
	for c := range n.children() {
		checkNode(t, doc, c)
		if n.kind == nodeObject {
			names[c.name] = true
		}
	}
	if n.kind == nodeObject && (n.repeats != (len(names) < int(n.len)) || n.repeats && !names[n.text]) {
		t.Fatalf("%q: repeats %v %q", doc, n.repeats, n.text)
	}
}
