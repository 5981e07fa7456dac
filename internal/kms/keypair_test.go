package kms

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

// TestDataKeyPairs makes a pair of every spec: the private key is that of the
// public one, in plaintext and encrypted.
func TestDataKeyPairs(t *testing.T) {
	t.Parallel()
	ec := map[string]string{"a": "1"}
	for _, name := range []kmsapi.DataKeyPairSpec{
		"RSA_2048", "RSA_3072", "RSA_4096", "ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521", "ECC_SECG_P256K1",
		"ECC_NIST_EDWARDS25519", "ML_KEM_512", "ML_KEM_768", "ML_KEM_1024",
	} {
		t.Run(string(name), func(t *testing.T) {
			t.Parallel()
			spec := kmsapi.KeySpec(name)
			if refusedByFIPS(spec) || longInShort(spec) {
				return // TestFIPS
			}
			f := newFixture(t)
			id := f.key("")
			out := must(f.admin(), f, kmsapi.GenerateDataKeyPair, &kmsapi.GenerateDataKeyPairInput{KeyId: id, KeyPairSpec: name, EncryptionContext: ec})
			if *out.KeyId != arnOf(id) || out.KeyPairSpec != name || *out.KeyMaterialId != f.row(id).Materials[0].ID || out.CiphertextForRecipient != nil {
				t.Errorf("answer for key %s, spec %s", *out.KeyId, out.KeyPairSpec)
			}
			p := must(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: out.PrivateKeyCiphertextBlob, EncryptionContext: ec})
			if !bytes.Equal(p.Plaintext, out.PrivateKeyPlaintext) {
				t.Error("the encrypted private key is another than the plaintext one")
			}
			_, err := try(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: out.PrivateKeyCiphertextBlob})
			wantInvalid(t, "without its context", err, "InvalidCiphertextException")
			key, err := parsePrivate(spec, out.PrivateKeyPlaintext)
			if err != nil {
				t.Fatal(err)
			}
			public, err := encodePublic(key)
			if err != nil || !bytes.Equal(public, out.PublicKey) {
				t.Errorf("the public key is not that of the private key: %v", err)
			}
			if std, err := x509.ParsePKCS8PrivateKey(out.PrivateKeyPlaintext); err == nil {
				same := false
				switch k := std.(type) {
				case *rsa.PrivateKey:
					same = k.PublicKey.Equal(parsePublic(t, out.PublicKey))
				case *ecdsa.PrivateKey:
					same = k.PublicKey.Equal(parsePublic(t, out.PublicKey))
				case ed25519.PrivateKey:
					same = k.Public().(ed25519.PublicKey).Equal(parsePublic(t, out.PublicKey))
				}
				if !same {
					t.Errorf("the standard library reads a %T that does not fit", std)
				}
			} else if _, seed := key.(seeded); !seed && spec != "ECC_SECG_P256K1" {
				t.Errorf("the standard library does not read the private key: %v", err)
			} else if seed && len(out.PrivateKeyPlaintext) != 86 { // "the same for all ML-KEM key pair specs"
				t.Errorf("a private key of %d bytes", len(out.PrivateKeyPlaintext))
			}
			if rsaBits(spec) > 2048 {
				return
			}
			without := must(f.admin(), f, kmsapi.GenerateDataKeyPairWithoutPlaintext, &kmsapi.GenerateDataKeyPairWithoutPlaintextInput{KeyId: id, KeyPairSpec: name, EncryptionContext: ec})
			if bytes.Equal(without.PublicKey, out.PublicKey) || *without.KeyId != arnOf(id) || without.KeyPairSpec != name {
				t.Error("two requests gave one pair")
			}
			q := must(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: without.PrivateKeyCiphertextBlob, EncryptionContext: ec})
			if key, err = parsePrivate(spec, q.Plaintext); err != nil {
				t.Fatal(err)
			}
			if public, err := encodePublic(key); err != nil || !bytes.Equal(public, without.PublicKey) {
				t.Errorf("without plaintext the public key is not that of the private key: %v", err)
			}
		})
	}
}

