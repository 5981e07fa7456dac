package kms

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

// TestConditionKeysOfParameters: every condition key that mirrors a parameter is
// there with the value that the operation works with, also when the request
// leaves the parameter out. That is what a Deny needs to bind everybody.
//
// Source: AWS KMS Developer Guide, "AWS KMS condition keys": "This type of
// condition works even when the parameter doesn't appear in the request".
func TestConditionKeysOfParameters(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice := f.user(home, "alice", doc(allow("kms:*")))
	made := func(in kmsapi.CreateKeyInput) string {
		return must(f.admin(), f, kmsapi.CreateKey, &in).KeyMetadata.KeyId
	}
	var (
		key, other = f.key(""), f.key("")
		mrk        = made(kmsapi.CreateKeyInput{MultiRegion: new(true)})
		ecc        = made(kmsapi.CreateKeyInput{KeySpec: kmsapi.KeySpecEccNistP256, KeyUsage: usageSign})
		agree      = made(kmsapi.CreateKeyInput{KeySpec: kmsapi.KeySpecEccNistP256, KeyUsage: kmsapi.KeyUsageTypeKeyAgreement})
		hmac       = made(kmsapi.CreateKeyInput{KeySpec: kmsapi.KeySpecHmac256, KeyUsage: kmsapi.KeyUsageTypeGenerateVerifyMac})
		empty      = f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt)
		sealed     = f.encrypted(f.admin(), key, nil)
		validTo    = time.Date(2027, 1, 2, 3, 4, 5, 500e6, time.UTC)
	)
	must(f.admin(), f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/app", TargetKeyId: key})
	const (
		oaep       = kmsapi.EncryptionAlgorithmSpecRsaesOaepSha256
		keySpec    = "kms:KeySpec kms:CustomerMasterKeySpec"
		keyUsage   = "kms:KeyUsage kms:CustomerMasterKeyUsage"
		algorithm  = "kms:EncryptionAlgorithm"
		bypass     = "kms:BypassPolicyLockoutSafetyCheck"
		forService = "kms:GrantIsForAWSResource"
	)
	create := func(in kmsapi.CreateKeyInput) func(context.Context) error {
		return func(ctx context.Context) error {
			in := in // defaults are filled in
			return second(try(ctx, f, kmsapi.CreateKey, &in))
		}
	}
	putPolicy := func(bypass *bool) func(context.Context) error {
		return func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.PutKeyPolicy, &kmsapi.PutKeyPolicyInput{KeyId: key, Policy: defaultPolicy(home), BypassPolicyLockoutSafetyCheck: bypass}))
		}
	}
	replicate := func(bypass *bool) func(context.Context) error {
		return func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.ReplicateKey, &kmsapi.ReplicateKeyInput{KeyId: mrk, ReplicaRegion: elsewhere, BypassPolicyLockoutSafetyCheck: bypass}))
		}
	}
	encrypt := func(a kmsapi.EncryptionAlgorithmSpec) func(context.Context) error {
		return func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: key, Plaintext: []byte("p"), EncryptionAlgorithm: a}))
		}
	}
	decrypt := func(a kmsapi.EncryptionAlgorithmSpec) func(context.Context) error {
		return func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.Decrypt, &kmsapi.DecryptInput{KeyId: &key, CiphertextBlob: sealed, EncryptionAlgorithm: a}))
		}
	}
	reEncrypt := func(to string, from, into kmsapi.EncryptionAlgorithmSpec) func(context.Context) error {
		return func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.ReEncrypt, &kmsapi.ReEncryptInput{
				SourceKeyId: &key, CiphertextBlob: sealed, DestinationKeyId: to, SourceEncryptionAlgorithm: from, DestinationEncryptionAlgorithm: into,
			}))
		}
	}
	sign := func(m kmsapi.MessageType) func(context.Context) error {
		return func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.Sign, &kmsapi.SignInput{KeyId: ecc, Message: make([]byte, 32), MessageType: m, SigningAlgorithm: kmsapi.SigningAlgorithmSpecEcdsaSha256}))
		}
	}
	verify := func(m kmsapi.MessageType) func(context.Context) error {
		return func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.Verify, &kmsapi.VerifyInput{
				KeyId: ecc, Message: make([]byte, 32), Signature: []byte("s"), MessageType: m, SigningAlgorithm: kmsapi.SigningAlgorithmSpecEcdsaSha256,
			}))
		}
	}
	imports := func(model kmsapi.ExpirationModelType, validTo *time.Time) func(context.Context) error {
		return func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.ImportKeyMaterial, &kmsapi.ImportKeyMaterialInput{
				KeyId: empty, ImportToken: []byte("t"), EncryptedKeyMaterial: []byte("m"), ExpirationModel: model, ValidTo: validTo,
			}))
		}
	}
	grant := func(ctx context.Context) error {
		return second(try(ctx, f, kmsapi.CreateGrant, &kmsapi.CreateGrantInput{
			KeyId: key, GranteePrincipal: &alice.ARN, RetiringPrincipal: new(rootARN(home)), Operations: ops("Decrypt Encrypt"),
			Constraints: &kmsapi.GrantConstraints{EncryptionContextSubset: map[string]string{"a": "b"}},
		}))
	}
	for _, c := range []struct {
		name   string // what of the request
		action string
		keys   string
		want   string
		run    func(context.Context) error
	}{
		{"given", "CreateKey", keySpec, "HMAC_256", create(kmsapi.CreateKeyInput{KeySpec: kmsapi.KeySpecHmac256, KeyUsage: kmsapi.KeyUsageTypeGenerateVerifyMac})},
		{"given by its old name", "CreateKey", keySpec, "ECC_NIST_P256", create(kmsapi.CreateKeyInput{CustomerMasterKeySpec: kmsapi.CustomerMasterKeySpecEccNistP256, KeyUsage: usageSign})},
		{"defaulted", "CreateKey", keySpec, "SYMMETRIC_DEFAULT", create(kmsapi.CreateKeyInput{})},
		{"given", "CreateKey", keyUsage, "SIGN_VERIFY", create(kmsapi.CreateKeyInput{KeySpec: kmsapi.KeySpecEccNistP256, KeyUsage: usageSign})},
		{"defaulted", "CreateKey", keyUsage, "ENCRYPT_DECRYPT", create(kmsapi.CreateKeyInput{})},
		{"given", "CreateKey", "kms:KeyOrigin", "EXTERNAL", create(kmsapi.CreateKeyInput{Origin: kmsapi.OriginTypeExternal})},
		{"defaulted", "CreateKey", "kms:KeyOrigin", "AWS_KMS", create(kmsapi.CreateKeyInput{})},
		{"given", "CreateKey", "kms:MultiRegion", "true", create(kmsapi.CreateKeyInput{MultiRegion: new(true)})},
		{"defaulted", "CreateKey", "kms:MultiRegion", "false", create(kmsapi.CreateKeyInput{})},
		{"given", "CreateKey", "kms:MultiRegionKeyType", "PRIMARY", create(kmsapi.CreateKeyInput{MultiRegion: new(true)})},
		{"given", "CreateKey", bypass, "true", create(kmsapi.CreateKeyInput{BypassPolicyLockoutSafetyCheck: new(true)})},
		{"defaulted", "CreateKey", bypass, "false", create(kmsapi.CreateKeyInput{})},
		{"given", "PutKeyPolicy", bypass, "true", putPolicy(new(true))},
		{"defaulted", "PutKeyPolicy", bypass, "false", putPolicy(nil)},
		{"given", "ReplicateKey", bypass, "true", replicate(new(true))},
		{"defaulted", "ReplicateKey", bypass, "false", replicate(nil)},
		{"given", "ReplicateKey", "kms:ReplicaRegion", elsewhere, replicate(nil)},
		{"the primary", "ReplicateKey", "kms:MultiRegionKeyType", "PRIMARY", replicate(nil)},
		{"the replica", "CreateKey", "kms:MultiRegionKeyType", "REPLICA", replicate(nil)},
		{"the replica, given", "CreateKey", bypass, "true", replicate(new(true))},
		{"the replica, defaulted", "CreateKey", bypass, "false", replicate(nil)},
		{"given", "UpdatePrimaryRegion", "kms:PrimaryRegion", "eu-west-1", func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.UpdatePrimaryRegion, &kmsapi.UpdatePrimaryRegionInput{KeyId: mrk, PrimaryRegion: "eu-west-1"}))
		}},

		{"given", "Encrypt", algorithm, string(oaep), encrypt(oaep)},
		{"defaulted", "Encrypt", algorithm, "SYMMETRIC_DEFAULT", encrypt("")},
		{"given", "Decrypt", algorithm, string(oaep), decrypt(oaep)},
		{"defaulted", "Decrypt", algorithm, "SYMMETRIC_DEFAULT", decrypt("")},
		{"given", "ReEncryptFrom", algorithm, string(oaep), reEncrypt(other, oaep, "")},
		{"defaulted", "ReEncryptFrom", algorithm, "SYMMETRIC_DEFAULT", reEncrypt(other, "", oaep)},
		{"given", "ReEncryptTo", algorithm, string(oaep), reEncrypt(other, "", oaep)},
		{"defaulted", "ReEncryptTo", algorithm, "SYMMETRIC_DEFAULT", reEncrypt(other, oaep, "")},
		{"the same", "ReEncryptFrom", "kms:ReEncryptOnSameKey", "true", reEncrypt(key, "", "")},
		{"another", "ReEncryptTo", "kms:ReEncryptOnSameKey", "false", reEncrypt(other, "", "")},
		{"implied", "GenerateDataKey", algorithm, "SYMMETRIC_DEFAULT", func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.GenerateDataKey, &kmsapi.GenerateDataKeyInput{KeyId: key, NumberOfBytes: new(int32(16))}))
		}},
		{"implied", "GenerateDataKeyWithoutPlaintext", algorithm, "SYMMETRIC_DEFAULT", func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.GenerateDataKeyWithoutPlaintext, &kmsapi.GenerateDataKeyWithoutPlaintextInput{KeyId: key, NumberOfBytes: new(int32(16))}))
		}},
		{"given", "GenerateDataKeyPair", "kms:DataKeyPairSpec", "ECC_NIST_P256", func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.GenerateDataKeyPair, &kmsapi.GenerateDataKeyPairInput{KeyId: key, KeyPairSpec: kmsapi.DataKeyPairSpecEccNistP256}))
		}},
		{"given", "GenerateDataKeyPairWithoutPlaintext", "kms:DataKeyPairSpec", "ECC_NIST_P256", func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.GenerateDataKeyPairWithoutPlaintext, &kmsapi.GenerateDataKeyPairWithoutPlaintextInput{KeyId: key, KeyPairSpec: kmsapi.DataKeyPairSpecEccNistP256}))
		}},
		{"implied", "GenerateDataKeyPair", algorithm, "SYMMETRIC_DEFAULT", func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.GenerateDataKeyPair, &kmsapi.GenerateDataKeyPairInput{KeyId: key, KeyPairSpec: kmsapi.DataKeyPairSpecEccNistP256}))
		}},

		{"given", "Sign", "kms:MessageType", "DIGEST", sign(kmsapi.MessageTypeDigest)},
		{"defaulted", "Sign", "kms:MessageType", "RAW", sign("")},
		{"given", "Verify", "kms:MessageType", "DIGEST", verify(kmsapi.MessageTypeDigest)},
		{"defaulted", "Verify", "kms:MessageType", "RAW", verify("")},
		{"given", "Sign", "kms:SigningAlgorithm", "ECDSA_SHA_256", sign("")},
		{"given", "Verify", "kms:SigningAlgorithm", "ECDSA_SHA_256", verify("")},
		{"given", "GenerateMac", "kms:MacAlgorithm", "HMAC_SHA_256", func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.GenerateMac, &kmsapi.GenerateMacInput{KeyId: hmac, Message: []byte("m"), MacAlgorithm: kmsapi.MacAlgorithmSpecHmacSha256}))
		}},
		{"given", "VerifyMac", "kms:MacAlgorithm", "HMAC_SHA_256", func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.VerifyMac, &kmsapi.VerifyMacInput{KeyId: hmac, Message: []byte("m"), Mac: []byte("m"), MacAlgorithm: kmsapi.MacAlgorithmSpecHmacSha256}))
		}},
		{"given", "DeriveSharedSecret", "kms:KeyAgreementAlgorithm", "ECDH", func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.DeriveSharedSecret, &kmsapi.DeriveSharedSecretInput{KeyId: agree, PublicKey: []byte("p"), KeyAgreementAlgorithm: kmsapi.KeyAgreementAlgorithmSpecEcdh}))
		}},

		{"given", "EnableKeyRotation", "kms:RotationPeriodInDays", "100", func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.EnableKeyRotation, &kmsapi.EnableKeyRotationInput{KeyId: key, RotationPeriodInDays: new(int32(100))}))
		}},
		{"defaulted", "EnableKeyRotation", "kms:RotationPeriodInDays", "365", func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.EnableKeyRotation, &kmsapi.EnableKeyRotationInput{KeyId: key}))
		}},
		{"given", "ScheduleKeyDeletion", "kms:ScheduleKeyDeletionPendingWindowInDays", "14", func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: f.key(""), PendingWindowInDays: new(int32(14))}))
		}},
		{"defaulted", "ScheduleKeyDeletion", "kms:ScheduleKeyDeletionPendingWindowInDays", "30", func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: f.key("")}))
		}},
		{"given", "GetParametersForImport", "kms:WrappingAlgorithm", "RSAES_OAEP_SHA_256", func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.GetParametersForImport, &kmsapi.GetParametersForImportInput{KeyId: key, WrappingAlgorithm: wrapOAEP, WrappingKeySpec: "RSA_2048"}))
		}},
		{"given", "GetParametersForImport", "kms:WrappingKeySpec", "RSA_2048", func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.GetParametersForImport, &kmsapi.GetParametersForImportInput{KeyId: key, WrappingAlgorithm: wrapOAEP, WrappingKeySpec: "RSA_2048"}))
		}},
		{"given", "ImportKeyMaterial", "kms:ExpirationModel", "KEY_MATERIAL_DOES_NOT_EXPIRE", imports(forGood, nil)},
		{"defaulted", "ImportKeyMaterial", "kms:ExpirationModel", "KEY_MATERIAL_EXPIRES", imports("", &validTo)},
		{"given", "ImportKeyMaterial", "kms:ValidTo", "1798859045.5", imports(expires, &validTo)},

		{"given", "CreateGrant", "kms:GranteePrincipal", alice.ARN, grant},
		{"given", "CreateGrant", "kms:RetiringPrincipal", rootARN(home), grant},
		{"given", "CreateGrant", "kms:GrantOperations", "Encrypt", grant},
		{"given", "CreateGrant", "kms:GrantConstraintType", "EncryptionContextSubset", grant},
		{"given", "CreateGrant", "kms:EncryptionContext:a", "b", grant},
		{"a direct call", "CreateGrant", forService, "false", grant},
		{"a direct call", "ListGrants", forService, "false", func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.ListGrants, &kmsapi.ListGrantsInput{KeyId: key}))
		}},
		{"a direct call", "RevokeGrant", forService, "false", func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.RevokeGrant, &kmsapi.RevokeGrantInput{KeyId: key, GrantId: strings.Repeat("0", 64)}))
		}},
		{"given", "DescribeKey", "kms:RequestAlias", "alias/app", func(ctx context.Context) error {
			return second(try(ctx, f, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: "alias/app"}))
		}},
	} {
		for key := range strings.FieldsSeq(c.keys) {
			what := fmt.Sprintf("%s, %s %s", c.action, key, c.name)
			equals, differs := "StringEquals", "StringNotEquals"
			if key == "kms:GrantOperations" {
				equals, differs = "ForAnyValue:StringEquals", "ForAllValues:StringNotEquals"
			}
			// Only a key that is there makes the first Deny apply.
			f.putUserPolicy(alice, doc(allow("kms:*"), deny("kms:"+c.action, when(equals, key, c.want))))
			wantError(t, what+": a Deny of its value", c.run(f.by(alice)), denied, "")
			f.putUserPolicy(alice, doc(allow("kms:*"), deny("kms:"+c.action, when(differs, key, c.want))))
			if err := c.run(f.by(alice)); errors.Is(err, kmsapi.AccessDeniedException("")) {
				t.Errorf("%s: a Deny of other values: %v", what, err)
			}
		}
	}
}

