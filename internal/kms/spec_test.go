package kms

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/fips140"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"filippo.io/mldsa"
	mldsax509 "filippo.io/mldsa/x509"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/api/schema"
)

const (
	usageEncrypt = kmsapi.KeyUsageTypeEncryptDecrypt
	usageSign    = kmsapi.KeyUsageTypeSignVerify
	usageMAC     = kmsapi.KeyUsageTypeGenerateVerifyMac
	usageAgree   = kmsapi.KeyUsageTypeKeyAgreement
	usageKEM     = kmsapi.KeyUsageTypeEncapsulateDecapsulate
)

// outsideFIPS are the specs whose code is not in Go's FIPS 140 module.
var outsideFIPS = []kmsapi.KeySpec{"ECC_SECG_P256K1", "ML_DSA_44", "ML_DSA_65", "ML_DSA_87", "ML_KEM_512"}

// refusedByFIPS reports whether this run must refuse the spec.
func refusedByFIPS(name kmsapi.KeySpec) bool {
	return fips140.Enforced() && slices.Contains(outsideFIPS, name)
}

// longInShort reports whether a test of the spec is left to runs without -short:
// TestFIPS asks for those that are.
func longInShort(name kmsapi.KeySpec) bool { return testing.Short() && rsaBits(name) > 2048 }

func TestCreateKeyNamesItsSpecOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, old := range []kmsapi.CustomerMasterKeySpec{"ECC_NIST_P256", "ECC_NIST_P384"} {
		_, err := try(f.admin(), f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{KeySpec: kmsapi.KeySpecEccNistP256, CustomerMasterKeySpec: old, KeyUsage: usageSign})
		wantError(t, string(old), err, "ValidationException", "You cannot specify KeySpec and CustomerMasterKeySpec in the same request. CustomerMasterKeySpec is deprecated.")
	}
}

// newKey makes a key of the home account.
func (f *fixture) newKey(name kmsapi.KeySpec, usage kmsapi.KeyUsageType) string {
	f.Helper()
	return must(f.admin(), f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{KeySpec: name, KeyUsage: usage}).KeyMetadata.KeyId
}

// keyWith makes a key whose private key the test knows.
func (f *fixture) keyWith(name kmsapi.KeySpec, usage kmsapi.KeyUsageType, private any) string {
	f.Helper()
	id := f.key("")
	der, err := encodePrivate(private)
	if err != nil {
		f.Fatal(err)
	}
	public, err := encodePublic(private)
	if err != nil {
		f.Fatal(err)
	}
	f.plant(id, func(k *keyRow) {
		k.Spec, k.Usage, k.Materials = name, usage, nil
		fresh, err := f.s.makeMaterial(f.Context(), kmsapi.KeySpecSymmetricDefault)
		if err != nil {
			f.Fatal(err)
		}
		fresh.private, fresh.public = der, public
		if err := f.s.addMaterial(k, "", &fresh); err != nil {
			f.Fatal(err)
		}
	})
	return id
}

