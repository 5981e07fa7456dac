package iam

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/sigv4"
)

// maker is the caller of a long-term key.
func (f *fixture) maker(keyID string) *identity.Caller {
	f.t.Helper()
	return callerOf(f.t, lookup(f.t, f, keyID, "", nil))
}

// userSession mints a session of a user or the root user.
func (f *fixture) userSession(spec UserSessionSpec) *SessionCredentials {
	f.t.Helper()
	if spec.Duration == 0 {
		spec.Duration = time.Hour
	}
	c, err := f.s.MintUserSession(spec)
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

// TestUserSessionCallers: who the sessions of users are.
// Source: IAM User Guide, "IAM policy elements: Variables and tags", principal
// key values; AWS STS API Reference, GetFederationToken.
func TestUserSessionCallers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	u, k := f.newUser("bob")
	must(f.asRoot(), f, iamapi.TagUser, &iamapi.TagUserInput{UserName: "bob", Tags: []iamapi.Tag{{Key: "team", Value: "geo"}, {Key: "Stage", Value: "prod"}}})
	bob, root := f.maker(k.AccessKeyId), f.maker(f.root.AccessKeyID)
	tags := map[string]string{"stage": "test"}
	for _, tc := range []struct {
		name string
		spec UserSessionSpec
		want identity.Caller
		tags string
	}{
		{
			name: "user", spec: UserSessionSpec{Maker: bob}, tags: "map[Stage:prod team:geo]",
			want: identity.Caller{Type: identity.User, ARN: u.Arn, PrincipalID: u.UserId, UserName: "bob"},
		},
		{
			name: "root user", spec: UserSessionSpec{Maker: root}, tags: "map[]",
			want: identity.Caller{Type: identity.Root, ARN: "arn:aws:iam::111122223333:root", PrincipalID: testAccount},
		},
		{
			name: "own session takes no policy and no tag", spec: UserSessionSpec{Maker: root, Policies: []string{allowAll}, Tags: tags}, tags: "map[]",
			want: identity.Caller{Type: identity.Root, ARN: "arn:aws:iam::111122223333:root", PrincipalID: testAccount},
		},
		{
			name: "federated user", spec: UserSessionSpec{Maker: bob, FederatedName: "sue", Tags: tags, Policies: []string{allowAll}}, tags: "map[stage:test team:geo]",
			want: identity.Caller{
				Type: identity.FederatedUser, ARN: "arn:aws:sts::111122223333:federated-user/sue", PrincipalID: "111122223333:sue",
				UserName: "bob", UserARN: u.Arn, UserID: u.UserId, SessionPolicies: []string{allowAll},
			},
		},
		{
			name: "federated by the root user", spec: UserSessionSpec{Maker: root, FederatedName: "sue"}, tags: "map[]",
			want: identity.Caller{
				Type: identity.FederatedUser, ARN: "arn:aws:sts::111122223333:federated-user/sue", PrincipalID: "111122223333:sue",
				UserARN: "arn:aws:iam::111122223333:root",
			},
		},
	} {
		c := f.userSession(tc.spec)
		if !strings.HasPrefix(c.AccessKeyID, temporaryPrefix) {
			t.Errorf("%s: access key id %s", tc.name, c.AccessKeyID)
		}
		got := *callerOf(t, lookup(t, f, c.AccessKeyID, c.SessionToken, nil))
		if s := fmt.Sprint(got.SessionTags); s != tc.tags {
			t.Errorf("%s: tags %s, want %s", tc.name, s, tc.tags)
		}
		tc.want.Account, tc.want.AccessKeyID, tc.want.IssuedAt = testAccount, c.AccessKeyID, f.now()
		got.SessionTags = nil
		if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", tc.want); g != w {
			t.Errorf("%s:\n%s, want\n%s", tc.name, g, w)
		}
		if s := fmt.Sprintf("%v %+v", c, *c); strings.Contains(s, c.SecretAccessKey) || strings.Contains(s, c.SessionToken) {
			t.Errorf("%s: the credentials print their secret", tc.name)
		}
	}
}

// TestWhoMintsUserSessions: long-term credentials alone.
func TestWhoMintsUserSessions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, k := f.newUser("bob")
	role := f.newRole("reader")
	own := f.userSession(UserSessionSpec{Maker: f.maker(k.AccessKeyId)})
	assumed := f.session(role.Arn, SessionSpec{})
	for name, m := range map[string]*identity.Caller{
		"session of a user": callerOf(t, lookup(t, f, own.AccessKeyID, own.SessionToken, nil)),
		"session of a role": callerOf(t, lookup(t, f, assumed.AccessKeyID, assumed.SessionToken, nil)),
		"service":           {Type: identity.Service, ServiceName: "s3.amazonaws.com"},
		"nobody":            {},
	} {
		if c, err := f.s.MintUserSession(UserSessionSpec{Maker: m, Duration: time.Hour}); err == nil {
			t.Errorf("%s made %v", name, c)
		}
	}
}

