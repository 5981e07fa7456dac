package iam

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
)

const (
	testIssuer   = "https://login.example.com/realms/ml"
	testProvider = "arn:aws:iam::111122223333:oidc-provider/login.example.com/realms/ml"
	testPrint    = "990f4193972f2becf12ddeda5237f9c952f20d9e"
)

func newProviderInput(url string) *iamapi.CreateOpenIDConnectProviderInput {
	return &iamapi.CreateOpenIDConnectProviderInput{Url: url, ClientIDList: []string{"sts.amazonaws.com"}, ThumbprintList: []string{testPrint}}
}

func TestProvider(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	in := newProviderInput(testIssuer)
	in.ThumbprintList = []string{strings.ToUpper(testPrint)}
	in.ClientIDList = []string{"b", "a", "b"}
	in.Tags = []iamapi.Tag{{Key: "team", Value: "ml"}}
	made := must(f.asRoot(), f, iamapi.CreateOpenIDConnectProvider, in)
	if *made.OpenIDConnectProviderArn != testProvider || len(made.Tags) != 1 {
		t.Errorf("created %+v", made)
	}
	get := func() *iamapi.GetOpenIDConnectProviderOutput {
		t.Helper()
		return must(f.asRoot(), f, iamapi.GetOpenIDConnectProvider, &iamapi.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: testProvider})
	}
	got := get()
	if *got.Url != "login.example.com/realms/ml" || !slices.Equal(got.ClientIDList, []string{"b", "a"}) ||
		!slices.Equal(got.ThumbprintList, []string{testPrint}) || !got.CreateDate.Equal(f.clock) || len(got.Tags) != 1 {
		t.Errorf("got %+v", got)
	}
	must(f.asRoot(), f, iamapi.AddClientIDToOpenIDConnectProvider, &iamapi.AddClientIDToOpenIDConnectProviderInput{OpenIDConnectProviderArn: testProvider, ClientID: "c"})
	must(f.asRoot(), f, iamapi.RemoveClientIDFromOpenIDConnectProvider, &iamapi.RemoveClientIDFromOpenIDConnectProviderInput{OpenIDConnectProviderArn: testProvider, ClientID: "b"})
	must(f.asRoot(), f, iamapi.UpdateOpenIDConnectProviderThumbprint, &iamapi.UpdateOpenIDConnectProviderThumbprintInput{OpenIDConnectProviderArn: testProvider})
	must(f.asRoot(), f, iamapi.TagOpenIDConnectProvider, &iamapi.TagOpenIDConnectProviderInput{OpenIDConnectProviderArn: testProvider, Tags: []iamapi.Tag{{Key: "TEAM", Value: "geo"}, {Key: "a", Value: "b"}}})
	must(f.asRoot(), f, iamapi.UntagOpenIDConnectProvider, &iamapi.UntagOpenIDConnectProviderInput{OpenIDConnectProviderArn: testProvider, TagKeys: []string{"A", "none"}})
	got = get()
	if !slices.Equal(got.ClientIDList, []string{"a", "c"}) || len(got.ThumbprintList) != 0 || len(got.Tags) != 1 || got.Tags[0].Value != "geo" {
		t.Errorf("changed to %+v", got)
	}
	p, err := f.s.OIDCProvider(t.Context(), testAccount, testIssuer)
	if err != nil || p.ARN != testProvider || p.URL != "login.example.com/realms/ml" || !slices.Equal(p.ClientIDs, []string{"a", "c"}) {
		t.Errorf("OIDCProvider = %+v, %v", p, err)
	}
	for _, ask := range [][2]string{
		{testAccount, testIssuer + "/"},
		{testAccount, "http" + strings.TrimPrefix(testIssuer, "https")},
		{testAccount, strings.ToUpper(testIssuer)},
		{otherAccount, testIssuer},
		{"", testIssuer},
	} {
		if _, err := f.s.OIDCProvider(t.Context(), ask[0], ask[1]); !errors.Is(err, ErrNoSuchProvider) {
			t.Errorf("OIDCProvider(%q, %q): %v, want ErrNoSuchProvider", ask[0], ask[1], err)
		}
	}
	must(f.asRoot(), f, iamapi.CreateOpenIDConnectProvider, newProviderInput("https://a.example.com:8443"))
	list := must(f.asRoot(), f, iamapi.ListOpenIDConnectProviders, &iamapi.ListOpenIDConnectProvidersInput{}).OpenIDConnectProviderList
	if len(list) != 2 || *list[0].Arn != "arn:aws:iam::111122223333:oidc-provider/a.example.com:8443" || *list[1].Arn != testProvider {
		t.Errorf("listed %+v", list)
	}
	del := &iamapi.DeleteOpenIDConnectProviderInput{OpenIDConnectProviderArn: testProvider}
	must(f.asRoot(), f, iamapi.DeleteOpenIDConnectProvider, del)
	must(f.asRoot(), f, iamapi.DeleteOpenIDConnectProvider, del) // again is no error
	if _, err := f.s.OIDCProvider(t.Context(), testAccount, testIssuer); !errors.Is(err, ErrNoSuchProvider) {
		t.Errorf("a deleted provider is there: %v", err)
	}
}

