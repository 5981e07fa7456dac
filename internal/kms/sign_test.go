package kms

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"filippo.io/mldsa"
	"filippo.io/mldsa/mldsacrypto"
	circl44 "github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	secpecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

const (
	raw      = kmsapi.MessageTypeRaw
	digest   = kmsapi.MessageTypeDigest
	external = kmsapi.MessageTypeExternalMu
)

// outside signs and verifies with what is not KMS's own code path: a private key
// and a public key as KMS exports it.
type outside struct {
	sign   func(private any, message []byte) []byte
	verify func(public []byte, message, signature []byte) bool
}

func rsaOutside(t *testing.T, h crypto.Hash, pss bool) outside {
	sum := func(m []byte) []byte {
		x := h.New()
		x.Write(m)
		return x.Sum(nil)
	}
	return outside{
		func(private any, m []byte) (sig []byte) {
			var err error
			if key := private.(*rsa.PrivateKey); pss {
				sig, err = key.Sign(rand.Reader, sum(m), &rsa.PSSOptions{SaltLength: h.Size(), Hash: h})
			} else {
				sig, err = key.Sign(rand.Reader, sum(m), h)
			}
			if err != nil {
				t.Fatal(err)
			}
			return sig
		},
		func(public, m, sig []byte) bool {
			key := parsePublic(t, public).(*rsa.PublicKey)
			if pss {
				return rsa.VerifyPSS(key, h, sum(m), sig, &rsa.PSSOptions{SaltLength: h.Size()}) == nil
			}
			return rsa.VerifyPKCS1v15(key, h, sum(m), sig) == nil
		},
	}
}

func ecdsaOutside(t *testing.T, h crypto.Hash) outside {
	sum := func(m []byte) []byte {
		x := h.New()
		x.Write(m)
		return x.Sum(nil)
	}
	return outside{
		func(private any, m []byte) []byte {
			sig, err := private.(*ecdsa.PrivateKey).Sign(rand.Reader, sum(m), h)
			if err != nil {
				t.Fatal(err)
			}
			return sig
		},
		func(public, m, sig []byte) bool {
			return ecdsa.VerifyASN1(parsePublic(t, public).(*ecdsa.PublicKey), sum(m), sig)
		},
	}
}

// secpOutside computes the curve's equations with math/big: the library under
// test is the only other one at hand.
func secpOutside(t *testing.T) outside {
	return outside{
		func(private any, m []byte) []byte {
			sum := sha256.Sum256(m)
			return secpecdsa.Sign(private.(*secp256k1.PrivateKey), sum[:]).Serialize()
		},
		func(public, m, sig []byte) bool {
			var v spki
			var rs struct{ R, S *big.Int }
			if _, err := asn1.Unmarshal(public, &v); err != nil {
				t.Fatal(err)
			}
			if rest, err := asn1.Unmarshal(sig, &rs); err != nil || len(rest) > 0 {
				return false
			}
			c := newShortCurve()
			n := c.order
			sum := sha256.Sum256(m)
			w := new(big.Int).ModInverse(rs.S, n)
			u1 := new(big.Int).Mul(new(big.Int).SetBytes(sum[:]), w)
			u2 := new(big.Int).Mul(rs.R, w)
			q := [2]*big.Int{new(big.Int).SetBytes(v.PublicKey.Bytes[1:33]), new(big.Int).SetBytes(v.PublicKey.Bytes[33:])}
			x := c.add(c.mul(u1.Mod(u1, n), c.base), c.mul(u2.Mod(u2, n), q))
			return new(big.Int).Mod(x[0], n).Cmp(rs.R) == 0
		},
	}
}

// shortCurve is secp256k1 in affine coordinates, slow and plain; nil x is infinity.
type shortCurve struct {
	p, order *big.Int
	base     [2]*big.Int
}

func newShortCurve() shortCurve {
	n := func(s string) *big.Int {
		v, _ := new(big.Int).SetString(s, 16)
		return v
	}
	return shortCurve{
		p:     n("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f"),
		order: n("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"),
		base: [2]*big.Int{
			n("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"),
			n("483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"),
		},
	}
}

