package sts_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/api/schema"
	stsapi "github.com/sagekeep/sagekeep/api/sts"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/evaluator"
	"github.com/sagekeep/sagekeep/internal/iam"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
	"github.com/sagekeep/sagekeep/internal/store/memstore"
	"github.com/sagekeep/sagekeep/internal/sts"
)

const (
	ours     = "111122223333"
	theirs   = "444455556666"
	allowAll = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
)

// fixture is IAM and STS on the in-memory engine with two accounts; bob and
// ann are their administrators.
type fixture struct {
	t        *testing.T
	iam      *iam.Service
	sts      *sts.Service
	keyring  *envelope.Keyring
	r        *protocol.Registry
	root     context.Context // of ours
	bob, ann context.Context

	mu      sync.Mutex
	records []map[string]any
	text    []string
	clock   time.Time
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, clock: time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)}
	keyring := envelope.NewMemory()
	f.iam = iam.New(iam.Deps{
		Store: store.New(memstore.New(t), keyring, store.Options{}), Keyring: keyring, Now: func() time.Time { return f.clock },
	})
	f.r = protocol.NewRegistry(evaluator.New(f.iam, nil), f)
	f.iam.Register(f.r)
	f.sts = sts.New(sts.Config{Roles: f.iam, Keyring: keyring, Now: func() time.Time { return f.clock }})
	f.sts.Register(f.r)
	f.keyring = keyring
	f.root, f.bob = f.account(ours, "bob")
	_, f.ann = f.account(theirs, "ann")
	return f
}

// account makes an account with an administrator.
func (f *fixture) account(id, admin string) (root, user context.Context) {
	f.t.Helper()
	c, err := f.iam.CreateAccount(f.t.Context(), id)
	if err != nil {
		f.t.Fatal(err)
	}
	root = f.as(c.AccessKeyID, "")
	must(root, f, iamapi.CreateUser, &iamapi.CreateUserInput{UserName: admin})
	must(root, f, iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{UserName: admin, PolicyName: "all", PolicyDocument: allowAll})
	k := must(root, f, iamapi.CreateAccessKey, &iamapi.CreateAccessKeyInput{UserName: &admin}).AccessKey
	return root, f.as(k.AccessKeyId, "")
}

// as returns a context of a request with the credentials.
func (f *fixture) as(id, token string) context.Context {
	f.t.Helper()
	c, err := f.iam.Lookup(f.t.Context(), id, token)
	if err != nil {
		f.t.Fatalf("Lookup(%s): %v", id, err)
	}
	return identity.With(f.t.Context(), &identity.Call{Caller: c.Owner.(*identity.Caller), Region: "us-east-1", Time: f.clock})
}

func (f *fixture) session(c *stsapi.Credentials) context.Context {
	f.t.Helper()
	return f.as(c.AccessKeyId, c.SessionToken)
}

// Append implements protocol.Journal.
func (f *fixture) Append(_ context.Context, entries ...[]byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range entries {
		m := map[string]any{}
		if err := json.Unmarshal(e, &m); err != nil {
			return err
		}
		f.records, f.text = append(f.records, m), append(f.text, string(e))
	}
	return nil
}

func must[In, Out any](ctx context.Context, f *fixture, op schema.Op[In, Out], in *In) *Out {
	f.t.Helper()
	out, err := protocol.Call(ctx, f.r, op, in)
	if err != nil {
		f.t.Fatalf("%s: %v", op.Name, err)
	}
	return out
}

// role makes a role of ours that trusts a principal under a condition; actions
// are those of STS.
func (f *fixture) role(name, principal, actions, condition string) string {
	f.t.Helper()
	if condition != "" {
		condition = `,"Condition":` + condition
	}
	doc := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":` + principal + `,"Action":` + actions + condition + `}]}`
	r := must(f.root, f, iamapi.CreateRole, &iamapi.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: doc, MaxSessionDuration: new(int32(7200))})
	must(f.root, f, iamapi.PutRolePolicy, &iamapi.PutRolePolicyInput{RoleName: name, PolicyName: "all", PolicyDocument: allowAll})
	return r.Role.Arn
}

func (f *fixture) assume(ctx context.Context, in *stsapi.AssumeRoleInput) (*stsapi.AssumeRoleOutput, error) {
	if in.RoleSessionName == "" {
		in.RoleSessionName = "s"
	}
	return protocol.Call(ctx, f.r, stsapi.AssumeRole, in)
}

