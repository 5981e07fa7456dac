package e2e

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

func walkSymmetric(t *testing.T, a *account) {
	ctx := t.Context()
	key, to := a.newKey(t).Arn, a.newKey(t).Arn
	purpose, other := map[string]string{"project": "fields"}, map[string]string{"project": "cattle"}
	plain := bytes.Repeat([]byte("plot 7 "), 500)
	sealed := ok(a.Encrypt(ctx, &kms.EncryptInput{KeyId: key, Plaintext: plain, EncryptionContext: purpose}))(t)
	opened := ok(a.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob, EncryptionContext: purpose}))(t)
	if !bytes.Equal(opened.Plaintext, plain) || *opened.KeyId != *key || opened.EncryptionAlgorithm != types.EncryptionAlgorithmSpecSymmetricDefault {
		t.Errorf("Decrypt: %d bytes under %s", len(opened.Plaintext), *opened.KeyId)
	}
	moved := ok(a.ReEncrypt(ctx, &kms.ReEncryptInput{
		CiphertextBlob: sealed.CiphertextBlob, SourceEncryptionContext: purpose, DestinationKeyId: to, DestinationEncryptionContext: other,
	}))(t)
	if again := ok(a.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: moved.CiphertextBlob, EncryptionContext: other, KeyId: to}))(t); !bytes.Equal(again.Plaintext, plain) {
		t.Errorf("ReEncrypt changed the plaintext: %d bytes", len(again.Plaintext))
	}
	dataKey := ok(a.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: key, KeySpec: types.DataKeySpecAes256}))(t)
	if got := ok(a.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: dataKey.CiphertextBlob}))(t).Plaintext; !bytes.Equal(got, dataKey.Plaintext) || len(got) != 32 {
		t.Errorf("GenerateDataKey: %d bytes, or others than Decrypt gives", len(got))
	}
	bare := ok(a.GenerateDataKeyWithoutPlaintext(ctx, &kms.GenerateDataKeyWithoutPlaintextInput{KeyId: key, NumberOfBytes: aws.Int32(40)}))(t)
	if got := ok(a.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: bare.CiphertextBlob}))(t).Plaintext; len(got) != 40 {
		t.Errorf("GenerateDataKeyWithoutPlaintext: %d bytes", len(got))
	}
	if got := ok(a.GenerateRandom(ctx, &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(100)}))(t).Plaintext; len(got) != 100 {
		t.Errorf("GenerateRandom: %d bytes", len(got))
	}
}

func walkRSA(t *testing.T, a *account) {
	ctx := t.Context()
	key := a.newKey(t, spec(types.KeySpecRsa2048, types.KeyUsageTypeEncryptDecrypt))
	public, isRSA := ok(x509.ParsePKIXPublicKey(ok(a.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: key.Arn}))(t).PublicKey))(t).(*rsa.PublicKey)
	if !isRSA {
		t.Fatal("no RSA key")
	}
	plain := []byte("plot 7")
	for _, algorithm := range key.EncryptionAlgorithms {
		blob := ok(a.Encrypt(ctx, &kms.EncryptInput{KeyId: key.Arn, EncryptionAlgorithm: algorithm, Plaintext: plain}))(t).CiphertextBlob
		in := &kms.DecryptInput{KeyId: key.Arn, EncryptionAlgorithm: algorithm, CiphertextBlob: blob}
		if got := ok(a.Decrypt(ctx, in))(t).Plaintext; !bytes.Equal(got, plain) {
			t.Errorf("%s: %q", algorithm, got)
		}
		if algorithm != types.EncryptionAlgorithmSpecRsaesOaepSha256 {
			continue
		}
		in.CiphertextBlob = ok(rsa.EncryptOAEP(sha256.New(), rand.Reader, public, plain, nil))(t)
		if got := ok(a.Decrypt(ctx, in))(t).Plaintext; !bytes.Equal(got, plain) {
			t.Errorf("what was encrypted outside: %q", got)
		}
		in.CiphertextBlob[9] ^= 1
		want[*types.InvalidCiphertextException](t, "changed RSA ciphertext", failure(a.Decrypt(ctx, in)))
	}
}

func walkSignatures(t *testing.T, a *account) {
	for _, s := range []types.KeySpec{
		types.KeySpecRsa2048, types.KeySpecEccNistP256, types.KeySpecEccNistP384, types.KeySpecEccNistP521, types.KeySpecEccSecgP256k1,
		types.KeySpecEccNistEdwards25519, types.KeySpecMlDsa44, types.KeySpecMlDsa65, types.KeySpecMlDsa87,
	} {
		t.Run(string(s), func(t *testing.T) {
			t.Parallel()
			signatures(t, a, s)
		})
	}
}

