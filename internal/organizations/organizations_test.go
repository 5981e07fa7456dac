package organizations

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	orgapi "github.com/sagekeep/sagekeep/api/organizations"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/evaluator"
	"github.com/sagekeep/sagekeep/internal/iam"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/jobs"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
	"github.com/sagekeep/sagekeep/internal/store/memstore"
)

const (
	manager = "111122223333"
	member  = "222233334444"
	loner   = "333344445555"

	scp = orgapi.PolicyTypeServiceControlPolicy
	rcp = orgapi.PolicyTypeResourceControlPolicy

	denyLeaving = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"organizations:LeaveOrganization","Resource":"*"}]}`
	denyS3      = `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*"}}`
)

// fixture is the service beside IAM on the in-memory engine, with three
// accounts.
type fixture struct {
	testing.TB
	s     *Service
	iam   *iam.Service
	r     *protocol.Registry
	store *store.Store

	mu    sync.Mutex
	clock time.Time

	broken atomic.Bool // IAM makes no accounts
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{TB: t, clock: time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)}
	keyring := envelope.NewMemory()
	f.store = store.New(memstore.New(t), keyring, store.Options{Now: f.now})
	f.iam = iam.New(iam.Deps{Store: f.store, Keyring: keyring, Now: f.now})
	runner := jobs.New(jobs.Config{Store: f.store, Log: slog.New(slog.DiscardHandler), Backoff: time.Millisecond})
	f.s = New(Config{Store: f.store, Keyring: keyring, Jobs: runner, Accounts: accounts{f}, Now: f.now})
	f.r = protocol.NewRegistry(evaluator.New(f.iam, f.s), f.store.Journal())
	f.iam.Register(f.r)
	f.s.Register(f.r)
	for _, id := range []string{manager, member, loner} {
		if _, err := f.iam.CreateAccount(context.Background(), id); err != nil {
			t.Fatal(err)
		}
	}
	if err := runner.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := runner.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return f
}

func (f *fixture) now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.clock
}

func (f *fixture) pass(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clock = f.clock.Add(d)
}

// accounts is what the server makes of IAM.
type accounts struct{ f *fixture }

func (a accounts) Exists(ctx context.Context, id string) (bool, error) {
	return a.f.iam.AccountExists(ctx, id)
}

func (a accounts) Add(ctx context.Context, id string) (bool, error) {
	if a.f.broken.Load() {
		return false, errors.New("no accounts today")
	}
	err := a.f.iam.AddAccount(ctx, &iam.RootCredentials{Account: id})
	return err == nil, err
}

func (a accounts) CreateRole(ctx context.Context, in *iamapi.CreateRoleInput) (*iamapi.CreateRoleOutput, error) {
	return protocol.Call(ctx, a.f.r, iamapi.CreateRole, in)
}

func (a accounts) AttachRolePolicy(ctx context.Context, in *iamapi.AttachRolePolicyInput) (*schema.Nothing, error) {
	return protocol.Call(ctx, a.f.r, iamapi.AttachRolePolicy, in)
}

// as returns a context of a request by an account's root user.
func (f *fixture) as(account string) context.Context {
	return f.by(&identity.Caller{Type: identity.Root, Account: account, ARN: "arn:aws:iam::" + account + ":root", PrincipalID: account})
}

func (f *fixture) by(c *identity.Caller) context.Context {
	return identity.With(f.Context(), &identity.Call{Caller: c, Region: "us-east-1", RequestID: "r", Time: f.now()})
}

// user makes a user of the managing account with one policy.
func (f *fixture) user(policy string) context.Context {
	f.Helper()
	const name = "user"
	u := must(f.as(manager), f, iamapi.CreateUser, &iamapi.CreateUserInput{UserName: name})
	f.policy(policy)
	return f.by(&identity.Caller{Type: identity.User, Account: manager, ARN: u.User.Arn, PrincipalID: u.User.UserId, UserName: name})
}

