package kms

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

// keyUse is the use of a key by one cryptographic operation.
type keyUse struct {
	operation string
	spec      kmsapi.KeySpec
	usage     kmsapi.KeyUsageType
	// run makes a request that is right; what it needs was made by prepare.
	run func(ctx context.Context, f *fixture, key string, given []byte, tokens []string, dry *bool) error
	// prepare makes what the request is given.
	prepare func(f *fixture, key string) []byte
}

var keyUses = []keyUse{
	{"Sign", "ECC_NIST_P256", usageSign, func(ctx context.Context, f *fixture, key string, _ []byte, tokens []string, dry *bool) error {
		return second(try(ctx, f, kmsapi.Sign, &kmsapi.SignInput{KeyId: key, Message: []byte("m"), SigningAlgorithm: "ECDSA_SHA_256", GrantTokens: tokens, DryRun: dry}))
	}, nil},
	{"Verify", "ECC_NIST_P256", usageSign, func(ctx context.Context, f *fixture, key string, given []byte, tokens []string, dry *bool) error {
		return second(try(ctx, f, kmsapi.Verify, &kmsapi.VerifyInput{KeyId: key, Message: []byte("m"), SigningAlgorithm: "ECDSA_SHA_256", Signature: given, GrantTokens: tokens, DryRun: dry}))
	}, func(f *fixture, key string) []byte { return f.stateBlob("Verify", key) }},
	{"GenerateMac", "HMAC_256", usageMAC, func(ctx context.Context, f *fixture, key string, _ []byte, tokens []string, dry *bool) error {
		return second(try(ctx, f, kmsapi.GenerateMac, &kmsapi.GenerateMacInput{KeyId: key, Message: []byte("m"), MacAlgorithm: "HMAC_SHA_256", GrantTokens: tokens, DryRun: dry}))
	}, nil},
	{"VerifyMac", "HMAC_256", usageMAC, func(ctx context.Context, f *fixture, key string, given []byte, tokens []string, dry *bool) error {
		return second(try(ctx, f, kmsapi.VerifyMac, &kmsapi.VerifyMacInput{KeyId: key, Message: []byte("m"), MacAlgorithm: "HMAC_SHA_256", Mac: given, GrantTokens: tokens, DryRun: dry}))
	}, func(f *fixture, key string) []byte { return f.stateBlob("VerifyMac", key) }},
	{"DeriveSharedSecret", "ECC_NIST_P384", usageAgree, func(ctx context.Context, f *fixture, key string, given []byte, tokens []string, dry *bool) error {
		return second(try(ctx, f, kmsapi.DeriveSharedSecret, &kmsapi.DeriveSharedSecretInput{KeyId: key, KeyAgreementAlgorithm: "ECDH", PublicKey: given, GrantTokens: tokens, DryRun: dry}))
	}, func(f *fixture, key string) []byte { return f.publicKey(key) }},
	{"Encapsulate", "ML_KEM_768", usageKEM, func(ctx context.Context, f *fixture, key string, _ []byte, tokens []string, dry *bool) error {
		return second(try(ctx, f, kmsapi.Encapsulate, &kmsapi.EncapsulateInput{KeyId: key, EncapsulationAlgorithm: "ML_KEM", GrantTokens: tokens, DryRun: dry}))
	}, nil},
	{"Decapsulate", "ML_KEM_1024", usageKEM, func(ctx context.Context, f *fixture, key string, given []byte, tokens []string, dry *bool) error {
		return second(try(ctx, f, kmsapi.Decapsulate, &kmsapi.DecapsulateInput{KeyId: key, EncapsulationAlgorithm: "ML_KEM", SharedSecretCiphertextBlob: given, GrantTokens: tokens, DryRun: dry}))
	}, func(f *fixture, key string) []byte { return f.stateBlob("Decapsulate", key) }},
	{"GenerateDataKeyPair", "SYMMETRIC_DEFAULT", usageEncrypt, func(ctx context.Context, f *fixture, key string, _ []byte, tokens []string, dry *bool) error {
		return second(try(ctx, f, kmsapi.GenerateDataKeyPair, &kmsapi.GenerateDataKeyPairInput{KeyId: key, KeyPairSpec: "ECC_NIST_P256", GrantTokens: tokens, DryRun: dry}))
	}, nil},
	{"GenerateDataKeyPairWithoutPlaintext", "SYMMETRIC_DEFAULT", usageEncrypt, func(ctx context.Context, f *fixture, key string, _ []byte, tokens []string, dry *bool) error {
		return second(try(ctx, f, kmsapi.GenerateDataKeyPairWithoutPlaintext, &kmsapi.GenerateDataKeyPairWithoutPlaintextInput{KeyId: key, KeyPairSpec: "ECC_NIST_P256", GrantTokens: tokens, DryRun: dry}))
	}, nil},
	{"GetPublicKey", "ECC_NIST_EDWARDS25519", usageSign, func(ctx context.Context, f *fixture, key string, _ []byte, tokens []string, dry *bool) error {
		if dry != nil {
			return kmsapi.DryRunOperationException("") // it has no such member
		}
		return second(try(ctx, f, kmsapi.GetPublicKey, &kmsapi.GetPublicKeyInput{KeyId: key, GrantTokens: tokens}))
	}, nil},
	{"Encrypt", "RSA_2048", usageEncrypt, func(ctx context.Context, f *fixture, key string, _ []byte, tokens []string, dry *bool) error {
		return second(try(ctx, f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: key, Plaintext: []byte("p"), EncryptionAlgorithm: oaepSHA256, GrantTokens: tokens, DryRun: dry}))
	}, nil},
	{"Decrypt", "RSA_2048", usageEncrypt, func(ctx context.Context, f *fixture, key string, given []byte, tokens []string, dry *bool) error {
		return second(try(ctx, f, kmsapi.Decrypt, &kmsapi.DecryptInput{KeyId: &key, CiphertextBlob: given, EncryptionAlgorithm: oaepSHA256, GrantTokens: tokens, DryRun: dry}))
	}, func(f *fixture, key string) []byte { return f.stateBlob("Decrypt with RSA", key) }},
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestWhoMayUseKeys tries every way to name a key and to be allowed on the
// operations of asymmetric and MAC keys.
func TestWhoMayUseKeys(t *testing.T) {
	t.Parallel()
	for _, u := range keyUses {
		t.Run(u.operation, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			action := "kms:" + u.operation
			id := f.newKey(u.spec, u.usage)
			must(f.admin(), f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/k", TargetKeyId: id})
			var given []byte
			if u.prepare != nil {
				given = u.prepare(f, id)
			}
			try := func(ctx context.Context, key string, tokens ...string) error {
				return u.run(ctx, f, key, given, tokens, nil)
			}
			for _, name := range []string{id, arnOf(id), "alias/k", aliasARN(region, home, "alias/k")} {
				wantError(t, "by "+name, try(f.admin(), name), "", "")
			}
			if r := f.last(u.operation); !strings.Contains(toJSON(t, r["resources"]), arnOf(id)) || strings.Contains(toJSON(t, r["resources"]), "alias/k") {
				t.Errorf("the record of a use by alias names %s", toJSON(t, r["resources"]))
			}
			wantError(t, "dry run", u.run(f.admin(), f, id, given, nil, new(true)), "DryRunOperationException", "")
			wantError(t, "unknown alias", try(f.admin(), "alias/none"), "NotFoundException", "")

			alice := f.user(home, "alice", "")
			wantError(t, "nobody", try(f.by(alice), id), denied, "User: "+alice.ARN+" is not authorized to perform: "+action+" on resource: "+arnOf(id)+" because *")
			wantError(t, "IAM", try(f.by(f.user(home, "ian", doc(allow(action)))), id), "", "")
			wantError(t, "IAM for others", try(f.by(f.user(home, "otto", doc(allow("kms:DescribeKey kms:Encrypt* kms:ReEncrypt*", when("StringEquals", "kms:KeySpec", "none"))))), id), denied, "")
			wantError(t, "a deny", try(f.by(f.user(home, "dan", doc(allow("kms:*"), deny(action)))), id), denied, "")

			bob := f.user(abroad, "bob", doc(allow(action)))
			idle := f.user(abroad, "idle", "")
			wantError(t, "another account by IAM alone", try(f.by(bob), arnOf(id)), denied, "")
			must(f.admin(), f, kmsapi.PutKeyPolicy, &kmsapi.PutKeyPolicyInput{KeyId: id, Policy: doc(to(rootARN(home), "kms:*"), to(rootARN(abroad), action))})
			for _, name := range []string{arnOf(id), aliasARN(region, home, "alias/k")} {
				wantError(t, "another account by "+name, try(f.by(bob), name), "", "")
			}
			wantError(t, "another account without IAM", try(f.by(idle), arnOf(id)), denied, "")
			wantError(t, "another account by id", try(f.by(bob), id), "NotFoundException", "Key '"+keyARN(region, abroad, id)+"' does not exist")

			g := f.grant(&kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &alice.ARN, Operations: ops(u.operation)})
			wantError(t, "grant", try(f.by(alice), id), "", "")
			wantError(t, "grant and token", try(f.by(alice), id, *g.GrantToken), "", "")
			wantError(t, "bad token", try(f.by(alice), id, "token"), "InvalidGrantTokenException", "")
			must(f.admin(), f, kmsapi.RevokeGrant, &kmsapi.RevokeGrantInput{KeyId: id, GrantId: *g.GrantId})
			wantError(t, "revoked grant", try(f.by(alice), id), denied, "")
			f.grant(&kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &alice.ARN, Operations: ops("DescribeKey")})
			wantError(t, "grant of another operation", try(f.by(alice), id), denied, "")
			f.grant(&kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &idle.ARN, Operations: ops(u.operation)})
			wantError(t, "grant to another account", try(f.by(idle), arnOf(id)), "", "")
			for _, r := range f.records() {
				if strings.Contains(string(r), *g.GrantToken) {
					t.Errorf("a record holds a grant token: %s", r)
				}
			}
		})
	}
}

