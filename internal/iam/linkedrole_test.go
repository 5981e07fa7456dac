package iam

import (
	"context"
	"strings"
	"testing"
	"time"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
)

const (
	mrkService = "mrk.kms.amazonaws.com"
	mrkRole    = "AWSServiceRoleForKeyManagementServiceMultiRegionKeys"
	mrkARN     = "arn:aws:iam::111122223333:role/aws-service-role/mrk.kms.amazonaws.com/" + mrkRole
)

func TestLinkedRoleErrors(t *testing.T) {
	t.Parallel()
	create := func(service string, suffix *string) func(*fixture) error {
		return do(iamapi.CreateServiceLinkedRole, &iamapi.CreateServiceLinkedRoleInput{AWSServiceName: service, CustomSuffix: suffix})
	}
	const protected = "Cannot perform the operation on the protected role '" + mrkRole + "' - this role is only modifiable by AWS"
	status := func(id string) func(*fixture) error {
		return do(iamapi.GetServiceLinkedRoleDeletionStatus, &iamapi.GetServiceLinkedRoleDeletionStatusInput{DeletionTaskId: id})
	}
	runSteps(t, []step{
		{"no such service", create("none.amazonaws.com", nil), "InvalidInput", ""},
		{"suffix", create(mrkService, new("mine")), "InvalidInput", "Custom suffix is not allowed for mrk.kms.amazonaws.com"},
		{name: "create", run: create(mrkService, nil)},
		{"create twice", create(mrkService, nil), "InvalidInput", "Service role name " + mrkRole + " has been taken in this account, please try a different suffix."},
		{name: "sagemaker", run: create("sagemaker.amazonaws.com", nil)},
		{name: "organizations", run: create("organizations.amazonaws.com", nil)},
		{name: "cloudtrail", run: create("cloudtrail.amazonaws.com", nil)},
		{name: "custom key stores", run: create("cks.kms.amazonaws.com", nil)},
		{"an ordinary role below the path", do(iamapi.CreateRole, &iamapi.CreateRoleInput{RoleName: "x", Path: new("/aws-service-role/kms.amazonaws.com/"), AssumeRolePolicyDocument: trustAccount}), "InvalidInput", "Path prefix '/aws-service-role/' can only be used for AWS Service linked Roles"},
		{"attach", do(iamapi.AttachRolePolicy, &iamapi.AttachRolePolicyInput{RoleName: mrkRole, PolicyArn: s3Policy}), "UnmodifiableEntity", protected},
		{"detach", do(iamapi.DetachRolePolicy, &iamapi.DetachRolePolicyInput{RoleName: mrkRole, PolicyArn: s3Policy}), "UnmodifiableEntity", protected},
		{"put inline", do(iamapi.PutRolePolicy, &iamapi.PutRolePolicyInput{RoleName: mrkRole, PolicyName: "p", PolicyDocument: allowAll}), "UnmodifiableEntity", protected},
		{"delete inline", do(iamapi.DeleteRolePolicy, &iamapi.DeleteRolePolicyInput{RoleName: mrkRole, PolicyName: "p"}), "UnmodifiableEntity", protected},
		{"trust", do(iamapi.UpdateAssumeRolePolicy, &iamapi.UpdateAssumeRolePolicyInput{RoleName: mrkRole, PolicyDocument: trustAccount}), "UnmodifiableEntity", protected},
		{"boundary", do(iamapi.PutRolePermissionsBoundary, &iamapi.PutRolePermissionsBoundaryInput{RoleName: mrkRole, PermissionsBoundary: s3Policy}), "UnmodifiableEntity", protected},
		{"no boundary", do(iamapi.DeleteRolePermissionsBoundary, &iamapi.DeleteRolePermissionsBoundaryInput{RoleName: mrkRole}), "UnmodifiableEntity", protected},
		{"longest session", do(iamapi.UpdateRole, &iamapi.UpdateRoleInput{RoleName: mrkRole, MaxSessionDuration: new(int32(7200))}), "UnmodifiableEntity", protected},
		{"delete", do(iamapi.DeleteRole, &iamapi.DeleteRoleInput{RoleName: mrkRole}), "UnmodifiableEntity", protected},
		{name: "description", run: do(iamapi.UpdateRole, &iamapi.UpdateRoleInput{RoleName: mrkRole, Description: new("d")})},
		{name: "description alone", run: do(iamapi.UpdateRoleDescription, &iamapi.UpdateRoleDescriptionInput{RoleName: mrkRole, Description: "e"})},
		{name: "tags", run: do(iamapi.TagRole, &iamapi.TagRoleInput{RoleName: mrkRole, Tags: []iamapi.Tag{{Key: "k", Value: "v"}}})},
		{name: "an ordinary role", run: do(iamapi.CreateRole, &iamapi.CreateRoleInput{RoleName: "plain", AssumeRolePolicyDocument: trustAccount})},
		{"its policy elsewhere", do(iamapi.AttachRolePolicy, &iamapi.AttachRolePolicyInput{RoleName: "plain", PolicyArn: "arn:aws:iam::aws:policy/aws-service-role/AWSKeyManagementServiceMultiRegionKeysServiceRolePolicy"}), "PolicyNotAttachable", "Cannot attach a Service Role Policy to a Customer Role."},
		{"its policy as a boundary", do(iamapi.PutRolePermissionsBoundary, &iamapi.PutRolePermissionsBoundaryInput{RoleName: "plain", PermissionsBoundary: "arn:aws:iam::aws:policy/aws-service-role/AWSKeyManagementServiceMultiRegionKeysServiceRolePolicy"}), "NoSuchEntity", ""},
		{"delete an ordinary role as linked", do(iamapi.DeleteServiceLinkedRole, &iamapi.DeleteServiceLinkedRoleInput{RoleName: "plain"}), "NoSuchEntity", ""},
		{"delete nobody as linked", do(iamapi.DeleteServiceLinkedRole, &iamapi.DeleteServiceLinkedRoleInput{RoleName: "none"}), "NoSuchEntity", ""},
		{"status of what is no task", status("task/x"), "InvalidInput", ""},
		{"status of no task", status("task/aws-service-role/mrk.kms.amazonaws.com/" + mrkRole + "/00000000-0000-4000-8000-000000000000"), "NoSuchEntity", ""},
	})
}

