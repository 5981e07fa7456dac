package iam

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/api/schema"
)

// TestEveryOperationIsRegistered compares with the list that the shapes are
// generated from.
func TestEveryOperationIsRegistered(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../api/iam/operations.txt")
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, op := range newFixture(t).r.Operations()["iam"] {
		have = append(have, op.Name)
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		name := strings.TrimSpace(line)
		if name == "" || strings.HasPrefix(name, "#") {
			continue
		}
		n++
		if !slices.Contains(have, name) {
			t.Errorf("%s is not registered", name)
		}
	}
	if n == 0 || n != len(have) {
		t.Errorf("%d operations are listed, %d registered", n, len(have))
	}
}

// step is one call and what it answers.
type step struct {
	name          string
	run           func(f *fixture) error
	code, message string
}

// do makes the step's function from an operation and its input, called by the
// root user.
func do[In, Out any](op schema.Op[In, Out], in *In) func(*fixture) error {
	return func(f *fixture) error {
		_, err := try(f.asRoot(), f, op, in)
		return err
	}
}

func runSteps(t *testing.T, steps []step) {
	t.Helper()
	f := newFixture(t)
	for _, s := range steps {
		wantError(t, s.name, s.run(f), s.code, s.message)
	}
}

const s3Policy = "arn:aws:iam::aws:policy/AmazonS3FullAccess"

