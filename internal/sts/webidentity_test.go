package sts_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/api/schema"
	stsapi "github.com/sagekeep/sagekeep/api/sts"
	"github.com/sagekeep/sagekeep/internal/evaluator"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/oidc"
	"github.com/sagekeep/sagekeep/internal/oidc/oidctest"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/sts"
)

// webFixture is the fixture with an issuer that account ours has as provider.
type webFixture struct {
	*fixture
	issuer   *oidctest.Issuer
	provider string // its ARN
	host     string // its URL without https://
}

func newWebFixture(t *testing.T, tokens sts.TokenVerifier) *webFixture {
	t.Helper()
	f := &webFixture{fixture: newFixture(t), issuer: oidctest.New(t)}
	f.host = strings.TrimPrefix(f.issuer.URL, "https://")
	if tokens == nil {
		tokens = oidc.New(oidc.Config{Now: f.issuer.Now, Roots: x509.NewCertPool()})
	}
	f.r = protocol.NewRegistry(evaluator.New(f.iam, nil), f)
	f.iam.Register(f.r)
	sts.New(sts.Config{Roles: f.iam, Keyring: f.keyring, Tokens: tokens, Now: f.issuer.Now}).Register(f.r)
	f.provider = f.newProvider(f.root, f.issuer.URL)
	return f
}

func (f *webFixture) newProvider(ctx context.Context, url string) string {
	f.t.Helper()
	return *must(ctx, f.fixture, iamapi.CreateOpenIDConnectProvider, &iamapi.CreateOpenIDConnectProviderInput{
		Url: url, ClientIDList: []string{oidctest.Audience}, ThumbprintList: []string{oidctest.Thumbprint(f.issuer.CA)},
	}).OpenIDConnectProviderArn
}

// unsigned returns a context of a request without a signature.
func (f *webFixture) unsigned() context.Context {
	return identity.With(f.t.Context(), &identity.Call{
		Caller: &identity.Caller{Type: identity.Anonymous, ARN: "anonymous"}, Region: "us-east-1", Time: f.clock,
	})
}

const webActions = `["sts:AssumeRoleWithWebIdentity","sts:TagSession","sts:SetSourceIdentity"]`

// webRole makes a role of ours that trusts the provider under a condition.
func (f *webFixture) webRole(name, actions, condition string) string {
	f.t.Helper()
	return f.role(name, `{"Federated":"`+f.provider+`"}`, actions, condition)
}

func (f *webFixture) token(more oidctest.Claims) string {
	return f.issuer.Token(jose.RS256, "first", more)
}

func (f *webFixture) web(roleARN, token string) (*stsapi.AssumeRoleWithWebIdentityOutput, error) {
	return f.webIn(&stsapi.AssumeRoleWithWebIdentityInput{RoleArn: roleARN, RoleSessionName: "train", WebIdentityToken: token})
}

func (f *webFixture) webIn(in *stsapi.AssumeRoleWithWebIdentityInput) (*stsapi.AssumeRoleWithWebIdentityOutput, error) {
	return protocol.Call(f.unsigned(), f.r, stsapi.AssumeRoleWithWebIdentity, in)
}

// record is the last record, with its text.
func (f *webFixture) record() (map[string]any, string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.records[len(f.records)-1], f.text[len(f.text)-1]
}

// recorded checks that the text of the last record has every part.
func (f *webFixture) recorded(parts ...string) {
	f.t.Helper()
	_, text := f.record()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			f.t.Errorf("the record has no %s:\n%s", p, text)
		}
	}
}

const subject = "system:serviceaccount:ml:train"

