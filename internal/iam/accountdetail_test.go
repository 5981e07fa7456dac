package iam

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/api/schema"
)

func TestAccountAliases(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := f.asRoot()
	root, err := f.s.CreateAccount(t.Context(), otherAccount)
	if err != nil {
		t.Fatal(err)
	}
	other := f.as(root.AccessKeyID, "")
	alias := func(name string) *iamapi.CreateAccountAliasInput {
		return &iamapi.CreateAccountAliasInput{AccountAlias: name}
	}
	must(ctx, f, iamapi.CreateAccountAlias, alias("fields"))
	_, err = try(ctx, f, iamapi.CreateAccountAlias, alias("fields"))
	wantError(t, "the same again", err, "EntityAlreadyExists", "The account alias fields already exists.")
	_, err = try(other, f, iamapi.CreateAccountAlias, alias("fields"))
	wantError(t, "another account's", err, "EntityAlreadyExists", "The account alias fields already exists.")
	_, err = try(ctx, f, iamapi.CreateAccountAlias, alias("123456789012"))
	wantError(t, "an account id", err, "InvalidInput", "")
	_, err = try(other, f, iamapi.DeleteAccountAlias, &iamapi.DeleteAccountAliasInput{AccountAlias: "fields"})
	wantError(t, "delete another account's", err, "NoSuchEntity", "The account alias fields cannot be found.")
	list := func() []string {
		return must(ctx, f, iamapi.ListAccountAliases, &iamapi.ListAccountAliasesInput{}).AccountAliases
	}
	must(ctx, f, iamapi.CreateAccountAlias, alias("meadows"))
	if got := list(); !slices.Equal(got, []string{"meadows"}) {
		t.Errorf("aliases = %v, want the new one alone", got)
	}
	must(other, f, iamapi.CreateAccountAlias, alias("fields")) // free again
	_, err = try(ctx, f, iamapi.DeleteAccountAlias, &iamapi.DeleteAccountAliasInput{AccountAlias: "fields"})
	wantError(t, "delete what was its own", err, "NoSuchEntity", "")
	must(ctx, f, iamapi.DeleteAccountAlias, &iamapi.DeleteAccountAliasInput{AccountAlias: "meadows"})
	if got := list(); len(got) != 0 {
		t.Errorf("aliases = %v, want none", got)
	}
	must(other, f, iamapi.CreateAccountAlias, alias("meadows"))
}