func TestUserErrors(t *testing.T) {
	t.Parallel()
	bob, nobody := new("bob"), new("nobody")
	runSteps(t, []step{
		{name: "create", run: do(iamapi.CreateUser, &iamapi.CreateUserInput{UserName: "bob"})},
		{"create twice", do(iamapi.CreateUser, &iamapi.CreateUserInput{UserName: "bob"}), "EntityAlreadyExists", "User with name bob already exists."},
		{"create in other case", do(iamapi.CreateUser, &iamapi.CreateUserInput{UserName: "BOB"}), "EntityAlreadyExists", "User with name BOB already exists."},
		{"reserved path", do(iamapi.CreateUser, &iamapi.CreateUserInput{UserName: "x", Path: new("/aws-service-role/x/")}), "InvalidInput", ""},
		{"duplicate tags", do(iamapi.CreateUser, &iamapi.CreateUserInput{UserName: "x", Tags: []iamapi.Tag{{Key: "a"}, {Key: "A"}}}), "InvalidInput", "Duplicate tag keys found. Please note that Tag keys are case insensitive."},
		{"aws tag", do(iamapi.CreateUser, &iamapi.CreateUserInput{UserName: "x", Tags: []iamapi.Tag{{Key: "aws:x"}}}), "InvalidInput", ""},
		{"missing boundary", do(iamapi.CreateUser, &iamapi.CreateUserInput{UserName: "x", PermissionsBoundary: new("arn:aws:iam::111122223333:policy/none")}), "NoSuchEntity", "Scope ARN: arn:aws:iam::111122223333:policy/none does not exist or is not attachable."},
		{"bad boundary", do(iamapi.CreateUser, &iamapi.CreateUserInput{UserName: "x", PermissionsBoundary: new("arn:aws:s3:::some-bucket")}), "InvalidInput", "ARN arn:aws:s3:::some-bucket is not valid."},
		{"get nobody", do(iamapi.GetUser, &iamapi.GetUserInput{UserName: nobody}), "NoSuchEntity", "The user with name nobody cannot be found."},
		{name: "get", run: do(iamapi.GetUser, &iamapi.GetUserInput{UserName: bob})},
		{"delete nobody", do(iamapi.DeleteUser, &iamapi.DeleteUserInput{UserName: "nobody"}), "NoSuchEntity", "The user with name nobody cannot be found."},
		{name: "key 1", run: do(iamapi.CreateAccessKey, &iamapi.CreateAccessKeyInput{UserName: bob})},
		{name: "key 2", run: do(iamapi.CreateAccessKey, &iamapi.CreateAccessKeyInput{UserName: bob})},
		{"key 3", do(iamapi.CreateAccessKey, &iamapi.CreateAccessKeyInput{UserName: bob}), "LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2"},
		{"key of nobody", do(iamapi.CreateAccessKey, &iamapi.CreateAccessKeyInput{UserName: nobody}), "NoSuchEntity", ""},
		{"delete with keys", do(iamapi.DeleteUser, &iamapi.DeleteUserInput{UserName: "bob"}), "DeleteConflict", "Cannot delete entity, must delete access keys first."},
		{"update unknown key", do(iamapi.UpdateAccessKey, &iamapi.UpdateAccessKeyInput{UserName: bob, AccessKeyId: "AKIAIOSFODNN7EXAMPLE", Status: "Active"}), "NoSuchEntity", "The Access Key with id AKIAIOSFODNN7EXAMPLE cannot be found."},
		{"status Expired", do(iamapi.UpdateAccessKey, &iamapi.UpdateAccessKeyInput{UserName: bob, AccessKeyId: "AKIAIOSFODNN7EXAMPLE", Status: "Expired"}), "ValidationError", ""},
		{"delete unknown key", do(iamapi.DeleteAccessKey, &iamapi.DeleteAccessKeyInput{UserName: bob, AccessKeyId: "AKIAIOSFODNN7EXAMPLE"}), "NoSuchEntity", ""},
		{"last use of unknown key", do(iamapi.GetAccessKeyLastUsed, &iamapi.GetAccessKeyLastUsedInput{AccessKeyId: "AKIAIOSFODNN7EXAMPLE"}), "NoSuchEntity", ""},
		{"root's key under a user", func(f *fixture) error {
			_, err := try(f.asRoot(), f, iamapi.DeleteAccessKey, &iamapi.DeleteAccessKeyInput{UserName: bob, AccessKeyId: f.root.AccessKeyID})
			return err
		}, "NoSuchEntity", ""},
		{name: "delete the keys", run: func(f *fixture) error {
			for _, k := range must(f.asRoot(), f, iamapi.ListAccessKeys, &iamapi.ListAccessKeysInput{UserName: bob}).AccessKeyMetadata {
				must(f.asRoot(), f, iamapi.DeleteAccessKey, &iamapi.DeleteAccessKeyInput{UserName: bob, AccessKeyId: *k.AccessKeyId})
			}
			return nil
		}},
		{name: "attach", run: do(iamapi.AttachUserPolicy, &iamapi.AttachUserPolicyInput{UserName: "bob", PolicyArn: s3Policy})},
		{name: "attach again", run: do(iamapi.AttachUserPolicy, &iamapi.AttachUserPolicyInput{UserName: "bob", PolicyArn: s3Policy})},
		{"delete with attached policy", do(iamapi.DeleteUser, &iamapi.DeleteUserInput{UserName: "bob"}), "DeleteConflict", "Cannot delete entity, must detach all policies first."},
		{name: "detach", run: do(iamapi.DetachUserPolicy, &iamapi.DetachUserPolicyInput{UserName: "bob", PolicyArn: s3Policy})},
		{"detach again", do(iamapi.DetachUserPolicy, &iamapi.DetachUserPolicyInput{UserName: "bob", PolicyArn: s3Policy}), "NoSuchEntity", "Policy arn:aws:iam::aws:policy/AmazonS3FullAccess was not found."},
		{"attach nothing", do(iamapi.AttachUserPolicy, &iamapi.AttachUserPolicyInput{UserName: "bob", PolicyArn: "arn:aws:iam::aws:policy/NoSuch"}), "NoSuchEntity", "Policy arn:aws:iam::aws:policy/NoSuch does not exist or is not attachable."},
		{"attach another account's", do(iamapi.AttachUserPolicy, &iamapi.AttachUserPolicyInput{UserName: "bob", PolicyArn: "arn:aws:iam::444455556666:policy/p"}), "NoSuchEntity", ""},
		{"attach no policy", do(iamapi.AttachUserPolicy, &iamapi.AttachUserPolicyInput{UserName: "bob", PolicyArn: "arn:aws:iam::111122223333:user/bob"}), "InvalidInput", ""},
		{name: "put inline", run: do(iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{UserName: "bob", PolicyName: "p", PolicyDocument: allowAll})},
		{"delete with inline policy", do(iamapi.DeleteUser, &iamapi.DeleteUserInput{UserName: "bob"}), "DeleteConflict", "Cannot delete entity, must delete policies first."},
		{"inline not there", do(iamapi.GetUserPolicy, &iamapi.GetUserPolicyInput{UserName: "bob", PolicyName: "q"}), "NoSuchEntity", "The user policy with name q cannot be found."},
		{"delete inline not there", do(iamapi.DeleteUserPolicy, &iamapi.DeleteUserPolicyInput{UserName: "bob", PolicyName: "q"}), "NoSuchEntity", "The user policy with name q cannot be found."},
		{"inline no JSON", do(iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{UserName: "bob", PolicyName: "q", PolicyDocument: "{"}), "MalformedPolicyDocument", "Syntax errors in policy."},
		{"inline with principal", do(iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{UserName: "bob", PolicyName: "q", PolicyDocument: trustAccount}), "MalformedPolicyDocument", ""},
		{"inline too long", do(iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{UserName: "bob", PolicyName: "q", PolicyDocument: policyOfSize(2048)}), "LimitExceeded", "Maximum policy size of 2048 bytes exceeded for user bob"},
		{name: "white space is free", run: do(iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{UserName: "bob", PolicyName: "p", PolicyDocument: strings.Repeat(" ", 4000) + policyOfSize(2048)})},
		{name: "delete inline", run: do(iamapi.DeleteUserPolicy, &iamapi.DeleteUserPolicyInput{UserName: "bob", PolicyName: "p"})},
		{"boundary not there", do(iamapi.DeleteUserPermissionsBoundary, &iamapi.DeleteUserPermissionsBoundaryInput{UserName: "bob"}), "NoSuchEntity", ""},
		{name: "boundary", run: do(iamapi.PutUserPermissionsBoundary, &iamapi.PutUserPermissionsBoundaryInput{UserName: "bob", PermissionsBoundary: s3Policy})},
		{"bad marker", do(iamapi.ListUsers, &iamapi.ListUsersInput{Marker: new("next")}), "ValidationError", "Invalid Marker."},
		{"groups of nobody", do(iamapi.ListGroupsForUser, &iamapi.ListGroupsForUserInput{UserName: "nobody"}), "NoSuchEntity", ""},
		{name: "groups", run: do(iamapi.ListGroupsForUser, &iamapi.ListGroupsForUserInput{UserName: "bob"})},
		{name: "delete", run: do(iamapi.DeleteUser, &iamapi.DeleteUserInput{UserName: "bob"})},
		{"gone", do(iamapi.GetUser, &iamapi.GetUserInput{UserName: bob}), "NoSuchEntity", ""},
		{name: "aliases", run: do(iamapi.ListAccountAliases, &iamapi.ListAccountAliasesInput{})},
	})
}