func signatures(t *testing.T, a *account, s types.KeySpec) {
	ctx := t.Context()
	key := a.newKey(t, spec(s, types.KeyUsageTypeSignVerify))
	if len(key.SigningAlgorithms) == 0 {
		t.Fatal("no signing algorithms")
	}
	public := ok(a.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: key.Arn}))(t)
	if public.KeySpec != s || !slices.Equal(public.SigningAlgorithms, key.SigningAlgorithms) {
		t.Errorf("GetPublicKey: %s %v", public.KeySpec, public.SigningAlgorithms)
	}
	message := []byte("plot 7: rapeseed, 2.4 t/ha")
	for _, algorithm := range key.SigningAlgorithms {
		in := &kms.SignInput{KeyId: key.Arn, SigningAlgorithm: algorithm, Message: message, MessageType: types.MessageTypeRaw}
		digest, _ := digestFor(algorithm, message)
		if algorithm == types.SigningAlgorithmSpecEd25519PhSha512 { // takes digests alone
			in.Message, in.MessageType = digest, types.MessageTypeDigest
		}
		signed := ok(a.Sign(ctx, in))(t)
		if err := verifiesOutside(public.PublicKey, algorithm, message, signed.Signature); err != nil {
			t.Errorf("%s: %v", algorithm, err)
		}
		verify := &kms.VerifyInput{KeyId: key.Arn, SigningAlgorithm: algorithm, Message: in.Message, MessageType: in.MessageType, Signature: signed.Signature}
		if !ok(a.Verify(ctx, verify))(t).SignatureValid {
			t.Errorf("%s: not valid", algorithm)
		}
		if digest != nil && algorithm != types.SigningAlgorithmSpecEd25519Sha512 {
			verify.Message, verify.MessageType = digest, types.MessageTypeDigest
			if !ok(a.Verify(ctx, verify))(t).SignatureValid {
				t.Errorf("%s: not valid by digest", algorithm)
			}
		}
		verify.Signature = bytes.Clone(signed.Signature)
		verify.Signature[len(verify.Signature)/2] ^= 1
		want[*types.KMSInvalidSignatureException](t, string(algorithm)+", changed", failure(a.Verify(ctx, verify)))
	}
}

// digestFor is nil where an algorithm takes no digest.
func digestFor(algorithm types.SigningAlgorithmSpec, message []byte) ([]byte, crypto.Hash) {
	switch name := string(algorithm); {
	case algorithm == types.SigningAlgorithmSpecMlDsaShake256:
		return nil, 0
	case strings.HasSuffix(name, "_256"):
		d := sha256.Sum256(message)
		return d[:], crypto.SHA256
	case strings.HasSuffix(name, "_384"):
		d := sha512.Sum384(message)
		return d[:], crypto.SHA384
	default:
		d := sha512.Sum512(message)
		return d[:], crypto.SHA512
	}
}

// verifiesOutside checks a signature with the standard library, where that knows the key.
func verifiesOutside(der []byte, algorithm types.SigningAlgorithmSpec, message, signature []byte) error {
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil //nolint:nilerr // secp256k1 and ML-DSA: other tests verify these
	}
	digest, hash := digestFor(algorithm, message)
	valid := false
	switch key := public.(type) {
	case *rsa.PublicKey:
		if strings.Contains(string(algorithm), "_PSS_") {
			return rsa.VerifyPSS(key, hash, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		}
		return rsa.VerifyPKCS1v15(key, hash, digest, signature)
	case *ecdsa.PublicKey:
		valid = ecdsa.VerifyASN1(key, digest, signature)
	case ed25519.PublicKey:
		if algorithm == types.SigningAlgorithmSpecEd25519PhSha512 {
			again := sha512.Sum512(digest) // KMS hashes the digest that it gets once more
			return ed25519.VerifyWithOptions(key, again[:], signature, &ed25519.Options{Hash: crypto.SHA512})
		}
		valid = ed25519.Verify(key, message, signature)
	}
	if !valid {
		return fmt.Errorf("%T refuses the signature", public)
	}
	return nil
}

func walkMACs(t *testing.T, a *account) {
	ctx := t.Context()
	for s, size := range map[types.KeySpec]int{types.KeySpecHmac224: 28, types.KeySpecHmac256: 32, types.KeySpecHmac384: 48, types.KeySpecHmac512: 64} {
		key := a.newKey(t, spec(s, types.KeyUsageTypeGenerateVerifyMac))
		algorithm, message := key.MacAlgorithms[0], []byte("plot 7")
		mac := ok(a.GenerateMac(ctx, &kms.GenerateMacInput{KeyId: key.Arn, MacAlgorithm: algorithm, Message: message}))(t).Mac
		if len(mac) != size {
			t.Errorf("%s: %d bytes, want %d", algorithm, len(mac), size)
		}
		in := &kms.VerifyMacInput{KeyId: key.Arn, MacAlgorithm: algorithm, Message: message, Mac: mac}
		if !ok(a.VerifyMac(ctx, in))(t).MacValid {
			t.Errorf("%s: not valid", algorithm)
		}
		mac[0] ^= 1
		want[*types.KMSInvalidMacException](t, string(algorithm)+", changed", failure(a.VerifyMac(ctx, in)))
	}
}

