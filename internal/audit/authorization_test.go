package audit

import (
	"reflect"
	"testing"

	"github.com/sagekeep/sagekeep/internal/authz"
)

// TestSeenBy: each account reads of a refusal across accounts what its own
// policies say, and nothing of the other's.
func TestSeenBy(t *testing.T) {
	t.Parallel()
	const caller, owner, third = "111122223333", "444455556666", "777788889999"
	fact := func(layer, key string) authz.Fact {
		return authz.Fact{Layer: layer, Policy: layer + "-policy", Statement: "S", Element: "Condition", Key: key, Wanted: []string{"w"}, Found: []string{"f"}}
	}
	a := &Authorization{
		Action: "kms:Decrypt", Resource: "arn:aws:kms:us-west-2:" + owner + ":key/k", ResourceAccount: owner,
		Decision: "ExplicitlyDenied", Layer: authz.LayerIdentity, Policy: "mine", Statement: "S", Reason: "quotes mine",
		Unmet: []authz.Fact{
			fact(authz.LayerIdentity, "aws:PrincipalTag/team"), fact(authz.LayerIdentity, "aws:ResourceTag/secret"), fact(authz.LayerResource, "aws:PrincipalArn"),
		},
		Changes: []authz.Change{{Layer: authz.LayerIdentity, Policy: "mine", Statement: "S"}, {Layer: authz.LayerResource, Policy: "theirs", Statement: "T"}},
	}
	blind := fact(authz.LayerIdentity, "aws:ResourceTag/secret")
	blind.Found = nil
	for _, c := range []struct {
		name, account string
		unmet         []authz.Fact
		reason        string
		policies      []string // of the changes
	}{
		{"the caller's", caller, []authz.Fact{fact(authz.LayerIdentity, "aws:PrincipalTag/team"), blind}, "quotes mine", []string{"mine", ""}},
		{"the owner's", owner, []authz.Fact{fact(authz.LayerResource, "aws:PrincipalArn")}, "", []string{"", "theirs"}},
		{"anybody else's", third, nil, "", []string{"", ""}},
	} {
		got := a.SeenBy(c.account, caller)
		if len(got.Unmet) != len(c.unmet) || len(c.unmet) > 0 && !reflect.DeepEqual(got.Unmet, c.unmet) {
			t.Errorf("%s account reads facts %+v, want %+v", c.name, got.Unmet, c.unmet)
		}
		if got.Reason != c.reason || (got.Policy == "") != (c.reason == "") {
			t.Errorf("%s account reads reason %q of policy %q, want %q", c.name, got.Reason, got.Policy, c.reason)
		}
		for i, want := range c.policies {
			if got.Changes[i].Policy != want {
				t.Errorf("%s account reads change %d in policy %q, want %q", c.name, i, got.Changes[i].Policy, want)
			}
		}
	}
	if a.Unmet[1].Found == nil || a.Changes[1].Policy != "theirs" {
		t.Error("the original was changed")
	}
	delegated := &Authorization{
		ResourceAccount: owner, Decision: "ImplicitlyDenied", Layer: authz.LayerResource, Lacking: authz.LayerIdentity, Reason: "quotes mine",
		Unmet: []authz.Fact{{Layer: authz.LayerIdentity, Key: "aws:SourceIp", Found: []string{"f"}, Resolved: []string{"r"}}},
	}
	if got := delegated.SeenBy(owner, caller); got.Reason != "" || len(got.Unmet) != 0 {
		t.Errorf("the owner reads %+v of the caller's policies", got)
	}
	if got := delegated.SeenBy(caller, caller); got.Reason != "quotes mine" || len(got.Unmet) != 1 || got.Unmet[0].Found == nil || got.Unmet[0].Resolved != nil {
		t.Errorf("the caller reads %+v of its own policies", got)
	}
	within := *a
	within.ResourceAccount = caller
	if got := within.SeenBy(caller, caller); !reflect.DeepEqual(got, &within) {
		t.Errorf("within one account: %+v, want everything", got)
	}
}
