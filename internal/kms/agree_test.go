package kms

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/fips140"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"testing"

	"github.com/cloudflare/circl/kem/mlkem/mlkem1024"
	"github.com/cloudflare/circl/kem/mlkem/mlkem512"
	"github.com/cloudflare/circl/kem/mlkem/mlkem768"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

func der(t testing.TB, public any) []byte {
	t.Helper()
	b, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestAgree derives secrets with keys of the outside and of KMS, from both sides.
func TestAgree(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, c := range []struct {
		spec  kmsapi.KeySpec
		curve ecdh.Curve
		size  int
	}{{"ECC_NIST_P256", ecdh.P256(), 32}, {"ECC_NIST_P384", ecdh.P384(), 48}, {"ECC_NIST_P521", ecdh.P521(), 66}} {
		id := f.newKey(c.spec, usageAgree)
		theirs, err := c.curve.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		out := must(f.admin(), f, kmsapi.DeriveSharedSecret, &kmsapi.DeriveSharedSecretInput{KeyId: id, KeyAgreementAlgorithm: "ECDH", PublicKey: der(t, theirs.PublicKey())})
		mine, err := parsePublic(t, f.publicKey(id)).(*ecdsa.PublicKey).ECDH()
		if err != nil {
			t.Fatal(err)
		}
		want, err := theirs.ECDH(mine)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out.SharedSecret, want) || len(want) != c.size || *out.KeyId != arnOf(id) || out.KeyOrigin != "AWS_KMS" || out.KeyAgreementAlgorithm != "ECDH" {
			t.Errorf("%s: %+v, want the secret %x", c.spec, out, want)
		}
		other := f.newKey(c.spec, usageAgree)
		a := must(f.admin(), f, kmsapi.DeriveSharedSecret, &kmsapi.DeriveSharedSecretInput{KeyId: id, KeyAgreementAlgorithm: "ECDH", PublicKey: f.publicKey(other)})
		b := must(f.admin(), f, kmsapi.DeriveSharedSecret, &kmsapi.DeriveSharedSecretInput{KeyId: other, KeyAgreementAlgorithm: "ECDH", PublicKey: f.publicKey(id)})
		if !bytes.Equal(a.SharedSecret, b.SharedSecret) {
			t.Errorf("%s: two keys of KMS do not agree", c.spec)
		}
	}
}

func TestAgreeErrors(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id, sign := f.newKey("ECC_NIST_P256", usageAgree), f.newKey("ECC_NIST_P256", usageSign)
	good := f.publicKey(sign)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var x25519 *ecdh.PrivateKey
	fips140.WithoutEnforcement(func() { x25519, err = ecdh.X25519().GenerateKey(rand.Reader) })
	if err != nil {
		t.Fatal(err)
	}
	offCurve := bytes.Clone(good)
	offCurve[len(offCurve)-1] ^= 1
	infinity := bytes.Clone(good[:len(good)-65])
	infinity = append(infinity, make([]byte, 65)...)
	const noKey = "The public key is not a DER-encoded X.509 SubjectPublicKeyInfo of a supported curve."
	const noPoint = "The public key is not on the curve of key spec ECC_NIST_P256."
	for _, c := range []struct {
		name          string
		in            kmsapi.DeriveSharedSecretInput
		code, message string
	}{
		{"good", kmsapi.DeriveSharedSecretInput{KeyId: id, PublicKey: good}, "", ""},
		{"another curve", kmsapi.DeriveSharedSecretInput{KeyId: id, PublicKey: der(t, &p384.PublicKey)}, "ValidationException", noPoint},
		{"X25519", kmsapi.DeriveSharedSecretInput{KeyId: id, PublicKey: der(t, x25519.PublicKey())}, "ValidationException", "The public key is not *"},
		{"not on the curve", kmsapi.DeriveSharedSecretInput{KeyId: id, PublicKey: offCurve}, "ValidationException", noKey},
		{"infinity", kmsapi.DeriveSharedSecretInput{KeyId: id, PublicKey: infinity}, "ValidationException", noKey},
		{"bytes behind", kmsapi.DeriveSharedSecretInput{KeyId: id, PublicKey: append(bytes.Clone(good), 0)}, "ValidationException", noKey},
		{"no DER", kmsapi.DeriveSharedSecretInput{KeyId: id, PublicKey: []byte("key")}, "ValidationException", noKey},
		{"empty", kmsapi.DeriveSharedSecretInput{KeyId: id, PublicKey: []byte{}}, "ValidationException", "1 validation error detected: Value '*"},
		{"8193 bytes", kmsapi.DeriveSharedSecretInput{KeyId: id, PublicKey: make([]byte, 8193)}, "ValidationException", "1 validation error detected: Value '*"},
		{"signing key", kmsapi.DeriveSharedSecretInput{KeyId: sign, PublicKey: good}, "InvalidKeyUsageException", arnOf(sign) + " key usage is SIGN_VERIFY which is not valid for DeriveSharedSecret."},
		{"unknown algorithm", kmsapi.DeriveSharedSecretInput{KeyId: id, PublicKey: good, KeyAgreementAlgorithm: "DH"}, "ValidationException", "1 validation error detected: Value 'DH' at 'keyAgreementAlgorithm' failed to satisfy constraint: Member must satisfy enum value set: [ECDH]"},
		{"recipient", kmsapi.DeriveSharedSecretInput{KeyId: id, PublicKey: good, Recipient: &kmsapi.RecipientInfo{}}, "ValidationException", "The attestation document in Recipient *"},
		{"dry run", kmsapi.DeriveSharedSecretInput{KeyId: id, PublicKey: good, DryRun: new(true)}, "DryRunOperationException", ""},
		{"dry run without a key", kmsapi.DeriveSharedSecretInput{KeyId: id, PublicKey: []byte("x"), DryRun: new(true)}, "ValidationException", noKey},
	} {
		if c.in.KeyAgreementAlgorithm == "" {
			c.in.KeyAgreementAlgorithm = "ECDH"
		}
		_, err := try(f.admin(), f, kmsapi.DeriveSharedSecret, &c.in)
		wantError(t, c.name, err, c.code, c.message)
	}
}

