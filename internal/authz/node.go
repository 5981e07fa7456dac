package authz

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// nodeKind is the JSON type of a node.
type nodeKind uint8

const (
	nodeNull nodeKind = iota
	nodeBool
	nodeNumber
	nodeString
	nodeArray
	nodeObject
	nodeTooDeep // nested deeper than maxDepth; its content was skipped
)

// maxDepth is how deep objects and arrays may nest. A policy needs seven
// levels, a line of the simulator four more.
const maxDepth = 16

// node is a JSON value that keeps what encoding/json would lose: the order and
// the exact case of names, repeated names, and the text of numbers.
type node struct {
	kind    nodeKind
	text    string // of a string, number or bool
	members []member
	elems   []*node
	repeat  string // a name that the object has twice
	repeats bool
	size    int // bytes in the document
}

type member struct {
	name  string
	value *node
}

// get returns the member of that exact name, or nil.
func (n *node) get(name string) *node {
	for i := range n.members {
		if n.members[i].name == name {
			return n.members[i].value
		}
	}
	return nil
}

// readNode reads one JSON text and nothing after it.
func readNode(doc []byte) (*node, error) {
	if !utf8.Valid(doc) {
		return nil, errors.New("not UTF-8")
	}
	if !json.Valid(doc) {
		return nil, errors.New("not JSON")
	}
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	return readValue(dec, 1)
}

func readValue(dec *json.Decoder, depth int) (*node, error) {
	start := dec.InputOffset()
	tok, err := dec.Token()
	if err != nil {
		return nil, fmt.Errorf("read JSON: %w", err)
	}
	n := &node{}
	switch t := tok.(type) {
	case nil:
		n.kind = nodeNull
	case bool:
		n.kind, n.text = nodeBool, "false"
		if t {
			n.text = "true"
		}
	case json.Number:
		n.kind, n.text = nodeNumber, t.String()
	case string:
		n.kind, n.text = nodeString, t
	case json.Delim:
		if depth > maxDepth {
			n.kind = nodeTooDeep
			err = skipRest(dec)
		} else if t == '[' {
			n.kind = nodeArray
			err = n.readElems(dec, depth)
		} else {
			n.kind = nodeObject
			err = n.readMembers(dec, depth)
		}
		if err != nil {
			return nil, err
		}
	}
	n.size = int(dec.InputOffset() - start)
	return n, nil
}

func (n *node) readElems(dec *json.Decoder, depth int) error {
	for dec.More() {
		e, err := readValue(dec, depth+1)
		if err != nil {
			return err
		}
		n.elems = append(n.elems, e)
	}
	return skipClose(dec)
}

func (n *node) readMembers(dec *json.Decoder, depth int) error {
	seen := map[string]struct{}{}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return fmt.Errorf("read JSON: %w", err)
		}
		name, ok := tok.(string)
		if !ok {
			return errors.New("read JSON: a member without a name")
		}
		if _, dup := seen[name]; dup {
			n.repeat, n.repeats = name, true
		}
		seen[name] = struct{}{}
		v, err := readValue(dec, depth+1)
		if err != nil {
			return err
		}
		n.members = append(n.members, member{name: name, value: v})
	}
	return skipClose(dec)
}

func skipClose(dec *json.Decoder) error {
	if _, err := dec.Token(); err != nil {
		return fmt.Errorf("read JSON: %w", err)
	}
	return nil
}

// skipRest reads up to the end of the object or array just opened.
func skipRest(dec *json.Decoder) error {
	for open := 1; open > 0; {
		tok, err := dec.Token()
		if err != nil {
			return fmt.Errorf("read JSON: %w", err)
		}
		if d, ok := tok.(json.Delim); ok {
			if d == '[' || d == '{' {
				open++
			} else {
				open--
			}
		}
	}
	return nil
}
