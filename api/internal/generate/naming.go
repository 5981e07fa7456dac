package main

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// exported returns AWS's name with an upper-case first letter.
func exported(name string) string {
	r, n := utf8.DecodeRuneInString(name)
	return string(unicode.ToUpper(r)) + name[n:]
}

// enumSuffix turns an enumeration value into the tail of a constant name: words
// are split at everything that is no letter or digit, words in capitals are
// lowered, and each starts with a capital. SYMMETRIC_DEFAULT gives
// SymmetricDefault, aws:kms:dsse gives AwsKmsDsse, PendingDeletion stays.
func enumSuffix(value string) string {
	words := strings.FieldsFunc(value, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	var b strings.Builder
	for _, w := range words {
		if strings.ToUpper(w) == w {
			w = strings.ToLower(w)
		}
		b.WriteString(exported(w))
	}
	if b.Len() == 0 {
		return "Empty"
	}
	return b.String()
}

// names hands out the package's identifiers, each once.
type names map[string]string // identifier → what it names

// take claims the first free one of the candidates, or the last candidate with
// the smallest free number behind it. The order of calls is fixed by the plan,
// so the result is the same on every run.
func (n names) take(what string, candidates ...string) string {
	for _, c := range candidates {
		if _, used := n[c]; !used {
			n[c] = what
			return c
		}
	}
	last := candidates[len(candidates)-1]
	for i := 2; ; i++ {
		c := fmt.Sprintf("%s%d", last, i)
		if _, used := n[c]; !used {
			n[c] = what
			return c
		}
	}
}