// policy replaces the policy of the user.
func (f *fixture) policy(policy string) {
	f.Helper()
	must(f.as(manager), f, iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{UserName: "user", PolicyName: "p", PolicyDocument: policy})
}

func try[In, Out any](ctx context.Context, f *fixture, op schema.Op[In, Out], in *In) (*Out, error) {
	return protocol.Call(ctx, f.r, op, in)
}

func must[In, Out any](ctx context.Context, f *fixture, op schema.Op[In, Out], in *In) *Out {
	f.Helper()
	out, err := protocol.Call(ctx, f.r, op, in)
	if err != nil {
		f.Fatalf("%s: %v", op.Name, err)
	}
	return out
}

// wantError checks code and reason; "" means success, reason "" any.
func wantError(t testing.TB, what string, err error, code, reason string) {
	t.Helper()
	if code == "" {
		if err != nil {
			t.Errorf("%s: %v, want success", what, err)
		}
		return
	}
	if err == nil {
		t.Errorf("%s succeeded, want %s", what, code)
		return
	}
	e := schema.AsError(err)
	if e.Code != code || reason != "" && e.Fields["Reason"] != reason {
		t.Errorf("%s: %s (%s) %q, want %s (%s)", what, e.Code, e.Fields["Reason"], e.Message, code, reason)
	}
}

// world is an organization with both policy types in force, a unit A with a
// unit B in it, and the account member below its root.
type world struct {
	*fixture
	id, root, a, b string
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{fixture: newFixture(t)}
	ctx := w.as(manager)
	w.id = *must(ctx, w.fixture, orgapi.CreateOrganization, &orgapi.CreateOrganizationInput{}).Organization.Id
	w.root = *must(ctx, w.fixture, orgapi.ListRoots, &orgapi.ListRootsInput{}).Roots[0].Id
	for _, typ := range []orgapi.PolicyType{scp, rcp} {
		must(ctx, w.fixture, orgapi.EnablePolicyType, &orgapi.EnablePolicyTypeInput{RootId: w.root, PolicyType: typ})
	}
	w.a = w.unit(w.root, "A")
	w.b = w.unit(w.a, "B")
	w.join(member)
	return w
}

func (w *world) unit(parent, name string) string {
	w.Helper()
	out := must(w.as(manager), w.fixture, orgapi.CreateOrganizationalUnit, &orgapi.CreateOrganizationalUnitInput{ParentId: parent, Name: name})
	return *out.OrganizationalUnit.Id
}

func (w *world) invite(account string) string {
	w.Helper()
	h := must(w.as(manager), w.fixture, orgapi.InviteAccountToOrganization, &orgapi.InviteAccountToOrganizationInput{
		Target: &orgapi.HandshakeParty{Id: account, Type: orgapi.HandshakePartyTypeAccount},
	})
	return *h.Handshake.Id
}

func (w *world) join(account string) {
	w.Helper()
	must(w.as(account), w.fixture, orgapi.AcceptHandshake, &orgapi.AcceptHandshakeInput{HandshakeId: w.invite(account)})
}

func (w *world) move(account, from, to string) {
	w.Helper()
	must(w.as(manager), w.fixture, orgapi.MoveAccount, &orgapi.MoveAccountInput{AccountId: account, SourceParentId: from, DestinationParentId: to})
}

func (w *world) newPolicy(typ orgapi.PolicyType, name, content string) string {
	w.Helper()
	p := must(w.as(manager), w.fixture, orgapi.CreatePolicy, &orgapi.CreatePolicyInput{Name: name, Type: typ, Content: content})
	return *p.Policy.PolicySummary.Id
}

func (w *world) attach(policy, target string) {
	w.Helper()
	must(w.as(manager), w.fixture, orgapi.AttachPolicy, &orgapi.AttachPolicyInput{PolicyId: policy, TargetId: target})
}

// step is one call and what it answers.
type step struct {
	name         string
	run          func() error
	code, reason string
}

func call[In, Out any](ctx context.Context, f *fixture, op schema.Op[In, Out], in *In) func() error {
	return func() error {
		_, err := try(ctx, f, op, in)
		return err
	}
}

