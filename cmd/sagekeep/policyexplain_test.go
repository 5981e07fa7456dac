package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/server"
)

func TestPrintEvent(t *testing.T) {
	t.Parallel()
	event := server.ExplainedEvent{
		EventID: "e-1", EventTime: "2026-11-23T10:00:00Z", EventSource: "kms.amazonaws.com", EventName: "Decrypt",
		Caller: "arn:aws:iam::111122223333:user/bob",
	}
	head := "event     e-1  2026-11-23T10:00:00Z  kms.amazonaws.com Decrypt\ncaller    arn:aws:iam::111122223333:user/bob\n"
	for _, c := range []struct {
		name, want  string
		code        string
		explanation *audit.Authorization
	}{
		{name: "allowed", want: "decision  it was not denied\n"},
		{name: "failed otherwise", code: "DisabledException", want: "decision  no policy denied it: DisabledException: text\n"},
		{
			name: "implicit", code: "AccessDenied",
			explanation: &audit.Authorization{
				Action: "kms:Decrypt", Resource: "KEY", Decision: "ImplicitlyDenied", Layer: authz.LayerIdentity, Reason: "no identity policy allows the action",
				Unmet: []authz.Fact{
					{Layer: authz.LayerIdentity, Policy: "p", Statement: "0", Element: "Resource", Wanted: []string{"A", "B"}, Found: []string{"KEY"}},
					{Layer: authz.LayerIdentity, Element: "Condition", Operator: "StringEquals", Key: "aws:PrincipalTag/x", Wanted: []string{"y"}},
				},
				Changes: []authz.Change{{Layer: authz.LayerIdentity, Add: json.RawMessage(`{"Effect":"Allow"}`)}, {Layer: authz.LayerSCP, Add: json.RawMessage(`{}`)}},
			},
			want: "request   kms:Decrypt on KEY\ndecision  ImplicitlyDenied by layer identity\nreason    no identity policy allows the action\n" +
				"unmet     identity, statement 0 of policy p: Resource wants A, B; the request has KEY\n" +
				"unmet     identity: Condition StringEquals aws:PrincipalTag/x wants y; the request has none\n" +
				"to allow it:\n  1. add to an identity policy of the caller\n     {\"Effect\":\"Allow\"}\n" +
				"  2. add to a service control policy at every level above the caller's account\n     {}\n",
		},
		{
			name: "explicit", code: "AccessDenied",
			explanation: &audit.Authorization{
				Action: "kms:Decrypt", Resource: "KEY", Decision: "ExplicitlyDenied", Layer: authz.LayerResource, Policy: "key policy", Statement: "No", Reason: "explicit deny",
				Changes: []authz.Change{{Layer: authz.LayerResource, Policy: "key policy", Statement: "No"}},
			},
			want: "request   kms:Decrypt on KEY\ndecision  ExplicitlyDenied by layer resource\nreason    explicit deny\ndecided   statement No of policy key policy\n" +
				"to allow it:\n  1. take the request out of the explicit deny in the policy of the resource: statement No of policy key policy\n",
		},
		{
			name: "assuming a role", code: "AccessDenied",
			explanation: &audit.Authorization{
				Action: "sts:AssumeRole", Resource: "arn:aws:iam::111122223333:role/team/trainer", Decision: "ImplicitlyDenied", Layer: authz.LayerResource, Reason: "no",
				Changes: []authz.Change{{Layer: authz.LayerResource, Add: json.RawMessage(`{}`)}},
			},
			want: "request   sts:AssumeRole on arn:aws:iam::111122223333:role/team/trainer\ndecision  ImplicitlyDenied by layer resource\nreason    no\n" +
				"to allow it:\n  1. add to the trust policy of role trainer\n     {}\n",
		},
		{
			name: "control characters", code: "AccessDenied",
			explanation: &audit.Authorization{
				Action: "kms:Decrypt", Resource: "K\x1b[2J\nY", Decision: "ExplicitlyDenied", Layer: authz.LayerResource, Reason: "no",
				Unmet:   []authz.Fact{{Layer: authz.LayerGrant, Element: "Operations", Found: []string{"\x1b]0;x\a"}}},
				Changes: []authz.Change{{Layer: authz.LayerResource, Statement: "a\u009bb"}},
			},
			want: "request   kms:Decrypt on K [2J Y\ndecision  ExplicitlyDenied by layer resource\nreason    no\n" +
				"unmet     grant: Operations the request has  ]0;x \n" +
				"to allow it:\n  1. take the request out of the explicit deny in the policy of the resource: statement a b\n",
		},
		{
			name: "another account's", code: "AccessDenied",
			explanation: &audit.Authorization{Action: "kms:Decrypt", Resource: "KEY", Decision: "ExplicitlyDenied", Layer: authz.LayerResource, Changes: []authz.Change{{Layer: authz.LayerResource}}},
			want: "request   kms:Decrypt on KEY\ndecision  ExplicitlyDenied by layer resource\nreason    the policy is another account's: its own record has the reason\n" +
				"to allow it:\n  1. take the request out of the explicit deny in the policy of the resource: the statement that denies\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := event
			e.ErrorCode, e.ErrorMessage, e.Authorization = c.code, "text", c.explanation
			var b strings.Builder
			printEvent(&b, &e)
			if got := b.String(); got != head+c.want {
				t.Errorf("got\n%s\nwant\n%s", got, head+c.want)
			}
		})
	}
}

// TestExplainWithoutServer: the command opens a data directory that no server
// has open.
func TestExplainWithoutServer(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	_, stop := startServe(t, dir)
	if code := stop(); code != 0 {
		t.Fatalf("serve ended with %d", code)
	}
	code, _, errs := runCommand(t, "policy", "explain", "--data-dir", dir, "--event", "no-such-event")
	if code != 1 || !strings.Contains(errs, `no record has the event id or request id "no-such-event"`) {
		t.Errorf("ended with %d, %q", code, errs)
	}
	for _, args := range [][]string{{}, {"--event", "x"}, {"--data-dir", dir}} {
		if code, _, _ := runCommand(t, append([]string{"policy", "explain"}, args...)...); code != 2 {
			t.Errorf("policy explain %v ended with %d, want 2", args, code)
		}
	}
}

// TestLayerNames: whatever layer a change is for, the text says where.
func TestLayerNames(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, layer := range []string{
		authz.LayerIdentity, authz.LayerResource, authz.LayerBoundary, authz.LayerSession, authz.LayerSCP, authz.LayerRCP, authz.LayerGrant, "new",
	} {
		name := layerName(layer)
		if name == "" || seen[name] != "" {
			t.Errorf("layer %q is %q, as layer %q", layer, name, seen[name])
		}
		seen[name] = layer
	}
}