// TestUpperLimits: a Deny above a limit, or below one, binds requests that take
// the default.
func TestUpperLimits(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	alice := f.user(home, "alice", doc(allow("kms:*"),
		deny("kms:EnableKeyRotation", when("NumericGreaterThan", "kms:RotationPeriodInDays", "180")),
		deny("kms:ScheduleKeyDeletion", when("NumericGreaterThan", "kms:ScheduleKeyDeletionPendingWindowInDays", "14"))))
	rotation := func(days *int32) error {
		return second(try(f.by(alice), f, kmsapi.EnableKeyRotation, &kmsapi.EnableKeyRotationInput{KeyId: id, RotationPeriodInDays: days}))
	}
	deletion := func(days *int32) error {
		return second(try(f.by(alice), f, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: id, PendingWindowInDays: days}))
	}
	wantError(t, "a rotation after 365 days by default", rotation(nil), denied, "")
	wantError(t, "a rotation after 181 days", rotation(new(int32(181))), denied, "")
	wantError(t, "a rotation after 180 days", rotation(new(int32(180))), "", "")
	wantError(t, "a deletion after 30 days by default", deletion(nil), denied, "")
	wantError(t, "a deletion after 15 days", deletion(new(int32(15))), denied, "")
	wantError(t, "a deletion after 14 days", deletion(new(int32(14))), "", "")
}