func (c shortCurve) add(a, b [2]*big.Int) [2]*big.Int {
	if a[0] == nil {
		return b
	}
	if b[0] == nil {
		return a
	}
	var up, down big.Int
	if a[0].Cmp(b[0]) == 0 {
		if a[1].Cmp(b[1]) != 0 {
			return [2]*big.Int{}
		}
		up.Mul(a[0], a[0])
		up.Mul(&up, big.NewInt(3))
		down.Lsh(a[1], 1)
	} else {
		up.Sub(b[1], a[1])
		down.Sub(b[0], a[0])
	}
	down.Mod(&down, c.p)
	slope := new(big.Int).Mul(&up, new(big.Int).ModInverse(&down, c.p))
	slope.Mod(slope, c.p)
	x := new(big.Int).Mul(slope, slope)
	x.Sub(x, a[0])
	x.Sub(x, b[0])
	x.Mod(x, c.p)
	y := new(big.Int).Sub(a[0], x)
	y.Mul(y, slope)
	y.Sub(y, a[1])
	return [2]*big.Int{x, y.Mod(y, c.p)}
}

func (c shortCurve) mul(k *big.Int, point [2]*big.Int) (sum [2]*big.Int) {
	for i := k.BitLen() - 1; i >= 0; i-- {
		sum = c.add(sum, sum)
		if k.Bit(i) == 1 {
			sum = c.add(sum, point)
		}
	}
	return sum
}

func edwardsOutside(t *testing.T, ph bool) outside {
	options := &ed25519.Options{}
	sum := func(m []byte) []byte { return m }
	if ph {
		options.Hash = crypto.SHA512
		sum = func(m []byte) []byte { // KMS hashes the digest that it gets
			once := sha512.Sum512(m)
			twice := sha512.Sum512(once[:])
			return twice[:]
		}
	}
	return outside{
		func(private any, m []byte) []byte {
			sig, err := private.(ed25519.PrivateKey).Sign(nil, sum(m), options)
			if err != nil {
				t.Fatal(err)
			}
			return sig
		},
		func(public, m, sig []byte) bool {
			return ed25519.VerifyWithOptions(parsePublic(t, public).(ed25519.PublicKey), sum(m), sig, options) == nil
		},
	}
}

func mldsaOutside(t *testing.T) outside {
	return outside{
		func(private any, m []byte) []byte {
			sig, err := private.(*mldsa.PrivateKey).Sign(nil, m, nil)
			if err != nil {
				t.Fatal(err)
			}
			return sig
		},
		func(public, m, sig []byte) bool {
			return mldsa.Verify(parsePublic(t, public).(*mldsa.PublicKey), m, sig, nil) == nil
		},
	}
}

// representative is μ of a message, for the public key as KMS exports it.
func representative(t testing.TB, public, m []byte) []byte {
	h := sha3.NewSHAKE256()
	h.Write(parsePublic(t, public).(*mldsa.PublicKey).Bytes())
	tr := make([]byte, 64)
	h.Read(tr)
	h.Reset()
	h.Write(append(append(tr, 0, 0), m...))
	mu := make([]byte, 64)
	h.Read(mu)
	return mu
}

