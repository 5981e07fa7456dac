package organizations

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	orgapi "github.com/sagekeep/sagekeep/api/organizations"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/identity"
)

func TestUnits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f, ctx := w.fixture, w.as(manager)
	create := func(parent, name string, tags ...orgapi.Tag) func() error {
		return call(ctx, f, orgapi.CreateOrganizationalUnit, &orgapi.CreateOrganizationalUnitInput{ParentId: parent, Name: name, Tags: tags})
	}
	deepest := w.b
	for _, name := range []string{"C", "D", "E"} {
		deepest = w.unit(deepest, name)
	}
	rename := func(id, name string) func() error {
		return call(ctx, f, orgapi.UpdateOrganizationalUnit, &orgapi.UpdateOrganizationalUnitInput{OrganizationalUnitId: id, Name: &name})
	}
	remove := func(id string) func() error {
		return call(ctx, f, orgapi.DeleteOrganizationalUnit, &orgapi.DeleteOrganizationalUnitInput{OrganizationalUnitId: id})
	}
	const nowhere = "ou-0000-00000000"
	runSteps(t, []step{
		{"sixth level", create(deepest, "F"), "ConstraintViolationException", "OU_DEPTH_LIMIT_EXCEEDED"},
		{"same name", create(w.root, "A"), "DuplicateOrganizationalUnitException", ""},
		{name: "same name elsewhere", run: create(w.a, "A")},
		{"in no parent", create(nowhere, "x"), "ParentNotFoundException", ""},
		{"in an account", create(member, "x"), "ParentNotFoundException", ""},
		{"tags twice", create(w.root, "x", orgapi.Tag{Key: "a"}, orgapi.Tag{Key: "a"}), "InvalidInputException", "DUPLICATE_TAG_KEY"},
		{"system tag", create(w.root, "x", orgapi.Tag{Key: "AWS:a"}), "InvalidInputException", "INVALID_SYSTEM_TAGS_PARAMETER"},
		{"describe none", call(ctx, f, orgapi.DescribeOrganizationalUnit, &orgapi.DescribeOrganizationalUnitInput{OrganizationalUnitId: nowhere}), "OrganizationalUnitNotFoundException", ""},
		{"rename none", rename(nowhere, "x"), "OrganizationalUnitNotFoundException", ""},
		{"rename to a taken name", rename(w.b, "A"), "DuplicateOrganizationalUnitException", ""},
		{name: "rename to its own name", run: rename(w.b, "B")},
		{name: "rename", run: rename(w.b, "B2")},
		{"delete none", remove(nowhere), "OrganizationalUnitNotFoundException", ""},
		{"delete with units", remove(w.a), "OrganizationalUnitNotEmptyException", ""},
		{name: "move in", run: call(ctx, f, orgapi.MoveAccount, &orgapi.MoveAccountInput{AccountId: member, SourceParentId: w.root, DestinationParentId: deepest})},
		{"delete with an account", remove(deepest), "OrganizationalUnitNotEmptyException", ""},
		{name: "move out", run: call(ctx, f, orgapi.MoveAccount, &orgapi.MoveAccountInput{AccountId: member, SourceParentId: deepest, DestinationParentId: w.root})},
		{name: "delete", run: remove(deepest)},
	})
	u := must(ctx, f, orgapi.DescribeOrganizationalUnit, &orgapi.DescribeOrganizationalUnitInput{OrganizationalUnitId: w.b}).OrganizationalUnit
	if *u.Name != "B2" || *u.Path != w.id+"/"+w.root+"/"+w.a+"/"+w.b+"/" || *u.Arn != "arn:aws:organizations::"+manager+":ou/"+w.id+"/"+w.b {
		t.Errorf("%s %s %s", *u.Name, *u.Path, *u.Arn)
	}
	if !regexp.MustCompile(`^ou-` + strings.TrimPrefix(w.root, "r-") + `-[a-z0-9]{8}$`).MatchString(w.b) {
		t.Errorf("the unit's id is %s in %s", w.b, w.root)
	}
}

