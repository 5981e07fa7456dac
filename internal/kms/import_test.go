package kms

import (
	"bytes"
	"crypto/fips140"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"strings"
	"sync"
	"testing"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/store"
)

const (
	wrapOAEP1 = kmsapi.AlgorithmSpecRsaesOaepSha1
	wrapOAEP  = kmsapi.AlgorithmSpecRsaesOaepSha256
	wrapAES1  = kmsapi.AlgorithmSpecRsaAesKeyWrapSha1
	wrapAES   = kmsapi.AlgorithmSpecRsaAesKeyWrapSha256

	forGood = kmsapi.ExpirationModelTypeKeyMaterialDoesNotExpire
	expires = kmsapi.ExpirationModelTypeKeyMaterialExpires
	newOne  = kmsapi.ImportTypeNewKeyMaterial
	oldOne  = kmsapi.ImportTypeExistingKeyMaterial
)

// wrappingKey is the wrapping key of every import that a test plants: making one
// for each would take most of the tests' time.
var wrappingKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// emptyKey makes a key without material.
func (f *fixture) emptyKey(name kmsapi.KeySpec, usage kmsapi.KeyUsageType) string {
	f.Helper()
	return must(f.admin(), f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{KeySpec: name, KeyUsage: usage, Origin: kmsapi.OriginTypeExternal}).KeyMetadata.KeyId
}

// importToken plants an import with the shared wrapping key.
func (f *fixture) importToken(id string, a kmsapi.AlgorithmSpec) []byte {
	f.Helper()
	return f.importTokenIn(region, id, a)
}

func (f *fixture) importTokenIn(region, id string, a kmsapi.AlgorithmSpec) []byte {
	f.Helper()
	der, err := encodePrivate(wrappingKey())
	if err != nil {
		f.Fatal(err)
	}
	k := f.rowIn(region, id)
	f.s.wrapping.RLock() // as GetParametersForImport: no erasure begins until the commit
	defer f.s.wrapping.RUnlock()
	row, token, err := f.s.newImport(&k, a, der)
	if err == nil {
		err = f.store.Update(f.Context(), func(tx *store.Tx) error { return imports.Put(tx, row, row.Region, row.KeyID, row.ID) })
	}
	if err != nil {
		f.Fatal(err)
	}
	return []byte(token)
}

// tryImport imports material; more changes the request.
func (f *fixture) tryImport(id string, material []byte, more func(*kmsapi.ImportKeyMaterialInput)) (*kmsapi.ImportKeyMaterialOutput, error) {
	f.Helper()
	return f.tryImportIn(region, id, material, more)
}

func (f *fixture) tryImportIn(region, id string, material []byte, more func(*kmsapi.ImportKeyMaterialInput)) (*kmsapi.ImportKeyMaterialOutput, error) {
	f.Helper()
	a := wrapOAEP
	if len(material) > 190 {
		a = wrapAES
	}
	in := &kmsapi.ImportKeyMaterialInput{
		KeyId: id, ImportToken: f.importTokenIn(region, id, a), EncryptedKeyMaterial: wrapped(f, a, material), ExpirationModel: forGood,
	}
	if more != nil {
		more(in)
	}
	return try(f.in(region, root(home)), f, kmsapi.ImportKeyMaterial, in)
}

func (f *fixture) imported(id string, material []byte, more func(*kmsapi.ImportKeyMaterialInput)) *kmsapi.ImportKeyMaterialOutput {
	f.Helper()
	out, err := f.tryImport(id, material, more)
	if err != nil {
		f.Fatalf("ImportKeyMaterial: %v", err)
	}
	return out
}

func asNew(in *kmsapi.ImportKeyMaterialInput) { in.ImportType = newOne }

func until(t time.Time) func(*kmsapi.ImportKeyMaterialInput) {
	return func(in *kmsapi.ImportKeyMaterialInput) { in.ExpirationModel, in.ValidTo = expires, &t }
}

func (f *fixture) describe(id string) *kmsapi.KeyMetadata {
	f.Helper()
	return must(f.admin(), f, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: id}).KeyMetadata
}

