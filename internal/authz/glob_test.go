package authz

import (
	"math"
	"regexp"
	"strings"
	"testing"
)

// slowResource is the meaning of a resource pattern as a regular expression.
func slowResource(pattern string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString("(?s)^")
	seg := 0
	runes := []rune(pattern)
	for i, r := range runes {
		switch {
		case r == '*' && seg < 5 && i+1 < len(runes) && runes[i+1] != ':':
			b.WriteString("[^:]*")
		case r == '*':
			b.WriteString(".*")
		case r == '?' && seg < 5:
			b.WriteString("[^:]")
		case r == '?':
			b.WriteString(".")
		default:
			if r == ':' {
				seg++
			}
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	return regexp.MustCompile(b.String() + "$")
}

// IAM User Guide, "Resource", on wildcards.
func TestResourcePatterns(t *testing.T) {
	t.Parallel()
	tests := []struct {
		pattern, resource string
		want              bool
	}{
		{"*", "anything", true},
		{"arn:aws:s3:::b/*", "arn:aws:s3:::b/k", true},
		{"arn:aws:s3:::b/*", "arn:aws:s3:::b/", true},
		{"arn:aws:s3:::b/*", "arn:aws:s3:::b", false},
		{"arn:aws:s3:::b/*", "arn:aws:s3:::B/k", false},
		{"arn:aws:s3:::b/?", "arn:aws:s3:::b/é", true},
		{"arn:aws:s3:::b/??", "arn:aws:s3:::b/€", false},
		{"arn:aws:s3:::b/*??", "arn:aws:s3:::b/€", false},
		{"arn:aws:s3:::b/a.c", "arn:aws:s3:::b/abc", false},
		{"arn:aws:s3:::b/[a]", "arn:aws:s3:::b/a", false},
		{"arn:aws:s3:::b/a*c*e", "arn:aws:s3:::b/abcde", true},
		{"arn:aws:kms:*:111122223333:key/*", keyARN, true},
		{"arn:aws:kms:us-*-2:111122223333:key/*", keyARN, true},
		{"arn:aws:kms:us-w*2:111122223333:key/*", "arn:aws:kms:us-w:x2:111122223333:key/k", false},
		{"arn:aws:kms:us*:key/*", keyARN, true}, // last of its segment: passes colons
		{"arn:aws:kms:us-west-?:111122223333:key/*", keyARN, true},
		{"arn:aws:kms:us-west-2?111122223333:key/*", keyARN, false},
		{"arn:aws:s3:*", objARN, true},
		{"arn:aws:s3", objARN, true},
		{"arn:aws:s3", "arn:aws:s3-x:::b", false},
		{"arn:aws:kms:us-west-2", keyARN, true},
		{"arn:aws:kms:us-east-1", keyARN, false},
	}
	for _, tt := range tests {
		p := compile(t, IdentityPolicy, one(`"Effect":"Allow","Action":"*","Resource":"`+tt.pattern+`"`))
		req := &Request{Resource: tt.resource, Context: NewContext()}
		if got := p.statements[0].matchResource(req, nil); got != tt.want {
			t.Errorf("%q matches %q: %v, want %v", tt.pattern, tt.resource, got, tt.want)
		}
	}
	// Completion is for policies without principals only.
	p := compile(t, ResourcePolicy, one(`"Effect":"Allow","Principal":"*","Action":"*","Resource":"arn:aws:s3"`))
	if p.statements[0].matchResource(&Request{Resource: objARN}, nil) {
		t.Error("a short ARN was completed in a resource policy")
	}
}

// TestGlobSteps: hostile patterns cost at most the product of the lengths, and
// the usual ones no more than the length of what they match.
func TestGlobSteps(t *testing.T) {
	t.Parallel()
	steps := func(pattern, value string, wild wildcards) int {
		t.Helper()
		c, err := compileText(pattern, true, wild)
		if err != nil {
			t.Fatal(err)
		}
		match, n := globSteps(c.glob.pat, value, false, math.MaxInt)
		if match != c.glob.match(value, nil) {
			t.Errorf("%.20s…: two answers", pattern)
		}
		return n
	}
	for _, size := range []int{1 << 8, 1 << 10, 1 << 12} {
		value := strings.Repeat("a", size)
		for _, pattern := range []string{
			strings.Repeat("*a", size/2) + "b",
			strings.Repeat("a*", size/2) + "b",
			strings.Repeat("*", size) + "b",
			strings.Repeat("?*", size+1),
			strings.Repeat("*"+strings.Repeat("a", 50), size/50) + "b",
			"*" + strings.Repeat("a", size/2) + "b",
			"*" + strings.Repeat("a?", size/4) + "b*",
		} {
			if n, most := steps(pattern, value, wildPlain), (len(pattern)+2)*(len(value)+2); n > most {
				t.Errorf("%.20s… of %d: %d steps, more than %d", pattern, size, n, most)
			}
			// The same in the narrow segments of an ARN.
			arn := "arn:" + pattern + ":" + pattern + ":*:*"
			if n, most := steps(arn, "arn:"+value+":"+value+":x:y", wildResource), 2*(len(arn)+2)*(2*len(value)+16); n > most {
				t.Errorf("ARN of %.20s… of %d: %d steps, more than %d", pattern, size, n, most)
			}
		}
		for _, pattern := range []string{"a*", "*a", "*", "a*a", value, value + "*", "*" + value} {
			if n, most := steps(pattern, value, wildPlain), 4*(len(value)+2); n > most {
				t.Errorf("%.20s… of %d: %d steps, more than %d", pattern, size, n, most)
			}
		}
	}
}

func FuzzGlob(f *testing.F) {
	f.Add("arn:aws:kms:us-*2:*:key/*", keyARN)
	f.Add("*a*b?c", "xaybzc")
	f.Add("a*b*:c*d:*", "a:b:cd:")
	f.Add("*?x", "€x")
	f.Fuzz(func(t *testing.T, pattern, value string) {
		if len(pattern) > 64 || len(value) > 256 || strings.ToValidUTF8(pattern, "") != pattern || strings.ToValidUTF8(value, "") != value {
			return
		}
		r, err := compileText(pattern, false, wildResource)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := r.glob.match(value, nil), slowResource(pattern).MatchString(value); got != want {
			t.Fatalf("%q matches %q: %v, want %v", pattern, value, got, want)
		}
		if _, n := globSteps(r.glob.pat, value, false, math.MaxInt); n > 2*(len(pattern)+2)*(len(value)+2) {
			t.Fatalf("%q on %q takes %d steps", pattern, value, n)
		}
		// What is escaped matches itself and nothing else.
		e, err := compileText(escapeResource(pattern), true, wildResource)
		if err != nil {
			t.Fatal(err)
		}
		if !e.glob.match(pattern, nil) || e.parts != nil || pattern != value && e.glob.match(value, nil) {
			t.Fatalf("%q escaped is %q", pattern, escapeResource(pattern))
		}
		// Folding: an upper-case value matches a folded pattern as its lower case does.
		l, err := compileText(lowerASCII(pattern), false, wildPlain)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := l.glob.matchFold(value, nil), l.glob.match(lowerASCII(value), nil); got != want {
			t.Fatalf("folded %q matches %q: %v, want %v", pattern, value, got, want)
		}
	})
}

// Text of a variable is text: neither its wildcards nor its colons mean
// anything. IAM User Guide, "Policy variables".
func TestVariables(t *testing.T) {
	t.Parallel()
	ctx := NewContext()
	ctx.Set("aws:username", "a*")
	ctx.Set("aws:PrincipalTag/Team Name", "x:y")
	ctx.Set("a:raw", "\xff")
	ctx.SetMulti("aws:TagKeys", "k")
	tests := []struct {
		text, value string
		want        bool
	}{
		{"${aws:username}", "a*", true},
		{"${aws:username}", "ab", false},
		{"${AWS:UserName}/*", "a*/x", true},
		{"${aws:PrincipalTag/team name}", "x:y", true},
		{"${a:raw}", "anything", false},
		{"${a:none}", "", false},
		{"${a:none, 'd'}", "d", true},
		{"${a:none,'d*'}", "dx", false},
		{"${a:none, 'a}b'}", "a}b", true},
		{"${aws:username, 'd'}", "a*", true},
		{"${aws:TagKeys}", "k", false},
		{"${aws:TagKeys, 'k'}", "k", false},
		{"${*}", "*", true},
		{"${*}", "x", false},
		{"${?}${$}", "?$", true},
		{"$x{", "$x{", true},
	}
	for _, tt := range tests {
		c, err := compileText(tt.text, true, wildPlain)
		if err != nil {
			t.Fatalf("%q: %v", tt.text, err)
		}
		if got, _ := c.matchGlob(tt.value, ctx, nil); got != tt.want {
			t.Errorf("%q matches %q: %v, want %v", tt.text, tt.value, got, tt.want)
		}
	}
	old, err := compileText("${aws:username}", false, wildPlain)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := old.matchGlob("${aws:username}", ctx, nil); !got {
		t.Error("in version 2008-10-17 a variable is not literal")
	}
	for _, bad := range []string{"${", "${}", "${ }", "${a", "${a,b}", "${a, 'b}", "${a, 'b' c}", "${a${b}}", "${a{b}"} {
		if _, err := compileText(bad, true, wildPlain); err == nil {
			t.Errorf("%q compiles", bad)
		}
	}
}