func TestTree(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f, ctx := w.fixture, w.as(manager)
	parents := func(child string) string {
		out, err := try(ctx, f, orgapi.ListParents, &orgapi.ListParentsInput{ChildId: child})
		if err != nil {
			return schema.AsError(err).Code
		}
		return string(out.Parents[0].Type) + " " + *out.Parents[0].Id
	}
	children := func(parent string, typ orgapi.ChildType) string {
		out, err := try(ctx, f, orgapi.ListChildren, &orgapi.ListChildrenInput{ParentId: parent, ChildType: typ})
		if err != nil {
			return schema.AsError(err).Code
		}
		var ids []string
		for _, c := range out.Children {
			ids = append(ids, *c.Id)
		}
		slices.Sort(ids)
		return strings.Join(ids, " ")
	}
	move := func(account, from, to string) func() error {
		return call(ctx, f, orgapi.MoveAccount, &orgapi.MoveAccountInput{AccountId: account, SourceParentId: from, DestinationParentId: to})
	}
	const nowhere = "ou-0000-00000000"
	runSteps(t, []step{
		{"move a stranger", move(loner, w.root, w.a), "AccountNotFoundException", ""},
		{"move from nowhere", move(member, nowhere, w.a), "SourceParentNotFoundException", ""},
		{"move to nowhere", move(member, w.root, nowhere), "DestinationParentNotFoundException", ""},
		{"move from where it is not", move(member, w.b, w.a), "AccountNotFoundException", ""},
		{"move to where it is", move(member, w.root, w.root), "DuplicateAccountException", ""},
		{name: "move", run: move(member, w.root, w.b)},
		{name: "move the manager", run: move(manager, w.root, w.a)},
	})
	for what, pair := range map[string][2]string{
		"parent of A":          {parents(w.a), "ROOT " + w.root},
		"parent of B":          {parents(w.b), "ORGANIZATIONAL_UNIT " + w.a},
		"parent of member":     {parents(member), "ORGANIZATIONAL_UNIT " + w.b},
		"parent of root":       {parents(w.root), "ChildNotFoundException"},
		"parent of a stranger": {parents(loner), "ChildNotFoundException"},
		"units of root":        {children(w.root, orgapi.ChildTypeOrganizationalUnit), w.a},
		"accounts of root":     {children(w.root, orgapi.ChildTypeAccount), ""},
		"accounts of A":        {children(w.a, orgapi.ChildTypeAccount), manager},
		"children of nothing":  {children(nowhere, orgapi.ChildTypeAccount), "ParentNotFoundException"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %q, want %q", what, pair[0], pair[1])
		}
	}
	a := must(ctx, f, orgapi.DescribeAccount, &orgapi.DescribeAccountInput{AccountId: member}).Account
	if *a.Arn != "arn:aws:organizations::"+manager+":account/"+w.id+"/"+member || a.Paths[0] != w.id+"/"+w.root+"/"+w.a+"/"+w.b+"/"+member+"/" ||
		a.State != orgapi.AccountStateActive || a.JoinedMethod != orgapi.AccountJoinedMethodInvited || !strings.Contains(*a.Email, "@") {
		t.Errorf("%+v", a)
	}
	in := must(ctx, f, orgapi.ListAccountsForParent, &orgapi.ListAccountsForParentInput{ParentId: w.b}).Accounts
	if len(in) != 1 || *in[0].Id != member {
		t.Errorf("accounts in B: %+v", in)
	}
}

