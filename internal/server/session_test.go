package server

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	stsapi "github.com/sagekeep/sagekeep/api/sts"
	"github.com/sagekeep/sagekeep/internal/client"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/protocol/wire"
	"github.com/sagekeep/sagekeep/internal/sigv4"
)

// newUser makes a user with an inline policy of these statements.
func newUser(t *testing.T, root *client.Client, name, statements string) *client.Client {
	t.Helper()
	_, err := client.Call(t.Context(), root, iamapi.CreateUser, &iamapi.CreateUserInput{UserName: name})
	must(t, err)
	if statements != "" {
		_, err = client.Call(t.Context(), root, iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{
			UserName: name, PolicyName: "p", PolicyDocument: `{"Version":"2012-10-17","Statement":[` + statements + `]}`,
		})
		must(t, err)
	}
	k, err := client.Call(t.Context(), root, iamapi.CreateAccessKey, &iamapi.CreateAccessKeyInput{UserName: &name})
	must(t, err)
	return root.As(sigv4.Credential{AccessKeyID: k.AccessKey.AccessKeyId, Secret: k.AccessKey.SecretAccessKey})
}

func sessionOf(c *client.Client, s *stsapi.Credentials) *client.Client {
	return c.As(sigv4.Credential{AccessKeyID: s.AccessKeyId, Secret: s.SecretAccessKey, SessionToken: s.SessionToken})
}

// TestClosedServices: the names by which identity closes services to sessions
// are those of the services.
func TestClosedServices(t *testing.T) {
	t.Parallel()
	federated := &identity.Caller{Type: identity.FederatedUser}
	for name := range map[string]bool{iamapi.Service.Name: true, stsapi.Service.Name: true} {
		if federated.MayCall(name, "AnythingNew") {
			t.Errorf("%s is open to federated users", name)
		}
	}
}

// TestFederatedConditions: what a federated user is to a policy.
// Source: IAM User Guide, "AWS global condition context keys" and "IAM policy
// elements: Variables and tags", principal key values.
func TestFederatedConditions(t *testing.T) {
	t.Parallel()
	_, root := startServer(t)
	const sue = "arn:aws:sts::111122223333:federated-user/sue"
	bob := newUser(t, root, "bob", `{"Effect":"Allow","Action":["kms:*","sts:*"],"Resource":"*"}`)
	federate := func(in *stsapi.GetFederationTokenInput) *client.Client {
		t.Helper()
		in.Name = "sue"
		out, err := client.Call(t.Context(), bob, stsapi.GetFederationToken, in)
		must(t, err)
		return sessionOf(root, out.Credentials)
	}
	lists := func(c *client.Client) bool {
		t.Helper()
		_, err := client.Call(t.Context(), c, kmsapi.ListKeys, &kmsapi.ListKeysInput{})
		if err != nil && apiError(t, err).Code != "AccessDeniedException" {
			t.Fatal(err)
		}
		return err == nil
	}
	for condition, want := range map[string]bool{
		`{"StringEquals":{"aws:PrincipalType":"FederatedUser"}}`:      true,
		`{"StringEquals":{"aws:userid":"111122223333:sue"}}`:          true,
		`{"ArnEquals":{"aws:PrincipalArn":"` + sue + `"}}`:            true,
		`{"StringEquals":{"aws:PrincipalTag/team":"geo"}}`:            true,
		`{"StringEquals":{"aws:PrincipalAccount":"111122223333"}}`:    true,
		`{"Null":{"aws:username":"true"}}`:                            true,
		`{"Null":{"aws:TokenIssueTime":"false"}}`:                     true,
		`{"Bool":{"aws:MultiFactorAuthPresent":"false"}}`:             true,
		`{"StringEquals":{"aws:username":"bob"}}`:                     false,
		`{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/bob"}}`:  false,
		`{"DateLessThan":{"aws:TokenIssueTime":"2001-01-01T00:00Z"}}`: false,
	} {
		c := federate(&stsapi.GetFederationTokenInput{
			Tags:   []stsapi.Tag{{Key: "team", Value: "geo"}},
			Policy: new(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:ListKeys","Resource":"*","Condition":` + condition + `}]}`),
		})
		if got := lists(c); got != want {
			t.Errorf("%s: %t, want %t", condition, got, want)
		}
	}
	bare := federate(&stsapi.GetFederationTokenInput{})
	if lists(bare) {
		t.Error("a federated user without a session policy may do what its user may")
	}
	// A resource policy that names the federated user needs nothing else.
	key, err := client.Call(t.Context(), root, kmsapi.CreateKey, &kmsapi.CreateKeyInput{Policy: new(`{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"},
		{"Effect":"Allow","Principal":{"AWS":"` + sue + `"},"Action":"kms:DescribeKey","Resource":"*"}]}`)})
	must(t, err)
	_, err = client.Call(t.Context(), bare, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: key.KeyMetadata.KeyId})
	must(t, err)
	_, err = client.Call(t.Context(), bare, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: key.KeyMetadata.KeyId, Plaintext: []byte("x")})
	if apiError(t, err).Code != "AccessDeniedException" {
		t.Error(err)
	}
}

