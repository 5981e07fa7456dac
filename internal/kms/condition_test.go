package kms

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/authz/catalog"
	"github.com/sagekeep/sagekeep/internal/evaluator"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
)

// listener hears the condition keys of every question to the evaluator.
type listener struct {
	protocol.Authorizer

	mu    sync.Mutex
	heard map[string][]authz.Context // by action
}

func (l *listener) Decide(ctx context.Context, c *protocol.Check) (authz.Decision, error) {
	d, err := l.Authorizer.Decide(ctx, c)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard[c.Action] = append(l.heard[c.Action], c.Context)
	return d, err
}

// has reports whether a request of the action had the condition key, or one of
// an open key.
func (l *listener) has(action string, key *catalog.Key) bool {
	return slices.ContainsFunc(l.heard[action], func(c authz.Context) bool {
		if prefix, _, open := strings.Cut(strings.ToLower(key.Name), "${"); open {
			for name := range c.All() {
				if strings.HasPrefix(name, prefix) {
					return true
				}
			}
			return false
		}
		v, ok := c.Get(key.Name) // those looked up later, too
		return ok && !v.Ambiguous && v.Multi == key.Multi
	})
}

// TestConditionKeysOfTheCatalog: every condition key that the Service
// Authorization Reference lists for an action stands in the questions about it
// when the request has the matter. Requests that fail for other reasons will do.
func TestConditionKeysOfTheCatalog(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	l := &listener{Authorizer: evaluator.New(f.iam, nil), heard: map[string][]authz.Context{}}
	f.r = protocol.NewRegistry(l, f.store.Journal())
	f.s.cfg.Authorizer = f.r
	f.s.Register(f.r)
	f.r.Finish()

	admin, ctx := f.admin(), f.by(via(root(home), "s3", region))
	tags := []kmsapi.Tag{{TagKey: "team", TagValue: "geo"}}
	newKey := func(alias string, spec kmsapi.KeySpec, usage kmsapi.KeyUsageType, origin kmsapi.OriginType) string {
		id := must(admin, f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{KeySpec: spec, KeyUsage: usage, Origin: origin, MultiRegion: new(true), Tags: tags}).KeyMetadata.KeyId
		must(admin, f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: alias, TargetKeyId: id})
		return id
	}
	ec := map[string]string{"job": "1"}
	id := newKey("alias/key", "SYMMETRIC_DEFAULT", usageEncrypt, "")
	imported := newKey("alias/imported", "SYMMETRIC_DEFAULT", usageEncrypt, kmsapi.OriginTypeExternal)
	newKey("alias/sign", "ECC_NIST_P256", usageSign, "")
	newKey("alias/mac", "HMAC_256", usageMAC, "")
	newKey("alias/agree", "ECC_NIST_P256", usageAgree, "")
	newKey("alias/kem", "ML_KEM_768", usageKEM, "")
	blob := f.encrypted(admin, id, ec)
	svc := new(service(home, "").ServiceName)
	grant := f.grant(&kmsapi.CreateGrantInput{
		KeyId: id, GranteePrincipal: new(rootARN(home)), Operations: ops("Decrypt RetireGrant"), Constraints: &kmsapi.GrantConstraints{EncryptionContextSubset: ec},
	})

	for name, err := range map[string]error{
		"CreateKey": second(try(ctx, f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{
			MultiRegion: new(true), Tags: tags, BypassPolicyLockoutSafetyCheck: new(true),
		})),
		"DescribeKey":          second(try(ctx, f, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: "alias/key"})),
		"DisableKey":           second(try(ctx, f, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: id})),
		"EnableKey":            second(try(ctx, f, kmsapi.EnableKey, &kmsapi.EnableKeyInput{KeyId: id})),
		"ScheduleKeyDeletion":  second(try(ctx, f, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: id, PendingWindowInDays: new(int32(8))})),
		"CancelKeyDeletion":    second(try(ctx, f, kmsapi.CancelKeyDeletion, &kmsapi.CancelKeyDeletionInput{KeyId: id})),
		"UpdateKeyDescription": second(try(ctx, f, kmsapi.UpdateKeyDescription, &kmsapi.UpdateKeyDescriptionInput{KeyId: id})),

		"Encrypt": second(try(ctx, f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: "alias/key", Plaintext: []byte("p"), EncryptionContext: ec})),
		"Decrypt": second(try(ctx, f, kmsapi.Decrypt, &kmsapi.DecryptInput{KeyId: new("alias/key"), CiphertextBlob: blob, EncryptionContext: ec})),
		"ReEncrypt": second(try(ctx, f, kmsapi.ReEncrypt, &kmsapi.ReEncryptInput{
			SourceKeyId: new("alias/key"), CiphertextBlob: blob, SourceEncryptionContext: ec, DestinationKeyId: "alias/key", DestinationEncryptionContext: ec,
		})),
		"GenerateDataKey": second(try(ctx, f, kmsapi.GenerateDataKey, &kmsapi.GenerateDataKeyInput{KeyId: "alias/key", KeySpec: "AES_256", EncryptionContext: ec})),
		"GenerateDataKeyWithoutPlaintext": second(try(ctx, f, kmsapi.GenerateDataKeyWithoutPlaintext, &kmsapi.GenerateDataKeyWithoutPlaintextInput{
			KeyId: "alias/key", KeySpec: "AES_256", EncryptionContext: ec,
		})),
		"GenerateDataKeyPair": second(try(ctx, f, kmsapi.GenerateDataKeyPair, &kmsapi.GenerateDataKeyPairInput{
			KeyId: "alias/key", KeyPairSpec: "ECC_NIST_P256", EncryptionContext: ec,
		})),
		"GenerateDataKeyPairWithoutPlaintext": second(try(ctx, f, kmsapi.GenerateDataKeyPairWithoutPlaintext, &kmsapi.GenerateDataKeyPairWithoutPlaintextInput{
			KeyId: "alias/key", KeyPairSpec: "ECC_NIST_P256", EncryptionContext: ec,
		})),
		"GenerateRandom": second(try(ctx, f, kmsapi.GenerateRandom, &kmsapi.GenerateRandomInput{NumberOfBytes: new(int32(8))})),
		"GetPublicKey":   second(try(ctx, f, kmsapi.GetPublicKey, &kmsapi.GetPublicKeyInput{KeyId: "alias/sign"})),
		"Sign": second(try(ctx, f, kmsapi.Sign, &kmsapi.SignInput{
			KeyId: "alias/sign", Message: []byte("m"), MessageType: "RAW", SigningAlgorithm: "ECDSA_SHA_256",
		})),
		"Verify": second(try(ctx, f, kmsapi.Verify, &kmsapi.VerifyInput{
			KeyId: "alias/sign", Message: []byte("m"), MessageType: "RAW", SigningAlgorithm: "ECDSA_SHA_256", Signature: []byte("s"),
		})),
		"GenerateMac": second(try(ctx, f, kmsapi.GenerateMac, &kmsapi.GenerateMacInput{KeyId: "alias/mac", Message: []byte("m"), MacAlgorithm: "HMAC_SHA_256"})),
		"VerifyMac": second(try(ctx, f, kmsapi.VerifyMac, &kmsapi.VerifyMacInput{
			KeyId: "alias/mac", Message: []byte("m"), MacAlgorithm: "HMAC_SHA_256", Mac: []byte("m"),
		})),
		"DeriveSharedSecret": second(try(ctx, f, kmsapi.DeriveSharedSecret, &kmsapi.DeriveSharedSecretInput{
			KeyId: "alias/agree", KeyAgreementAlgorithm: "ECDH", PublicKey: []byte("k"),
		})),
		"Encapsulate": second(try(ctx, f, kmsapi.Encapsulate, &kmsapi.EncapsulateInput{KeyId: "alias/kem", EncapsulationAlgorithm: "ML_KEM"})),
		"Decapsulate": second(try(ctx, f, kmsapi.Decapsulate, &kmsapi.DecapsulateInput{
			KeyId: "alias/kem", EncapsulationAlgorithm: "ML_KEM", SharedSecretCiphertextBlob: []byte("c"),
		})),

		"GetKeyLastUsage": second(try(ctx, f, kmsapi.GetKeyLastUsage, &kmsapi.GetKeyLastUsageInput{KeyId: id})),
		"GetKeyPolicy":    second(try(ctx, f, kmsapi.GetKeyPolicy, &kmsapi.GetKeyPolicyInput{KeyId: id})),
		"ListKeyPolicies": second(try(ctx, f, kmsapi.ListKeyPolicies, &kmsapi.ListKeyPoliciesInput{KeyId: id})),
		"PutKeyPolicy": second(try(ctx, f, kmsapi.PutKeyPolicy, &kmsapi.PutKeyPolicyInput{
			KeyId: id, Policy: defaultPolicy(home), BypassPolicyLockoutSafetyCheck: new(true),
		})),

		"CreateCustomKeyStore":     second(try(ctx, f, kmsapi.CreateCustomKeyStore, storeInput("mine"))),
		"UpdateCustomKeyStore":     second(try(ctx, f, kmsapi.UpdateCustomKeyStore, &kmsapi.UpdateCustomKeyStoreInput{CustomKeyStoreId: "cks-0"})),
		"DeleteCustomKeyStore":     second(try(ctx, f, kmsapi.DeleteCustomKeyStore, &kmsapi.DeleteCustomKeyStoreInput{CustomKeyStoreId: "cks-0"})),
		"ConnectCustomKeyStore":    second(try(ctx, f, kmsapi.ConnectCustomKeyStore, &kmsapi.ConnectCustomKeyStoreInput{CustomKeyStoreId: "cks-0"})),
		"DisconnectCustomKeyStore": second(try(ctx, f, kmsapi.DisconnectCustomKeyStore, &kmsapi.DisconnectCustomKeyStoreInput{CustomKeyStoreId: "cks-0"})),
		"DescribeCustomKeyStores":  second(try(ctx, f, kmsapi.DescribeCustomKeyStores, &kmsapi.DescribeCustomKeyStoresInput{})),

		"CreateAlias": second(try(ctx, f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/new", TargetKeyId: id})),
		"UpdateAlias": second(try(ctx, f, kmsapi.UpdateAlias, &kmsapi.UpdateAliasInput{AliasName: "alias/imported", TargetKeyId: imported})),
		"DeleteAlias": second(try(ctx, f, kmsapi.DeleteAlias, &kmsapi.DeleteAliasInput{AliasName: "alias/imported"})),

		"CreateGrant": second(try(ctx, f, kmsapi.CreateGrant, &kmsapi.CreateGrantInput{
			KeyId: id, GranteePrincipal: new(rootARN(home)), RetiringPrincipal: new(rootARN(home)), Operations: ops("Decrypt"),
			Constraints: &kmsapi.GrantConstraints{EncryptionContextEquals: ec},
		})),
		"CreateGrant for a service": second(try(ctx, f, kmsapi.CreateGrant, &kmsapi.CreateGrantInput{
			KeyId: id, GranteeServicePrincipal: svc, RetiringServicePrincipal: svc, Operations: ops("Decrypt"),
			Constraints: &kmsapi.GrantConstraints{SourceArn: new(service(home, "").SourceARN)},
		})),
		"ListGrants":  second(try(ctx, f, kmsapi.ListGrants, &kmsapi.ListGrantsInput{KeyId: id})),
		"RevokeGrant": second(try(ctx, f, kmsapi.RevokeGrant, &kmsapi.RevokeGrantInput{KeyId: id, GrantId: strings.Repeat("0", 64)})),
		"RetireGrant": second(try(ctx, f, kmsapi.RetireGrant, &kmsapi.RetireGrantInput{GrantToken: grant.GrantToken})),

		"TagResource":      second(try(ctx, f, kmsapi.TagResource, &kmsapi.TagResourceInput{KeyId: id, Tags: tags})),
		"UntagResource":    second(try(ctx, f, kmsapi.UntagResource, &kmsapi.UntagResourceInput{KeyId: id, TagKeys: []string{"absent"}})),
		"ListResourceTags": second(try(ctx, f, kmsapi.ListResourceTags, &kmsapi.ListResourceTagsInput{KeyId: id})),

		"GetParametersForImport": second(try(ctx, f, kmsapi.GetParametersForImport, &kmsapi.GetParametersForImportInput{
			KeyId: id, WrappingAlgorithm: wrapOAEP, WrappingKeySpec: "RSA_2048",
		})),
		"ImportKeyMaterial": second(try(ctx, f, kmsapi.ImportKeyMaterial, &kmsapi.ImportKeyMaterialInput{
			KeyId: id, ImportToken: []byte("t"), EncryptedKeyMaterial: []byte("m"), ExpirationModel: expires, ValidTo: new(f.now().Add(day)),
		})),
		"DeleteImportedKeyMaterial": second(try(ctx, f, kmsapi.DeleteImportedKeyMaterial, &kmsapi.DeleteImportedKeyMaterialInput{KeyId: id})),

		"ReplicateKey":        second(try(ctx, f, kmsapi.ReplicateKey, &kmsapi.ReplicateKeyInput{KeyId: id, ReplicaRegion: elsewhere})),
		"UpdatePrimaryRegion": second(try(ctx, f, kmsapi.UpdatePrimaryRegion, &kmsapi.UpdatePrimaryRegionInput{KeyId: id, PrimaryRegion: elsewhere})),

		"GetKeyRotationStatus": second(try(ctx, f, kmsapi.GetKeyRotationStatus, &kmsapi.GetKeyRotationStatusInput{KeyId: id})),
		"EnableKeyRotation":    second(try(ctx, f, kmsapi.EnableKeyRotation, &kmsapi.EnableKeyRotationInput{KeyId: id, RotationPeriodInDays: new(int32(100))})),
		"DisableKeyRotation":   second(try(ctx, f, kmsapi.DisableKeyRotation, &kmsapi.DisableKeyRotationInput{KeyId: id})),
		"RotateKeyOnDemand":    second(try(ctx, f, kmsapi.RotateKeyOnDemand, &kmsapi.RotateKeyOnDemandInput{KeyId: id})),
		"ListKeyRotations":     second(try(ctx, f, kmsapi.ListKeyRotations, &kmsapi.ListKeyRotationsInput{KeyId: id})),
	} {
		if err != nil && strings.Contains(err.Error(), denied) {
			t.Errorf("%s: %v", name, err) // another resolver might have asked nothing
		}
	}

	entry, ok := catalog.Service("kms")
	if !ok {
		t.Fatal("the catalog has no KMS")
	}
	for _, a := range entry.Actions {
		if a.Name == "SynchronizeMultiRegionKey" || len(a.Keys) == 0 {
			continue // no operation asks for it, or it has no keys
		}
		if len(l.heard[a.String()]) == 0 {
			t.Errorf("no request asks for %s", a)
			continue
		}
		wanted := slices.Clone(a.Keys)
		for _, r := range a.Resources {
			wanted = append(wanted, r.Keys...)
		}
		for _, key := range wanted {
			if a.Name == "CreateKey" && strings.HasPrefix(key.Name, "aws:ResourceTag/") {
				continue // there is no key yet
			}
			if !strings.HasPrefix(key.Name, "kms:RecipientAttestation:") && !l.has(a.String(), key) {
				t.Errorf("no request of %s has %s", a, key.Name)
			}
		}
	}
}