func TestProviderErrors(t *testing.T) {
	t.Parallel()
	create := func(change func(*iamapi.CreateOpenIDConnectProviderInput)) func(*fixture) error {
		in := newProviderInput(testIssuer)
		change(in)
		return do(iamapi.CreateOpenIDConnectProvider, in)
	}
	url := func(u string) func(*fixture) error {
		return create(func(in *iamapi.CreateOpenIDConnectProviderInput) { in.Url = u })
	}
	clients := make([]string, 101)
	for i := range clients {
		clients[i] = fmt.Sprint("client", i)
	}
	get := func(arn string) func(*fixture) error {
		return do(iamapi.GetOpenIDConnectProvider, &iamapi.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn})
	}
	const badURL = "Invalid Open ID Connect Provider URL"
	const other = "arn:aws:iam::111122223333:oidc-provider/other.example.com"
	notFound := "OpenIDConnect Provider not found for arn " + other
	runSteps(t, []step{
		{name: "create", run: url(testIssuer)},
		{"create twice", url(testIssuer), "EntityAlreadyExists", "Provider with url " + testIssuer + " already exists."},
		{name: "another path", run: url(testIssuer + "2")},
		{"http", url("http://login.example.com"), "ValidationError", badURL},
		{"query", url(testIssuer + "?a=b"), "ValidationError", badURL},
		{"fragment", url(testIssuer + "#a"), "ValidationError", badURL},
		{"user", url("https://a:b@login.example.com"), "ValidationError", badURL},
		{"no host", url("https:///x"), "ValidationError", badURL},
		{"port alone", url("https://:443"), "ValidationError", badURL},
		{"space", url("https://login.example.com/a b"), "ValidationError", badURL},
		{"star", url("https://*.example.com"), "ValidationError", badURL},
		{"not ASCII", url("https://lögin.example.com"), "ValidationError", badURL},
		{"six thumbprints", create(func(in *iamapi.CreateOpenIDConnectProviderInput) {
			in.Url, in.ThumbprintList = "https://x.example.com", slices.Repeat([]string{testPrint}, 6)
		}), "InvalidInput", "Thumbprint list must contain fewer than 5 entries."},
		{"no thumbprint", create(func(in *iamapi.CreateOpenIDConnectProviderInput) {
			in.ThumbprintList = []string{strings.Repeat("x", 40)}
		}), "InvalidInput", ""},
		{"101 clients", create(func(in *iamapi.CreateOpenIDConnectProviderInput) {
			in.Url, in.ClientIDList = "https://x.example.com", clients
		}), "LimitExceeded", "Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: 100"},
		{"tags twice", create(func(in *iamapi.CreateOpenIDConnectProviderInput) { in.Tags = []iamapi.Tag{{Key: "a"}, {Key: "A"}} }), "InvalidInput", ""},
		{"get none", get(other), "NoSuchEntity", notFound},
		{"get of no ARN", get("login.example.com/realms/ml"), "InvalidInput", "ARN login.example.com/realms/ml is not valid."},
		{"get of a role", get("arn:aws:iam::111122223333:role/x"), "InvalidInput", ""},
		{"get of another account", get(strings.Replace(testProvider, testAccount, otherAccount, 1)), "AccessDenied", ""},
		{"delete in another account", do(iamapi.DeleteOpenIDConnectProvider, &iamapi.DeleteOpenIDConnectProviderInput{OpenIDConnectProviderArn: strings.Replace(testProvider, testAccount, otherAccount, 1)}), "AccessDenied", ""},
		{"delete of no ARN", do(iamapi.DeleteOpenIDConnectProvider, &iamapi.DeleteOpenIDConnectProviderInput{OpenIDConnectProviderArn: "arn:aws:iam::111122223333:x"}), "InvalidInput", ""},
		{"client of none", do(iamapi.AddClientIDToOpenIDConnectProvider, &iamapi.AddClientIDToOpenIDConnectProviderInput{OpenIDConnectProviderArn: other, ClientID: "a"}), "NoSuchEntity", notFound},
		{"remove client of none", do(iamapi.RemoveClientIDFromOpenIDConnectProvider, &iamapi.RemoveClientIDFromOpenIDConnectProviderInput{OpenIDConnectProviderArn: other, ClientID: "a"}), "NoSuchEntity", notFound},
		{name: "remove client that is not there", run: do(iamapi.RemoveClientIDFromOpenIDConnectProvider, &iamapi.RemoveClientIDFromOpenIDConnectProviderInput{OpenIDConnectProviderArn: testProvider, ClientID: "a"})},
		{"thumbprint of none", do(iamapi.UpdateOpenIDConnectProviderThumbprint, &iamapi.UpdateOpenIDConnectProviderThumbprintInput{OpenIDConnectProviderArn: other, ThumbprintList: []string{testPrint}}), "NoSuchEntity", notFound},
		{"tag none", do(iamapi.TagOpenIDConnectProvider, &iamapi.TagOpenIDConnectProviderInput{OpenIDConnectProviderArn: other}), "NoSuchEntity", notFound},
		{"untag none", do(iamapi.UntagOpenIDConnectProvider, &iamapi.UntagOpenIDConnectProviderInput{OpenIDConnectProviderArn: other}), "NoSuchEntity", notFound},
		{"tags of none", do(iamapi.ListOpenIDConnectProviderTags, &iamapi.ListOpenIDConnectProviderTagsInput{OpenIDConnectProviderArn: other}), "NoSuchEntity", notFound},
	})
}