// TestSignVerify signs with KMS and verifies outside, and the other way round,
// for every algorithm of every spec.
func TestSignVerify(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		spec       kmsapi.KeySpec
		algorithms map[kmsapi.SigningAlgorithmSpec]outside
	}{
		{"RSA_2048", map[kmsapi.SigningAlgorithmSpec]outside{
			"RSASSA_PSS_SHA_256": rsaOutside(t, crypto.SHA256, true), "RSASSA_PSS_SHA_384": rsaOutside(t, crypto.SHA384, true), "RSASSA_PSS_SHA_512": rsaOutside(t, crypto.SHA512, true),
			"RSASSA_PKCS1_V1_5_SHA_256": rsaOutside(t, crypto.SHA256, false), "RSASSA_PKCS1_V1_5_SHA_384": rsaOutside(t, crypto.SHA384, false), "RSASSA_PKCS1_V1_5_SHA_512": rsaOutside(t, crypto.SHA512, false),
		}},
		{"ECC_NIST_P256", map[kmsapi.SigningAlgorithmSpec]outside{"ECDSA_SHA_256": ecdsaOutside(t, crypto.SHA256)}},
		{"ECC_NIST_P384", map[kmsapi.SigningAlgorithmSpec]outside{"ECDSA_SHA_384": ecdsaOutside(t, crypto.SHA384)}},
		{"ECC_NIST_P521", map[kmsapi.SigningAlgorithmSpec]outside{"ECDSA_SHA_512": ecdsaOutside(t, crypto.SHA512)}},
		{"ECC_SECG_P256K1", map[kmsapi.SigningAlgorithmSpec]outside{"ECDSA_SHA_256": secpOutside(t)}},
		{"ECC_NIST_EDWARDS25519", map[kmsapi.SigningAlgorithmSpec]outside{"ED25519_SHA_512": edwardsOutside(t, false), "ED25519_PH_SHA_512": edwardsOutside(t, true)}},
		{"ML_DSA_44", map[kmsapi.SigningAlgorithmSpec]outside{"ML_DSA_SHAKE_256": mldsaOutside(t)}},
		{"ML_DSA_65", map[kmsapi.SigningAlgorithmSpec]outside{"ML_DSA_SHAKE_256": mldsaOutside(t)}},
		{"ML_DSA_87", map[kmsapi.SigningAlgorithmSpec]outside{"ML_DSA_SHAKE_256": mldsaOutside(t)}},
	} {
		t.Run(string(c.spec), func(t *testing.T) {
			t.Parallel()
			if refusedByFIPS(c.spec) {
				return // TestFIPS
			}
			f := newFixture(t)
			key := private(t, c.spec)
			id := f.keyWith(c.spec, usageSign, key)
			public := f.publicKey(id)
			for a, out := range c.algorithms {
				for _, size := range []int{1, 100, 4096} {
					m := bytes.Repeat([]byte{byte(size)}, size)
					forms := map[kmsapi.MessageType][]byte{raw: m, "": m}
					if h := (&message{algorithm: a}).hash(); a != "ML_DSA_SHAKE_256" && a != "ED25519_SHA_512" {
						x := h.New()
						x.Write(m)
						forms[digest] = x.Sum(nil)
					}
					switch a {
					case "ML_DSA_SHAKE_256":
						forms[external] = representative(t, public, m)
					case "ED25519_PH_SHA_512":
						delete(forms, raw)
						delete(forms, "")
					}
					theirs := out.sign(key, m)
					for kind, text := range forms {
						signed := must(f.admin(), f, kmsapi.Sign, &kmsapi.SignInput{KeyId: id, Message: text, MessageType: kind, SigningAlgorithm: a})
						if *signed.KeyId != arnOf(id) || signed.SigningAlgorithm != a {
							t.Errorf("%s %s: %+v", a, kind, signed)
						}
						if !out.verify(public, m, signed.Signature) {
							t.Errorf("%s: a signature of a message of type %q does not verify outside", a, kind)
						}
						for by, sig := range map[string][]byte{"KMS": signed.Signature, "another": theirs} {
							v, err := try(f.admin(), f, kmsapi.Verify, &kmsapi.VerifyInput{KeyId: id, Message: text, MessageType: kind, SigningAlgorithm: a, Signature: sig})
							if err != nil || !*v.SignatureValid || *v.KeyId != arnOf(id) || v.SigningAlgorithm != a {
								t.Errorf("%s: a signature by %s over a message of type %q: %v %+v", a, by, kind, err, v)
							}
							bad := bytes.Clone(sig)
							bad[len(bad)/2] ^= 4
							_, err = try(f.admin(), f, kmsapi.Verify, &kmsapi.VerifyInput{KeyId: id, Message: text, MessageType: kind, SigningAlgorithm: a, Signature: bad})
							wantInvalid(t, fmt.Sprint(a, " ", kind, " changed"), err, "KMSInvalidSignatureException")
							other := bytes.Clone(text)
							other[0] ^= 1
							_, err = try(f.admin(), f, kmsapi.Verify, &kmsapi.VerifyInput{KeyId: id, Message: other, MessageType: kind, SigningAlgorithm: a, Signature: sig})
							wantInvalid(t, fmt.Sprint(a, " ", kind, " of another message"), err, "KMSInvalidSignatureException")
						}
					}
				}
			}
		})
	}
}

// wantInvalid checks for an error whose message is empty.
func wantInvalid(t testing.TB, what string, err error, code string) {
	t.Helper()
	wantError(t, what, err, code, "")
	if err != nil && err.Error() != code {
		t.Errorf("%s: %q, want an empty message", what, err)
	}
}

