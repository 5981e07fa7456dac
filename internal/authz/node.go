package authz

import (
	"encoding/json"
	"errors"
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
	text    string // of a string, number or bool
	members []member
	elems   []node
	repeat  string // a name that the object has twice
	repeats bool
	// start and end are the bytes of the value in the document, the end
	// excluded.
	start, end int
}

type member struct {
	name  string
	value node
}

// get returns the member of that exact name, or nil.
func (n *node) get(name string) *node {
	for i := range n.members {
		if n.members[i].name == name {
			return &n.members[i].value
		}
	}
	return nil
}

// readNode reads one JSON text and nothing after it.
func readNode(doc []byte) (node, error) {
	if err := checkJSON(doc); err != nil {
		return node{}, err
	}
	var n node
	(&scanner{doc: string(doc)}).read(&n, 1)
	return n, nil
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
	doc string
	at  int
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

// read reads the value at s.at.
func (s *scanner) read(n *node, depth int) {
	c := s.space()
	n.start = s.at
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
			s.elems(n, depth)
		default:
			n.kind = nodeObject
			s.members(n, depth)
		}
	default:
		n.kind, n.text = s.plain()
	}
	n.end = s.at
}

func (s *scanner) elems(n *node, depth int) {
	s.at++
	for s.space() != ']' {
		n.elems = append(n.elems, node{})
		s.read(&n.elems[len(n.elems)-1], depth+1)
	}
	s.at++
}

// fewMembers is up to how many names are compared one by one.
const fewMembers = 12

func (s *scanner) members(n *node, depth int) {
	var seen map[string]struct{}
	s.at++
	for s.space() != '}' {
		name := s.string()
		if !n.repeats {
			if len(n.members) < fewMembers {
				n.repeats = n.get(name) != nil
			} else {
				if seen == nil {
					seen = make(map[string]struct{}, 2*fewMembers)
					for i := range n.members {
						seen[n.members[i].name] = struct{}{}
					}
				}
				_, n.repeats = seen[name]
				seen[name] = struct{}{}
			}
			if n.repeats {
				n.repeat = name
			}
		}
		n.members = append(n.members, member{name: name})
		s.read(&n.members[len(n.members)-1].value, depth+1)
	}
	s.at++
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