func (f *fixture) wantState(id string, want kmsapi.KeyState) {
	f.Helper()
	if m := f.describe(id); m.KeyState != want || *m.Enabled != (want == "Enabled") {
		f.Errorf("state %s, enabled %t, want %s", m.KeyState, *m.Enabled, want)
	}
}

// rotations lists the versions of a key: state, import state.
func (f *fixture) rotations(region, id string) string {
	f.Helper()
	out := must(f.in(region, root(home)), f, kmsapi.ListKeyRotations, &kmsapi.ListKeyRotationsInput{KeyId: id, IncludeKeyMaterial: "ALL_KEY_MATERIAL"})
	var all []string
	for _, r := range out.Rotations {
		all = append(all, string(r.KeyMaterialState)+" "+string(r.ImportState))
	}
	return strings.Join(all, ", ")
}

var material1, material2, material3 = bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32), bytes.Repeat([]byte{3}, 32)

// TestImportLife takes a symmetric key through its life, with real wrapping keys.
func TestImportLife(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	created := must(f.admin(), f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{Origin: kmsapi.OriginTypeExternal}).KeyMetadata
	id := created.KeyId
	if created.KeyState != "PendingImport" || *created.Enabled || created.Origin != "EXTERNAL" || created.ExpirationModel != "" || created.CurrentKeyMaterialId != nil {
		t.Errorf("a new key: %+v", created)
	}
	_, err := try(f.admin(), f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: id, Plaintext: []byte("p")})
	wantError(t, "Encrypt before the import", err, "KMSInvalidStateException", arnOf(id)+" is pending import.")

	params := must(f.admin(), f, kmsapi.GetParametersForImport, &kmsapi.GetParametersForImportInput{KeyId: id, WrappingAlgorithm: wrapOAEP, WrappingKeySpec: "RSA_2048"})
	if *params.KeyId != arnOf(id) || !params.ParametersValidTo.Equal(f.now().Add(day)) || len(params.ImportToken) == 0 || len(params.ImportToken) > 6144 {
		t.Errorf("parameters %+v", params)
	}
	public, ok := parsePublic(t, params.PublicKey).(*rsa.PublicKey)
	if !ok || public.Size() != 256 {
		t.Fatalf("the wrapping key is a %T", public)
	}
	in := &kmsapi.ImportKeyMaterialInput{
		KeyId: id, ImportToken: params.ImportToken, EncryptedKeyMaterial: wrapFor(t, public, wrapOAEP, material1),
		ExpirationModel: forGood, KeyMaterialDescription: new("from the safe"),
	}
	out := must(f.admin(), f, kmsapi.ImportKeyMaterial, in)
	if *out.KeyId != arnOf(id) || len(*out.KeyMaterialId) != 64 {
		t.Errorf("ImportKeyMaterial %+v", out)
	}
	_, err = try(f.admin(), f, kmsapi.ImportKeyMaterial, in)
	wantError(t, "the same token again", err, "InvalidImportTokenException", "The import token is invalid, was used before or is associated with a different KMS key.")
	m := f.describe(id)
	if m.KeyState != "Enabled" || m.ExpirationModel != forGood || m.ValidTo != nil || *m.CurrentKeyMaterialId != *out.KeyMaterialId {
		t.Errorf("after the import %+v", m)
	}
	blob := f.encrypted(f.admin(), id, nil)
	row := f.row(id)

	gone := must(f.admin(), f, kmsapi.DeleteImportedKeyMaterial, &kmsapi.DeleteImportedKeyMaterialInput{KeyId: id})
	if *gone.KeyId != arnOf(id) || *gone.KeyMaterialId != *out.KeyMaterialId {
		t.Errorf("DeleteImportedKeyMaterial %+v", gone)
	}
	if m := f.describe(id); m.KeyState != "PendingImport" || m.ExpirationModel != "" || *m.CurrentKeyMaterialId != *out.KeyMaterialId {
		t.Errorf("after the deletion %+v", m)
	}
	_, err = try(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: blob})
	wantError(t, "Decrypt after the deletion", err, "KMSInvalidStateException", arnOf(id)+" is pending import.")
	must(f.admin(), f, kmsapi.DeleteImportedKeyMaterial, &kmsapi.DeleteImportedKeyMaterialInput{KeyId: id}) // no effect

	if err := f.s.maintainOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f.opensNow(row) {
		t.Error("a copy of the row from before the deletion opens after the maintenance")
	}
	if queued, err := f.s.queuedErasures(t.Context()); err != nil || len(queued) > 0 {
		t.Errorf("%d erasures are still queued, %v", len(queued), err)
	}

	_, err = f.tryImport(id, material2, nil)
	wantError(t, "other material", err, "IncorrectKeyMaterialException", "The key material is not the same key material that was previously imported into "+arnOf(id)+".")
	f.wantState(id, "PendingImport")
	again := f.imported(id, material1, nil)
	if *again.KeyMaterialId != *out.KeyMaterialId {
		t.Errorf("the same material has the id %s, had %s", *again.KeyMaterialId, *out.KeyMaterialId)
	}
	if got := must(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: blob}); *got.KeyMaterialId != *out.KeyMaterialId {
		t.Errorf("Decrypt after the import of the same: %+v", got)
	}
	if r := must(f.admin(), f, kmsapi.ListKeyRotations, &kmsapi.ListKeyRotationsInput{KeyId: id, IncludeKeyMaterial: "ALL_KEY_MATERIAL"}).Rotations; len(r) != 1 || *r[0].KeyMaterialDescription != "from the safe" || r[0].ImportState != "IMPORTED" || r[0].ExpirationModel != forGood {
		t.Errorf("ListKeyRotations %+v", r)
	}
	other := f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt)
	if elsewhere := f.imported(other, material1, nil); *elsewhere.KeyMaterialId == *out.KeyMaterialId {
		t.Error("the same material has one id in two keys")
	}
}