// TestRevokedSessions: the inline policy of "Revoke active sessions" ends the
// sessions of a user that are older, at once.
// Source: IAM User Guide, "Revoke IAM role temporary security credentials".
func TestRevokedSessions(t *testing.T) {
	t.Parallel()
	_, root := startServer(t)
	bob := newUser(t, root, "bob", `{"Effect":"Allow","Action":"kms:ListKeys","Resource":"*"}`)
	lists := func(c *client.Client) error {
		_, err := client.Call(t.Context(), c, kmsapi.ListKeys, &kmsapi.ListKeysInput{})
		return err
	}
	own := func() *client.Client {
		t.Helper()
		out, err := client.Call(t.Context(), bob, stsapi.GetSessionToken, &stsapi.GetSessionTokenInput{})
		must(t, err)
		return sessionOf(root, out.Credentials)
	}
	old := own()
	must(t, lists(old))
	revoked := time.Now().UTC().Truncate(time.Second).Add(time.Second)
	_, err := client.Call(t.Context(), root, iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{
		UserName: "bob", PolicyName: "AWSRevokeOlderSessions",
		PolicyDocument: `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":["*"],"Resource":["*"],"Condition":{"DateLessThan":{"aws:TokenIssueTime":"` + revoked.Format(time.RFC3339) + `"}}}]}`,
	})
	must(t, err)
	if err := lists(old); err == nil || apiError(t, err).Code != "AccessDeniedException" {
		t.Errorf("the older session: %v", err)
	}
	must(t, lists(bob))
	time.Sleep(time.Until(revoked))
	must(t, lists(own()))
}

// TestAuthorizationMessage: a denied caller asks for the message, and somebody
// who may decodes it.
func TestAuthorizationMessage(t *testing.T) {
	t.Parallel()
	_, root := startServer(t)
	bob := newUser(t, root, "bob", "")
	ask := func(c *client.Client, explain bool) (*http.Response, string) {
		t.Helper()
		req, body, err := wire.EncodeInput(kmsapi.ListKeys.Operation, c.Endpoint, &kmsapi.ListKeysInput{})
		must(t, err)
		if explain {
			req.Header.Set(protocol.ExplainHeader, "1")
		}
		must(t, sigv4.Sign(req, body, c.Credential, c.Region, "kms", time.Now()))
		resp, err := root.HTTP.Do(req)
		must(t, err)
		must(t, resp.Body.Close())
		return resp, resp.Header.Get(protocol.MessageHeader)
	}
	if resp, message := ask(bob, false); resp.StatusCode != 400 || message != "" {
		t.Errorf("without the header: %s, %q", resp.Status, message)
	}
	if resp, message := ask(root, true); resp.StatusCode != 200 || message != "" {
		t.Errorf("an allowed request: %s, %q", resp.Status, message)
	}
	_, message := ask(bob, true)
	out, err := client.Call(t.Context(), root, stsapi.DecodeAuthorizationMessage, &stsapi.DecodeAuthorizationMessageInput{EncodedMessage: message})
	must(t, err)
	var m struct {
		Allowed bool
		Layer   string
		Context struct {
			Principal  struct{ ID, ARN string }
			Action     string
			Conditions struct{ Items []struct{ Key string } }
		}
	}
	must(t, json.Unmarshal([]byte(*out.DecodedMessage), &m))
	keys := map[string]bool{}
	for _, c := range m.Context.Conditions.Items {
		keys[c.Key] = true
	}
	if m.Allowed || m.Layer != "identity" || m.Context.Action != "kms:ListKeys" || m.Context.Principal.ARN != "arn:aws:iam::111122223333:user/bob" ||
		!keys["aws:requestedregion"] || !keys["aws:username"] || !keys["aws:securetransport"] || !keys["aws:sourceip"] {
		t.Errorf("decoded: %s", *out.DecodedMessage)
	}
	_, err = client.Call(t.Context(), bob, stsapi.DecodeAuthorizationMessage, &stsapi.DecodeAuthorizationMessageInput{EncodedMessage: message})
	if apiError(t, err).Code != "AccessDenied" {
		t.Error(err)
	}
}