// policyOfSize is a valid policy of n characters without white space.
func policyOfSize(n int) string {
	const frame = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:Get*","Resource":"arn:aws:s3:::%s"}]}`
	return fmt.Sprintf(frame, strings.Repeat("b", n-len(frame)+2))
}

func TestRoleErrors(t *testing.T) {
	t.Parallel()
	create := func(name, trust string) func(*fixture) error {
		return do(iamapi.CreateRole, &iamapi.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: trust})
	}
	trust := func(principal string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":` + principal + `,"Action":"sts:AssumeRole"}]}`
	}
	runSteps(t, []step{
		{name: "create", run: create("reader", trustAccount)},
		{"create twice", create("Reader", trustAccount), "EntityAlreadyExists", "Role with name Reader already exists."},
		{"no JSON", create("x", "x"), "MalformedPolicyDocument", ""},
		{"resource in trust policy", create("x", strings.Replace(trustAccount, `"Action"`, `"Resource":"*","Action"`, 1)), "MalformedPolicyDocument", ""},
		{"too long", create("x", trust(`{"AWS":["111122223333"`+strings.Repeat(`,"111122223333"`, 140)+`]}`)), "LimitExceeded", "Cannot exceed quota for ACLSizePerRole: 2048"},
		{"unknown user", create("x", trust(`{"AWS":"arn:aws:iam::111122223333:user/none"}`)), "MalformedPolicyDocument", `Invalid principal in policy: "AWS":"arn:aws:iam::111122223333:user/none"`},
		{"unknown role", create("x", trust(`{"AWS":["111122223333","arn:aws:iam::111122223333:role/none"]}`)), "MalformedPolicyDocument", `Invalid principal in policy: "AWS":"arn:aws:iam::111122223333:role/none"`},
		{"role under another path", create("x", trust(`{"AWS":"arn:aws:iam::111122223333:role/path/reader"}`)), "MalformedPolicyDocument", ""},
		{"session of unknown role", create("x", trust(`{"AWS":"arn:aws:sts::111122223333:assumed-role/none/s"}`)), "MalformedPolicyDocument", ""},
		{"dead unique id", create("x", trust(`{"AWS":"AIDAQ3EGSIYOWXYZ23456"}`)), "MalformedPolicyDocument", `Invalid principal in policy: "AWS":"AIDAQ3EGSIYOWXYZ23456"`},
		{"unknown provider", create("x", trust(`{"Federated":"arn:aws:iam::111122223333:saml-provider/p"}`)), "MalformedPolicyDocument", ""},
		{name: "service", run: create("service", trust(`{"Service":"sagemaker-geospatial.amazonaws.com"}`))},
		{name: "known role", run: create("known", trust(`{"AWS":"arn:aws:iam::111122223333:role/reader"}`))},
		{name: "session of known role", run: create("session", trust(`{"AWS":"arn:aws:sts::111122223333:assumed-role/reader/s"}`))},
		{name: "user of an account that is not ours", run: create("foreign", trust(`{"AWS":"arn:aws:iam::444455556666:user/x"}`))},
		{name: "any account", run: create("account", trust(`{"AWS":"arn:aws:iam::444455556666:root"}`))},
		{"session too short", do(iamapi.CreateRole, &iamapi.CreateRoleInput{RoleName: "x", AssumeRolePolicyDocument: trustAccount, MaxSessionDuration: new(int32(900))}), "ValidationError", ""},
		{"update to too long", do(iamapi.UpdateRole, &iamapi.UpdateRoleInput{RoleName: "reader", MaxSessionDuration: new(int32(43201))}), "ValidationError", ""},
		{name: "update", run: do(iamapi.UpdateRole, &iamapi.UpdateRoleInput{RoleName: "reader", MaxSessionDuration: new(int32(43200)), Description: new("reads")})},
		{"update nobody", do(iamapi.UpdateRole, &iamapi.UpdateRoleInput{RoleName: "none"}), "NoSuchEntity", "The role with name none cannot be found."},
		{"trust of nobody", do(iamapi.UpdateAssumeRolePolicy, &iamapi.UpdateAssumeRolePolicyInput{RoleName: "none", PolicyDocument: trustAccount}), "NoSuchEntity", ""},
		{"get nobody", do(iamapi.GetRole, &iamapi.GetRoleInput{RoleName: "none"}), "NoSuchEntity", "The role with name none cannot be found."},
		{"policy of nobody", do(iamapi.PutRolePolicy, &iamapi.PutRolePolicyInput{RoleName: "none", PolicyName: "p", PolicyDocument: allowAll}), "NoSuchEntity", ""},
		{"inline too long", do(iamapi.PutRolePolicy, &iamapi.PutRolePolicyInput{RoleName: "reader", PolicyName: "p", PolicyDocument: policyOfSize(10241)}), "LimitExceeded", "Maximum policy size of 10240 bytes exceeded for role reader"},
		{name: "inline of full length", run: do(iamapi.PutRolePolicy, &iamapi.PutRolePolicyInput{RoleName: "reader", PolicyName: "p", PolicyDocument: policyOfSize(10240)})},
		{"inline not there", do(iamapi.GetRolePolicy, &iamapi.GetRolePolicyInput{RoleName: "reader", PolicyName: "q"}), "NoSuchEntity", "The role policy with name q cannot be found."},
		{"delete with inline policy", do(iamapi.DeleteRole, &iamapi.DeleteRoleInput{RoleName: "reader"}), "DeleteConflict", "Cannot delete entity, must delete policies first."},
		{name: "delete inline", run: do(iamapi.DeleteRolePolicy, &iamapi.DeleteRolePolicyInput{RoleName: "reader", PolicyName: "p"})},
		{name: "attach", run: do(iamapi.AttachRolePolicy, &iamapi.AttachRolePolicyInput{RoleName: "reader", PolicyArn: s3Policy})},
		{"delete with attached policy", do(iamapi.DeleteRole, &iamapi.DeleteRoleInput{RoleName: "reader"}), "DeleteConflict", "Cannot delete entity, must detach all policies first."},
		{name: "detach", run: do(iamapi.DetachRolePolicy, &iamapi.DetachRolePolicyInput{RoleName: "reader", PolicyArn: s3Policy})},
		{name: "boundary", run: do(iamapi.PutRolePermissionsBoundary, &iamapi.PutRolePermissionsBoundaryInput{RoleName: "reader", PermissionsBoundary: s3Policy})},
		{name: "no boundary", run: do(iamapi.DeleteRolePermissionsBoundary, &iamapi.DeleteRolePermissionsBoundaryInput{RoleName: "reader"})},
		{"profiles of nobody", do(iamapi.ListInstanceProfilesForRole, &iamapi.ListInstanceProfilesForRoleInput{RoleName: "none"}), "NoSuchEntity", ""},
		{name: "profiles", run: do(iamapi.ListInstanceProfilesForRole, &iamapi.ListInstanceProfilesForRoleInput{RoleName: "reader"})},
		{name: "delete", run: do(iamapi.DeleteRole, &iamapi.DeleteRoleInput{RoleName: "READER"})},
		{"gone", do(iamapi.DeleteRole, &iamapi.DeleteRoleInput{RoleName: "reader"}), "NoSuchEntity", ""},
	})
}