func TestProviderQuotas(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for i := range providersPerAccount {
		must(f.asRoot(), f, iamapi.CreateOpenIDConnectProvider, newProviderInput(fmt.Sprintf("https://%d.example.com", i)))
	}
	_, err := try(f.asRoot(), f, iamapi.CreateOpenIDConnectProvider, newProviderInput(testIssuer))
	wantError(t, "provider 101", err, "LimitExceeded", "Cannot exceed quota for OpenIdConnectProvidersPerAccount: 100")
	arn := "arn:aws:iam::111122223333:oidc-provider/0.example.com"
	for i := range clientsPerProvider {
		_, err = try(f.asRoot(), f, iamapi.AddClientIDToOpenIDConnectProvider, &iamapi.AddClientIDToOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, ClientID: fmt.Sprint(i)})
	}
	wantError(t, "client 101", err, "LimitExceeded", "Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: 100")
}

func TestProviderTagPages(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	in := newProviderInput(testIssuer)
	in.Tags = []iamapi.Tag{{Key: "c"}, {Key: "a"}, {Key: "b"}}
	must(f.asRoot(), f, iamapi.CreateOpenIDConnectProvider, in)
	var keys []string
	ask := &iamapi.ListOpenIDConnectProviderTagsInput{OpenIDConnectProviderArn: testProvider, MaxItems: new(int32(2))}
	for {
		out := must(f.asRoot(), f, iamapi.ListOpenIDConnectProviderTags, ask)
		for _, tag := range out.Tags {
			keys = append(keys, tag.Key)
		}
		if ask.Marker = out.Marker; !*out.IsTruncated {
			break
		}
	}
	if !slices.Equal(keys, []string{"a", "b", "c"}) {
		t.Errorf("tags in pages = %v", keys)
	}
}

// TestProviderAuthorization: operations are on the provider's ARN, with its
// tags and those of the request.
func TestProviderAuthorization(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	must(f.asRoot(), f, iamapi.CreateUser, &iamapi.CreateUserInput{UserName: "bob"})
	statement := func(action, condition string) string {
		return `{"Effect":"Allow","Action":"` + action + `","Resource":"arn:aws:iam::111122223333:oidc-provider/login.example.com/*"` + condition + `}`
	}
	must(f.asRoot(), f, iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{UserName: "bob", PolicyName: "p", PolicyDocument: `{"Version":"2012-10-17","Statement":[` +
		statement("iam:CreateOpenIDConnectProvider", "") + "," +
		statement("iam:TagOpenIDConnectProvider", `,"Condition":{"StringEquals":{"aws:RequestTag/team":"ml"}}`) + "," +
		statement("iam:DeleteOpenIDConnectProvider", `,"Condition":{"StringEquals":{"aws:ResourceTag/team":"ml","iam:ResourceTag/team":"ml"}}`) + "," +
		statement("iam:UntagOpenIDConnectProvider", `,"Condition":{"ForAllValues:StringEquals":{"aws:TagKeys":["free"]}}`) + `]}`})
	k := must(f.asRoot(), f, iamapi.CreateAccessKey, &iamapi.CreateAccessKeyInput{UserName: new("bob")}).AccessKey
	bob := f.as(k.AccessKeyId, "")
	create := func(url string, tags ...iamapi.Tag) error {
		in := newProviderInput(url)
		in.Tags = tags
		_, err := try(bob, f, iamapi.CreateOpenIDConnectProvider, in)
		return err
	}
	del := func(arn string) error {
		_, err := try(bob, f, iamapi.DeleteOpenIDConnectProvider, &iamapi.DeleteOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn})
		return err
	}
	untag := func(key string) error {
		_, err := try(bob, f, iamapi.UntagOpenIDConnectProvider, &iamapi.UntagOpenIDConnectProviderInput{OpenIDConnectProviderArn: testProvider, TagKeys: []string{key}})
		return err
	}
	wantError(t, "other URL", create("https://other.example.com/x"), "AccessDenied", "")
	wantError(t, "other tags", create(testIssuer, iamapi.Tag{Key: "team", Value: "geo"}), "AccessDenied", "")
	wantError(t, "no tags", create(testIssuer+"2"), "", "")
	wantError(t, "right tags", create(testIssuer, iamapi.Tag{Key: "team", Value: "ml"}), "", "")
	wantError(t, "untag another key", untag("team"), "AccessDenied", "")
	wantError(t, "untag", untag("free"), "", "")
	wantError(t, "delete untagged", del(testProvider+"2"), "AccessDenied", "")
	wantError(t, "delete", del(testProvider), "", "")
	_, err := try(bob, f, iamapi.ListOpenIDConnectProviders, &iamapi.ListOpenIDConnectProvidersInput{})
	wantError(t, "list", err, "AccessDenied", "")
}