func TestDataKeyPairErrors(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id, sign := f.key(""), f.newKey("ECC_NIST_P256", usageSign)
	for _, c := range []struct {
		name, key     string
		pair          kmsapi.DataKeyPairSpec
		dry           bool
		code, message string
	}{
		{"SM2", id, "SM2", false, "UnsupportedOperationException", "KeySpec SM2 is not supported in this region."},
		{"ML-DSA", id, "ML_DSA_44", false, "ValidationException", "1 validation error detected: Value 'ML_DSA_44' at 'keyPairSpec' failed to satisfy constraint: Member must satisfy enum value set: [*"},
		{"signing key", sign, "ECC_NIST_P256", false, "InvalidKeyUsageException", arnOf(sign) + " key usage is SIGN_VERIFY which is not valid for GenerateDataKeyPair*"},
		{"dry run", id, "RSA_4096", true, "DryRunOperationException", ""},
		{"dry run of SM2", id, "SM2", true, "UnsupportedOperationException", ""},
	} {
		_, err := try(f.admin(), f, kmsapi.GenerateDataKeyPair, &kmsapi.GenerateDataKeyPairInput{KeyId: c.key, KeyPairSpec: c.pair, DryRun: &c.dry})
		wantError(t, c.name, err, c.code, c.message)
		_, err = try(f.admin(), f, kmsapi.GenerateDataKeyPairWithoutPlaintext, &kmsapi.GenerateDataKeyPairWithoutPlaintextInput{KeyId: c.key, KeyPairSpec: c.pair, DryRun: &c.dry})
		wantError(t, c.name+" without plaintext", err, c.code, c.message)
	}
	_, err := try(f.admin(), f, kmsapi.GenerateDataKeyPair, &kmsapi.GenerateDataKeyPairInput{KeyId: id, KeyPairSpec: "ECC_NIST_P256", Recipient: &kmsapi.RecipientInfo{}})
	wantError(t, "recipient", err, "ValidationException", "The attestation document in Recipient *")
}

// makeRSA holds the place of an RSA key in the making until leave is called.
func (f *fixture) makeRSA() (leave func()) {
	f.Helper()
	leave, err := f.s.making.enter(f.Context(), home)
	if err != nil {
		f.Fatal(err)
	}
	return leave
}

func (f *fixture) waitingRSA() int {
	f.s.making.mu.Lock()
	defer f.s.making.mu.Unlock()
	return f.s.making.waiting
}

// RSA keys come one at a time, who waits may go, and not everybody may wait.
// Nothing else waits.
func TestRSAKeysQueue(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	leave := f.makeRSA()
	ctx, cancel := context.WithCancel(f.admin())
	results := make(chan error, maxWaiting)
	for range maxWaiting {
		go func() {
			_, err := try(ctx, f, kmsapi.GenerateDataKeyPair, &kmsapi.GenerateDataKeyPairInput{KeyId: id, KeyPairSpec: "RSA_2048"})
			results <- err
		}()
	}
	for f.waitingRSA() < maxWaiting {
		runtime.Gosched()
	}
	_, err := try(f.admin(), f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{KeySpec: "RSA_2048", KeyUsage: usageSign})
	wantError(t, "one too many", err, "ThrottlingException", "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.")
	must(f.admin(), f, kmsapi.GenerateDataKey, &kmsapi.GenerateDataKeyInput{KeyId: id, KeySpec: "AES_256"})
	f.newKey("ECC_NIST_P256", usageSign)
	must(f.admin(), f, kmsapi.RotateKeyOnDemand, &kmsapi.RotateKeyOnDemandInput{KeyId: id})
	if err := f.s.beginErasure(); err != nil {
		t.Error(err)
	}
	cancel()
	for range maxWaiting {
		select {
		case err := <-results:
			if err == nil {
				t.Error("a request whose caller has gone made a key")
			}
		case <-time.After(10 * time.Second):
			t.Fatal("a request waits for ever")
		}
	}
	leave()
	if n := f.waitingRSA(); n != 0 {
		t.Errorf("%d requests count as waiting", n)
	}
	f.newKey("RSA_2048", usageSign)
	gone, stop := context.WithCancel(f.admin())
	stop()
	if _, err := f.s.newPrivate(gone, "RSA_2048"); !errors.Is(err, context.Canceled) {
		t.Errorf("the slot is free and the caller has gone: %v", err)
	}
}

