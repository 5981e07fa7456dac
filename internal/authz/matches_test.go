package authz

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// IAM API Reference, Statement: StartPosition and EndPosition.
func TestSpan(t *testing.T) {
	t.Parallel()
	const body = `"Effect":"Allow","Action":"s3:GetObject","Resource":"*"`
	tests := []struct {
		name string
		doc  string
		want string // line:column-line:column of every statement
	}{
		{"list on one line", `{"Version":"2012-10-17","Statement":[{` + body + `},{` + body + `}]}`, "1:38-1:95 1:96-1:153"},
		{"object", `{"Version":"2012-10-17","Statement":{` + body + `}}`, "1:37-1:94"},
		{"lines", "{\n  \"Statement\": [\n    {\n" + body + "\n    },\n\n\t{" + body + "}\n  ]\n}", "3:5-5:6 7:2-7:59"},
		{"carriage returns", "{\r\n\"Statement\":[\r\n{" + body + "}]}", "3:1-3:58"},
		{"characters, not bytes", `{"Id":"é€😀","Statement":[{"Sid":"é",` + body + `}]}`, "1:26-1:93"},
		{"Statement first", `{"Statement":{` + body + `},"Version":"2012-10-17"}`, "1:14-1:71"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, err := ParseStored(IdentityPolicy, []byte(tt.doc))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for i := range p.Len() {
				start, end := p.Span(i)
				got = append(got, fmt.Sprintf("%d:%d-%d:%d", start.Line, start.Column, end.Line, end.Column))
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("statements at %s, want %s", s, tt.want)
			}
		})
	}
}

func TestMatches(t *testing.T) {
	t.Parallel()
	everyone := allowAll + `,"Principal":"*"`
	tests := []struct {
		name string
		s    scene
		want []string
	}{
		{"nothing", scene{p: pAnn}, nil},
		{"every layer", scene{
			p: pAnn, identity: `"Sid":"I",` + allowAll, resource: everyone, boundary: allowAll, session: denyAll,
			scp: [][]string{{allowAll, s3Put}, {denyAll}}, rcp: [][]string{{everyone}},
		}, []string{"identity I", "resource 0", "boundary 0", "session 0 deny", "scp 0", "scp 0 deny", "rcp 0"}},
		{"a principal not named", scene{p: pBob, resource: allowTo(userAnn)}, nil},
		{"a condition not met", scene{p: pAnn, identity: allowAll + `,"Condition":{"Bool":{"a:b":"true"}}`}, nil},
		{"control policies and a service", scene{p: pService, scp: [][]string{{allowAll}}, rcp: [][]string{{everyone}}}, []string{"rcp 0"}},
		{"control policies and a service-linked role", scene{p: pLinked, identity: allowAll, scp: [][]string{{denyAll}}, rcp: [][]string{{denyAll + `,"Principal":"*"`}}}, []string{"identity 0"}},
		{"unreadable", scene{p: pAnn, identity: "!x"}, []string{"identity x ? deny"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			req, pols := tt.s.question(t)
			var got []string
			for _, m := range Matches(req, pols) {
				text := m.Layer
				if m.Policy != "" {
					text += " " + m.Policy
				}
				switch {
				case m.Statement == "":
					text += " ?"
				case m.StatementIsIndex != (m.Statement == "0"):
					t.Errorf("match %+v", m)
					fallthrough
				default:
					text += " " + m.Statement
					if m.Start != (Position{1, 38}) || m.End.Line != 1 || m.End.Column < 60 {
						t.Errorf("match at %+v to %+v", m.Start, m.End)
					}
				}
				if m.Deny {
					text += " deny"
				}
				got = append(got, text)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("matches %q, want %q", got, tt.want)
			}
		})
	}
	if m := Matches(&Request{Principal: pAnn}, nil); m != nil {
		t.Errorf("matches %+v without policies", m)
	}
}

