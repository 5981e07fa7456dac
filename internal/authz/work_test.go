package authz

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// quoted is a JSON string.
func quoted(s string) string { b, _ := json.Marshal(s); return string(b) }

// TestWorkIsBounded: documents and requests whose lengths multiply are denied
// instead of being told, and cost no more than what they may.
func TestWorkIsBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 60_000)
	ctx := NewContext()
	ctx.Set("aws:UserAgent", long)
	everything := compile(t, IdentityPolicy, one(`"Effect":"Allow","Action":"*","Resource":"*"`))
	many := make([]string, 2000)
	for i := range many {
		many[i] = quoted(fmt.Sprintf("*a?aaab%d", i))
	}
	like := func(pattern string) string { return `"Condition":{"StringLike":{"aws:UserAgent":` + pattern + `}}` }
	star := `"Action":"*","Resource":"*",`
	for name, statement := range map[string]string{
		"long pattern":     star + like(quoted("*"+strings.Repeat("a", 18_000)+"b")),
		"single wildcards": star + like(quoted("*"+strings.Repeat("a?", 9_000)+"b")),
		"many patterns":    star + like(`[`+strings.Join(many, ",")+`]`),
		"variables":        star + like(quoted(strings.Repeat("${aws:UserAgent}x", 1000))),
		"ARN":              star + `"Condition":{"ArnLike":{"aws:SourceArn":` + quoted("arn:aws:s3:::*"+strings.Repeat("a", 18_000)+"b") + `}}`,
		"resource":         `"Action":"*","Resource":` + quoted("arn:aws:s3:::*"+strings.Repeat("a", 18_000)+"b"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := ctx.Clone()
			ctx.Set("aws:SourceArn", "arn:aws:s3:::"+long)
			req := &Request{Principal: pAnn, Action: "s3:GetObject", Resource: "arn:aws:s3:::" + long, ResourceAccount: accA, Context: ctx}
			for _, effect := range []string{"Allow", "Deny"} {
				pols := &Policies{Identity: []*Policy{compile(t, IdentityPolicy, one(`"Effect":"`+effect+`",`+statement))}}
				if effect == "Deny" {
					pols.Identity = append(pols.Identity, everything)
				}
				d := Decide(req, pols, nil)
				if d.Effect != ImplicitlyDenied || d.Layer != LayerNone || d.Reason != reasonCostly {
					t.Errorf("%s: Decide = %+v", effect, d)
				}
				if e := Explain(req, pols, nil, d); len(e.Facts) > 0 || len(e.Changes) > 0 {
					t.Errorf("%s: explained by %+v and %+v", effect, e.Facts, e.Changes)
				}
				if m := Matches(req, pols); m != nil {
					t.Errorf("%s: matches %+v", effect, m)
				}
			}
		})
	}
}

// TestWorkShared: a bound that questions share ends them all.
func TestWorkShared(t *testing.T) {
	t.Parallel()
	pols := &Policies{Identity: []*Policy{compile(t, IdentityPolicy, one(`"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::*b*/*"`))}}
	req := &Request{Principal: pAnn, Action: "s3:GetObject", Resource: objARN, ResourceAccount: accA, Context: NewContext(), Work: NewWork(1000)}
	n := 0
	for ; Decide(req, pols, nil).Effect == Allowed; n++ {
		if req.Work.Spent() {
			t.Fatal("allowed with a spent bound")
		}
	}
	if n < 2 || n > 500 || !req.Work.Spent() {
		t.Errorf("%d questions in 1000 steps, spent: %v", n, req.Work.Spent())
	}
	req.Work = nil
	if d := Decide(req, pols, nil); d.Effect != Allowed {
		t.Errorf("alone: %+v", d)
	}
}