func TestLeaving(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f, ctx := w.fixture, w.as(manager)
	remove := func(id string) func() error {
		return call(ctx, f, orgapi.RemoveAccountFromOrganization, &orgapi.RemoveAccountFromOrganizationInput{AccountId: id})
	}
	must(ctx, f, orgapi.TagResource, &orgapi.TagResourceInput{ResourceId: member, Tags: []orgapi.Tag{{Key: "a", Value: "b"}}})
	runSteps(t, []step{
		{"remove the manager", remove(manager), "MasterCannotLeaveOrganizationException", ""},
		{"remove a stranger", remove(loner), "AccountNotFoundException", ""},
		{name: "remove", run: remove(member)},
		{"remove again", remove(member), "AccountNotFoundException", ""},
		{"describe", call(ctx, f, orgapi.DescribeAccount, &orgapi.DescribeAccountInput{AccountId: member}), "AccountNotFoundException", ""},
		{"its own view", call(w.as(member), f, orgapi.DescribeOrganization, &schema.Nothing{}), "AWSOrganizationsNotInUseException", ""},
	})
	w.join(member)
	if tags := must(ctx, f, orgapi.ListTagsForResource, &orgapi.ListTagsForResourceInput{ResourceId: member}).Tags; len(tags) != 0 {
		t.Errorf("tags survived the departure: %v", tags)
	}
	w.attach(w.newPolicy(scp, "stay", denyLeaving), w.root)
	runSteps(t, []step{
		{"leave against a policy", call(w.as(member), f, orgapi.LeaveOrganization, &schema.Nothing{}), "AccessDeniedException", ""},
		{name: "be removed", run: remove(member)},
	})
	methods := []string{}
	for _, r := range f.records("AccountDepartedOrganization") {
		methods = append(methods, fmt.Sprint(r["serviceEventDetails"].(map[string]any)["departureMethod"]))
	}
	if !slices.Equal(methods, []string{"REMOVED", "REMOVED"}) {
		t.Errorf("departures: %v", methods)
	}
}

func TestCreateAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f, ctx := w.fixture, w.as(manager)
	create := func(email string, role *string) *orgapi.CreateAccountStatus {
		t.Helper()
		began := must(ctx, f, orgapi.CreateAccount, &orgapi.CreateAccountInput{
			Email: email, AccountName: "Forests", RoleName: role, Tags: []orgapi.Tag{{Key: "team", Value: "red"}},
		}).CreateAccountStatus
		if began.State != orgapi.CreateAccountStateInProgress || !regexp.MustCompile(`^car-[a-z0-9]{32}$`).MatchString(*began.Id) {
			t.Fatalf("%+v", began)
		}
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			s := must(ctx, f, orgapi.DescribeCreateAccountStatus, &orgapi.DescribeCreateAccountStatusInput{CreateAccountRequestId: *began.Id}).CreateAccountStatus
			if s.State != orgapi.CreateAccountStateInProgress {
				return s
			}
			if time.Now().After(deadline) {
				t.Fatal("the account is not made")
			}
		}
	}
	made := create("forests@example.com", nil)
	if made.State != orgapi.CreateAccountStateSucceeded || made.AccountId == nil || made.CompletedTimestamp == nil || !isAccount(*made.AccountId) {
		t.Fatalf("%+v", made)
	}
	id := *made.AccountId
	if have, err := f.iam.AccountExists(t.Context(), id); err != nil || !have {
		t.Fatalf("IAM knows the account: %v, %v", have, err)
	}
	root := w.as(id)
	if keys := must(root, f, iamapi.ListAccessKeys, &iamapi.ListAccessKeysInput{}).AccessKeyMetadata; len(keys) != 0 {
		t.Errorf("the root user has access keys: %v", keys)
	}
	role := must(root, f, iamapi.GetRole, &iamapi.GetRoleInput{RoleName: defaultRole}).Role
	if !strings.Contains(*role.AssumeRolePolicyDocument, manager) {
		t.Errorf("the role trusts %s", *role.AssumeRolePolicyDocument)
	}
	attached := must(root, f, iamapi.ListAttachedRolePolicies, &iamapi.ListAttachedRolePoliciesInput{RoleName: defaultRole}).AttachedPolicies
	if len(attached) != 1 || *attached[0].PolicyArn != administrator {
		t.Errorf("the role has %v", attached)
	}
	a := must(ctx, f, orgapi.DescribeAccount, &orgapi.DescribeAccountInput{AccountId: id}).Account
	if *a.Email != "forests@example.com" || *a.Name != "Forests" || a.JoinedMethod != orgapi.AccountJoinedMethodCreated {
		t.Errorf("%+v", a)
	}
	if tags := must(ctx, f, orgapi.ListTagsForResource, &orgapi.ListTagsForResourceInput{ResourceId: id}).Tags; len(tags) != 1 {
		t.Errorf("tags %v", tags)
	}
	if m, err := f.s.MembershipOf(t.Context(), id); err != nil || m.Organization != w.id || len(m.SCP) != 2 {
		t.Errorf("membership %+v, %v", m, err)
	}
	if got := create("Forests@Example.com", nil); got.State != orgapi.CreateAccountStateFailed || got.FailureReason != orgapi.CreateAccountFailureReasonEmailAlreadyExists || got.AccountId != nil {
		t.Errorf("the same address: %+v", got)
	}
	second := create("rivers@example.com", new("Admin"))
	must(w.as(*second.AccountId), f, iamapi.GetRole, &iamapi.GetRoleInput{RoleName: "Admin"})

	f.broken.Store(true)
	if got := create("lakes@example.com", nil); got.State != orgapi.CreateAccountStateFailed || got.FailureReason != orgapi.CreateAccountFailureReasonInternalFailure {
		t.Errorf("without IAM: %+v", got)
	}
	f.broken.Store(false)

	for states, want := range map[orgapi.CreateAccountState]int{"": 4, orgapi.CreateAccountStateSucceeded: 2, orgapi.CreateAccountStateFailed: 2, orgapi.CreateAccountStateInProgress: 0} {
		in := &orgapi.ListCreateAccountStatusInput{}
		if states != "" {
			in.States = []orgapi.CreateAccountState{states}
		}
		if got := must(ctx, f, orgapi.ListCreateAccountStatus, in).CreateAccountStatuses; len(got) != want {
			t.Errorf("%d requests %q, want %d", len(got), states, want)
		}
	}
	_, err := try(ctx, f, orgapi.DescribeCreateAccountStatus, &orgapi.DescribeCreateAccountStatusInput{CreateAccountRequestId: "car-00000000"})
	wantError(t, "an unknown request", err, "CreateAccountStatusNotFoundException", "")

	// Who did it, in whose trail.
	results := f.records("CreateAccountResult")
	if len(results) != 4 || results[0]["recipientAccountId"] != manager || results[0]["eventType"] != "AwsServiceEvent" {
		t.Errorf("results: %v", results)
	}
	roles := f.records("CreateRole")
	if len(roles) != 2 || roles[0]["recipientAccountId"] != id || roles[0]["errorCode"] != nil {
		t.Fatalf("roles: %v", roles)
	}
	who := roles[0]["userIdentity"].(map[string]any)
	if who["type"] != string(identity.Root) || who["invokedBy"] != Principal || roles[0]["sourceIPAddress"] != Principal {
		t.Errorf("the role was made by %v from %v", who, roles[0]["sourceIPAddress"])
	}
	if n := len(f.records("AttachRolePolicy")); n != 2 {
		t.Errorf("%d records of AttachRolePolicy", n)
	}
	for _, r := range f.records("CreateAccount") {
		if strings.Contains(fmt.Sprint(r), "forests@example.com") {
			t.Errorf("a record holds the address: %v", r)
		}
	}
}

