package authz

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// text is a value of a policy that may hold wildcards and policy variables:
// compiled at once when it has no variable, otherwise at each evaluation.
type text struct {
	glob  glob
	parts []part // nil without variables
}

// part is literal pattern text, or a variable.
type part struct {
	lit      string
	variable bool
	key      string // lower case
	fallback string
	hasFall  bool
}

// wildcards says what `*` and `?` mean in a text.
type wildcards uint8

const (
	wildNone     wildcards = iota // themselves
	wildPlain                     // anything
	wildResource                  // anything, within the first five segments of an ARN not a colon
)

var errVariable = errors.New("malformed policy variable")

// compileText compiles s. Variables are recognised only when vars is set, that
// is in documents of version 2012-10-17.
//
// In a resource a `*` in the first five segments passes a colon only as the
// last character of its segment, and variables stand after the fifth colon
// only. Source: IAM User Guide, "Resource" and "Policy variables".
func compileText(s string, vars bool, wild wildcards) (text, error) {
	if s == "*" && wild != wildNone {
		return text{glob: glob{pat: "\xff", shape: globAny}}, nil
	}
	if !(vars && strings.Contains(s, "${")) && (wild == wildNone || strings.IndexByte(s, '*') < 0 && strings.IndexByte(s, '?') < 0) {
		return text{glob: newGlob(s)}, nil
	}
	var parts []part
	var lit strings.Builder
	lit.Grow(len(s))
	seg, variables := 0, false
	for i := 0; i < len(s); i++ {
		c := s[i]
		narrow := wild == wildResource && seg < 5
		switch {
		case vars && c == '$' && i+1 < len(s) && s[i+1] == '{':
			v, n, err := readVariable(s[i:])
			if err != nil {
				return text{}, err
			}
			i += n - 1
			if !v.variable {
				lit.WriteString(v.lit)
				continue
			}
			if narrow {
				return text{}, errors.New("policy variable before the fifth colon")
			}
			v.key = lower(v.key)
			parts = append(parts, part{lit: lit.String()}, v)
			lit.Reset()
			variables = true
		case c == '*' && wild != wildNone:
			if narrow && i+1 < len(s) && s[i+1] != ':' {
				lit.WriteByte(opStarSeg)
			} else {
				lit.WriteByte(opStar)
			}
		case c == '?' && wild != wildNone:
			if narrow {
				lit.WriteByte(opQuerySeg)
			} else {
				lit.WriteByte(opQuery)
			}
		default:
			if c == ':' {
				seg++
			}
			lit.WriteByte(c)
		}
	}
	if !variables {
		return text{glob: newGlob(lit.String())}, nil
	}
	return text{parts: append(parts, part{lit: lit.String()})}, nil
}

// readVariable reads `${…}` at the start of s and returns it, its key as written,
// with its length.
// The three escapes `${*}`, `${?}` and `${$}` come back as literal text.
func readVariable(s string) (part, int, error) {
	body := s[2:]
	if len(body) >= 2 && body[1] == '}' && strings.IndexByte("*?$", body[0]) >= 0 {
		return part{lit: body[:1]}, 4, nil
	}
	end := strings.IndexAny(body, ",}${")
	if end <= 0 || body[end] == '$' || body[end] == '{' {
		return part{}, 0, errVariable
	}
	v := part{variable: true, key: strings.TrimSpace(body[:end])}
	if v.key == "" {
		return part{}, 0, errVariable
	}
	if body[end] == '}' {
		return v, end + 3, nil
	}
	rest := strings.TrimLeft(body[end+1:], " ")
	if !strings.HasPrefix(rest, "'") {
		return part{}, 0, errVariable
	}
	closing := strings.IndexByte(rest[1:], '\'')
	if closing < 0 {
		return part{}, 0, errVariable
	}
	v.fallback, v.hasFall = rest[1:1+closing], true
	rest = strings.TrimLeft(rest[closing+2:], " ")
	if !strings.HasPrefix(rest, "}") {
		return part{}, 0, errVariable
	}
	return v, len(s) - len(rest) + 1, nil
}

// resolve returns the pattern with the variables' values in it. It reports
// false when a variable has no value: the key is absent without a default, or
// holds several values. Colons of values separate nothing when arn is set.
func (t *text) resolve(ctx Context, arn bool, w *Work) (string, bool) {
	if t.parts == nil {
		return t.glob.pat, true
	}
	var b strings.Builder
	for i := range t.parts {
		p := &t.parts[i]
		if !p.variable {
			b.WriteString(p.lit)
			continue
		}
		v := p.fallback
		if got, ok := ctx.lookup(p.key); ok {
			if got.Multi || got.Ambiguous || len(got.Vals) != 1 || !utf8.ValidString(got.Vals[0]) {
				return "", false
			}
			v = got.Vals[0]
		} else if !p.hasFall {
			return "", false
		}
		if w.Spend(len(v)); w.Spent() {
			return "", false // a document can name a long value as often as it likes
		}
		if !arn {
			b.WriteString(v)
			continue
		}
		for j := range len(v) {
			if v[j] == ':' {
				b.WriteByte(opColon)
			} else {
				b.WriteByte(v[j])
			}
		}
	}
	return b.String(), true
}

// shown is the text as somebody reads it who wants to know what it stood for.
func (t *text) shown(ctx Context, w *Work) string {
	if t.parts == nil {
		return showGlob(t.glob.pat)
	}
	for i := range t.parts {
		p := &t.parts[i]
		if _, ok := ctx.lookup(p.key); p.variable && !ok && !p.hasFall {
			return "(the request has no " + p.key + ")"
		}
	}
	pat, ok := t.resolve(ctx, false, w)
	if !ok {
		return "(a variable has no single value)"
	}
	return showGlob(pat)
}

// showGlob writes a compiled pattern as a policy has it.
func showGlob(pat string) string {
	b := []byte(pat)
	for i, c := range b {
		switch c {
		case opStar, opStarSeg:
			b[i] = '*'
		case opQuery, opQuerySeg:
			b[i] = '?'
		case opColon:
			b[i] = ':'
		}
	}
	return string(b)
}

// matchGlob reports whether s matches; ok is false when a variable has no value.
func (t *text) matchGlob(s string, ctx Context, w *Work) (match, ok bool) {
	if t.parts == nil {
		return t.glob.match(s, w), true
	}
	pat, ok := t.resolve(ctx, false, w)
	return ok && globMatch(pat, s, false, w), ok
}

// lower folds the name of a condition key. Names that it makes equal are equal
// under strings.EqualFold, by which services tell the keys of tags apart: a dotted
// capital I, the one letter whose lower case is another letter, stays as it is.
func lower(s string) string {
	if strings.Contains(s, "İ") {
		return strings.Map(func(r rune) rune {
			if r == 'İ' {
				return r
			}
			return unicode.ToLower(r)
		}, s)
	}
	return strings.ToLower(s)
}

// lowerASCII folds an action.
func lowerASCII(s string) string {
	i := 0
	for i < len(s) && s[i] == lowerByte(s[i]) {
		i++
	}
	if i == len(s) {
		return s
	}
	b := []byte(s)
	for i := range b {
		b[i] = lowerByte(b[i])
	}
	return string(b)
}
