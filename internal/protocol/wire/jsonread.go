package wire

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/sagekeep/sagekeep/api/schema"
)

// maxDepth is how deep objects, arrays, elements and form names may nest.
const maxDepth = 64

// jsonReader pulls tokens from one JSON text (RFC 8259), strictly: UTF-8 only,
// no lone surrogates, no duplicate names, nothing after the value. Positions in
// errors are byte offsets; no error repeats any of the text.
type jsonReader struct {
	b     []byte
	i     int
	depth int
}

func serializationError(format string, args ...any) *schema.Error {
	return schema.NewError("SerializationException", 400, format, args...)
}

func (r *jsonReader) fail(what string) error {
	return serializationError("%s", what+" at offset "+strconv.Itoa(r.i))
}

// peek returns the first byte of the next token, 0 at the end.
func (r *jsonReader) peek() byte {
	for r.i < len(r.b) {
		switch c := r.b[r.i]; c {
		case ' ', '\t', '\n', '\r':
			r.i++
		default:
			return c
		}
	}
	return 0
}

// end reports an error unless only white space is left.
func (r *jsonReader) end() error {
	if r.peek(); r.i < len(r.b) {
		return r.fail("Unexpected data after the value")
	}
	return nil
}

// object reads an object and calls member with each raw name, positioned at
// its value. The callback must consume the value.
func (r *jsonReader) object(member func(name []byte) error) error {
	if err := r.open(); err != nil {
		return err
	}
	if r.peek() == '}' {
		return r.close()
	}
	for {
		if r.peek() != '"' {
			return r.fail("Expected a member name")
		}
		name, err := r.text()
		if err != nil {
			return err
		}
		if r.peek() != ':' {
			return r.fail("Expected a colon")
		}
		r.i++
		if err := member(name); err != nil {
			return err
		}
		switch r.peek() {
		case ',':
			r.i++
		case '}':
			return r.close()
		default:
			return r.fail("Expected a comma or the end of a structure or map")
		}
	}
}

// array reads an array and calls element at each value.
func (r *jsonReader) array(element func(i int) error) error {
	if err := r.open(); err != nil {
		return err
	}
	if r.peek() == ']' {
		return r.close()
	}
	for i := 0; ; i++ {
		if err := element(i); err != nil {
			return err
		}
		switch r.peek() {
		case ',':
			r.i++
		case ']':
			return r.close()
		default:
			return r.fail("Expected a comma or the end of a list")
		}
	}
}

func (r *jsonReader) open() error {
	if r.depth++; r.depth > maxDepth {
		return r.fail("The value nests too deep")
	}
	r.i++
	return nil
}

func (r *jsonReader) close() error {
	r.depth--
	r.i++
	return nil
}

// null consumes a null when one is next.
func (r *jsonReader) null() (bool, error) {
	if r.peek() != 'n' {
		return false, nil
	}
	return true, r.literal("null")
}

func (r *jsonReader) literal(word string) error {
	if !bytes.HasPrefix(r.b[r.i:], []byte(word)) {
		return r.fail("Unrecognized token")
	}
	r.i += len(word)
	return nil
}

// text reads a string. The result is valid UTF-8 and may share memory with the
// input.
func (r *jsonReader) text() ([]byte, error) {
	r.i++ // the quote
	start, escaped, ascii := r.i, false, true
	for r.i < len(r.b) {
		switch c := r.b[r.i]; {
		case c == '"':
			raw := r.b[start:r.i]
			if !ascii && !utf8.Valid(raw) {
				return nil, r.fail("Invalid UTF-8")
			}
			r.i++
			if escaped {
				return unescape(raw), nil
			}
			return raw, nil
		case c == '\\':
			escaped = true
			if err := r.escape(); err != nil {
				return nil, err
			}
		case c < ' ':
			return nil, r.fail("Unescaped control character in a string")
		default:
			ascii = ascii && c < utf8.RuneSelf
			r.i++
		}
	}
	return nil, r.fail("Unterminated string")
}

