package kms

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/evaluator"
	"github.com/sagekeep/sagekeep/internal/iam"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/protocol/wire"
	"github.com/sagekeep/sagekeep/internal/store"
	"github.com/sagekeep/sagekeep/internal/store/memstore"
)

const (
	home      = "111122223333"
	abroad    = "444455556666"
	region    = "us-west-2"
	elsewhere = "eu-central-1"
)

// fixture is KMS with IAM on the in-memory engine, two accounts and a clock.
type fixture struct {
	testing.TB
	s      *Service
	iam    *iam.Service
	r      *protocol.Registry
	store  *store.Store
	epochs *envelope.Epochs

	mu    sync.Mutex
	clock time.Time
	ids   atomic.Int64
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{TB: t, clock: time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)}
	keyring := envelope.NewMemory()
	f.epochs = envelope.NewMemoryEpochs()
	f.store = store.New(memstore.New(t), keyring, store.Options{})
	f.iam = iam.New(iam.Deps{Store: f.store, Keyring: keyring, Now: f.now})
	f.start(Config{Store: f.store, Keyring: keyring, Epochs: f.epochs, Principals: f.iam, Now: f.now})
	for _, id := range []string{home, abroad} {
		if _, err := f.iam.CreateAccount(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// start wires a new service to the rows.
func (f *fixture) start(c Config) {
	f.r = protocol.NewRegistry(evaluator.New(f.iam, nil), f.store.Journal())
	f.r.NewID = func() string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", f.ids.Add(1)) }
	c.Authorizer = f.r
	f.s = New(c)
	f.iam.Register(f.r)
	f.s.Register(f.r)
	f.r.Finish()
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

// by returns the context of a request by a caller.
func (f *fixture) by(c *identity.Caller) context.Context { return f.in(region, c) }

func (f *fixture) in(region string, c *identity.Caller) context.Context {
	return identity.With(context.Background(), &identity.Call{
		Caller: c, Region: region, RequestID: "11111111-2222-4333-8444-555555555555", SourceIP: "203.0.113.7",
		UserAgent: "aws-cli/2", Host: "127.0.0.1:4566", Time: f.now(),
	})
}

func root(account string) *identity.Caller {
	return &identity.Caller{Type: identity.Root, Account: account, ARN: rootARN(account), PrincipalID: account, AccessKeyID: "AKIAROOTROOTROOTROOT"}
}

// admin is the context of the home account's root.
func (f *fixture) admin() context.Context { return f.by(root(home)) }

// try calls an operation as the pipeline does, constraints included.
func try[In, Out any](ctx context.Context, f *fixture, op schema.Op[In, Out], in *In) (*Out, error) {
	if op.Input != nil {
		if v := wire.Validate(op.Input, in); v != nil && v.Count() > 0 {
			return nil, v.AsError(op.Service.Protocol)
		}
	}
	return protocol.Call(ctx, f.r, op, in)
}

func must[In, Out any](ctx context.Context, f *fixture, op schema.Op[In, Out], in *In) *Out {
	f.Helper()
	out, err := try(ctx, f, op, in)
	if err != nil {
		f.Fatalf("%s by %s: %v", op.Name, identity.From(ctx).Caller.ARN, err)
	}
	return out
}

// wantError checks code and text; code "" means success, text "" any, and a text
// that ends in * is a prefix.
func wantError(t testing.TB, what string, err error, code, message string) {
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
	prefix, open := strings.CutSuffix(message, "*")
	switch {
	case e.Code != code:
		t.Errorf("%s: %s %q, want %s", what, e.Code, e.Message, code)
	case open && !strings.HasPrefix(e.Message, prefix), !open && message != "" && e.Message != message:
		t.Errorf("%s: message %q, want %q", what, e.Message, message)
	}
}

// key makes a symmetric key of the home account and returns its id.
func (f *fixture) key(policy string) string {
	f.Helper()
	return f.keyOf(f.admin(), policy)
}

func (f *fixture) keyOf(ctx context.Context, policy string) string {
	f.Helper()
	in := &kmsapi.CreateKeyInput{BypassPolicyLockoutSafetyCheck: new(true)}
	if policy != "" {
		in.Policy = &policy
	}
	return must(ctx, f, kmsapi.CreateKey, in).KeyMetadata.KeyId
}

func arnOf(id string) string { return keyARN(region, home, id) }

// user makes an IAM user with an inline policy, none when "".
func (f *fixture) user(account, name, policy string) *identity.Caller {
	f.Helper()
	ctx := f.by(root(account))
	must(ctx, f, iamapi.CreateUser, &iamapi.CreateUserInput{UserName: name})
	if policy != "" {
		must(ctx, f, iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{UserName: name, PolicyName: "p", PolicyDocument: policy})
	}
	key := must(ctx, f, iamapi.CreateAccessKey, &iamapi.CreateAccessKeyInput{UserName: &name}).AccessKey
	return f.lookup(key.AccessKeyId, "")
}

func (f *fixture) lookup(id, token string) *identity.Caller {
	f.Helper()
	c, err := f.iam.Lookup(f.Context(), id, token)
	if err != nil {
		f.Fatalf("Lookup(%s): %v", id, err)
	}
	caller, ok := c.Owner.(*identity.Caller)
	if !ok {
		f.Fatalf("the owner of %s is a %T", id, c.Owner)
	}
	return caller
}

// role makes a role with an inline policy and returns a session of it.
func (f *fixture) role(account, name, policy string) *identity.Caller {
	f.Helper()
	ctx := f.by(root(account))
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + account + `"},"Action":"sts:AssumeRole"}]}`
	must(ctx, f, iamapi.CreateRole, &iamapi.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: trust})
	if policy != "" {
		must(ctx, f, iamapi.PutRolePolicy, &iamapi.PutRolePolicyInput{RoleName: name, PolicyName: "p", PolicyDocument: policy})
	}
	return f.session(account, name, "session")
}

func (f *fixture) session(account, name, session string, policies ...string) *identity.Caller {
	f.Helper()
	role, err := f.iam.RoleByARN(f.Context(), "arn:aws:iam::"+account+":role/"+name)
	if err != nil {
		f.Fatal(err)
	}
	c, err := f.iam.MintSession(iam.SessionSpec{Role: role, Name: session, Duration: time.Hour, Policies: policies})
	if err != nil {
		f.Fatal(err)
	}
	return f.lookup(c.AccessKeyID, c.SessionToken)
}

// service is a service principal that acts for a resource of an account.
func service(account, grantID string) *identity.Caller {
	return &identity.Caller{
		Type: identity.Service, ServiceName: "sagemaker-geospatial." + region + ".amazonaws.com",
		SourceAccount: account, SourceARN: "arn:aws:sagemaker-geospatial:" + region + ":" + account + ":earth-observation-job/j1", GrantID: grantID,
	}
}

// doc is a policy of statements; each is effect, principal, action and more JSON.
func doc(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

// allow is an identity statement on every resource.
func allow(actions string, more ...string) string {
	return `{"Effect":"Allow","Action":[` + quoted(actions) + `],"Resource":"*"` + join(more) + `}`
}

func deny(actions string, more ...string) string {
	return `{"Effect":"Deny","Action":[` + quoted(actions) + `],"Resource":"*"` + join(more) + `}`
}

// to is a key policy statement for an AWS principal.
func to(principal, actions string, more ...string) string {
	return `{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":[` + quoted(actions) + `],"Resource":"*"` + join(more) + `}`
}

func not(principal, actions string, more ...string) string {
	return strings.Replace(to(principal, actions, more...), `"Allow"`, `"Deny"`, 1)
}

func when(operator, key, value string) string {
	return `"Condition":{"` + operator + `":{"` + key + `":"` + value + `"}}`
}

func quoted(list string) string {
	return `"` + strings.Join(strings.Fields(list), `","`) + `"`
}

func join(more []string) string {
	if len(more) == 0 {
		return ""
	}
	return "," + strings.Join(more, ",")
}

// encrypted returns a ciphertext under the key.
func (f *fixture) encrypted(ctx context.Context, key string, ec map[string]string) []byte {
	f.Helper()
	return must(ctx, f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: key, Plaintext: []byte("a secret of the customer"), EncryptionContext: ec}).CiphertextBlob
}

// records returns every record in the journal, oldest first.
func (f *fixture) records() [][]byte {
	f.Helper()
	var out [][]byte
	for rec, err := range f.store.Journal().Scan(f.Context(), store.JournalScan{}) {
		if err != nil {
			f.Fatal(err)
		}
		out = append(out, bytes.Clone(rec.Data))
	}
	return out
}

// last returns the last record of an event.
func (f *fixture) last(event string) map[string]any {
	f.Helper()
	all := f.records()
	for i := len(all) - 1; i >= 0; i-- {
		m := map[string]any{}
		if err := json.Unmarshal(all[i], &m); err != nil {
			f.Fatal(err)
		}
		if m["eventName"] == event {
			return m
		}
	}
	f.Fatalf("no record of %s", event)
	return nil
}

// plant changes a key's row behind the API's back.
func (f *fixture) plant(id string, fn func(*keyRow)) {
	f.Helper()
	err := f.store.Update(f.Context(), func(tx *store.Tx) error {
		k, err := keys.Get(tx, region, id)
		if err != nil {
			return err
		}
		fn(&k)
		tx.Bump(epoch(region, id))
		return keys.Put(tx, k, region, id)
	})
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) row(id string) keyRow {
	f.Helper()
	return f.rowIn(region, id)
}

func (f *fixture) rowIn(region, id string) (k keyRow) {
	f.Helper()
	err := f.store.View(f.Context(), func(tx *store.Tx) (err error) {
		k, err = keys.Get(tx, region, id)
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
	return k
}

func (f *fixture) putUserPolicy(c *identity.Caller, policy string) {
	f.Helper()
	must(f.by(root(c.Account)), f, iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{UserName: c.UserName, PolicyName: "p", PolicyDocument: policy})
}

func containsAll(text string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(text, p) {
			return false
		}
	}
	return true
}
