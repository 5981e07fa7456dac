package iam

import (
	"context"
	"strings"
	"testing"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/internal/authz"
)

// attached makes a user with a group, a boundary and policies of every form,
// and a role.
func attached(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(t)
	ctx := f.asRoot()
	f.newUser("bob")
	f.newRole("geo")
	own := must(ctx, f, iamapi.CreatePolicy, &iamapi.CreatePolicyInput{PolicyName: "records", Path: new("/team/"), PolicyDocument: doc(says("Allow", "sagemaker:PutRecord", "*", when("StringEquals", "aws:PrincipalTag/team", "crops")))})
	must(ctx, f, iamapi.CreateGroup, &iamapi.CreateGroupInput{GroupName: "growers"})
	must(ctx, f, iamapi.PutGroupPolicy, &iamapi.PutGroupPolicyInput{GroupName: "growers", PolicyName: "trails", PolicyDocument: doc(says("Allow", "cloudtrail:LookupEvents", "*"))})
	must(ctx, f, iamapi.AttachGroupPolicy, &iamapi.AttachGroupPolicyInput{GroupName: "growers", PolicyArn: s3Policy})
	must(ctx, f, iamapi.AddUserToGroup, &iamapi.AddUserToGroupInput{GroupName: "growers", UserName: "bob"})
	must(ctx, f, iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{UserName: "bob", PolicyName: "keys", PolicyDocument: doc(says("Allow", "kms:Decrypt", "*"), says("Deny", "kms:PutKeyPolicy", "*"))})
	must(ctx, f, iamapi.AttachUserPolicy, &iamapi.AttachUserPolicyInput{UserName: "bob", PolicyArn: *own.Policy.Arn})
	must(ctx, f, iamapi.AttachUserPolicy, &iamapi.AttachUserPolicyInput{UserName: "bob", PolicyArn: awsPolicyPrefix + "IAMReadOnlyAccess"})
	must(ctx, f, iamapi.PutUserPermissionsBoundary, &iamapi.PutUserPermissionsBoundaryInput{UserName: "bob", PermissionsBoundary: awsPolicyPrefix + "PowerUserAccess"})
	must(ctx, f, iamapi.PutRolePolicy, &iamapi.PutRolePolicyInput{RoleName: "geo", PolicyName: "jobs", PolicyDocument: doc(says("Allow", "sagemaker-geospatial:*", "*"))})
	return f
}

