package kms

import (
	"encoding/json"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

// TestForeignRecords: who names a key of another account leaves a record in that
// account when the key is there, and nothing when it is not.
func TestForeignRecords(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	must(f.admin(), f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/app", TargetKeyId: id})
	bob := f.user(abroad, "bob", doc(allow("kms:*")))
	blob := f.encrypted(f.admin(), id, nil)
	use := map[string]func(key string) error{
		"Encrypt": func(key string) error {
			return second(try(f.by(bob), f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: key, Plaintext: []byte("p")}))
		},
		"Decrypt": func(key string) error {
			return second(try(f.by(bob), f, kmsapi.Decrypt, &kmsapi.DecryptInput{KeyId: &key, CiphertextBlob: blob}))
		},
		"ReEncrypt": func(key string) error {
			return second(try(f.by(bob), f, kmsapi.ReEncrypt, &kmsapi.ReEncryptInput{DestinationKeyId: key, CiphertextBlob: blob, SourceKeyId: &key}))
		},
		"DescribeKey": func(key string) error {
			return second(try(f.by(bob), f, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: key}))
		},
		"CreateGrant": func(key string) error {
			return second(try(f.by(bob), f, kmsapi.CreateGrant, &kmsapi.CreateGrantInput{KeyId: key, GranteePrincipal: &bob.ARN, Operations: ops("Decrypt")}))
		},
		"DisableKey": func(key string) error {
			return second(try(f.by(bob), f, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: key}))
		},
		"RetireGrant": func(key string) error {
			return second(try(f.by(bob), f, kmsapi.RetireGrant, &kmsapi.RetireGrantInput{KeyId: &key, GrantId: new(newHexID())}))
		},
	}
	for _, c := range []struct {
		name, key string
		there     bool
		want      string
	}{
		{"a key", arnOf(id), true, denied},
		{"no key", arnOf(unknownKey), false, denied},
		{"no alias", aliasARN(region, home, "alias/none"), false, ""},
		{"no account", keyARN(region, "000000000000", unknownKey), false, denied},
		{"a path", keyARN(region, "../../../../", unknownKey), false, "NotFoundException"},
		{"letters", keyARN(region, "11112222333x", unknownKey), false, "NotFoundException"},
		{"an alias of a path", aliasARN(region, "../../../../", "alias/app"), false, "NotFoundException"},
	} {
		for operation, call := range use {
			before := len(f.records())
			if err := call(c.key); c.want != "" {
				wantError(t, operation+" of "+c.name, err, c.want, "")
			} else if err == nil {
				t.Errorf("%s of %s succeeded", operation, c.name)
			}
			there := 0
			for _, r := range f.records()[before:] {
				var m struct {
					RecipientAccountID string
					Resources          []struct{ AccountID string }
				}
				if err := json.Unmarshal(r, &m); err != nil {
					t.Fatal(err)
				}
				switch {
				case m.RecipientAccountID == home:
					there++
				case m.RecipientAccountID != abroad:
					t.Errorf("%s of %s: a record for the account %q", operation, c.name, m.RecipientAccountID)
				}
				if !c.there && len(m.Resources) > 0 {
					t.Errorf("%s of %s: the record has resources", operation, c.name)
				}
			}
			if crossAccount := operation != "DisableKey" && operation != "RetireGrant"; c.there && crossAccount && there != 1 || !c.there && there != 0 {
				t.Errorf("%s of %s: %d records in the account named", operation, c.name, there)
			}
		}
	}
}
