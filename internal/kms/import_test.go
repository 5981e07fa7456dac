package kms

import (
	"bytes"
	"crypto/aes"
	"crypto/fips140"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
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

// wrapped wraps key material as customers do.
func wrapped(t testing.TB, a kmsapi.AlgorithmSpec, material []byte) []byte {
	return wrapFor(t, &wrappingKey().PublicKey, a, material)
}

func wrapFor(t testing.TB, to *rsa.PublicKey, a kmsapi.AlgorithmSpec, material []byte) []byte {
	t.Helper()
	w, ok := wrappingOf(a)
	if !ok {
		t.Fatalf("no wrapping %s", a)
	}
	first := material
	var rest []byte
	if w.aes {
		first = bytes.Repeat([]byte{9}, 32)
		rest = wrapPadded(t, first, material)
	}
	out, err := rsa.EncryptOAEP(oaepHash(w.oaep), rand.Reader, to, first, nil)
	if err != nil {
		t.Fatal(err)
	}
	return append(out, rest...)
}

// wrapPadded is AES key wrap with padding, from RFC 5649, section 4.1.
func wrapPadded(t testing.TB, kek, plain []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(kek)
	if err != nil {
		t.Fatal(err)
	}
	a := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 0xa65959a6), uint32(len(plain)))
	out := append(a, plain...)
	for len(out)%8 != 0 {
		out = append(out, 0)
	}
	if len(out) == 16 {
		block.Encrypt(out, out)
		return out
	}
	return wrapBlocks(t, kek, out)
}

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
	row, token, err := f.s.newImport(new(f.rowIn(region, id)), a, der)
	if err == nil {
		err = f.store.Update(f.Context(), func(tx *store.Tx) error { return imports.Put(tx, row, row.Region, row.KeyID, row.ID) })
	}
	if err != nil {
		f.Fatal(err)
	}
	return []byte(token)
}

