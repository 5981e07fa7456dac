package kms

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

// rsaForm encodes an RSA key with its exponent modulo (p-1)(q-1) or their least
// common multiple, and with either prime first.
func rsaForm(t *testing.T, key *rsa.PrivateKey, euler, smallFirst bool) []byte {
	t.Helper()
	one := big.NewInt(1)
	p, q := key.Primes[0], key.Primes[1]
	if (p.Cmp(q) < 0) != smallFirst {
		p, q = q, p
	}
	p1, q1 := new(big.Int).Sub(p, one), new(big.Int).Sub(q, one)
	modulus := new(big.Int).Mul(p1, q1)
	if !euler {
		modulus.Quo(modulus, new(big.Int).GCD(nil, nil, p1, q1))
	}
	der, err := encodeRSA(key, new(big.Int).ModInverse(big.NewInt(int64(key.E)), modulus), p, q)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// oneAsymmetric is RFC 5958's OneAsymmetricKey.
type oneAsymmetric struct {
	Version    int
	Algorithm  pkix.AlgorithmIdentifier
	PrivateKey []byte
	Attributes asn1.RawValue `asn1:"optional"`
	PublicKey  asn1.RawValue `asn1:"optional"`
}

// ecForm encodes a key of a curve, the optional members of RFC 5915 and RFC 5958
// as asked for.
func ecForm(t *testing.T, plain []byte, scalar, public []byte, curve asn1.ObjectIdentifier, more bool) []byte {
	t.Helper()
	var outer pkcs8
	if _, err := asn1.Unmarshal(plain, &outer); err != nil {
		t.Fatal(err)
	}
	inner := ecPrivateKey{Version: 1, PrivateKey: scalar}
	form := oneAsymmetric{Algorithm: outer.Algorithm}
	if more {
		inner.Curve, inner.PublicKey = curve, asn1.BitString{Bytes: public, BitLength: 8 * len(public)}
		form.Attributes = asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true}
	}
	var err error
	if form.PrivateKey, err = asn1.Marshal(inner); err != nil {
		t.Fatal(err)
	}
	der, err := asn1.Marshal(form)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestImportedEncodings: the same private key is the same material however it is
// encoded.
func TestImportedEncodings(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	forms := map[kmsapi.KeySpec][][]byte{}
	r, ok := private(t, "RSA_2048").(*rsa.PrivateKey)
	if !ok {
		t.Fatal("no RSA key")
	}
	forms["RSA_2048"] = [][]byte{
		rsaForm(t, r, false, false), rsaForm(t, r, false, true), rsaForm(t, r, true, false), rsaForm(t, r, true, true),
	}
	e, ok := private(t, "ECC_NIST_P256").(*ecdsa.PrivateKey)
	if !ok {
		t.Fatal("no ECDSA key")
	}
	plain, err := encodePrivate(e)
	if err != nil {
		t.Fatal(err)
	}
	scalar, err := e.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	public, err := e.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	p256 := asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}
	forms["ECC_NIST_P256"] = [][]byte{plain, ecForm(t, plain, scalar, public, p256, false), ecForm(t, plain, scalar, public, p256, true)}
	d, ok := private(t, "ECC_NIST_EDWARDS25519").(ed25519.PrivateKey)
	if !ok {
		t.Fatal("no Ed25519 key")
	}
	if plain, err = encodePrivate(d); err != nil {
		t.Fatal(err)
	}
	var outer pkcs8
	if _, err := asn1.Unmarshal(plain, &outer); err != nil {
		t.Fatal(err)
	}
	v2, err := asn1.Marshal(oneAsymmetric{
		Version: 1, Algorithm: outer.Algorithm, PrivateKey: outer.PrivateKey,
		PublicKey: asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 1, Bytes: append([]byte{0}, d[32:]...)},
	})
	if err != nil {
		t.Fatal(err)
	}
	forms["ECC_NIST_EDWARDS25519"] = [][]byte{plain, v2}
	for name, all := range forms {
		sp, _ := specOf(name)
		for i, first := range all {
			id := f.emptyKey(name, sp.usages[len(sp.usages)-1])
			f.imported(id, first, nil)
			was := f.row(id)
			for j, again := range all {
				must(f.admin(), f, kmsapi.DeleteImportedKeyMaterial, &kmsapi.DeleteImportedKeyMaterialInput{KeyId: id})
				if _, err := f.tryImport(id, again, nil); err != nil {
					t.Errorf("%s: form %d after form %d: %v", name, j, i, err)
					f.imported(id, first, nil)
				}
			}
			if now := f.row(id); now.Materials[0].ID != was.Materials[0].ID || !bytes.Equal(now.Materials[0].Public, was.Materials[0].Public) || len(now.Materials) != 1 {
				t.Errorf("%s: another key after form %d", name, i)
			}
		}
	}
}

// TestOldImportedIDs: what was imported by an older version, whose ids stand for
// the encoding as it came, is known again in every encoding.
func TestOldImportedIDs(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r, ok := private(t, "RSA_2048").(*rsa.PrivateKey)
	if !ok {
		t.Fatal("no RSA key")
	}
	all := [][]byte{rsaForm(t, r, false, false), rsaForm(t, r, false, true), rsaForm(t, r, true, false), rsaForm(t, r, true, true)}
	for i, came := range all {
		id := f.emptyKey("RSA_2048", usageSign)
		var old string
		f.plant(id, func(k *keyRow) {
			old = importedID(k, came)
			k.Materials = []materialRow{{ID: old, Created: f.now()}}
		})
		for j, again := range all {
			if _, err := f.tryImport(id, again, nil); err != nil {
				t.Errorf("form %d after form %d: %v", j, i, err)
			}
			f.wantState(id, "Enabled")
			if row := f.row(id); len(row.Materials) != 1 || row.Materials[0].ID != old {
				t.Errorf("form %d after form %d has another id", j, i)
			}
		}
		must(f.admin(), f, kmsapi.Sign, &kmsapi.SignInput{KeyId: id, Message: []byte("m"), SigningAlgorithm: "RSASSA_PSS_SHA_256"})
	}
}

// Each encoding of a key is one that package x509 would have written.
func TestEncodings(t *testing.T) {
	t.Parallel()
	r, ok := private(t, "RSA_2048").(*rsa.PrivateKey)
	if !ok {
		t.Fatal("no RSA key")
	}
	all, err := encodings(r)
	if err != nil || len(all) != 4 {
		t.Fatalf("%d encodings, %v", len(all), err)
	}
	for i, der := range all {
		key, err := x509.ParsePKCS8PrivateKey(der)
		if err != nil {
			t.Fatalf("encoding %d: %v", i, err)
		}
		if !r.PublicKey.Equal(&key.(*rsa.PrivateKey).PublicKey) {
			t.Errorf("encoding %d is of another key", i)
		}
		back, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil || !bytes.Equal(back, der) {
			t.Errorf("encoding %d: encoded anew it differs, %v", i, err)
		}
		again, err := encodings(key)
		if err != nil || !slices.EqualFunc(again, all, bytes.Equal) {
			t.Errorf("encoding %d has others, %v", i, err)
		}
	}
}
