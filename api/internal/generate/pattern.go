package main

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// javaSpace is the content of Java's \s, which has the vertical tab that RE2's lacks.
const javaSpace = `\t\n\v\f\r\x20`

// translatePattern turns a model's pattern, written for java.util.regex, into
// RE2 syntax. schema.Shape matches it against the whole value. What RE2 cannot
// say (look-around, class intersection, surrogates) is an error: the overlay
// then gives the pattern by hand.
func translatePattern(java string) (string, error) {
	var b strings.Builder
	inClass, classStart := false, 0
	for i := 0; i < len(java); i++ {
		c := java[i]
		switch {
		case c == '\\':
			if i+1 >= len(java) {
				return "", errors.New("ends in a backslash")
			}
			i++
			n, err := translateEscape(&b, java[i:], inClass)
			if err != nil {
				return "", err
			}
			i += n
		case inClass && c == '[':
			return "", errors.New("has a class inside a class")
		case inClass && strings.HasPrefix(java[i:], "&&"):
			return "", errors.New("has a class intersection")
		case c == '[':
			inClass, classStart = true, i+1
			b.WriteByte(c)
		case inClass && c == ']':
			if body := java[classStart:i]; body == "" || body == "^" {
				return "", errors.New("has a class that starts with ]")
			}
			inClass = false
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	p := b.String()
	if _, err := regexp.Compile(`^(?:` + p + `)$`); err != nil {
		return "", fmt.Errorf("is not RE2: %w", err)
	}
	return p, nil
}

// translateEscape writes the escape whose letter starts rest and returns how
// many bytes beyond that letter it took.
func translateEscape(b *strings.Builder, rest string, inClass bool) (int, error) {
	switch rest[0] {
	case 'u':
		if len(rest) < 5 {
			return 0, errors.New(`has a short \u escape`)
		}
		r, err := strconv.ParseUint(rest[1:5], 16, 16)
		if err != nil {
			return 0, fmt.Errorf(`has a bad \u escape: %w`, err)
		}
		if r >= 0xD800 && r <= 0xDFFF {
			return 0, errors.New("has a surrogate")
		}
		fmt.Fprintf(b, `\x{%04X}`, r)
		return 4, nil
	case 's':
		if inClass {
			b.WriteString(javaSpace)
		} else {
			b.WriteString("[" + javaSpace + "]")
		}
		return 0, nil
	case 'S':
		if inClass {
			return 0, errors.New(`has \S inside a class`)
		}
		b.WriteString("[^" + javaSpace + "]")
		return 0, nil
	case '/':
		b.WriteByte('/')
		return 0, nil
	}
	b.WriteByte('\\')
	b.WriteByte(rest[0])
	return 0, nil
}