func TestWebIdentity(t *testing.T) {
	t.Parallel()
	f := newWebFixture(t, nil)
	role := f.webRole("train", webActions, `{"StringEquals":{"`+f.host+`:aud":"sts.amazonaws.com","`+f.host+`:oaud":"sts.amazonaws.com","sts:RoleSessionName":"train"},`+
		`"StringLike":{"`+f.host+`:sub":"system:serviceaccount:ml:*"},"ForAnyValue:StringEquals":{"`+f.host+`:amr":"mfa"},`+
		`"ArnEquals":{"aws:FederatedProvider":"`+f.provider+`"},"Bool":{"sts:RoleAuthorizedByIdp":"false"}}`)
	token := f.token(oidctest.Claims{"amr": []string{"pwd", "mfa"}})
	out, err := f.web(role, token)
	if err != nil {
		t.Fatal(err)
	}
	if *out.SubjectFromWebIdentityToken != subject || *out.Audience != oidctest.Audience || *out.Provider != f.provider ||
		out.AssumedRoleUser.Arn != "arn:aws:sts::111122223333:assumed-role/train/train" || out.PackedPolicySize != nil || out.SourceIdentity != nil {
		t.Errorf("answer = %+v", out)
	}
	if d := out.Credentials.Expiration.Sub(f.clock); d != time.Hour {
		t.Errorf("the session lasts %s, want an hour", d)
	}
	f.recorded(
		`"userIdentity":{"type":"WebIdentityUser","principalId":"`+f.provider+`:sts.amazonaws.com:`+subject+`","userName":"`+subject+`","identityProvider":"`+f.provider+`"}`,
		`"requestParameters":{"roleArn":"`+role+`","roleSessionName":"train"}`, `"subjectFromWebIdentityToken":"`+subject+`"`, `"provider":"`+f.provider+`"`,
		`"audience":"sts.amazonaws.com"`, `"identityProviderConnectionVerificationMethod":"Thumbprint"`, `"recipientAccountId":"`+ours+`"`,
		`"resources":[{"accountId":"`+ours+`","type":"AWS::IAM::Role","ARN":"`+role+`"}]`, out.Credentials.AccessKeyId,
	)
	for _, text := range f.text {
		for _, secret := range []string{token, strings.Split(token, ".")[2], out.Credentials.SecretAccessKey, out.Credentials.SessionToken} {
			if strings.Contains(text, secret) {
				t.Errorf("a record holds a token or a secret:\n%s", text)
			}
		}
	}

	session := f.session(out.Credentials)
	caller := identity.From(session).Caller
	if caller.Provider != f.provider || caller.ARN != out.AssumedRoleUser.Arn {
		t.Errorf("the session's caller is %+v", caller)
	}
	want := map[string][]string{f.host + ":aud": {"sts.amazonaws.com"}, f.host + ":sub": {subject}, f.host + ":amr": {"pwd", "mfa"}}
	if !reflect.DeepEqual(caller.ProviderKeys, want) {
		t.Errorf("the session has the keys %v, want %v", caller.ProviderKeys, want)
	}
	must(session, f.fixture, iamapi.ListUsers, &iamapi.ListUsersInput{})
	f.recorded(`"webIdFederationData":{"federatedProvider":"`+f.provider+`","attributes":{}}`, `"type":"AssumedRole"`)
}

