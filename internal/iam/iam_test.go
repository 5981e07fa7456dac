package iam

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/evaluator"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/sigv4"
	"github.com/sagekeep/sagekeep/internal/store"
	"github.com/sagekeep/sagekeep/internal/store/memstore"
)

const (
	testAccount  = "111122223333"
	otherAccount = "444455556666"
	allowAll     = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
	trustAccount = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"sts:AssumeRole"}]}`
)

// fixture is the service on the in-memory engine, with one account.
type fixture struct {
	t    *testing.T
	s    *Service
	r    *protocol.Registry
	root *RootCredentials

	mu      sync.Mutex
	records []map[string]any // of calls without a commit
	clock   time.Time
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, clock: time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)}
	keyring := envelope.NewMemory()
	f.s = New(Deps{Store: store.New(memstore.New(t), keyring, store.Options{}), Keyring: keyring, Now: f.now})
	f.r = protocol.NewRegistry(evaluator.New(f.s, nil), f)
	f.s.Register(f.r)
	root, err := f.s.CreateAccount(t.Context(), testAccount)
	if err != nil {
		t.Fatal(err)
	}
	f.root = root
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

// Append implements protocol.Journal.
func (f *fixture) Append(_ context.Context, entries ...[]byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range entries {
		m := map[string]any{}
		if err := json.Unmarshal(e, &m); err != nil {
			return err
		}
		f.records = append(f.records, m)
	}
	return nil
}

// as returns a context of a request by the owner of an access key.
func (f *fixture) as(keyID, token string) context.Context {
	f.t.Helper()
	c, err := f.s.Lookup(f.t.Context(), keyID, token)
	if err != nil {
		f.t.Fatalf("Lookup(%s): %v", keyID, err)
	}
	return f.by(c.Owner.(*identity.Caller))
}

func (f *fixture) by(c *identity.Caller) context.Context {
	return identity.With(f.t.Context(), &identity.Call{Caller: c, Region: "us-east-1", RequestID: "r", Time: f.now()})
}

func (f *fixture) asRoot() context.Context { return f.as(f.root.AccessKeyID, "") }

// try runs an operation.
func try[In, Out any](ctx context.Context, f *fixture, op schema.Op[In, Out], in *In) (*Out, error) {
	return protocol.Call(ctx, f.r, op, in)
}

// must is try for what has to succeed.
func must[In, Out any](ctx context.Context, f *fixture, op schema.Op[In, Out], in *In) *Out {
	f.t.Helper()
	out, err := protocol.Call(ctx, f.r, op, in)
	if err != nil {
		f.t.Fatalf("%s: %v", op.Name, err)
	}
	return out
}

// wantError checks code and text; "" means success, text "" any.
func wantError(t *testing.T, what string, err error, code, message string) {
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
	if e.Code != code || message != "" && e.Message != message {
		t.Errorf("%s: %s %q, want %s %q", what, e.Code, e.Message, code, message)
	}
}

// newUser makes a user with an access key.
func (f *fixture) newUser(name string) (*iamapi.User, *iamapi.AccessKey) {
	f.t.Helper()
	ctx := f.asRoot()
	u := must(ctx, f, iamapi.CreateUser, &iamapi.CreateUserInput{UserName: name})
	k := must(ctx, f, iamapi.CreateAccessKey, &iamapi.CreateAccessKeyInput{UserName: &name})
	return u.User, k.AccessKey
}

func (f *fixture) newRole(name string) *iamapi.Role {
	f.t.Helper()
	return must(f.asRoot(), f, iamapi.CreateRole, &iamapi.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: trustAccount}).Role
}

// session mints credentials of a role.
func (f *fixture) session(roleARN string, spec SessionSpec) *SessionCredentials {
	f.t.Helper()
	role, err := f.s.RoleByARN(f.t.Context(), roleARN)
	if err != nil {
		f.t.Fatal(err)
	}
	spec.Role = role
	if spec.Name == "" {
		spec.Name = "test"
	}
	if spec.Duration == 0 {
		spec.Duration = time.Hour
	}
	c, err := f.s.MintSession(spec)
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

// may reports whether a caller is allowed an action on everything.
func (f *fixture) may(c *identity.Caller, action, resource string) bool {
	f.t.Helper()
	d, err := evaluator.New(f.s, nil).Decide(f.by(c), &protocol.Check{Action: action, Resource: resource})
	return err == nil && d.Effect == authz.Allowed
}

func callerOf(t *testing.T, c *sigv4.Credential) *identity.Caller {
	t.Helper()
	caller, ok := c.Owner.(*identity.Caller)
	if !ok {
		t.Fatalf("the credential's owner is a %T", c.Owner)
	}
	return caller
}

// eachRecord yields every record in the journal.
func (f *fixture) eachRecord(yield func(r map[string]any, text string)) {
	f.t.Helper()
	for rec, err := range f.s.store.Journal().Scan(f.t.Context(), store.JournalScan{}) {
		if err != nil {
			f.t.Fatal(err)
		}
		m := map[string]any{}
		if err := json.Unmarshal(rec.Data, &m); err != nil {
			f.t.Fatal(err)
		}
		yield(m, string(rec.Data))
	}
}
