package kms

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

// TestUseRecords compares what the operations of asymmetric and MAC keys leave in
// the audit trail with testdata/records.
func TestUseRecords(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	worker := f.role(home, "worker", doc(allow("kms:*")))
	worker.AccessKeyID = "ASIAWORKER"
	alice := f.user(home, "alice", "")
	ctx := f.by(worker)
	plain, rsaKey := f.key(""), f.newKey("RSA_2048", usageEncrypt)
	sign, mac, agree, kem := f.newKey("ECC_NIST_P256", usageSign), f.newKey("HMAC_256", usageMAC), f.newKey("ECC_NIST_P256", usageAgree), f.newKey("ML_KEM_768", usageKEM)
	must(ctx, f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/signer", TargetKeyId: sign})
	message := []byte("the message that no record may hold")
	ec := map[string]string{"plot": "7"}
	var secrets [][]byte
	keep := func(b ...[]byte) {
		for _, x := range b {
			if x != nil {
				secrets = append(secrets, x, []byte(base64.StdEncoding.EncodeToString(x)))
			}
		}
	}
	keep(message)
	signature, code := f.stateBlob("Verify", sign), f.stateBlob("VerifyMac", mac)
	sealed, capsule := f.stateBlob("Decrypt with RSA", rsaKey), f.stateBlob("Decapsulate", kem)
	public := f.publicKey(agree)
	keep(signature, code, sealed, capsule)
	for _, c := range []struct {
		name, event, code string
		run               func() error
	}{
		{"create-key-asymmetric", "CreateKey", "", func() error {
			return second(try(ctx, f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{KeySpec: "ECC_NIST_P384", KeyUsage: usageAgree}))
		}},
		{"create-key-no-usage", "CreateKey", "ValidationException", func() error {
			return second(try(ctx, f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{KeySpec: "ECC_NIST_P384"}))
		}},
		{"get-public-key", "GetPublicKey", "", func() error {
			return second(try(ctx, f, kmsapi.GetPublicKey, &kmsapi.GetPublicKeyInput{KeyId: sign}))
		}},
		{"sign", "Sign", "", func() error {
			out, err := try(ctx, f, kmsapi.Sign, &kmsapi.SignInput{KeyId: "alias/signer", Message: message, SigningAlgorithm: "ECDSA_SHA_256"})
			if err == nil {
				keep(out.Signature)
			}
			return err
		}},
		{"sign-dry-run", "Sign", "DryRunOperationException", func() error {
			return second(try(ctx, f, kmsapi.Sign, &kmsapi.SignInput{KeyId: sign, Message: message[:32], MessageType: digest, SigningAlgorithm: "ECDSA_SHA_256", DryRun: new(true)}))
		}},
		{"sign-denied", "Sign", denied, func() error {
			return second(try(f.by(alice), f, kmsapi.Sign, &kmsapi.SignInput{KeyId: sign, Message: message, SigningAlgorithm: "ECDSA_SHA_256"}))
		}},
		{"verify", "Verify", "", func() error {
			return second(try(ctx, f, kmsapi.Verify, &kmsapi.VerifyInput{KeyId: sign, Message: []byte("m"), SigningAlgorithm: "ECDSA_SHA_256", Signature: signature}))
		}},
		{"verify-invalid", "Verify", "KMSInvalidSignatureException", func() error {
			return second(try(ctx, f, kmsapi.Verify, &kmsapi.VerifyInput{KeyId: sign, Message: message, SigningAlgorithm: "ECDSA_SHA_256", Signature: signature}))
		}},
		{"generate-mac", "GenerateMac", "", func() error {
			out, err := try(ctx, f, kmsapi.GenerateMac, &kmsapi.GenerateMacInput{KeyId: mac, Message: message, MacAlgorithm: "HMAC_SHA_256"})
			if err == nil {
				keep(out.Mac)
			}
			return err
		}},
		{"verify-mac", "VerifyMac", "", func() error {
			return second(try(ctx, f, kmsapi.VerifyMac, &kmsapi.VerifyMacInput{KeyId: mac, Message: []byte("m"), MacAlgorithm: "HMAC_SHA_256", Mac: code}))
		}},
		{"verify-mac-invalid", "VerifyMac", "KMSInvalidMacException", func() error {
			return second(try(ctx, f, kmsapi.VerifyMac, &kmsapi.VerifyMacInput{KeyId: mac, Message: message, MacAlgorithm: "HMAC_SHA_256", Mac: code}))
		}},
		{"derive-shared-secret", "DeriveSharedSecret", "", func() error {
			out, err := try(ctx, f, kmsapi.DeriveSharedSecret, &kmsapi.DeriveSharedSecretInput{KeyId: agree, KeyAgreementAlgorithm: "ECDH", PublicKey: public})
			if err == nil {
				keep(out.SharedSecret)
			}
			return err
		}},
		{"encapsulate", "Encapsulate", "", func() error {
			out, err := try(ctx, f, kmsapi.Encapsulate, &kmsapi.EncapsulateInput{KeyId: kem, EncapsulationAlgorithm: "ML_KEM"})
			if err == nil {
				keep(out.SharedSecret, out.SharedSecretCiphertextBlob)
			}
			return err
		}},
		{"decapsulate", "Decapsulate", "", func() error {
			out, err := try(ctx, f, kmsapi.Decapsulate, &kmsapi.DecapsulateInput{KeyId: kem, EncapsulationAlgorithm: "ML_KEM", SharedSecretCiphertextBlob: capsule})
			if err == nil {
				keep(out.SharedSecret)
			}
			return err
		}},
		{"generate-data-key-pair", "GenerateDataKeyPair", "", func() error {
			out, err := try(ctx, f, kmsapi.GenerateDataKeyPair, &kmsapi.GenerateDataKeyPairInput{KeyId: plain, KeyPairSpec: "ECC_NIST_P256", EncryptionContext: ec})
			if err == nil {
				keep(out.PrivateKeyPlaintext, out.PrivateKeyCiphertextBlob)
			}
			return err
		}},
		{"generate-data-key-pair-without-plaintext", "GenerateDataKeyPairWithoutPlaintext", "", func() error {
			out, err := try(ctx, f, kmsapi.GenerateDataKeyPairWithoutPlaintext, &kmsapi.GenerateDataKeyPairWithoutPlaintextInput{KeyId: plain, KeyPairSpec: "ECC_NIST_P256", EncryptionContext: ec})
			if err == nil {
				keep(out.PrivateKeyCiphertextBlob)
			}
			return err
		}},
		{"encrypt-rsa", "Encrypt", "", func() error {
			out, err := try(ctx, f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: rsaKey, Plaintext: message, EncryptionAlgorithm: oaepSHA256})
			if err == nil {
				keep(out.CiphertextBlob)
			}
			return err
		}},
		{"decrypt-rsa", "Decrypt", "", func() error {
			return second(try(ctx, f, kmsapi.Decrypt, &kmsapi.DecryptInput{KeyId: &rsaKey, CiphertextBlob: sealed, EncryptionAlgorithm: oaepSHA256}))
		}},
		{"re-encrypt-rsa", "ReEncrypt", "", func() error {
			out, err := try(ctx, f, kmsapi.ReEncrypt, &kmsapi.ReEncryptInput{
				CiphertextBlob: sealed, SourceKeyId: &rsaKey, SourceEncryptionAlgorithm: oaepSHA256, DestinationKeyId: plain, DestinationEncryptionContext: ec,
			})
			if err == nil {
				keep(out.CiphertextBlob)
			}
			return err
		}},
	} {
		before := len(f.records())
		wantError(t, c.name, c.run(), c.code, "")
		var got []any
		for _, r := range f.records()[before:] {
			var m map[string]any
			if err := json.Unmarshal(r, &m); err != nil {
				t.Fatal(err)
			}
			if m["eventName"] == c.event {
				got = append(got, m)
			}
		}
		if len(got) != 1 {
			t.Errorf("%s left %d records", c.name, len(got))
		}
		compareGolden(t, c.name, normalise(t, f, got, map[string]string{
			plain: "KEY-PLAIN", rsaKey: "KEY-RSA", sign: "KEY-SIGN", mac: "KEY-MAC", agree: "KEY-AGREE", kem: "KEY-KEM",
		}))
	}
	for _, r := range f.records() {
		for _, secret := range secrets {
			if bytes.Contains(r, secret) {
				t.Fatalf("a record holds %q: %s", secret, r)
			}
		}
	}
}

