package kms

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

// TestForeignRecords: who is refused a key of another account leaves no record in
// that account, and one that does not tell whether the key is there.
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
	shown := map[string]string{} // what the record shows of a key, by operation
	for _, c := range []struct{ name, key, want string }{
		{"a key", arnOf(id), denied},
		{"no key", arnOf(unknownKey), denied},
		{"no account", keyARN(region, "000000000000", unknownKey), denied},
		{"an alias", aliasARN(region, home, "alias/app"), ""},
		{"no alias", aliasARN(region, home, "alias/none"), ""},
		{"a path", keyARN(region, "../../../../", unknownKey), "NotFoundException"},
		{"letters", keyARN(region, "11112222333x", unknownKey), "NotFoundException"},
		{"an alias of a path", aliasARN(region, "../../../../", "alias/app"), "NotFoundException"},
	} {
		for operation, call := range use {
			before := len(f.records())
			if err := call(c.key); c.want != "" {
				wantError(t, operation+" of "+c.name, err, c.want, "")
			} else if err == nil {
				t.Errorf("%s of %s succeeded", operation, c.name)
			}
			records := f.records()[before:]
			if len(records) != 1 {
				t.Errorf("%s of %s: %d records", operation, c.name, len(records))
				continue
			}
			var m struct {
				RecipientAccountID, SharedEventID string
				Resources                         []struct{ AccountID, ARN string }
			}
			if err := json.Unmarshal(records[0], &m); err != nil {
				t.Fatal(err)
			}
			if m.RecipientAccountID != abroad || m.SharedEventID != "" {
				t.Errorf("%s of %s: the record %s", operation, c.name, records[0])
			}
			got := strings.ReplaceAll(fmt.Sprint(m.Resources), c.key, "KEY")
			got = strings.ReplaceAll(got, strings.Split(c.key, ":")[4], "OWNER")
			if c.want != denied {
				if got != "[]" {
					t.Errorf("%s of %s: the record has resources: %s", operation, c.name, got)
				}
			} else if first, ok := shown[operation]; ok && got != first {
				t.Errorf("%s of %s: the record has %s, of a key that is there %s", operation, c.name, got, first)
			} else {
				shown[operation] = got
			}
		}
	}
}
