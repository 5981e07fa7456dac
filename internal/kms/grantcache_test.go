package kms

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/store"
)

// TestConstraintBounds: names of a grant's encryption context are bounded as
// values are.
func TestConstraintBounds(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	for _, c := range []struct {
		name       string
		key, value int
		pairs      int
		code, text string
	}{
		{"the longest", maxConstraintValue, maxConstraintValue, maxConstraintPairs, "", ""},
		{"a longer name", maxConstraintValue + 1, 1, 1, "ValidationException", "Names of encryption context constraints may have up to 384 characters."},
		{"a longer value", 1, maxConstraintValue + 1, 1, "ValidationException", "Values of encryption context constraints may have up to 384 characters."},
		{"one pair more", 1, 1, maxConstraintPairs + 1, "ValidationException", "A grant constraint may have up to 8 encryption context pairs."},
	} {
		ec := map[string]string{}
		for i := range c.pairs {
			ec[string(rune('a'+i))+strings.Repeat("ß", c.key-1)] = strings.Repeat("ß", c.value)
		}
		for _, k := range []*kmsapi.GrantConstraints{{EncryptionContextEquals: ec}, {EncryptionContextSubset: ec}} {
			_, err := try(f.admin(), f, kmsapi.CreateGrant, &kmsapi.CreateGrantInput{
				KeyId: id, GranteePrincipal: new(rootARN(home)), Operations: ops("Decrypt"), Constraints: k,
			})
			wantError(t, c.name, err, c.code, c.text)
		}
	}
}

// plantGrants puts grants behind the API's back, of n bytes each.
func (f *fixture) plantGrants(id string, count, n int, who *identity.Caller) (last string) {
	f.Helper()
	f.plant(id, func(k *keyRow) { k.GrantCount += count })
	for i := range count {
		g := grantRow{
			ID: newHexID(), KeyID: id, Region: region, Account: home, Grantee: who.ARN, GranteeID: who.PrincipalID, Issuer: home, Operations: ops("Decrypt CreateGrant"),
			Subset: map[string]string{"plot": fmt.Sprint(i), "x": strings.Repeat("x", n)}, Created: f.s.timestamp(),
		}
		if err := f.store.Update(f.Context(), func(tx *store.Tx) error { return grants.Put(tx, g, g.Region, g.KeyID, g.ID) }); err != nil {
			f.Fatal(err)
		}
		last = g.ID
	}
	return last
}

// grantsHeld is what the cached keys' grants take, said and added up.
func (f *fixture) grantsHeld() (said, added int) {
	f.s.cache.mu.RLock()
	defer f.s.cache.mu.RUnlock()
	for _, k := range f.s.cache.entries {
		k.mu.Lock()
		added += k.charged
		k.mu.Unlock()
	}
	return f.s.cache.granted, added
}

