package authz

import (
	"strings"
	"testing"
)

// explainDenied decides a request and explains its denial.
func explainDenied(t *testing.T, req *Request, pols *Policies) (Decision, *Explanation) {
	t.Helper()
	d := Decide(req, pols, nil)
	if d.Effect == Allowed {
		t.Fatal("the request is allowed")
	}
	return d, Explain(req, pols, nil, d)
}

func parsedStatement(t *testing.T, kind Kind, statement string) *Policy {
	t.Helper()
	p, err := Parse(kind, Document([]byte(statement)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestDelegatedDenial: when the resource's account leaves the decision to the
// caller's, the reason quotes the caller's policies and says so.
func TestDelegatedDenial(t *testing.T) {
	t.Parallel()
	req := &Request{
		Principal: Principal{Type: User, ARN: "arn:aws:iam::444455556666:user/max", Account: "444455556666"},
		Action:    "kms:DescribeKey", Resource: "arn:aws:kms:us-west-2:111122223333:key/k", ResourceAccount: "111122223333", KMSKey: true, Context: NewContext(),
	}
	mine := parsedStatement(t, IdentityPolicy, `{"Sid":"OnlyFromVPN","Effect":"Allow","Action":"kms:*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.77.0.0/16"}}}`)
	pols := &Policies{
		Identity: []*Policy{mine},
		Resource: parsedStatement(t, KeyPolicy, `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::444455556666:root"},"Action":"kms:*","Resource":"*"}`),
	}
	d, e := explainDenied(t, req, pols)
	if d.Layer != LayerResource || d.Lacking != LayerIdentity || !strings.Contains(d.Reason, "OnlyFromVPN") {
		t.Errorf("decision %+v", d)
	}
	if len(e.Facts) != 1 || e.Facts[0].Layer != LayerIdentity || len(e.Changes) != 1 || e.Changes[0].Layer != LayerIdentity {
		t.Errorf("facts %+v, changes %+v", e.Facts, e.Changes)
	}
	// Another account's grants are not for the reason either.
	grants := []Grant{{ID: "secret-grant", Grantee: "arn:aws:iam::444455556666:user/eve", Operations: []string{"Decrypt"}}}
	pols.Resource = parsedStatement(t, KeyPolicy, `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::444455556666:root"},"Action":"kms:*","Resource":"*"}`)
	if d := Decide(req, pols, grants); strings.Contains(d.Reason, "grant") {
		t.Errorf("the reason quotes a grant: %s", d.Reason)
	}
}

// TestTrustProposalsAreHeld: what is proposed for a trust policy names the
// token's audience and subject, and the external id that was sent.
func TestTrustProposalsAreHeld(t *testing.T) {
	t.Parallel()
	ctx := NewContext()
	ctx.Set("idp.example.com:aud", "sts.amazonaws.com")
	ctx.Set("idp.example.com:sub", "repo:${x}:*")
	ctx.Set("idp.example.com:email", "e")
	req := &Request{
		Principal: Principal{Type: Federated, ARN: "arn:aws:iam::111122223333:oidc-provider/idp.example.com"},
		Action:    "sts:AssumeRoleWithWebIdentity", Resource: "arn:aws:iam::111122223333:role/r", ResourceAccount: "111122223333", Trust: true, Context: ctx,
	}
	pols := &Policies{Resource: parsedStatement(t, TrustPolicy, `{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"sts:AssumeRole"}`)}
	_, e := explainDenied(t, req, pols)
	want := `{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::111122223333:oidc-provider/idp.example.com"},"Action":"sts:AssumeRoleWithWebIdentity",` +
		`"Condition":{"StringEquals":{"idp.example.com:aud":"sts.amazonaws.com","idp.example.com:sub":"repo:${$}{x}:*"}}}`
	if len(e.Changes) != 1 || string(e.Changes[0].Add) != want {
		t.Fatalf("changes %+v, want %s", e.Changes, want)
	}
	pols.Resource = parsedStatement(t, TrustPolicy, want)
	if d := Decide(req, pols, nil); d.Effect != Allowed {
		t.Errorf("with the change: %s: %s", d.Effect, d.Reason)
	}
	ctx.Set("idp.example.com:sub", "repo:${x}:another")
	if d := Decide(req, pols, nil); d.Effect == Allowed {
		t.Error("the change lets in another subject")
	}

	ctx = NewContext()
	ctx.Set("sts:ExternalId", "guess")
	req = &Request{
		Principal: Principal{Type: User, ARN: "arn:aws:iam::444455556666:user/max", Account: "444455556666"},
		Action:    "sts:AssumeRole", Resource: "arn:aws:iam::111122223333:role/r", ResourceAccount: "111122223333", Trust: true, Context: ctx,
	}
	pols = &Policies{
		Identity: []*Policy{parsedStatement(t, IdentityPolicy, `{"Effect":"Allow","Action":"sts:*","Resource":"*"}`)},
		Resource: parsedStatement(t, TrustPolicy, `{"Effect":"Allow","Principal":{"AWS":"444455556666"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"right"}}}`),
	}
	if _, e := explainDenied(t, req, pols); len(e.Changes) != 1 || !strings.Contains(string(e.Changes[0].Add), `"sts:ExternalId":"guess"`) {
		t.Errorf("changes %+v", e.Changes)
	}
}

// TestResolvedVariables: a fact tells what a variable stood for, or that it
// stood for nothing.
func TestResolvedVariables(t *testing.T) {
	t.Parallel()
	identity := parsedStatement(t, IdentityPolicy, `{"Effect":"Allow","Action":"kms:Decrypt","Resource":"*","Condition":{"StringLike":{"aws:ResourceTag/project":["${aws:PrincipalTag/project}-*","fixed"]}}}`)
	for name, c := range map[string]struct {
		tag  string
		want string
	}{
		"a value": {"rad", "rad-*|fixed"},
		"none":    {"", "(the request has no aws:principaltag/project)|fixed"},
	} {
		ctx := NewContext()
		ctx.Set("aws:ResourceTag/project", "card-1")
		if c.tag != "" {
			ctx.Set("aws:PrincipalTag/project", c.tag)
		}
		req := &Request{
			Principal: Principal{Type: User, ARN: "arn:aws:iam::111122223333:user/a", Account: "111122223333"},
			Action:    "kms:Decrypt", Resource: "arn:aws:kms:us-west-2:111122223333:key/k", ResourceAccount: "111122223333", Context: ctx,
		}
		_, e := explainDenied(t, req, &Policies{Identity: []*Policy{identity}})
		if len(e.Facts) != 1 || strings.Join(e.Facts[0].Resolved, "|") != c.want {
			t.Errorf("%s: facts %+v, want %s", name, e.Facts, c.want)
		}
	}
}

// TestProposedResources: what has no name yet is proposed as a service asks for
// it, an object with a star in its name is that object alone.
func TestProposedResources(t *testing.T) {
	t.Parallel()
	for resource, want := range map[string]string{
		"arn:aws:s3:::*": "arn:aws:s3:::*",
		"arn:aws:sagemaker-geospatial:us-west-2:111122223333:earth-observation-job/*": "arn:aws:sagemaker-geospatial:us-west-2:111122223333:earth-observation-job/*",
		"arn:aws:s3:::bucket/*":    "arn:aws:s3:::bucket/${*}",
		"arn:aws:s3:::bucket/a*b?": "arn:aws:s3:::bucket/a${*}b${?}",
	} {
		if got := escapeResource(resource); got != want {
			t.Errorf("%s is proposed as %s, want %s", resource, got, want)
		}
	}
}