// TestImportedKeys imports keys of every spec and uses them.
func TestImportedKeys(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, c := range []struct {
		spec  kmsapi.KeySpec
		usage kmsapi.KeyUsageType
		wraps []kmsapi.AlgorithmSpec
	}{
		{"RSA_2048", usageSign, []kmsapi.AlgorithmSpec{wrapAES, wrapAES1}},
		{"RSA_2048", usageEncrypt, []kmsapi.AlgorithmSpec{wrapAES}},
		{"ECC_NIST_P256", usageSign, []kmsapi.AlgorithmSpec{wrapOAEP, wrapOAEP1, wrapAES, wrapAES1}},
		{"ECC_NIST_P384", usageAgree, []kmsapi.AlgorithmSpec{wrapOAEP, wrapAES}},
		{"ECC_NIST_P521", usageSign, []kmsapi.AlgorithmSpec{wrapAES}},
		{"ECC_SECG_P256K1", usageSign, []kmsapi.AlgorithmSpec{wrapOAEP, wrapAES}},
		{"ECC_NIST_EDWARDS25519", usageSign, []kmsapi.AlgorithmSpec{wrapOAEP, wrapAES}},
		{"HMAC_224", usageMAC, []kmsapi.AlgorithmSpec{wrapOAEP, wrapOAEP1}},
		{"HMAC_256", usageMAC, []kmsapi.AlgorithmSpec{wrapOAEP}},
		{"HMAC_384", usageMAC, []kmsapi.AlgorithmSpec{wrapOAEP}},
		{"HMAC_512", usageMAC, []kmsapi.AlgorithmSpec{wrapOAEP}},
	} {
		if refusedByFIPS(c.spec) {
			continue
		}
		key := private(t, c.spec)
		der, err := encodePrivate(key)
		if err != nil {
			t.Fatal(err)
		}
		public, err := encodePublic(key)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range c.wraps {
			what := string(c.spec) + " by " + string(a)
			if w, _ := wrappingOf(a); w.oaep == oaepSHA1 && fips140.Enforced() {
				continue
			}
			if err := checkWrapping(c.spec, a, "RSA_2048"); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			id := f.emptyKey(c.spec, c.usage)
			in := &kmsapi.ImportKeyMaterialInput{KeyId: id, ImportToken: f.importToken(id, a), EncryptedKeyMaterial: wrapped(t, a, der), ExpirationModel: forGood}
			out, err := try(f.admin(), f, kmsapi.ImportKeyMaterial, in)
			if err != nil {
				t.Errorf("%s: %v", what, err)
				continue
			}
			if out.KeyMaterialId != nil {
				t.Errorf("%s: the id of the material is %s", what, *out.KeyMaterialId)
			}
			switch {
			case c.usage == usageMAC:
				sp, _ := specOf(c.spec)
				got := must(f.admin(), f, kmsapi.GenerateMac, &kmsapi.GenerateMacInput{KeyId: id, Message: []byte("m"), MacAlgorithm: sp.mac[0]})
				if c.spec == "HMAC_256" {
					h := hmac.New(sha256.New, der)
					h.Write([]byte("m"))
					if !hmac.Equal(h.Sum(nil), got.Mac) {
						t.Errorf("%s: the MAC is not that of the imported key", what)
					}
				}
			case !bytes.Equal(f.publicKey(id), public):
				t.Errorf("%s: another public key", what)
			case c.usage == usageSign:
				sp, _ := specOf(c.spec)
				must(f.admin(), f, kmsapi.Sign, &kmsapi.SignInput{KeyId: id, Message: []byte("m"), SigningAlgorithm: sp.signing[0]})
			}
			must(f.admin(), f, kmsapi.DeleteImportedKeyMaterial, &kmsapi.DeleteImportedKeyMaterialInput{KeyId: id})
			f.wantState(id, "PendingImport")
			if c.usage != usageMAC {
				_, err = try(f.admin(), f, kmsapi.GetPublicKey, &kmsapi.GetPublicKeyInput{KeyId: id})
				wantError(t, what+" GetPublicKey", err, "KMSInvalidStateException", "")
			}
			if c.spec != "RSA_2048" { // which takes long
				foreign, err := encodePrivate(private(t, c.spec))
				if err != nil {
					t.Fatal(err)
				}
				_, err = f.tryImport(id, foreign, nil)
				wantError(t, what+", another key", err, "IncorrectKeyMaterialException", "")
			}
			_, err = f.tryImport(id, der, func(in *kmsapi.ImportKeyMaterialInput) { in.ImportType = newOne })
			wantError(t, what+", ImportType", err, "ValidationException", "")
			f.imported(id, der, nil)
			f.wantState(id, "Enabled")
		}
	}
}

