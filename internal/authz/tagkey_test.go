package authz

import (
	"strings"
	"testing"
	"unicode"
)

// TestFoldedKeys: condition keys are one only if strings.EqualFold takes their
// names for one.
func TestFoldedKeys(t *testing.T) {
	t.Parallel()
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if s := string(r); !strings.EqualFold(s, lower(s)) {
			t.Errorf("%U becomes %q", r, lower(s))
		}
	}
	c := NewContext()
	c.Set("aws:PrincipalTag/DİVİSION", "mine")
	if v, ok := c.Get("aws:principaltag/division"); ok {
		t.Errorf("another key holds %v", v)
	}
	if v, ok := c.Get("AWS:principaltag/dİvİsion"); !ok || v.Vals[0] != "mine" {
		t.Errorf("the key holds %v, %v", v, ok)
	}
}

// TestTagsInTwoSpellings: tags whose keys differ in case alone do not let anybody
// choose which of them policies see.
func TestTagsInTwoSpellings(t *testing.T) {
	t.Parallel()
	for _, order := range [][]string{{"Env", "env"}, {"env", "Env"}, {"Env", "env", "Env"}} {
		c := NewContext()
		for _, key := range order {
			c.Set("aws:RequestTag/"+key, map[string]string{"Env": "dev", "env": "prod"}[key])
		}
		for _, condition := range []string{
			`"StringEquals":{"aws:RequestTag/env":"dev"}`, `"StringEquals":{"aws:RequestTag/Env":"prod"}`,
			`"StringNotEquals":{"aws:RequestTag/env":"dev"}`, `"StringLike":{"aws:RequestTag/env":"*"}`,
			`"StringEqualsIfExists":{"aws:RequestTag/env":"dev"}`, `"ForAllValues:StringEquals":{"aws:RequestTag/env":"dev"}`,
			`"ForAnyValue:StringEquals":{"aws:RequestTag/env":"dev"}`,
		} {
			for effect, want := range map[string]bool{"Allow": false, "Deny": true} {
				p := compile(t, IdentityPolicy, one(`"Effect":"`+effect+`","Action":"*","Resource":"*","Condition":{`+condition+`}`))
				if got := p.statements[0].meets(c, nil); got != want {
					t.Errorf("%v: %s with %s applies: %v, want %v", order, effect, condition, got, want)
				}
			}
		}
		p := compile(t, IdentityPolicy, one(`"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Null":{"aws:RequestTag/env":"false"}}`))
		if !p.statements[0].meets(c, nil) {
			t.Errorf("%v: the key is absent", order)
		}
		p = compile(t, IdentityPolicy, one(`"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::${aws:RequestTag/env}"`))
		if p.statements[0].matchResource(&Request{Resource: "arn:aws:s3:::dev", Context: c}, nil) || p.statements[0].matchResource(&Request{Resource: "arn:aws:s3:::prod", Context: c}, nil) {
			t.Errorf("%v: a variable has a value", order)
		}
	}
	same := NewContext()
	same.Set("aws:ResourceTag/Env", "a")
	same.Set("aws:ResourceTag/Env", "b")
	if v, _ := same.Get("aws:ResourceTag/env"); v.Ambiguous || v.Vals[0] != "b" {
		t.Errorf("set twice: %+v", v)
	}
}
