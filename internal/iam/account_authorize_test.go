package iam

import (
	"context"
	"strings"
	"testing"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/api/schema"
)

// asking makes a call by a user from an operation and its input.
func asking[In, Out any](op schema.Op[In, Out], in *In) func(*fixture, context.Context) error {
	return func(f *fixture, ctx context.Context) error {
		_, err := try(ctx, f, op, in)
		return err
	}
}

// TestAuthorizationOfGroupsAndAccounts: which resource and which condition keys
// the operations ask for.
func TestAuthorizationOfGroupsAndAccounts(t *testing.T) {
	t.Parallel()
	const account, devs, own = "arn:aws:iam::111122223333:", "arn:aws:iam::111122223333:group/team/devs", "arn:aws:iam::111122223333:policy/own"
	tags := []iamapi.Tag{{Key: "team", Value: "geo"}}
	for _, test := range []struct {
		name, action, resource, condition string
		run                               func(*fixture, context.Context) error
		denied                            bool
	}{
		{"create below a path", "iam:CreateGroup", account + "group/team/*", "", asking(iamapi.CreateGroup, &iamapi.CreateGroupInput{GroupName: "x", Path: new("/team/")}), false},
		{"create elsewhere", "iam:CreateGroup", account + "group/team/*", "", asking(iamapi.CreateGroup, &iamapi.CreateGroupInput{GroupName: "x"}), true},
		{"get", "iam:GetGroup", devs, "", asking(iamapi.GetGroup, &iamapi.GetGroupInput{GroupName: "devs"}), false},
		{"list", "iam:ListGroups", account + "group/*", "", asking(iamapi.ListGroups, &iamapi.ListGroupsInput{}), false},
		{"add to the group", "iam:AddUserToGroup", devs, "", asking(iamapi.AddUserToGroup, &iamapi.AddUserToGroupInput{GroupName: "devs", UserName: "admin"}), false},
		{"add to another", "iam:AddUserToGroup", devs, "", asking(iamapi.AddUserToGroup, &iamapi.AddUserToGroupInput{GroupName: "ops", UserName: "admin"}), true},
		{"remove", "iam:RemoveUserFromGroup", account + "user/admin", "", asking(iamapi.RemoveUserFromGroup, &iamapi.RemoveUserFromGroupInput{GroupName: "devs", UserName: "admin"}), true},
		{"groups of the user", "iam:ListGroupsForUser", account + "user/admin", "", asking(iamapi.ListGroupsForUser, &iamapi.ListGroupsForUserInput{UserName: "admin"}), false},
		{"put", "iam:PutGroupPolicy", devs, "", asking(iamapi.PutGroupPolicy, &iamapi.PutGroupPolicyInput{GroupName: "devs", PolicyName: "p", PolicyDocument: allowAll}), false},
		{"attach the one policy", "iam:AttachGroupPolicy", devs, `"ArnEquals":{"iam:PolicyARN":"` + s3Policy + `"}`, asking(iamapi.AttachGroupPolicy, &iamapi.AttachGroupPolicyInput{GroupName: "devs", PolicyArn: s3Policy}), false},
		{"attach another", "iam:AttachGroupPolicy", devs, `"ArnEquals":{"iam:PolicyARN":"` + s3Policy + `"}`, asking(iamapi.AttachGroupPolicy, &iamapi.AttachGroupPolicyInput{GroupName: "devs", PolicyArn: own}), true},
		{"tag with the tag", "iam:TagPolicy", own, `"StringEquals":{"aws:RequestTag/team":"geo"},"ForAllValues:StringEquals":{"aws:TagKeys":["team"]}`, asking(iamapi.TagPolicy, &iamapi.TagPolicyInput{PolicyArn: own, Tags: tags}), false},
		{"tag with another value", "iam:TagPolicy", own, `"StringEquals":{"aws:RequestTag/team":"ml"}`, asking(iamapi.TagPolicy, &iamapi.TagPolicyInput{PolicyArn: own, Tags: tags}), true},
		{"untag the key", "iam:UntagPolicy", own, `"ForAllValues:StringEquals":{"aws:TagKeys":["a"]}`, asking(iamapi.UntagPolicy, &iamapi.UntagPolicyInput{PolicyArn: own, TagKeys: []string{"a"}}), false},
		{"untag another key", "iam:UntagPolicy", own, `"ForAllValues:StringEquals":{"aws:TagKeys":["a"]}`, asking(iamapi.UntagPolicy, &iamapi.UntagPolicyInput{PolicyArn: own, TagKeys: []string{"b"}}), true},
		{"policy by its tag", "iam:ListEntitiesForPolicy", own, `"StringEquals":{"aws:ResourceTag/owner":"me","iam:ResourceTag/owner":"me"}`, asking(iamapi.ListEntitiesForPolicy, &iamapi.ListEntitiesForPolicyInput{PolicyArn: own}), false},
		{"policy by another tag", "iam:ListPolicyTags", own, `"StringEquals":{"aws:ResourceTag/owner":"you"}`, asking(iamapi.ListPolicyTags, &iamapi.ListPolicyTagsInput{PolicyArn: own}), true},
		{"role of the service", "iam:CreateServiceLinkedRole", account + "role/aws-service-role/mrk.kms.amazonaws.com/" + mrkRole, `"StringLike":{"iam:AWSServiceName":"mrk.kms.amazonaws.com"}`, asking(iamapi.CreateServiceLinkedRole, &iamapi.CreateServiceLinkedRoleInput{AWSServiceName: mrkService}), false},
		{"role of another service", "iam:CreateServiceLinkedRole", "*", `"StringLike":{"iam:AWSServiceName":"sagemaker.amazonaws.com"}`, asking(iamapi.CreateServiceLinkedRole, &iamapi.CreateServiceLinkedRoleInput{AWSServiceName: mrkService}), true},
		{"delete the linked role", "iam:DeleteServiceLinkedRole", account + "role/aws-service-role/sagemaker.amazonaws.com/*", "", asking(iamapi.DeleteServiceLinkedRole, &iamapi.DeleteServiceLinkedRoleInput{RoleName: "AWSServiceRoleForAmazonSageMakerNotebooks"}), false},
		{"delete another", "iam:DeleteServiceLinkedRole", account + "role/aws-service-role/cloudtrail.amazonaws.com/*", "", asking(iamapi.DeleteServiceLinkedRole, &iamapi.DeleteServiceLinkedRoleInput{RoleName: "AWSServiceRoleForAmazonSageMakerNotebooks"}), true},
		{"status", "iam:GetServiceLinkedRoleDeletionStatus", account + "role/aws-service-role/mrk.kms.amazonaws.com/r", "", asking(iamapi.GetServiceLinkedRoleDeletionStatus, &iamapi.GetServiceLinkedRoleDeletionStatusInput{DeletionTaskId: "task/aws-service-role/cloudtrail.amazonaws.com/r/u"}), true},
		{"alias", "iam:CreateAccountAlias", "*", "", asking(iamapi.CreateAccountAlias, &iamapi.CreateAccountAliasInput{AccountAlias: "alias"}), false},
		{"details", "iam:GetAccountAuthorizationDetails", devs, "", asking(iamapi.GetAccountAuthorizationDetails, &iamapi.GetAccountAuthorizationDetailsInput{}), true},
		{"devices of the user", "iam:ListMFADevices", account + "user/admin", "", asking(iamapi.ListMFADevices, &iamapi.ListMFADevicesInput{}), false},
		{"virtual devices", "iam:ListVirtualMFADevices", account + "mfa/*", "", asking(iamapi.ListVirtualMFADevices, &iamapi.ListVirtualMFADevicesInput{}), false},
		{"instance profiles", "iam:ListInstanceProfiles", account + "instance-profile/x/*", "", asking(iamapi.ListInstanceProfiles, &iamapi.ListInstanceProfilesInput{PathPrefix: new("/x/")}), false},
		{"server certificates", "iam:ListServerCertificates", account + "server-certificate/x/*", "", asking(iamapi.ListServerCertificates, &iamapi.ListServerCertificatesInput{}), true},
		{"all service credentials", "iam:ListServiceSpecificCredentials", account + "user/admin", "", asking(iamapi.ListServiceSpecificCredentials, &iamapi.ListServiceSpecificCredentialsInput{AllUsers: new(true)}), true},
		{"bounded users alone", "iam:PutUserPolicy", "*", `"StringEquals":{"iam:PermissionsBoundary":"` + s3Policy + `"}`, asking(iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{UserName: "admin", PolicyName: "p", PolicyDocument: allowAll}), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			_, k := f.newUser("admin")
			root := f.asRoot()
			must(root, f, iamapi.CreateGroup, &iamapi.CreateGroupInput{GroupName: "devs", Path: new("/team/")})
			must(root, f, iamapi.CreateGroup, &iamapi.CreateGroupInput{GroupName: "ops", Path: new("/team/")})
			must(root, f, iamapi.CreatePolicy, &iamapi.CreatePolicyInput{PolicyName: "own", PolicyDocument: allowAll, Tags: []iamapi.Tag{{Key: "owner", Value: "me"}}})
			must(root, f, iamapi.CreateServiceLinkedRole, &iamapi.CreateServiceLinkedRoleInput{AWSServiceName: "sagemaker.amazonaws.com"})
			policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"` + test.action + `","Resource":"` + test.resource + `","Condition":{` + test.condition + `}}]}`
			must(root, f, iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{UserName: "admin", PolicyName: "p", PolicyDocument: strings.Replace(policy, `,"Condition":{}`, "", 1)})
			code := ""
			if test.denied {
				code = "AccessDenied"
			}
			wantError(t, test.action, test.run(f, f.as(k.AccessKeyId, "")), code, "")
		})
	}
}

// TestMalformedDocuments: what no operation that saves a policy takes.
func TestMalformedDocuments(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := f.asRoot()
	f.newRole("r")
	f.newUser("u")
	must(ctx, f, iamapi.CreateGroup, &iamapi.CreateGroupInput{GroupName: "g"})
	const own = "arn:aws:iam::111122223333:policy/own"
	must(ctx, f, iamapi.CreatePolicy, &iamapi.CreatePolicyInput{PolicyName: "own", PolicyDocument: allowAll})
	save := map[string]func(doc string) error{
		"PutRolePolicy": func(doc string) error {
			_, err := try(ctx, f, iamapi.PutRolePolicy, &iamapi.PutRolePolicyInput{RoleName: "r", PolicyName: "p", PolicyDocument: doc})
			return err
		},
		"PutUserPolicy": func(doc string) error {
			_, err := try(ctx, f, iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{UserName: "u", PolicyName: "p", PolicyDocument: doc})
			return err
		},
		"PutGroupPolicy": func(doc string) error {
			_, err := try(ctx, f, iamapi.PutGroupPolicy, &iamapi.PutGroupPolicyInput{GroupName: "g", PolicyName: "p", PolicyDocument: doc})
			return err
		},
		"CreatePolicy": func(doc string) error {
			_, err := try(ctx, f, iamapi.CreatePolicy, &iamapi.CreatePolicyInput{PolicyName: "p", PolicyDocument: doc})
			return err
		},
		"CreatePolicyVersion": func(doc string) error {
			_, err := try(ctx, f, iamapi.CreatePolicyVersion, &iamapi.CreatePolicyVersionInput{PolicyArn: own, PolicyDocument: doc})
			return err
		},
		"UpdateAssumeRolePolicy": func(doc string) error {
			_, err := try(ctx, f, iamapi.UpdateAssumeRolePolicy, &iamapi.UpdateAssumeRolePolicyInput{RoleName: "r", PolicyDocument: doc})
			return err
		},
	}
	for name, doc := range map[string]string{
		"nothing":          "",
		"an empty object":  "{}",
		"white space":      " \n\t",
		"half a document":  allowAll[:len(allowAll)/2],
		"two documents":    allowAll + allowAll,
		"a list":           "[" + allowAll + "]",
		"a string":         `"` + "allow" + `"`,
		"encoded":          encodeDocument(allowAll),
		"no action":        `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Resource":"*"}]}`,
		"a wrong effect":   strings.Replace(allowAll, "Allow", "allow", 1),
		"a wrong version":  strings.Replace(allowAll, "2012-10-17", "2012-10-18", 1),
		"a member twice":   strings.Replace(allowAll, `"Effect":"Allow"`, `"Effect":"Allow","Effect":"Deny"`, 1),
		"deep":             strings.Repeat("[", 20_000),
		"much white space": strings.Repeat(" ", 50_000) + "{",
	} {
		for op, run := range save {
			wantError(t, op+" of "+name, run(doc), "MalformedPolicyDocument", "")
		}
	}
	if got := must(ctx, f, iamapi.ListRolePolicies, &iamapi.ListRolePoliciesInput{RoleName: "r"}).PolicyNames; len(got) != 0 {
		t.Errorf("policies %v were saved", got)
	}
}