func TestManagedPolicyErrors(t *testing.T) {
	t.Parallel()
	const p = "arn:aws:iam::111122223333:policy/team/p"
	version := func(def bool) func(*fixture) error {
		return do(iamapi.CreatePolicyVersion, &iamapi.CreatePolicyVersionInput{PolicyArn: p, PolicyDocument: allowAll, SetAsDefault: &def})
	}
	del := func(v string) func(*fixture) error {
		return do(iamapi.DeletePolicyVersion, &iamapi.DeletePolicyVersionInput{PolicyArn: p, VersionId: v})
	}
	get := func(arn, v string) func(*fixture) error {
		return do(iamapi.GetPolicyVersion, &iamapi.GetPolicyVersionInput{PolicyArn: arn, VersionId: v})
	}
	runSteps(t, []step{
		{name: "create", run: do(iamapi.CreatePolicy, &iamapi.CreatePolicyInput{PolicyName: "p", Path: new("/team/"), PolicyDocument: allowAll})},
		{"create twice", do(iamapi.CreatePolicy, &iamapi.CreatePolicyInput{PolicyName: "P", PolicyDocument: allowAll}), "EntityAlreadyExists", "A policy called P already exists. Duplicate names are not allowed."},
		{"malformed", do(iamapi.CreatePolicy, &iamapi.CreatePolicyInput{PolicyName: "x", PolicyDocument: "[]"}), "MalformedPolicyDocument", ""},
		{"too long", do(iamapi.CreatePolicy, &iamapi.CreatePolicyInput{PolicyName: "x", PolicyDocument: policyOfSize(6145)}), "LimitExceeded", "Cannot exceed quota for PolicySize: 6144"},
		{"get under another path", do(iamapi.GetPolicy, &iamapi.GetPolicyInput{PolicyArn: "arn:aws:iam::111122223333:policy/p"}), "NoSuchEntity", "Policy arn:aws:iam::111122223333:policy/p was not found."},
		{"get no ARN", do(iamapi.GetPolicy, &iamapi.GetPolicyInput{PolicyArn: "this is not an ARN"}), "InvalidInput", "ARN this is not an ARN is not valid."},
		{"get another account's", do(iamapi.GetPolicy, &iamapi.GetPolicyInput{PolicyArn: "arn:aws:iam::444455556666:policy/p"}), "AccessDenied", ""},
		{name: "get AWS's", run: do(iamapi.GetPolicy, &iamapi.GetPolicyInput{PolicyArn: s3Policy})},
		{name: "get AWS's version", run: get(s3Policy, "v1")},
		{"AWS's version not there", get(s3Policy, "v2"), "NoSuchEntity", ""},
		{"change AWS's", do(iamapi.CreatePolicyVersion, &iamapi.CreatePolicyVersionInput{PolicyArn: s3Policy, PolicyDocument: allowAll}), "AccessDenied", ""},
		{"delete AWS's", do(iamapi.DeletePolicy, &iamapi.DeletePolicyInput{PolicyArn: s3Policy}), "AccessDenied", ""},
		{name: "v2", run: version(true)},
		{name: "v3", run: version(false)},
		{name: "v4", run: version(false)},
		{name: "v5", run: version(false)},
		{"v6", version(false), "LimitExceeded", "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version."},
		{"delete the default", del("v2"), "DeleteConflict", "Cannot delete the default version of a policy."},
		{"delete v9", del("v9"), "NoSuchEntity", "Policy arn:aws:iam::111122223333:policy/team/p version v9 does not exist or is not attachable."},
		{name: "delete v5", run: del("v5")},
		{name: "v6, not v5 again", run: version(false)},
		{name: "get v6", run: get(p, "v6")},
		{"get v5", get(p, "v5"), "NoSuchEntity", ""},
		{"default v5", do(iamapi.SetDefaultPolicyVersion, &iamapi.SetDefaultPolicyVersionInput{PolicyArn: p, VersionId: "v5"}), "NoSuchEntity", ""},
		{name: "default v1", run: do(iamapi.SetDefaultPolicyVersion, &iamapi.SetDefaultPolicyVersionInput{PolicyArn: p, VersionId: "v1"})},
		{"delete with versions", do(iamapi.DeletePolicy, &iamapi.DeletePolicyInput{PolicyArn: p}), "DeleteConflict", ""},
		{name: "delete v2", run: del("v2")},
		{name: "delete v3", run: del("v3")},
		{name: "delete v4", run: del("v4")},
		{name: "delete v6", run: del("v6")},
		{name: "user", run: do(iamapi.CreateUser, &iamapi.CreateUserInput{UserName: "bob", PermissionsBoundary: new(p)})},
		{"delete a boundary in use", do(iamapi.DeletePolicy, &iamapi.DeletePolicyInput{PolicyArn: p}), "DeleteConflict", "Cannot delete a policy attached to entities."},
		{name: "no boundary", run: do(iamapi.DeleteUserPermissionsBoundary, &iamapi.DeleteUserPermissionsBoundaryInput{UserName: "bob"})},
		{name: "attach", run: do(iamapi.AttachUserPolicy, &iamapi.AttachUserPolicyInput{UserName: "bob", PolicyArn: p})},
		{"delete while attached", do(iamapi.DeletePolicy, &iamapi.DeletePolicyInput{PolicyArn: p}), "DeleteConflict", "Cannot delete a policy attached to entities."},
		{name: "detach", run: do(iamapi.DetachUserPolicy, &iamapi.DetachUserPolicyInput{UserName: "bob", PolicyArn: p})},
		{name: "delete", run: do(iamapi.DeletePolicy, &iamapi.DeletePolicyInput{PolicyArn: p})},
		{"gone", do(iamapi.GetPolicy, &iamapi.GetPolicyInput{PolicyArn: p}), "NoSuchEntity", ""},
	})
}