func TestLinkedRoleLife(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := f.asRoot()
	r := must(ctx, f, iamapi.CreateServiceLinkedRole, &iamapi.CreateServiceLinkedRoleInput{AWSServiceName: mrkService, Description: new("d")}).Role
	if r.Arn != mrkARN || r.Path != "/aws-service-role/mrk.kms.amazonaws.com/" || *r.Description != "d" {
		t.Errorf("CreateServiceLinkedRole = %+v", r)
	}
	attached := must(ctx, f, iamapi.ListAttachedRolePolicies, &iamapi.ListAttachedRolePoliciesInput{RoleName: mrkRole}).AttachedPolicies
	if len(attached) != 1 || *attached[0].PolicyArn != "arn:aws:iam::aws:policy/aws-service-role/AWSKeyManagementServiceMultiRegionKeysServiceRolePolicy" {
		t.Fatalf("attached = %v", attached)
	}
	if p := must(ctx, f, iamapi.GetPolicy, &iamapi.GetPolicyInput{PolicyArn: *attached[0].PolicyArn}).Policy; *p.AttachmentCount != 1 || *p.Path != "/aws-service-role/" {
		t.Errorf("its policy = %+v", p)
	}
	// It trusts its service and nobody else.
	c, err := f.s.AssumeForService(f.asRoot(), mrkARN, "KMS", mrkService)
	if err != nil {
		t.Fatal(err)
	}
	if !f.may(c, "kms:SynchronizeMultiRegionKey", "*") || f.may(c, "kms:Decrypt", "*") {
		t.Error("the role may other than its policy says")
	}
	if _, err := f.s.AssumeForService(f.asRoot(), mrkARN, "KMS", "kms.amazonaws.com"); err == nil {
		t.Error("another service assumed the role")
	}

	var use []LinkedRoleUse
	f.s.linkUse = func(ctx context.Context, account, service string) ([]LinkedRoleUse, error) {
		if !f.s.store.InTransaction(ctx) {
			t.Error("asked for the use outside of the transaction that deletes")
		}
		if account != testAccount || service != mrkService {
			t.Errorf("asked for the use of %s in %s", service, account)
		}
		return use, nil
	}
	use = []LinkedRoleUse{{Region: "us-west-2", Resources: []string{"arn:aws:kms:us-west-2:111122223333:key/mrk-1"}}}
	task := must(ctx, f, iamapi.DeleteServiceLinkedRole, &iamapi.DeleteServiceLinkedRoleInput{RoleName: mrkRole}).DeletionTaskId
	status := func(id string) *iamapi.GetServiceLinkedRoleDeletionStatusOutput {
		return must(ctx, f, iamapi.GetServiceLinkedRoleDeletionStatus, &iamapi.GetServiceLinkedRoleDeletionStatusInput{DeletionTaskId: id})
	}
	if got := status(task); got.Status != "FAILED" || got.Reason == nil || len(got.Reason.RoleUsageList) != 1 || got.Reason.RoleUsageList[0].Resources[0] != use[0].Resources[0] {
		t.Errorf("deletion while in use = %+v", got)
	}
	must(ctx, f, iamapi.GetRole, &iamapi.GetRoleInput{RoleName: mrkRole})

	use = nil
	done := must(ctx, f, iamapi.DeleteServiceLinkedRole, &iamapi.DeleteServiceLinkedRoleInput{RoleName: mrkRole}).DeletionTaskId
	if !strings.HasPrefix(done, "task/aws-service-role/mrk.kms.amazonaws.com/"+mrkRole+"/") || done == task || len(done) > 1000 {
		t.Errorf("task = %s", done)
	}
	if got := status(done); got.Status != "SUCCEEDED" || got.Reason != nil {
		t.Errorf("deletion = %+v", got)
	}
	_, err = try(ctx, f, iamapi.GetRole, &iamapi.GetRoleInput{RoleName: mrkRole})
	wantError(t, "the role", err, "NoSuchEntity", "")
	if f.may(c, "kms:SynchronizeMultiRegionKey", "*") {
		t.Error("a session outlives its role")
	}
	other, err := f.s.CreateAccount(t.Context(), otherAccount)
	if err != nil {
		t.Fatal(err)
	}
	_, err = try(f.as(other.AccessKeyID, ""), f, iamapi.GetServiceLinkedRoleDeletionStatus, &iamapi.GetServiceLinkedRoleDeletionStatusInput{DeletionTaskId: done})
	wantError(t, "the task of another account", err, "NoSuchEntity", "")

	// Outcomes are forgotten after a month, by the next deletion.
	f.pass(deletionKept + time.Hour)
	must(ctx, f, iamapi.CreateServiceLinkedRole, &iamapi.CreateServiceLinkedRoleInput{AWSServiceName: mrkService})
	must(ctx, f, iamapi.DeleteServiceLinkedRole, &iamapi.DeleteServiceLinkedRoleInput{RoleName: mrkRole})
	_, err = try(ctx, f, iamapi.GetServiceLinkedRoleDeletionStatus, &iamapi.GetServiceLinkedRoleDeletionStatusInput{DeletionTaskId: done})
	wantError(t, "an old task", err, "NoSuchEntity", "")
}

func TestLinkedServices(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, l := range linkedServices() {
		if !strings.HasPrefix(l.role, "AWSServiceRoleFor") || len(l.role) > 64 {
			t.Errorf("%s has the role %s", l.service, l.role)
		}
		if err := parseManaged(l.document); err != nil {
			t.Errorf("the policy of %s: %v", l.role, err)
		}
		if _, _, err := parseTrust(l.trust()); err != nil {
			t.Errorf("the trust policy of %s: %v", l.role, err)
		}
		if p, ok := f.s.builtin[l.policyARN()]; !ok || p.arn() != l.policyARN() || !p.ofService() {
			t.Errorf("%s is not listed", l.policyARN())
		}
	}
}
