package kms

import (
	"bytes"
	"maps"
	"strings"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

// keyStates are the columns of the table, in its order. Unavailable is here what rows
// from before an erasure are; keys of external key stores have their own table.
var keyStates = []kmsapi.KeyState{
	kmsapi.KeyStateEnabled, kmsapi.KeyStateDisabled, kmsapi.KeyStatePendingDeletion, kmsapi.KeyStatePendingImport,
	kmsapi.KeyStateUnavailable, kmsapi.KeyStateCreating, kmsapi.KeyStateUpdating, kmsapi.KeyStatePendingReplicaDeletion,
}

// subject is what an operation of the table is tried on.
type subject struct {
	f            *fixture
	key, other   string
	blob         []byte // under key
	token        []byte // of an import into key
	alias, spare string
	grant        string
}

// stateKinds are the operations whose key is of another kind than symmetric.
var stateKinds = map[string]struct {
	spec  kmsapi.KeySpec
	usage kmsapi.KeyUsageType
}{
	"GetPublicKey": {"ECC_NIST_P256", usageSign}, "Sign": {"ECC_NIST_P256", usageSign}, "Verify": {"ECC_NIST_P256", usageSign},
	"GenerateMac": {"HMAC_256", usageMAC}, "VerifyMac": {"HMAC_256", usageMAC}, "DeriveSharedSecret": {"ECC_NIST_P256", usageAgree},
	"Encapsulate": {"ML_KEM_768", usageKEM}, "Decapsulate": {"ML_KEM_768", usageKEM},
	"Encrypt with RSA": {"RSA_2048", usageEncrypt}, "Decrypt with RSA": {"RSA_2048", usageEncrypt},
	"ReEncrypt from RSA": {"RSA_2048", usageEncrypt}, "ReEncrypt to RSA": {"RSA_2048", usageEncrypt},
}

// stateTable has one word per state: ok, or the footnote of its error.
//
// Source: AWS KMS Developer Guide, "Key states of AWS KMS keys".
var stateTable = []struct {
	operation string
	want      string
	run       func(s *subject) error
}{
	{"Encrypt", "ok 1 3 5 11 14 ok 3r", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: s.key, Plaintext: []byte("p")})
		return err
	}},
	{"Decrypt", "ok 1 3 5 11 14 ok 3r", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: s.blob})
		return err
	}},
	{"ReEncrypt from", "ok 1 3 5 11 14 ok 3r", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.ReEncrypt, &kmsapi.ReEncryptInput{CiphertextBlob: s.blob, DestinationKeyId: s.other})
		return err
	}},
	{"ReEncrypt to", "ok 1 3 5 11 14 ok 3r", func(s *subject) error {
		in := &kmsapi.ReEncryptInput{CiphertextBlob: s.f.encrypted(s.f.admin(), s.other, nil), DestinationKeyId: s.key}
		_, err := try(s.f.admin(), s.f, kmsapi.ReEncrypt, in)
		return err
	}},
	{"GenerateDataKey", "ok 1 3 5 11 14 ok 3r", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.GenerateDataKey, &kmsapi.GenerateDataKeyInput{KeyId: s.key, KeySpec: kmsapi.DataKeySpecAes256})
		return err
	}},
	{"GenerateDataKeyWithoutPlaintext", "ok 1 3 5 11 14 ok 3r", func(s *subject) error {
		in := &kmsapi.GenerateDataKeyWithoutPlaintextInput{KeyId: s.key, KeySpec: kmsapi.DataKeySpecAes256}
		_, err := try(s.f.admin(), s.f, kmsapi.GenerateDataKeyWithoutPlaintext, in)
		return err
	}},
	{"GetPublicKey", "ok 1 3 5 11 14 ok 3r", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.GetPublicKey, &kmsapi.GetPublicKeyInput{KeyId: s.key})
		return err
	}},
	{"Encrypt with RSA", "ok 1 3 5 11 14 ok 3r", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: s.key, Plaintext: []byte("p"), EncryptionAlgorithm: oaepSHA256})
		return err
	}},
	{"Decrypt with RSA", "ok 1 3 5 11 14 ok 3r", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.Decrypt, &kmsapi.DecryptInput{KeyId: &s.key, CiphertextBlob: s.blob, EncryptionAlgorithm: oaepSHA256})
		return err
	}},
	{"ReEncrypt from RSA", "ok 1 3 5 11 14 ok 3r", func(s *subject) error {
		in := &kmsapi.ReEncryptInput{CiphertextBlob: s.blob, SourceKeyId: &s.key, SourceEncryptionAlgorithm: oaepSHA256, DestinationKeyId: s.other}
		_, err := try(s.f.admin(), s.f, kmsapi.ReEncrypt, in)
		return err
	}},
	{"ReEncrypt to RSA", "ok 1 3 5 11 14 ok 3r", func(s *subject) error {
		in := &kmsapi.ReEncryptInput{CiphertextBlob: s.f.encrypted(s.f.admin(), s.other, nil), DestinationKeyId: s.key, DestinationEncryptionAlgorithm: oaepSHA256}
		_, err := try(s.f.admin(), s.f, kmsapi.ReEncrypt, in)
		return err
	}},
	{"GenerateDataKeyPair", "ok 1 3 5 11 14 ok 3r", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.GenerateDataKeyPair, &kmsapi.GenerateDataKeyPairInput{KeyId: s.key, KeyPairSpec: "ECC_NIST_P256"})
		return err
	}},
	{"GenerateDataKeyPairWithoutPlaintext", "ok 1 3 5 11 14 ok 3r", func(s *subject) error {
		in := &kmsapi.GenerateDataKeyPairWithoutPlaintextInput{KeyId: s.key, KeyPairSpec: "ECC_NIST_P256"}
		_, err := try(s.f.admin(), s.f, kmsapi.GenerateDataKeyPairWithoutPlaintext, in)
		return err
	}},
	{"Sign", "ok 1 3 5 11 14 ok 3r", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.Sign, &kmsapi.SignInput{KeyId: s.key, Message: []byte("m"), SigningAlgorithm: "ECDSA_SHA_256"})
		return err
	}},
	{"Verify", "ok 1 3 5 11 14 ok 3r", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.Verify, &kmsapi.VerifyInput{KeyId: s.key, Message: []byte("m"), SigningAlgorithm: "ECDSA_SHA_256", Signature: s.blob})
		return err
	}},
	{"GenerateMac", "ok 1 3 5 11 14 ok 3r", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.GenerateMac, &kmsapi.GenerateMacInput{KeyId: s.key, Message: []byte("m"), MacAlgorithm: "HMAC_SHA_256"})
		return err
	}},
	{"VerifyMac", "ok 1 3 5 11 14 ok 3r", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.VerifyMac, &kmsapi.VerifyMacInput{KeyId: s.key, Message: []byte("m"), MacAlgorithm: "HMAC_SHA_256", Mac: s.blob})
		return err
	}},
	{"DeriveSharedSecret", "ok 1 3 5 11 14 ok 3r", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.DeriveSharedSecret, &kmsapi.DeriveSharedSecretInput{KeyId: s.key, KeyAgreementAlgorithm: "ECDH", PublicKey: s.blob})
		return err
	}},
	{"Encapsulate", "ok 1 3 5 11 14 ok 3r", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.Encapsulate, &kmsapi.EncapsulateInput{KeyId: s.key, EncapsulationAlgorithm: "ML_KEM"})
		return err
	}},
	{"Decapsulate", "ok 1 3 5 11 14 ok 3r", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.Decapsulate, &kmsapi.DecapsulateInput{KeyId: s.key, EncapsulationAlgorithm: "ML_KEM", SharedSecretCiphertextBlob: s.blob})
		return err
	}},
	{"CreateGrant", "ok 1 3 5 ok 14 ok 3r", func(s *subject) error {
		in := &kmsapi.CreateGrantInput{KeyId: s.key, GranteePrincipal: new(rootARN(home)), Operations: []kmsapi.GrantOperation{kmsapi.GrantOperationDecrypt}}
		_, err := try(s.f.admin(), s.f, kmsapi.CreateGrant, in)
		return err
	}},
	{"CreateAlias", "ok ok 3 ok ok ok ok 3r", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: s.alias + "-2", TargetKeyId: s.key})
		return err
	}},
	{"UpdateAlias to", "ok ok 3 ok ok ok ok 3r", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.UpdateAlias, &kmsapi.UpdateAliasInput{AliasName: s.spare, TargetKeyId: s.key})
		return err
	}},
	{"UpdateAlias from", "ok ok ok ok ok ok ok ok", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.UpdateAlias, &kmsapi.UpdateAliasInput{AliasName: s.alias, TargetKeyId: s.other})
		return err
	}},
	{"DeleteAlias", "ok ok ok ok ok ok ok ok", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.DeleteAlias, &kmsapi.DeleteAliasInput{AliasName: s.alias})
		return err
	}},
	{"ListAliases", "ok ok ok ok ok ok ok ok", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.ListAliases, &kmsapi.ListAliasesInput{KeyId: &s.key})
		return err
	}},
	{"DescribeKey", "ok ok ok ok ok ok ok ok", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: s.key})
		return err
	}},
	{"GetKeyLastUsage", "ok ok ok ok ok ok ok ok", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.GetKeyLastUsage, &kmsapi.GetKeyLastUsageInput{KeyId: s.key})
		return err
	}},
	{"GetKeyPolicy", "ok ok ok ok ok ok ok ok", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.GetKeyPolicy, &kmsapi.GetKeyPolicyInput{KeyId: s.key})
		return err
	}},
	{"PutKeyPolicy", "ok ok ok ok ok ok ok ok", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.PutKeyPolicy, &kmsapi.PutKeyPolicyInput{KeyId: s.key, Policy: defaultPolicy(home)})
		return err
	}},
	{"ListKeyPolicies", "ok ok ok ok ok ok ok ok", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.ListKeyPolicies, &kmsapi.ListKeyPoliciesInput{KeyId: s.key})
		return err
	}},
	{"ListGrants", "ok ok ok ok ok ok ok ok", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.ListGrants, &kmsapi.ListGrantsInput{KeyId: s.key})
		return err
	}},
	{"RetireGrant", "ok ok ok ok ok ok ok ok", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.RetireGrant, &kmsapi.RetireGrantInput{KeyId: new(arnOf(s.key)), GrantId: &s.grant})
		return err
	}},
	{"RevokeGrant", "ok ok ok ok ok ok ok ok", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.RevokeGrant, &kmsapi.RevokeGrantInput{KeyId: s.key, GrantId: s.grant})
		return err
	}},
	{"TagResource", "ok ok 3 ok ok ok ok 3r", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.TagResource, &kmsapi.TagResourceInput{KeyId: s.key, Tags: []kmsapi.Tag{{TagKey: "k", TagValue: "v"}}})
		return err
	}},
	{"UntagResource", "ok ok 3 ok ok ok ok 3r", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.UntagResource, &kmsapi.UntagResourceInput{KeyId: s.key, TagKeys: []string{"k"}})
		return err
	}},
	{"ListResourceTags", "ok ok ok ok ok ok ok ok", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.ListResourceTags, &kmsapi.ListResourceTagsInput{KeyId: s.key})
		return err
	}},
	{"UpdateKeyDescription", "ok ok 3 ok ok ok ok 3r", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.UpdateKeyDescription, &kmsapi.UpdateKeyDescriptionInput{KeyId: s.key, Description: "d"})
		return err
	}},
	{"EnableKey", "ok ok 3 5 ok 14 15 3r", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.EnableKey, &kmsapi.EnableKeyInput{KeyId: s.key})
		return err
	}},
	{"DisableKey", "ok ok 3 5 ok 14 15 3r", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: s.key})
		return err
	}},
	{"EnableKeyRotation", "ok 1 3 6 11 14 ok 3r", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.EnableKeyRotation, &kmsapi.EnableKeyRotationInput{KeyId: s.key})
		return err
	}},
	{"DisableKeyRotation", "ok 1 3 6 11 14 ok 3r", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.DisableKeyRotation, &kmsapi.DisableKeyRotationInput{KeyId: s.key})
		return err
	}},
	{"RotateKeyOnDemand", "ok 1 3 5 11 14 ok 3r", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.RotateKeyOnDemand, &kmsapi.RotateKeyOnDemandInput{KeyId: s.key})
		return err
	}},
	{"GetKeyRotationStatus", "ok ok ok ok ok ok ok ok", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.GetKeyRotationStatus, &kmsapi.GetKeyRotationStatusInput{KeyId: s.key})
		return err
	}},
	{"ListKeyRotations", "ok ok ok ok ok ok ok ok", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.ListKeyRotations, &kmsapi.ListKeyRotationsInput{KeyId: s.key})
		return err
	}},
	{"ScheduleKeyDeletion", "ok ok 3 ok ok ok 15 3r", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: s.key})
		return err
	}},
	{"CancelKeyDeletion", "4 4 ok 4 4 4 4 ok", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.CancelKeyDeletion, &kmsapi.CancelKeyDeletionInput{KeyId: s.key})
		return err
	}},
	{"GetParametersForImport", "ok ok 3 ok 11 14 15 3r", func(s *subject) error {
		in := &kmsapi.GetParametersForImportInput{KeyId: s.key, WrappingAlgorithm: "RSAES_OAEP_SHA_256", WrappingKeySpec: "RSA_2048"}
		_, err := try(s.f.admin(), s.f, kmsapi.GetParametersForImport, in)
		return err
	}},
	{"ImportKeyMaterial", "ok ok 3 ok 11 14 ok 3r", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.ImportKeyMaterial, &kmsapi.ImportKeyMaterialInput{
			KeyId: s.key, ImportToken: s.token, EncryptedKeyMaterial: s.blob, ExpirationModel: forGood,
		})
		return err
	}},
	{"DeleteImportedKeyMaterial", "ok ok ok ok 11 14 15 ok", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.DeleteImportedKeyMaterial, &kmsapi.DeleteImportedKeyMaterialInput{KeyId: s.key})
		return err
	}},
	{"ReplicateKey", "ok 1 3 5 11 14 15 3r", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.ReplicateKey, &kmsapi.ReplicateKeyInput{KeyId: s.key, ReplicaRegion: elsewhere})
		return err
	}},
	{"UpdatePrimaryRegion", "ok 1 3 5 11 14 15 3r", func(s *subject) error {
		_, err := try(s.f.admin(), s.f, kmsapi.UpdatePrimaryRegion, &kmsapi.UpdatePrimaryRegionInput{KeyId: s.key, PrimaryRegion: elsewhere})
		return err
	}},
}