// TestMatchesAndDecide: the decision is what the statements that apply say. A
// deny among them is an explicit deny, and nothing is allowed without an allow
// that names the caller, a grant, or the account's own root user.
func TestMatchesAndDecide(t *testing.T) {
	t.Parallel()
	g := refGen{rand.New(rand.NewPCG(7, 8))}
	ps := newPools(t, g)
	for i := range 30_000 {
		c, req, pols := g.newCase(ps)
		d := Decide(req, pols, c.grants)
		allows, denies := map[string]bool{}, 0
		first := ""
		for _, m := range Matches(req, pols) {
			if !m.Deny {
				allows[m.Layer] = true
				continue
			}
			if denies++; denies == 1 {
				first = m.Layer + " " + m.Statement
			}
		}
		fail := func(text string) {
			t.Helper()
			t.Fatalf("case %d: %s: %+v\nmatches %+v\nrequest %+v\npolicies %s", i, text, d, Matches(req, pols), req, showPolicies(pols, c.grants))
		}
		if (d.Effect == ExplicitlyDenied) != (denies > 0) || denies > 0 && first != d.Layer+" "+d.Statement {
			fail("denies")
		}
		if d.Effect != Allowed {
			continue
		}
		ownRoot := req.Principal.Type == Root && req.Principal.Account == req.ResourceAccount && !req.KMSKey && !req.Trust
		switch {
		case d.Layer == LayerGrant:
			if len(c.grants) == 0 {
				fail("allowed by no grant")
			}
		case d.Layer == LayerNone:
			if !ownRoot {
				fail("allowed by nothing")
			}
		case !allows[d.Layer]:
			fail("allowed by no statement")
		}
		if req.Principal.ofAccount() && req.Principal.Account != req.ResourceAccount && req.Principal.Type != Root &&
			d.Layer != LayerGrant && !allows[LayerIdentity] {
			fail("allowed without the caller's account")
		}
	}
}

// IAM API Reference, GetContextKeysForCustomPolicy.
func TestContextKeys(t *testing.T) {
	t.Parallel()
	doc := func(version string) string {
		return `{` + version + `"Statement":[
			{"Effect":"Allow","Action":"s3:*","Resource":["arn:aws:s3:::b/${aws:username}/${aws:PrincipalTag/Team, 'x'}${*}","*"]},
			{"Effect":"Deny","Action":"s3:*","NotResource":"arn:aws:s3:::${AWS:UserName}","Condition":{
				"StringLike":{"s3:prefix":["a","${aws:userid}/*"],"aws:UserName":"ann"},"ForAllValues:StringEquals":{"aws:TagKeys":"${$}{x:y}"},
				"NumericLessThan":{"s3:max-keys":"10"},"ArnLike":{"aws:SourceArn":"arn:aws:s3:::${a:bucket}"}}}]}`
	}
	tests := []struct{ name, doc, want string }{
		{"variables", doc(`"Version":"2012-10-17",`), "a:bucket aws:PrincipalTag/Team aws:SourceArn aws:TagKeys aws:userid aws:username s3:max-keys s3:prefix"},
		{"no variables in the old version", doc(""), "aws:SourceArn aws:TagKeys aws:UserName s3:max-keys s3:prefix"},
		{"none", one(allowAll), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := strings.Join(compile(t, IdentityPolicy, tt.doc).ContextKeys(), " "); got != tt.want {
				t.Errorf("keys %q, want %q", got, tt.want)
			}
		})
	}
	p := compile(t, IdentityPolicy, `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"s3:Get*","Resource":"*","Condition":{"StringEquals":{"a:read":"x"}}},
		{"Effect":"Allow","NotAction":"s3:Put*","Resource":"*","Condition":{"StringEquals":{"a:other":"x"}}}]}`)
	for action, want := range map[string]string{"s3:GetObject": "a:other a:read", "s3:PutObject": "", "kms:Decrypt": "a:other"} {
		if got := strings.Join(p.ContextKeysFor(action), " "); got != want {
			t.Errorf("keys for %s are %q, want %q", action, got, want)
		}
	}
	if keys := Unreadable("x").ContextKeys(); len(keys) != 0 {
		t.Errorf("keys %q of an unreadable policy", keys)
	}
}
