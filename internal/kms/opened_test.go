package kms

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"fmt"
	"math/big"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/store"
)

// readable reports whether any byte of opened material is there still.
func readable(o *opened) bool {
	zero := func(n *big.Int) bool {
		for _, w := range n.Bits() {
			if w != 0 {
				return false
			}
		}
		return true
	}
	blank := func(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }
	gone := blank(o.backing.Bytes())
	switch key := o.private.(type) {
	case macKey:
		gone = gone && blank(key)
	case ed25519.PrivateKey:
		gone = gone && blank(key)
	case *ecdsa.PrivateKey:
		//lint:ignore SA1019 to see what is left of it
		gone = gone && zero(key.D)
	case *secp256k1.PrivateKey:
		gone = gone && key.Key.IsZero()
	case *kem512:
		gone = gone && blank(key.seed[:])
	case *rsa.PrivateKey:
		gone = gone && zero(key.D) && zero(key.Primes[0]) && zero(key.Primes[1]) && zero(key.Precomputed.Dp) && zero(key.Precomputed.Dq) && zero(key.Precomputed.Qinv)
	}
	return !gone
}

// opening opens the current material of a key as a request does.
func (f *fixture) opening(k *cachedKey) *opened {
	f.Helper()
	o, _, err := f.s.openCurrent(f.admin(), k)
	if err != nil {
		f.Fatal(err)
	}
	return o
}

func (f *fixture) cached(id string) *cachedKey {
	f.Helper()
	k, err := f.s.loadKey(f.admin(), region, id)
	if err != nil {
		f.Fatal(err)
	}
	return k
}

// TestMaterialIsErasedAfterUse: what the cache forgets is overwritten once the
// last request is done with it, and not before.
func TestMaterialIsErasedAfterUse(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, c := range []struct {
		spec  kmsapi.KeySpec
		usage kmsapi.KeyUsageType
	}{
		{"SYMMETRIC_DEFAULT", usageEncrypt},
		{"RSA_2048", usageSign},
		{"ECC_NIST_P256", usageSign},
		{"ECC_SECG_P256K1", usageSign},
		{"ECC_NIST_EDWARDS25519", usageSign},
		{"HMAC_256", usageMAC},
		{"ML_KEM_512", usageKEM},
		{"ML_KEM_768", usageKEM},
		{"ML_DSA_44", usageSign},
	} {
		if refusedByFIPS(c.spec) {
			continue
		}
		id := f.newKey(c.spec, c.usage)
		k := f.cached(id)
		one, two := f.opening(k), f.opening(k)
		if one != two {
			t.Errorf("%s: the key is opened twice", c.spec)
		}
		one.done()
		f.s.forget(region, id)
		if !readable(two) {
			t.Errorf("%s: the material is erased while a request uses it", c.spec)
		}
		late := f.opening(k) // by a request that found the key before
		if late == two || !readable(late) || len(k.materials) > 0 {
			t.Errorf("%s: the cache has forgotten the key and keeps its material", c.spec)
		}
		late.done()
		two.done()
		if readable(two) || readable(late) {
			t.Errorf("%s: the material is there after its last use", c.spec)
		}
		again := f.cached(id)
		o := f.opening(again)
		o.done()
		if again == k || !readable(o) {
			t.Errorf("%s: what the cache holds is erased", c.spec)
		}
	}
}

// TestForgottenWays: each way in which a key leaves the cache ends its material.
func TestForgottenWays(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(f *fixture, id string){
		"DisableKey": func(f *fixture, id string) {
			must(f.admin(), f, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: id})
		},
		"a change elsewhere, seen by the next request": func(f *fixture, id string) {
			f.plant(id, func(k *keyRow) { k.Description = "new" })
			f.describe(id)
		},
		"a change elsewhere, seen by the maintenance": func(f *fixture, id string) {
			f.plant(id, func(k *keyRow) { k.Description = "new" })
			if err := f.s.maintainOnce(f.Context()); err != nil {
				f.Fatal(err)
			}
		},
		"an overfull cache": func(f *fixture, _ string) {
			f.s.cache.mu.Lock()
			f.s.cache.held = maxCachedBytes
			f.s.cache.mu.Unlock()
			f.describe(f.key(""))
		},
		"the end of the key": func(f *fixture, id string) {
			f.schedule(id)
			f.pass(7 * day)
			f.erase()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			id := f.key("")
			f.encrypted(f.admin(), id, nil)
			o := f.opening(f.cached(id))
			o.done()
			if !readable(o) {
				t.Fatal("the material was not cached")
			}
			leave(f, id)
			if readable(o) {
				t.Error("the material is there still")
			}
		})
	}
	t.Run("a key that is not kept", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		id := f.key("")
		var o *opened
		err := f.store.Update(f.admin(), func(tx *store.Tx) error {
			k, err := f.s.loadKey(tx.Context(f.admin()), region, id)
			if err == nil {
				o, _, err = f.s.openCurrent(f.admin(), k)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		o.done()
		if readable(o) {
			t.Error("the material is there still")
		}
	})
}

// TestMaterialInUse: requests never compute with erased bytes while keys leave
// the cache and come back.
func TestMaterialInUse(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id, mac := f.key(""), f.newKey("HMAC_256", usageMAC)
	sealed := f.encrypted(f.admin(), id, nil)
	sum := func() ([]byte, error) {
		out, err := try(f.admin(), f, kmsapi.GenerateMac, &kmsapi.GenerateMacInput{KeyId: mac, Message: []byte("m"), MacAlgorithm: "HMAC_SHA_256"})
		if err != nil {
			return nil, err
		}
		return out.Mac, nil
	}
	want, err := sum()
	if err != nil {
		t.Fatal(err)
	}
	const rounds = 300
	var over atomic.Bool
	var wg, forgetting sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for range rounds {
				got, err := sum()
				if err == nil && !bytes.Equal(got, want) {
					err = fmt.Errorf("another MAC, %x", got)
				}
				if err == nil {
					err = second(try(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: sealed}))
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	forgotten := 0
	forgetting.Go(func() {
		for ; !over.Load(); forgotten++ {
			f.s.forget(region, id)
			f.s.forget(region, mac)
		}
	})
	wg.Wait()
	over.Store(true)
	forgetting.Wait()
	if forgotten < rounds {
		t.Errorf("the keys were forgotten %d times in %d rounds", forgotten, rounds)
	}
}

// BenchmarkOpened is what opening cached material and being done with it costs.
func BenchmarkOpened(b *testing.B) {
	f := newFixture(b)
	ctx, k := f.admin(), f.cached(f.key(""))
	f.opening(k).done()
	b.ReportAllocs()
	for b.Loop() {
		o, _, err := f.s.openCurrent(ctx, k)
		if err != nil {
			b.Fatal(err)
		}
		o.done()
	}
}
