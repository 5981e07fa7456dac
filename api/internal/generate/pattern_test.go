package main

import (
	"testing"

	"github.com/sagekeep/sagekeep/api/schema"
)

var patterns = []struct {
	name, java, want string
	yes, no          []string
}{
	{name: "plain", java: `[a-z]+`, want: `[a-z]+`, yes: []string{"abc"}, no: []string{"", "abc1", "1abc", "abc\n"}},
	{name: "anchored alternatives", java: `^a$|^b$`, want: `^a$|^b$`, yes: []string{"a", "b"}, no: []string{"ab", "a\n"}},
	{name: "unanchored alternatives", java: `a|b`, want: `a|b`, yes: []string{"a", "b"}, no: []string{"ax", "xb"}},
	{name: "unicode escapes", java: `[\u0009\u0020-\u00FF]*`, want: `[\x{0009}\x{0020}-\x{00FF}]*`, yes: []string{"", "\t", "ÿ é"}, no: []string{"Ā", "\n"}},
	{name: "space in a class", java: `[a\s]+`, want: `[a\t\n\v\f\r\x20]+`, yes: []string{"a \v"}, no: []string{"s", "\u00a0"}},
	{name: "space outside", java: `a\sb`, want: `a[\t\n\v\f\r\x20]b`, yes: []string{"a\vb"}, no: []string{"asb"}},
	{name: "no space", java: `\S`, want: `[^\t\n\v\f\r\x20]`, yes: []string{"x"}, no: []string{"\v"}},
	{name: "categories", java: `[\p{L}\p{Z}\p{N}_]*`, want: `[\p{L}\p{Z}\p{N}_]*`, yes: []string{"Łódź 3_"}, no: []string{"!"}},
	{name: "slash", java: `\/[\/a]`, want: `/[/a]`, yes: []string{"//"}, no: []string{`\/`}},
	{name: "escaped brackets", java: `[\[\]]+`, want: `[\[\]]+`, yes: []string{"[]"}, no: []string{`\`}},
	{name: "dash in the middle", java: `[a-z0-9-_.]+`, want: `[a-z0-9-_.]+`, yes: []string{"a-_."}, no: []string{"A"}},
}

func TestTranslatePattern(t *testing.T) {
	t.Parallel()
	for _, c := range patterns {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := translatePattern(c.java)
			if err != nil || got != c.want {
				t.Fatalf("translatePattern(%s) = %s, %v; want %s", c.java, got, err, c.want)
			}
			s := &schema.Shape{Pattern: got}
			for _, v := range c.yes {
				if !s.Matches(v) {
					t.Errorf("%s does not match %q", got, v)
				}
			}
			for _, v := range c.no {
				if s.Matches(v) {
					t.Errorf("%s matches %q", got, v)
				}
			}
		})
	}
}

func TestTranslatePatternRefuses(t *testing.T) {
	t.Parallel()
	for name, java := range map[string]string{
		"look-ahead":         `a(?!b)`,
		"look-behind":        `(?<!a)b`,
		"back reference":     `(a)\1`,
		"possessive":         `a++`,
		"intersection":       `[a-z&&[^b]]`,
		"nested class":       `[a[bc]]`,
		"surrogate":          `[\uD800-\uDFFF]`,
		"short escape":       `\u00`,
		"escape not hex":     `\u00zz`,
		"backslash at end":   `a\`,
		"not space in class": `[\S]`,
		"bracket first":      `[]a]`,
		"open class":         `[a`,
	} {
		if got, err := translatePattern(java); err == nil {
			t.Errorf("%s: %s became %s, want an error", name, java, got)
		}
	}
}

// FuzzTranslatePattern: whatever is accepted compiles, and is accepted again
// unchanged but for \s, which the first pass has replaced.
func FuzzTranslatePattern(f *testing.F) {
	for _, c := range patterns {
		f.Add(c.java)
	}
	f.Fuzz(func(t *testing.T, java string) {
		if len(java) > 256 {
			return
		}
		p, err := translatePattern(java)
		if err != nil {
			return
		}
		(&schema.Shape{Pattern: p}).Matches("x") // panics when it does not compile
		again, err := translatePattern(p)
		if err != nil || again != p {
			t.Fatalf("%q became %q, then %q, %v", java, p, again, err)
		}
	})
}