func TestKeyStates(t *testing.T) {
	t.Parallel()
	footnotes := map[string][2]string{
		"1":  {"DisabledException", " is disabled."},
		"3":  {"KMSInvalidStateException", " is pending deletion."},
		"3r": {"KMSInvalidStateException", " is pending replica deletion."},
		"4":  {"KMSInvalidStateException", " is not pending deletion."},
		"5":  {"KMSInvalidStateException", " is pending import."},
		"6":  {"UnsupportedOperationException", " origin is EXTERNAL which is not valid for this operation."},
		"11": {"KMSInvalidStateException", " is unavailable: its key material has been erased."},
		"14": {"KMSInvalidStateException", " is creating."},
		"15": {"KMSInvalidStateException", " is updating."},
	}
	f := newFixture(t)
	other := f.key("")
	made := map[string]string{} // keys of other kinds, one for all states
	for operation, kind := range stateKinds {
		if name := string(kind.spec+"/") + string(kind.usage); made[name] == "" {
			made[name] = f.newKey(kind.spec, kind.usage)
		}
		made[operation] = made[string(kind.spec+"/")+string(kind.usage)]
	}
	tested := map[string]bool{}
	for i, row := range stateTable {
		name, _, _ := strings.Cut(row.operation, " ")
		tested[name] = true
		want := strings.Fields(row.want)
		for j, state := range keyStates {
			s := &subject{f: f, key: made[row.operation], other: other}
			if s.key == "" {
				s.key = f.stateKey(row.operation)
			}
			s.alias, s.spare = "alias/s"+string(rune('a'+i%26))+"/"+s.key, "alias/spare/"+s.key
			if row.operation == "ImportKeyMaterial" {
				s.token, s.blob = f.importToken(s.key, wrapOAEP), wrapped(f, wrapOAEP, stateMaterial)
			} else {
				s.blob = f.stateBlob(row.operation, s.key)
			}
			if strings.Contains(row.operation, "Alias") {
				must(f.admin(), f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: s.alias, TargetKeyId: s.key})
			}
			if row.operation == "UpdateAlias to" {
				must(f.admin(), f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: s.spare, TargetKeyId: other})
			}
			if strings.HasSuffix(row.operation, "Grant") {
				s.grant = *must(f.admin(), f, kmsapi.CreateGrant, &kmsapi.CreateGrantInput{
					KeyId: s.key, GranteePrincipal: new(rootARN(home)), Operations: []kmsapi.GrantOperation{kmsapi.GrantOperationDecrypt},
				}).GrantId
			}
			id := s.key
			origin := f.row(id).Origin
			f.plant(id, func(k *keyRow) {
				if k.State = state; state == kmsapi.KeyStatePendingImport {
					k.Origin = kmsapi.OriginTypeExternal // no other keys have the state
				}
			})
			err := row.run(s)
			note := footnotes[want[j]]
			text := ""
			if note[0] != "" {
				text = arnOf(id) + note[1]
			}
			wantError(t, row.operation+" in state "+string(state), err, note[0], text)
			if made[row.operation] != "" {
				f.plant(id, func(k *keyRow) { k.State, k.Origin = kmsapi.KeyStateEnabled, origin })
			}
			switch {
			case row.operation == "UpdateAlias from", row.operation == "UpdateAlias to":
				for _, name := range []string{s.alias, s.spare} { // other has room for 50
					_, _ = try(f.admin(), f, kmsapi.DeleteAlias, &kmsapi.DeleteAliasInput{AliasName: name})
				}
			case row.operation == "CancelKeyDeletion" && (state == kmsapi.KeyStatePendingDeletion || state == kmsapi.KeyStatePendingReplicaDeletion):
				if got := f.row(id).State; got != kmsapi.KeyStateDisabled {
					t.Errorf("after CancelKeyDeletion the key is %s, want Disabled", got)
				}
			}
		}
	}
	// they address no key
	maps.Copy(tested, map[string]bool{"CreateKey": true, "ListKeys": true, "GenerateRandom": true, "ListRetirableGrants": true})
	maps.Copy(tested, map[string]bool{"CreateCustomKeyStore": true, "UpdateCustomKeyStore": true, "DeleteCustomKeyStore": true})
	maps.Copy(tested, map[string]bool{"ConnectCustomKeyStore": true, "DisconnectCustomKeyStore": true, "DescribeCustomKeyStores": true})
	for _, op := range f.r.Operations()["kms"] {
		if !tested[op.Name] {
			t.Errorf("%s is not in the table of key states", op.Name)
		}
	}
}