func TestAttachmentQuota(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.newRole("reader")
	for i := range 11 {
		p := must(f.asRoot(), f, iamapi.CreatePolicy, &iamapi.CreatePolicyInput{PolicyName: fmt.Sprintf("p%d", i), PolicyDocument: allowAll}).Policy
		_, err := try(f.asRoot(), f, iamapi.AttachRolePolicy, &iamapi.AttachRolePolicyInput{RoleName: "reader", PolicyArn: *p.Arn})
		if i < 10 {
			wantError(t, *p.Arn, err, "", "")
		} else {
			wantError(t, *p.Arn, err, "LimitExceeded", "Cannot exceed quota for PoliciesPerRole: 10")
		}
	}
}

func TestShapes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	u := must(f.asRoot(), f, iamapi.CreateUser, &iamapi.CreateUserInput{
		UserName: "Bob", Path: new("/team/"), PermissionsBoundary: new(s3Policy), Tags: []iamapi.Tag{{Key: "k", Value: "v"}},
	}).User
	if u.Arn != "arn:aws:iam::111122223333:user/team/Bob" || !strings.HasPrefix(u.UserId, "AIDA") || len(u.UserId) != 21 || !u.CreateDate.Equal(f.now()) {
		t.Errorf("CreateUser = %+v", u)
	}
	got := must(f.asRoot(), f, iamapi.GetUser, &iamapi.GetUserInput{UserName: new("bob")}).User
	if *got.UserName != "Bob" || len(got.Tags) != 1 || *got.PermissionsBoundary.PermissionsBoundaryArn != s3Policy {
		t.Errorf("GetUser = %+v", got)
	}
	root := must(f.asRoot(), f, iamapi.GetUser, &iamapi.GetUserInput{}).User
	if root.Arn != "arn:aws:iam::111122223333:root" || root.UserId != testAccount || root.UserName != nil {
		t.Errorf("GetUser of root = %+v", root)
	}
	must(f.asRoot(), f, iamapi.CreateAccountAlias, &iamapi.CreateAccountAliasInput{AccountAlias: "team-a"})
	if root := must(f.asRoot(), f, iamapi.GetUser, &iamapi.GetUserInput{}).User; root.UserName == nil || *root.UserName != "team-a" {
		t.Errorf("GetUser of root with an alias = %+v", root)
	}
	r := must(f.asRoot(), f, iamapi.CreateRole, &iamapi.CreateRoleInput{RoleName: "r", Path: new("/service-role/"), AssumeRolePolicyDocument: trustAccount}).Role
	if r.Arn != "arn:aws:iam::111122223333:role/service-role/r" || !strings.HasPrefix(r.RoleId, "AROA") || *r.MaxSessionDuration != 3600 {
		t.Errorf("CreateRole = %+v", r)
	}
	if doc := *r.AssumeRolePolicyDocument; !strings.HasPrefix(doc, "%7B%22Version%22%3A%222012-10-17%22%2C") {
		t.Errorf("trust policy in the answer: %s", doc)
	} else if plain, err := url.QueryUnescape(doc); err != nil || plain != trustAccount {
		t.Errorf("trust policy decodes to %s, %v", plain, err)
	}
	doc := strings.ReplaceAll(allowAll, `"*"`, `"s3:Get * ~é+"`)
	doc = strings.ReplaceAll(doc, `"Resource":"s3:Get * ~é+"`, `"Resource":"*"`)
	must(f.asRoot(), f, iamapi.PutRolePolicy, &iamapi.PutRolePolicyInput{RoleName: "R", PolicyName: "p", PolicyDocument: doc})
	inline := must(f.asRoot(), f, iamapi.GetRolePolicy, &iamapi.GetRolePolicyInput{RoleName: "R", PolicyName: "p"})
	if inline.RoleName != "r" || inline.PolicyDocument != strings.ReplaceAll(url.QueryEscape(doc), "+", "%20") {
		t.Errorf("GetRolePolicy = %+v", inline)
	}
	must(f.asRoot(), f, iamapi.AttachRolePolicy, &iamapi.AttachRolePolicyInput{RoleName: "r", PolicyArn: s3Policy})
	p := must(f.asRoot(), f, iamapi.GetPolicy, &iamapi.GetPolicyInput{PolicyArn: s3Policy}).Policy
	if *p.AttachmentCount != 1 || *p.PermissionsBoundaryUsageCount != 1 || !strings.HasPrefix(*p.PolicyId, "ANPA") || len(*p.PolicyId) != 21 {
		t.Errorf("GetPolicy = %d attached, %d bounding, %s", *p.AttachmentCount, *p.PermissionsBoundaryUsageCount, *p.PolicyId)
	}
	used := must(f.asRoot(), f, iamapi.ListPolicies, &iamapi.ListPoliciesInput{OnlyAttached: new(true)}).Policies
	if len(used) != 1 || *used[0].Arn != s3Policy {
		t.Errorf("attached policies: %d", len(used))
	}
	sum := must(f.asRoot(), f, iamapi.GetAccountSummary, &schema.Nothing{}).SummaryMap
	if sum["Users"] != 1 || sum["Roles"] != 1 || sum["Policies"] != 0 || sum["AccountAccessKeysPresent"] != 1 {
		t.Errorf("GetAccountSummary = %v", sum)
	}
	for name := range f.s.builtin {
		if got := compile(1, name, f.s.builtin[name].Versions[0].Document); got.Len() == 0 {
			t.Errorf("%s cannot be read", name)
		}
	}
}

