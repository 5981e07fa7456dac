package iam

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
)

func TestPages(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := f.asRoot()
	var want []string
	for i := range 7 {
		name := fmt.Sprintf("%c-user", "gFeDcBa"[i])
		path := "/even/"
		if i%2 == 1 {
			path = "/odd/x/"
		}
		must(ctx, f, iamapi.CreateUser, &iamapi.CreateUserInput{UserName: name, Path: &path})
		want = append(want, name)
	}
	slices.Reverse(want)

	var got []string
	in := &iamapi.ListUsersInput{MaxItems: new(int32(3))}
	for pages := 1; ; pages++ {
		out := must(ctx, f, iamapi.ListUsers, in)
		for _, u := range out.Users {
			got = append(got, *u.UserName)
		}
		if !*out.IsTruncated {
			if pages != 3 || out.Marker != nil {
				t.Errorf("%d pages, marker %v", pages, out.Marker)
			}
			break
		}
		in.Marker = out.Marker
	}
	if !slices.Equal(got, want) {
		t.Errorf("pages give %v, want %v", got, want)
	}

	odd := must(ctx, f, iamapi.ListUsers, &iamapi.ListUsersInput{PathPrefix: new("/odd/")})
	if len(odd.Users) != 3 {
		t.Errorf("%d users below /odd/, want 3", len(odd.Users))
	}

	first := must(ctx, f, iamapi.ListUsers, &iamapi.ListUsersInput{MaxItems: new(int32(3))})
	must(ctx, f, iamapi.DeleteUser, &iamapi.DeleteUserInput{UserName: *first.Users[2].UserName})
	rest := must(ctx, f, iamapi.ListUsers, &iamapi.ListUsersInput{Marker: first.Marker})
	if len(rest.Users) != 4 || *rest.Users[0].UserName != want[3] {
		t.Errorf("behind a deleted user come %d, want 4 from %s", len(rest.Users), want[3])
	}

	_, err := try(ctx, f, iamapi.ListUsers, &iamapi.ListUsersInput{Marker: first.Marker, PathPrefix: new("/odd/")})
	wantError(t, "marker under another path", err, "ValidationError", "Invalid Marker.")
	_, err = try(ctx, f, iamapi.ListRoles, &iamapi.ListRolesInput{Marker: first.Marker})
	wantError(t, "marker of another list", err, "ValidationError", "Invalid Marker.")
	other, err := f.s.CreateAccount(t.Context(), otherAccount)
	if err != nil {
		t.Fatal(err)
	}
	_, err = try(f.as(other.AccessKeyID, ""), f, iamapi.ListUsers, &iamapi.ListUsersInput{Marker: first.Marker})
	wantError(t, "marker of another account", err, "ValidationError", "Invalid Marker.")
	if got := must(f.as(other.AccessKeyID, ""), f, iamapi.ListUsers, &iamapi.ListUsersInput{}).Users; len(got) != 0 {
		t.Errorf("another account sees %d users", len(got))
	}
}

func TestPolicyPages(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := f.asRoot()
	long := strings.Repeat("z", 127)
	for _, name := range []string{"AdministratorAccess", "middle", long + "1", long + "2"} {
		must(ctx, f, iamapi.CreatePolicy, &iamapi.CreatePolicyInput{PolicyName: name, PolicyDocument: allowAll})
	}
	count := func(scope iamapi.PolicyScopeType) int {
		seen := map[string]bool{}
		in := &iamapi.ListPoliciesInput{Scope: scope, MaxItems: new(int32(1))}
		for {
			out := must(ctx, f, iamapi.ListPolicies, in)
			for _, p := range out.Policies {
				seen[*p.Arn] = true
			}
			if !*out.IsTruncated {
				return len(seen)
			}
			if len(*out.Marker) > 320 {
				t.Fatalf("a marker of %d characters, IAM takes 320", len(*out.Marker))
			}
			in.Marker = out.Marker
		}
	}
	if got := count(iamapi.PolicyScopeTypeLocal); got != 4 {
		t.Errorf("%d local policies, want 4", got)
	}
	if got := count(iamapi.PolicyScopeTypeAws); got != len(f.s.builtin) {
		t.Errorf("%d AWS policies, want %d", got, len(f.s.builtin))
	}
	if got := count(""); got != 4+len(f.s.builtin) {
		t.Errorf("%d policies, want %d", got, 4+len(f.s.builtin))
	}

	f.newRole("reader")
	for _, arn := range []string{"arn:aws:iam::111122223333:policy/AdministratorAccess", "arn:aws:iam::aws:policy/AdministratorAccess"} {
		must(ctx, f, iamapi.AttachRolePolicy, &iamapi.AttachRolePolicyInput{RoleName: "reader", PolicyArn: arn})
	}
	one := must(ctx, f, iamapi.ListAttachedRolePolicies, &iamapi.ListAttachedRolePoliciesInput{RoleName: "reader", MaxItems: new(int32(1))})
	two := must(ctx, f, iamapi.ListAttachedRolePolicies, &iamapi.ListAttachedRolePoliciesInput{RoleName: "reader", Marker: one.Marker})
	if len(one.AttachedPolicies) != 1 || len(two.AttachedPolicies) != 1 || *one.AttachedPolicies[0].PolicyArn == *two.AttachedPolicies[0].PolicyArn {
		t.Errorf("attached policies of one name come as %d and %d", len(one.AttachedPolicies), len(two.AttachedPolicies))
	}
	versions := must(ctx, f, iamapi.CreatePolicyVersion, &iamapi.CreatePolicyVersionInput{PolicyArn: "arn:aws:iam::111122223333:policy/middle", PolicyDocument: allowAll})
	listed := must(ctx, f, iamapi.ListPolicyVersions, &iamapi.ListPolicyVersionsInput{PolicyArn: "arn:aws:iam::111122223333:policy/middle"}).Versions
	if *versions.PolicyVersion.VersionId != "v2" || len(listed) != 2 || *listed[0].VersionId != "v2" || !*listed[1].IsDefaultVersion {
		t.Errorf("versions = %d, first %s", len(listed), *listed[0].VersionId)
	}
}