// TestRSAKeysFromElsewhere: what makes RSA keys is asked for them.
func TestRSAKeysFromElsewhere(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ready := private(t, "RSA_2048").(*rsa.PrivateKey)
	want, err := x509.MarshalPKIXPublicKey(&ready.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	var asked []int
	f.s.cfg.MakeRSA = func(_ context.Context, bits int) (*rsa.PrivateKey, error) {
		asked = append(asked, bits)
		return ready, nil
	}
	id := f.newKey("RSA_2048", usageSign)
	if !bytes.Equal(f.publicKey(id), want) {
		t.Error("the key is another one")
	}
	if slices.Max(ready.D.Bits()) != 0 {
		t.Error("the key is still in memory when it has been stored")
	}
	if !slices.Equal(asked, []int{2048}) {
		t.Errorf("asked for %v bits", asked)
	}
}

// A key that is disabled while its data key pair is made seals nothing any more.
func TestDataKeyPairOfDisabledKey(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	leave := f.makeRSA()
	result := make(chan error)
	go func() {
		_, err := try(f.admin(), f, kmsapi.GenerateDataKeyPair, &kmsapi.GenerateDataKeyPairInput{KeyId: id, KeyPairSpec: "RSA_2048"})
		result <- err
	}()
	for f.waitingRSA() == 0 {
		runtime.Gosched()
	}
	must(f.admin(), f, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: id})
	leave()
	wantError(t, "GenerateDataKeyPair", <-result, "DisabledException", "")
}

// What memory holds of a private key goes with the right to use it.
func TestPrivateKeysAreForgotten(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	use := func(id string) error {
		return second(try(f.admin(), f, kmsapi.Sign, &kmsapi.SignInput{KeyId: id, Message: []byte("m"), SigningAlgorithm: "ECDSA_SHA_256"}))
	}
	cached := func(id string) *cachedKey {
		f.s.cache.mu.RLock()
		defer f.s.cache.mu.RUnlock()
		return f.s.cache.entries[epoch(region, id)]
	}
	for name, take := range map[string]func(id string) error{
		"DisableKey": func(id string) error {
			return second(try(f.admin(), f, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: id}))
		},
		"ScheduleKeyDeletion": func(id string) error {
			return second(try(f.admin(), f, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: id}))
		},
		"a change on another node": func(id string) error {
			f.plant(id, func(k *keyRow) { k.State = kmsapi.KeyStateDisabled })
			return f.s.maintainOnce(f.Context())
		},
	} {
		id := f.newKey("ECC_NIST_P256", usageSign)
		for range 2 {
			if err := use(id); err != nil {
				t.Fatal(err)
			}
		}
		k := cached(id)
		if k == nil || len(k.materials) != 1 {
			t.Fatalf("%s: the private key was not cached", name)
		}
		if err := take(id); err != nil {
			t.Fatal(err)
		}
		if cached(id) != nil {
			t.Errorf("%s: the private key is in the cache still", name)
		}
		if use(id) == nil {
			t.Errorf("%s: the key signs still", name)
		}
		if k := cached(id); k != nil && len(k.materials) > 0 {
			t.Errorf("%s: a refused request has opened the private key", name)
		}
	}
}

// Private keys outlive the erasure of others.
func TestErasureKeepsPrivateKeys(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	doomed, id := f.newKey("ECC_NIST_P256", usageSign), f.newKey("HMAC_256", usageMAC)
	mac := func() []byte {
		return must(f.admin(), f, kmsapi.GenerateMac, &kmsapi.GenerateMacInput{KeyId: id, Message: []byte("m"), MacAlgorithm: "HMAC_SHA_256"}).Mac
	}
	before := mac()
	f.schedule(doomed)
	row := f.row(doomed)
	f.pass(7 * day)
	f.erase()
	if !bytes.Equal(before, mac()) {
		t.Error("the survivor makes another MAC")
	}
	if f.opensNow(row) {
		t.Error("a copy of the erased key's row opens")
	}
	_, err := try(f.admin(), f, kmsapi.Sign, &kmsapi.SignInput{KeyId: doomed, Message: []byte("m"), SigningAlgorithm: "ECDSA_SHA_256"})
	wantError(t, "Sign with the erased key", err, "NotFoundException", "")
}
