package iam

import (
	"fmt"
	"slices"
	"testing"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
)

// Policies of every kind that name something are found with those who have them.
func TestPoliciesMentioning(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	root := f.asRoot()
	doc := func(resource string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:Decrypt","Resource":"` + resource + `"}]}`
	}
	const key = "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	alice, _ := f.newUser("alice")
	bob, _ := f.newUser("bob")
	role := f.newRole("worker")
	must(root, f, iamapi.CreateGroup, &iamapi.CreateGroupInput{GroupName: "team"})
	must(root, f, iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{UserName: "alice", PolicyName: "one", PolicyDocument: doc(key)})
	must(root, f, iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{UserName: "alice", PolicyName: "other", PolicyDocument: doc("*")})
	must(root, f, iamapi.PutGroupPolicy, &iamapi.PutGroupPolicyInput{GroupName: "team", PolicyName: "two", PolicyDocument: doc("arn:aws:kms:us-west-2:111122223333:alias/reports")})
	managed := must(root, f, iamapi.CreatePolicy, &iamapi.CreatePolicyInput{PolicyName: "three", PolicyDocument: doc(key)}).Policy.Arn
	must(root, f, iamapi.CreatePolicy, &iamapi.CreatePolicyInput{PolicyName: "four", PolicyDocument: doc("arn:aws:s3:::b")})
	must(root, f, iamapi.AttachUserPolicy, &iamapi.AttachUserPolicyInput{UserName: "bob", PolicyArn: *managed})
	must(root, f, iamapi.AttachRolePolicy, &iamapi.AttachRolePolicyInput{RoleName: "worker", PolicyArn: *managed})
	must(root, f, iamapi.PutUserPermissionsBoundary, &iamapi.PutUserPermissionsBoundaryInput{UserName: "bob", PermissionsBoundary: *managed})
	all, err := f.s.PoliciesMentioning(t.Context(), "1234abcd-12ab-34cd-56ef-1234567890ab", "alias/reports", "")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range all {
		slices.Sort(m.Holders)
		got = append(got, fmt.Sprint(m.Kind, m.Policy, m.Inline, m.Holders))
	}
	slices.Sort(got)
	want := []string{
		fmt.Sprint("identity", "one", true, []string{alice.Arn}),
		fmt.Sprint("identity", "two", true, []string{"arn:aws:iam::111122223333:group/team"}),
		fmt.Sprint("identity", *managed, false, []string{role.Arn, bob.Arn}),
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("found\n%q\nwant\n%q", got, want)
	}
}