// The signatures of one algorithm never pass for those of another.
func TestVerifyKeepsAlgorithmsApart(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, c := range []struct {
		spec kmsapi.KeySpec
		kind kmsapi.MessageType
	}{{"RSA_2048", raw}, {"ECC_NIST_EDWARDS25519", digest}} {
		id := f.newKey(c.spec, usageSign)
		sp, _ := specOf(c.spec)
		m := bytes.Repeat([]byte("8 bytes!"), 8)
		for _, a := range sp.signing {
			kind := c.kind
			if a == "ED25519_SHA_512" {
				kind = raw
			}
			sig := must(f.admin(), f, kmsapi.Sign, &kmsapi.SignInput{KeyId: id, Message: m, MessageType: kind, SigningAlgorithm: a}).Signature
			for _, b := range sp.signing {
				kind := c.kind
				if b == "ED25519_SHA_512" {
					kind = raw
				}
				_, err := try(f.admin(), f, kmsapi.Verify, &kmsapi.VerifyInput{KeyId: id, Message: m, MessageType: kind, SigningAlgorithm: b, Signature: sig})
				if a == b {
					wantError(t, string(a), err, "", "")
				} else {
					wantError(t, string(a+" as "+b), err, "KMSInvalidSignatureException", "")
				}
			}
		}
	}
}

// RFC 8032, section 7.1, test 3; and RFC 8032, section 7.3, for the pre-hashed form.
func TestSignEd25519Vectors(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	h := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	id := f.keyWith("ECC_NIST_EDWARDS25519", usageSign, ed25519.NewKeyFromSeed(h("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7")))
	sig := must(f.admin(), f, kmsapi.Sign, &kmsapi.SignInput{KeyId: id, Message: h("af82"), SigningAlgorithm: "ED25519_SHA_512"}).Signature
	if want := "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"; hex.EncodeToString(sig) != want {
		t.Errorf("signature %x, want %s", sig, want)
	}
	// Ed25519ph of "abc" in the vector signs SHA-512("abc"); KMS hashes once more.
	seed := h("833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42")
	want := "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae4131f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406"
	m := &message{algorithm: "ED25519_PH_SHA_512", kind: digest, bytes: []byte("abc")}
	got, err := m.sign(ed25519.NewKeyFromSeed(seed))
	if err != nil || hex.EncodeToString(got) != want {
		t.Errorf("Ed25519ph of abc is %x, want %s: %v", got, want, err)
	}
}