func TestSimulatePrincipalPolicy(t *testing.T) {
	t.Parallel()
	f := attached(t)
	const (
		geoARN   = "arn:aws:iam::111122223333:role/geo"
		groupARN = "arn:aws:iam::111122223333:group/growers"
	)
	inline := func(noun, owner, name string) []iamapi.PolicyIdentifier {
		return []iamapi.PolicyIdentifier{{InlinePolicyIdentifier: &iamapi.InlinePolicyIdentifierType{PolicyName: name, AttachmentType: iamapi.AttachmentType(noun), AttachmentName: owner}}}
	}
	ofType := func(typ iamapi.PolicyIdentifierPolicyType) []iamapi.PolicyIdentifier {
		return []iamapi.PolicyIdentifier{{PolicyType: typ}}
	}
	ofARN := func(policyARN string) []iamapi.PolicyIdentifier {
		return []iamapi.PolicyIdentifier{{PolicyArn: &policyARN}}
	}
	tests := []struct {
		name, source, action string
		in                   iamapi.SimulatePrincipalPolicyInput
		want                 string
	}{
		{"inline", bobARN, "kms:Decrypt", iamapi.SimulatePrincipalPolicyInput{}, "allowed user_bob_keys boundary=true"},
		{"inline deny", bobARN, "kms:PutKeyPolicy", iamapi.SimulatePrincipalPolicyInput{}, "explicitDeny user_bob_keys boundary=true"},
		{"nothing", bobARN, "kms:Encrypt", iamapi.SimulatePrincipalPolicyInput{}, "implicitDeny boundary=true"},
		{"the group's", bobARN, "s3:PutObject", iamapi.SimulatePrincipalPolicyInput{}, "allowed AmazonS3FullAccess boundary=true"},
		{"the group's inline", bobARN, "cloudtrail:LookupEvents", iamapi.SimulatePrincipalPolicyInput{}, "allowed group_growers_trails boundary=true"},
		{"a condition", bobARN, "sagemaker:PutRecord", iamapi.SimulatePrincipalPolicyInput{}, "implicitDeny missing aws:PrincipalTag/team boundary=true"},
		{"a condition that is met", bobARN, "sagemaker:PutRecord", iamapi.SimulatePrincipalPolicyInput{ContextEntries: []iamapi.ContextEntry{entry("aws:PrincipalTag/team", "string", "crops")}}, "allowed records boundary=true"},
		{"beyond the boundary", bobARN, "iam:GetUser", iamapi.SimulatePrincipalPolicyInput{}, "implicitDeny boundary=false"},
		{"another boundary", bobARN, "iam:GetUser", iamapi.SimulatePrincipalPolicyInput{PermissionsBoundaryPolicyInputList: []string{allowAll}}, "allowed IAMReadOnlyAccess boundary=true"},
		{"a policy more", bobARN, "kms:Encrypt", iamapi.SimulatePrincipalPolicyInput{PolicyInputList: []string{doc(says("Allow", "kms:Encrypt", "*"))}}, "allowed PolicyInputList.1 boundary=true"},
		{"as another caller", bobARN, "s3:GetObject", iamapi.SimulatePrincipalPolicyInput{
			CallerArn: new(strangeARN), ResourceArns: []string{"arn:aws:s3:::data/x"}, ResourceOwner: new("arn:aws:iam::111122223333:root"),
			ResourcePolicy: new(doc(says("Allow", "s3:GetObject", "arn:aws:s3:::data/*", by("arn:aws:iam::444455556666:root")))),
		}, "allowed AmazonS3FullAccess ResourcePolicy boundary=true IAM Policy=allowed Permissions Boundary Policy=allowed Resource Policy=allowed"},
		{"the user is the caller", bobARN, "kms:Encrypt", iamapi.SimulatePrincipalPolicyInput{ResourceArns: []string{cropsKey}, ResourcePolicy: new(doc(says("Allow", "kms:Encrypt", "*", by(bobARN))))}, "allowed ResourcePolicy boundary=true"},

		{"a role", geoARN, "sagemaker-geospatial:GetEarthObservationJob", iamapi.SimulatePrincipalPolicyInput{}, "allowed role_geo_jobs"},
		{"a role and a key", geoARN, "kms:CreateGrant", iamapi.SimulatePrincipalPolicyInput{ResourceArns: []string{cropsKey}, ResourcePolicy: new(doc(says("Allow", "kms:CreateGrant", "*", by(geoARN))))}, "allowed ResourcePolicy"},
		{"a group", groupARN, "s3:GetObject", iamapi.SimulatePrincipalPolicyInput{}, "allowed AmazonS3FullAccess"},
		{"a group has no boundary", groupARN, "iam:GetUser", iamapi.SimulatePrincipalPolicyInput{}, "implicitDeny"},

		{"without AWS's", bobARN, "s3:GetObject", iamapi.SimulatePrincipalPolicyInput{PolicyExclusionList: ofType("aws-managed")}, "implicitDeny boundary=true"},
		{"without one's own", bobARN, "s3:GetObject", iamapi.SimulatePrincipalPolicyInput{PolicyExclusionList: ofType("user-managed")}, "allowed AmazonS3FullAccess boundary=true"},
		{"without inline ones", bobARN, "kms:PutKeyPolicy", iamapi.SimulatePrincipalPolicyInput{PolicyExclusionList: ofType("inline")}, "implicitDeny boundary=true"},
		{"without one inline", bobARN, "kms:Decrypt", iamapi.SimulatePrincipalPolicyInput{PolicyExclusionList: inline("user", "bob", "keys")}, "implicitDeny boundary=true"},
		{"without another inline", bobARN, "kms:Decrypt", iamapi.SimulatePrincipalPolicyInput{PolicyExclusionList: inline("group", "growers", "keys")}, "allowed user_bob_keys boundary=true"},
		{"without the group's inline", bobARN, "cloudtrail:LookupEvents", iamapi.SimulatePrincipalPolicyInput{PolicyExclusionList: inline("group", "growers", "trails")}, "implicitDeny boundary=true"},
		{"without one by ARN", bobARN, "s3:GetObject", iamapi.SimulatePrincipalPolicyInput{PolicyExclusionList: ofARN(s3Policy)}, "implicitDeny boundary=true"},
		{"without the boundary", bobARN, "iam:GetUser", iamapi.SimulatePrincipalPolicyInput{PolicyExclusionList: ofType("permission-boundary")}, "allowed IAMReadOnlyAccess"},
		{"without the boundary by ARN", bobARN, "iam:GetUser", iamapi.SimulatePrincipalPolicyInput{PolicyExclusionList: ofARN(awsPolicyPrefix + "PowerUserAccess")}, "allowed IAMReadOnlyAccess"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.in.PolicySourceArn, test.in.ActionNames = test.source, []string{test.action}
			out, err := try(f.asRoot(), f, iamapi.SimulatePrincipalPolicy, &test.in)
			if err != nil {
				t.Fatal(err)
			}
			if got := summary(&out.EvaluationResults[0]); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestSimulatedControls(t *testing.T) {
	t.Parallel()
	f := attached(t)
	fails := false
	f.s.controls = func(_ context.Context, account string) ([][]*authz.Policy, error) {
		if fails {
			return nil, context.DeadlineExceeded
		}
		return [][]*authz.Policy{{compile(authz.SCP, "root", allowAll)}, {compile(authz.SCP, "unit", doc(says("Allow", "s3:*", "*")))}}, nil
	}
	in := &iamapi.SimulatePrincipalPolicyInput{PolicySourceArn: bobARN, ActionNames: []string{"s3:GetObject", "kms:Decrypt"}}
	out := must(f.asRoot(), f, iamapi.SimulatePrincipalPolicy, in)
	for i, want := range []string{"allowed AmazonS3FullAccess organization=true boundary=true", "implicitDeny organization=false boundary=true"} {
		if got := summary(&out.EvaluationResults[i]); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	in.PolicyExclusionList = []iamapi.PolicyIdentifier{{PolicyType: "scp"}}
	if got := summary(&must(f.asRoot(), f, iamapi.SimulatePrincipalPolicy, in).EvaluationResults[1]); got != "allowed user_bob_keys boundary=true" {
		t.Errorf("without control policies: %s", got)
	}
	in.PolicyExclusionList[0].PolicyType = "rcp"
	_, err := try(f.asRoot(), f, iamapi.SimulatePrincipalPolicy, in)
	wantError(t, "without RCPs", err, "InvalidInput", "")
	in.PolicyExclusionList, fails = nil, true
	if _, err := try(f.asRoot(), f, iamapi.SimulatePrincipalPolicy, in); err == nil {
		t.Error("control policies that cannot be read are left out")
	}
}

func TestSimulationSources(t *testing.T) {
	t.Parallel()
	f := attached(t)
	for source, code := range map[string]string{
		"arn:aws:iam::111122223333:user/nobody":       "NoSuchEntity",
		"arn:aws:iam::111122223333:user/path/bob":     "NoSuchEntity",
		"arn:aws:iam::111122223333:group/nobody":      "NoSuchEntity",
		"arn:aws:iam::111122223333:role/nobody":       "NoSuchEntity",
		"arn:aws:iam::111122223333:policy/team/x":     "InvalidInput",
		"arn:aws:iam::111122223333:root":              "InvalidInput",
		"arn:aws:sts::111122223333:assumed-role/geo/": "InvalidInput",
		"not an ARN, but long enough":                 "InvalidInput",
	} {
		_, err := try(f.asRoot(), f, iamapi.SimulatePrincipalPolicy, &iamapi.SimulatePrincipalPolicyInput{PolicySourceArn: source, ActionNames: []string{"s3:GetObject"}})
		wantError(t, source, err, code, "")
		_, err = try(f.asRoot(), f, iamapi.GetContextKeysForPrincipalPolicy, &iamapi.GetContextKeysForPrincipalPolicyInput{PolicySourceArn: source})
		wantError(t, source, err, code, "")
	}
	// Another account's root may not look at this account's users.
	other, err := f.s.CreateAccount(t.Context(), otherAccount)
	if err != nil {
		t.Fatal(err)
	}
	_, err = try(f.as(other.AccessKeyID, ""), f, iamapi.SimulatePrincipalPolicy, &iamapi.SimulatePrincipalPolicyInput{PolicySourceArn: bobARN, ActionNames: []string{"s3:GetObject"}})
	wantError(t, "another account's user", err, "AccessDenied", "")
}

func TestSimulationPermissions(t *testing.T) {
	t.Parallel()
	f := attached(t)
	ctx := f.asRoot()
	simulate := func(ctx context.Context, source string) error {
		_, err := try(ctx, f, iamapi.SimulatePrincipalPolicy, &iamapi.SimulatePrincipalPolicyInput{PolicySourceArn: source, ActionNames: []string{"s3:GetObject"}})
		return err
	}
	_, key := f.newUser("auditor")
	as := f.as(key.AccessKeyId, "")
	wantError(t, "without permission", simulate(as, bobARN), "AccessDenied", "")
	_, err := try(as, f, iamapi.SimulateCustomPolicy, &iamapi.SimulateCustomPolicyInput{PolicyInputList: []string{allowAll}, ActionNames: []string{"s3:GetObject"}})
	wantError(t, "custom without permission", err, "AccessDenied", "")

	must(ctx, f, iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{UserName: "auditor", PolicyName: "p", PolicyDocument: doc(
		says("Allow", "iam:SimulatePrincipalPolicy", bobARN), says("Allow", "iam:GetContextKeysForPrincipalPolicy", bobARN),
		says("Allow", "iam:SimulateCustomPolicy", "*"), says("Allow", "iam:GetContextKeysForCustomPolicy", "*"))})
	as = f.as(key.AccessKeyId, "")
	wantError(t, "the user allowed", simulate(as, bobARN), "", "")
	wantError(t, "a role not allowed", simulate(as, "arn:aws:iam::111122223333:role/geo"), "AccessDenied", "")
	must(as, f, iamapi.SimulateCustomPolicy, &iamapi.SimulateCustomPolicyInput{PolicyInputList: []string{allowAll}, ActionNames: []string{"s3:GetObject"}})
	must(as, f, iamapi.GetContextKeysForPrincipalPolicy, &iamapi.GetContextKeysForPrincipalPolicyInput{PolicySourceArn: bobARN})

	must(ctx, f, iamapi.TagUser, &iamapi.TagUserInput{UserName: "bob", Tags: []iamapi.Tag{{Key: "team", Value: "crops"}}})
	must(ctx, f, iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{UserName: "auditor", PolicyName: "p", PolicyDocument: doc(says("Allow", "iam:*", "*", when("StringEquals", "aws:ResourceTag/team", "crops")))})
	as = f.as(key.AccessKeyId, "")
	wantError(t, "by tag", simulate(as, bobARN), "", "")
	wantError(t, "without the tag", simulate(as, "arn:aws:iam::111122223333:role/geo"), "AccessDenied", "")
}

func TestContextKeys(t *testing.T) {
	t.Parallel()
	f := attached(t)
	policies := []string{
		doc(says("Allow", "s3:*", "arn:aws:s3:::data/${aws:username}/*", when("IpAddress", "aws:SourceIp", "203.0.113.0/24"))),
		doc(says("Allow", "s3:*", "*", when("StringLike", "s3:prefix", "${AWS:UserName}/*"))),
	}
	got := must(f.asRoot(), f, iamapi.GetContextKeysForCustomPolicy, &iamapi.GetContextKeysForCustomPolicyInput{PolicyInputList: policies}).ContextKeyNames
	if len(got) != 3 || !strings.EqualFold(got[1], "aws:username") || got[0] != "aws:SourceIp" || got[2] != "s3:prefix" {
		t.Errorf("keys are %v", got)
	}
	got = must(f.asRoot(), f, iamapi.GetContextKeysForPrincipalPolicy, &iamapi.GetContextKeysForPrincipalPolicyInput{PolicySourceArn: bobARN, PolicyInputList: policies[1:]}).ContextKeyNames
	if len(got) != 3 || got[0] != "aws:PrincipalTag/team" || got[2] != "s3:prefix" {
		t.Errorf("keys of bob are %v", got)
	}
	got = must(f.asRoot(), f, iamapi.GetContextKeysForPrincipalPolicy, &iamapi.GetContextKeysForPrincipalPolicyInput{PolicySourceArn: "arn:aws:iam::111122223333:role/geo"}).ContextKeyNames
	if got == nil || len(got) != 0 {
		t.Errorf("keys of geo are %v", got)
	}
	_, err := try(f.asRoot(), f, iamapi.GetContextKeysForCustomPolicy, &iamapi.GetContextKeysForCustomPolicyInput{PolicyInputList: []string{"{"}})
	wantError(t, "malformed", err, "InvalidInput", "Syntax errors in policy.")
}
