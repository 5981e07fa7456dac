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

// TestPrincipalsOfOtherWorlds: a key policy names nobody who cannot call KMS here.
func TestPrincipalsOfOtherWorlds(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	for _, principal := range []string{
		`{"AWS":"arn:aws-cn:iam::111122223333:root"}`, `{"AWS":"arn:aws-us-gov:iam::111122223333:user/alice"}`,
		`{"AWS":"arn:aws:iam::cloudfront:user/CloudFront Origin Access Identity E1"}`,
		`{"CanonicalUser":"79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"}`,
	} {
		policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + rootARN(home) + `"},"Action":"kms:*","Resource":"*"},` +
			`{"Effect":"Deny","Principal":` + principal + `,"Action":"kms:Decrypt","Resource":"*"}]}`
		_, err := try(f.admin(), f, kmsapi.PutKeyPolicy, &kmsapi.PutKeyPolicyInput{KeyId: id, Policy: policy})
		wantError(t, principal, err, "MalformedPolicyDocumentException", "Policy contains a statement with one or more invalid principals.")
	}
}

// TestPolicyOfAccounts: the short form of an account is shown as the ARN of its
// root user, where it is a principal and nowhere else.
func TestPolicyOfAccounts(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const policy = `{"Version":"2012-10-17","Id":"111122223333","Statement":[
		{"Sid":"111122223333", "Effect":"Allow", "Principal":{"AWS":"111122223333"}, "Action":"kms:*", "Resource":"*"},
		{"Effect":"Allow","Principal":{"AWS":["444455556666","arn:aws:iam::111122223333:root","999988887777"]},"Action":"kms:Decrypt","Resource":"*",
		 "Condition":{"StringEquals":{"kms:CallerAccount":["444455556666","111122223333"]}}},
		{"Effect":"Deny","NotPrincipal":{"AWS":"111122223333"},"Action":"kms:ScheduleKeyDeletion","Resource":"*"}]}`
	want := strings.NewReplacer(
		`"Principal":{"AWS":"111122223333"}`, `"Principal":{"AWS":"arn:aws:iam::111122223333:root"}`,
		`["444455556666","arn`, `["arn:aws:iam::444455556666:root","arn`, `"999988887777"]`, `"arn:aws:iam::999988887777:root"]`,
		`"NotPrincipal":{"AWS":"111122223333"}`, `"NotPrincipal":{"AWS":"arn:aws:iam::111122223333:root"}`,
	).Replace(policy)
	id := f.key(policy)
	got := *must(f.admin(), f, kmsapi.GetKeyPolicy, &kmsapi.GetKeyPolicyInput{KeyId: id}).Policy
	if got != want {
		t.Errorf("policy = %s, want %s", got, want)
	}
	// What is shown can be put back, and shows the same.
	must(f.admin(), f, kmsapi.PutKeyPolicy, &kmsapi.PutKeyPolicyInput{KeyId: id, Policy: got})
	if again := *must(f.admin(), f, kmsapi.GetKeyPolicy, &kmsapi.GetKeyPolicyInput{KeyId: id}).Policy; again != want {
		t.Errorf("put back, policy = %s, want %s", again, want)
	}
}