// kemPublic takes the public key out of a SubjectPublicKeyInfo.
func kemPublic(t testing.TB, b []byte) []byte {
	t.Helper()
	var v spki
	if _, err := asn1.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v.PublicKey.Bytes
}

// TestEncapsulate encapsulates outside with the exported public key and
// decapsulates in KMS, and the other way round.
func TestEncapsulate(t *testing.T) {
	t.Parallel()
	type pair struct{ shared, ciphertext []byte }
	for _, c := range []struct {
		spec kmsapi.KeySpec
		size int
		std  func(public []byte) (crypto.Encapsulator, error)
		// circl is another implementation than the one in KMS, except for ML-KEM-512.
		circl func(public []byte) (ciphertext, shared []byte, err error)
	}{
		{"ML_KEM_512", 768, nil, func(b []byte) ([]byte, []byte, error) {
			k, err := mlkem512.Scheme().UnmarshalBinaryPublicKey(b)
			if err != nil {
				return nil, nil, err
			}
			return mlkem512.Scheme().Encapsulate(k)
		}},
		{"ML_KEM_768", 1088, func(b []byte) (crypto.Encapsulator, error) { return mlkem.NewEncapsulationKey768(b) }, func(b []byte) ([]byte, []byte, error) {
			k, err := mlkem768.Scheme().UnmarshalBinaryPublicKey(b)
			if err != nil {
				return nil, nil, err
			}
			return mlkem768.Scheme().Encapsulate(k)
		}},
		{"ML_KEM_1024", 1568, func(b []byte) (crypto.Encapsulator, error) { return mlkem.NewEncapsulationKey1024(b) }, func(b []byte) ([]byte, []byte, error) {
			k, err := mlkem1024.Scheme().UnmarshalBinaryPublicKey(b)
			if err != nil {
				return nil, nil, err
			}
			return mlkem1024.Scheme().Encapsulate(k)
		}},
	} {
		t.Run(string(c.spec), func(t *testing.T) {
			t.Parallel()
			if refusedByFIPS(c.spec) {
				return // TestFIPS
			}
			f := newFixture(t)
			id := f.newKey(c.spec, usageKEM)
			public := kemPublic(t, f.publicKey(id))
			ciphertext, shared, err := c.circl(public)
			if err != nil {
				t.Fatal(err)
			}
			made := map[string]pair{"circl": {shared, ciphertext}}
			if c.std != nil {
				e, err := c.std(public)
				if err != nil {
					t.Fatal(err)
				}
				shared, ciphertext := e.Encapsulate()
				made["the standard library"] = pair{shared, ciphertext}
			}
			out := must(f.admin(), f, kmsapi.Encapsulate, &kmsapi.EncapsulateInput{KeyId: id, EncapsulationAlgorithm: "ML_KEM"})
			if *out.KeyId != arnOf(id) || out.EncapsulationAlgorithm != "ML_KEM" || len(out.SharedSecret) != 32 || len(out.SharedSecretCiphertextBlob) != c.size {
				t.Errorf("Encapsulate: %d and %d bytes, %+v", len(out.SharedSecret), len(out.SharedSecretCiphertextBlob), *out.KeyId)
			}
			made["KMS"] = pair{out.SharedSecret, out.SharedSecretCiphertextBlob}
			for by, p := range made {
				got := must(f.admin(), f, kmsapi.Decapsulate, &kmsapi.DecapsulateInput{KeyId: id, EncapsulationAlgorithm: "ML_KEM", SharedSecretCiphertextBlob: p.ciphertext})
				if !bytes.Equal(got.SharedSecret, p.shared) || *got.KeyId != arnOf(id) || got.EncapsulationAlgorithm != "ML_KEM" {
					t.Errorf("what %s encapsulated came back as %x, want %x", by, got.SharedSecret, p.shared)
				}
				changed := bytes.Clone(p.ciphertext)
				changed[3] ^= 1
				one := must(f.admin(), f, kmsapi.Decapsulate, &kmsapi.DecapsulateInput{KeyId: id, EncapsulationAlgorithm: "ML_KEM", SharedSecretCiphertextBlob: changed}).SharedSecret
				two := must(f.admin(), f, kmsapi.Decapsulate, &kmsapi.DecapsulateInput{KeyId: id, EncapsulationAlgorithm: "ML_KEM", SharedSecretCiphertextBlob: changed}).SharedSecret
				if bytes.Equal(one, p.shared) || !bytes.Equal(one, two) || len(one) != 32 {
					t.Errorf("a changed ciphertext by %s gave %x and %x", by, one, two)
				}
			}
			for _, size := range []int{1, c.size - 1, c.size + 1} {
				_, err := try(f.admin(), f, kmsapi.Decapsulate, &kmsapi.DecapsulateInput{KeyId: id, EncapsulationAlgorithm: "ML_KEM", SharedSecretCiphertextBlob: make([]byte, size)})
				wantInvalid(t, "a ciphertext of another length", err, "InvalidCiphertextException")
			}
			_, err = try(f.admin(), f, kmsapi.Encapsulate, &kmsapi.EncapsulateInput{KeyId: id, EncapsulationAlgorithm: "ML_KEM", DryRun: new(true)})
			wantError(t, "dry Encapsulate", err, "DryRunOperationException", "")
			_, err = try(f.admin(), f, kmsapi.Decapsulate, &kmsapi.DecapsulateInput{KeyId: id, EncapsulationAlgorithm: "ML_KEM", SharedSecretCiphertextBlob: ciphertext, DryRun: new(true)})
			wantError(t, "dry Decapsulate", err, "DryRunOperationException", "")
			_, err = try(f.admin(), f, kmsapi.Decapsulate, &kmsapi.DecapsulateInput{KeyId: id, EncapsulationAlgorithm: "ML_KEM", SharedSecretCiphertextBlob: []byte("x"), DryRun: new(true)})
			wantError(t, "dry Decapsulate of a bad ciphertext", err, "InvalidCiphertextException", "")
		})
	}
}

