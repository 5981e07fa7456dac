package kms

import (
	"bytes"
	"crypto/elliptic"
	"crypto/subtle"
	"encoding/asn1"
	"math/big"
	"slices"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/envelope"
)

// A policy is either stored as it was sent or changes nothing, and the key stays
// readable by the evaluator either way.
func FuzzPutKeyPolicy(f *testing.F) {
	f.Add(defaultPolicy(home), false)
	f.Add(doc(to(rootARN(home), "kms:*"), not("*", "kms:Decrypt")), false)
	f.Add(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}`, true)
	f.Add("{", true)
	x := newFixture(f)
	id := x.key("")
	f.Fuzz(func(t *testing.T, policy string, bypass bool) {
		if len(policy) > 4096 {
			return
		}
		x.TB = t
		before := x.row(id)
		_, err := try(x.admin(), x, kmsapi.PutKeyPolicy, &kmsapi.PutKeyPolicyInput{KeyId: id, Policy: policy, BypassPolicyLockoutSafetyCheck: &bypass})
		after := x.row(id)
		if err != nil && (after.Policy != before.Policy || len(after.PolicyPrincipals) != len(before.PolicyPrincipals)) {
			t.Fatalf("refused with %v, but stored %q", err, after.Policy)
		}
		if err == nil && after.Policy != policy {
			t.Fatalf("accepted %q, stored %q", policy, after.Policy)
		}
		if err == nil && !bypass {
			if _, err := try(x.admin(), x, kmsapi.PutKeyPolicy, &kmsapi.PutKeyPolicyInput{KeyId: id, Policy: defaultPolicy(home)}); err != nil {
				t.Fatalf("the caller has locked itself out with %q: %v", policy, err)
			}
		}
		x.plant(id, func(k *keyRow) { k.Policy, k.PolicyPrincipals = defaultPolicy(home), nil })
	})
}

// Only texts that this keyring sealed as grant tokens open, and each names the
// grant that it was made for.
func FuzzGrantToken(f *testing.F) {
	keyring := envelope.NewMemory()
	s := New(Config{Keyring: keyring})
	want := testKeyID + "|" + testMaterial
	good, err := keyring.SealToken(envelope.GrantToken, envelope.Token{Account: home, Region: region, Payload: []byte(want)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)-2])
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 8192 {
			return
		}
		g, err := s.openGrantToken(text)
		if err == nil && (text != good || g.keyID+"|"+g.grantID != want || g.account != home || g.region != region) {
			t.Fatalf("%q opened as %+v", text, g)
		}
	})
}

// An identifier that is accepted has one spelling.
func FuzzKeyRef(f *testing.F) {
	for _, text := range []string{testKeyID, "mrk-1234abcd12ab34cd56ef1234567890ab", arnOf(testKeyID), "alias/a", aliasARN(region, home, "alias/a"), "arn:aws:kms:us-west-2:1:key/", keyARN(region, "../../../../", testKeyID)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 2048 {
			return
		}
		ref, err := parseKeyRef(text, home, region, byAlias)
		if err != nil {
			return
		}
		if ref.region != region || !isAccountID(ref.account) || (ref.id == "") == (ref.alias == "") {
			t.Fatalf("%q is %+v", text, ref)
		}
		short, long := ref.id, keyARN(ref.region, ref.account, ref.id)
		if ref.alias != "" {
			short, long = ref.alias, aliasARN(ref.region, ref.account, ref.alias)
		}
		if text != short && text != long {
			t.Fatalf("%q is another spelling of %q", text, long)
		}
	})
}

// Of all byte strings those alone verify that were made with the private key. The
// second signature that any ECDSA signature has, with −s in place of s, is one.
func FuzzVerify(f *testing.F) {
	x := newFixture(f)
	type signed struct {
		in   kmsapi.VerifyInput
		good []byte
	}
	var all []signed
	for _, c := range []struct {
		spec      kmsapi.KeySpec
		algorithm kmsapi.SigningAlgorithmSpec
	}{
		{"RSA_2048", "RSASSA_PKCS1_V1_5_SHA_256"},
		{"RSA_2048", "RSASSA_PSS_SHA_256"},
		{"ECC_NIST_P256", "ECDSA_SHA_256"},
		{"ECC_NIST_P521", "ECDSA_SHA_512"},
		{"ECC_SECG_P256K1", "ECDSA_SHA_256"},
		{"ECC_NIST_EDWARDS25519", "ED25519_SHA_512"},
		{"ML_DSA_44", "ML_DSA_SHAKE_256"},
	} {
		if refusedByFIPS(c.spec) {
			continue
		}
		id := x.newKey(c.spec, usageSign)
		good := must(x.admin(), x, kmsapi.Sign, &kmsapi.SignInput{KeyId: id, Message: []byte("m"), SigningAlgorithm: c.algorithm}).Signature
		f.Add(len(all), []byte("m"), []byte(nil), false)
		f.Add(len(all), []byte("n"), []byte(nil), false)
		f.Add(len(all), []byte("m"), []byte{1}, false)
		f.Add(len(all), []byte("m"), make([]byte, len(good)+1), false)
		f.Add(len(all), []byte("m"), good[:len(good)-1], true)
		all = append(all, signed{kmsapi.VerifyInput{KeyId: id, SigningAlgorithm: c.algorithm}, good})
	}
	// Signatures differ from process to process: change is what the right one is
	// changed by, or, when bare, the signature itself.
	f.Fuzz(func(t *testing.T, which int, message, change []byte, bare bool) {
		if len(message) > 4096 || len(change) > 6144 {
			return
		}
		x.TB = t
		c := all[int(uint(which)%uint(len(all)))]
		signature := change
		if !bare {
			signature = make([]byte, max(len(change), len(c.good)))
			copy(signature, c.good)
			subtle.XORBytes(signature, signature, change)
		}
		in := c.in
		in.Message, in.Signature = message, signature
		_, err := try(x.admin(), x, kmsapi.Verify, &in)
		right := string(message) == "m" && (bytes.Equal(signature, c.good) || negated(signature, c.good))
		if (err == nil) != right {
			t.Fatalf("%s: %x of %q: %v", in.SigningAlgorithm, signature, message, err)
		}
	})
}

// negated reports whether a is the ECDSA signature b with −s in place of s.
func negated(a, b []byte) bool {
	type pair struct{ R, S *big.Int }
	var x, y pair
	if _, err := asn1.Unmarshal(b, &y); err != nil {
		return false
	}
	if _, err := asn1.Unmarshal(a, &x); err != nil || x.R.Cmp(y.R) != 0 {
		return false
	}
	if again, err := asn1.Marshal(x); err != nil || !bytes.Equal(again, a) {
		return false
	}
	sum := new(big.Int).Add(x.S, y.S)
	return slices.ContainsFunc([]*big.Int{elliptic.P256().Params().N, elliptic.P521().Params().N, newShortCurve().order}, func(n *big.Int) bool { return n.Cmp(sum) == 0 })
}

// A public key that is accepted is a point on the curve in its one encoding, and
// both sides derive the same secret.
func FuzzDeriveSharedSecret(f *testing.F) {
	x := newFixture(f)
	id, other := x.newKey("ECC_NIST_P256", usageAgree), x.newKey("ECC_NIST_P256", usageAgree)
	public := x.publicKey(other)
	f.Add(public)
	f.Add(public[:90])
	f.Add(x.publicKey(x.newKey("ECC_NIST_P384", usageAgree)))
	f.Add(x.publicKey(x.newKey("ML_KEM_768", usageKEM)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 8192 {
			return
		}
		x.TB = t
		out, err := try(x.admin(), x, kmsapi.DeriveSharedSecret, &kmsapi.DeriveSharedSecretInput{KeyId: id, KeyAgreementAlgorithm: "ECDH", PublicKey: b})
		if err != nil {
			return
		}
		peer, err := peerKey(&cachedKey{keyRow: x.row(id)}, b)
		if err != nil || len(out.SharedSecret) != 32 {
			t.Fatalf("accepted %x: %v", b, err)
		}
		if point := peer.Bytes(); !bytes.HasSuffix(b, point) || len(point) != 65 {
			t.Fatalf("%x holds the point %x", b, point)
		}
		if bytes.Equal(b, public) {
			back := must(x.admin(), x, kmsapi.DeriveSharedSecret, &kmsapi.DeriveSharedSecretInput{KeyId: other, KeyAgreementAlgorithm: "ECDH", PublicKey: x.publicKey(id)})
			if !bytes.Equal(back.SharedSecret, out.SharedSecret) {
				t.Fatal("the two sides do not agree")
			}
		}
	})
}

// A private key that is accepted for a spec is read back from its own encoding.
func FuzzParsePrivate(f *testing.F) {
	specs := []kmsapi.KeySpec{"ECC_NIST_P256", "ECC_NIST_P521", "ECC_SECG_P256K1", "ECC_NIST_EDWARDS25519", "HMAC_256", "ML_DSA_44", "ML_KEM_512", "ML_KEM_768", "ML_KEM_1024"}
	for i, name := range specs {
		b, err := encodePrivate(private(f, name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(i, b)
		f.Add(i, b[:len(b)-1])
		f.Add(i+1, b)
	}
	f.Fuzz(func(t *testing.T, which int, b []byte) {
		if len(b) > 8192 {
			return
		}
		name := specs[int(uint(which)%uint(len(specs)))]
		key, err := parsePrivate(name, b)
		if err != nil {
			return
		}
		once, err := encodePrivate(key)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parsePrivate(name, once)
		if err != nil {
			t.Fatalf("%s: what was read from %x does not read back: %v", name, b, err)
		}
		if twice, err := encodePrivate(again); err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%s: two encodings of one key: %v", name, err)
		}
	})
}

// What opens under an RSA key was encrypted for it.
func FuzzDecryptRSA(f *testing.F) {
	x := newFixture(f)
	id := x.newKey("RSA_2048", usageEncrypt)
	good := must(x.admin(), x, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: id, Plaintext: []byte("p"), EncryptionAlgorithm: oaepSHA256}).CiphertextBlob
	f.Add([]byte(nil))
	f.Add([]byte{1})
	f.Add(make([]byte, 257))
	f.Add([]byte{good[0] ^ blobVersion, good[1]})
	f.Fuzz(func(t *testing.T, change []byte) {
		if len(change) > maxBlob {
			return
		}
		x.TB = t
		b := make([]byte, max(len(change), len(good)))
		copy(b, good)
		subtle.XORBytes(b, b, change)
		out, err := try(x.admin(), x, kmsapi.Decrypt, &kmsapi.DecryptInput{KeyId: &id, CiphertextBlob: b, EncryptionAlgorithm: oaepSHA256})
		if bytes.Equal(b, good) != (err == nil) {
			t.Fatalf("%x: %v %+v", b, err, out)
		}
		if err != nil {
			wantInvalid(t, "Decrypt", err, "InvalidCiphertextException")
		}
	})
}