// TestGrantCacheIsBounded: what grants take in memory is counted. Those that take
// too much work, and end, like others.
func TestGrantCacheIsBounded(t *testing.T) {
	t.Parallel()
	const each = 2000
	f := newFixture(t)
	f.s.room = grantRoom{list: 40 * each, key: 60 * each, all: 100 * each}
	alice, bob := f.user(home, "alice", ""), f.user(home, "bob", "")
	context := func(i int) map[string]string {
		return map[string]string{"plot": fmt.Sprint(i), "x": strings.Repeat("x", each), "y": "z"}
	}
	decrypt := func(who *identity.Caller, id string, i int) error {
		sealed := f.encrypted(f.admin(), id, context(i))
		return second(try(f.by(who), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: sealed, EncryptionContext: context(i)}))
	}
	state := func(id string) *cachedKey {
		k, err := f.s.loadKey(f.Context(), region, id)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	id := f.key("")
	last := f.plantGrants(id, 100, each, alice)
	f.plantGrants(id, 20, each, bob)
	for range 2 {
		wantError(t, "the first", decrypt(alice, id, 0), "", "")
		wantError(t, "the last", decrypt(alice, id, 99), "", "")
		wantError(t, "none", decrypt(alice, id, 100), denied, "")
		wantError(t, "of a short list", decrypt(bob, id, 19), "", "")
		wantError(t, "none of a short list", decrypt(bob, id, 20), denied, "")
	}
	x := state(id).large[alice.ARN]
	if x == nil || x.ids == nil || x.size() > 100*(grantBytes+markBytes)+nearMisses*(each+grantBytes+pairsBytes) {
		t.Errorf("the index of grants that take too much: %+v", x)
	}
	if n := len(state(id).large); n != 1 {
		t.Errorf("the grants to one user are in %d indexes", n)
	}
	must(f.admin(), f, kmsapi.RevokeGrant, &kmsapi.RevokeGrantInput{KeyId: id, GrantId: last})
	wantError(t, "the revoked one", decrypt(alice, id, 99), denied, "")
	wantError(t, "another", decrypt(alice, id, 98), "", "")
	_, err := try(f.by(alice), f, kmsapi.CreateGrant, &kmsapi.CreateGrantInput{
		KeyId: id, GranteePrincipal: &bob.ARN, Operations: ops("Decrypt"), Constraints: &kmsapi.GrantConstraints{EncryptionContextSubset: map[string]string{"plot": "1"}},
	})
	wantError(t, "a wider child", err, denied, "")

	small := f.key("")
	f.plantGrants(small, 1, 10, bob)
	wantError(t, "a small list", second(try(f.by(bob), f, kmsapi.Decrypt, &kmsapi.DecryptInput{
		CiphertextBlob: f.encrypted(f.admin(), small, map[string]string{"plot": "0", "x": strings.Repeat("x", 10)}), EncryptionContext: map[string]string{"plot": "0", "x": strings.Repeat("x", 10)},
	})), "", "")
	var ids []string
	for range 8 {
		one := f.key("")
		f.plantGrants(one, 20, each, alice)
		f.plantGrants(one, 20, each, bob)
		ids = append(ids, one)
	}
	for _, one := range ids {
		for _, who := range []*identity.Caller{alice, bob} {
			wantError(t, "one of many keys", decrypt(who, one, 1), "", "")
			if said, added := f.grantsHeld(); said != added || said > f.s.room.all {
				t.Fatalf("cached grants take %d bytes, said to be %d, the limit is %d", added, said, f.s.room.all)
			}
			if k := state(one); k.charged > f.s.room.key {
				t.Fatalf("a key's grants take %d bytes, the limit is %d", k.charged, f.s.room.key)
			}
		}
	}
}

// TestGrantsAreReadOnce: those who use a key at one time read its many grants once.
func TestGrantsAreReadOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	alice := f.user(home, "alice", "")
	f.plantGrants(id, fewAndSimple+10, 1, alice)
	f.s.forget(region, id)
	leave, err := f.s.indexing.enter(t.Context(), home)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	found := make([]*cachedKey, 20)
	for i := range found {
		wg.Go(func() {
			k, err := f.s.loadKey(f.Context(), region, id)
			if err != nil {
				t.Error(err)
				return
			}
			found[i] = k
			if g, err := f.s.grantsOf(f.Context(), k, grantee{name: alice.ARN}, "", &call{action: "kms:Decrypt", ec: map[string]string{"plot": "7", "x": "x"}}); err != nil || len(g) != nearMisses && len(g) != nearMisses+1 {
				t.Errorf("%d grants: %v", len(g), err)
			}
		})
	}
	for {
		f.s.indexing.mu.Lock()
		n := f.s.indexing.waiting
		f.s.indexing.mu.Unlock()
		if n > 0 {
			break
		}
		runtime.Gosched()
	}
	leave()
	wg.Wait()
	for _, k := range found {
		if k != found[0] {
			t.Fatal("requests at one time use a key each")
		}
	}
}