// TestGrantOperationsFitTheKey: a grant lists only what keys of its kind can do.
func TestGrantOperationsFitTheKey(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	always := strings.Fields("CreateGrant RetireGrant DescribeKey")
	encryption := strings.Fields("Encrypt Decrypt ReEncryptFrom ReEncryptTo")
	dataKeys := strings.Fields("GenerateDataKey GenerateDataKeyWithoutPlaintext GenerateDataKeyPair GenerateDataKeyPairWithoutPlaintext")
	all := slices.Concat(always, encryption, dataKeys, strings.Fields("Sign Verify GetPublicKey GenerateMac VerifyMac DeriveSharedSecret Encapsulate Decapsulate"))
	for _, c := range []struct {
		spec  kmsapi.KeySpec
		usage kmsapi.KeyUsageType
		may   []string
	}{
		{"SYMMETRIC_DEFAULT", usageEncrypt, slices.Concat(encryption, dataKeys)},
		{"RSA_2048", usageEncrypt, append(slices.Clone(encryption), "GetPublicKey")},
		{"ECC_NIST_P256", usageSign, strings.Fields("Sign Verify GetPublicKey")},
		{"ECC_NIST_P256", usageAgree, strings.Fields("DeriveSharedSecret GetPublicKey")},
		{"HMAC_256", usageMAC, strings.Fields("GenerateMac VerifyMac")},
		{"ML_KEM_768", usageKEM, strings.Fields("Encapsulate Decapsulate GetPublicKey")},
	} {
		id := f.newKey(c.spec, c.usage)
		for _, op := range all {
			code := "ValidationException"
			if slices.Contains(always, op) || slices.Contains(c.may, op) {
				code = ""
			}
			_, err := try(f.admin(), f, kmsapi.CreateGrant, &kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: new(rootARN(home)), Operations: ops(op)})
			wantError(t, string(c.spec)+" "+string(c.usage)+" "+op, err, code, "")
		}
		_, err := try(f.admin(), f, kmsapi.CreateGrant, &kmsapi.CreateGrantInput{
			KeyId: id, GranteePrincipal: new(rootARN(home)), Operations: ops("DescribeKey"), Constraints: &kmsapi.GrantConstraints{EncryptionContextEquals: map[string]string{"a": "1"}},
		})
		code := "ValidationException"
		if c.spec == symmetricSpec {
			code = ""
		}
		wantError(t, string(c.spec)+" with an encryption context", err, code, "")
	}
}

