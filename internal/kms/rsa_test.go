package kms

import (
	"bytes"
	"crypto/fips140"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"hash"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

const oaepSHA256 = kmsapi.EncryptionAlgorithmSpecRsaesOaepSha256

var ignoreCiphertext = []kmsapi.DryRunModifierType{kmsapi.DryRunModifierTypeIgnoreCiphertext}

// TestRSAEncryption encrypts in KMS and decrypts outside, and the other way round.
func TestRSAEncryption(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		spec         kmsapi.KeySpec
		sha1, sha256 int // bytes that fit
	}{{"RSA_2048", 214, 190}, {"RSA_3072", 342, 318}, {"RSA_4096", 470, 446}} {
		t.Run(string(c.spec), func(t *testing.T) {
			t.Parallel()
			if longInShort(c.spec) {
				return
			}
			f := newFixture(t)
			key := private(t, c.spec).(*rsa.PrivateKey)
			id := f.keyWith(c.spec, usageEncrypt, key)
			public := parsePublic(t, f.publicKey(id)).(*rsa.PublicKey)
			for _, a := range []struct {
				algorithm kmsapi.EncryptionAlgorithmSpec
				new       func() hash.Hash
				most      int
				text      string
			}{
				{oaepSHA1, sha1.New, c.sha1, map[int]string{214: "214", 342: "342", 470: "470"}[c.sha1]},
				{oaepSHA256, sha256.New, c.sha256, map[int]string{190: "190", 318: "318", 446: "446"}[c.sha256]},
			} {
				if a.algorithm == oaepSHA1 && fips140.Enforced() {
					continue // TestFIPS
				}
				for _, size := range []int{1, a.most} {
					plaintext := bytes.Repeat([]byte{byte(size)}, size)
					out := must(f.admin(), f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: id, Plaintext: plaintext, EncryptionAlgorithm: a.algorithm})
					if len(out.CiphertextBlob) != public.Size() || *out.KeyId != arnOf(id) || out.EncryptionAlgorithm != a.algorithm {
						t.Errorf("Encrypt: %+v", out)
					}
					p, err := rsa.DecryptOAEP(a.new(), nil, key, out.CiphertextBlob, nil)
					if err != nil || !bytes.Equal(p, plaintext) {
						t.Errorf("%s: outside %d bytes do not decrypt: %v", a.algorithm, size, err)
					}
					theirs, err := rsa.EncryptOAEP(a.new(), rand.Reader, public, plaintext, nil)
					if err != nil {
						t.Fatal(err)
					}
					for by, ciphertext := range map[string][]byte{"KMS": out.CiphertextBlob, "another": theirs} {
						got := must(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{KeyId: &id, CiphertextBlob: ciphertext, EncryptionAlgorithm: a.algorithm})
						if !bytes.Equal(got.Plaintext, plaintext) || *got.KeyId != arnOf(id) || got.EncryptionAlgorithm != a.algorithm || got.KeyMaterialId != nil {
							t.Errorf("%s: what %s encrypted: %+v", a.algorithm, by, got)
						}
					}
				}
				_, err := try(f.admin(), f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: id, Plaintext: make([]byte, a.most+1), EncryptionAlgorithm: a.algorithm})
				wantError(t, "one byte more", err, "ValidationException", "Algorithm "+string(a.algorithm)+" and key spec "+string(c.spec)+" cannot encrypt data larger than "+a.text+" bytes.")
			}
		})
	}
}