func TestHandshakes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f, ctx := w.fixture, w.as(manager)
	invite := func(id string, typ orgapi.HandshakePartyType) func() error {
		return call(ctx, f, orgapi.InviteAccountToOrganization, &orgapi.InviteAccountToOrganizationInput{Target: &orgapi.HandshakeParty{Id: id, Type: typ}})
	}
	const account = orgapi.HandshakePartyTypeAccount
	runSteps(t, []step{
		{"by address", invite("x@example.com", orgapi.HandshakePartyTypeEmail), "InvalidInputException", "INVALID_PARTY_TYPE_TARGET"},
		{"no account id", invite("x", account), "InvalidInputException", "INVALID_PATTERN_TARGET_ID"},
		{"an account that is not", invite("999999999999", account), "InvalidInputException", ""},
		{"a member", invite(member, account), "HandshakeConstraintViolationException", "ALREADY_IN_AN_ORGANIZATION"},
	})
	h := must(ctx, f, orgapi.InviteAccountToOrganization, &orgapi.InviteAccountToOrganizationInput{
		Target: &orgapi.HandshakeParty{Id: loner, Type: account}, Notes: new("join us"), Tags: []orgapi.Tag{{Key: "a", Value: "b"}},
	}).Handshake
	id := *h.Id
	if !regexp.MustCompile(`^h-[a-z0-9]{32}$`).MatchString(id) || *h.Arn != "arn:aws:organizations::"+manager+":handshake/"+w.id+"/invite/"+id ||
		h.State != orgapi.HandshakeStateOpen || h.Action != orgapi.ActionTypeInvite || h.ExpirationTimestamp.Sub(*h.RequestedTimestamp) != 15*24*time.Hour {
		t.Errorf("%+v", h)
	}
	accept := func(account, id string) func() error {
		return call(w.as(account), f, orgapi.AcceptHandshake, &orgapi.AcceptHandshakeInput{HandshakeId: id})
	}
	decline := func(account, id string) func() error {
		return call(w.as(account), f, orgapi.DeclineHandshake, &orgapi.DeclineHandshakeInput{HandshakeId: id})
	}
	cancel := func(account, id string) func() error {
		return call(w.as(account), f, orgapi.CancelHandshake, &orgapi.CancelHandshakeInput{HandshakeId: id})
	}
	describe := func(account, id string) func() error {
		return call(w.as(account), f, orgapi.DescribeHandshake, &orgapi.DescribeHandshakeInput{HandshakeId: id})
	}
	runSteps(t, []step{
		{"again", invite(loner, account), "DuplicateHandshakeException", ""},
		{name: "the sender looks", run: describe(manager, id)},
		{name: "the receiver looks", run: describe(loner, id)},
		{"a stranger looks", describe(member, id), "HandshakeNotFoundException", ""},
		{"a stranger accepts", accept(member, id), "HandshakeNotFoundException", ""},
		{"the sender accepts", accept(manager, id), "AccessDeniedException", ""},
		{"the sender declines", decline(manager, id), "AccessDeniedException", ""},
		{"the receiver cancels", cancel(loner, id), "AccessDeniedException", ""},
		{name: "decline", run: decline(loner, id)},
		{"decline again", decline(loner, id), "HandshakeAlreadyInStateException", ""},
		{"accept what was declined", accept(loner, id), "InvalidHandshakeTransitionException", ""},
		{"cancel what was declined", cancel(manager, id), "InvalidHandshakeTransitionException", ""},
	})
	second := w.invite(loner)
	runSteps(t, []step{
		{name: "cancel", run: cancel(manager, second)},
		{"accept what was cancelled", accept(loner, second), "InvalidHandshakeTransitionException", ""},
	})
	third := w.invite(loner)
	w.pass(15 * 24 * time.Hour)
	runSteps(t, []step{{"accept what has expired", accept(loner, third), "InvalidHandshakeTransitionException", ""}})
	if got := must(w.as(loner), f, orgapi.DescribeHandshake, &orgapi.DescribeHandshakeInput{HandshakeId: third}).Handshake.State; got != orgapi.HandshakeStateExpired {
		t.Errorf("state %s, want EXPIRED", got)
	}
	states := func(hs []orgapi.Handshake) string {
		var out []string
		for _, h := range hs {
			out = append(out, string(h.State))
		}
		slices.Sort(out)
		return strings.Join(out, " ")
	}
	if got := states(must(w.as(loner), f, orgapi.ListHandshakesForAccount, &orgapi.ListHandshakesForAccountInput{}).Handshakes); got != "CANCELED DECLINED EXPIRED" {
		t.Errorf("the account sees %s", got)
	}
	w.pass(16 * 24 * time.Hour) // 31 days after the first two were answered
	if got := states(must(ctx, f, orgapi.ListHandshakesForOrganization, &orgapi.ListHandshakesForOrganizationInput{}).Handshakes); got != "ACCEPTED EXPIRED" && got != "EXPIRED" {
		t.Errorf("the organization sees %s", got)
	}
	if got := must(w.as(loner), f, orgapi.ListHandshakesForAccount, &orgapi.ListHandshakesForAccountInput{
		Filter: &orgapi.HandshakeFilter{ActionType: orgapi.ActionTypeEnableAllFeatures},
	}).Handshakes; len(got) != 0 {
		t.Errorf("handshakes of another kind: %v", got)
	}
	fourth := w.invite(loner) // forgets what is old
	if _, err := try(ctx, f, orgapi.DescribeHandshake, &orgapi.DescribeHandshakeInput{HandshakeId: id}); err == nil {
		t.Error("an old handshake is still there")
	}
	must(w.as(loner), f, orgapi.CreateOrganization, &orgapi.CreateOrganizationInput{})
	runSteps(t, []step{
		{"accept from another organization", accept(loner, fourth), "HandshakeConstraintViolationException", "ALREADY_IN_AN_ORGANIZATION"},
		{name: "leave it", run: call(w.as(loner), f, orgapi.DeleteOrganization, &schema.Nothing{})},
		{name: "accept", run: accept(loner, fourth)},
		{"accept again", accept(loner, fourth), "HandshakeAlreadyInStateException", ""},
	})
	if got := *must(w.as(loner), f, orgapi.DescribeOrganization, &schema.Nothing{}).Organization.Id; got != w.id {
		t.Errorf("loner is in %s", got)
	}
}