// TestUserSessionsEnd: with their user, at their second, and not with the access
// key that asked for them.
// Source: IAM User Guide, "Disabling permissions for temporary security
// credentials".
func TestUserSessionsEnd(t *testing.T) {
	t.Parallel()
	for _, federated := range []string{"", "sue"} {
		t.Run("federated "+federated, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			_, k := f.newUser("bob")
			must(f.asRoot(), f, iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{UserName: "bob", PolicyName: "all", PolicyDocument: allowAll})
			c := f.userSession(UserSessionSpec{Maker: f.maker(k.AccessKeyId), FederatedName: federated, Policies: []string{allowAll}})
			caller := callerOf(t, lookup(t, f, c.AccessKeyID, c.SessionToken, nil))
			if !f.may(caller, "kms:ListKeys", "*") {
				t.Fatal("the session may not do what its user may")
			}

			must(f.asRoot(), f, iamapi.UpdateAccessKey, &iamapi.UpdateAccessKeyInput{UserName: new("bob"), AccessKeyId: k.AccessKeyId, Status: "Inactive"})
			lookup(t, f, k.AccessKeyId, "", sigv4.ErrInactive)
			lookup(t, f, c.AccessKeyID, c.SessionToken, nil)
			must(f.asRoot(), f, iamapi.DeleteAccessKey, &iamapi.DeleteAccessKeyInput{UserName: new("bob"), AccessKeyId: k.AccessKeyId})
			lookup(t, f, c.AccessKeyID, c.SessionToken, nil)

			must(f.asRoot(), f, iamapi.DeleteUserPolicy, &iamapi.DeleteUserPolicyInput{UserName: "bob", PolicyName: "all"})
			if f.may(caller, "kms:ListKeys", "*") {
				t.Error("the session may do what its user may no more")
			}

			f.pass(time.Hour - time.Second)
			lookup(t, f, c.AccessKeyID, c.SessionToken, nil)
			f.pass(time.Second)
			lookup(t, f, c.AccessKeyID, c.SessionToken, sigv4.ErrTokenExpired)
			f.pass(-time.Hour)

			must(f.asRoot(), f, iamapi.DeleteUser, &iamapi.DeleteUserInput{UserName: "bob"})
			lookup(t, f, c.AccessKeyID, c.SessionToken, sigv4.ErrTokenInvalid)
			if _, err := f.s.PoliciesOf(t.Context(), caller); !errors.Is(err, ErrPrincipalGone) {
				t.Errorf("PoliciesOf a session without its user: %v", err)
			}
			f.newUser("bob")
			lookup(t, f, c.AccessKeyID, c.SessionToken, sigv4.ErrTokenInvalid)
			if _, err := f.s.PoliciesOf(t.Context(), caller); !errors.Is(err, ErrPrincipalGone) {
				t.Errorf("PoliciesOf a session of the user's namesake: %v", err)
			}
		})
	}
}

// TestFederatedPermissions: both the maker and the session policies must allow.
// Source: IAM User Guide, "Permissions for GetFederationToken".
func TestFederatedPermissions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, k := f.newUser("bob")
	must(f.asRoot(), f, iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{
		UserName: "bob", PolicyName: "p", PolicyDocument: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["kms:*","s3:*"],"Resource":"*"}]}`,
	})
	bob, root := f.maker(k.AccessKeyId), f.maker(f.root.AccessKeyID)
	kms := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["kms:*","sqs:*"],"Resource":"*"}]}`
	for _, tc := range []struct {
		name     string
		maker    *identity.Caller
		policies []string
		may      map[string]bool
	}{
		{"no session policy", bob, nil, map[string]bool{"kms:ListKeys": false}},
		{"no session policy, root user", root, nil, map[string]bool{"kms:ListKeys": false}},
		{"intersection", bob, []string{kms}, map[string]bool{"kms:ListKeys": true, "s3:ListBucket": false, "sqs:ListQueues": false}},
		{"root user", root, []string{kms}, map[string]bool{"kms:ListKeys": true, "s3:ListBucket": false, "sqs:ListQueues": true}},
		{"managed", bob, []string{"arn:aws:iam::aws:policy/AmazonS3FullAccess"}, map[string]bool{"kms:ListKeys": false, "s3:ListBucket": true}},
		{"managed that is gone", bob, []string{kms, "arn:aws:iam::111122223333:policy/gone"}, map[string]bool{"kms:ListKeys": false}},
	} {
		c := f.userSession(UserSessionSpec{Maker: tc.maker, FederatedName: "sue", Policies: tc.policies})
		caller := callerOf(t, lookup(t, f, c.AccessKeyID, c.SessionToken, nil))
		for action, want := range tc.may {
			if got := f.may(caller, action, "*"); got != want {
				t.Errorf("%s: %s = %t, want %t", tc.name, action, got, want)
			}
		}
	}
}

