package iam

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/sigv4"
	"github.com/sagekeep/sagekeep/internal/store"
)

func TestCreateAccount(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, test := range []struct {
		name, id string
		want     error
	}{
		{"short", "1234", ErrInvalidAccount},
		{"letters", "12345678901a", ErrInvalidAccount},
		{"geospatial service", "378778860802", ErrReservedAccount},
		{"labeling", "394669845002", ErrReservedAccount},
		{"leading zero, reserved", "027400017018", ErrReservedAccount},
		{"exists", testAccount, ErrAccountExists},
		{"another", otherAccount, nil},
		{"leading zeros", "000000000001", nil},
	} {
		_, err := f.s.CreateAccount(t.Context(), test.id)
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
	ids, err := f.s.Accounts(t.Context())
	if err != nil || fmt.Sprint(ids) != "[000000000001 111122223333 444455556666]" {
		t.Errorf("Accounts = %v, %v", ids, err)
	}
	if len(f.root.AccessKeyID) != 20 || !strings.HasPrefix(f.root.AccessKeyID, "AKIA") || len(f.root.SecretAccessKey) != 40 {
		t.Errorf("root credentials have a wrong form: %q, secret of %d", f.root.AccessKeyID, len(f.root.SecretAccessKey))
	}
	if s := fmt.Sprintf("%v %+v %s", f.root, *f.root, f.root); strings.Contains(s, f.root.SecretAccessKey) {
		t.Error("root credentials print their secret")
	}
}

func TestLookupLongTermKey(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	root := callerOf(t, lookup(t, f, f.root.AccessKeyID, "", nil))
	if root.Type != identity.Root || root.ARN != "arn:aws:iam::111122223333:root" || root.PrincipalID != testAccount {
		t.Errorf("root caller = %+v", root)
	}
	u, k := f.newUser("bob")
	c := lookup(t, f, k.AccessKeyId, "", nil)
	bob := callerOf(t, c)
	if c.Secret != k.SecretAccessKey || bob.Type != identity.User || bob.ARN != u.Arn || bob.PrincipalID != u.UserId || bob.UserName != "bob" {
		t.Errorf("user caller = %+v", bob)
	}
	lookup(t, f, "AKIAIOSFODNN7EXAMPLE", "", sigv4.ErrUnknownKey)
	lookup(t, f, "ASIAIOSFODNN7EXAMPLE", "", sigv4.ErrUnknownKey)
	lookup(t, f, k.AccessKeyId, "token", sigv4.ErrTokenInvalid)

	must(f.asRoot(), f, iamapi.UpdateAccessKey, &iamapi.UpdateAccessKeyInput{UserName: new("bob"), AccessKeyId: k.AccessKeyId, Status: "Inactive"})
	lookup(t, f, k.AccessKeyId, "", sigv4.ErrInactive)
	must(f.asRoot(), f, iamapi.UpdateAccessKey, &iamapi.UpdateAccessKeyInput{UserName: new("bob"), AccessKeyId: k.AccessKeyId, Status: "Active"})
	lookup(t, f, k.AccessKeyId, "", nil)
	must(f.asRoot(), f, iamapi.DeleteAccessKey, &iamapi.DeleteAccessKeyInput{UserName: new("bob"), AccessKeyId: k.AccessKeyId})
	lookup(t, f, k.AccessKeyId, "", sigv4.ErrUnknownKey)
}

func lookup(t *testing.T, f *fixture, id, token string, want error) *sigv4.Credential {
	t.Helper()
	c, err := f.s.Lookup(t.Context(), id, token)
	if !errors.Is(err, want) || want == nil && err != nil {
		t.Fatalf("Lookup(%s) = %v, want %v", id, err, want)
	}
	return c
}

func TestLookupSession(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	role := f.newRole("reader")
	must(f.asRoot(), f, iamapi.TagRole, &iamapi.TagRoleInput{RoleName: "reader", Tags: []iamapi.Tag{{Key: "team", Value: "geo"}, {Key: "Stage", Value: "prod"}}})
	c := f.session(role.Arn, SessionSpec{Tags: map[string]string{"stage": "test"}})
	caller := callerOf(t, lookup(t, f, c.AccessKeyID, c.SessionToken, nil))
	if caller.Type != identity.AssumedRole || caller.ARN != "arn:aws:sts::111122223333:assumed-role/reader/test" ||
		caller.PrincipalID != role.RoleId+":test" || caller.RoleARN != role.Arn || !caller.IssuedAt.Equal(f.now()) {
		t.Errorf("session caller = %+v", caller)
	}
	if got := fmt.Sprint(caller.SessionTags); got != "map[stage:test team:geo]" {
		t.Errorf("tags of the session = %s", got)
	}
	other := f.session(role.Arn, SessionSpec{})
	lookup(t, f, other.AccessKeyID, c.SessionToken, sigv4.ErrTokenInvalid)
	lookup(t, f, c.AccessKeyID, "", sigv4.ErrUnknownKey)
	lookup(t, f, f.root.AccessKeyID, c.SessionToken, sigv4.ErrTokenInvalid)

	for i := 0; i < len(c.SessionToken); i += 7 {
		b := []byte(c.SessionToken)
		b[i] ^= 1
		if _, err := f.s.Lookup(t.Context(), c.AccessKeyID, string(b)); !errors.Is(err, sigv4.ErrTokenInvalid) {
			t.Fatalf("token with byte %d changed: %v", i, err)
		}
	}
	foreign, err := f.s.keyring.SealToken(envelope.PageToken, envelope.Token{Account: testAccount, Payload: []byte(`{}`)})
	if err != nil {
		t.Fatal(err)
	}
	lookup(t, f, c.AccessKeyID, foreign, sigv4.ErrTokenInvalid)

	f.pass(time.Hour - time.Second)
	lookup(t, f, c.AccessKeyID, c.SessionToken, nil)
	f.pass(time.Second)
	lookup(t, f, c.AccessKeyID, c.SessionToken, sigv4.ErrTokenExpired)
	f.s.tokenCache = newCache[tokenID](8, 1<<20, (*tokenEntry).size)
	lookup(t, f, c.AccessKeyID, c.SessionToken, sigv4.ErrTokenExpired)
}

func TestSessionEndsWithItsRole(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	role := f.newRole("reader")
	must(f.asRoot(), f, iamapi.PutRolePolicy, &iamapi.PutRolePolicyInput{RoleName: "reader", PolicyName: "all", PolicyDocument: allowAll})
	c := f.session(role.Arn, SessionSpec{})
	caller := callerOf(t, lookup(t, f, c.AccessKeyID, c.SessionToken, nil))
	if !f.may(caller, "kms:ListKeys", "*") {
		t.Fatal("the session may not do what its role may")
	}
	must(f.asRoot(), f, iamapi.DeleteRolePolicy, &iamapi.DeleteRolePolicyInput{RoleName: "reader", PolicyName: "all"})
	must(f.asRoot(), f, iamapi.DeleteRole, &iamapi.DeleteRoleInput{RoleName: "reader"})
	lookup(t, f, c.AccessKeyID, c.SessionToken, sigv4.ErrTokenInvalid)
	if _, err := f.s.PoliciesOf(t.Context(), caller); !errors.Is(err, ErrPrincipalGone) {
		t.Errorf("PoliciesOf a session without its role: %v", err)
	}

	again := f.newRole("reader")
	must(f.asRoot(), f, iamapi.PutRolePolicy, &iamapi.PutRolePolicyInput{RoleName: "reader", PolicyName: "all", PolicyDocument: allowAll})
	if again.RoleId == role.RoleId {
		t.Fatal("a new role has the old id")
	}
	lookup(t, f, c.AccessKeyID, c.SessionToken, sigv4.ErrTokenInvalid)
	if _, err := f.s.PoliciesOf(t.Context(), caller); !errors.Is(err, ErrPrincipalGone) {
		t.Errorf("PoliciesOf a session of the role's namesake: %v", err)
	}
	wantError(t, "call by the old session", func() error {
		_, err := try(f.by(caller), f, iamapi.ListUsers, &iamapi.ListUsersInput{})
		return err
	}(), "AccessDenied", "")
}

// TestRevocationBites: what was taken away is gone when the answer is there.
func TestRevocationBites(t *testing.T) {
	t.Parallel()
	const action = "kms:ListKeys"
	managed := "arn:aws:iam::111122223333:policy/all"
	for _, test := range []struct {
		name        string
		give, taken func(f *fixture)
	}{
		{"DetachUserPolicy", func(f *fixture) {
			must(f.asRoot(), f, iamapi.AttachUserPolicy, &iamapi.AttachUserPolicyInput{UserName: "bob", PolicyArn: managed})
		}, func(f *fixture) {
			must(f.asRoot(), f, iamapi.DetachUserPolicy, &iamapi.DetachUserPolicyInput{UserName: "bob", PolicyArn: managed})
		}},
		{"DeleteUserPolicy", func(f *fixture) {
			must(f.asRoot(), f, iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{UserName: "bob", PolicyName: "p", PolicyDocument: allowAll})
		}, func(f *fixture) {
			must(f.asRoot(), f, iamapi.DeleteUserPolicy, &iamapi.DeleteUserPolicyInput{UserName: "bob", PolicyName: "p"})
		}},
		{"PutUserPermissionsBoundary", func(f *fixture) {
			must(f.asRoot(), f, iamapi.AttachUserPolicy, &iamapi.AttachUserPolicyInput{UserName: "bob", PolicyArn: managed})
		}, func(f *fixture) {
			must(f.asRoot(), f, iamapi.PutUserPermissionsBoundary, &iamapi.PutUserPermissionsBoundaryInput{
				UserName: "bob", PermissionsBoundary: "arn:aws:iam::aws:policy/AmazonS3FullAccess",
			})
		}},
		{"SetDefaultPolicyVersion", func(f *fixture) {
			must(f.asRoot(), f, iamapi.AttachUserPolicy, &iamapi.AttachUserPolicyInput{UserName: "bob", PolicyArn: managed})
		}, func(f *fixture) {
			must(f.asRoot(), f, iamapi.CreatePolicyVersion, &iamapi.CreatePolicyVersionInput{
				PolicyArn: managed, SetAsDefault: new(true),
				PolicyDocument: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`,
			})
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			must(f.asRoot(), f, iamapi.CreatePolicy, &iamapi.CreatePolicyInput{PolicyName: "all", PolicyDocument: allowAll})
			_, k := f.newUser("bob")
			bob := callerOf(t, lookup(t, f, k.AccessKeyId, "", nil))
			if f.may(bob, action, "*") {
				t.Fatal("allowed without a policy")
			}
			test.give(f)
			for range 2 { // from the rows, then from the cache
				if !f.may(bob, action, "*") {
					t.Fatal("not allowed with the policy")
				}
			}
			test.taken(f)
			if f.may(bob, action, "*") {
				t.Error("still allowed after it was taken away")
			}
		})
	}
}

func TestSessionPolicies(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	role := f.newRole("reader")
	must(f.asRoot(), f, iamapi.AttachRolePolicy, &iamapi.AttachRolePolicyInput{RoleName: "reader", PolicyArn: "arn:aws:iam::aws:policy/AdministratorAccess"})
	p := must(f.asRoot(), f, iamapi.CreatePolicy, &iamapi.CreatePolicyInput{PolicyName: "keys", PolicyDocument: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kms:*","Resource":"*"}}`})
	c := f.session(role.Arn, SessionSpec{Policies: []string{
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:ListBucket","Resource":"*"}}`, *p.Policy.Arn,
	}})
	caller := callerOf(t, lookup(t, f, c.AccessKeyID, c.SessionToken, nil))
	for action, want := range map[string]bool{"s3:ListBucket": true, "kms:ListKeys": true, "iam:ListUsers": false} {
		if got := f.may(caller, action, "*"); got != want {
			t.Errorf("%s under session policies: %t, want %t", action, got, want)
		}
	}
	must(f.asRoot(), f, iamapi.DeletePolicy, &iamapi.DeletePolicyInput{PolicyArn: *p.Policy.Arn})
	if f.may(caller, "s3:ListBucket", "*") {
		t.Error("allowed although a managed session policy is gone")
	}
}

// TestConcurrentRevocation: after a detach is answered nobody sees the old
// policies, however many ask meanwhile.
func TestConcurrentRevocation(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, k := f.newUser("bob")
	bob := callerOf(t, lookup(t, f, k.AccessKeyId, "", nil))
	admin := "arn:aws:iam::aws:policy/AdministratorAccess"
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := f.s.PoliciesOf(t.Context(), bob); err != nil {
					t.Errorf("PoliciesOf: %v", err)
					return
				}
				if _, err := f.s.Lookup(t.Context(), k.AccessKeyId, ""); err != nil {
					t.Errorf("Lookup: %v", err)
					return
				}
			}
		})
	}
	for range 25 {
		must(f.asRoot(), f, iamapi.AttachUserPolicy, &iamapi.AttachUserPolicyInput{UserName: "bob", PolicyArn: admin})
		if !f.may(bob, "kms:ListKeys", "*") {
			t.Error("not allowed after AttachUserPolicy")
		}
		must(f.asRoot(), f, iamapi.DetachUserPolicy, &iamapi.DetachUserPolicyInput{UserName: "bob", PolicyArn: admin})
		if f.may(bob, "kms:ListKeys", "*") {
			t.Error("allowed after DetachUserPolicy")
		}
	}
	close(stop)
	readers.Wait()
}