// TestPages walks every paginated list with small pages.
func TestPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f, ctx := w.fixture, w.as(manager)
	want := []string{}
	for i := range 7 {
		want = append(want, w.unit(w.b, fmt.Sprint(i)))
	}
	slices.Sort(want)
	walk := func(list func(token *string) ([]string, *string)) []string {
		t.Helper()
		var all []string
		for token, n := (*string)(nil), 0; ; n++ {
			ids, next := list(token)
			all = append(all, ids...)
			if next == nil {
				slices.Sort(all)
				return all
			}
			if token = next; n > 50 || len(ids) > 2 {
				t.Fatal("the list does not end, or a page is too long")
			}
		}
	}
	got := walk(func(token *string) (ids []string, next *string) {
		out := must(ctx, f, orgapi.ListOrganizationalUnitsForParent, &orgapi.ListOrganizationalUnitsForParentInput{ParentId: w.b, MaxResults: new(int32(2)), NextToken: token})
		for _, u := range out.OrganizationalUnits {
			ids = append(ids, *u.Id)
		}
		return ids, out.NextToken
	})
	if !slices.Equal(got, want) {
		t.Errorf("units %v, want %v", got, want)
	}
	targets := walk(func(token *string) (ids []string, next *string) {
		out := must(ctx, f, orgapi.ListTargetsForPolicy, &orgapi.ListTargetsForPolicyInput{PolicyId: fullRCP, MaxResults: new(int32(2)), NextToken: token})
		for _, p := range out.Targets {
			ids = append(ids, *p.TargetId)
		}
		return ids, out.NextToken
	})
	all := append(slices.Clone(want), w.root, w.a, w.b, member, manager)
	slices.Sort(all)
	if !slices.Equal(targets, all) {
		t.Errorf("targets %v, want %v", targets, all)
	}
	var first *string
	policies := walk(func(token *string) (ids []string, next *string) {
		if token == nil {
			for i := range 3 {
				w.newPolicy(scp, fmt.Sprint("p", i), denyLeaving)
			}
		}
		out := must(ctx, f, orgapi.ListPolicies, &orgapi.ListPoliciesInput{Filter: scp, MaxResults: new(int32(1)), NextToken: token})
		for _, p := range out.Policies {
			ids = append(ids, *p.Name)
		}
		if first == nil {
			first = out.NextToken
		}
		return ids, out.NextToken
	})
	if !slices.Equal(policies, []string{"FullAWSAccess", "p0", "p1", "p2"}) {
		t.Errorf("policies %v", policies)
	}
	for name, run := range map[string]func() error{
		"another list":   call(ctx, f, orgapi.ListAccounts, &orgapi.ListAccountsInput{NextToken: first}),
		"another filter": call(ctx, f, orgapi.ListPolicies, &orgapi.ListPoliciesInput{Filter: rcp, NextToken: first}),
		"nonsense":       call(ctx, f, orgapi.ListAccounts, &orgapi.ListAccountsInput{NextToken: new("x")}),
	} {
		wantError(t, name, run(), "InvalidInputException", "INVALID_NEXT_TOKEN")
	}
	w.pass(25 * time.Hour)
	wantError(t, "an old token", call(ctx, f, orgapi.ListPolicies, &orgapi.ListPoliciesInput{Filter: scp, NextToken: first})(), "InvalidInputException", "INVALID_NEXT_TOKEN")
}