// A deny that names what is particular to a grant bites when it is retired,
// whoever does that.
func TestRetireGrantConditions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ec := map[string]string{"job": "1"}
	equals := &kmsapi.GrantConstraints{EncryptionContextEquals: ec}
	subset := &kmsapi.GrantConstraints{EncryptionContextSubset: ec}
	onEquals := when("StringEquals", "kms:GrantConstraintType", "EncryptionContextEquals")
	onJob := when("StringEquals", "kms:EncryptionContext:job", "1")
	onKeys := when("ForAnyValue:StringEquals", "kms:EncryptionContextKeys", "job")
	onOther := when("StringEquals", "kms:EncryptionContext:job", "2")
	id := f.key("")
	for i, c := range []struct {
		name, condition string
		constraints     *kmsapi.GrantConstraints
		want            string
	}{
		{"type", onEquals, equals, denied},
		{"another type", onEquals, subset, ""},
		{"no constraint", onEquals, nil, ""},
		{"context", onJob, equals, denied},
		{"context of a subset", onJob, subset, denied},
		{"another context", onOther, subset, ""},
		{"context keys", onKeys, subset, denied},
		{"no context", onKeys, nil, ""},
	} {
		suffix := string(rune('a' + i))
		grantee, retirer := f.user(home, "grantee-"+suffix, ""), f.user(home, "retirer-"+suffix, "")
		account := f.user(home, "account-"+suffix, doc(allow("kms:RetireGrant")))
		for _, layer := range []string{"key policy", "IAM"} {
			for _, by := range []*identity.Caller{grantee, retirer, account} {
				policy, own := defaultPolicy(home), doc(allow("kms:RetireGrant"))
				if layer == "IAM" {
					own = doc(allow("kms:RetireGrant"), deny("kms:RetireGrant", c.condition))
				} else {
					policy = doc(to(rootARN(home), "kms:*"), not(by.ARN, "kms:RetireGrant", c.condition))
				}
				must(f.admin(), f, kmsapi.PutKeyPolicy, &kmsapi.PutKeyPolicyInput{KeyId: id, Policy: policy})
				f.putUserPolicy(by, own)
				g := f.grant(&kmsapi.CreateGrantInput{
					KeyId: id, GranteePrincipal: &grantee.ARN, RetiringPrincipal: &retirer.ARN, Operations: ops("Decrypt RetireGrant"), Constraints: c.constraints,
				})
				_, err := try(f.by(by), f, kmsapi.RetireGrant, &kmsapi.RetireGrantInput{GrantToken: g.GrantToken})
				wantError(t, c.name+" in "+layer+" for "+by.UserName, err, c.want, "")
			}
		}
	}
}