func (f *fixture) rowIn(region, id string) (k keyRow) {
	f.Helper()
	err := f.store.View(f.Context(), func(tx *store.Tx) (err error) {
		k, err = keys.Get(tx, region, id)
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
	return k
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
			text, err := f.s.Keyring.SealToken(p, envelope.Token{Account: home, Region: region, Expires: f.now().Add(day), Payload: []byte(payload)})
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
	text, err := f.s.Keyring.SealToken(envelope.ImportToken, envelope.Token{Account: abroad, Region: region, Expires: f.now().Add(day), Payload: []byte(sym + "|x")})
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
}

// TestImportedRotation: several materials in one key, each by a rotation.
func TestImportedRotation(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt)
	rotate := func() error {
		_, err := try(f.admin(), f, kmsapi.RotateKeyOnDemand, &kmsapi.RotateKeyOnDemandInput{KeyId: id})
		return err
	}
	wantError(t, "RotateKeyOnDemand of an empty key", rotate(), "KMSInvalidStateException", arnOf(id)+" is pending import.")
	one := *f.imported(id, material1, asNew).KeyMaterialId
	const none = "No available key material pending rotation for the key: "
	wantError(t, "RotateKeyOnDemand without new material", rotate(), "KMSInvalidStateException", none+arnOf(id)+".")
	_, err := f.tryImport(id, material1, asNew)
	wantError(t, "known material as new", err, "IncorrectKeyMaterialException", "The key material is already associated with "+arnOf(id)+".")
	first := f.encrypted(f.admin(), id, nil)

	two := *f.imported(id, material2, asNew).KeyMaterialId
	if got := f.rotations(region, id); got != "CURRENT IMPORTED, PENDING_ROTATION IMPORTED" {
		t.Errorf("with new material: %s", got)
	}
	if m := f.describe(id); *m.CurrentKeyMaterialId != one || m.KeyState != "Enabled" {
		t.Errorf("with new material %+v", m)
	}
	_, err = f.tryImport(id, material3, asNew)
	if err == nil || !strings.HasPrefix(err.Error(), "KMSInvalidStateException: New key material (id: ") || !strings.HasSuffix(err.Error(),
		") cannot be imported into KMS key "+arnOf(id)+", because another key material (id: "+two+") is pending rotation.") {
		t.Errorf("a third material: %v", err)
	}
	// Material that waits for a rotation can be taken back.
	if out := must(f.admin(), f, kmsapi.DeleteImportedKeyMaterial, &kmsapi.DeleteImportedKeyMaterialInput{KeyId: id, KeyMaterialId: &two}); *out.KeyMaterialId != two {
		t.Errorf("DeleteImportedKeyMaterial %+v", out)
	}
	f.wantState(id, "Enabled")
	if got := f.rotations(region, id); got != "CURRENT IMPORTED" {
		t.Errorf("after the deletion of new material: %s", got)
	}
	three := *f.imported(id, material3, asNew).KeyMaterialId
	if err := rotate(); err != nil {
		t.Fatal(err)
	}
	if got := f.rotations(region, id); got != "NON_CURRENT IMPORTED, CURRENT IMPORTED" {
		t.Errorf("after the rotation: %s", got)
	}
	if *f.describe(id).CurrentKeyMaterialId != three {
		t.Error("the new material is not current")
	}
	only := must(f.admin(), f, kmsapi.ListKeyRotations, &kmsapi.ListKeyRotationsInput{KeyId: id}).Rotations
	if len(only) != 1 || *only[0].KeyMaterialId != three || only[0].RotationType != "ON_DEMAND" || !only[0].RotationDate.Equal(f.now()) {
		t.Errorf("ListKeyRotations %+v", only)
	}
	second := f.encrypted(f.admin(), id, nil)
	for what, blob := range map[string][]byte{"first": first, "second": second} {
		if _, err := try(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: blob}); err != nil {
			t.Errorf("the %s ciphertext: %v", what, err)
		}
	}
	// Every material that belongs to the key must be there.
	must(f.admin(), f, kmsapi.DeleteImportedKeyMaterial, &kmsapi.DeleteImportedKeyMaterialInput{KeyId: id, KeyMaterialId: &one})
	f.wantState(id, "PendingImport")
	if got := f.rotations(region, id); got != "NON_CURRENT PENDING_IMPORT, CURRENT IMPORTED" {
		t.Errorf("without the first: %s", got)
	}
	_, err = f.tryImport(id, material3, nil)
	wantError(t, "the one that is there", err, "", "")
	f.wantState(id, "PendingImport")
	f.imported(id, material1, func(in *kmsapi.ImportKeyMaterialInput) { in.KeyMaterialId = &one })
	f.wantState(id, "Enabled")
	// Automatic rotation is for KMS's own material.
	_, err = try(f.admin(), f, kmsapi.EnableKeyRotation, &kmsapi.EnableKeyRotationInput{KeyId: id})
	wantError(t, "EnableKeyRotation", err, "UnsupportedOperationException", arnOf(id)+" origin is EXTERNAL which is not valid for this operation.")
	if s := must(f.admin(), f, kmsapi.GetKeyRotationStatus, &kmsapi.GetKeyRotationStatusInput{KeyId: id}); *s.KeyRotationEnabled {
		t.Errorf("GetKeyRotationStatus %+v", s)
	}
	f.plant(id, func(k *keyRow) { k.Rotation.OnDemand = maxOnDemand })
	f.imported(id, material2, asNew)
	wantError(t, "the 26th rotation", rotate(), "LimitExceededException", "")
}

// TestImportedExpiry: at ValidTo the material is gone, at the first use and not a
// second later; the record comes with it, once.
func TestImportedExpiry(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt)
	end := f.now().Add(10 * day)
	material := *f.imported(id, material1, until(end)).KeyMaterialId
	if m := f.describe(id); m.ExpirationModel != expires || !m.ValidTo.Equal(end) {
		t.Errorf("%+v", m)
	}
	blob := f.encrypted(f.admin(), id, nil)
	before := f.s.Epoch(region, arnOf(id))
	row := f.row(id)
	f.pass(10*day - time.Microsecond)
	must(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: blob})
	if f.s.Epoch(region, arnOf(id)) != before {
		t.Error("what was decided from the key is stale too early")
	}
	f.pass(time.Microsecond)
	if a, b := f.s.Epoch(region, arnOf(id)), f.s.Epoch(region, arnOf(id)); a == before || a == b {
		t.Error("what was decided from the key outlives its material")
	}
	_, err := try(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: blob})
	wantError(t, "Decrypt at ValidTo", err, "KMSInvalidStateException", arnOf(id)+" is pending import.")
	if f.s.Epoch(region, arnOf(id)) == before {
		t.Error("what was decided from the key outlives its material")
	}
	f.wantState(id, "PendingImport")
	if err := f.s.maintainOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f.opensNow(row) {
		t.Error("a copy of the row from before the expiry opens")
	}
	n := 0
	for _, r := range f.records() {
		if containsAll(string(r), `"eventName":"DeleteExpiredKeyMaterial"`, arnOf(id), material) {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d DeleteExpiredKeyMaterial records, want 1", n)
	}
	// The maintenance finds what nobody meets; the same material comes back for good.
	f.imported(id, material1, until(f.now().Add(time.Hour)))
	must(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: blob})
	f.pass(time.Hour)
	if err := f.s.maintainOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if k := f.row(id); k.State != "PendingImport" || k.Materials[0].Wrapped != nil {
		t.Errorf("the maintenance leaves the key %s", k.State)
	}
	f.imported(id, material1, nil)
	f.imported(id, material2, func(in *kmsapi.ImportKeyMaterialInput) { asNew(in); until(f.now().Add(time.Hour))(in) })
	if m := f.describe(id); m.ExpirationModel != forGood || m.ValidTo != nil {
		t.Errorf("what waits for a rotation counts for the expiry: %+v", m)
	}
	f.pass(time.Hour)
	f.wantState(id, "Enabled") // only what waited is gone
	if got := f.rotations(region, id); got != "CURRENT IMPORTED" {
		t.Errorf("after the expiry of what waited: %s", got)
	}
	must(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: blob})
	// A disabled key and one about to be deleted lose their material, too.
	f.imported(id, material1, until(f.now().Add(time.Hour)))
	f.schedule(id)
	f.pass(time.Hour)
	f.wantState(id, "PendingDeletion")
	must(f.admin(), f, kmsapi.CancelKeyDeletion, &kmsapi.CancelKeyDeletionInput{KeyId: id})
	f.wantState(id, "PendingImport")
}