// Another library's ML-DSA key, message and signature.
func TestVerifyMLDSAOfAnother(t *testing.T) {
	t.Parallel()
	if refusedByFIPS("ML_DSA_44") {
		return
	}
	f := newFixture(t)
	seed := [circl44.SeedSize]byte(bytes.Repeat([]byte{7}, circl44.SeedSize))
	_, theirs := circl44.NewKeyFromSeed(&seed)
	ours, err := mldsa.NewPrivateKey(mldsa.MLDSA44(), seed[:])
	if err != nil {
		t.Fatal(err)
	}
	id := f.keyWith("ML_DSA_44", usageSign, ours)
	m := []byte("post-quantum")
	sig := make([]byte, circl44.SignatureSize)
	if err := circl44.SignTo(theirs, m, nil, true, sig); err != nil {
		t.Fatal(err)
	}
	for kind, text := range map[kmsapi.MessageType][]byte{raw: m, external: representative(t, f.publicKey(id), m)} {
		_, err := try(f.admin(), f, kmsapi.Verify, &kmsapi.VerifyInput{KeyId: id, Message: text, MessageType: kind, SigningAlgorithm: "ML_DSA_SHAKE_256", Signature: sig})
		wantError(t, string(kind), err, "", "")
	}
	mine := must(f.admin(), f, kmsapi.Sign, &kmsapi.SignInput{KeyId: id, Message: m, SigningAlgorithm: "ML_DSA_SHAKE_256"}).Signature
	if !circl44.Verify(theirs.Public().(*circl44.PublicKey), m, nil, mine) {
		t.Error("the other library does not verify our signature")
	}
	// A context is part of what is signed, and KMS has none.
	withContext, err := ours.Sign(nil, m, &mldsa.Options{Context: "c"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = try(f.admin(), f, kmsapi.Verify, &kmsapi.VerifyInput{KeyId: id, Message: m, SigningAlgorithm: "ML_DSA_SHAKE_256", Signature: withContext})
	wantInvalid(t, "a signature with a context", err, "KMSInvalidSignatureException")
	if mldsacrypto.MLDSAMu == 0 {
		t.Error("external mu is no option")
	}
}

func TestSignErrors(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	keys := map[kmsapi.KeySpec]string{
		"ECC_NIST_P256": f.newKey("ECC_NIST_P256", usageSign), "ECC_NIST_EDWARDS25519": f.newKey("ECC_NIST_EDWARDS25519", usageSign),
		"RSA_2048": f.newKey("RSA_2048", usageSign), "HMAC_256": f.newKey("HMAC_256", usageMAC), symmetricSpec: f.key(""),
		"ECC_NIST_P384": f.newKey("ECC_NIST_P384", usageAgree),
	}
	const mu = "ML_DSA_SHAKE_256"
	if !refusedByFIPS("ML_DSA_44") {
		keys["ML_DSA_44"] = f.newKey("ML_DSA_44", usageSign)
		keys["ECC_SECG_P256K1"] = f.newKey("ECC_SECG_P256K1", usageSign)
	}
	const length = "1 validation error detected: Value at 'message' failed to satisfy constraint: Member must have length "
	for _, c := range []struct {
		name          string
		spec          kmsapi.KeySpec
		algorithm     kmsapi.SigningAlgorithmSpec
		kind          kmsapi.MessageType
		size          int
		code, message string
	}{
		{"4096 bytes", "ECC_NIST_P256", "ECDSA_SHA_256", raw, 4096, "", ""},
		{"4097 bytes", "ECC_NIST_P256", "ECDSA_SHA_256", raw, 4097, "ValidationException", length + "less than or equal to 4096"},
		{"no bytes", "ECC_NIST_P256", "ECDSA_SHA_256", raw, 0, "ValidationException", length + "greater than or equal to 1"},
		{"digest of 31 bytes", "ECC_NIST_P256", "ECDSA_SHA_256", digest, 31, "ValidationException", "Digest is invalid length for algorithm ECDSA_SHA_256."},
		{"digest of 48 bytes", "RSA_2048", "RSASSA_PSS_SHA_256", digest, 48, "ValidationException", "Digest is invalid length for algorithm RSASSA_PSS_SHA_256."},
		{"digest of 32 bytes", "RSA_2048", "RSASSA_PKCS1_V1_5_SHA_512", digest, 32, "ValidationException", "Digest is invalid length for algorithm RSASSA_PKCS1_V1_5_SHA_512."},
		{"Ed25519ph digest of 32 bytes", "ECC_NIST_EDWARDS25519", "ED25519_PH_SHA_512", digest, 32, "ValidationException", "Digest is invalid length for algorithm ED25519_PH_SHA_512."},
		{"Ed25519ph of a message", "ECC_NIST_EDWARDS25519", "ED25519_PH_SHA_512", raw, 64, "ValidationException", "Message type RAW is incompatible with algorithm ED25519_PH_SHA_512."},
		{"Ed25519ph by default", "ECC_NIST_EDWARDS25519", "ED25519_PH_SHA_512", "", 64, "ValidationException", "Message type RAW is incompatible with algorithm ED25519_PH_SHA_512."},
		{"Ed25519 of a digest", "ECC_NIST_EDWARDS25519", "ED25519_SHA_512", digest, 64, "ValidationException", "Message type DIGEST is incompatible with algorithm ED25519_SHA_512."},
		{"Ed25519 of mu", "ECC_NIST_EDWARDS25519", "ED25519_SHA_512", external, 64, "ValidationException", "Message type EXTERNAL_MU is incompatible with algorithm ED25519_SHA_512."},
		{"mu for RSA", "RSA_2048", "RSASSA_PSS_SHA_512", external, 64, "ValidationException", "Message type EXTERNAL_MU is incompatible with key spec RSA_2048."},
		{"mu for a curve", "ECC_NIST_P256", "ECDSA_SHA_256", external, 64, "ValidationException", "Message type EXTERNAL_MU is incompatible with key spec ECC_NIST_P256."},
		{"digest for ML-DSA", "ML_DSA_44", mu, digest, 64, "ValidationException", "Message type DIGEST is incompatible with key spec ML_DSA_44."},
		{"mu of 63 bytes", "ML_DSA_44", mu, external, 63, "ValidationException", "External Mu is invalid length for algorithm ML_DSA_SHAKE_256."},
		{"mu of 64 bytes", "ML_DSA_44", mu, external, 64, "", ""},
		{"hash of another curve", "ECC_NIST_P256", "ECDSA_SHA_384", raw, 10, "InvalidKeyUsageException", "Algorithm ECDSA_SHA_384 is incompatible with key spec ECC_NIST_P256."},
		{"RSA's algorithm on a curve", "ECC_NIST_P256", "RSASSA_PSS_SHA_256", raw, 10, "InvalidKeyUsageException", "Algorithm RSASSA_PSS_SHA_256 is incompatible with key spec ECC_NIST_P256."},
		{"a curve's algorithm on RSA", "RSA_2048", "ECDSA_SHA_256", raw, 10, "InvalidKeyUsageException", "Algorithm ECDSA_SHA_256 is incompatible with key spec RSA_2048."},
		{"SM2DSA", "RSA_2048", "SM2DSA", raw, 10, "InvalidKeyUsageException", "Algorithm SM2DSA is incompatible with key spec RSA_2048."},
		{"ECDSA on Edwards", "ECC_NIST_EDWARDS25519", "ECDSA_SHA_512", raw, 10, "InvalidKeyUsageException", "Algorithm ECDSA_SHA_512 is incompatible with key spec ECC_NIST_EDWARDS25519."},
		{"SHA-384 on secp256k1", "ECC_SECG_P256K1", "ECDSA_SHA_384", raw, 10, "InvalidKeyUsageException", "Algorithm ECDSA_SHA_384 is incompatible with key spec ECC_SECG_P256K1."},
		{"unknown algorithm", "RSA_2048", "RSA", raw, 10, "ValidationException", "1 validation error detected: Value 'RSA' at 'signingAlgorithm' failed to satisfy constraint: Member must satisfy enum value set: [*"},
		{"MAC key", "HMAC_256", "ECDSA_SHA_256", raw, 10, "InvalidKeyUsageException", "ARN key usage is GENERATE_VERIFY_MAC which is not valid for OPERATION."},
		{"symmetric key", symmetricSpec, "ECDSA_SHA_256", raw, 10, "InvalidKeyUsageException", "ARN key usage is ENCRYPT_DECRYPT which is not valid for OPERATION."},
		{"agreement key", "ECC_NIST_P384", "ECDSA_SHA_384", raw, 10, "InvalidKeyUsageException", "ARN key usage is KEY_AGREEMENT which is not valid for OPERATION."},
	} {
		id := keys[c.spec]
		if id == "" {
			continue
		}
		m := make([]byte, c.size)
		text := func(operation string) string {
			return strings.NewReplacer("ARN", arnOf(id), "OPERATION", operation).Replace(c.message)
		}
		signed, err := try(f.admin(), f, kmsapi.Sign, &kmsapi.SignInput{KeyId: id, Message: m, MessageType: c.kind, SigningAlgorithm: c.algorithm})
		wantError(t, "Sign: "+c.name, err, c.code, text("Sign"))
		sig := []byte("signature")
		if err == nil {
			sig = signed.Signature
		}
		_, err = try(f.admin(), f, kmsapi.Verify, &kmsapi.VerifyInput{KeyId: id, Message: m, MessageType: c.kind, SigningAlgorithm: c.algorithm, Signature: sig})
		wantError(t, "Verify: "+c.name, err, c.code, text("Verify"))
	}
	id := keys["ECC_NIST_P256"]
	in := kmsapi.SignInput{KeyId: id, Message: []byte("m"), SigningAlgorithm: "ECDSA_SHA_256", DryRun: new(true)}
	_, err := try(f.admin(), f, kmsapi.Sign, &in)
	wantError(t, "dry Sign", err, "DryRunOperationException", "The request would have succeeded, but the DryRun option is set.")
	sig := must(f.admin(), f, kmsapi.Sign, &kmsapi.SignInput{KeyId: id, Message: []byte("m"), SigningAlgorithm: "ECDSA_SHA_256"}).Signature
	for what, c := range map[string]struct {
		sig  []byte
		code string
	}{
		"good": {sig, "DryRunOperationException"}, "bad": {[]byte("x"), "KMSInvalidSignatureException"},
		"too long": {make([]byte, 6145), "ValidationException"}, "empty": {[]byte{}, "ValidationException"},
	} {
		_, err := try(f.admin(), f, kmsapi.Verify, &kmsapi.VerifyInput{KeyId: id, Message: []byte("m"), SigningAlgorithm: "ECDSA_SHA_256", Signature: c.sig, DryRun: new(true)})
		wantError(t, "dry Verify of a signature that is "+what, err, c.code, "")
	}
}