// private makes a private key outside of KMS.
func private(t testing.TB, name kmsapi.KeySpec) any {
	t.Helper()
	var key any
	var err error
	if bits := rsaBits(name); bits > 0 {
		key, err = rsa.GenerateKey(rand.Reader, bits)
	} else {
		key, err = generatePrivate(name)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (f *fixture) publicKey(id string) []byte {
	f.Helper()
	return must(f.admin(), f, kmsapi.GetPublicKey, &kmsapi.GetPublicKeyInput{KeyId: id}).PublicKey
}

// Object identifiers in public keys (RFC 5480, 8410, 9881 and 9935).
var publicKeyOIDs = map[kmsapi.KeySpec]string{
	"RSA_2048": "1.2.840.113549.1.1.1", "RSA_3072": "1.2.840.113549.1.1.1", "RSA_4096": "1.2.840.113549.1.1.1",
	"ECC_NIST_P256": "1.2.840.10045.2.1 1.2.840.10045.3.1.7", "ECC_NIST_P384": "1.2.840.10045.2.1 1.3.132.0.34",
	"ECC_NIST_P521": "1.2.840.10045.2.1 1.3.132.0.35", "ECC_SECG_P256K1": "1.2.840.10045.2.1 1.3.132.0.10",
	"ECC_NIST_EDWARDS25519": "1.3.101.112",
	"ML_DSA_44":             "2.16.840.1.101.3.4.3.17", "ML_DSA_65": "2.16.840.1.101.3.4.3.18", "ML_DSA_87": "2.16.840.1.101.3.4.3.19",
	"ML_KEM_512": "2.16.840.1.101.3.4.4.1", "ML_KEM_768": "2.16.840.1.101.3.4.4.2", "ML_KEM_1024": "2.16.840.1.101.3.4.4.3",
}

// TestKeySpecs makes a key of every spec and usage and reads it back.
func TestKeySpecs(t *testing.T) {
	t.Parallel()
	const rsaSigning = "RSASSA_PKCS1_V1_5_SHA_256 RSASSA_PKCS1_V1_5_SHA_384 RSASSA_PKCS1_V1_5_SHA_512 RSASSA_PSS_SHA_256 RSASSA_PSS_SHA_384 RSASSA_PSS_SHA_512"
	const oaep = "RSAES_OAEP_SHA_1 RSAES_OAEP_SHA_256"
	for _, c := range []struct {
		spec       kmsapi.KeySpec
		usage      kmsapi.KeyUsageType
		algorithms string
		public     int // bytes of the key in the SubjectPublicKeyInfo
	}{
		{"SYMMETRIC_DEFAULT", usageEncrypt, "SYMMETRIC_DEFAULT", 0},
		{"RSA_2048", usageEncrypt, oaep, 270},
		{"RSA_2048", usageSign, rsaSigning, 270},
		{"RSA_3072", usageSign, rsaSigning, 398},
		{"RSA_4096", usageEncrypt, oaep, 526},
		{"ECC_NIST_P256", usageSign, "ECDSA_SHA_256", 65},
		{"ECC_NIST_P256", usageAgree, "ECDH", 65},
		{"ECC_NIST_P384", usageSign, "ECDSA_SHA_384", 97},
		{"ECC_NIST_P384", usageAgree, "ECDH", 97},
		{"ECC_NIST_P521", usageSign, "ECDSA_SHA_512", 133},
		{"ECC_NIST_P521", usageAgree, "ECDH", 133},
		{"ECC_SECG_P256K1", usageSign, "ECDSA_SHA_256", 65},
		{"ECC_NIST_EDWARDS25519", usageSign, "ED25519_SHA_512 ED25519_PH_SHA_512", 32},
		{"HMAC_224", usageMAC, "HMAC_SHA_224", 0},
		{"HMAC_256", usageMAC, "HMAC_SHA_256", 0},
		{"HMAC_384", usageMAC, "HMAC_SHA_384", 0},
		{"HMAC_512", usageMAC, "HMAC_SHA_512", 0},
		{"ML_DSA_44", usageSign, "ML_DSA_SHAKE_256", 1312},
		{"ML_DSA_65", usageSign, "ML_DSA_SHAKE_256", 1952},
		{"ML_DSA_87", usageSign, "ML_DSA_SHAKE_256", 2592},
		{"ML_KEM_512", usageKEM, "ML_KEM", 800},
		{"ML_KEM_768", usageKEM, "ML_KEM", 1184},
		{"ML_KEM_1024", usageKEM, "ML_KEM", 1568},
	} {
		t.Run(fmt.Sprint(c.spec, " ", c.usage), func(t *testing.T) {
			t.Parallel()
			if longInShort(c.spec) {
				return
			}
			f := newFixture(t)
			out, err := try(f.admin(), f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{KeySpec: c.spec, KeyUsage: c.usage})
			if refusedByFIPS(c.spec) {
				wantError(t, "CreateKey", err, "UnsupportedOperationException", "KeySpec "+string(c.spec)+" is not available in FIPS 140 mode.")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			id := out.KeyMetadata.KeyId
			m := must(f.admin(), f, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: id}).KeyMetadata
			if m.KeySpec != c.spec || string(m.CustomerMasterKeySpec) != string(c.spec) || m.KeyUsage != c.usage || m.KeyState != kmsapi.KeyStateEnabled {
				t.Errorf("metadata %+v", m)
			}
			if got := algorithms(m); got != c.algorithms {
				t.Errorf("algorithms %q, want %q", got, c.algorithms)
			}
			if symmetricKey := c.spec == symmetricSpec; (m.CurrentKeyMaterialId != nil) != symmetricKey {
				t.Errorf("CurrentKeyMaterialId %v", m.CurrentKeyMaterialId)
			}
			if c.public == 0 {
				_, err := try(f.admin(), f, kmsapi.GetPublicKey, &kmsapi.GetPublicKeyInput{KeyId: id})
				wantError(t, "GetPublicKey", err, "UnsupportedOperationException", arnOf(id)+" key spec is "+string(c.spec)+" which is not valid for GetPublicKey.")
				return
			}
			p := must(f.admin(), f, kmsapi.GetPublicKey, &kmsapi.GetPublicKeyInput{KeyId: id})
			if *p.KeyId != arnOf(id) || p.KeySpec != c.spec || p.KeyUsage != c.usage {
				t.Errorf("GetPublicKey: %+v", p)
			}
			if got := algorithms(&kmsapi.KeyMetadata{
				EncryptionAlgorithms: p.EncryptionAlgorithms, SigningAlgorithms: p.SigningAlgorithms,
				KeyAgreementAlgorithms: p.KeyAgreementAlgorithms, EncapsulationAlgorithms: p.EncapsulationAlgorithms,
			}); got != c.algorithms {
				t.Errorf("GetPublicKey: algorithms %q, want %q", got, c.algorithms)
			}
			oid, size := readSPKI(t, p.PublicKey)
			if oid != publicKeyOIDs[c.spec] || size != c.public {
				t.Errorf("public key: identifiers %s and %d bytes, want %s and %d", oid, size, publicKeyOIDs[c.spec], c.public)
			}
		})
	}
}

const symmetricSpec = kmsapi.KeySpecSymmetricDefault

// algorithms are all algorithms in the metadata.
func algorithms(m *kmsapi.KeyMetadata) string {
	var all []string
	for _, a := range m.EncryptionAlgorithms {
		all = append(all, string(a))
	}
	for _, a := range m.SigningAlgorithms {
		all = append(all, string(a))
	}
	for _, a := range m.MacAlgorithms {
		all = append(all, string(a))
	}
	for _, a := range m.KeyAgreementAlgorithms {
		all = append(all, string(a))
	}
	for _, a := range m.EncapsulationAlgorithms {
		all = append(all, string(a))
	}
	return strings.Join(all, " ")
}

// readSPKI returns the object identifiers and the length of the key.
func readSPKI(t *testing.T, der []byte) (oids string, size int) {
	t.Helper()
	var v spki
	if rest, err := asn1.Unmarshal(der, &v); err != nil || len(rest) > 0 {
		t.Fatalf("SubjectPublicKeyInfo: %v, %d bytes behind it", err, len(rest))
	}
	oids = v.Algorithm.Algorithm.String()
	var named asn1.ObjectIdentifier
	if _, err := asn1.Unmarshal(v.Algorithm.Parameters.FullBytes, &named); err == nil {
		oids += " " + named.String()
	}
	return oids, len(v.PublicKey.Bytes)
}

func TestCreateKeyRefuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const needed = "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys."
	for _, c := range []struct {
		spec          kmsapi.KeySpec
		usage         kmsapi.KeyUsageType
		code, message string
	}{
		{"HMAC_256", "", "ValidationException", needed},
		{"RSA_2048", "", "ValidationException", needed},
		{"SM2", usageSign, "UnsupportedOperationException", "KeySpec SM2 is not supported in this region."},
		{"HMAC_256", usageSign, "ValidationException", "KeyUsage SIGN_VERIFY is not compatible with KeySpec HMAC_256"},
		{"RSA_2048", usageAgree, "ValidationException", "KeyUsage KEY_AGREEMENT is not compatible with KeySpec RSA_2048"},
		{"SYMMETRIC_DEFAULT", usageSign, "ValidationException", "KeyUsage SIGN_VERIFY is not compatible with KeySpec SYMMETRIC_DEFAULT"},
		{"ECC_NIST_P256", usageEncrypt, "ValidationException", "KeyUsage ENCRYPT_DECRYPT is not compatible with KeySpec ECC_NIST_P256"},
		{"ECC_NIST_EDWARDS25519", usageAgree, "ValidationException", "KeyUsage KEY_AGREEMENT is not compatible with KeySpec ECC_NIST_EDWARDS25519"},
		{"ML_KEM_768", usageEncrypt, "ValidationException", "KeyUsage ENCRYPT_DECRYPT is not compatible with KeySpec ML_KEM_768"},
		{"AES_512", usageEncrypt, "ValidationException", "1 validation error detected: Value 'AES_512' at 'keySpec' failed to satisfy constraint: Member must satisfy enum value set: [*"},
	} {
		_, err := try(f.admin(), f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{KeySpec: c.spec, KeyUsage: c.usage})
		wantError(t, fmt.Sprintf("%s %s", c.spec, c.usage), err, c.code, c.message)
	}
	// ECC_SECG_P256K1 signs only; FIPS 140 mode refuses the spec first.
	_, err := try(f.admin(), f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{KeySpec: "ECC_SECG_P256K1", KeyUsage: usageAgree})
	if !fips140.Enforced() {
		wantError(t, "ECC_SECG_P256K1", err, "ValidationException", "KeyUsage KEY_AGREEMENT is not compatible with KeySpec ECC_SECG_P256K1")
	}
}

// Private keys keep their encoding: rows hold them, and data key pairs and
// imports are made of them.
func TestPrivateKeyEncoding(t *testing.T) {
	t.Parallel()
	fips140.WithoutEnforcement(func() {
		for name := range publicKeyOIDs {
			if bits := rsaBits(name); bits > 2048 {
				continue
			}
			key := private(t, name)
			der, err := encodePrivate(key)
			if err != nil {
				t.Fatal(err)
			}
			again, err := parsePrivate(name, der)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if e, ok := key.(interface{ Equal(any) bool }); ok && !e.Equal(again) {
				t.Errorf("%s: another key came back", name)
			}
			back, err := encodePrivate(again)
			if err != nil || !slices.Equal(back, der) {
				t.Errorf("%s: encoded anew the key differs: %v", name, err)
			}
			one, _ := encodePublic(key)
			two, err := encodePublic(again)
			if err != nil || !slices.Equal(one, two) {
				t.Errorf("%s: the public keys differ: %v", name, err)
			}
			for other := range publicKeyOIDs {
				if other == name {
					continue
				}
				if _, err := parsePrivate(other, der); err == nil {
					t.Errorf("a key of %s passes for one of %s", name, other)
				}
			}
		}
	})
	// RFC 9935, appendix C.1.2.1: the seed form of an ML-KEM-512 key begins so.
	seed := make([]byte, 64)
	for i := range seed {
		seed[i] = byte(i)
	}
	der, err := encodePrivate(newKEM512(seed))
	if err != nil {
		t.Fatal(err)
	}
	const want = "3054020100300b060960864801650304040104428040000102030405"
	if got := hex.EncodeToString(der); !strings.HasPrefix(got, want) || len(der) != 86 {
		t.Errorf("ML-KEM-512 in PKCS #8: %s (%d bytes), want %s…", got, len(der), want)
	}
	for name, bad := range map[string]struct {
		spec kmsapi.KeySpec
		der  []byte
	}{
		"nothing":        {"RSA_2048", nil},
		"half a key":     {"ML_KEM_512", der[:40]},
		"bytes behind":   {"ML_KEM_512", append(slices.Clone(der), 0)},
		"short MAC key":  {"HMAC_256", make([]byte, 31)},
		"secp256k1 of 0": {"ECC_SECG_P256K1", zeroSecp(t)},
	} {
		if key, err := parsePrivate(bad.spec, bad.der); err == nil {
			t.Errorf("%s: parsed as %T", name, key)
		}
	}
}

func zeroSecp(t *testing.T) []byte {
	t.Helper()
	der, err := encodePrivate(private(t, "ECC_SECG_P256K1"))
	if err != nil {
		t.Fatal(err)
	}
	var outer pkcs8
	var inner ecPrivateKey
	if _, err := asn1.Unmarshal(der, &outer); err != nil {
		t.Fatal(err)
	}
	if _, err := asn1.Unmarshal(outer.PrivateKey, &inner); err != nil {
		t.Fatal(err)
	}
	clear(inner.PrivateKey)
	if outer.PrivateKey, err = asn1.Marshal(inner); err != nil {
		t.Fatal(err)
	}
	if der, err = asn1.Marshal(outer); err != nil {
		t.Fatal(err)
	}
	return der
}

// parsePublic reads a public key with what others wrote.
func parsePublic(t testing.TB, der []byte) any {
	t.Helper()
	key, err := mldsax509.ParsePKIXPublicKey(der)
	if err != nil {
		t.Fatal(err)
	}
	switch key.(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey, *mldsa.PublicKey:
		return key
	}
	t.Fatalf("a %T", key)
	return nil
}

// Rows that hold a key of another spec than they say fail, and do not tell the key.
func TestMisplacedMaterialFails(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.keyWith("ECC_NIST_P256", usageSign, private(t, "ECC_NIST_P256"))
	f.plant(id, func(k *keyRow) { k.Spec = "ECC_NIST_P384" })
	_, err := try(f.admin(), f, kmsapi.Sign, &kmsapi.SignInput{KeyId: id, Message: []byte("m"), SigningAlgorithm: "ECDSA_SHA_384"})
	if e := schema.AsError(err); err == nil || e.Status < 500 {
		t.Errorf("Sign with misplaced material: %v", err)
	}
	f.plant(id, func(k *keyRow) { k.Materials[0].Private[20] ^= 1 })
	if _, err := try(f.admin(), f, kmsapi.Sign, &kmsapi.SignInput{KeyId: id, Message: []byte("m"), SigningAlgorithm: "ECDSA_SHA_384"}); err == nil {
		t.Error("Sign with damaged material succeeded")
	}
	o := &opened{private: macKey("this is the key")}
	if text := fmt.Sprintf("%v %+v %#v %x", o, o, o, o); strings.Contains(text, "this") || strings.Contains(text, "74686973") || strings.Contains(text, "116") {
		t.Errorf("opened material prints %s", text)
	}
}

// TestFIPS runs this package's tests of algorithms once more in a process that
// enforces FIPS 140, and says what must happen there.
func TestFIPS(t *testing.T) {
	t.Parallel()
	if fips140.Enforced() {
		t.Run("Unavailable", testUnavailable)
		t.Run("Import", testImportFIPS)
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^(TestFIPS|TestSign|TestVerify|TestMac|TestAgree|TestEncapsulate|TestRSAEncryption|TestDataKeyPairs|TestKeySpecs|TestImport|TestUnwrapPadded)", "-test.short")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "PASS") {
		t.Errorf("under GODEBUG=fips140=only: %v\n%s", err, out)
	}
}

// testUnavailable: what lies outside the module answers at creation and at use.
func testUnavailable(t *testing.T) {
	f := newFixture(t)
	const code = "UnsupportedOperationException"
	for _, name := range outsideFIPS {
		sp, _ := specOf(name)
		usage := sp.usages[0]
		_, err := try(f.admin(), f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{KeySpec: name, KeyUsage: usage})
		wantError(t, "CreateKey "+string(name), err, code, "KeySpec "+string(name)+" is not available in FIPS 140 mode.")
		// A key from a time without enforcement.
		var id string
		fips140.WithoutEnforcement(func() { id = f.keyWith(name, usage, private(t, name)) })
		if usage == usageKEM {
			_, err = try(f.admin(), f, kmsapi.Encapsulate, &kmsapi.EncapsulateInput{KeyId: id, EncapsulationAlgorithm: "ML_KEM"})
			wantError(t, "Encapsulate with "+string(name), err, code, "")
			_, err = try(f.admin(), f, kmsapi.Decapsulate, &kmsapi.DecapsulateInput{KeyId: id, EncapsulationAlgorithm: "ML_KEM", SharedSecretCiphertextBlob: make([]byte, 768)})
			wantError(t, "Decapsulate with "+string(name), err, code, "")
		} else {
			_, err = try(f.admin(), f, kmsapi.Sign, &kmsapi.SignInput{KeyId: id, Message: []byte("m"), SigningAlgorithm: sp.signing[0]})
			wantError(t, "Sign with "+string(name), err, code, "")
			_, err = try(f.admin(), f, kmsapi.Verify, &kmsapi.VerifyInput{KeyId: id, Message: []byte("m"), Signature: []byte("s"), SigningAlgorithm: sp.signing[0]})
			wantError(t, "Verify with "+string(name), err, code, "")
		}
		// Describing and reading what is public needs no algorithm.
		must(f.admin(), f, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: id})
		must(f.admin(), f, kmsapi.GetPublicKey, &kmsapi.GetPublicKeyInput{KeyId: id})
		if pair := kmsapi.DataKeyPairSpec(name); slices.Contains([]kmsapi.DataKeyPairSpec{"ECC_SECG_P256K1", "ML_KEM_512"}, pair) {
			_, err = try(f.admin(), f, kmsapi.GenerateDataKeyPair, &kmsapi.GenerateDataKeyPairInput{KeyId: f.key(""), KeyPairSpec: pair})
			wantError(t, "GenerateDataKeyPair "+string(pair), err, code, "")
		}
	}
	id := f.newKey("RSA_2048", usageEncrypt)
	_, err := try(f.admin(), f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: id, Plaintext: []byte("p"), EncryptionAlgorithm: oaepSHA1})
	wantError(t, "Encrypt", err, code, "Algorithm RSAES_OAEP_SHA_1 is not available in FIPS 140 mode.")
	_, err = try(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{KeyId: &id, CiphertextBlob: make([]byte, 256), EncryptionAlgorithm: oaepSHA1})
	wantError(t, "Decrypt", err, code, "")
	_, err = try(f.admin(), f, kmsapi.ReEncrypt, &kmsapi.ReEncryptInput{
		CiphertextBlob: f.encrypted(f.admin(), f.key(""), nil), DestinationKeyId: id, DestinationEncryptionAlgorithm: oaepSHA1,
	})
	wantError(t, "ReEncrypt", err, code, "")
}
