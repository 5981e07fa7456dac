package audit

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/sagekeep/sagekeep/internal/identity"
)

// TestIdentities: userIdentity of every kind of principal.
// Source: AWS CloudTrail User Guide, "CloudTrail userIdentity element".
func TestIdentities(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	const account = "111122223333"
	user := identity.Caller{
		Type: identity.User, Account: account, ARN: "arn:aws:iam::111122223333:user/bob", PrincipalID: "AIDA", AccessKeyID: "K", UserName: "bob",
	}
	root := identity.Caller{Type: identity.Root, Account: account, ARN: "arn:aws:iam::111122223333:root", PrincipalID: account, AccessKeyID: "K"}
	federated := identity.Caller{
		Type: identity.FederatedUser, Account: account, ARN: "arn:aws:sts::111122223333:federated-user/sue", PrincipalID: "111122223333:sue",
		AccessKeyID: "K", UserName: "bob", UserARN: user.ARN, UserID: "AIDA", IssuedAt: at,
	}
	byRoot := federated
	byRoot.UserName, byRoot.UserARN, byRoot.UserID = "", root.ARN, ""
	role := identity.Caller{
		Type: identity.AssumedRole, Account: account, ARN: "arn:aws:sts::111122223333:assumed-role/r/s", PrincipalID: "AROA:s", AccessKeyID: "K",
		RoleName: "r", RoleARN: "arn:aws:iam::111122223333:role/r", RoleID: "AROA", SessionName: "s", IssuedAt: at,
	}
	web := role
	web.Provider, web.SourceIdentity = "accounts.google.com", "bob"
	session := func(c identity.Caller) identity.Caller { c.IssuedAt = at; return c }
	const attributes = `"attributes":{"creationDate":"2026-11-21T10:00:00Z","mfaAuthenticated":"false"}`
	for _, tc := range []struct {
		name, want string
		caller     identity.Caller
	}{
		{"user", `{"type":"IAMUser","principalId":"AIDA","arn":"arn:aws:iam::111122223333:user/bob","accountId":"111122223333","accessKeyId":"K","userName":"bob"}`, user},
		{"session of a user", `{"type":"IAMUser","principalId":"AIDA","arn":"arn:aws:iam::111122223333:user/bob","accountId":"111122223333","accessKeyId":"K","userName":"bob",` +
			`"sessionContext":{` + attributes + `}}`, session(user)},
		{"root", `{"type":"Root","principalId":"111122223333","arn":"arn:aws:iam::111122223333:root","accountId":"111122223333","accessKeyId":"K"}`, root},
		{"session of the root", `{"type":"Root","principalId":"111122223333","arn":"arn:aws:iam::111122223333:root","accountId":"111122223333","accessKeyId":"K",` +
			`"sessionContext":{` + attributes + `}}`, session(root)},
		{"federated user", `{"type":"FederatedUser","principalId":"111122223333:sue","arn":"arn:aws:sts::111122223333:federated-user/sue","accountId":"111122223333","accessKeyId":"K",` +
			`"sessionContext":{"sessionIssuer":{"type":"IAMUser","principalId":"AIDA","arn":"arn:aws:iam::111122223333:user/bob","accountId":"111122223333","userName":"bob"},` +
			`"webIdFederationData":{},` + attributes + `}}`, federated},
		{"federated by the root", `{"type":"FederatedUser","principalId":"111122223333:sue","arn":"arn:aws:sts::111122223333:federated-user/sue","accountId":"111122223333","accessKeyId":"K",` +
			`"sessionContext":{"sessionIssuer":{"type":"Root","principalId":"111122223333","arn":"arn:aws:iam::111122223333:root","accountId":"111122223333"},` +
			`"webIdFederationData":{},` + attributes + `}}`, byRoot},
		{"role", `{"type":"AssumedRole","principalId":"AROA:s","arn":"arn:aws:sts::111122223333:assumed-role/r/s","accountId":"111122223333","accessKeyId":"K",` +
			`"sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROA","arn":"arn:aws:iam::111122223333:role/r","accountId":"111122223333","userName":"r"},` +
			`"webIdFederationData":{},` + attributes + `}}`, role},
		{"role by a provider", `{"type":"AssumedRole","principalId":"AROA:s","arn":"arn:aws:sts::111122223333:assumed-role/r/s","accountId":"111122223333","accessKeyId":"K",` +
			`"sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROA","arn":"arn:aws:iam::111122223333:role/r","accountId":"111122223333","userName":"r"},` +
			`"webIdFederationData":{"federatedProvider":"accounts.google.com","attributes":{}},` + attributes + `,"sourceIdentity":"bob"}}`, web},
		{"web identity", `{"type":"WebIdentityUser","principalId":"accounts.google.com:app:7","userName":"7","identityProvider":"accounts.google.com"}`, identity.Caller{
			Type: identity.WebIdentity, PrincipalID: "accounts.google.com:app:7", UserName: "7", Provider: "accounts.google.com",
		}},
		{"anonymous", `{"type":"AWSAccount","accountId":"ANONYMOUS_PRINCIPAL"}`, identity.Caller{Type: identity.Anonymous}},
		{"service", `{"type":"AWSService","invokedBy":"kms.amazonaws.com"}`, identity.Caller{Type: identity.Service, ServiceName: "kms.amazonaws.com"}},
	} {
		got, err := json.Marshal(identityOf(&tc.caller))
		if err != nil || string(got) != tc.want {
			t.Errorf("%s:\n%s, want\n%s, %v", tc.name, got, tc.want, err)
		}
	}
	for _, c := range []identity.Caller{user, session(root), federated, role} {
		got, err := json.Marshal(identityOf(&c).abroad())
		want := `{"type":"AWSAccount","principalId":"` + c.PrincipalID + `","accountId":"111122223333"}`
		if err != nil || string(got) != want {
			t.Errorf("%s in another account:\n%s, want\n%s, %v", c.Type, got, want, err)
		}
	}
}