func runSteps(t *testing.T, steps []step) {
	t.Helper()
	for _, s := range steps {
		wantError(t, s.name, s.run(), s.code, s.reason)
	}
}

// records returns the records of an event, oldest first.
func (f *fixture) records(event string) []map[string]any {
	f.Helper()
	var all []map[string]any
	for rec, err := range f.store.Journal().Scan(f.Context(), store.JournalScan{}) {
		if err != nil {
			f.Fatal(err)
		}
		m := map[string]any{}
		if err := json.Unmarshal(rec.Data, &m); err != nil {
			f.Fatal(err)
		}
		if m["eventName"] == event {
			all = append(all, m)
		}
	}
	return all
}

// TestEveryOperationIsRegistered compares with the list that the shapes are
// generated from.
func TestEveryOperationIsRegistered(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../api/organizations/operations.txt")
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, op := range newFixture(t).r.Operations()["organizations"] {
		have = append(have, op.Name)
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		name := strings.TrimSpace(line)
		if name == "" || strings.HasPrefix(name, "#") {
			continue
		}
		if n++; !slices.Contains(have, name) {
			t.Errorf("%s is not registered", name)
		}
	}
	if n == 0 || n != len(have) {
		t.Errorf("%d operations are listed, %d registered", n, len(have))
	}
}

func TestOrganization(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := f.as(manager)
	runSteps(t, []step{
		{"describe in none", call(ctx, f, orgapi.DescribeOrganization, &schema.Nothing{}), "AWSOrganizationsNotInUseException", ""},
		{"leave none", call(ctx, f, orgapi.LeaveOrganization, &schema.Nothing{}), "AWSOrganizationsNotInUseException", ""},
		{"delete none", call(ctx, f, orgapi.DeleteOrganization, &schema.Nothing{}), "AWSOrganizationsNotInUseException", ""},
		{"a policy in none", call(ctx, f, orgapi.DescribePolicy, &orgapi.DescribePolicyInput{PolicyId: "p-12345678"}), "AWSOrganizationsNotInUseException", ""},
	})
	o := must(ctx, f, orgapi.CreateOrganization, &orgapi.CreateOrganizationInput{}).Organization
	for what, pair := range map[string][2]string{
		"id":  {*o.Id, `^o-[a-z0-9]{10}$`},
		"arn": {*o.Arn, `^arn:aws:organizations::111122223333:organization/o-[a-z0-9]{10}$`},
		"master": {
			*o.MasterAccountArn,
			`^arn:aws:organizations::111122223333:account/` + *o.Id + `/111122223333$`,
		},
	} {
		if !regexp.MustCompile(pair[1]).MatchString(pair[0]) {
			t.Errorf("%s is %q", what, pair[0])
		}
	}
	if o.FeatureSet != orgapi.OrganizationFeatureSetAll || *o.MasterAccountId != manager {
		t.Errorf("%+v", o)
	}
	root := must(ctx, f, orgapi.ListRoots, &orgapi.ListRootsInput{}).Roots[0]
	if !regexp.MustCompile(`^r-[a-z0-9]{4}$`).MatchString(*root.Id) || *root.Name != "Root" || len(root.PolicyTypes) != 0 {
		t.Errorf("%+v", root)
	}
	if *root.Arn != "arn:aws:organizations::"+manager+":root/"+*o.Id+"/"+*root.Id {
		t.Errorf("the root's ARN is %q", *root.Arn)
	}
	enable := func(typ orgapi.PolicyType, root string) func() error {
		return call(ctx, f, orgapi.EnablePolicyType, &orgapi.EnablePolicyTypeInput{RootId: root, PolicyType: typ})
	}
	disable := call(ctx, f, orgapi.DisablePolicyType, &orgapi.DisablePolicyTypeInput{RootId: *root.Id, PolicyType: scp})
	runSteps(t, []step{
		{"create again", call(ctx, f, orgapi.CreateOrganization, &orgapi.CreateOrganizationInput{}), "AlreadyInOrganizationException", ""},
		{"disable before enable", disable, "PolicyTypeNotEnabledException", ""},
		{"enable in no root", enable(scp, "r-0000"), "RootNotFoundException", ""},
		{"enable tag policies", enable(orgapi.PolicyTypeTagPolicy, *root.Id), "PolicyTypeNotAvailableForOrganizationException", ""},
		{name: "enable", run: enable(scp, *root.Id)},
		{"enable again", enable(scp, *root.Id), "PolicyTypeAlreadyEnabledException", ""},
		{name: "disable", run: disable},
		{"the manager leaves", call(ctx, f, orgapi.LeaveOrganization, &schema.Nothing{}), "MasterCannotLeaveOrganizationException", ""},
		{name: "delete", run: call(ctx, f, orgapi.DeleteOrganization, &schema.Nothing{})},
		{"describe what is gone", call(ctx, f, orgapi.DescribeOrganization, &schema.Nothing{}), "AWSOrganizationsNotInUseException", ""},
		{name: "billing only", run: call(ctx, f, orgapi.CreateOrganization, &orgapi.CreateOrganizationInput{FeatureSet: orgapi.OrganizationFeatureSetConsolidatedBilling})},
	})
	root = must(ctx, f, orgapi.ListRoots, &orgapi.ListRootsInput{}).Roots[0]
	runSteps(t, []step{
		{"enable with billing only", enable(scp, *root.Id), "PolicyTypeNotAvailableForOrganizationException", ""},
		{"create with billing only", call(ctx, f, orgapi.CreatePolicy, &orgapi.CreatePolicyInput{Name: "p", Type: scp, Content: denyLeaving}), "PolicyTypeNotAvailableForOrganizationException", ""},
	})
	if got := must(ctx, f, orgapi.DescribeOrganization, &schema.Nothing{}).Organization.AvailablePolicyTypes; len(got) != 0 {
		t.Errorf("available with billing only: %v", got)
	}
	if got := f.records("AccountJoinedOrganization"); len(got) != 2 || got[0]["recipientAccountId"] != manager || got[0]["eventType"] != "AwsServiceEvent" {
		t.Errorf("records of joining: %v", got)
	}
	if got := f.records("AccountDepartedOrganization"); len(got) != 1 {
		t.Errorf("records of leaving: %v", got)
	}
}