func (f *fixture) mustAssume(ctx context.Context, in *stsapi.AssumeRoleInput) *stsapi.AssumeRoleOutput {
	f.t.Helper()
	out, err := f.assume(ctx, in)
	if err != nil {
		f.t.Fatalf("AssumeRole(%s): %v", in.RoleArn, err)
	}
	return out
}

// wantError checks code and text; code "" means success, text "" any.
func wantError(t *testing.T, err error, code, message string) {
	t.Helper()
	if code == "" {
		if err != nil {
			t.Errorf("%v, want success", err)
		}
		return
	}
	if err == nil {
		t.Errorf("success, want %s", code)
		return
	}
	if e := schema.AsError(err); e.Code != code || message != "" && e.Message != message {
		t.Errorf("%s %q, want %s %q", e.Code, e.Message, code, message)
	}
}

const (
	account = `{"AWS":"111122223333"}`
	assume  = `"sts:AssumeRole"`
	all     = `["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"]`
)

func TestAssumeRole(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	arn := f.role("reader", account, assume, "")
	out := f.mustAssume(f.bob, &stsapi.AssumeRoleInput{RoleArn: arn, RoleSessionName: "bob@example"})
	rec := f.records[len(f.records)-1]
	c := out.Credentials
	if !strings.HasPrefix(c.AccessKeyId, "ASIA") || len(c.AccessKeyId) != 20 || len(c.SecretAccessKey) != 40 || !c.Expiration.Equal(f.clock.Add(time.Hour)) {
		t.Errorf("credentials %s until %s", c.AccessKeyId, c.Expiration)
	}
	role := must(f.root, f, iamapi.GetRole, &iamapi.GetRoleInput{RoleName: "reader"}).Role
	if out.AssumedRoleUser.AssumedRoleId != role.RoleId+":bob@example" || out.AssumedRoleUser.Arn != "arn:aws:sts::111122223333:assumed-role/reader/bob@example" || out.PackedPolicySize != nil {
		t.Errorf("AssumeRole = %+v, packed %v", out.AssumedRoleUser, out.PackedPolicySize)
	}
	me := must(f.session(c), f, stsapi.GetCallerIdentity, &stsapi.GetCallerIdentityInput{})
	if *me.Arn != out.AssumedRoleUser.Arn || *me.UserId != out.AssumedRoleUser.AssumedRoleId || *me.Account != ours {
		t.Errorf("GetCallerIdentity of the session = %s %s %s", *me.Arn, *me.UserId, *me.Account)
	}

	if rec["eventName"] != "AssumeRole" || rec["eventSource"] != "sts.amazonaws.com" {
		t.Fatalf("record = %v", rec)
	}
	resources, err := json.Marshal(rec["resources"])
	if err != nil || string(resources) != `[{"ARN":"`+arn+`","accountId":"111122223333","type":"AWS::IAM::Role"}]` {
		t.Errorf("resources of the record = %s, %v", resources, err)
	}
	response, err := json.Marshal(rec["responseElements"])
	want := `{"assumedRoleUser":{"arn":"` + out.AssumedRoleUser.Arn + `","assumedRoleId":"` + out.AssumedRoleUser.AssumedRoleId +
		`"},"credentials":{"accessKeyId":"` + c.AccessKeyId + `","expiration":"Nov 21, 2026, 11:00:00 AM"}}`
	if err != nil || string(response) != want {
		t.Errorf("responseElements = %s, want %s", response, want)
	}
	for _, text := range f.text {
		if strings.Contains(text, c.SecretAccessKey) || strings.Contains(text, c.SessionToken) {
			t.Errorf("a record holds secret or token: %s", text)
		}
	}
}

