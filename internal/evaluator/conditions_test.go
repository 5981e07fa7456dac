package evaluator

import (
	"reflect"
	"testing"

	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/identity"
)

func TestTransportConditions(t *testing.T) {
	t.Parallel()
	user := &identity.Caller{Type: identity.User, Account: "111122223333", ARN: "arn:aws:iam::111122223333:user/u"}
	role := &identity.Caller{Type: identity.AssumedRole, Account: "111122223333", InvokedBy: "sagemaker-geospatial.amazonaws.com"}
	for _, tc := range []struct {
		name           string
		call           identity.Call
		secure, source string
	}{
		{"plain", identity.Call{Caller: user, SourceIP: "127.0.0.1"}, "false", "127.0.0.1"},
		{"TLS", identity.Call{Caller: user, SourceIP: "::1", TLS: identity.TLS{Version: "TLSv1.3"}}, "true", "::1"},
		{"a service under an execution role", identity.Call{Caller: role, SourceIP: "sagemaker-geospatial.amazonaws.com"}, "true", ""},
	} {
		c := authz.NewContext()
		globalConditions(c, &tc.call, "111122223333")
		if v, _ := c.Get("aws:SecureTransport"); len(v.Vals) != 1 || v.Vals[0] != tc.secure {
			t.Errorf("%s: aws:SecureTransport = %v, want %s", tc.name, v, tc.secure)
		}
		v, ok := c.Get("aws:SourceIp")
		if ok != (tc.source != "") || ok && v.Vals[0] != tc.source {
			t.Errorf("%s: aws:SourceIp = %v, want %q", tc.name, v, tc.source)
		}
	}
}

// TestProviderKeys: what an identity provider said of a caller stands in the
// requests of its session; only amr holds a set.
func TestProviderKeys(t *testing.T) {
	t.Parallel()
	c := authz.NewContext()
	principalConditions(c, &identity.Caller{
		Type: identity.AssumedRole, Account: "111122223333", RoleARN: "arn:aws:iam::111122223333:role/r", Provider: "arn:aws:iam::111122223333:oidc-provider/idp",
		ProviderKeys: map[string][]string{"idp:sub": {"ana"}, "idp:amr": {"mfa"}},
	})
	for key, want := range map[string]authz.Value{
		"idp:sub":               {Vals: []string{"ana"}},
		"idp:amr":               {Vals: []string{"mfa"}, Multi: true},
		"aws:FederatedProvider": {Vals: []string{"arn:aws:iam::111122223333:oidc-provider/idp"}},
	} {
		if got, ok := c.Get(key); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%s = %+v, want %+v", key, got, want)
		}
	}
}