func TestDeleteWantsAnEmptyOrganization(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := w.as(manager)
	p := w.newPolicy(scp, "p", denyLeaving)
	deleteIt := call(ctx, w.fixture, orgapi.DeleteOrganization, &schema.Nothing{})
	const code = "OrganizationNotEmptyException"
	runSteps(t, []step{
		{"with a member", deleteIt, code, ""},
		{name: "member leaves", run: call(w.as(member), w.fixture, orgapi.LeaveOrganization, &schema.Nothing{})},
		{"with units", deleteIt, code, ""},
		{name: "unit B", run: call(ctx, w.fixture, orgapi.DeleteOrganizationalUnit, &orgapi.DeleteOrganizationalUnitInput{OrganizationalUnitId: w.b})},
		{name: "unit A", run: call(ctx, w.fixture, orgapi.DeleteOrganizationalUnit, &orgapi.DeleteOrganizationalUnitInput{OrganizationalUnitId: w.a})},
		{"with a policy", deleteIt, code, ""},
		{name: "policy", run: call(ctx, w.fixture, orgapi.DeletePolicy, &orgapi.DeletePolicyInput{PolicyId: p})},
	})
	open := w.invite(loner)
	runSteps(t, []step{
		{name: "with an invitation", run: deleteIt},
		{"accept it all the same", call(w.as(loner), w.fixture, orgapi.AcceptHandshake, &orgapi.AcceptHandshakeInput{HandshakeId: open}), "HandshakeNotFoundException", ""},
	})
	if m, err := w.s.MembershipOf(t.Context(), manager); err != nil || m.Organization != "" {
		t.Errorf("the manager is in %+v, %v", m, err)
	}
}