// No error of a cryptographic operation tells what it was about.
func TestUseErrorsKeepSecrets(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const word = "confidential"
	m := []byte(strings.Repeat(word, 400)) // too long everywhere
	id, sign := f.newKey("HMAC_256", usageMAC), f.newKey("ECC_NIST_P256", usageSign)
	for _, run := range []func(ctx context.Context) error{
		func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.Sign, &kmsapi.SignInput{KeyId: sign, Message: m, SigningAlgorithm: "ECDSA_SHA_256"}))
		},
		func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.Verify, &kmsapi.VerifyInput{KeyId: sign, Message: m[:32], Signature: m, SigningAlgorithm: "ECDSA_SHA_256"}))
		},
		func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.GenerateMac, &kmsapi.GenerateMacInput{KeyId: id, Message: m, MacAlgorithm: "HMAC_SHA_256"}))
		},
		func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.VerifyMac, &kmsapi.VerifyMacInput{KeyId: id, Message: m, Mac: m, MacAlgorithm: "HMAC_SHA_256"}))
		},
	} {
		if err := run(f.admin()); err == nil || strings.Contains(err.Error(), word) {
			t.Errorf("error %v", err)
		}
	}
	for _, r := range f.records() {
		if bytes.Contains(r, []byte(word)) {
			t.Errorf("a record holds the message: %s", r)
		}
	}
}
