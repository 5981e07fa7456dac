package kms

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/store"
)

// TestRevocationBites (I3): no Decrypt that starts after the answer to what took
// the right away succeeds, however many are under way.
func TestRevocationBites(t *testing.T) {
	t.Parallel()
	type world struct {
		f      *fixture
		id     string
		grant  string
		caller *identity.Caller
	}
	for _, c := range []struct {
		name      string
		take, put func(w *world) error
	}{
		{"DisableKey", func(w *world) error {
			_, err := try(w.f.admin(), w.f, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: w.id})
			return err
		}, func(w *world) error {
			_, err := try(w.f.admin(), w.f, kmsapi.EnableKey, &kmsapi.EnableKeyInput{KeyId: w.id})
			return err
		}},
		{"ScheduleKeyDeletion", func(w *world) error {
			_, err := try(w.f.admin(), w.f, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: w.id})
			return err
		}, func(w *world) error {
			if _, err := try(w.f.admin(), w.f, kmsapi.CancelKeyDeletion, &kmsapi.CancelKeyDeletionInput{KeyId: w.id}); err != nil {
				return err
			}
			_, err := try(w.f.admin(), w.f, kmsapi.EnableKey, &kmsapi.EnableKeyInput{KeyId: w.id})
			return err
		}},
		{"PutKeyPolicy", func(w *world) error {
			_, err := try(w.f.admin(), w.f, kmsapi.PutKeyPolicy, &kmsapi.PutKeyPolicyInput{KeyId: w.id, Policy: doc(to(rootARN(home), "kms:*"), not(w.caller.ARN, "kms:Decrypt"))})
			return err
		}, func(w *world) error {
			_, err := try(w.f.admin(), w.f, kmsapi.PutKeyPolicy, &kmsapi.PutKeyPolicyInput{KeyId: w.id, Policy: defaultPolicy(home)})
			return err
		}},
		{"RevokeGrant", func(w *world) error {
			_, err := try(w.f.admin(), w.f, kmsapi.RevokeGrant, &kmsapi.RevokeGrantInput{KeyId: w.id, GrantId: w.grant})
			return err
		}, func(w *world) error {
			out, err := try(w.f.admin(), w.f, kmsapi.CreateGrant, &kmsapi.CreateGrantInput{KeyId: w.id, GranteePrincipal: &w.caller.ARN, Operations: ops("Decrypt")})
			if err == nil {
				w.grant = *out.GrantId
			}
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			w := &world{f: f, id: f.key(""), caller: f.user(home, "reader", "")}
			out := f.grant(&kmsapi.CreateGrantInput{KeyId: w.id, GranteePrincipal: &w.caller.ARN, Operations: ops("Decrypt")})
			w.grant = *out.GrantId
			blob := f.encrypted(f.admin(), w.id, nil)
			var (
				wg      sync.WaitGroup
				stop    atomic.Bool
				phase   atomic.Int64 // odd from the answer until the right is given back
				late    atomic.Int64
				allowed atomic.Int64
			)
			for range 4 {
				wg.Go(func() {
					for !stop.Load() {
						before := phase.Load()
						_, err := try(f.by(w.caller), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: blob})
						switch {
						case err == nil && before%2 == 1 && phase.Load() == before:
							late.Add(1)
						case err == nil:
							allowed.Add(1)
						}
					}
				})
			}
			for range 15 {
				if err := c.take(w); err != nil {
					t.Error(err)
					break
				}
				phase.Add(1)
				for range 5 {
					if _, err := try(f.by(w.caller), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: blob}); err == nil {
						t.Error("Decrypt succeeded after the answer")
					}
				}
				phase.Add(1)
				if err := c.put(w); err != nil {
					t.Error(err)
					break
				}
				if _, err := try(f.by(w.caller), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: blob}); err != nil {
					t.Errorf("given back: %v", err)
				}
			}
			stop.Store(true)
			wg.Wait()
			if late.Load() > 0 {
				t.Errorf("%d of %d calls that began after the answer succeeded", late.Load(), late.Load()+allowed.Load())
			}
		})
	}
}

func TestIAMRevocationBites(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	alice := f.user(home, "alice", doc(allow("kms:Decrypt")))
	blob := f.encrypted(f.admin(), id, nil)
	decrypt := func() error {
		_, err := try(f.by(alice), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: blob})
		return err
	}
	wantError(t, "before", decrypt(), "", "")
	f.putUserPolicy(alice, doc(deny("kms:Decrypt")))
	wantError(t, "after", decrypt(), denied, "")
}

// Whoever chooses session names or key ids cannot fill the memory with them.
func TestCachesAreBounded(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	f.role(home, "worker", doc(allow("kms:Encrypt")))
	base := *f.session(home, "worker", "s")
	k, err := f.s.loadKey(f.Context(), region, id)
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxCachedGrantees + 50 {
		c := base
		c.ARN = fmt.Sprintf("%s%d", base.ARN, i)
		if _, err := f.s.grantsFor(f.Context(), k, &c, &call{action: "kms:Encrypt"}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(k.grants); n > maxCachedGrantees {
		t.Errorf("a key caches the grants of %d names, the limit is %d", n, maxCachedGrantees)
	}
	for range 10 {
		_, err := f.s.loadKey(f.Context(), region, newID(false))
		if !isNotFound(err) {
			t.Fatalf("an unknown key: %v", err)
		}
	}
	if n := len(f.s.cache.entries); n != 1 {
		t.Errorf("%d keys are cached, want 1", n)
	}
}

// An UpdateAlias and a policy change are one commit each: a method with two
// would leave a record twice or not at all.
func TestEveryChangeIsOneCommit(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	before := len(f.records())
	id := f.key("")
	must(f.admin(), f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/a", TargetKeyId: id})
	must(f.admin(), f, kmsapi.UpdateAlias, &kmsapi.UpdateAliasInput{AliasName: "alias/a", TargetKeyId: id})
	must(f.admin(), f, kmsapi.PutKeyPolicy, &kmsapi.PutKeyPolicyInput{KeyId: id, Policy: defaultPolicy(home)})
	g := f.grant(&kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: new(rootARN(home)), Operations: ops("Decrypt")})
	must(f.admin(), f, kmsapi.RetireGrant, &kmsapi.RetireGrantInput{GrantToken: g.GrantToken})
	must(f.admin(), f, kmsapi.DeleteAlias, &kmsapi.DeleteAliasInput{AliasName: "alias/a"})
	if n := len(f.records()) - before; n != 7 {
		t.Errorf("7 calls left %d records", n)
	}
	err := f.store.View(f.Context(), func(tx *store.Tx) error {
		_, err := aliases.Get(tx, region, home, "alias/a")
		return err
	})
	if !isNotFound(err) {
		t.Errorf("the alias: %v", err)
	}
}