// TestMembersMayNotManage: what the management account alone may do, others are
// refused, whatever their own policies say.
func TestMembersMayNotManage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.fixture
	for account, code := range map[string]string{member: "AccessDeniedException", loner: "AWSOrganizationsNotInUseException"} {
		ctx := w.as(account)
		for name, run := range map[string]func() error{
			"DeleteOrganization":               call(ctx, f, orgapi.DeleteOrganization, &schema.Nothing{}),
			"ListRoots":                        call(ctx, f, orgapi.ListRoots, &orgapi.ListRootsInput{}),
			"EnablePolicyType":                 call(ctx, f, orgapi.EnablePolicyType, &orgapi.EnablePolicyTypeInput{RootId: w.root, PolicyType: scp}),
			"DisablePolicyType":                call(ctx, f, orgapi.DisablePolicyType, &orgapi.DisablePolicyTypeInput{RootId: w.root, PolicyType: scp}),
			"CreateOrganizationalUnit":         call(ctx, f, orgapi.CreateOrganizationalUnit, &orgapi.CreateOrganizationalUnitInput{ParentId: w.root, Name: "x"}),
			"DescribeOrganizationalUnit":       call(ctx, f, orgapi.DescribeOrganizationalUnit, &orgapi.DescribeOrganizationalUnitInput{OrganizationalUnitId: w.a}),
			"UpdateOrganizationalUnit":         call(ctx, f, orgapi.UpdateOrganizationalUnit, &orgapi.UpdateOrganizationalUnitInput{OrganizationalUnitId: w.a}),
			"DeleteOrganizationalUnit":         call(ctx, f, orgapi.DeleteOrganizationalUnit, &orgapi.DeleteOrganizationalUnitInput{OrganizationalUnitId: w.b}),
			"ListOrganizationalUnitsForParent": call(ctx, f, orgapi.ListOrganizationalUnitsForParent, &orgapi.ListOrganizationalUnitsForParentInput{ParentId: w.root}),
			"CreateAccount":                    call(ctx, f, orgapi.CreateAccount, &orgapi.CreateAccountInput{Email: "x@example.com", AccountName: "x"}),
			"DescribeCreateAccountStatus":      call(ctx, f, orgapi.DescribeCreateAccountStatus, &orgapi.DescribeCreateAccountStatusInput{CreateAccountRequestId: "car-12345678"}),
			"ListCreateAccountStatus":          call(ctx, f, orgapi.ListCreateAccountStatus, &orgapi.ListCreateAccountStatusInput{}),
			"DescribeAccount":                  call(ctx, f, orgapi.DescribeAccount, &orgapi.DescribeAccountInput{AccountId: member}),
			"ListAccounts":                     call(ctx, f, orgapi.ListAccounts, &orgapi.ListAccountsInput{}),
			"ListAccountsForParent":            call(ctx, f, orgapi.ListAccountsForParent, &orgapi.ListAccountsForParentInput{ParentId: w.root}),
			"ListParents":                      call(ctx, f, orgapi.ListParents, &orgapi.ListParentsInput{ChildId: member}),
			"ListChildren":                     call(ctx, f, orgapi.ListChildren, &orgapi.ListChildrenInput{ParentId: w.root, ChildType: orgapi.ChildTypeAccount}),
			"MoveAccount":                      call(ctx, f, orgapi.MoveAccount, &orgapi.MoveAccountInput{AccountId: member, SourceParentId: w.root, DestinationParentId: w.a}),
			"RemoveAccountFromOrganization":    call(ctx, f, orgapi.RemoveAccountFromOrganization, &orgapi.RemoveAccountFromOrganizationInput{AccountId: member}),
			"InviteAccountToOrganization": call(ctx, f, orgapi.InviteAccountToOrganization, &orgapi.InviteAccountToOrganizationInput{
				Target: &orgapi.HandshakeParty{Id: loner, Type: orgapi.HandshakePartyTypeAccount},
			}),
			"ListHandshakesForOrganization": call(ctx, f, orgapi.ListHandshakesForOrganization, &orgapi.ListHandshakesForOrganizationInput{}),
			"CreatePolicy":                  call(ctx, f, orgapi.CreatePolicy, &orgapi.CreatePolicyInput{Name: "x", Type: scp, Content: denyLeaving}),
			"DescribePolicy":                call(ctx, f, orgapi.DescribePolicy, &orgapi.DescribePolicyInput{PolicyId: fullSCP}),
			"UpdatePolicy":                  call(ctx, f, orgapi.UpdatePolicy, &orgapi.UpdatePolicyInput{PolicyId: fullSCP}),
			"DeletePolicy":                  call(ctx, f, orgapi.DeletePolicy, &orgapi.DeletePolicyInput{PolicyId: fullSCP}),
			"ListPolicies":                  call(ctx, f, orgapi.ListPolicies, &orgapi.ListPoliciesInput{Filter: scp}),
			"AttachPolicy":                  call(ctx, f, orgapi.AttachPolicy, &orgapi.AttachPolicyInput{PolicyId: fullSCP, TargetId: member}),
			"DetachPolicy":                  call(ctx, f, orgapi.DetachPolicy, &orgapi.DetachPolicyInput{PolicyId: fullSCP, TargetId: member}),
			"ListPoliciesForTarget":         call(ctx, f, orgapi.ListPoliciesForTarget, &orgapi.ListPoliciesForTargetInput{TargetId: member, Filter: scp}),
			"ListTargetsForPolicy":          call(ctx, f, orgapi.ListTargetsForPolicy, &orgapi.ListTargetsForPolicyInput{PolicyId: fullSCP}),
			"TagResource":                   call(ctx, f, orgapi.TagResource, &orgapi.TagResourceInput{ResourceId: member, Tags: []orgapi.Tag{{Key: "a"}}}),
			"UntagResource":                 call(ctx, f, orgapi.UntagResource, &orgapi.UntagResourceInput{ResourceId: member, TagKeys: []string{"a"}}),
			"ListTagsForResource":           call(ctx, f, orgapi.ListTagsForResource, &orgapi.ListTagsForResourceInput{ResourceId: member}),
		} {
			wantError(t, account+" "+name, run(), code, "")
		}
	}
	if got := *must(w.as(member), f, orgapi.DescribeOrganization, &schema.Nothing{}).Organization.Id; got != w.id {
		t.Errorf("the member sees %s", got)
	}
	last := f.records("ListRoots")
	if code := last[len(last)-1]["errorCode"]; code != "AccessDenied" && code != "AWSOrganizationsNotInUseException" {
		t.Errorf("the record has error code %v", code)
	}
}