func TestAbsent(t *testing.T) {
	t.Parallel()
	bob, none := new("bob"), new("none")
	const gone = "The user with name none cannot be found."
	steps := []step{
		{name: "bob", run: do(iamapi.CreateUser, &iamapi.CreateUserInput{UserName: "bob"})},
		{"password", do(iamapi.GetLoginProfile, &iamapi.GetLoginProfileInput{UserName: bob}), "NoSuchEntity", "Login Profile for User bob cannot be found."},
		{"password deleted", do(iamapi.DeleteLoginProfile, &iamapi.DeleteLoginProfileInput{UserName: bob}), "NoSuchEntity", "Login Profile for User bob cannot be found."},
		{"password of nobody deleted", do(iamapi.DeleteLoginProfile, &iamapi.DeleteLoginProfileInput{UserName: none}), "NoSuchEntity", gone},
		{"MFA device", do(iamapi.DeactivateMFADevice, &iamapi.DeactivateMFADeviceInput{UserName: bob, SerialNumber: "arn:aws:iam::111122223333:mfa/bob"}), "NoSuchEntity", "MFA Device with serial number arn:aws:iam::111122223333:mfa/bob does not exist."},
		{"MFA device of nobody", do(iamapi.DeactivateMFADevice, &iamapi.DeactivateMFADeviceInput{UserName: none, SerialNumber: "arn:aws:iam::111122223333:mfa/bob"}), "NoSuchEntity", gone},
		{"password of nobody", do(iamapi.GetLoginProfile, &iamapi.GetLoginProfileInput{UserName: none}), "NoSuchEntity", gone},
		{"password of root", do(iamapi.GetLoginProfile, &iamapi.GetLoginProfileInput{}), "NoSuchEntity", ""},
		{"password policy", do(iamapi.GetAccountPasswordPolicy, &schema.Nothing{}), "NoSuchEntity", "The Password Policy with domain name 111122223333 cannot be found."},
		{name: "devices", run: do(iamapi.ListMFADevices, &iamapi.ListMFADevicesInput{UserName: bob})},
		{name: "devices of root", run: do(iamapi.ListMFADevices, &iamapi.ListMFADevicesInput{})},
		{"devices of nobody", do(iamapi.ListMFADevices, &iamapi.ListMFADevicesInput{UserName: none}), "NoSuchEntity", gone},
		{"devices behind a marker", do(iamapi.ListMFADevices, &iamapi.ListMFADevicesInput{Marker: new("x")}), "ValidationError", "Invalid Marker."},
		{name: "virtual devices", run: do(iamapi.ListVirtualMFADevices, &iamapi.ListVirtualMFADevicesInput{})},
		{name: "SSH keys", run: do(iamapi.ListSSHPublicKeys, &iamapi.ListSSHPublicKeysInput{UserName: bob})},
		{"SSH keys of nobody", do(iamapi.ListSSHPublicKeys, &iamapi.ListSSHPublicKeysInput{UserName: none}), "NoSuchEntity", gone},
		{name: "certificates", run: do(iamapi.ListSigningCertificates, &iamapi.ListSigningCertificatesInput{UserName: bob})},
		{"certificates of nobody", do(iamapi.ListSigningCertificates, &iamapi.ListSigningCertificatesInput{UserName: none}), "NoSuchEntity", gone},
		{name: "service credentials", run: do(iamapi.ListServiceSpecificCredentials, &iamapi.ListServiceSpecificCredentialsInput{UserName: bob})},
		{name: "all service credentials", run: do(iamapi.ListServiceSpecificCredentials, &iamapi.ListServiceSpecificCredentialsInput{AllUsers: new(true)})},
		{"service credentials of nobody", do(iamapi.ListServiceSpecificCredentials, &iamapi.ListServiceSpecificCredentialsInput{UserName: none}), "NoSuchEntity", gone},
		{name: "instance profiles", run: do(iamapi.ListInstanceProfiles, &iamapi.ListInstanceProfilesInput{})},
		{name: "SAML providers", run: do(iamapi.ListSAMLProviders, &iamapi.ListSAMLProvidersInput{})},
		{name: "server certificates", run: do(iamapi.ListServerCertificates, &iamapi.ListServerCertificatesInput{})},
	}
	runSteps(t, steps)
}