func TestAssumeRoleErrors(t *testing.T) {
	t.Parallel()
	denied := func(f *fixture, arn string) string {
		return "User: arn:aws:iam::111122223333:user/bob is not authorized to perform: sts:AssumeRole on resource: " + arn
	}
	const reader = "arn:aws:iam::111122223333:role/reader"
	for _, test := range []struct {
		name                          string
		principal, actions, condition string // of the trust policy
		in                            stsapi.AssumeRoleInput
		as                            func(*fixture) context.Context // bob when nil
		code, message                 string
	}{
		{name: "trusted account", in: stsapi.AssumeRoleInput{}},
		{name: "trusted user", principal: `{"AWS":"arn:aws:iam::111122223333:user/bob"}`},
		{name: "trusts another account only", principal: `{"AWS":"444455556666"}`, code: "AccessDenied", message: denied(nil, reader) + " because no resource-based policy allows the sts:AssumeRole action"},
		{name: "trusts a service only", principal: `{"Service":"sagemaker.amazonaws.com"}`, code: "AccessDenied"},
		{name: "no such role", in: stsapi.AssumeRoleInput{RoleArn: reader + "s"}, code: "AccessDenied", message: denied(nil, reader+"s")},
		{name: "no role ARN", in: stsapi.AssumeRoleInput{RoleArn: "arn:aws:iam::111122223333:user/bob"}, code: "AccessDenied", message: denied(nil, "arn:aws:iam::111122223333:user/bob")},
		{name: "root", as: func(f *fixture) context.Context { return f.root }, code: "AccessDenied", message: "Roles may not be assumed by root accounts."},
		{name: "both accounts agree", principal: `{"AWS":"444455556666"}`, as: func(f *fixture) context.Context { return f.ann }},
		{name: "the role's account does not", as: func(f *fixture) context.Context { return f.ann }, code: "AccessDenied"},
		{name: "external id missing", condition: `{"StringEquals":{"sts:ExternalId":"x1"}}`, code: "AccessDenied"},
		{name: "external id wrong", condition: `{"StringEquals":{"sts:ExternalId":"x1"}}`, in: stsapi.AssumeRoleInput{ExternalId: new("x2")}, code: "AccessDenied"},
		{name: "external id", condition: `{"StringEquals":{"sts:ExternalId":"x1"}}`, in: stsapi.AssumeRoleInput{ExternalId: new("x1")}},
		{name: "session name", condition: `{"StringLike":{"sts:RoleSessionName":"bob-*"}}`, in: stsapi.AssumeRoleInput{RoleSessionName: "ann-1"}, code: "AccessDenied"},
		{name: "longest session", in: stsapi.AssumeRoleInput{DurationSeconds: new(int32(7200))}},
		{name: "longer", in: stsapi.AssumeRoleInput{DurationSeconds: new(int32(7201))}, code: "ValidationError", message: "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."},
		{name: "too short", in: stsapi.AssumeRoleInput{DurationSeconds: new(int32(899))}, code: "ValidationError"},
		{name: "tags need TagSession", in: stsapi.AssumeRoleInput{Tags: []stsapi.Tag{{Key: "a", Value: "1"}}}, code: "AccessDenied", message: "User: arn:aws:iam::111122223333:user/bob is not authorized to perform: sts:TagSession on resource: " + reader + " because no resource-based policy allows the sts:TagSession action"},
		{name: "tags", actions: all, in: stsapi.AssumeRoleInput{Tags: []stsapi.Tag{{Key: "a", Value: "1"}}, TransitiveTagKeys: []string{"a"}}},
		{name: "tags as asked for", actions: all, condition: `{"StringEquals":{"aws:RequestTag/a":"1"},"ForAllValues:StringEquals":{"sts:TransitiveTagKeys":["a"]}}`, in: stsapi.AssumeRoleInput{Tags: []stsapi.Tag{{Key: "a", Value: "1"}}, TransitiveTagKeys: []string{"a"}}},
		{name: "other tags", actions: all, condition: `{"StringEquals":{"aws:RequestTag/a":"1"}}`, in: stsapi.AssumeRoleInput{Tags: []stsapi.Tag{{Key: "a", Value: "2"}}}, code: "AccessDenied"},
		{name: "duplicate tags", actions: all, in: stsapi.AssumeRoleInput{Tags: []stsapi.Tag{{Key: "a"}, {Key: "A"}}}, code: "ValidationError"},
		{name: "reserved tag", actions: all, in: stsapi.AssumeRoleInput{Tags: []stsapi.Tag{{Key: "AWS:a"}}}, code: "ValidationError"},
		{name: "transitive key without tag", actions: all, in: stsapi.AssumeRoleInput{TransitiveTagKeys: []string{"a"}}, code: "ValidationError"},
		{name: "source identity needs its action", in: stsapi.AssumeRoleInput{SourceIdentity: new("bob")}, code: "AccessDenied"},
		{name: "source identity", actions: all, in: stsapi.AssumeRoleInput{SourceIdentity: new("bob")}},
		{name: "policy no JSON", in: stsapi.AssumeRoleInput{Policy: new("{")}, code: "MalformedPolicyDocument"},
		{name: "policy with principal", in: stsapi.AssumeRoleInput{Policy: new(`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}`)}, code: "MalformedPolicyDocument"},
		{name: "policy too long", in: stsapi.AssumeRoleInput{Policy: new(strings.Replace(allowAll, `"Resource":"*"`, `"Resource":"arn:aws:s3:::`+strings.Repeat("b", 2048)+`"`, 1))}, code: "PackedPolicyTooLarge"},
		{name: "managed policy not there", in: stsapi.AssumeRoleInput{PolicyArns: []stsapi.PolicyDescriptorType{{Arn: new("arn:aws:iam::111122223333:policy/none")}}}, code: "ValidationError"},
		{name: "managed policy no ARN", in: stsapi.AssumeRoleInput{PolicyArns: []stsapi.PolicyDescriptorType{{Arn: new("this is not an ARN at all")}}}, code: "ValidationError"},
		{name: "MFA", in: stsapi.AssumeRoleInput{SerialNumber: new("arn:aws:iam::111122223333:mfa/bob"), TokenCode: new("123456")}, code: "AccessDenied"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			if test.principal == "" {
				test.principal = account
			}
			if test.actions == "" {
				test.actions = assume
			}
			f.role("reader", test.principal, test.actions, test.condition)
			if test.in.RoleArn == "" {
				test.in.RoleArn = reader
			}
			ctx := f.bob
			if test.as != nil {
				ctx = test.as(f)
			}
			out, err := f.assume(ctx, &test.in)
			wantError(t, err, test.code, test.message)
			rec := f.records[len(f.records)-1]
			if rec["eventName"] != "AssumeRole" || (err != nil) != (rec["errorCode"] != nil) {
				t.Errorf("record = %s", f.text[len(f.text)-1])
			}
			if out != nil {
				f.session(out.Credentials)
			}
		})
	}
}

