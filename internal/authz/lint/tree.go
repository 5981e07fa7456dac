package lint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// maxDepth is how deep values may nest; a policy needs seven levels.
const maxDepth = 16

// value is a JSON value with the byte offset at which it begins.
type value struct {
	at      int
	scalar  bool   // a string, number or Boolean
	text    string // of a scalar
	isList  bool
	list    []value
	members []member // of an object, in order
	object  bool
}

type member struct {
	name  string
	at    int // of the name
	value value
}

// get returns the first member of that name.
func (v *value) get(name string) *value {
	for i := range v.members {
		if v.members[i].name == name {
			return &v.members[i].value
		}
	}
	return nil
}

// readTree reads one JSON text. When it cannot, it returns how far it came.
func readTree(doc []byte) (root *value, offset int, err error) {
	if !utf8.Valid(doc) {
		return nil, 0, errors.New("not UTF-8")
	}
	var any json.RawMessage
	if err := json.Unmarshal(doc, &any); err != nil {
		if e, ok := errors.AsType[*json.SyntaxError](err); ok {
			offset = max(0, int(e.Offset)-1)
		}
		return nil, offset, fmt.Errorf("read JSON: %w", err)
	}
	t := tree{doc: doc, dec: json.NewDecoder(bytes.NewReader(doc))}
	t.dec.UseNumber()
	v, err := t.value(1)
	if err != nil {
		return nil, int(t.dec.InputOffset()), err
	}
	return &v, 0, nil
}

// tree reads tokens and remembers where they begin.
type tree struct {
	doc []byte
	dec *json.Decoder
}

// next returns the next token and its offset.
func (t *tree) next() (json.Token, int, error) {
	at := int(t.dec.InputOffset())
	for at < len(t.doc) && bytes.IndexByte([]byte(" \t\r\n,:"), t.doc[at]) >= 0 {
		at++
	}
	tok, err := t.dec.Token()
	if err != nil {
		return nil, at, fmt.Errorf("read JSON: %w", err)
	}
	return tok, at, nil
}

func (t *tree) value(depth int) (value, error) {
	tok, at, err := t.next()
	if err != nil {
		return value{}, err
	}
	v := value{at: at}
	switch tok := tok.(type) {
	case string:
		v.scalar, v.text = true, tok
	case json.Number:
		v.scalar, v.text = true, tok.String()
	case bool:
		v.scalar, v.text = true, fmt.Sprint(tok)
	case json.Delim:
		if depth > maxDepth {
			return v, errors.New("nested too deeply")
		}
		v.isList, v.object = tok == '[', tok == '{'
		for t.dec.More() {
			if err := t.inside(&v, depth); err != nil {
				return v, err
			}
		}
		_, _, err = t.next() // the closing delimiter
	}
	return v, err
}

// inside reads one element or member of v.
func (t *tree) inside(v *value, depth int) error {
	m := member{}
	if v.object {
		tok, at, err := t.next()
		if err != nil {
			return err
		}
		m.name, _ = tok.(string)
		m.at = at
	}
	var err error
	if m.value, err = t.value(depth + 1); err != nil {
		return err
	}
	if v.object {
		v.members = append(v.members, m)
	} else {
		v.list = append(v.list, m.value)
	}
	return nil
}