func TestEntitiesForPolicy(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := f.asRoot()
	const p = "arn:aws:iam::111122223333:policy/p"
	must(ctx, f, iamapi.CreatePolicy, &iamapi.CreatePolicyInput{PolicyName: "p", PolicyDocument: allowS3})
	for _, n := range []string{"ann", "bob", "eve"} {
		must(ctx, f, iamapi.CreateUser, &iamapi.CreateUserInput{UserName: n, Path: new("/" + n + "/")})
	}
	must(ctx, f, iamapi.AttachUserPolicy, &iamapi.AttachUserPolicyInput{UserName: "ann", PolicyArn: p})
	must(ctx, f, iamapi.PutUserPermissionsBoundary, &iamapi.PutUserPermissionsBoundaryInput{UserName: "ann", PermissionsBoundary: p})
	must(ctx, f, iamapi.PutUserPermissionsBoundary, &iamapi.PutUserPermissionsBoundaryInput{UserName: "bob", PermissionsBoundary: p})
	f.newRole("reader")
	must(ctx, f, iamapi.AttachRolePolicy, &iamapi.AttachRolePolicyInput{RoleName: "reader", PolicyArn: p})
	must(ctx, f, iamapi.CreateGroup, &iamapi.CreateGroupInput{GroupName: "devs"})
	must(ctx, f, iamapi.AttachGroupPolicy, &iamapi.AttachGroupPolicyInput{GroupName: "devs", PolicyArn: p})
	names := func(out *iamapi.ListEntitiesForPolicyOutput) string {
		var all []string
		for _, g := range out.PolicyGroups {
			all = append(all, *g.GroupName)
		}
		for _, r := range out.PolicyRoles {
			all = append(all, *r.RoleName)
		}
		for _, u := range out.PolicyUsers {
			all = append(all, *u.UserName)
		}
		return strings.Join(all, " ")
	}
	for _, test := range []struct {
		name string
		in   iamapi.ListEntitiesForPolicyInput
		want string
	}{
		{"all", iamapi.ListEntitiesForPolicyInput{}, "devs reader ann bob"},
		{"users", iamapi.ListEntitiesForPolicyInput{EntityFilter: "User"}, "ann bob"},
		{"roles", iamapi.ListEntitiesForPolicyInput{EntityFilter: "Role"}, "reader"},
		{"groups", iamapi.ListEntitiesForPolicyInput{EntityFilter: "Group"}, "devs"},
		{"policies", iamapi.ListEntitiesForPolicyInput{EntityFilter: "LocalManagedPolicy"}, ""},
		{"attached", iamapi.ListEntitiesForPolicyInput{PolicyUsageFilter: "PermissionsPolicy"}, "devs reader ann"},
		{"bounding", iamapi.ListEntitiesForPolicyInput{PolicyUsageFilter: "PermissionsBoundary"}, "ann bob"},
		{"below a path", iamapi.ListEntitiesForPolicyInput{PathPrefix: new("/b")}, "bob"},
	} {
		test.in.PolicyArn = p
		if got := names(must(ctx, f, iamapi.ListEntitiesForPolicy, &test.in)); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
	first := must(ctx, f, iamapi.ListEntitiesForPolicy, &iamapi.ListEntitiesForPolicyInput{PolicyArn: p, MaxItems: new(int32(3))})
	must(ctx, f, iamapi.DetachRolePolicy, &iamapi.DetachRolePolicyInput{RoleName: "reader", PolicyArn: p})
	rest := must(ctx, f, iamapi.ListEntitiesForPolicy, &iamapi.ListEntitiesForPolicyInput{PolicyArn: p, Marker: first.Marker})
	if names(first) != "devs reader ann" || names(rest) != "bob" || *rest.IsTruncated {
		t.Errorf("pages %q and %q", names(first), names(rest))
	}
	_, err := try(ctx, f, iamapi.ListEntitiesForPolicy, &iamapi.ListEntitiesForPolicyInput{PolicyArn: p + "x"})
	wantError(t, "no policy", err, "NoSuchEntity", "Policy "+p+"x was not found.")

	// ListPolicies knows the same uses.
	for _, test := range []struct {
		name string
		in   iamapi.ListPoliciesInput
		want bool
	}{
		{"attached", iamapi.ListPoliciesInput{OnlyAttached: new(true)}, true},
		{"as boundary", iamapi.ListPoliciesInput{PolicyUsageFilter: "PermissionsBoundary"}, true},
		{"as policy", iamapi.ListPoliciesInput{PolicyUsageFilter: "PermissionsPolicy", Scope: "Local"}, true},
		{"of AWS", iamapi.ListPoliciesInput{PolicyUsageFilter: "PermissionsPolicy", Scope: "AWS"}, false},
		{"below a path", iamapi.ListPoliciesInput{PathPrefix: new("/x/"), Scope: "Local"}, false},
	} {
		got := must(ctx, f, iamapi.ListPolicies, &test.in).Policies
		if (len(got) == 1 && *got[0].Arn == p) != test.want {
			t.Errorf("ListPolicies %s: %d policies", test.name, len(got))
		}
	}
}

func TestAccountAuthorizationDetails(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := f.asRoot()
	const local = "arn:aws:iam::111122223333:policy/local"
	must(ctx, f, iamapi.CreatePolicy, &iamapi.CreatePolicyInput{PolicyName: "local", PolicyDocument: allowS3})
	must(ctx, f, iamapi.CreatePolicyVersion, &iamapi.CreatePolicyVersionInput{PolicyArn: local, PolicyDocument: allowAll})
	must(ctx, f, iamapi.CreateUser, &iamapi.CreateUserInput{UserName: "bob", PermissionsBoundary: new(s3Policy), Tags: []iamapi.Tag{{Key: "k", Value: "v"}}})
	must(ctx, f, iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{UserName: "bob", PolicyName: "in", PolicyDocument: allowS3})
	for _, g := range []string{"ops", "devs"} {
		must(ctx, f, iamapi.CreateGroup, &iamapi.CreateGroupInput{GroupName: g})
		must(ctx, f, iamapi.AddUserToGroup, &iamapi.AddUserToGroupInput{GroupName: g, UserName: "bob"})
	}
	must(ctx, f, iamapi.AttachGroupPolicy, &iamapi.AttachGroupPolicyInput{GroupName: "devs", PolicyArn: local})
	f.newRole("reader")
	must(ctx, f, iamapi.AttachRolePolicy, &iamapi.AttachRolePolicyInput{RoleName: "reader", PolicyArn: local})
	f.newUser("zoe")

	all := must(ctx, f, iamapi.GetAccountAuthorizationDetails, &iamapi.GetAccountAuthorizationDetailsInput{})
	if len(all.UserDetailList) != 2 || len(all.GroupDetailList) != 2 || len(all.RoleDetailList) != 1 || len(all.Policies) != 2 || *all.IsTruncated {
		t.Fatalf("details: %d users, %d groups, %d roles, %d policies", len(all.UserDetailList), len(all.GroupDetailList), len(all.RoleDetailList), len(all.Policies))
	}
	bob := all.UserDetailList[0]
	if *bob.UserName != "bob" || !slices.Equal(bob.GroupList, []string{"devs", "ops"}) || len(bob.Tags) != 1 ||
		*bob.UserPolicyList[0].PolicyDocument != encodeDocument(allowS3) || *bob.PermissionsBoundary.PermissionsBoundaryArn != s3Policy {
		t.Errorf("bob = %+v", bob)
	}
	if devs := all.GroupDetailList[0]; *devs.GroupName != "devs" || *devs.AttachedManagedPolicies[0].PolicyArn != local {
		t.Errorf("devs = %+v", devs)
	}
	if r := all.RoleDetailList[0]; *r.AssumeRolePolicyDocument != encodeDocument(trustAccount) || *r.AttachedManagedPolicies[0].PolicyName != "local" {
		t.Errorf("reader = %+v", r)
	}
	if p := all.Policies[1]; *p.Arn != local || len(p.PolicyVersionList) != 2 || *p.PolicyVersionList[0].VersionId != "v2" || *p.AttachmentCount != 2 {
		t.Errorf("policy = %+v", p)
	}

	for _, test := range []struct {
		filter []iamapi.EntityType
		want   string // users, groups, roles, policies
	}{
		{[]iamapi.EntityType{"User"}, "2 0 0 0"},
		{[]iamapi.EntityType{"Group", "Role"}, "0 2 1 0"},
		{[]iamapi.EntityType{"LocalManagedPolicy"}, "0 0 0 1"},
		{[]iamapi.EntityType{"AWSManagedPolicy"}, "0 0 0 1"},
	} {
		out := must(ctx, f, iamapi.GetAccountAuthorizationDetails, &iamapi.GetAccountAuthorizationDetailsInput{Filter: test.filter})
		if got := fmt.Sprint(len(out.UserDetailList), len(out.GroupDetailList), len(out.RoleDetailList), len(out.Policies)); got != test.want {
			t.Errorf("%v: %s, want %s", test.filter, got, test.want)
		}
	}

	// Pages run through everything once, also when a user goes meanwhile.
	in := &iamapi.GetAccountAuthorizationDetailsInput{MaxItems: new(int32(2))}
	n := 0
	for {
		out := must(ctx, f, iamapi.GetAccountAuthorizationDetails, in)
		n += len(out.UserDetailList) + len(out.GroupDetailList) + len(out.RoleDetailList) + len(out.Policies)
		if !*out.IsTruncated {
			break
		}
		if in.Marker == nil {
			for _, k := range must(ctx, f, iamapi.ListAccessKeys, &iamapi.ListAccessKeysInput{UserName: new("zoe")}).AccessKeyMetadata {
				must(ctx, f, iamapi.DeleteAccessKey, &iamapi.DeleteAccessKeyInput{UserName: new("zoe"), AccessKeyId: *k.AccessKeyId})
			}
			must(ctx, f, iamapi.DeleteUser, &iamapi.DeleteUserInput{UserName: "zoe"})
		}
		in.Marker = out.Marker
	}
	if n != 7 {
		t.Errorf("pages show %d entries, want 7", n)
	}
	_, err := try(ctx, f, iamapi.GetAccountAuthorizationDetails, &iamapi.GetAccountAuthorizationDetailsInput{Marker: in.Marker, Filter: []iamapi.EntityType{"User"}})
	wantError(t, "marker under another filter", err, "ValidationError", "Invalid Marker.")

	sum := must(ctx, f, iamapi.GetAccountSummary, &schema.Nothing{}).SummaryMap
	for name, want := range map[string]int32{"Users": 1, "Groups": 2, "Roles": 1, "Policies": 1, "PolicyVersionsInUse": 2, "Providers": 0, "GroupsQuota": 300, "GroupPolicySizeQuota": 5120} {
		if sum[name] != want {
			t.Errorf("%s = %d, want %d", name, sum[name], want)
		}
	}
}

func TestPolicyTags(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := f.asRoot()
	const p = "arn:aws:iam::111122223333:policy/p"
	made := must(ctx, f, iamapi.CreatePolicy, &iamapi.CreatePolicyInput{PolicyName: "p", PolicyDocument: allowS3, Tags: []iamapi.Tag{{Key: "a", Value: "1"}}}).Policy
	must(ctx, f, iamapi.TagPolicy, &iamapi.TagPolicyInput{PolicyArn: p, Tags: []iamapi.Tag{{Key: "A", Value: "2"}, {Key: "b", Value: "3"}}})
	list := func() string {
		return fmt.Sprint(must(ctx, f, iamapi.ListPolicyTags, &iamapi.ListPolicyTagsInput{PolicyArn: p}).Tags)
	}
	if got := list(); got != "[{A 2} {b 3}]" {
		t.Errorf("tags = %s", got)
	}
	f.pass(1e9)
	must(ctx, f, iamapi.UntagPolicy, &iamapi.UntagPolicyInput{PolicyArn: p, TagKeys: []string{"a", "none"}})
	if got := list(); got != "[{b 3}]" {
		t.Errorf("tags = %s", got)
	}
	if got := must(ctx, f, iamapi.GetPolicy, &iamapi.GetPolicyInput{PolicyArn: p}).Policy; !got.UpdateDate.Equal(*made.UpdateDate) || len(got.Tags) != 1 {
		t.Errorf("a tagged policy = %+v", got)
	}
	for name, test := range map[string]struct {
		arn  string
		tags []iamapi.Tag
		code string
	}{
		"no policy":  {p + "x", []iamapi.Tag{{Key: "a"}}, "NoSuchEntity"},
		"AWS's":      {s3Policy, []iamapi.Tag{{Key: "a"}}, "AccessDenied"},
		"reserved":   {p, []iamapi.Tag{{Key: "aws:a"}}, "InvalidInput"},
		"twice":      {p, []iamapi.Tag{{Key: "a"}, {Key: "A"}}, "InvalidInput"},
		"no ARN":     {"this is not an ARN", []iamapi.Tag{{Key: "a"}}, "InvalidInput"},
		"51 of them": {p, manyTags(51), "LimitExceeded"},
	} {
		_, err := try(ctx, f, iamapi.TagPolicy, &iamapi.TagPolicyInput{PolicyArn: test.arn, Tags: test.tags})
		wantError(t, name, err, test.code, "")
	}
	if got := must(ctx, f, iamapi.ListPolicyTags, &iamapi.ListPolicyTagsInput{PolicyArn: s3Policy}).Tags; len(got) != 0 {
		t.Errorf("AWS's policy has tags %v", got)
	}
	// A page goes on behind its last tag when that one is gone.
	must(ctx, f, iamapi.TagPolicy, &iamapi.TagPolicyInput{PolicyArn: p, Tags: manyTags(4)})
	first := must(ctx, f, iamapi.ListPolicyTags, &iamapi.ListPolicyTagsInput{PolicyArn: p, MaxItems: new(int32(2))})
	must(ctx, f, iamapi.UntagPolicy, &iamapi.UntagPolicyInput{PolicyArn: p, TagKeys: []string{first.Tags[1].Key}})
	rest := must(ctx, f, iamapi.ListPolicyTags, &iamapi.ListPolicyTagsInput{PolicyArn: p, Marker: first.Marker})
	if len(rest.Tags) != 3 || *rest.IsTruncated {
		t.Errorf("the rest of the tags = %v", rest.Tags)
	}
}

func manyTags(n int) []iamapi.Tag {
	all := make([]iamapi.Tag, n)
	for i := range all {
		all[i] = iamapi.Tag{Key: fmt.Sprintf("key%02d", i), Value: "v"}
	}
	return all
}
