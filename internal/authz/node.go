package authz

import (
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"strings"
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
// levels.
const maxDepth = 16

// node is a JSON value that keeps what encoding/json would lose: the order and
// the exact case of names, repeated names, the text of numbers, and where the
// value stands. Its strings share the memory of the document.
type node struct {
	kind    nodeKind
	repeats bool  // an object has a name twice: text
	len     int32 // of an object or array
	// start and end are the bytes of the value in the document, the end
	// excluded.
	start, end int32
	name       string // of a member
	text       string // of a string, number or bool
	first      *node  // child of an object or array
	next       *node  // sibling
}

// children yields the members of an object or the elements of an array.
func (n *node) children() iter.Seq[*node] {
	return func(yield func(*node) bool) {
		for c := n.first; c != nil && yield(c); c = c.next {
		}
	}
}

// list yields the elements of an array, or the value itself if it is none.
func (n *node) list() iter.Seq[*node] {
	if n.kind == nodeArray {
		return n.children()
	}
	return func(yield func(*node) bool) { yield(n) }
}

// get returns the member of that exact name, or nil.
func (n *node) get(name string) *node {
	for c := n.first; c != nil; c = c.next {
		if c.name == name {
			return c
		}
	}
	return nil
}

// readNode reads one JSON text and nothing after it.
func readNode(doc []byte) (*node, error) {
	if err := checkJSON(doc); err != nil {
		return nil, err
	}
	return newScanner(string(doc)).value(), nil
}

// checkJSON reports why a text is not one JSON value in UTF-8.
func checkJSON(doc []byte) error {
	if !utf8.Valid(doc) {
		return errors.New("not UTF-8")
	}
	if !json.Valid(doc) {
		return errors.New("not JSON")
	}
	return nil
}

// scanner reads a text that checkJSON has passed; on any other it panics.
type scanner struct {
	doc   string
	at    int
	nodes []node // memory for the next nodes
}

func newScanner(doc string) *scanner { return &scanner{doc: doc} }

// newNode makes nodes many at a time.
func (s *scanner) newNode() *node {
	if len(s.nodes) == 0 {
		s.nodes = make([]node, 32)
	}
	n := &s.nodes[0]
	s.nodes = s.nodes[1:]
	return n
}

// value reads the value that comes next.
func (s *scanner) value() *node {
	n := s.newNode()
	s.read(n, 1)
	return n
}

// space passes white space and one comma or colon.
func (s *scanner) space() byte {
	for ; ; s.at++ {
		switch c := s.doc[s.at]; c {
		case ' ', '\t', '\n', '\r', ',', ':':
		default:
			return c
		}
	}
}

// read reads the value that comes next into n.
func (s *scanner) read(n *node, depth int) {
	c := s.space()
	n.start = int32(s.at)
	switch c {
	case '"':
		n.kind, n.text = nodeString, s.string()
	case '[', '{':
		switch {
		case depth > maxDepth:
			n.kind = nodeTooDeep
			s.skip()
		case c == '[':
			n.kind = nodeArray
			s.children(n, ']', depth)
		default:
			n.kind = nodeObject
			s.children(n, '}', depth)
		}
	default:
		n.kind, n.text = s.plain()
	}
	n.end = int32(s.at)
}

func (s *scanner) children(n *node, closing byte, depth int) {
	var names nameSet
	last := &n.first
	for s.at++; s.space() != closing; n.len++ {
		c := s.newNode()
		if closing == '}' {
			c.name = s.string()
			if names.add(c.name) && !n.repeats {
				n.repeats, n.text = true, c.name
			}
		}
		s.read(c, depth+1)
		*last, last = c, &c.next
	}
	s.at++
}

// nameSet finds names that an object has twice.
type nameSet struct {
	few  [12]string
	n    int
	many map[string]struct{} // all of them, when they are more
}

// add reports whether the name is there already.
func (s *nameSet) add(name string) (dup bool) {
	if s.many == nil {
		if slices.Contains(s.few[:s.n], name) {
			return true
		}
		if s.n < len(s.few) {
			s.few[s.n] = name
			s.n++
			return false
		}
		s.many = make(map[string]struct{}, 4*len(s.few))
		for _, f := range s.few {
			s.many[f] = struct{}{}
		}
	}
	_, dup = s.many[name]
	s.many[name] = struct{}{}
	return dup
}

// string reads the string at s.at.
func (s *scanner) string() string {
	start := s.at
	end, escaped := s.quoted()
	if !escaped {
		return s.doc[start+1 : end-1]
	}
	var text string
	if err := json.Unmarshal([]byte(s.doc[start:end]), &text); err != nil {
		panic("authz: a string of valid JSON does not decode: " + err.Error())
	}
	return text
}

// quoted passes the string at s.at and returns its end.
func (s *scanner) quoted() (end int, escaped bool) {
	s.at++
	end = s.at + strings.IndexByte(s.doc[s.at:], '"')
	first := strings.IndexByte(s.doc[s.at:end], '\\')
	if first < 0 {
		s.at = end + 1
		return s.at, false
	}
	for s.at += first; s.doc[s.at] != '"'; s.at++ {
		if s.doc[s.at] == '\\' {
			s.at++
		}
	}
	s.at++
	return s.at, true
}

// plain reads a number, a Boolean or null.
func (s *scanner) plain() (nodeKind, string) {
	start := s.at
	for s.at < len(s.doc) && strings.IndexByte(" \t\n\r,]}", s.doc[s.at]) < 0 {
		s.at++
	}
	switch text := s.doc[start:s.at]; text {
	case "null":
		return nodeNull, ""
	case "true", "false":
		return nodeBool, text
	default:
		return nodeNumber, text
	}
}

// skip passes the value at s.at, however deep it is.
func (s *scanner) skip() {
	open := 0
	for {
		switch s.space() {
		case '"':
			s.quoted()
		case '[', '{':
			s.at++
			open++
			continue
		case ']', '}':
			s.at++
			open--
		default:
			s.plain()
		}
		if open == 0 {
			return
		}
	}
}