func TestRSADecryptErrors(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	shared := private(t, "RSA_2048")
	id, other := f.keyWith("RSA_2048", usageEncrypt, shared), f.keyWith("RSA_2048", usageEncrypt, private(t, "RSA_2048"))
	sign, plain := f.keyWith("RSA_2048", usageSign, shared), f.key("")
	must(f.admin(), f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/rsa", TargetKeyId: id})
	good := must(f.admin(), f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: id, Plaintext: []byte("p"), EncryptionAlgorithm: oaepSHA256}).CiphertextBlob
	blob := f.encrypted(f.admin(), plain, nil)
	changed := bytes.Clone(good)
	changed[100] ^= 1
	// A ciphertext may look like a blob of a symmetric key by chance.
	lookalike := append([]byte{blobVersion, 0}, good[2:]...)
	ec := map[string]string{"a": "1"}
	const needsKey = "1 validation error detected: Value null at 'keyId' failed to satisfy constraint: Member must not be null"
	for _, c := range []struct {
		name          string
		in            kmsapi.DecryptInput
		code, message string
	}{
		{"good", kmsapi.DecryptInput{KeyId: &id, CiphertextBlob: good, EncryptionAlgorithm: oaepSHA256}, "", ""},
		{"by alias", kmsapi.DecryptInput{KeyId: new("alias/rsa"), CiphertextBlob: good, EncryptionAlgorithm: oaepSHA256}, "", ""},
		{"by alias ARN", kmsapi.DecryptInput{KeyId: new(aliasARN(region, home, "alias/rsa")), CiphertextBlob: good, EncryptionAlgorithm: oaepSHA256}, "", ""},
		{"no key", kmsapi.DecryptInput{CiphertextBlob: good, EncryptionAlgorithm: oaepSHA256}, "ValidationException", needsKey},
		{"no key and no algorithm", kmsapi.DecryptInput{CiphertextBlob: good}, "InvalidCiphertextException", ""},
		{"no algorithm", kmsapi.DecryptInput{KeyId: &id, CiphertextBlob: good}, "InvalidKeyUsageException", "Algorithm SYMMETRIC_DEFAULT is incompatible with key spec RSA_2048."},
		{"wrong key", kmsapi.DecryptInput{KeyId: &other, CiphertextBlob: good, EncryptionAlgorithm: oaepSHA256}, "InvalidCiphertextException", ""},
		{"changed", kmsapi.DecryptInput{KeyId: &id, CiphertextBlob: changed, EncryptionAlgorithm: oaepSHA256}, "InvalidCiphertextException", ""},
		{"looks like a blob", kmsapi.DecryptInput{KeyId: &id, CiphertextBlob: lookalike, EncryptionAlgorithm: oaepSHA256}, "InvalidCiphertextException", ""},
		{"short", kmsapi.DecryptInput{KeyId: &id, CiphertextBlob: good[1:], EncryptionAlgorithm: oaepSHA256}, "InvalidCiphertextException", ""},
		{"context", kmsapi.DecryptInput{KeyId: &id, CiphertextBlob: good, EncryptionAlgorithm: oaepSHA256, EncryptionContext: ec}, "ValidationException", "EncryptionContext is not supported when encrypting/decrypting with asymmetric CMKs."},
		{"symmetric blob", kmsapi.DecryptInput{KeyId: &id, CiphertextBlob: blob}, "IncorrectKeyException", ""},
		{"symmetric blob as RSA's", kmsapi.DecryptInput{KeyId: &id, CiphertextBlob: blob, EncryptionAlgorithm: oaepSHA256}, "InvalidCiphertextException", ""},
		{"symmetric key", kmsapi.DecryptInput{KeyId: &plain, CiphertextBlob: good, EncryptionAlgorithm: oaepSHA256}, "InvalidKeyUsageException", "Algorithm RSAES_OAEP_SHA_256 is incompatible with key spec SYMMETRIC_DEFAULT."},
		{"signing key", kmsapi.DecryptInput{KeyId: &sign, CiphertextBlob: good, EncryptionAlgorithm: oaepSHA256}, "InvalidKeyUsageException", arnOf(sign) + " key usage is SIGN_VERIFY which is not valid for Decrypt."},
		{"SM2PKE", kmsapi.DecryptInput{KeyId: &id, CiphertextBlob: good, EncryptionAlgorithm: "SM2PKE"}, "InvalidKeyUsageException", "Algorithm SM2PKE is incompatible with key spec RSA_2048."},
		{"recipient", kmsapi.DecryptInput{KeyId: &id, CiphertextBlob: good, EncryptionAlgorithm: oaepSHA256, Recipient: &kmsapi.RecipientInfo{}}, "ValidationException", "The attestation document *"},
		{"dry run", kmsapi.DecryptInput{KeyId: &id, CiphertextBlob: good, EncryptionAlgorithm: oaepSHA256, DryRun: new(true)}, "DryRunOperationException", ""},
		{"dry run of a changed one", kmsapi.DecryptInput{KeyId: &id, CiphertextBlob: changed, EncryptionAlgorithm: oaepSHA256, DryRun: new(true)}, "InvalidCiphertextException", ""},
		{"dry run without ciphertext", kmsapi.DecryptInput{KeyId: &id, EncryptionAlgorithm: oaepSHA256, DryRun: new(true), DryRunModifiers: ignoreCiphertext}, "DryRunOperationException", ""},
		{"dry run without ciphertext and key", kmsapi.DecryptInput{EncryptionAlgorithm: oaepSHA256, DryRun: new(true), DryRunModifiers: ignoreCiphertext}, "ValidationException", ""},
	} {
		_, err := try(f.admin(), f, kmsapi.Decrypt, &c.in)
		wantError(t, c.name, err, c.code, c.message)
		if c.code == "InvalidCiphertextException" {
			wantInvalid(t, c.name, err, c.code)
		}
	}
	for _, c := range []struct {
		name          string
		in            kmsapi.EncryptInput
		code, message string
	}{
		{"no algorithm", kmsapi.EncryptInput{KeyId: id}, "InvalidKeyUsageException", "Algorithm SYMMETRIC_DEFAULT is incompatible with key spec RSA_2048."},
		{"symmetric key", kmsapi.EncryptInput{KeyId: plain, EncryptionAlgorithm: oaepSHA256}, "InvalidKeyUsageException", "Algorithm RSAES_OAEP_SHA_256 is incompatible with key spec SYMMETRIC_DEFAULT."},
		{"signing key", kmsapi.EncryptInput{KeyId: sign, EncryptionAlgorithm: oaepSHA256}, "InvalidKeyUsageException", arnOf(sign) + " key usage is SIGN_VERIFY which is not valid for Encrypt."},
		{"context", kmsapi.EncryptInput{KeyId: id, EncryptionAlgorithm: oaepSHA256, EncryptionContext: ec}, "ValidationException", "EncryptionContext is not supported when encrypting/decrypting with asymmetric CMKs."},
		{"dry run", kmsapi.EncryptInput{KeyId: id, EncryptionAlgorithm: oaepSHA256, DryRun: new(true)}, "DryRunOperationException", ""},
		{"dry run of too much", kmsapi.EncryptInput{KeyId: id, EncryptionAlgorithm: oaepSHA256, DryRun: new(true), Plaintext: make([]byte, 191)}, "ValidationException", ""},
	} {
		if c.in.Plaintext == nil {
			c.in.Plaintext = []byte("p")
		}
		_, err := try(f.admin(), f, kmsapi.Encrypt, &c.in)
		wantError(t, "Encrypt: "+c.name, err, c.code, c.message)
	}
	// Data keys are sealed by symmetric keys alone.
	for operation, err := range map[string]error{
		"GenerateDataKey":                     second(try(f.admin(), f, kmsapi.GenerateDataKey, &kmsapi.GenerateDataKeyInput{KeyId: id, KeySpec: "AES_256"})),
		"GenerateDataKeyWithoutPlaintext":     second(try(f.admin(), f, kmsapi.GenerateDataKeyWithoutPlaintext, &kmsapi.GenerateDataKeyWithoutPlaintextInput{KeyId: id, KeySpec: "AES_256"})),
		"GenerateDataKeyPair":                 second(try(f.admin(), f, kmsapi.GenerateDataKeyPair, &kmsapi.GenerateDataKeyPairInput{KeyId: id, KeyPairSpec: "ECC_NIST_P256"})),
		"GenerateDataKeyPairWithoutPlaintext": second(try(f.admin(), f, kmsapi.GenerateDataKeyPairWithoutPlaintext, &kmsapi.GenerateDataKeyPairWithoutPlaintextInput{KeyId: id, KeyPairSpec: "ECC_NIST_P256"})),
	} {
		wantError(t, operation, err, "InvalidKeyUsageException", arnOf(id)+" key spec is RSA_2048 which is not valid for "+operation+".")
	}
}