// TestRolesOfOthersStayHidden: whatever a stranger asks for, a role that exists
// answers as one that does not, and so does the decoded message.
func TestRolesOfOthersStayHidden(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.role("secret", `{"AWS":"`+ours+`"}`, `"sts:AssumeRole"`, "")
	must(f.bob, f, iamapi.TagRole, &iamapi.TagRoleInput{RoleName: "secret", Tags: []iamapi.Tag{{Key: "team", Value: "geo"}}})
	for name, in := range map[string]stsapi.AssumeRoleInput{
		"plain":                 {},
		"tags":                  {Tags: []stsapi.Tag{{Key: "a", Value: "1"}}, TransitiveTagKeys: []string{"a"}},
		"duplicate tags":        {Tags: []stsapi.Tag{{Key: "a"}, {Key: "A"}}},
		"reserved tag":          {Tags: []stsapi.Tag{{Key: "aws:a"}}},
		"transitive key":        {TransitiveTagKeys: []string{"a"}},
		"source identity":       {SourceIdentity: new("ann")},
		"external id":           {ExternalId: new("x1")},
		"long":                  {DurationSeconds: new(int32(43200))},
		"short":                 {DurationSeconds: new(int32(1))},
		"policy":                {Policy: new("{")},
		"managed policy":        {PolicyArns: []stsapi.PolicyDescriptorType{{Arn: new("arn:aws:iam::" + ours + ":policy/none")}}},
		"multi-factor":          {SerialNumber: new("arn:aws:iam::" + ours + ":mfa/bob"), TokenCode: new("123456")},
		"context of a provider": {ProvidedContexts: []stsapi.ProvidedContext{{}}},
	} {
		var answers [2]string
		for i, role := range []string{"secret", "absent"} {
			in.RoleArn = "arn:aws:iam::" + ours + ":role/" + role
			_, err := f.assume(f.ann, &in)
			if err == nil {
				t.Fatalf("%s: assumed %s", name, role)
			}
			answers[i] = err.Error()
			if d, ok := errors.AsType[*protocol.Denial](err); ok {
				m := jsonOf(t, f.decodedFor(f.ann, f.encode(d)))
				answers[i] += m
			}
			answers[i] = strings.ReplaceAll(answers[i], role, "ROLE")
		}
		if answers[0] != answers[1] {
			t.Errorf("%s: a role that exists answers\n%s\nand one that does not\n%s", name, answers[0], answers[1])
		}
	}
}

