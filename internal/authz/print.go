package authz

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"
)

// JSON returns the document in canonical form: elements in a fixed order,
// statements and values always as lists, condition operators and keys sorted,
// values as strings. Parsing it gives an equal policy, whose JSON is the same.
// It returns nil for [Unreadable].
func (p *Policy) JSON() []byte {
	if p.unreadable {
		return nil
	}
	var b bytes.Buffer
	b.WriteByte('{')
	if p.version != "" {
		b.WriteString(`"Version":`)
		printString(&b, p.version)
		b.WriteByte(',')
	}
	if p.hasID {
		b.WriteString(`"Id":`)
		printString(&b, p.id)
		b.WriteByte(',')
	}
	b.WriteString(`"Statement":[`)
	for i := range p.statements {
		if i > 0 {
			b.WriteByte(',')
		}
		p.statements[i].print(&b)
	}
	b.WriteString("]}")
	return b.Bytes()
}

func (s *statement) print(b *bytes.Buffer) {
	b.WriteByte('{')
	if s.hasSid {
		b.WriteString(`"Sid":`)
		printString(b, s.sid)
		b.WriteByte(',')
	}
	if s.deny {
		b.WriteString(`"Effect":"Deny"`)
	} else {
		b.WriteString(`"Effect":"Allow"`)
	}
	if len(s.principals) > 0 {
		printName(b, "Principal", s.notPrincipal)
		printPrincipals(b, s.principals)
	}
	printName(b, "Action", s.notAction)
	printStrings(b, s.actionText)
	if len(s.resourceText) > 0 {
		printName(b, "Resource", s.notResource)
		printStrings(b, s.resourceText)
	}
	if s.hasCondition {
		b.WriteString(`,"Condition":{`)
		printConditions(b, s)
		b.WriteByte('}')
	}
	b.WriteByte('}')
}

func printName(b *bytes.Buffer, name string, not bool) {
	b.WriteString(`,"`)
	if not {
		b.WriteString("Not")
	}
	b.WriteString(name)
	b.WriteString(`":`)
}

func printPrincipals(b *bytes.Buffer, entries []principalEntry) {
	if entries[0].typ == "" {
		b.WriteString(`"*"`)
		return
	}
	b.WriteByte('{')
	for i := 0; i < len(entries); {
		j := i
		var values []string
		for ; j < len(entries) && entries[j].typ == entries[i].typ; j++ {
			values = append(values, entries[j].text)
		}
		if i > 0 {
			b.WriteByte(',')
		}
		printString(b, entries[i].typ)
		b.WriteByte(':')
		printStrings(b, values)
		i = j
	}
	b.WriteByte('}')
}

func printConditions(b *bytes.Buffer, s *statement) {
	conds := make([]*condition, 0, len(s.conditions))
	for i := range s.conditions {
		conds = append(conds, &s.conditions[i])
	}
	slices.SortStableFunc(conds, func(x, y *condition) int {
		if n := strings.Compare(x.opText, y.opText); n != 0 {
			return n
		}
		return strings.Compare(x.keyText, y.keyText)
	})
	for i, c := range conds {
		if i == 0 || conds[i-1].opText != c.opText {
			if i > 0 {
				b.WriteString("},")
			}
			printString(b, c.opText)
			b.WriteString(":{")
		} else {
			b.WriteByte(',')
		}
		printString(b, c.keyText)
		b.WriteByte(':')
		printStrings(b, c.values)
	}
	if len(conds) > 0 {
		b.WriteByte('}')
	}
}

func printStrings(b *bytes.Buffer, values []string) {
	b.WriteByte('[')
	for i, v := range values {
		if i > 0 {
			b.WriteByte(',')
		}
		printString(b, v)
	}
	b.WriteByte(']')
}

func printString(b *bytes.Buffer, s string) { b.Write(appendJSON(b.AvailableBuffer(), s)) }

// appendJSON appends a JSON string. Strings of a parsed document are valid
// UTF-8, so that nothing of them is replaced.
func appendJSON(b []byte, s string) []byte {
	plain := true
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			plain = false
			break
		}
	}
	if plain {
		b = append(b, '"')
		b = append(b, s...)
		return append(b, '"')
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string cannot fail
	return append(b, bytes.TrimSuffix(text.Bytes(), []byte("\n"))...)
}
