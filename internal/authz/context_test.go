package authz

import (
	"errors"
	"maps"
	"strings"
	"testing"
)

// TestKeysOfEveryRequest: the names that are folded by hand are folded right,
// and cost no more than their value.
func TestKeysOfEveryRequest(t *testing.T) {
	for _, key := range []string{
		"aws:CurrentTime", "aws:EpochTime", "aws:RequestedRegion", "aws:ResourceAccount", "aws:PrincipalIsAWSService", "aws:PrincipalAccount",
		"aws:PrincipalType", "aws:PrincipalArn", "aws:TokenIssueTime", "aws:MultiFactorAuthPresent", "aws:ViaAWSService", "aws:SecureTransport",
		"aws:SourceIp", "aws:UserAgent",
	} {
		if got := folded(key); got != lower(key) {
			t.Errorf("folded(%q) = %q", key, got)
		}
		c := NewContext()
		if n := testing.AllocsPerRun(10, func() { c.Set(key, "v") }); n > 1 {
			t.Errorf("%s: %v allocations", key, n)
		}
	}
}

// TestSetLater: a value is looked up when a policy asks for its key, once, and
// what cannot be looked up allows nothing and keeps no deny from applying.
func TestSetLater(t *testing.T) {
	t.Parallel()
	const mentions = `{"Version":"2012-10-17","Statement":[{"Effect":"EFFECT","Action":"kms:*","Resource":"*","Condition":{"NumericLessThan":{"kms:Days":"3"}}},ALLOW]}`
	const allow = `{"Effect":"Allow","Action":"kms:*","Resource":"*"}`
	for _, c := range []struct {
		name, doc string
		value     string
		err       error
		want      Effect
		looks     int
	}{
		{"nobody asks", `{"Version":"2012-10-17","Statement":[` + allow + `]}`, "1", nil, Allowed, 0},
		{"of another action", replaced(mentions, "EFFECT", "Deny", "ALLOW", allow, `"kms:*"`, `"s3:*"`), "1", nil, Allowed, 0},
		{"a deny that applies", replaced(mentions, "EFFECT", "Deny", "ALLOW", allow), "2", nil, ExplicitlyDenied, 1},
		{"a deny that does not", replaced(mentions, "EFFECT", "Deny", "ALLOW", allow), "3", nil, Allowed, 1},
		{"a deny that nobody can tell", replaced(mentions, "EFFECT", "Deny", "ALLOW", allow), "3", errors.New("no"), ExplicitlyDenied, 1},
		{"an allow", replaced(mentions, "EFFECT", "Allow", ",ALLOW", ""), "2", nil, Allowed, 1},
		{"an allow that nobody can tell", replaced(mentions, "EFFECT", "Allow", ",ALLOW", ""), "2", errors.New("no"), ImplicitlyDenied, 1},
		{"a variable", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"arn:aws:kms:us-west-2:111122223333:key/${kms:days}"}]}`, "k", nil, Allowed, 1},
	} {
		p, err := Parse(IdentityPolicy, []byte(c.doc))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		looks := 0
		ctx := NewContext()
		ctx.SetLater("kms:Days", func() (string, error) {
			looks++
			return c.value, c.err
		})
		ctx.Set("aws:PrincipalAccount", "111122223333")
		for range 2 {
			d := Decide(&Request{
				Principal: Principal{Type: User, ARN: "arn:aws:iam::111122223333:user/u", Account: "111122223333"},
				Action:    "kms:DisableKey", Resource: "arn:aws:kms:us-west-2:111122223333:key/k", ResourceAccount: "111122223333", Context: ctx.Clone(),
			}, &Policies{Identity: []*Policy{p}}, nil)
			if d.Effect != c.want {
				t.Errorf("%s: %v, want %v", c.name, d.Effect, c.want)
			}
		}
		if looks != c.looks {
			t.Errorf("%s: looked up %d times, want %d", c.name, looks, c.looks)
		}
		_, listed := maps.Collect(ctx.All())["kms:days"]
		if want := c.looks > 0 && c.err == nil; listed != want || ctx.Len() != 2 {
			t.Errorf("%s: listed %t, want %t; %d keys", c.name, listed, want, ctx.Len())
		}
	}
}

func replaced(text string, pairs ...string) string {
	return strings.NewReplacer(pairs...).Replace(text)
}