func TestEncapsulateErrors(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id, sign := f.newKey("ML_KEM_768", usageKEM), f.newKey("ECC_NIST_P256", usageSign)
	for _, c := range []struct {
		name, key     string
		algorithm     kmsapi.EncapsulationAlgorithmSpec
		code, message string
	}{
		{"signing key", sign, "ML_KEM", "InvalidKeyUsageException", arnOf(sign) + " key usage is SIGN_VERIFY which is not valid for "},
		{"unknown algorithm", id, "RSA_KEM", "ValidationException", "1 validation error detected: Value 'RSA_KEM' at 'encapsulationAlgorithm' failed to satisfy constraint: Member must satisfy enum value set: [ML_KEM]"},
		{"no key", unknownKey, "ML_KEM", "NotFoundException", "Key '" + arnOf(unknownKey) + "' does not exist"},
	} {
		text := func(operation string) string {
			if c.message[len(c.message)-1] == ' ' {
				return c.message + operation + "."
			}
			return c.message
		}
		_, err := try(f.admin(), f, kmsapi.Encapsulate, &kmsapi.EncapsulateInput{KeyId: c.key, EncapsulationAlgorithm: c.algorithm})
		wantError(t, "Encapsulate: "+c.name, err, c.code, text("Encapsulate"))
		_, err = try(f.admin(), f, kmsapi.Decapsulate, &kmsapi.DecapsulateInput{KeyId: c.key, EncapsulationAlgorithm: c.algorithm, SharedSecretCiphertextBlob: make([]byte, 1088)})
		wantError(t, "Decapsulate: "+c.name, err, c.code, text("Decapsulate"))
	}
	_, err := try(f.admin(), f, kmsapi.Decapsulate, &kmsapi.DecapsulateInput{KeyId: id, EncapsulationAlgorithm: "ML_KEM", SharedSecretCiphertextBlob: make([]byte, 6145)})
	wantError(t, "6145 bytes", err, "ValidationException", "1 validation error detected: Value '*")
}
