package kms

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

// TestLongEncryptionContext: a context is refused when a record could not hold
// it; those that are accepted are in their record, letter by letter.
func TestLongEncryptionContext(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	one, two := f.key(""), f.key("")
	// Characters that take one byte, two and six in the record.
	longest := map[string]string{"a": strings.Repeat("é", 2000), "b": strings.Repeat("\"\n", 2000), "c": strings.Repeat("\x01", 2000)}
	longest["d"] = strings.Repeat("x", maxContext-recordedSize(longest)-len(`,"d":""`))
	if n := recordedSize(longest); n != maxContext {
		t.Fatalf("the test's context has %d bytes", n)
	}
	longer := maps.Clone(longest)
	longer["d"] += "x"
	huge := map[string]string{"a": strings.Repeat("x", 3<<20)}

	inRecord := func(event, member string) {
		t.Helper()
		got, ok := f.last(event)["requestParameters"].(map[string]any)[member].(map[string]any)
		if !ok || len(got) != len(longest) {
			t.Fatalf("the record of %s has no %s", event, member)
		}
		for name, value := range longest {
			if got[name] != value {
				t.Errorf("the record of %s has another %s in its %s", event, name, member)
			}
		}
	}
	sealed := f.encrypted(f.admin(), one, longest)
	inRecord("Encrypt", "encryptionContext")
	again := must(f.admin(), f, kmsapi.ReEncrypt, &kmsapi.ReEncryptInput{
		CiphertextBlob: sealed, SourceKeyId: new(arnOf(one)), SourceEncryptionContext: longest, DestinationKeyId: arnOf(two), DestinationEncryptionContext: longest,
	})
	inRecord("ReEncrypt", "sourceEncryptionContext")
	inRecord("ReEncrypt", "destinationEncryptionContext")
	must(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: again.CiphertextBlob, EncryptionContext: longest})
	inRecord("Decrypt", "encryptionContext")

	for name, ec := range map[string]map[string]string{"a byte too long": longer, "3 MiB": huge} {
		for op, err := range map[string]error{
			"Encrypt":           second(try(f.admin(), f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: one, Plaintext: []byte("p"), EncryptionContext: ec})),
			"Decrypt":           second(try(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: sealed, EncryptionContext: ec})),
			"GenerateDataKey":   second(try(f.admin(), f, kmsapi.GenerateDataKey, &kmsapi.GenerateDataKeyInput{KeyId: one, KeySpec: kmsapi.DataKeySpecAes256, EncryptionContext: ec})),
			"ReEncrypt, source": second(try(f.admin(), f, kmsapi.ReEncrypt, &kmsapi.ReEncryptInput{CiphertextBlob: sealed, SourceEncryptionContext: ec, DestinationKeyId: two})),
			"ReEncrypt, destination": second(try(f.admin(), f, kmsapi.ReEncrypt, &kmsapi.ReEncryptInput{
				CiphertextBlob: sealed, SourceEncryptionContext: longest, DestinationKeyId: two, DestinationEncryptionContext: ec,
			})),
			"CreateGrant": second(try(f.admin(), f, kmsapi.CreateGrant, &kmsapi.CreateGrantInput{
				KeyId: one, GranteePrincipal: new(rootARN(home)), Operations: ops("Decrypt"), Constraints: &kmsapi.GrantConstraints{EncryptionContextEquals: map[string]string{strings.Repeat("x", maxContext): "v"}},
			})),
		} {
			wantError(t, op+", "+name, err, "ValidationException", "")
		}
	}
}

func TestRecordedSize(t *testing.T) {
	t.Parallel()
	for _, ec := range []map[string]string{
		{"": ""}, {"a": "b"}, {"a": "b", "c": "d", "é": "🚲"}, {"quotes\"and\\": "\n\r\t"}, {"control": "\x00\x01\x1f"},
	} {
		b, err := json.Marshal(ec)
		if err != nil {
			t.Fatal(err)
		}
		if got := recordedSize(ec); got != len(b) {
			t.Errorf("recordedSize(%q) = %d, want %d", ec, got, len(b))
		}
	}
}