// TestSessionTokensAreExact: a token of another purpose, account, key or kind,
// and one that was changed, opens nothing.
func TestSessionTokensAreExact(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, k := f.newUser("bob")
	bob := f.maker(k.AccessKeyId)
	role := f.newRole("reader")
	c := f.userSession(UserSessionSpec{Maker: bob})
	other := f.userSession(UserSessionSpec{Maker: bob, FederatedName: "sue"})
	lookup(t, f, other.AccessKeyID, c.SessionToken, sigv4.ErrTokenInvalid)
	lookup(t, f, k.AccessKeyId, c.SessionToken, sigv4.ErrTokenInvalid)
	lookup(t, f, c.AccessKeyID, "", sigv4.ErrUnknownKey)
	for i := range c.SessionToken {
		b := []byte(c.SessionToken)
		b[i] ^= 1
		if _, err := f.s.Lookup(t.Context(), c.AccessKeyID, string(b)); !errors.Is(err, sigv4.ErrTokenInvalid) {
			t.Fatalf("token with byte %d changed: %v", i, err)
		}
	}

	good := sessionToken{Kind: userSession, AccessKeyID: c.AccessKeyID, Secret: "s", OwnerID: bob.PrincipalID, Issued: f.now().UnixMicro()}
	seal := func(purpose envelope.Purpose, account string, expires time.Time, change func(*sessionToken)) string {
		token := good
		change(&token)
		b, err := json.Marshal(token)
		if err != nil {
			t.Fatal(err)
		}
		text, err := f.s.keyring.SealToken(purpose, envelope.Token{Account: account, Expires: expires, Payload: b})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	later := f.now().Add(time.Hour)
	same := func(*sessionToken) {}
	lookup(t, f, c.AccessKeyID, seal(envelope.SessionToken, testAccount, later, same), nil)
	for name, text := range map[string]string{
		"page token":            seal(envelope.PageToken, testAccount, later, same),
		"grant token":           seal(envelope.GrantToken, testAccount, later, same),
		"authorization message": seal(envelope.AuthorizationMessage, testAccount, later, same),
		"without an end":        seal(envelope.SessionToken, testAccount, time.Time{}, same),
		"another account":       seal(envelope.SessionToken, otherAccount, later, same),
		"root of no account":    seal(envelope.SessionToken, otherAccount, later, func(s *sessionToken) { s.OwnerID = "" }),
		"no kind":               seal(envelope.SessionToken, testAccount, later, func(s *sessionToken) { s.Kind = "" }),
		"unknown kind":          seal(envelope.SessionToken, testAccount, later, func(s *sessionToken) { s.Kind = "admin" }),
		"role kind":             seal(envelope.SessionToken, testAccount, later, func(s *sessionToken) { s.Kind = roleSession }),
		"role without an id":    seal(envelope.SessionToken, testAccount, later, func(s *sessionToken) { s.Kind, s.OwnerID = roleSession, "" }),
		"user kind of a role":   seal(envelope.SessionToken, testAccount, later, func(s *sessionToken) { s.OwnerID = role.RoleId }),
		"unknown user":          seal(envelope.SessionToken, testAccount, later, func(s *sessionToken) { s.OwnerID = "AIDAAAAAAAAAAAAAAAAAA" }),
	} {
		if got, err := f.s.Lookup(t.Context(), c.AccessKeyID, text); !errors.Is(err, sigv4.ErrTokenInvalid) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// TestSessionsOnEveryNode: a token is all that another node needs.
func TestSessionsOnEveryNode(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	role := f.newRole("reader")
	c := f.session(role.Arn, SessionSpec{Tags: map[string]string{"team": "geo"}, TransitiveKeys: []string{"team"}, SourceIdentity: "bob"})
	other := New(Deps{Store: f.s.store, Keyring: f.s.keyring, Now: f.now})
	got, err := other.Lookup(t.Context(), c.AccessKeyID, c.SessionToken)
	if err != nil {
		t.Fatal(err)
	}
	caller := callerOf(t, got)
	if caller.SourceIdentity != "bob" || caller.Transitive()["team"] != "geo" || got.Secret != c.SecretAccessKey {
		t.Errorf("the other node sees %+v", caller)
	}
}
