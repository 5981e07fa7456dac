package iam

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/evaluator"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

const allowS3 = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`

func TestGroupErrors(t *testing.T) {
	t.Parallel()
	create := func(name string) func(*fixture) error {
		return do(iamapi.CreateGroup, &iamapi.CreateGroupInput{GroupName: name})
	}
	add := func(group, user string) func(*fixture) error {
		return do(iamapi.AddUserToGroup, &iamapi.AddUserToGroupInput{GroupName: group, UserName: user})
	}
	remove := func(group, user string) func(*fixture) error {
		return do(iamapi.RemoveUserFromGroup, &iamapi.RemoveUserFromGroupInput{GroupName: group, UserName: user})
	}
	del := do(iamapi.DeleteGroup, &iamapi.DeleteGroupInput{GroupName: "devs"})
	const gone = "The group with name none cannot be found."
	runSteps(t, []step{
		{name: "create", run: create("devs")},
		{"create twice", create("devs"), "EntityAlreadyExists", "Group with name devs already exists."},
		{"create in other case", create("DEVS"), "EntityAlreadyExists", "Group with name DEVS already exists."},
		{"reserved path", do(iamapi.CreateGroup, &iamapi.CreateGroupInput{GroupName: "x", Path: new("/aws-service-role/x/")}), "InvalidInput", "Path prefix '/aws-service-role/' can only be used for AWS Service linked Roles"},
		{"get nobody", do(iamapi.GetGroup, &iamapi.GetGroupInput{GroupName: "none"}), "NoSuchEntity", gone},
		{"update nobody", do(iamapi.UpdateGroup, &iamapi.UpdateGroupInput{GroupName: "none", NewGroupName: new("x")}), "NoSuchEntity", gone},
		{"delete nobody", do(iamapi.DeleteGroup, &iamapi.DeleteGroupInput{GroupName: "none"}), "NoSuchEntity", gone},
		{"add to nobody", add("none", "bob"), "NoSuchEntity", gone},
		{"add nobody", add("devs", "bob"), "NoSuchEntity", "The user with name bob cannot be found."},
		{name: "user", run: do(iamapi.CreateUser, &iamapi.CreateUserInput{UserName: "bob"})},
		{"remove no member", remove("devs", "bob"), "NoSuchEntity", "The user with name bob is not in the group devs."},
		{name: "add", run: add("devs", "Bob")},
		{name: "add again", run: add("DEVS", "bob")},
		{"delete with users", del, "DeleteConflict", "Cannot delete entity, must remove users from group first."},
		{"delete a member", do(iamapi.DeleteUser, &iamapi.DeleteUserInput{UserName: "bob"}), "DeleteConflict", "Cannot delete entity, must remove users from group first."},
		{name: "remove", run: remove("devs", "bob")},
		{"remove again", remove("devs", "bob"), "NoSuchEntity", ""},
		{"remove from nobody", remove("none", "bob"), "NoSuchEntity", gone},
		{name: "attach", run: do(iamapi.AttachGroupPolicy, &iamapi.AttachGroupPolicyInput{GroupName: "devs", PolicyArn: s3Policy})},
		{"attach nothing", do(iamapi.AttachGroupPolicy, &iamapi.AttachGroupPolicyInput{GroupName: "devs", PolicyArn: "arn:aws:iam::aws:policy/NoSuch"}), "NoSuchEntity", "Policy arn:aws:iam::aws:policy/NoSuch does not exist or is not attachable."},
		{"attach to nobody", do(iamapi.AttachGroupPolicy, &iamapi.AttachGroupPolicyInput{GroupName: "none", PolicyArn: s3Policy}), "NoSuchEntity", gone},
		{"attach what is for services", do(iamapi.AttachGroupPolicy, &iamapi.AttachGroupPolicyInput{GroupName: "devs", PolicyArn: "arn:aws:iam::aws:policy/aws-service-role/CloudTrailServiceRolePolicy"}), "PolicyNotAttachable", "Cannot attach a Service Role Policy to a Customer Group."},
		{"delete with attached policy", del, "DeleteConflict", "Cannot delete entity, must detach all policies first."},
		{name: "detach", run: do(iamapi.DetachGroupPolicy, &iamapi.DetachGroupPolicyInput{GroupName: "devs", PolicyArn: s3Policy})},
		{"detach again", do(iamapi.DetachGroupPolicy, &iamapi.DetachGroupPolicyInput{GroupName: "devs", PolicyArn: s3Policy}), "NoSuchEntity", ""},
		{"attached to nobody", do(iamapi.ListAttachedGroupPolicies, &iamapi.ListAttachedGroupPoliciesInput{GroupName: "none"}), "NoSuchEntity", gone},
		{name: "put inline", run: do(iamapi.PutGroupPolicy, &iamapi.PutGroupPolicyInput{GroupName: "devs", PolicyName: "p", PolicyDocument: allowAll})},
		{"put of nobody", do(iamapi.PutGroupPolicy, &iamapi.PutGroupPolicyInput{GroupName: "none", PolicyName: "p", PolicyDocument: allowAll}), "NoSuchEntity", gone},
		{"put malformed", do(iamapi.PutGroupPolicy, &iamapi.PutGroupPolicyInput{GroupName: "devs", PolicyName: "p", PolicyDocument: "{}"}), "MalformedPolicyDocument", ""},
		{"delete with inline policy", del, "DeleteConflict", "Cannot delete entity, must delete policies first."},
		{"inline too long", do(iamapi.PutGroupPolicy, &iamapi.PutGroupPolicyInput{GroupName: "devs", PolicyName: "p", PolicyDocument: policyOfSize(5121)}), "LimitExceeded", "Maximum policy size of 5120 bytes exceeded for group devs"},
		{name: "inline of full length", run: do(iamapi.PutGroupPolicy, &iamapi.PutGroupPolicyInput{GroupName: "devs", PolicyName: "p", PolicyDocument: policyOfSize(5120)})},
		{"inline not there", do(iamapi.GetGroupPolicy, &iamapi.GetGroupPolicyInput{GroupName: "devs", PolicyName: "q"}), "NoSuchEntity", "The group policy with name q cannot be found."},
		{"delete inline not there", do(iamapi.DeleteGroupPolicy, &iamapi.DeleteGroupPolicyInput{GroupName: "devs", PolicyName: "q"}), "NoSuchEntity", ""},
		{name: "delete inline", run: do(iamapi.DeleteGroupPolicy, &iamapi.DeleteGroupPolicyInput{GroupName: "devs", PolicyName: "p"})},
		{"policies of nobody", do(iamapi.ListGroupPolicies, &iamapi.ListGroupPoliciesInput{GroupName: "none"}), "NoSuchEntity", gone},
		{"groups of nobody", do(iamapi.ListGroupsForUser, &iamapi.ListGroupsForUserInput{UserName: "none"}), "NoSuchEntity", ""},
		{"bad marker", do(iamapi.ListGroups, &iamapi.ListGroupsInput{Marker: new("x")}), "ValidationError", "Invalid Marker."},
		{name: "other", run: create("ops")},
		{"rename to a taken name", do(iamapi.UpdateGroup, &iamapi.UpdateGroupInput{GroupName: "devs", NewGroupName: new("OPS")}), "EntityAlreadyExists", "Group with name OPS already exists."},
		{"rename to a reserved path", do(iamapi.UpdateGroup, &iamapi.UpdateGroupInput{GroupName: "devs", NewPath: new("/aws-reserved/")}), "InvalidInput", ""},
		{name: "rename in its own name", run: do(iamapi.UpdateGroup, &iamapi.UpdateGroupInput{GroupName: "devs", NewGroupName: new("Devs")})},
		{name: "delete", run: del},
		{"gone", do(iamapi.GetGroup, &iamapi.GetGroupInput{GroupName: "devs"}), "NoSuchEntity", ""},
	})
}

// TestGroupPoliciesBite: a group's policies are its users', from the moment of
// joining to that of leaving, and a decision names the group.
func TestGroupPoliciesBite(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := f.asRoot()
	_, key := f.newUser("bob")
	c := callerOf(t, mustLookup(f, key.AccessKeyId))
	must(ctx, f, iamapi.CreateGroup, &iamapi.CreateGroupInput{GroupName: "devs"})
	must(ctx, f, iamapi.PutGroupPolicy, &iamapi.PutGroupPolicyInput{GroupName: "devs", PolicyName: "storage", PolicyDocument: allowS3})
	decide := func(action string) authz.Decision {
		t.Helper()
		d, err := evaluator.New(f.s, nil).Decide(f.by(c), &protocol.Check{Action: action, Resource: "*"})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	steps := []struct {
		name   string
		change func()
		action string
		want   authz.Effect
		policy string
	}{
		{"before", func() {}, "s3:GetObject", authz.ImplicitlyDenied, ""},
		{"joined", func() {
			must(ctx, f, iamapi.AddUserToGroup, &iamapi.AddUserToGroupInput{GroupName: "devs", UserName: "bob"})
		}, "s3:GetObject", authz.Allowed, "storage (group devs)"},
		{"another action", func() {}, "kms:Decrypt", authz.ImplicitlyDenied, ""},
		{"policy attached to the group", func() {
			must(ctx, f, iamapi.AttachGroupPolicy, &iamapi.AttachGroupPolicyInput{GroupName: "devs", PolicyArn: "arn:aws:iam::aws:policy/AdministratorAccess"})
		}, "kms:Decrypt", authz.Allowed, "arn:aws:iam::aws:policy/AdministratorAccess (group devs)"},
		{"group renamed", func() {
			must(ctx, f, iamapi.UpdateGroup, &iamapi.UpdateGroupInput{GroupName: "devs", NewGroupName: new("makers"), NewPath: new("/x/")})
		}, "kms:Decrypt", authz.Allowed, "arn:aws:iam::aws:policy/AdministratorAccess (group makers)"},
		{"deny put into the group", func() {
			must(ctx, f, iamapi.PutGroupPolicy, &iamapi.PutGroupPolicyInput{GroupName: "makers", PolicyName: "no", PolicyDocument: strings.Replace(allowS3, "Allow", "Deny", 1)})
		}, "s3:GetObject", authz.ExplicitlyDenied, "no (group makers)"},
		{"deny deleted", func() {
			must(ctx, f, iamapi.DeleteGroupPolicy, &iamapi.DeleteGroupPolicyInput{GroupName: "makers", PolicyName: "no"})
		}, "s3:GetObject", authz.Allowed, "storage (group makers)"},
		{"policy detached", func() {
			must(ctx, f, iamapi.DetachGroupPolicy, &iamapi.DetachGroupPolicyInput{GroupName: "makers", PolicyArn: "arn:aws:iam::aws:policy/AdministratorAccess"})
		}, "kms:Decrypt", authz.ImplicitlyDenied, ""},
		{"boundary of the user", func() {
			must(ctx, f, iamapi.PutUserPermissionsBoundary, &iamapi.PutUserPermissionsBoundaryInput{UserName: "bob", PermissionsBoundary: "arn:aws:iam::aws:policy/IAMReadOnlyAccess"})
		}, "s3:GetObject", authz.ImplicitlyDenied, ""},
		{"no boundary", func() {
			must(ctx, f, iamapi.DeleteUserPermissionsBoundary, &iamapi.DeleteUserPermissionsBoundaryInput{UserName: "bob"})
		}, "s3:GetObject", authz.Allowed, "storage (group makers)"},
		{"left", func() {
			must(ctx, f, iamapi.RemoveUserFromGroup, &iamapi.RemoveUserFromGroupInput{GroupName: "makers", UserName: "bob"})
		}, "s3:GetObject", authz.ImplicitlyDenied, ""},
	}
	for _, s := range steps {
		s.change()
		if d := decide(s.action); d.Effect != s.want || d.Policy != s.policy {
			t.Errorf("%s: %s is %s by %q, want %s by %q", s.name, s.action, d.Effect, d.Policy, s.want, s.policy)
		}
	}
}

// TestGroupThatIsGoneDenies: a membership that points nowhere is damage.
func TestGroupThatIsGoneDenies(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, key := f.newUser("bob")
	must(f.asRoot(), f, iamapi.AttachUserPolicy, &iamapi.AttachUserPolicyInput{UserName: "bob", PolicyArn: "arn:aws:iam::aws:policy/AdministratorAccess"})
	c := callerOf(t, mustLookup(f, key.AccessKeyId))
	if !f.may(c, "s3:GetObject", "*") {
		t.Fatal("an administrator may not")
	}
	err := f.s.change(f.asRoot(), f.s.users, "bob", func(_ *store.Tx, e *entity) error {
		e.Groups = []string{"AGPAGONEGONEGONEGONEG"}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if f.may(c, "s3:GetObject", "*") {
		t.Error("a member of a group that is gone may")
	}
}

func TestGroupShapesAndPages(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := f.asRoot()
	g := must(ctx, f, iamapi.CreateGroup, &iamapi.CreateGroupInput{GroupName: "Devs", Path: new("/team/")}).Group
	if g.Arn != "arn:aws:iam::111122223333:group/team/Devs" || !strings.HasPrefix(g.GroupId, "AGPA") || len(g.GroupId) != 21 || !g.CreateDate.Equal(f.now()) {
		t.Errorf("CreateGroup = %+v", g)
	}
	for i := range 5 {
		name := fmt.Sprintf("user%d", i)
		must(ctx, f, iamapi.CreateUser, &iamapi.CreateUserInput{UserName: name, Tags: []iamapi.Tag{{Key: "a", Value: "b"}}})
		must(ctx, f, iamapi.AddUserToGroup, &iamapi.AddUserToGroupInput{GroupName: "devs", UserName: name})
	}
	first := must(ctx, f, iamapi.GetGroup, &iamapi.GetGroupInput{GroupName: "devs", MaxItems: new(int32(2))})
	if len(first.Users) != 2 || !*first.IsTruncated || first.Group.GroupName != "Devs" || first.Users[0].Tags != nil {
		t.Fatalf("GetGroup = %+v", first)
	}
	// The page goes on behind its last user, who leaves meanwhile; who comes
	// in before it is not seen.
	must(ctx, f, iamapi.RemoveUserFromGroup, &iamapi.RemoveUserFromGroupInput{GroupName: "devs", UserName: "user1"})
	must(ctx, f, iamapi.CreateUser, &iamapi.CreateUserInput{UserName: "another"})
	must(ctx, f, iamapi.AddUserToGroup, &iamapi.AddUserToGroupInput{GroupName: "devs", UserName: "another"})
	rest := must(ctx, f, iamapi.GetGroup, &iamapi.GetGroupInput{GroupName: "devs", Marker: first.Marker})
	var names []string
	for _, u := range rest.Users {
		names = append(names, *u.UserName)
	}
	if !slices.Equal(names, []string{"user2", "user3", "user4"}) || *rest.IsTruncated {
		t.Errorf("the rest of the group = %v", names)
	}
	must(ctx, f, iamapi.CreateGroup, &iamapi.CreateGroupInput{GroupName: "admins", Path: new("/top/")})
	_, err := try(ctx, f, iamapi.GetGroup, &iamapi.GetGroupInput{GroupName: "admins", Marker: first.Marker})
	wantError(t, "marker of another group", err, "ValidationError", "Invalid Marker.")
	must(ctx, f, iamapi.AddUserToGroup, &iamapi.AddUserToGroupInput{GroupName: "admins", UserName: "user2"})
	one := must(ctx, f, iamapi.ListGroupsForUser, &iamapi.ListGroupsForUserInput{UserName: "user2", MaxItems: new(int32(1))})
	two := must(ctx, f, iamapi.ListGroupsForUser, &iamapi.ListGroupsForUserInput{UserName: "user2", Marker: one.Marker})
	if len(one.Groups) != 1 || one.Groups[0].GroupName != "admins" || len(two.Groups) != 1 || two.Groups[0].Arn != g.Arn {
		t.Errorf("groups of user2 = %v, %v", one.Groups, two.Groups)
	}
	if got := must(ctx, f, iamapi.ListGroups, &iamapi.ListGroupsInput{PathPrefix: new("/top")}).Groups; len(got) != 1 || got[0].GroupName != "admins" {
		t.Errorf("groups below /top = %v", got)
	}
	must(ctx, f, iamapi.PutGroupPolicy, &iamapi.PutGroupPolicyInput{GroupName: "devs", PolicyName: "p", PolicyDocument: allowS3})
	p := must(ctx, f, iamapi.GetGroupPolicy, &iamapi.GetGroupPolicyInput{GroupName: "DEVS", PolicyName: "p"})
	if p.GroupName != "Devs" || p.PolicyDocument != encodeDocument(allowS3) {
		t.Errorf("GetGroupPolicy = %+v", p)
	}
	if got := must(ctx, f, iamapi.ListGroupPolicies, &iamapi.ListGroupPoliciesInput{GroupName: "devs"}).PolicyNames; !slices.Equal(got, []string{"p"}) {
		t.Errorf("ListGroupPolicies = %v", got)
	}
	must(ctx, f, iamapi.AttachGroupPolicy, &iamapi.AttachGroupPolicyInput{GroupName: "devs", PolicyArn: s3Policy})
	if got := must(ctx, f, iamapi.ListAttachedGroupPolicies, &iamapi.ListAttachedGroupPoliciesInput{GroupName: "devs"}).AttachedPolicies; len(got) != 1 || *got[0].PolicyArn != s3Policy {
		t.Errorf("ListAttachedGroupPolicies = %v", got)
	}
	if got := must(ctx, f, iamapi.GetPolicy, &iamapi.GetPolicyInput{PolicyArn: s3Policy}).Policy; *got.AttachmentCount != 1 {
		t.Errorf("a policy of a group has %d attachments", *got.AttachmentCount)
	}
}

// TestOneOfManyCreates: of calls for one name at once, one succeeds.
func TestOneOfManyCreates(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := f.asRoot()
	const callers = 8
	errs := make([]error, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			name := "devs"
			if i%2 == 1 {
				name = "DEVS"
			}
			_, errs[i] = try(ctx, f, iamapi.CreateGroup, &iamapi.CreateGroupInput{GroupName: name})
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if code := schema.AsError(err).Code; code != "EntityAlreadyExists" {
			t.Errorf("CreateGroup: %s", code)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d calls made the group", won, callers)
	}
}

// fill stores n entities of a kind without asking for the quota.
func (f *fixture) fill(k *kind, n int) {
	f.t.Helper()
	err := f.s.update(f.t.Context(), testAccount, func(tx *store.Tx) error {
		for i := range n {
			e := entity{Account: testAccount, Name: fmt.Sprintf("filler%d", i), Path: "/", ID: newUniqueID(k.idPrefix), Trust: trustAccount, MaxSession: 3600}
			if err := k.put(tx, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

func TestAccountQuotas(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := f.asRoot()
	f.s.users.quota, f.s.groups.quota, f.s.roles.quota = 3, 3, 3
	f.fill(f.s.users, 2)
	f.fill(f.s.groups, 2)
	f.fill(f.s.roles, 2)
	for _, call := range []struct {
		name, message string
		run           func(name string) error
	}{
		{"user", "Cannot exceed quota for UsersPerAccount: 3", func(n string) error {
			_, err := try(ctx, f, iamapi.CreateUser, &iamapi.CreateUserInput{UserName: n})
			return err
		}},
		{"group", "Cannot exceed quota for GroupsPerAccount: 3", func(n string) error {
			_, err := try(ctx, f, iamapi.CreateGroup, &iamapi.CreateGroupInput{GroupName: n})
			return err
		}},
		{"role", "Cannot exceed quota for RolesPerAccount: 3", func(n string) error {
			_, err := try(ctx, f, iamapi.CreateRole, &iamapi.CreateRoleInput{RoleName: n, AssumeRolePolicyDocument: trustAccount})
			return err
		}},
	} {
		wantError(t, "the last "+call.name, call.run("last"), "", "")
		wantError(t, "one "+call.name+" more", call.run("more"), "LimitExceeded", call.message)
	}
	// Service-linked roles alone may be more.
	must(ctx, f, iamapi.CreateServiceLinkedRole, &iamapi.CreateServiceLinkedRoleInput{AWSServiceName: "mrk.kms.amazonaws.com"})

	other := newFixture(t)
	for name, got := range map[string]int{"users": other.s.users.quota - 5000, "groups": other.s.groups.quota - 300, "roles": other.s.roles.quota - 1000} {
		if got != 0 {
			t.Errorf("the quota of %s is off by %d", name, got)
		}
	}
	for i := 0; i < policiesPerAccount; i += 250 {
		err := other.s.update(t.Context(), testAccount, func(tx *store.Tx) error {
			for j := range 250 {
				p := policyRow{Account: testAccount, Name: fmt.Sprint("p", i+j), Path: "/", ID: newUniqueID("ANPA"), Default: "v1"}
				if err := other.s.policies.Put(tx, p, testAccount, p.Name); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := try(other.asRoot(), other, iamapi.CreatePolicy, &iamapi.CreatePolicyInput{PolicyName: "more", PolicyDocument: allowAll})
	wantError(t, "one policy more", err, "LimitExceeded", "Cannot exceed quota for PoliciesPerAccount: 1500")
}

func TestMembershipQuota(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.newUser("bob")
	for i := range groupsPerUser + 1 {
		name := fmt.Sprint("g", i)
		must(f.asRoot(), f, iamapi.CreateGroup, &iamapi.CreateGroupInput{GroupName: name})
		_, err := try(f.asRoot(), f, iamapi.AddUserToGroup, &iamapi.AddUserToGroupInput{GroupName: name, UserName: "bob"})
		if i < groupsPerUser {
			wantError(t, name, err, "", "")
		} else {
			wantError(t, name, err, "LimitExceeded", "Cannot exceed quota for GroupsPerUser: 10")
		}
	}
}