// TestImportedErasure: an erasure keeps imported material and open imports.
func TestImportedErasure(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id, next, doomed := f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt), f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt), f.key("")
	f.imported(id, material1, nil)
	f.imported(id, material2, asNew)
	blob := f.encrypted(f.admin(), id, nil)
	f.schedule(doomed)
	f.pass(7 * day)
	token := f.importToken(next, wrapOAEP)
	var old importRow
	if err := f.store.View(t.Context(), func(tx *store.Tx) error {
		for row, err := range imports.Scan(tx, store.Key{region, next}, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			old = row.Value
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	f.erase()
	if _, err := f.s.openImport(&old); err == nil {
		t.Error("a copy of a wrapping key from before the erasure opens")
	}
	must(f.admin(), f, kmsapi.ImportKeyMaterial, &kmsapi.ImportKeyMaterialInput{
		KeyId: next, ImportToken: token, EncryptedKeyMaterial: wrapped(t, wrapOAEP, material1), ExpirationModel: forGood,
	})
	must(f.admin(), f, kmsapi.RotateKeyOnDemand, &kmsapi.RotateKeyOnDemandInput{KeyId: id})
	for _, b := range [][]byte{blob, f.encrypted(f.admin(), id, nil)} {
		must(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: b})
	}
	// What is deleted while an erasure runs is erased by the next one.
	if err := f.s.beginErasure(); err != nil {
		t.Fatal(err)
	}
	if err := f.s.rewrapAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	copied := f.row(next)
	must(f.admin(), f, kmsapi.DeleteImportedKeyMaterial, &kmsapi.DeleteImportedKeyMaterialInput{KeyId: next})
	f.erase()
	if f.opensNow(copied) {
		t.Error("material that was deleted during an erasure opens")
	}
	f.schedule(id)
	f.importToken(id, wrapOAEP)
	f.pass(7 * day)
	f.erase()
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
	wantError(t, "without a model", imports("", new(f.now().Add(day))), denied, "")
	wantError(t, "too long", imports(expires, new(f.now().Add(40*day))), denied, "")
	wantError(t, "in bounds", imports(expires, new(f.now().Add(day))), "", "")
	_, err := try(f.by(alice), f, kmsapi.DeleteImportedKeyMaterial, &kmsapi.DeleteImportedKeyMaterialInput{KeyId: id})
	wantError(t, "the deletion", err, "", "")
	bob := f.user(abroad, "bob", doc(allow("kms:*")))
	_, err = try(f.by(bob), f, kmsapi.DeleteImportedKeyMaterial, &kmsapi.DeleteImportedKeyMaterialInput{KeyId: arnOf(id)})
	wantError(t, "another account", err, denied, "")
}

// RFC 5649, section 6, and what must not open.
func TestUnwrapPadded(t *testing.T) {
	t.Parallel()
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	kek := unhex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8")
	for _, c := range []struct{ plain, wrapped string }{
		{"c37b7e6492584340bed12207808941155068f738", "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a"},
		{"466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"},
	} {
		got, err := unwrapPadded(kek, unhex(c.wrapped))
		if err != nil || !bytes.Equal(got, unhex(c.plain)) {
			t.Errorf("%s: %x, %v", c.wrapped, got, err)
		}
		for i := range unhex(c.wrapped) {
			bad := unhex(c.wrapped)
			bad[i] ^= 0x10
			if got, err := unwrapPadded(kek, bad); err == nil {
				t.Errorf("byte %d changed: %x", i, got)
			}
		}
	}
	long := bytes.Repeat([]byte{5}, 32)
	for n := 1; n < 40; n++ {
		plain := bytes.Repeat([]byte{byte(n)}, n)
		got, err := unwrapPadded(long, wrapPadded(t, long, plain))
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes: %x, %v", n, got, err)
		}
	}
	for _, n := range []int{0, 8, 15, 17, 20, 25} {
		if _, err := unwrapPadded(long, make([]byte, n)); err == nil {
			t.Errorf("%d zero bytes open", n)
		}
	}
	// Padding that is not zero, and a length that is not the block's.
	forged := func(length uint32, padded []byte) []byte {
		b := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, paddedMagic), length)
		return wrapBlocks(t, long, append(b, padded...))
	}
	for name, b := range map[string][]byte{
		"padding of ones": forged(9, slices.Concat(make([]byte, 9), bytes.Repeat([]byte{1}, 7))), "no bytes": forged(0, make([]byte, 16)),
		"too long": forged(17, make([]byte, 16)), "too short": forged(8, make([]byte, 16)), "huge": forged(0xffffffff, make([]byte, 16)),
	} {
		if got, err := unwrapPadded(long, b); err == nil {
			t.Errorf("%s: %x", name, got)
		}
	}
}