func walkAgreement(t *testing.T, a *account) {
	ctx := t.Context()
	for s, curve := range map[types.KeySpec]ecdh.Curve{
		types.KeySpecEccNistP256: ecdh.P256(), types.KeySpecEccNistP384: ecdh.P384(), types.KeySpecEccNistP521: ecdh.P521(),
	} {
		key := a.newKey(t, spec(s, types.KeyUsageTypeKeyAgreement)).Arn
		mine := ok(curve.GenerateKey(rand.Reader))(t)
		der := ok(x509.MarshalPKIXPublicKey(mine.PublicKey()))(t)
		theirs := ok(a.DeriveSharedSecret(ctx, &kms.DeriveSharedSecretInput{
			KeyId: key, KeyAgreementAlgorithm: types.KeyAgreementAlgorithmSpecEcdh, PublicKey: der,
		}))(t).SharedSecret
		public, isECDSA := ok(x509.ParsePKIXPublicKey(ok(a.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: key}))(t).PublicKey))(t).(*ecdsa.PublicKey)
		if !isECDSA {
			t.Fatalf("%s: no key on a curve", s)
		}
		if ours := ok(mine.ECDH(ok(public.ECDH())(t)))(t); !bytes.Equal(ours, theirs) {
			t.Errorf("%s: the two sides derive different secrets", s)
		}
	}
}

func walkPairs(t *testing.T, a *account) {
	key := a.newKey(t).Arn
	purpose := map[string]string{"project": "fields"}
	for _, s := range []types.DataKeyPairSpec{
		types.DataKeyPairSpecRsa2048, types.DataKeyPairSpecEccNistP256, types.DataKeyPairSpecEccNistP384, types.DataKeyPairSpecEccNistP521,
		types.DataKeyPairSpecEccNistEdwards25519,
	} {
		t.Run(string(s), func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			pair := ok(a.GenerateDataKeyPair(ctx, &kms.GenerateDataKeyPairInput{KeyId: key, KeyPairSpec: s, EncryptionContext: purpose}))(t)
			private, isSigner := ok(x509.ParsePKCS8PrivateKey(pair.PrivateKeyPlaintext))(t).(crypto.Signer)
			if !isSigner {
				t.Fatalf("%T does not sign", private)
			}
			if der := ok(x509.MarshalPKIXPublicKey(private.Public()))(t); !bytes.Equal(der, pair.PublicKey) {
				t.Error("the public key is of another private key")
			}
			opened := ok(a.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: pair.PrivateKeyCiphertextBlob, EncryptionContext: purpose}))(t).Plaintext
			if !bytes.Equal(opened, pair.PrivateKeyPlaintext) {
				t.Error("Decrypt gives another private key")
			}
			bare := ok(a.GenerateDataKeyPairWithoutPlaintext(ctx, &kms.GenerateDataKeyPairWithoutPlaintextInput{KeyId: key, KeyPairSpec: s}))(t)
			opened = ok(a.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: bare.PrivateKeyCiphertextBlob}))(t).Plaintext
			private, isSigner = ok(x509.ParsePKCS8PrivateKey(opened))(t).(crypto.Signer)
			if !isSigner {
				t.Fatalf("%T does not sign", private)
			}
			if der := ok(x509.MarshalPKIXPublicKey(private.Public()))(t); !bytes.Equal(der, bare.PublicKey) {
				t.Error("without plaintext: the public key is of another private key")
			}
		})
	}
}

// encapsulator is a public key of ML-KEM in the standard library.
type encapsulator interface {
	Encapsulate() (sharedKey, ciphertext []byte)
}