func TestAccessKeyIDNamesItsAccount(t *testing.T) {
	t.Parallel()
	for _, account := range []string{testAccount, "000000000001", "999999999999"} {
		for _, prefix := range []string{longTermPrefix, temporaryPrefix} {
			id, err := newAccessKeyID(prefix, account)
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := AccountOfAccessKey(id); !ok || got != account {
				t.Errorf("AccountOfAccessKey(%s) = %q, %t, want %q", id, got, ok, account)
			}
		}
	}
	for _, id := range []string{"", "AKIA", "AKIAIOSFODNN7EXAMPLE", "AIDAQ3EGSIYOWXYZ2345", "ASIA????????????????"} {
		if got, ok := AccountOfAccessKey(id); ok {
			t.Errorf("AccountOfAccessKey(%q) = %q", id, got)
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	c := newCache[int](16, 1<<20, func(int) int { return 1 })
	for i := range 1000 {
		c.put(i, i)
		if got, ok := c.get(i); !ok || got != i {
			t.Fatalf("get(%d) = %d, %t", i, got, ok)
		}
	}
	if len(c.m) > 16 {
		t.Errorf("the cache holds %d entries, at most 16 are allowed", len(c.m))
	}
	// Of what takes much it holds less, and of what takes too much nothing.
	c = newCache[int](1000, 800, func(n int) int { return n })
	for i := range 2000 {
		c.put(i%77, i%120)
		held := 0
		for _, n := range c.m {
			held += n
		}
		if held != c.held || held > 800 {
			t.Fatalf("the cache holds %d bytes and counts %d, at most 800 are allowed", held, c.held)
		}
		if got, ok := c.get(i % 77); ok != (i%120 <= 100) || ok && got != i%120 {
			t.Fatalf("get(%d) = %d, %t", i%77, got, ok)
		}
	}
}

func FuzzLookupSession(f *testing.F) {
	fx := newSeedFixture(f)
	f.Add(fx.id, fx.token)
	f.Add(fx.id, fx.token[:len(fx.token)-1])
	f.Add(fx.id, "")
	f.Fuzz(func(t *testing.T, id, token string) {
		if len(token) > 1<<16 {
			return
		}
		c, err := fx.s.Lookup(t.Context(), id, token)
		if err == nil && (id != fx.id || token != fx.token) {
			t.Fatalf("%q with %q gives %v", id, token, c)
		}
	})
}

// TestUnknownAccountsTakeNoMemory: a role ARN is a caller's text; what it names
// must not stay in memory. Not parallel: it looks at the heap.
func TestUnknownAccountsTakeNoMemory(t *testing.T) {
	f := newFixture(t)
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	const accounts = 50_000
	for i := range accounts {
		_, err := f.s.RoleByARN(t.Context(), fmt.Sprintf("arn:aws:iam::%012d:role/r", i))
		if !errors.Is(err, ErrNoSuchRole) {
			t.Fatal(err)
		}
	}
	if grown := heap() - before; grown > 4<<20 {
		t.Errorf("%d unknown accounts hold %d bytes", accounts, grown)
	}
	runtime.KeepAlive(f)
}

// TestLookupsInTransaction: what a transaction sees of its own changes is not
// kept for others, who may never see it.
func TestLookupsInTransaction(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const arn = "arn:aws:iam::" + testAccount + ":role/r"
	undone := errors.New("undone")
	err := f.s.store.Update(f.asRoot(), func(tx *store.Tx) error {
		ctx := tx.Context(f.asRoot())
		must(ctx, f, iamapi.CreateRole, &iamapi.CreateRoleInput{RoleName: "r", AssumeRolePolicyDocument: trustAccount})
		if _, err := f.s.RoleByARN(ctx, arn); err != nil {
			t.Errorf("in the transaction: %v", err)
		}
		return undone
	})
	if !errors.Is(err, undone) {
		t.Fatal(err)
	}
	if role, err := f.s.RoleByARN(t.Context(), arn); !errors.Is(err, ErrNoSuchRole) {
		t.Errorf("after it was undone: %v, %v", role, err)
	}
}
