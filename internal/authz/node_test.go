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
		list := make([]any, len(n.elems))
		for i := range n.elems {
			if list[i], ok = n.elems[i].plainValue(); !ok {
				return nil, false
			}
		}
		return list, true
	case nodeObject:
		m := make(map[string]any, len(n.members))
		for i := range n.members {
			if m[n.members[i].name], ok = n.members[i].value.plainValue(); !ok {
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
		checkNode(t, doc, &n)
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
	for i := range n.elems {
		checkNode(t, doc, &n.elems[i])
	}
	names := map[string]bool{}
	for i := range n.members {
		m := &n.members[i]
		if names[m.name] && !n.repeats {
			t.Fatalf("%q has %q twice", doc, m.name)
		}
		names[m.name] = true
		checkNode(t, doc, &m.value)
	}
	if n.repeats != (len(names) < len(n.members)) || n.repeats && !names[n.repeat] {
		t.Fatalf("%q: repeats %v %q", doc, n.repeats, n.repeat)
	}
}
