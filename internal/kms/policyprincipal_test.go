package kms

import (
	"strings"
	"testing"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

// TestPolicyOfDeletedPrincipal: a key policy holds who it was written for, and
// shows the unique id once the name belongs to nobody or to somebody else.
// Source: IAM User Guide, "AWS JSON policy elements: Principal".
func TestPolicyOfDeletedPrincipal(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	worker := f.role(home, "worker", "")
	const arn = "arn:aws:iam::111122223333:role/worker"
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"},` +
		`{"Effect":"Allow","Principal":{"AWS":"` + arn + `"},"Action":"kms:DescribeKey","Resource":"*"}]}`
	id := f.key(policy)
	shown := func() string {
		return *must(f.admin(), f, kmsapi.GetKeyPolicy, &kmsapi.GetKeyPolicyInput{KeyId: id}).Policy
	}
	if got := shown(); got != policy {
		t.Errorf("policy = %s, want it as put", got)
	}
	must(f.admin(), f, iamapi.DeleteRole, &iamapi.DeleteRoleInput{RoleName: "worker"})
	want := strings.Replace(policy, arn, worker.RoleID, 1)
	if got := shown(); got != want {
		t.Errorf("policy after the role was deleted = %s, want %s", got, want)
	}
	again := f.role(home, "worker", "")
	if got := shown(); got != want {
		t.Errorf("policy after another role took the name = %s, want %s", got, want)
	}
	_, err := try(f.by(again), f, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: id})
	wantError(t, "the other role", err, "AccessDeniedException", "")
	// The document as shown cannot be put back: nobody has that id.
	_, err = try(f.admin(), f, kmsapi.PutKeyPolicy, &kmsapi.PutKeyPolicyInput{KeyId: id, Policy: want})
	wantError(t, "an id that is nobody's", err, "MalformedPolicyDocumentException", "Policy contains a statement with one or more invalid principals.")
}