// stateMaterial is the material of the table's imported keys.
var stateMaterial = bytes.Repeat([]byte{7}, 32)

// stateKey makes the key that an operation of the table needs.
func (f *fixture) stateKey(operation string) string {
	f.Helper()
	switch operation {
	case "GetParametersForImport", "ImportKeyMaterial", "DeleteImportedKeyMaterial":
		id := f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt)
		f.imported(id, stateMaterial, nil)
		return id
	case "ReplicateKey":
		return f.multiRegionKey()
	case "UpdatePrimaryRegion":
		id := f.multiRegionKey()
		f.replicate(id, elsewhere)
		return id
	}
	return f.key("")
}

// stateBlob is what an operation of the table is given, made while the key serves.
func (f *fixture) stateBlob(operation, key string) []byte {
	f.Helper()
	switch kind := stateKinds[operation]; {
	case operation == "DeriveSharedSecret", operation == "GetPublicKey":
		return f.publicKey(key)
	case kind.usage == usageSign:
		return must(f.admin(), f, kmsapi.Sign, &kmsapi.SignInput{KeyId: key, Message: []byte("m"), SigningAlgorithm: "ECDSA_SHA_256"}).Signature
	case kind.usage == usageMAC:
		return must(f.admin(), f, kmsapi.GenerateMac, &kmsapi.GenerateMacInput{KeyId: key, Message: []byte("m"), MacAlgorithm: "HMAC_SHA_256"}).Mac
	case kind.usage == usageKEM:
		return must(f.admin(), f, kmsapi.Encapsulate, &kmsapi.EncapsulateInput{KeyId: key, EncapsulationAlgorithm: "ML_KEM"}).SharedSecretCiphertextBlob
	case kind.usage == usageEncrypt:
		return must(f.admin(), f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: key, Plaintext: []byte("p"), EncryptionAlgorithm: oaepSHA256}).CiphertextBlob
	}
	return f.encrypted(f.admin(), key, nil)
}

// A state that this version does not know is refused, not taken for usable.
func TestUnknownStateIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	blob := f.encrypted(f.admin(), id, nil)
	f.plant(id, func(k *keyRow) { k.State = "Frozen" })
	_, err := try(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: blob})
	wantError(t, "Decrypt", err, "KMSInvalidStateException", "")
	_, err = try(f.admin(), f, kmsapi.EnableKey, &kmsapi.EnableKeyInput{KeyId: id})
	wantError(t, "EnableKey", err, "KMSInvalidStateException", "")
}