func TestKeyOwners(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, k := f.newUser("bob")
	must(f.asRoot(), f, iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{UserName: "bob", PolicyName: "p", PolicyDocument: allowAll})
	ctx := f.as(k.AccessKeyId, "")
	if got := must(ctx, f, iamapi.GetUser, &iamapi.GetUserInput{}).User.UserName; *got != "bob" {
		t.Errorf("GetUser by bob = %s", *got)
	}
	if got := must(ctx, f, iamapi.ListAccessKeys, &iamapi.ListAccessKeysInput{}).AccessKeyMetadata; len(got) != 1 || *got[0].AccessKeyId != k.AccessKeyId {
		t.Errorf("ListAccessKeys by bob = %v", got)
	}
	used := must(ctx, f, iamapi.GetAccessKeyLastUsed, &iamapi.GetAccessKeyLastUsedInput{AccessKeyId: k.AccessKeyId})
	if *used.UserName != "bob" || used.AccessKeyLastUsed.ServiceName != "N/A" {
		t.Errorf("GetAccessKeyLastUsed = %+v", used)
	}
	if own := must(f.asRoot(), f, iamapi.CreateAccessKey, &iamapi.CreateAccessKeyInput{}).AccessKey; own.UserName != "" {
		t.Errorf("a key of root belongs to %q", own.UserName)
	}
	if got := must(f.asRoot(), f, iamapi.ListAccessKeys, &iamapi.ListAccessKeysInput{}).AccessKeyMetadata; len(got) != 2 {
		t.Errorf("root has %d keys, want 2", len(got))
	}
	role := f.newRole("reader")
	must(f.asRoot(), f, iamapi.PutRolePolicy, &iamapi.PutRolePolicyInput{RoleName: "reader", PolicyName: "p", PolicyDocument: allowAll})
	c := f.session(role.Arn, SessionSpec{})
	_, err := try(f.as(c.AccessKeyID, c.SessionToken), f, iamapi.GetUser, &iamapi.GetUserInput{})
	wantError(t, "GetUser by a session", err, "ValidationError", "Must specify userName when calling with non-User credentials")
}