// TestValidToOperators: kms:ValidTo is Unix time, as in AWS's example policy, and
// Numeric and Date operators compare it alike.
func TestValidToOperators(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt)
	alice := f.user(home, "alice", "")
	limit := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC) // 1798859045
	for _, c := range []struct {
		operator, value string
		last            time.Time // that is allowed
	}{
		{"NumericLessThanEquals", "1798859045.0", limit},
		{"NumericLessThanEquals", "1798859045", limit},
		{"NumericLessThan", "1798859045.000002", limit.Add(time.Microsecond)},
		{"DateLessThanEquals", "1798859045", limit},
		{"DateLessThanEquals", "1798859045.0", limit},
		{"DateLessThanEquals", "2027-01-02T03:04:05Z", limit},
		{"DateLessThan", "2027-01-02T03:04:06Z", limit.Add(time.Second - time.Microsecond)},
	} {
		what := c.operator + " " + c.value
		imports := func(at time.Time) error {
			return second(try(f.by(alice), f, kmsapi.ImportKeyMaterial, &kmsapi.ImportKeyMaterialInput{
				KeyId: id, ImportToken: []byte("t"), EncryptedKeyMaterial: []byte("m"), ExpirationModel: expires, ValidTo: &at,
			}))
		}
		f.putUserPolicy(alice, doc(allow("kms:ImportKeyMaterial", when(c.operator, "kms:ValidTo", c.value))))
		wantError(t, what+" at its limit", imports(c.last), "InvalidImportTokenException", "")
		wantError(t, what+" beyond its limit", imports(c.last.Add(time.Microsecond)), denied, "")
		f.putUserPolicy(alice, doc(allow("kms:*"), deny("kms:ImportKeyMaterial", when(strings.Replace(strings.Replace(c.operator, "LessThanEquals", "GreaterThan", 1), "LessThan", "GreaterThanEquals", 1), "kms:ValidTo", c.value))))
		wantError(t, what+", denied above, at its limit", imports(c.last), "InvalidImportTokenException", "")
		wantError(t, what+", denied above, beyond its limit", imports(c.last.Add(time.Microsecond)), denied, "")
	}
}