// TestAuthorization: the evaluator is asked about AWS's ARNs and condition keys.
func TestAuthorization(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.fixture
	p := w.newPolicy(scp, "p", denyLeaving)
	base := "arn:aws:organizations::" + manager + ":"
	doc := func(action, condition string, resources ...string) string {
		b, err := json.Marshal(resources)
		if err != nil {
			t.Fatal(err)
		}
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"organizations:` + action + `","Resource":` + string(b) + condition + `}]}`
	}
	policyARN, unitARN := base+"policy/"+w.id+"/service_control_policy/"+p, base+"ou/"+w.id+"/"+w.a
	attach := &orgapi.AttachPolicyInput{PolicyId: p, TargetId: w.a}
	user := w.user(doc("Describe*", "", "*"))
	tagged := &orgapi.CreateOrganizationalUnitInput{ParentId: w.a, Name: "T", Tags: []orgapi.Tag{{Key: "team", Value: "red"}}}
	must(w.as(manager), f, orgapi.TagResource, &orgapi.TagResourceInput{ResourceId: w.a, Tags: []orgapi.Tag{{Key: "env", Value: "test"}}})
	for _, tc := range []struct {
		name, policy string
		run          func() error
		ok           bool
	}{
		{"no permission", doc("Describe*", "", "*"), call(user, f, orgapi.AttachPolicy, attach), false},
		{"policy without target", doc("AttachPolicy", "", policyARN), call(user, f, orgapi.AttachPolicy, attach), false},
		{"target without policy", doc("AttachPolicy", "", unitARN), call(user, f, orgapi.AttachPolicy, attach), false},
		{"another type", doc("AttachPolicy", `,"Condition":{"StringEquals":{"organizations:PolicyType":"TAG_POLICY"}}`, policyARN, unitARN), call(user, f, orgapi.AttachPolicy, attach), false},
		{"both, by type", doc("AttachPolicy", `,"Condition":{"StringEquals":{"organizations:PolicyType":"SERVICE_CONTROL_POLICY"}}`, policyARN, unitARN), call(user, f, orgapi.AttachPolicy, attach), true},
		{"AWS's policy", doc("DescribePolicy", "", "arn:aws:organizations::aws:policy/service_control_policy/p-FullAWSAccess"), call(user, f, orgapi.DescribePolicy, &orgapi.DescribePolicyInput{PolicyId: fullSCP}), true},
		{"by the unit's tag", doc("DescribeOrganizationalUnit", `,"Condition":{"StringEquals":{"aws:ResourceTag/env":"test"}}`, unitARN), call(user, f, orgapi.DescribeOrganizationalUnit, &orgapi.DescribeOrganizationalUnitInput{OrganizationalUnitId: w.a}), true},
		{"by another tag", doc("DescribeOrganizationalUnit", `,"Condition":{"StringEquals":{"aws:ResourceTag/env":"prod"}}`, unitARN), call(user, f, orgapi.DescribeOrganizationalUnit, &orgapi.DescribeOrganizationalUnitInput{OrganizationalUnitId: w.a}), false},
		{"tags on creation need TagResource", doc("CreateOrganizationalUnit", "", unitARN), call(user, f, orgapi.CreateOrganizationalUnit, tagged), false},
		{"tags on creation", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["organizations:CreateOrganizationalUnit","organizations:TagResource"],"Resource":"` + unitARN + `","Condition":{"StringEquals":{"aws:RequestTag/team":"red"}}}]}`, call(user, f, orgapi.CreateOrganizationalUnit, tagged), true},
		{"new policies of a type", doc("CreatePolicy", "", base+"policy/o-*/service_control_policy/*"), call(user, f, orgapi.CreatePolicy, &orgapi.CreatePolicyInput{Name: "q", Type: scp, Content: denyLeaving}), true},
		{"new policies of another type", doc("CreatePolicy", "", base+"policy/o-*/service_control_policy/*"), call(user, f, orgapi.CreatePolicy, &orgapi.CreatePolicyInput{Name: "q", Type: rcp, Content: denyS3}), false},
		{"invite one account", doc("InviteAccountToOrganization", "", base+"account/"+w.id+"/"+member), call(user, f, orgapi.InviteAccountToOrganization, &orgapi.InviteAccountToOrganizationInput{
			Target: &orgapi.HandshakeParty{Id: loner, Type: orgapi.HandshakePartyTypeAccount},
		}), false},
	} {
		f.policy(tc.policy)
		if code := ""; !tc.ok {
			code = "AccessDeniedException"
			wantError(t, tc.name, tc.run(), code, "")
		} else {
			wantError(t, tc.name, tc.run(), code, "")
		}
	}
	err := call(user, f, orgapi.DeletePolicy, &orgapi.DeletePolicyInput{PolicyId: p})()
	if err == nil || !strings.Contains(schema.AsError(err).Message, "organizations:DeletePolicy on resource: "+policyARN) {
		t.Errorf("a denial says %v", err)
	}
}

func TestStoreErrorsAreNotFound(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	if err := missing(broken, "policy", noPolicy()); !errors.Is(err, broken) || errors.Is(err, noPolicy()) {
		t.Errorf("%v", err)
	}
}
