package iam

import (
	"testing"
	"time"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/store"
)

func TestLastUsed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := f.asRoot()
	must(ctx, f, iamapi.CreateUser, &iamapi.CreateUserInput{UserName: "bob"})
	k := must(ctx, f, iamapi.CreateAccessKey, &iamapi.CreateAccessKeyInput{UserName: new("bob")}).AccessKey
	role := must(ctx, f, iamapi.CreateRole, &iamapi.CreateRoleInput{RoleName: "worker", AssumeRolePolicyDocument: trustAccount}).Role
	owner, err := f.s.Lookup(t.Context(), k.AccessKeyId, "")
	if err != nil {
		t.Fatal(err)
	}
	session := &identity.Caller{Type: identity.AssumedRole, Account: testAccount, RoleID: role.RoleId, AccessKeyID: "ASIAX", IssuedAt: f.now()}

	used := func() *iamapi.AccessKeyLastUsed {
		return must(ctx, f, iamapi.GetAccessKeyLastUsed, &iamapi.GetAccessKeyLastUsedInput{AccessKeyId: k.AccessKeyId}).AccessKeyLastUsed
	}
	if u := used(); u.LastUsedDate != nil || u.ServiceName != "N/A" || u.Region != "N/A" {
		t.Errorf("before any use: %+v", u)
	}
	check := func(when string, at time.Time, service string) {
		t.Helper()
		u := used()
		if u.LastUsedDate == nil || !u.LastUsedDate.Equal(at) || u.ServiceName != service || u.Region != "eu-central-1" {
			t.Errorf("%s: %+v, want %s at %s", when, u, service, at)
		}
	}
	first := f.now()
	f.s.Used(owner.Owner.(*identity.Caller), "kms", "eu-central-1", first)
	check("in memory", first, "kms")
	if err := f.s.FlushUses(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(f.s.uses.snapshot()); n != 0 {
		t.Errorf("%d uses stay in memory after the flush", n)
	}
	check("in a row", first, "kms")
	second := first.Add(time.Hour)
	f.s.Used(owner.Owner.(*identity.Caller), "s3", "eu-central-1", second)
	check("used again", second, "s3")

	if u := must(ctx, f, iamapi.GetRole, &iamapi.GetRoleInput{RoleName: "worker"}).Role.RoleLastUsed; u == nil || u.LastUsedDate != nil {
		t.Errorf("role never used: %+v", u)
	}
	f.s.Used(session, "kms", "us-west-2", second)
	if err := f.s.FlushUses(t.Context()); err != nil {
		t.Fatal(err)
	}
	if u := must(ctx, f, iamapi.GetRole, &iamapi.GetRoleInput{RoleName: "worker"}).Role.RoleLastUsed; u == nil || u.LastUsedDate == nil || !u.LastUsedDate.Equal(second) || *u.Region != "us-west-2" {
		t.Errorf("role used: %+v", u)
	}

	// What is deleted leaves no row, even when its last use was still in memory.
	f.s.Used(session, "kms", "us-west-2", second.Add(time.Minute))
	must(ctx, f, iamapi.DeleteRole, &iamapi.DeleteRoleInput{RoleName: "worker"})
	must(ctx, f, iamapi.DeleteAccessKey, &iamapi.DeleteAccessKeyInput{UserName: new("bob"), AccessKeyId: k.AccessKeyId})
	if err := f.s.FlushUses(t.Context()); err != nil {
		t.Fatal(err)
	}
	rows := 0
	err = f.s.view(t.Context(), func(tx *store.Tx) error {
		for _, err := range f.s.used.Scan(tx, nil, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			rows++
		}
		return nil
	})
	if err != nil || rows != 0 {
		t.Errorf("%d rows are left (%v)", rows, err)
	}
}

// TestLastUsedOfTemporaryKeys: credentials of GetSessionToken and the like say
// nothing of the long-term key that they were made with.
func TestLastUsedOfTemporaryKeys(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.s.Used(&identity.Caller{Type: identity.User, Account: testAccount, AccessKeyID: "ASIAX", IssuedAt: f.now()}, "kms", "us-west-2", f.now())
	if n := len(f.s.uses.snapshot()); n != 0 {
		t.Errorf("%d uses were noted", n)
	}
}