// wrapBlocks wraps initial value and padded text as they are.
func wrapBlocks(t testing.TB, kek, b []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(kek)
	if err != nil {
		t.Fatal(err)
	}
	out := bytes.Clone(b)
	n := len(out)/8 - 1
	for j := range 6 {
		for i := 1; i <= n; i++ {
			x := append(bytes.Clone(out[:8]), out[8*i:8*i+8]...)
			block.Encrypt(x, x)
			binary.BigEndian.PutUint64(out, binary.BigEndian.Uint64(x)^uint64(n*j+i))
			copy(out[8*i:], x[8:])
		}
	}
	return out
}

// Of all byte strings those alone import under a token that were wrapped to its
// key, and they import as what they were.
func FuzzImport(f *testing.F) {
	x := newFixture(f)
	ecc := private(f, "ECC_NIST_P256")
	der, err := encodePrivate(ecc)
	if err != nil {
		f.Fatal(err)
	}
	public, err := encodePublic(ecc)
	if err != nil {
		f.Fatal(err)
	}
	keys := map[bool]keyRow{
		false: x.row(x.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt)), true: x.row(x.emptyKey("ECC_NIST_P256", usageSign)),
	}
	wraps := map[bool]kmsapi.AlgorithmSpec{false: wrapOAEP, true: wrapAES}
	good := map[bool][]byte{false: wrapped(f, wrapOAEP, material1), true: wrapped(f, wrapAES, der)}
	for by, b := range good {
		f.Add(b, by)
		f.Add(b[:len(b)-1], by)
		f.Add(b, !by)
		f.Add(append(bytes.Clone(b), 0), by)
	}
	kek := bytes.Repeat([]byte{9}, 32)
	f.Fuzz(func(t *testing.T, b []byte, withAES bool) {
		if len(b) > 1024 {
			return
		}
		k := keys[withAES]
		m, err := unwrapMaterial(&k, &importRow{Algorithm: wraps[withAES]}, wrappingKey(), b)
		switch {
		case (err == nil) != bytes.Equal(b, good[withAES]):
			t.Fatalf("%x: %v", b, err)
		case err == nil && withAES && !bytes.Equal(m.public, public), err == nil && !withAES && !bytes.Equal(m.backing.Bytes(), material1):
			t.Fatalf("%x imports as another key", b)
		}
		if len(b) == 0 {
			return
		}
		sealed := wrapPadded(t, kek, b)
		if got, err := unwrapPadded(kek, sealed); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%x opens as %x, %v", b, got, err)
		}
		sealed[len(b)%len(sealed)] ^= b[0] | 1
		if got, err := unwrapPadded(kek, sealed); err == nil {
			t.Fatalf("changed, it opens as %x", got)
		}
		if got, err := unwrapPadded(kek, b); err == nil && !bytes.Equal(wrapPadded(t, kek, got), b) {
			t.Fatalf("%x is another wrapping of %x", b, got)
		}
	})
}