// TestReEncryptRSA moves a plaintext between a symmetric and an RSA key.
func TestReEncryptRSA(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	one, two := f.newKey("RSA_2048", usageEncrypt), f.key("")
	ec := map[string]string{"a": "1"}
	blob := f.encrypted(f.admin(), two, ec)
	there := must(f.admin(), f, kmsapi.ReEncrypt, &kmsapi.ReEncryptInput{
		CiphertextBlob: blob, SourceEncryptionContext: ec, DestinationKeyId: one, DestinationEncryptionAlgorithm: oaepSHA256,
	})
	if *there.SourceKeyId != arnOf(two) || *there.KeyId != arnOf(one) || there.SourceEncryptionAlgorithm != symmetric || there.DestinationEncryptionAlgorithm != oaepSHA256 ||
		there.SourceKeyMaterialId == nil || there.DestinationKeyMaterialId != nil || len(there.CiphertextBlob) != 256 {
		t.Errorf("to RSA: %+v", there)
	}
	back := must(f.admin(), f, kmsapi.ReEncrypt, &kmsapi.ReEncryptInput{
		CiphertextBlob: there.CiphertextBlob, SourceKeyId: &one, SourceEncryptionAlgorithm: oaepSHA256, DestinationKeyId: two, DestinationEncryptionContext: ec,
	})
	if *back.SourceKeyId != arnOf(one) || *back.KeyId != arnOf(two) || back.SourceEncryptionAlgorithm != oaepSHA256 || back.DestinationEncryptionAlgorithm != symmetric ||
		back.SourceKeyMaterialId != nil || back.DestinationKeyMaterialId == nil {
		t.Errorf("from RSA: %+v", back)
	}
	out := must(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: back.CiphertextBlob, EncryptionContext: ec})
	if string(out.Plaintext) != "a secret of the customer" {
		t.Errorf("plaintext %q", out.Plaintext)
	}
	long := must(f.admin(), f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: two, Plaintext: make([]byte, 191)}).CiphertextBlob
	for _, c := range []struct {
		name          string
		in            kmsapi.ReEncryptInput
		code, message string
	}{
		{"too long", kmsapi.ReEncryptInput{CiphertextBlob: long, DestinationKeyId: one, DestinationEncryptionAlgorithm: oaepSHA256}, "ValidationException", "Algorithm RSAES_OAEP_SHA_256 and key spec RSA_2048 cannot encrypt data larger than 190 bytes."},
		{"no source key", kmsapi.ReEncryptInput{CiphertextBlob: there.CiphertextBlob, SourceEncryptionAlgorithm: oaepSHA256, DestinationKeyId: two}, "ValidationException", "1 validation error detected: Value null at 'sourceKeyId' failed to satisfy constraint: Member must not be null"},
		{"no source algorithm", kmsapi.ReEncryptInput{CiphertextBlob: there.CiphertextBlob, SourceKeyId: &one, DestinationKeyId: two}, "InvalidKeyUsageException", "Algorithm SYMMETRIC_DEFAULT is incompatible with key spec RSA_2048."},
		{"no destination algorithm", kmsapi.ReEncryptInput{CiphertextBlob: blob, SourceEncryptionContext: ec, DestinationKeyId: one}, "InvalidKeyUsageException", "Algorithm SYMMETRIC_DEFAULT is incompatible with key spec RSA_2048."},
		{"source context", kmsapi.ReEncryptInput{CiphertextBlob: there.CiphertextBlob, SourceKeyId: &one, SourceEncryptionAlgorithm: oaepSHA256, SourceEncryptionContext: ec, DestinationKeyId: two}, "ValidationException", "EncryptionContext is not supported *"},
		{"destination context", kmsapi.ReEncryptInput{CiphertextBlob: blob, SourceEncryptionContext: ec, DestinationKeyId: one, DestinationEncryptionAlgorithm: oaepSHA256, DestinationEncryptionContext: ec}, "ValidationException", "EncryptionContext is not supported *"},
		{"dry run", kmsapi.ReEncryptInput{CiphertextBlob: there.CiphertextBlob, SourceKeyId: &one, SourceEncryptionAlgorithm: oaepSHA256, DestinationKeyId: two, DryRun: new(true)}, "DryRunOperationException", ""},
		{"dry run without ciphertext", kmsapi.ReEncryptInput{SourceKeyId: &one, SourceEncryptionAlgorithm: oaepSHA256, DestinationKeyId: two, DryRun: new(true), DryRunModifiers: ignoreCiphertext}, "DryRunOperationException", ""},
		{"dry run without ciphertext, wrong algorithm", kmsapi.ReEncryptInput{SourceKeyId: &one, DestinationKeyId: two, DryRun: new(true), DryRunModifiers: ignoreCiphertext}, "InvalidKeyUsageException", ""},
	} {
		_, err := try(f.admin(), f, kmsapi.ReEncrypt, &c.in)
		wantError(t, c.name, err, c.code, c.message)
	}
}

// TestRSACiphertextLength: a ciphertext that begins with zeros is as long as the
// modulus, like every other one.
func TestRSACiphertextLength(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	key, ok := private(t, "RSA_2048").(*rsa.PrivateKey)
	if !ok {
		t.Fatal("no RSA key")
	}
	id := f.keyWith("RSA_2048", usageEncrypt, key)
	var sealed []byte
	for len(sealed) == 0 || sealed[0] != 0 { // one of 256
		var err error
		if sealed, err = rsa.EncryptOAEP(oaepHash(oaepSHA256), rand.Reader, &key.PublicKey, []byte("p"), nil); err != nil {
			t.Fatal(err)
		}
	}
	decrypt := func(ciphertext []byte) error {
		return second(try(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{KeyId: &id, CiphertextBlob: ciphertext, EncryptionAlgorithm: oaepSHA256}))
	}
	wantError(t, "whole", decrypt(sealed), "", "")
	wantError(t, "without the zero", decrypt(sealed[1:]), "InvalidCiphertextException", "")
	wantError(t, "with one more", decrypt(append([]byte{0}, sealed...)), "InvalidCiphertextException", "")
}