func TestWebIdentityRefusals(t *testing.T) {
	t.Parallel()
	f := newWebFixture(t, nil)
	const untrusted = "Not authorized to perform sts:AssumeRoleWithWebIdentity"
	role := f.webRole("train", webActions, `{"StringEquals":{"`+f.host+`:sub":"`+subject+`"}}`)
	other := f.role("other", `{"AWS":"`+ours+`"}`, `"sts:AssumeRole"`, "")
	denying := f.role("denying", `"*"`, `"sts:AssumeRoleWithWebIdentity"`, "")
	must(f.root, f.fixture, iamapi.UpdateAssumeRolePolicy, &iamapi.UpdateAssumeRolePolicyInput{RoleName: "denying", PolicyDocument: `{"Version":"2012-10-17","Statement":[` +
		`{"Effect":"Allow","Principal":{"Federated":"` + f.provider + `"},"Action":"sts:AssumeRoleWithWebIdentity"},{"Effect":"Deny","Principal":"*","Action":"sts:*"}]}`})
	plain := f.role("plain", `{"Federated":"`+f.provider+`"}`, `"sts:AssumeRoleWithWebIdentity"`, "")
	good := f.token(nil)
	parts := strings.Split(good, ".")
	const missing = "arn:aws:iam::" + ours + ":role/missing"
	tags := oidctest.Claims{"https://aws.amazon.com/tags": map[string]any{"principal_tags": map[string]any{"a": []string{"b"}}}}
	in := func(change func(*stsapi.AssumeRoleWithWebIdentityInput)) *stsapi.AssumeRoleWithWebIdentityInput {
		v := &stsapi.AssumeRoleWithWebIdentityInput{RoleArn: role, RoleSessionName: "train", WebIdentityToken: good}
		change(v)
		return v
	}
	at := func(roleARN, token string) *stsapi.AssumeRoleWithWebIdentityInput {
		return in(func(v *stsapi.AssumeRoleWithWebIdentityInput) { v.RoleArn, v.WebIdentityToken = roleARN, token })
	}
	for _, tc := range []struct {
		name          string
		in            *stsapi.AssumeRoleWithWebIdentityInput
		code, message string
		proven        bool // the record names the identity
	}{
		{"missing role", at(missing, good), "AccessDenied", untrusted, true},
		{"role that trusts others", at(other, good), "AccessDenied", untrusted, true},
		{"role with a deny", at(denying, good), "AccessDenied", untrusted, true},
		{"another subject", at(role, f.token(oidctest.Claims{"sub": "system:serviceaccount:web:train"})), "AccessDenied", untrusted, true},
		{"no role", at("arn:aws:iam::"+ours+":user/bob", good), "AccessDenied", untrusted, true},
		{"tags without sts:TagSession", at(plain, f.token(tags)), "AccessDenied", "Not authorized to perform sts:TagSession", true},
		{"source identity without its action", at(plain, f.token(oidctest.Claims{"https://aws.amazon.com/source_identity": "ann"})), "AccessDenied", "Not authorized to perform sts:SetSourceIdentity", true},
		{"tags and a missing role", at(missing, f.token(tags)), "AccessDenied", untrusted, true},
		{"account without the provider", at("arn:aws:iam::"+theirs+":role/x", good), "InvalidIdentityToken", "No OpenIDConnect provider found in your account for " + f.issuer.URL, false},
		{"account that is not there", at("arn:aws:iam::999988887777:role/x", good), "InvalidIdentityToken", "No OpenIDConnect provider found in your account for " + f.issuer.URL, false},
		{"no ARN", at("a role without an ARN", good), "InvalidIdentityToken", "No OpenIDConnect provider found in your account for " + f.issuer.URL, false},
		{"another issuer", at(role, f.token(oidctest.Claims{"iss": "https://other.example.com"})), "InvalidIdentityToken", "No OpenIDConnect provider found in your account for https://other.example.com", false},
		{"wrong audience", at(role, f.token(oidctest.Claims{"aud": "other"})), "InvalidIdentityToken", "Incorrect token audience", false},
		{"expired", at(role, f.token(oidctest.Claims{"exp": f.clock.Unix() - 1})), "ExpiredTokenException", "", false},
		{"forged", at(role, parts[0]+"."+parts[1]+"."+strings.Repeat("A", len(parts[2]))), "InvalidIdentityToken", "", false},
		{"opaque token", at(role, "EAACEdEose0cBA"), "InvalidIdentityToken", "", false},
		{"provider of OAuth 2.0", in(func(v *stsapi.AssumeRoleWithWebIdentityInput) { v.ProviderId = new("graph.facebook.com") }), "InvalidIdentityToken", "", false},
		{"role not in the roles claim", at(role, f.token(oidctest.Claims{"https://aws.amazon.com/roles": []string{other}})), "InvalidIdentityToken", "The target role ARN is not present in the roles claim of the identity token", true},
		{"roles claim without roles", at(role, f.token(oidctest.Claims{"https://aws.amazon.com/roles": []string{}})), "InvalidIdentityToken", "", true},
		{"roles claim of another form", at(role, f.token(oidctest.Claims{"https://aws.amazon.com/roles": 7})), "InvalidIdentityToken", "", true},
		{"roles claim is null", at(role, f.token(oidctest.Claims{"https://aws.amazon.com/roles": json.RawMessage("null")})), "InvalidIdentityToken", "", true},
		{"too long", in(func(v *stsapi.AssumeRoleWithWebIdentityInput) { v.DurationSeconds = new(int32(7201)) }), "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.", true},
		{"session policy", in(func(v *stsapi.AssumeRoleWithWebIdentityInput) { v.Policy = new("{") }), "MalformedPolicyDocument", "", true},
		{"long session policy", in(func(v *stsapi.AssumeRoleWithWebIdentityInput) {
			v.Policy = new(strings.Replace(allowAll, `"Resource":"*"`, `"Resource":"arn:aws:s3:::`+strings.Repeat("b", 2048)+`"`, 1))
		}), "PackedPolicyTooLarge", "", true},
		{"managed policy that is not there", in(func(v *stsapi.AssumeRoleWithWebIdentityInput) {
			v.PolicyArns = []stsapi.PolicyDescriptorType{{Arn: new("arn:aws:iam::" + ours + ":policy/none")}}
		}), "ValidationError", "", true},
	} {
		_, err := f.webIn(tc.in)
		if e := schema.AsError(err); err == nil || e.Code != tc.code || tc.message != "" && e.Message != tc.message {
			t.Errorf("%s: %v, want %s %q", tc.name, err, tc.code, tc.message)
		}
		r, text := f.record()
		who := r["userIdentity"].(map[string]any)
		if got := who["type"] == "WebIdentityUser"; got != tc.proven || !got && who["accountId"] != "ANONYMOUS_PRINCIPAL" {
			t.Errorf("%s: recorded caller %v", tc.name, who)
		}
		if strings.Contains(text, tc.in.WebIdentityToken) {
			t.Errorf("%s: the record holds the token", tc.name)
		}
		want := ours
		switch {
		case strings.Contains(tc.in.RoleArn, theirs):
			want = theirs
		case !strings.Contains(tc.in.RoleArn, ours):
			want = ""
		}
		if r["recipientAccountId"] != want {
			t.Errorf("%s: recorded for %q, want %q", tc.name, r["recipientAccountId"], want)
		}
	}
	// A missing role and one that trusts others answer and are recorded alike.
	_, err1 := f.web(missing, good)
	_, err2 := f.web(other, good)
	if e1, e2 := schema.AsError(err1), schema.AsError(err2); e1.Code != e2.Code || e1.Message != e2.Message || e1.Status != e2.Status {
		t.Errorf("missing role: %v; untrusting role: %v", e1, e2)
	}
	for _, err := range []error{err1, err2} {
		if _, ok := errors.AsType[*protocol.Denial](err); !ok {
			t.Errorf("%v is no denial", err)
		}
	}
}