// TestConditionsOfUse: each condition key of the cryptographic operations comes
// from the request.
func TestConditionsOfUse(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	p256, edwards := f.newKey("ECC_NIST_P256", usageSign), f.newKey("ECC_NIST_EDWARDS25519", usageSign)
	mac, agree, kem := f.newKey("HMAC_256", usageMAC), f.newKey("ECC_NIST_P256", usageAgree), f.newKey("ML_KEM_768", usageKEM)
	rsaKey, plain := f.newKey("RSA_2048", usageEncrypt), f.key("")
	public := f.publicKey(agree)
	m := make([]byte, 64)
	sign := func(key string, a kmsapi.SigningAlgorithmSpec, kind kmsapi.MessageType, m []byte) func(context.Context) error {
		return func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.Sign, &kmsapi.SignInput{KeyId: key, Message: m, MessageType: kind, SigningAlgorithm: a}))
		}
	}
	verify := func(key string, a kmsapi.SigningAlgorithmSpec, kind kmsapi.MessageType, m []byte) func(context.Context) error {
		return func(ctx context.Context) error {
			sig := must(f.admin(), f, kmsapi.Sign, &kmsapi.SignInput{KeyId: key, Message: m, MessageType: kind, SigningAlgorithm: a}).Signature
			return second(try(ctx, f, kmsapi.Verify, &kmsapi.VerifyInput{KeyId: key, Message: m, MessageType: kind, SigningAlgorithm: a, Signature: sig}))
		}
	}
	pair := func(spec kmsapi.DataKeyPairSpec, ec map[string]string) func(context.Context) error {
		return func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.GenerateDataKeyPair, &kmsapi.GenerateDataKeyPairInput{KeyId: plain, KeyPairSpec: spec, EncryptionContext: ec}))
		}
	}
	for _, c := range []struct {
		name, key, value string
		allowed, refused func(context.Context) error
	}{
		{"Sign", "kms:SigningAlgorithm", "ED25519_SHA_512", sign(edwards, "ED25519_SHA_512", raw, m), sign(edwards, "ED25519_PH_SHA_512", digest, m)},
		{"Verify", "kms:SigningAlgorithm", "ED25519_SHA_512", verify(edwards, "ED25519_SHA_512", raw, m), verify(edwards, "ED25519_PH_SHA_512", digest, m)},
		{"Sign", "kms:MessageType", "DIGEST", sign(p256, "ECDSA_SHA_256", digest, m[:32]), sign(p256, "ECDSA_SHA_256", raw, m[:32])},
		{"Verify", "kms:MessageType", "DIGEST", verify(p256, "ECDSA_SHA_256", digest, m[:32]), verify(p256, "ECDSA_SHA_256", raw, m[:32])},
		{"Sign, by default", "kms:MessageType", "RAW", sign(p256, "ECDSA_SHA_256", "", m), sign(p256, "ECDSA_SHA_256", digest, m[:32])},
		{"GenerateMac", "kms:MacAlgorithm", "HMAC_SHA_256", func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.GenerateMac, &kmsapi.GenerateMacInput{KeyId: mac, Message: m, MacAlgorithm: "HMAC_SHA_256"}))
		}, func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.GenerateMac, &kmsapi.GenerateMacInput{KeyId: mac, Message: m, MacAlgorithm: "HMAC_SHA_384"}))
		}},
		{"VerifyMac", "kms:MacAlgorithm", "HMAC_SHA_256", func(ctx context.Context) error {
			given := f.stateBlob("VerifyMac", mac)
			return second(try(ctx, f, kmsapi.VerifyMac, &kmsapi.VerifyMacInput{KeyId: mac, Message: []byte("m"), MacAlgorithm: "HMAC_SHA_256", Mac: given}))
		}, func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.VerifyMac, &kmsapi.VerifyMacInput{KeyId: mac, Message: m, MacAlgorithm: "HMAC_SHA_512", Mac: m}))
		}},
		{"DeriveSharedSecret", "kms:KeyAgreementAlgorithm", "ECDH", func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.DeriveSharedSecret, &kmsapi.DeriveSharedSecretInput{KeyId: agree, KeyAgreementAlgorithm: "ECDH", PublicKey: public}))
		}, nil},
		{"GenerateDataKeyPair", "kms:DataKeyPairSpec", "ECC_NIST_P256", pair("ECC_NIST_P256", nil), pair("ECC_NIST_P384", nil)},
		{"GenerateDataKeyPair", "kms:EncryptionAlgorithm", "SYMMETRIC_DEFAULT", pair("ECC_NIST_P256", nil), nil},
		{"GenerateDataKeyPair", "kms:EncryptionContext:plot", "7", pair("ECC_NIST_P256", map[string]string{"plot": "7"}), pair("ECC_NIST_P256", map[string]string{"plot": "8"})},
		{"Encrypt", "kms:EncryptionAlgorithm", "RSAES_OAEP_SHA_256", func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: rsaKey, Plaintext: m, EncryptionAlgorithm: oaepSHA256}))
		}, func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: rsaKey, Plaintext: m, EncryptionAlgorithm: oaepSHA1}))
		}},
		{"Encapsulate", "kms:KeySpec", "ML_KEM_768", func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.Encapsulate, &kmsapi.EncapsulateInput{KeyId: kem, EncapsulationAlgorithm: "ML_KEM"}))
		}, sign(p256, "ECDSA_SHA_256", raw, m)},
		{"Encapsulate", "kms:KeyUsage", "ENCAPSULATE_DECAPSULATE", func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.Encapsulate, &kmsapi.EncapsulateInput{KeyId: kem, EncapsulationAlgorithm: "ML_KEM"}))
		}, sign(p256, "ECDSA_SHA_256", raw, m)},
	} {
		name := c.name + " " + c.key + "=" + c.value
		caller := f.user(home, "u"+newHexID()[:12], doc(allow("kms:*", when("StringEquals", c.key, c.value))))
		wantError(t, name, c.allowed(f.by(caller)), "", "")
		if c.refused != nil {
			wantError(t, "not "+name, c.refused(f.by(caller)), denied, "")
		}
		other := f.user(home, "u"+newHexID()[:12], doc(allow("kms:*", when("StringEquals", c.key, "something else"))))
		wantError(t, name+" for others", c.allowed(f.by(other)), denied, "")
	}
	// Of ReEncrypt each side has its own algorithm.
	source, sink := doc(allow("kms:ReEncryptFrom", when("StringEquals", "kms:EncryptionAlgorithm", "SYMMETRIC_DEFAULT")),
		allow("kms:ReEncryptTo", when("StringEquals", "kms:EncryptionAlgorithm", "RSAES_OAEP_SHA_256"))), f.encrypted(f.admin(), plain, nil)
	caller := f.by(f.user(home, "mover", source))
	_, err := try(caller, f, kmsapi.ReEncrypt, &kmsapi.ReEncryptInput{CiphertextBlob: sink, DestinationKeyId: rsaKey, DestinationEncryptionAlgorithm: oaepSHA256})
	wantError(t, "ReEncrypt to RSA", err, "", "")
	_, err = try(caller, f, kmsapi.ReEncrypt, &kmsapi.ReEncryptInput{CiphertextBlob: sink, DestinationKeyId: plain})
	wantError(t, "ReEncrypt to a symmetric key", err, denied, "")
}