// escape checks one escape sequence, a pair of surrogates included.
func (r *jsonReader) escape() error {
	if r.i+1 >= len(r.b) {
		return r.fail("Unterminated string")
	}
	switch r.b[r.i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		r.i += 2
		return nil
	case 'u':
		u, ok := hex4(r.b[r.i+2:])
		if !ok {
			return r.fail("Invalid escape")
		}
		if !utf16.IsSurrogate(u) {
			r.i += 6
			return nil
		}
		if rest := r.b[r.i+6:]; len(rest) >= 6 && rest[0] == '\\' && rest[1] == 'u' {
			if low, ok := hex4(rest[2:]); ok && utf16.DecodeRune(u, low) != utf8.RuneError {
				r.i += 12
				return nil
			}
		}
		return r.fail("Lone surrogate")
	}
	return r.fail("Invalid escape")
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var u rune
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		u = u<<4 | rune(c)
	}
	return u, true
}

// unescape resolves the escapes of a checked string.
func unescape(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); {
		if raw[i] != '\\' {
			out = append(out, raw[i])
			i++
			continue
		}
		c := raw[i+1]
		i += 2
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			u, _ := hex4(raw[i:])
			i += 4
			if utf16.IsSurrogate(u) {
				low, _ := hex4(raw[i+2:])
				u = utf16.DecodeRune(u, low)
				i += 6
			}
			out = utf8.AppendRune(out, u)
			continue
		}
		out = append(out, c)
	}
	return out
}

// number reads a number and returns its text.
func (r *jsonReader) number() ([]byte, error) {
	start := r.i
	if r.at('-') {
		r.i++
	}
	if r.at('0') {
		r.i++
	} else if !r.digits() {
		return nil, r.fail("Invalid number")
	}
	if r.at('.') {
		r.i++
		if !r.digits() {
			return nil, r.fail("Invalid number")
		}
	}
	if r.at('e') || r.at('E') {
		r.i++
		if r.at('+') || r.at('-') {
			r.i++
		}
		if !r.digits() {
			return nil, r.fail("Invalid number")
		}
	}
	return r.b[start:r.i], nil
}

func (r *jsonReader) at(c byte) bool { return r.i < len(r.b) && r.b[r.i] == c }

func (r *jsonReader) digits() bool {
	start := r.i
	for r.i < len(r.b) && r.b[r.i]-'0' <= 9 {
		r.i++
	}
	return r.i > start
}

// skip reads over one value, as strictly as any other.
func (r *jsonReader) skip() error {
	switch c := r.peek(); {
	case c == '{':
		var names nameSet
		return r.object(func(name []byte) error {
			if !names.add(name) {
				return r.fail("Duplicate member name")
			}
			return r.skip()
		})
	case c == '[':
		return r.array(func(int) error { return r.skip() })
	case c == '"':
		_, err := r.text()
		return err
	case c == 't':
		return r.literal("true")
	case c == 'f':
		return r.literal("false")
	case c == 'n':
		return r.literal("null")
	case c == '-' || '0' <= c && c <= '9':
		_, err := r.number()
		return err
	}
	return r.unexpected()
}

func (r *jsonReader) unexpected() error {
	if r.i >= len(r.b) {
		return r.fail("Unexpected end of the input")
	}
	return r.fail("Unexpected character")
}

// nameSet finds repeated names: by search while few, then by map.
type nameSet struct {
	few  [][]byte
	many map[string]struct{}
}

// add returns false when the name is there already.
func (s *nameSet) add(name []byte) bool {
	if s.many == nil {
		for _, n := range s.few {
			if bytes.Equal(n, name) {
				return false
			}
		}
		if s.few = append(s.few, name); len(s.few) <= 16 {
			return true
		}
		s.many = make(map[string]struct{}, 2*len(s.few))
		for _, n := range s.few {
			s.many[string(n)] = struct{}{}
		}
		return true
	}
	if _, ok := s.many[string(name)]; ok {
		return false
	}
	s.many[string(name)] = struct{}{}
	return true
}