func walkEncapsulation(t *testing.T, a *account) {
	ctx := t.Context()
	parse := map[types.KeySpec]func([]byte) (encapsulator, error){
		types.KeySpecMlKem512:  nil, // not in the standard library
		types.KeySpecMlKem768:  func(b []byte) (encapsulator, error) { return mlkem.NewEncapsulationKey768(b) },
		types.KeySpecMlKem1024: func(b []byte) (encapsulator, error) { return mlkem.NewEncapsulationKey1024(b) },
	}
	for _, s := range slices.Sorted(maps.Keys(parse)) {
		key := a.newKey(t, spec(s, types.KeyUsageTypeEncapsulateDecapsulate)).Arn
		decapsulate := func(ciphertext []byte) []byte {
			return ok(a.Decapsulate(ctx, &kms.DecapsulateInput{
				KeyId: key, EncapsulationAlgorithm: types.EncapsulationAlgorithmSpecMlKem, SharedSecretCiphertextBlob: ciphertext,
			}))(t).SharedSecret
		}
		made := ok(a.Encapsulate(ctx, &kms.EncapsulateInput{KeyId: key, EncapsulationAlgorithm: types.EncapsulationAlgorithmSpecMlKem}))(t)
		if got := decapsulate(made.SharedSecretCiphertextBlob); !bytes.Equal(got, made.SharedSecret) || len(got) != 32 {
			t.Errorf("%s: Decapsulate gives another secret than Encapsulate", s)
		}
		if parse[s] == nil {
			continue
		}
		var info struct {
			Algorithm pkix.AlgorithmIdentifier
			Key       asn1.BitString
		}
		der := ok(a.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: key}))(t).PublicKey
		if rest, err := asn1.Unmarshal(der, &info); err != nil || len(rest) != 0 {
			t.Fatalf("%s: public key: %v", s, err)
		}
		secret, ciphertext := ok(parse[s](info.Key.RightAlign()))(t).Encapsulate()
		if !bytes.Equal(decapsulate(ciphertext), secret) {
			t.Errorf("%s: Decapsulate gives another secret than the standard library", s)
		}
	}
}

// walkImport brings a key's material from outside, lets it be deleted and brings it again.
func walkImport(t *testing.T, a *account) {
	ctx := t.Context()
	key := ok(a.CreateKey(ctx, &kms.CreateKeyInput{Origin: types.OriginTypeExternal}))(t).KeyMetadata
	if key.KeyState != types.KeyStatePendingImport || key.Origin != types.OriginTypeExternal {
		t.Fatalf("CreateKey: %+v", key)
	}
	encrypt := func() ([]byte, error) {
		o, err := a.Encrypt(ctx, &kms.EncryptInput{KeyId: key.Arn, Plaintext: []byte("x")})
		if err != nil {
			return nil, err
		}
		return o.CiphertextBlob, nil
	}
	want[*types.KMSInvalidStateException](t, "Encrypt before the import", failure(encrypt()))
	material := make([]byte, 32)
	rand.Read(material)
	bring := func(material []byte) error {
		p := ok(a.GetParametersForImport(ctx, &kms.GetParametersForImportInput{
			KeyId: key.Arn, WrappingAlgorithm: types.AlgorithmSpecRsaesOaepSha256, WrappingKeySpec: types.WrappingKeySpecRsa2048,
		}))(t)
		if d := time.Until(*p.ParametersValidTo); d < 23*time.Hour || d > 25*time.Hour {
			t.Errorf("the parameters are valid for %v, want 24 hours", d)
		}
		public, isRSA := ok(x509.ParsePKIXPublicKey(p.PublicKey))(t).(*rsa.PublicKey)
		if !isRSA {
			t.Fatal("the wrapping key is no RSA key")
		}
		_, err := a.ImportKeyMaterial(ctx, &kms.ImportKeyMaterialInput{
			KeyId: key.Arn, ImportToken: p.ImportToken, ExpirationModel: types.ExpirationModelTypeKeyMaterialDoesNotExpire,
			EncryptedKeyMaterial: ok(rsa.EncryptOAEP(sha256.New(), rand.Reader, public, material, nil))(t),
		})
		return err
	}
	if err := bring(material); err != nil {
		t.Fatal(err)
	}
	blob := ok(encrypt())(t)
	ok(a.DeleteImportedKeyMaterial(ctx, &kms.DeleteImportedKeyMaterialInput{KeyId: key.Arn}))(t)
	want[*types.KMSInvalidStateException](t, "Decrypt without material", failure(a.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob})))
	want[*types.IncorrectKeyMaterialException](t, "other material", bring(make([]byte, 32)))
	if err := bring(material); err != nil {
		t.Fatalf("the same material again: %v", err)
	}
	if got := ok(a.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob}))(t).Plaintext; string(got) != "x" {
		t.Errorf("after the second import: %q", got)
	}
	want[*types.InvalidImportTokenException](t, "a token of nobody", failure(a.ImportKeyMaterial(ctx, &kms.ImportKeyMaterialInput{
		KeyId: key.Arn, ImportToken: []byte("forged"), EncryptedKeyMaterial: make([]byte, 256), ExpirationModel: types.ExpirationModelTypeKeyMaterialDoesNotExpire,
	})))
}