// TestProviderChangesBite: what an administrator takes away is gone for the
// next request, whatever is cached.
func TestProviderChangesBite(t *testing.T) {
	t.Parallel()
	f := newWebFixture(t, nil)
	role := f.webRole("train", webActions, "")
	token := f.token(nil)
	check := func(code string) {
		t.Helper()
		_, err := f.web(role, token)
		wantError(t, err, code, "")
	}
	client := func(add bool) {
		t.Helper()
		if add {
			must(f.root, f.fixture, iamapi.AddClientIDToOpenIDConnectProvider, &iamapi.AddClientIDToOpenIDConnectProviderInput{OpenIDConnectProviderArn: f.provider, ClientID: oidctest.Audience})
			return
		}
		must(f.root, f.fixture, iamapi.RemoveClientIDFromOpenIDConnectProvider, &iamapi.RemoveClientIDFromOpenIDConnectProviderInput{OpenIDConnectProviderArn: f.provider, ClientID: oidctest.Audience})
	}
	prints := func(list ...string) {
		t.Helper()
		must(f.root, f.fixture, iamapi.UpdateOpenIDConnectProviderThumbprint, &iamapi.UpdateOpenIDConnectProviderThumbprintInput{OpenIDConnectProviderArn: f.provider, ThumbprintList: list})
	}
	check("")
	client(false)
	check("InvalidIdentityToken")
	client(true)
	check("")
	prints()
	check("InvalidIdentityToken")
	prints(oidctest.Thumbprint(f.issuer.CA))
	check("")
	must(f.root, f.fixture, iamapi.DeleteOpenIDConnectProvider, &iamapi.DeleteOpenIDConnectProviderInput{OpenIDConnectProviderArn: f.provider})
	check("InvalidIdentityToken")
	f.newProvider(f.root, f.issuer.URL)
	check("")
	must(f.root, f.fixture, iamapi.UpdateAssumeRolePolicy, &iamapi.UpdateAssumeRolePolicyInput{RoleName: "train", PolicyDocument: strings.Replace(trustOurs, "ACCOUNT", ours, 1)})
	check("AccessDenied")
}