func TestUnixTime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		at   time.Time
		want string
	}{
		{time.Unix(1546257599, 0), "1546257599.0"},
		{time.Unix(1546257599, 500e6), "1546257599.5"},
		{time.Unix(1546257599, 1000), "1546257599.000001"},
		{time.Unix(2020, 0), "2020.0"}, // no year
		{time.Unix(0, 0), "0.0"},
		{time.Unix(-2, 500e6), "-1.5"},
	} {
		if got := unixTime(c.at); got != c.want {
			t.Errorf("unixTime(%v) = %q, want %q", c.at.UTC(), got, c.want)
		}
	}
}

// TestRotationPeriodByDefault: EnableKeyRotation without a period means 365 days,
// whatever period the key had.
func TestRotationPeriodByDefault(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	for _, days := range []*int32{new(int32(90)), nil, new(int32(100)), nil, nil} {
		must(f.admin(), f, kmsapi.EnableKeyRotation, &kmsapi.EnableKeyRotationInput{KeyId: id, RotationPeriodInDays: days})
		want := int32(365)
		if days != nil {
			want = *days
		}
		got := must(f.admin(), f, kmsapi.GetKeyRotationStatus, &kmsapi.GetKeyRotationStatusInput{KeyId: id})
		if next := f.now().Add(time.Duration(want) * day); *got.RotationPeriodInDays != want || !got.NextRotationDate.Equal(next) {
			t.Errorf("rotates after %d days, next on %v; want %d, %v", *got.RotationPeriodInDays, got.NextRotationDate, want, next)
		}
		f.pass(3 * day)
	}
}