func TestTags(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.newRole("reader")
	ctx := f.asRoot()
	var many []iamapi.Tag
	for i := range 50 {
		many = append(many, iamapi.Tag{Key: fmt.Sprintf("%s%02d", strings.Repeat("ä", 126), i), Value: "v"})
	}
	must(ctx, f, iamapi.TagRole, &iamapi.TagRoleInput{RoleName: "reader", Tags: many})
	_, err := try(ctx, f, iamapi.TagRole, &iamapi.TagRoleInput{RoleName: "reader", Tags: []iamapi.Tag{{Key: "one more"}}})
	wantError(t, "51 tags", err, "LimitExceeded", "")
	must(ctx, f, iamapi.TagRole, &iamapi.TagRoleInput{RoleName: "reader", Tags: []iamapi.Tag{{Key: strings.ToUpper(many[7].Key), Value: "new"}}})

	var got []iamapi.Tag
	in := &iamapi.ListRoleTagsInput{RoleName: "reader", MaxItems: new(int32(20))}
	for {
		out := must(ctx, f, iamapi.ListRoleTags, in)
		got = append(got, out.Tags...)
		if !*out.IsTruncated {
			break
		}
		in.Marker = out.Marker
	}
	if len(got) != 50 || !slices.ContainsFunc(got, func(tag iamapi.Tag) bool { return tag.Value == "new" }) {
		t.Errorf("%d tags in pages, want 50 with the new value", len(got))
	}
	var keys []string
	for _, tag := range many {
		keys = append(keys, strings.ToUpper(tag.Key))
	}
	must(ctx, f, iamapi.UntagRole, &iamapi.UntagRoleInput{RoleName: "reader", TagKeys: keys})
	if out := must(ctx, f, iamapi.ListRoleTags, &iamapi.ListRoleTagsInput{RoleName: "reader"}); len(out.Tags) != 0 {
		t.Errorf("%d tags after UntagRole", len(out.Tags))
	}
}