func TestFederatedPrincipals(t *testing.T) {
	t.Parallel()
	n := 0
	trust := func(name string) func(*fixture) error {
		n++
		return do(iamapi.CreateRole, &iamapi.CreateRoleInput{
			RoleName:                 fmt.Sprint("role", n),
			AssumeRolePolicyDocument: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"` + name + `"},"Action":"sts:AssumeRoleWithWebIdentity"}]}`,
		})
	}
	const malformed, noDomain = "MalformedPolicyDocument", "Federated principals must be valid domain names or SAML metadata ARNs"
	runSteps(t, []step{
		{name: "provider that is not there yet", run: trust(testProvider)},
		{name: "Google", run: trust("accounts.google.com")},
		{name: "Facebook", run: trust("graph.facebook.com")},
		{name: "Amazon", run: trust("www.amazon.com")},
		{name: "Cognito", run: trust("cognito-identity.amazonaws.com")},
		{"unknown domain", trust("login.example.com"), malformed, `Invalid principal in policy: "Federated":"login.example.com"`},
		{"no domain", trust("login"), malformed, noDomain},
		{"URL", trust("https://login.example.com"), malformed, noDomain},
		{"SAML provider", trust("arn:aws:iam::111122223333:saml-provider/p"), malformed, ""},
		{"provider without a host", trust("arn:aws:iam::111122223333:oidc-provider/"), malformed, ""},
		{"provider without an account", trust("arn:aws:iam:::oidc-provider/login.example.com"), malformed, ""},
	})
}

// FuzzProviderARN: an ARN is of a provider exactly if it is the one that its
// parts make.
func FuzzProviderARN(f *testing.F) {
	f.Add(testProvider)
	f.Add("arn:aws:iam::111122223333:oidc-provider/a:443")
	f.Add("arn:aws:iam::111122223333:oidc-provider/?")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 {
			return
		}
		account, address, ok := providerOf(text)
		if ok && (providerARN(account, address) != text || !validAccount(account) || strings.ContainsAny(address, "?#* ")) {
			t.Fatalf("providerOf(%q) = %q, %q", text, account, address)
		}
	})
}

// TestProvidersOfOthersStayHidden: a caller's own policies, by which a denial is
// explicit or not, are not told the tags of another account's provider.
func TestProvidersOfOthersStayHidden(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	provider := must(f.asRoot(), f, iamapi.CreateOpenIDConnectProvider, &iamapi.CreateOpenIDConnectProviderInput{
		Url: "https://issuer.example.com", Tags: []iamapi.Tag{{Key: "team", Value: "geo"}},
	}).OpenIDConnectProviderArn
	other, err := f.s.CreateAccount(t.Context(), otherAccount)
	if err != nil {
		t.Fatal(err)
	}
	resolve := ofProvider(f.s, func(in *iamapi.GetOpenIDConnectProviderInput) string { return in.OpenIDConnectProviderArn })
	for name, ctx := range map[string]context.Context{"own": f.asRoot(), "another's": f.as(other.AccessKeyID, "")} {
		checks, err := resolve(ctx, &iamapi.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: *provider})
		if err != nil {
			t.Fatal(err)
		}
		if _, told := checks[0].Context.Get("aws:ResourceTag/team"); told != (name == "own") || checks[0].Account != testAccount {
			t.Errorf("%s provider: tags told: %v, account %s", name, told, checks[0].Account)
		}
	}
}
