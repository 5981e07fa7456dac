package kms

import (
	"fmt"
	"strings"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

// TestUnavailableExternalKeys is the column Unavailable of the table of key states
// for the keys that AWS has it for: those of an external key store that is not
// connected. Operations without a row here have none in AWS's table either: they
// are for keys of other kinds.
func TestUnavailableExternalKeys(t *testing.T) {
	t.Parallel()
	const (
		fine        = ""
		invalid     = "KMSInvalidStateException"
		unsupported = "UnsupportedOperationException"
	)
	want := map[string]string{
		"Encrypt": invalid, "Decrypt": invalid, "ReEncrypt from": invalid, "ReEncrypt to": invalid,
		"GenerateDataKey": invalid, "GenerateDataKeyWithoutPlaintext": invalid,
		"GenerateDataKeyPair": invalid, "GenerateDataKeyPairWithoutPlaintext": invalid,
		"CreateGrant": fine, "ListGrants": fine, "RetireGrant": fine, "RevokeGrant": fine,
		"CreateAlias": fine, "UpdateAlias to": fine, "UpdateAlias from": fine, "DeleteAlias": fine, "ListAliases": fine,
		"TagResource": fine, "UntagResource": fine, "ListResourceTags": fine,
		"DescribeKey": fine, "UpdateKeyDescription": fine, "GetKeyLastUsage": fine,
		"GetKeyPolicy": fine, "PutKeyPolicy": fine, "ListKeyPolicies": fine,
		"EnableKey": fine, "DisableKey": fine, // with effect when the store is connected
		"EnableKeyRotation": unsupported, "DisableKeyRotation": unsupported, "RotateKeyOnDemand": unsupported,
		"GetKeyRotationStatus": unsupported, "ListKeyRotations": unsupported,
		"ScheduleKeyDeletion": fine, "CancelKeyDeletion": invalid,
		"GetParametersForImport": unsupported, "ImportKeyMaterial": unsupported, "DeleteImportedKeyMaterial": unsupported,
		"ReplicateKey": unsupported, "UpdatePrimaryRegion": unsupported,
	}
	f, p, store, _ := newExternal(t)
	other := f.key("")
	subjects := map[string]*subject{}
	for i, row := range stateTable {
		if _, ok := want[row.operation]; !ok {
			if _, other := stateKinds[row.operation]; !other {
				t.Errorf("%s has no row", row.operation)
			}
			continue
		}
		external := fmt.Sprintf("row-%d", i)
		p.AddKey(external)
		s := &subject{f: f, key: f.externalKey(store, external), other: other, token: []byte("t"), alias: "alias/" + external, spare: "alias/spare-" + external}
		s.blob = f.encrypted(f.admin(), s.key, nil)
		if strings.Contains(row.operation, "Alias") {
			must(f.admin(), f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: s.alias, TargetKeyId: s.key})
		}
		if row.operation == "UpdateAlias to" {
			must(f.admin(), f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: s.spare, TargetKeyId: other})
		}
		if strings.HasSuffix(row.operation, "Grant") {
			s.grant = *f.grant(&kmsapi.CreateGrantInput{KeyId: s.key, GranteePrincipal: new(rootARN(home)), Operations: ops("Decrypt")}).GrantId
		}
		subjects[row.operation] = s
	}
	f.disconnectStore(store)
	for _, row := range stateTable {
		s := subjects[row.operation]
		if s == nil {
			continue
		}
		if got := f.shown(s.key); got != kmsapi.KeyStateUnavailable {
			t.Fatalf("%s: the key is %s", row.operation, got)
		}
		seen := len(p.Seen())
		text := ""
		switch code := want[row.operation]; {
		case row.operation == "CancelKeyDeletion":
			text = arnOf(s.key) + " is not pending deletion."
		case code == invalid:
			text = storeNotConnected
		}
		wantError(t, row.operation, row.run(s), want[row.operation], text)
		if len(p.Seen()) != seen {
			t.Errorf("%s asked the proxy", row.operation)
		}
	}
}