// TestImportRefusals: nothing that is refused changes anything.
func TestImportRefusals(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	sym, hmacKey, ecc, rsaKey := f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt), f.emptyKey("HMAC_256", usageMAC), f.emptyKey("ECC_NIST_P256", usageSign), f.emptyKey("RSA_2048", usageSign)
	ordinary := f.key("")
	p384, err := encodePrivate(private(t, "ECC_NIST_P384"))
	if err != nil {
		t.Fatal(err)
	}
	token := func(id string, a kmsapi.AlgorithmSpec) func(*kmsapi.ImportKeyMaterialInput) {
		return func(in *kmsapi.ImportKeyMaterialInput) { in.ImportToken = f.importToken(id, a) }
	}
	sealed := func(p envelope.Purpose, payload string) func(*kmsapi.ImportKeyMaterialInput) {
		return func(in *kmsapi.ImportKeyMaterialInput) {
			text, err := f.s.cfg.Keyring.SealToken(p, envelope.Token{Account: home, Region: region, Expires: f.now().Add(day), Payload: []byte(payload)})
			if err != nil {
				t.Fatal(err)
			}
			in.ImportToken = []byte(text)
		}
	}
	const token0 = "The import token is invalid, was used before or is associated with a different KMS key."
	for _, c := range []struct {
		name, key     string
		material      []byte
		more          func(*kmsapi.ImportKeyMaterialInput)
		code, message string
	}{
		{"no validTo", sym, material1, func(in *kmsapi.ImportKeyMaterialInput) { in.ExpirationModel = expires }, "ValidationException", "A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES"},
		{"no expiration model and no validTo", sym, material1, func(in *kmsapi.ImportKeyMaterialInput) { in.ExpirationModel = "" }, "ValidationException", "A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES"},
		{"validTo of what never expires", sym, material1, func(in *kmsapi.ImportKeyMaterialInput) { in.ValidTo = new(f.now().Add(day)) }, "ValidationException", "A validTo date cannot be set if the ExpirationModel is KEY_MATERIAL_DOES_NOT_EXPIRE"},
		{"validTo now", sym, material1, until(f.now()), "ValidationException", "The validTo date must be in the future"},
		{"validTo too late", sym, material1, until(f.now().Add(365*day + time.Second)), "ValidationException", "The validTo date must be within 365 days of now"},
		{"a key of KMS's own", ordinary, material1, token(sym, wrapOAEP), "UnsupportedOperationException", arnOf(ordinary) + " origin is AWS_KMS which is not valid for this operation."},
		{"token of another key", sym, material1, token(hmacKey, wrapOAEP), "InvalidImportTokenException", token0},
		{"no token of ours", sym, material1, func(in *kmsapi.ImportKeyMaterialInput) { in.ImportToken = []byte("token") }, "InvalidImportTokenException", token0},
		{"a page token", sym, material1, sealed(envelope.PageToken, sym+"|"+strings.Repeat("a", 64)), "InvalidImportTokenException", token0},
		{"a token without a wrapping key", sym, material1, sealed(envelope.ImportToken, sym+"|"+strings.Repeat("a", 64)), "InvalidImportTokenException", token0},
		{"a token of nothing", sym, material1, sealed(envelope.ImportToken, sym), "InvalidImportTokenException", token0},
		{"token of another algorithm", sym, material1, token(sym, wrapAES), "InvalidCiphertextException", ""},
		{"no ciphertext", sym, material1, func(in *kmsapi.ImportKeyMaterialInput) { in.EncryptedKeyMaterial = []byte("x") }, "InvalidCiphertextException", ""},
		{"wrapped for another key", sym, material1, func(in *kmsapi.ImportKeyMaterialInput) {
			in.EncryptedKeyMaterial[17] ^= 1
		}, "InvalidCiphertextException", ""},
		{"16 bytes", sym, material1[:16], nil, "IncorrectKeyMaterialException", "Key material for a symmetric encryption key has 256 bits."},
		{"33 bytes", sym, append(bytes.Clone(material1), 1), nil, "IncorrectKeyMaterialException", ""},
		{"an HMAC key too short", hmacKey, material1[:28], nil, "IncorrectKeyMaterialException", "The key material is not a private key of key spec HMAC_256."},
		{"a key of another curve", ecc, p384, nil, "IncorrectKeyMaterialException", "The key material is not a private key of key spec ECC_NIST_P256."},
		{"an RSA key that is none", rsaKey, bytes.Repeat([]byte{0x30}, 300), nil, "IncorrectKeyMaterialException", ""},
		{"ImportType of an HMAC key", hmacKey, material1, asNew, "ValidationException", "ImportType, KeyMaterialId and KeyMaterialDescription are only valid for symmetric encryption keys."},
		{"the id of new material", sym, material1, func(in *kmsapi.ImportKeyMaterialInput) {
			in.ImportType, in.KeyMaterialId = newOne, new(strings.Repeat("a", 64))
		}, "ValidationException", "You cannot specify a KeyMaterialId when the ImportType is NEW_KEY_MATERIAL."},
		{"another id", sym, material1, func(in *kmsapi.ImportKeyMaterialInput) { in.KeyMaterialId = new(strings.Repeat("a", 64)) }, "IncorrectKeyMaterialException", ""},
		{"existing material of an empty key", sym, material1, func(in *kmsapi.ImportKeyMaterialInput) { in.ImportType = oldOne }, "IncorrectKeyMaterialException", ""},
	} {
		before := f.row(c.key)
		out, err := func() (*kmsapi.ImportKeyMaterialOutput, error) {
			if c.key != ordinary {
				return f.tryImport(c.key, c.material, c.more)
			}
			in := &kmsapi.ImportKeyMaterialInput{KeyId: c.key, EncryptedKeyMaterial: wrapped(t, wrapOAEP, c.material), ExpirationModel: forGood}
			c.more(in)
			return try(f.admin(), f, kmsapi.ImportKeyMaterial, in)
		}()
		wantError(t, c.name, err, c.code, c.message)
		if err == nil {
			t.Errorf("%s: %+v", c.name, out)
		}
		if after := f.row(c.key); after.State != before.State || len(after.Materials) != len(before.Materials) {
			t.Errorf("%s has changed the key", c.name)
		}
	}
	// A failed import leaves its token; 24 hours end it.
	in := &kmsapi.ImportKeyMaterialInput{KeyId: sym, ImportToken: f.importToken(sym, wrapOAEP), EncryptedKeyMaterial: wrapped(t, wrapOAEP, material1[:16]), ExpirationModel: forGood}
	_, err = try(f.admin(), f, kmsapi.ImportKeyMaterial, in)
	wantError(t, "16 bytes", err, "IncorrectKeyMaterialException", "")
	in.EncryptedKeyMaterial = wrapped(t, wrapOAEP, material1)
	f.pass(day - time.Second)
	late := *in
	must(f.admin(), f, kmsapi.ImportKeyMaterial, in)
	late.ImportToken = f.importToken(sym, wrapOAEP)
	f.pass(day)
	_, err = try(f.admin(), f, kmsapi.ImportKeyMaterial, &late)
	wantError(t, "a token after a day", err, "ExpiredImportTokenException", "The import token has expired.")
	late.KeyId = hmacKey
	_, err = try(f.admin(), f, kmsapi.ImportKeyMaterial, &late)
	wantError(t, "another key's token after a day", err, "InvalidImportTokenException", token0)
	if err := f.s.rewrapImports(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.store.View(t.Context(), func(tx *store.Tx) error {
		for row, err := range imports.Scan(tx, nil, store.ScanOptions{}) {
			t.Errorf("a wrapping key is left: %v, %v", row.Value.ID, err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	// Other accounts and Regions.
	text, err := f.s.cfg.Keyring.SealToken(envelope.ImportToken, envelope.Token{Account: abroad, Region: region, Expires: f.now().Add(day), Payload: []byte(sym + "|x")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.tryImport(sym, material1, func(in *kmsapi.ImportKeyMaterialInput) { in.ImportToken = []byte(text) })
	wantError(t, "a token of another account", err, "InvalidImportTokenException", token0)
}

func TestImportParameters(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const unsupported = "UnsupportedOperationException"
	symKey, rsaKey, p521, hmacKey, ordinary := f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt), f.emptyKey("RSA_3072", usageSign), f.emptyKey("ECC_NIST_P521", usageSign), f.emptyKey("HMAC_512", usageMAC), f.key("")
	for _, c := range []struct {
		name, key     string
		algorithm     kmsapi.AlgorithmSpec
		by            kmsapi.WrappingKeySpec
		code, message string
	}{
		{"a key of KMS's own", ordinary, wrapOAEP, "RSA_2048", unsupported, arnOf(ordinary) + " origin is AWS_KMS which is not valid for this operation."},
		{"withdrawn", symKey, "RSAES_PKCS1_V1_5", "RSA_2048", unsupported, "The wrapping algorithm RSAES_PKCS1_V1_5 is no longer supported."},
		{"China's", symKey, "SM2PKE", "SM2", unsupported, "The wrapping algorithm SM2PKE with the wrapping key spec SM2 is not supported in this region."},
		{"China's key", symKey, wrapOAEP, "SM2", unsupported, ""},
		{"RSA in RSA", rsaKey, wrapOAEP, "RSA_4096", unsupported, "The wrapping algorithm RSAES_OAEP_SHA_256 is not valid for key material of key spec RSA_3072."},
		{"symmetric by AES", symKey, wrapAES, "RSA_2048", unsupported, "The wrapping algorithm RSA_AES_KEY_WRAP_SHA_256 is not valid for key material of key spec SYMMETRIC_DEFAULT."},
		{"HMAC by AES", hmacKey, wrapAES1, "RSA_2048", unsupported, "The wrapping algorithm RSA_AES_KEY_WRAP_SHA_1 is not valid for key material of key spec HMAC_512."},
		{"P-521 in RSA-2048", p521, wrapOAEP, "RSA_2048", unsupported, "The wrapping algorithm RSAES_OAEP_SHA_256 with the wrapping key spec RSA_2048 is not valid for key material of key spec ECC_NIST_P521."},
		{"P-521 by AES", p521, wrapAES, "RSA_2048", "", ""},
		{"P-521 in RSA-3072", p521, wrapOAEP, "RSA_3072", "", ""},
		{"no algorithm", symKey, "", "RSA_2048", "ValidationException", ""},
		{"unknown algorithm", symKey, "ROT_13", "RSA_2048", "ValidationException", "1 validation error detected: Value 'ROT_13' at 'wrappingAlgorithm' failed to satisfy constraint: Member must satisfy enum value set:*"},
	} {
		if testing.Short() && c.by == "RSA_3072" {
			continue
		}
		_, err := try(f.admin(), f, kmsapi.GetParametersForImport, &kmsapi.GetParametersForImportInput{KeyId: c.key, WrappingAlgorithm: c.algorithm, WrappingKeySpec: c.by})
		wantError(t, c.name, err, c.code, c.message)
	}
	for _, name := range []kmsapi.KeySpec{"ML_DSA_44", "ML_KEM_768"} {
		if refusedByFIPS(name) {
			continue
		}
		sp, _ := specOf(name)
		_, err := try(f.admin(), f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{KeySpec: name, KeyUsage: sp.usages[0], Origin: kmsapi.OriginTypeExternal})
		wantError(t, string(name), err, unsupported, "KeySpec "+string(name)+" is not supported for keys with imported key material.")
	}
	_, err := try(f.admin(), f, kmsapi.DeleteImportedKeyMaterial, &kmsapi.DeleteImportedKeyMaterialInput{KeyId: ordinary})
	wantError(t, "DeleteImportedKeyMaterial of a key of KMS's own", err, unsupported, arnOf(ordinary)+" origin is AWS_KMS which is not valid for this operation.")
	_, err = try(f.admin(), f, kmsapi.DeleteImportedKeyMaterial, &kmsapi.DeleteImportedKeyMaterialInput{KeyId: symKey, KeyMaterialId: new(strings.Repeat("a", 64))})
	wantError(t, "unknown material", err, "NotFoundException", "")
}

// testImportFIPS: SHA-1 wraps nothing under enforcement, the rest works.
func testImportFIPS(t *testing.T) {
	f := newFixture(t)
	id, ecc := f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt), f.emptyKey("ECC_NIST_P256", usageSign)
	for key, a := range map[string]kmsapi.AlgorithmSpec{id: wrapOAEP1, ecc: wrapAES1} {
		const code = "UnsupportedOperationException"
		_, err := try(f.admin(), f, kmsapi.GetParametersForImport, &kmsapi.GetParametersForImportInput{KeyId: key, WrappingAlgorithm: a, WrappingKeySpec: "RSA_2048"})
		wantError(t, "GetParametersForImport "+string(a), err, code, "Algorithm "+string(a)+" is not available in FIPS 140 mode.")
		// A token from a time without enforcement.
		in := &kmsapi.ImportKeyMaterialInput{KeyId: key, ImportToken: f.importToken(key, a), ExpirationModel: forGood}
		fips140.WithoutEnforcement(func() { in.EncryptedKeyMaterial = wrapped(t, a, material1) })
		_, err = try(f.admin(), f, kmsapi.ImportKeyMaterial, in)
		wantError(t, "ImportKeyMaterial "+string(a), err, code, "Algorithm "+string(a)+" is not available in FIPS 140 mode.")
	}
	f.imported(id, material1, nil)
	blob := f.encrypted(f.admin(), id, nil)
	must(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: blob})
	f.refusesSpec("ECC_SECG_P256K1")
}

// refusesSpec tries to import a key of a spec outside the FIPS 140 module into a
// key from a time without enforcement.
func (f *fixture) refusesSpec(name kmsapi.KeySpec) {
	f.Helper()
	const code = "UnsupportedOperationException"
	message := "KeySpec " + string(name) + " is not available in FIPS 140 mode."
	_, err := try(f.admin(), f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{KeySpec: name, KeyUsage: usageSign, Origin: kmsapi.OriginTypeExternal})
	wantError(f, "CreateKey", err, code, message)
	var id string
	in := &kmsapi.ImportKeyMaterialInput{ExpirationModel: forGood}
	fips140.WithoutEnforcement(func() {
		id = f.emptyKey(name, usageSign)
		der, err := encodePrivate(private(f, name))
		if err != nil {
			f.Fatal(err)
		}
		in.KeyId, in.ImportToken, in.EncryptedKeyMaterial = id, f.importToken(id, wrapAES), wrapped(f, wrapAES, der)
	})
	_, err = try(f.admin(), f, kmsapi.GetParametersForImport, &kmsapi.GetParametersForImportInput{KeyId: id, WrappingAlgorithm: wrapOAEP, WrappingKeySpec: "RSA_2048"})
	wantError(f, "GetParametersForImport", err, code, message)
	_, err = try(f.admin(), f, kmsapi.ImportKeyMaterial, in)
	wantError(f, "ImportKeyMaterial", err, code, message)
	f.wantState(id, "PendingImport")
}

// TestImportConditions: the condition keys of the import operations.
func TestImportConditions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt)
	alice := f.user(home, "alice", doc(
		allow("kms:GetParametersForImport", `"Condition":{"StringEquals":{"kms:WrappingAlgorithm":"RSAES_OAEP_SHA_256","kms:WrappingKeySpec":"RSA_2048"}}`),
		allow("kms:ImportKeyMaterial", `"Condition":{"StringEquals":{"kms:ExpirationModel":"KEY_MATERIAL_EXPIRES"},"DateLessThan":{"kms:ValidTo":"2026-12-24T00:00:00Z"}}`),
		allow("kms:DeleteImportedKeyMaterial", when("StringEquals", "kms:KeyOrigin", "EXTERNAL"))))
	parameters := func(a kmsapi.AlgorithmSpec, by kmsapi.WrappingKeySpec) error {
		_, err := try(f.by(alice), f, kmsapi.GetParametersForImport, &kmsapi.GetParametersForImportInput{KeyId: id, WrappingAlgorithm: a, WrappingKeySpec: by})
		return err
	}
	wantError(t, "another algorithm", parameters(wrapOAEP1, "RSA_2048"), denied, "")
	wantError(t, "another spec", parameters(wrapOAEP, "RSA_3072"), denied, "")
	wantError(t, "the right ones", parameters(wrapOAEP, "RSA_2048"), "", "")
	imports := func(model kmsapi.ExpirationModelType, validTo *time.Time) error {
		_, err := try(f.by(alice), f, kmsapi.ImportKeyMaterial, &kmsapi.ImportKeyMaterialInput{
			KeyId: id, ImportToken: f.importToken(id, wrapOAEP), EncryptedKeyMaterial: wrapped(t, wrapOAEP, material1), ExpirationModel: model, ValidTo: validTo,
		})
		return err
	}
	wantError(t, "for good", imports(forGood, nil), denied, "")
	wantError(t, "without a model, too long", imports("", new(f.now().Add(40*day))), denied, "")
	wantError(t, "without a model", imports("", new(f.now().Add(day))), "", "")
	wantError(t, "too long", imports(expires, new(f.now().Add(40*day))), denied, "")
	wantError(t, "in bounds", imports(expires, new(f.now().Add(day))), "", "")
	_, err := try(f.by(alice), f, kmsapi.DeleteImportedKeyMaterial, &kmsapi.DeleteImportedKeyMaterialInput{KeyId: id})
	wantError(t, "the deletion", err, "", "")
	bob := f.user(abroad, "bob", doc(allow("kms:*")))
	_, err = try(f.by(bob), f, kmsapi.DeleteImportedKeyMaterial, &kmsapi.DeleteImportedKeyMaterialInput{KeyId: arnOf(id)})
	wantError(t, "another account", err, denied, "")
}