const trustOurs = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"ACCOUNT"},"Action":"sts:AssumeRole"}]}`

func TestIssuerAway(t *testing.T) {
	t.Parallel()
	f := newWebFixture(t, nil)
	role := f.webRole("train", webActions, "")
	f.issuer.Answer(oidctest.KeysPath, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	_, err := f.web(role, f.token(nil))
	wantError(t, err, "IDPCommunicationError", "")
}

// TestSignerDoesNotCount: a signature on the request changes nothing.
func TestSignerDoesNotCount(t *testing.T) {
	t.Parallel()
	f := newWebFixture(t, nil)
	role := f.webRole("train", webActions, "")
	in := &stsapi.AssumeRoleWithWebIdentityInput{RoleArn: role, RoleSessionName: "train", WebIdentityToken: f.token(nil)}
	if _, err := protocol.Call(f.ann, f.r, stsapi.AssumeRoleWithWebIdentity, in); err != nil {
		t.Fatal(err)
	}
	r, text := f.record()
	if r["recipientAccountId"] != ours || strings.Contains(text, theirs) || strings.Contains(text, "ann") {
		t.Errorf("the signer is in the record:\n%s", text)
	}
	in.WebIdentityToken = "none"
	_, err := protocol.Call(f.ann, f.r, stsapi.AssumeRoleWithWebIdentity, in)
	wantError(t, err, "InvalidIdentityToken", "")
	if r, _ := f.record(); r["recipientAccountId"] != ours || r["userIdentity"].(map[string]any)["accountId"] != "ANONYMOUS_PRINCIPAL" {
		t.Errorf("the signer is in the record: %v", r)
	}
}

func TestWebIdentityClaims(t *testing.T) {
	t.Parallel()
	f := newWebFixture(t, nil)
	condition := `{"StringEquals":{"aws:RequestTag/Project":"fields","sts:SourceIdentity":"ann"},` +
		`"ForAllValues:StringEquals":{"aws:TagKeys":["Project","Stage"],"sts:TransitiveTagKeys":["Project"]}}`
	role := f.webRole("tagged", webActions, condition)
	nested := oidctest.Claims{
		"https://aws.amazon.com/source_identity": "ann",
		"https://aws.amazon.com/tags": map[string]any{
			"principal_tags": map[string]any{"Project": []string{"fields"}, "Stage": "test"}, "transitive_tag_keys": []string{"Project"},
		},
	}
	flat := oidctest.Claims{
		"https://aws.amazon.com/source_identity":             "ann",
		"https://aws.amazon.com/tags/principal_tags/Project": "fields",
		"https://aws.amazon.com/tags/principal_tags/Stage":   []string{"test"},
		"https://aws.amazon.com/tags/transitive_tag_keys":    []string{"Project"},
		"https://aws.amazon.com/roles":                       role,
	}
	for _, c := range []struct {
		name   string
		claims oidctest.Claims
		named  bool // the token lists the role
	}{{"nested", nested, false}, {"flat", flat, true}} {
		name := c.name
		out, err := f.web(role, f.token(c.claims))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if out.SourceIdentity == nil || *out.SourceIdentity != "ann" || out.PackedPolicySize == nil {
			t.Errorf("%s: answer %+v", name, out)
		}
		f.recorded(`"principalTags":{"Project":"fields","Stage":"test"}`, `"transitiveTagKeys":["Project"]`, `"sourceIdentity":"ann"`, `"roleSessionName":"train"`)
		if _, text := f.record(); strings.Contains(text, `"RoleAuthorizedByIdp":true`) != c.named {
			t.Errorf("%s: the record says otherwise of the role: %s", name, text)
		}
		c := identity.From(f.session(out.Credentials)).Caller
		if c.SessionTags["Project"] != "fields" || c.SessionTags["Stage"] != "test" || len(c.TransitiveTagKeys) != 1 || c.SourceIdentity != "ann" {
			t.Errorf("%s: caller %+v", name, c)
		}
	}

	tag := func(v any) oidctest.Claims { return oidctest.Claims{"https://aws.amazon.com/tags": v} }
	values := func(v any) oidctest.Claims { return tag(map[string]any{"principal_tags": v}) }
	many := map[string]any{}
	for i := range 51 {
		many[strings.Repeat("k", i+1)] = "v"
	}
	for name, claims := range map[string]oidctest.Claims{
		"tags as text":            tag("Project"),
		"two values":              values(map[string]any{"Project": []string{"a", "b"}}),
		"no value":                values(map[string]any{"Project": []string{}}),
		"number":                  values(map[string]any{"Project": 7}),
		"bad key":                 values(map[string]any{"a*b": "x"}),
		"long value":              values(map[string]any{"Project": strings.Repeat("v", 257)}),
		"too many":                values(many),
		"transitive number":       tag(map[string]any{"transitive_tag_keys": []any{1}}),
		"flat tag as list of two": {"https://aws.amazon.com/tags/principal_tags/Project": []string{"a", "b"}},
		"source identity as list": {"https://aws.amazon.com/source_identity": []string{"a", "b"}},
		"bad source identity":     {"https://aws.amazon.com/source_identity": "a b"},
		"empty source identity":   {"https://aws.amazon.com/source_identity": ""},
	} {
		_, err := f.web(role, f.token(claims))
		if e := schema.AsError(err); err == nil || e.Code != "InvalidIdentityToken" {
			t.Errorf("%s: %v, want InvalidIdentityToken", name, err)
		}
	}
	for name, claims := range map[string]oidctest.Claims{
		"key twice":                  values(map[string]any{"Project": "x", "project": "y"}),
		"reserved key":               values(map[string]any{"aws:x": "x"}),
		"transitive key without tag": tag(map[string]any{"principal_tags": map[string]any{"a": "b"}, "transitive_tag_keys": []string{"c"}}),
	} {
		_, err := f.web(role, f.token(claims))
		if e := schema.AsError(err); err == nil || e.Code != "ValidationError" {
			t.Errorf("%s: %v, want ValidationError", name, err)
		}
	}
}

// believer takes every token for what it says.
type believer struct{}

func (believer) Verify(_ context.Context, p oidc.Provider, t *oidc.Token) (*oidc.Identity, error) {
	return &oidc.Identity{Issuer: t.Issuer, Subject: "1234567890", Audience: p.ClientIDs[0], Connection: oidc.TrustStore}, nil
}

// TestNamesThatAWSKnows: Google is trusted by its name or by the provider's
// ARN, and by no name without a provider.
func TestNamesThatAWSKnows(t *testing.T) {
	t.Parallel()
	f := newWebFixture(t, believer{})
	const google = "accounts.google.com"
	byName := f.role("by-name", `{"Federated":"accounts.google.com"}`, webActions, `{"StringEquals":{"accounts.google.com:sub":"1234567890"}}`)
	byARN := f.role("by-arn", `{"Federated":"arn:aws:iam::`+ours+`:oidc-provider/accounts.google.com"}`, webActions, "")
	both := f.role("both", `{"Federated":["accounts.google.com","arn:aws:iam::`+ours+`:oidc-provider/accounts.google.com"]}`, webActions, "")
	f.role("facebook", `{"Federated":["graph.facebook.com","www.amazon.com","cognito-identity.amazonaws.com"]}`, webActions, "")
	token := f.token(oidctest.Claims{"iss": "https://" + google})
	_, err := f.web(byName, token)
	wantError(t, err, "InvalidIdentityToken", "No OpenIDConnect provider found in your account for https://accounts.google.com")
	arn := f.newProvider(f.root, "https://"+google)
	for role, want := range map[string]string{byName: google, byARN: arn, both: arn} {
		out, err := f.web(role, token)
		if err != nil {
			t.Errorf("%s: %v", role, err)
			continue
		}
		if *out.Provider != want {
			t.Errorf("%s: provider %s, want %s", role, *out.Provider, want)
		}
		f.recorded(`"principalId":"` + want + `:sts.amazonaws.com:1234567890"`)
	}
}
