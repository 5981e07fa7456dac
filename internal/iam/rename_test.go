package iam

import (
	"strings"
	"testing"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/evaluator"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/sigv4"
)

func mustLookup(f *fixture, keyID string) *sigv4.Credential {
	f.t.Helper()
	c, err := f.s.Lookup(f.t.Context(), keyID, "")
	if err != nil {
		f.t.Fatalf("Lookup(%s): %v", keyID, err)
	}
	return c
}

func TestUpdateUserErrors(t *testing.T) {
	t.Parallel()
	update := func(name string, newName, newPath *string) func(*fixture) error {
		return do(iamapi.UpdateUser, &iamapi.UpdateUserInput{UserName: name, NewUserName: newName, NewPath: newPath})
	}
	runSteps(t, []step{
		{name: "bob", run: do(iamapi.CreateUser, &iamapi.CreateUserInput{UserName: "bob"})},
		{name: "eve", run: do(iamapi.CreateUser, &iamapi.CreateUserInput{UserName: "eve"})},
		{"nobody", update("none", new("x"), nil), "NoSuchEntity", "The user with name none cannot be found."},
		{"taken", update("bob", new("EVE"), nil), "EntityAlreadyExists", "User with name EVE already exists."},
		{"reserved", update("bob", nil, new("/aws-service-role/x/")), "InvalidInput", ""},
		{name: "nothing", run: update("bob", nil, nil)},
		{name: "its own name", run: update("bob", new("bob"), nil)},
		{name: "its own name in other case", run: update("bob", new("Bob"), nil)},
		{name: "another", run: update("BOB", new("rob"), new("/x/"))},
		{"the old name", do(iamapi.GetUser, &iamapi.GetUserInput{UserName: new("bob")}), "NoSuchEntity", ""},
		{name: "the old name is free", run: do(iamapi.CreateUser, &iamapi.CreateUserInput{UserName: "bob"})},
	})
}

// TestRenamedUserStaysWhoItIs: unique id, access keys, policies, groups and what
// trust policies allow follow the user; whoever takes the old name has nothing.
func TestRenamedUserStaysWhoItIs(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := f.asRoot()
	u, key := f.newUser("bob")
	must(ctx, f, iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{UserName: "bob", PolicyName: "p", PolicyDocument: allowS3})
	must(ctx, f, iamapi.CreateGroup, &iamapi.CreateGroupInput{GroupName: "devs"})
	must(ctx, f, iamapi.AddUserToGroup, &iamapi.AddUserToGroupInput{GroupName: "devs", UserName: "bob"})
	doc := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + u.Arn + `"},"Action":"sts:AssumeRole"}]}`
	role := must(ctx, f, iamapi.CreateRole, &iamapi.CreateRoleInput{RoleName: "r", AssumeRolePolicyDocument: doc}).Role
	before := callerOf(t, mustLookup(f, key.AccessKeyId))

	must(ctx, f, iamapi.UpdateUser, &iamapi.UpdateUserInput{UserName: "bob", NewUserName: new("Rob"), NewPath: new("/x/")})
	got := must(ctx, f, iamapi.GetUser, &iamapi.GetUserInput{UserName: new("rob")}).User
	if got.UserId != u.UserId || got.Arn != "arn:aws:iam::111122223333:user/x/Rob" {
		t.Errorf("GetUser = %+v", got)
	}
	after := callerOf(t, mustLookup(f, key.AccessKeyId))
	if after.ARN != got.Arn || after.UserName != "Rob" || after.PrincipalID != u.UserId {
		t.Errorf("the key's owner = %+v", after)
	}
	if used := must(ctx, f, iamapi.GetAccessKeyLastUsed, &iamapi.GetAccessKeyLastUsedInput{AccessKeyId: key.AccessKeyId}); *used.UserName != "Rob" {
		t.Errorf("the key belongs to %s", *used.UserName)
	}
	// A caller from before the change, such as of a session, is the same user.
	if !f.may(after, "s3:GetObject", "*") || !f.may(before, "s3:GetObject", "*") {
		t.Error("the renamed user lost a policy")
	}
	if groups := must(ctx, f, iamapi.ListGroupsForUser, &iamapi.ListGroupsForUserInput{UserName: "rob"}).Groups; len(groups) != 1 {
		t.Errorf("the renamed user is in %d groups", len(groups))
	}

	_, other := f.newUser("bob")
	assume := func(keyID string) authz.Effect {
		info, err := f.s.RoleByARN(t.Context(), role.Arn)
		if err != nil {
			t.Fatal(err)
		}
		d, err := evaluator.New(f.s, nil).Decide(f.as(keyID, ""), &protocol.Check{
			Action: "sts:AssumeRole", Resource: role.Arn, Account: testAccount, Policy: info.Trust, Kind: protocol.RoleTrust,
		})
		if err != nil {
			t.Fatal(err)
		}
		return d.Effect
	}
	if assume(key.AccessKeyId) != authz.Allowed || assume(other.AccessKeyId) == authz.Allowed {
		t.Errorf("the trust policy allows the renamed user: %s; the new one of the name: %s", assume(key.AccessKeyId), assume(other.AccessKeyId))
	}
	shown := *must(ctx, f, iamapi.GetRole, &iamapi.GetRoleInput{RoleName: "r"}).Role.AssumeRolePolicyDocument
	if shown != encodeDocument(strings.Replace(doc, u.Arn, got.Arn, 1)) {
		t.Errorf("trust policy = %s", shown)
	}
	if f.may(callerOf(t, mustLookup(f, other.AccessKeyId)), "s3:GetObject", "*") {
		t.Error("who took the old name has its policies")
	}
}

// TestRenameNeedsBothNames: the old and the new ARN must be allowed.
func TestRenameNeedsBothNames(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, resources string
		allowed         bool
	}{
		{"both", `["arn:aws:iam::111122223333:user/bob","arn:aws:iam::111122223333:user/x/rob","arn:aws:iam::111122223333:group/*"]`, true},
		{"the old alone", `["arn:aws:iam::111122223333:user/bob","arn:aws:iam::111122223333:group/devs"]`, false},
		{"the new alone", `["arn:aws:iam::111122223333:user/x/rob","arn:aws:iam::111122223333:group/x/makers"]`, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			_, key := f.newUser("admin")
			must(f.asRoot(), f, iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{UserName: "admin", PolicyName: "p", PolicyDocument: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["iam:UpdateUser","iam:UpdateGroup"],"Resource":` + test.resources + `}]}`})
			must(f.asRoot(), f, iamapi.CreateUser, &iamapi.CreateUserInput{UserName: "bob"})
			must(f.asRoot(), f, iamapi.CreateGroup, &iamapi.CreateGroupInput{GroupName: "devs"})
			code := "AccessDenied"
			if test.allowed {
				code = ""
			}
			ctx := f.as(key.AccessKeyId, "")
			_, err := try(ctx, f, iamapi.UpdateUser, &iamapi.UpdateUserInput{UserName: "bob", NewUserName: new("rob"), NewPath: new("/x/")})
			wantError(t, "UpdateUser", err, code, "")
			_, err = try(ctx, f, iamapi.UpdateGroup, &iamapi.UpdateGroupInput{GroupName: "devs", NewGroupName: new("makers"), NewPath: new("/x/")})
			wantError(t, "UpdateGroup", err, code, "")
		})
	}
}