// TestIdentitySideAcrossAccounts: the role trusts the other account, whose
// user has no policy of its own.
func TestIdentitySideAcrossAccounts(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	arn := f.role("reader", `{"AWS":"444455556666"}`, assume, "")
	must(f.ann, f, iamapi.DeleteUserPolicy, &iamapi.DeleteUserPolicyInput{UserName: "ann", PolicyName: "all"})
	_, err := f.assume(f.ann, &stsapi.AssumeRoleInput{RoleArn: arn})
	wantError(t, err, "AccessDenied", "")
}

func TestSessionPolicyLimits(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	arn := f.role("reader", account, assume, "")
	out := f.mustAssume(f.bob, &stsapi.AssumeRoleInput{
		RoleArn: arn, Policy: new(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iam:GetRole","Resource":"*"}}`),
		PolicyArns: []stsapi.PolicyDescriptorType{{Arn: new("arn:aws:iam::aws:policy/AmazonS3FullAccess")}},
	})
	if p := out.PackedPolicySize; p == nil || *p < 1 || *p > 10 {
		t.Errorf("PackedPolicySize = %v", p)
	}
	ctx := f.session(out.Credentials)
	must(ctx, f, iamapi.GetRole, &iamapi.GetRoleInput{RoleName: "reader"})
	_, err := protocol.Call(ctx, f.r, iamapi.ListRoles, &iamapi.ListRolesInput{})
	wantError(t, err, "AccessDenied", "User: arn:aws:sts::111122223333:assumed-role/reader/s is not authorized to perform: iam:ListRoles on resource: arn:aws:iam::111122223333:role/ because no session policy allows the iam:ListRoles action")
	// Known to everybody, whatever the policies.
	must(ctx, f, stsapi.GetCallerIdentity, &stsapi.GetCallerIdentityInput{})
}

func TestRoleChaining(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	first := f.role("first", account, all, "")
	second := f.role("second", account, all, "")
	plain := f.role("plain", account, assume, "")
	out := f.mustAssume(f.bob, &stsapi.AssumeRoleInput{
		RoleArn: first, SourceIdentity: new("bob"), TransitiveTagKeys: []string{"Team"},
		Tags: []stsapi.Tag{{Key: "team", Value: "geo"}, {Key: "stage", Value: "test"}},
	})
	ctx := f.session(out.Credentials)
	for _, test := range []struct {
		name          string
		in            stsapi.AssumeRoleInput
		code, message string
	}{
		{name: "one hour", in: stsapi.AssumeRoleInput{RoleArn: second, DurationSeconds: new(int32(3600))}},
		{
			name: "more than an hour", in: stsapi.AssumeRoleInput{RoleArn: second, DurationSeconds: new(int32(3601))},
			code: "ValidationError", message: "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
		},
		{name: "same source identity", in: stsapi.AssumeRoleInput{RoleArn: second, SourceIdentity: new("bob")}},
		{name: "another source identity", in: stsapi.AssumeRoleInput{RoleArn: second, SourceIdentity: new("ann")}, code: "AccessDenied"},
		{name: "transitive tag again", in: stsapi.AssumeRoleInput{RoleArn: second, Tags: []stsapi.Tag{{Key: "TEAM", Value: "ml"}}}, code: "ValidationError"},
		{name: "own tag again", in: stsapi.AssumeRoleInput{RoleArn: second, Tags: []stsapi.Tag{{Key: "stage", Value: "prod"}}}},
		{name: "inherited tags need TagSession", in: stsapi.AssumeRoleInput{RoleArn: plain}, code: "AccessDenied"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := f.assume(ctx, &test.in)
			wantError(t, err, test.code, test.message)
		})
	}
	chained := f.mustAssume(ctx, &stsapi.AssumeRoleInput{RoleArn: second})
	if chained.SourceIdentity == nil || *chained.SourceIdentity != "bob" {
		t.Errorf("source identity of the chained session = %v", chained.SourceIdentity)
	}
	tags := identity.From(f.session(chained.Credentials)).Caller.SessionTags
	if len(tags) != 1 || tags["team"] != "geo" {
		t.Errorf("tags of the chained session = %v, want the transitive one", tags)
	}
	third := f.mustAssume(f.session(chained.Credentials), &stsapi.AssumeRoleInput{RoleArn: first})
	if tags := identity.From(f.session(third.Credentials)).Caller.SessionTags; tags["team"] != "geo" {
		t.Errorf("tags of the third session = %v", tags)
	}
}

// TestRevokedTrust: a trust policy that was changed, and a role that was made
// again, are in force at once.
func TestRevokedTrust(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	arn := f.role("reader", account, assume, "")
	f.mustAssume(f.bob, &stsapi.AssumeRoleInput{RoleArn: arn})
	must(f.root, f, iamapi.UpdateAssumeRolePolicy, &iamapi.UpdateAssumeRolePolicyInput{
		RoleName: "reader", PolicyDocument: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"444455556666"},"Action":"sts:AssumeRole"}]}`,
	})
	_, err := f.assume(f.bob, &stsapi.AssumeRoleInput{RoleArn: arn})
	wantError(t, err, "AccessDenied", "")
	must(f.root, f, iamapi.DeleteRolePolicy, &iamapi.DeleteRolePolicyInput{RoleName: "reader", PolicyName: "all"})
	must(f.root, f, iamapi.DeleteRole, &iamapi.DeleteRoleInput{RoleName: "reader"})
	_, err = f.assume(f.ann, &stsapi.AssumeRoleInput{RoleArn: arn})
	wantError(t, err, "AccessDenied", "")
}

func TestTokenSize(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	arn := f.role("reader", account, assume, "")
	for _, size := range []int32{0, 100, 2048, 4096} {
		out := f.mustAssume(f.bob, &stsapi.AssumeRoleInput{RoleArn: arn, MinimumSessionTokenSize: &size})
		if n := len(out.Credentials.SessionToken); n < int(size) || *out.SessionTokenSize != int32(n) {
			t.Errorf("token of %d characters, said to be %d, at least %d were asked for", n, *out.SessionTokenSize, size)
		}
		f.session(out.Credentials)
	}
}

func TestIdentities(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	root := must(f.root, f, stsapi.GetCallerIdentity, &stsapi.GetCallerIdentityInput{})
	if *root.Arn != "arn:aws:iam::111122223333:root" || *root.UserId != ours || *root.Account != ours {
		t.Errorf("root is %s %s %s", *root.Arn, *root.UserId, *root.Account)
	}
	must(f.root, f, iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{UserName: "bob", PolicyName: "deny", PolicyDocument: strings.Replace(allowAll, "Allow", "Deny", 1)})
	bob := must(f.bob, f, stsapi.GetCallerIdentity, &stsapi.GetCallerIdentityInput{})
	if *bob.Arn != "arn:aws:iam::111122223333:user/bob" || !strings.HasPrefix(*bob.UserId, "AIDA") {
		t.Errorf("bob is %s %s", *bob.Arn, *bob.UserId)
	}
	_, err := protocol.Call(f.bob, f.r, stsapi.GetAccessKeyInfo, &stsapi.GetAccessKeyInfoInput{AccessKeyId: identity.From(f.bob).Caller.AccessKeyID})
	wantError(t, err, "AccessDenied", "")
	info := must(f.ann, f, stsapi.GetAccessKeyInfo, &stsapi.GetAccessKeyInfoInput{AccessKeyId: identity.From(f.bob).Caller.AccessKeyID})
	if *info.Account != ours {
		t.Errorf("bob's key belongs to %s", *info.Account)
	}
	_, err = protocol.Call(f.ann, f.r, stsapi.GetAccessKeyInfo, &stsapi.GetAccessKeyInfoInput{AccessKeyId: "AKIAIOSFODNN7EXAMPLE"})
	wantError(t, err, "ValidationError", "")
}

// TestMissingRolesLookLikeOthers: the answer does not tell whether another
// account has a role of that name.
func TestMissingRolesLookLikeOthers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	must(f.root, f, iamapi.CreateRole, &iamapi.CreateRoleInput{
		RoleName:                 "there",
		AssumeRolePolicyDocument: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"sagemaker.amazonaws.com"},"Action":"sts:AssumeRole"}]}`,
	})
	texts := map[string]bool{}
	for _, name := range []string{"there", "gone!"} { // of equal length
		_, err := protocol.Call(f.ann, f.r, stsapi.AssumeRole, &stsapi.AssumeRoleInput{
			RoleArn: "arn:aws:iam::" + ours + ":role/" + name, RoleSessionName: "session",
		})
		e := schema.AsError(err)
		texts[e.Code+": "+strings.ReplaceAll(e.Message, name, "NAME")] = true
	}
	if len(texts) != 1 {
		t.Errorf("a role that is there and one that is not answer %v", texts)
	}
}
