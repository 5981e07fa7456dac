package kms

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/identity"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestRecords compares what every call leaves in the audit trail with
// testdata/records. Identifiers that differ from run to run have their names in
// capitals.
func TestRecords(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	worker := f.role(home, "worker", doc(allow("kms:*")))
	worker.AccessKeyID = "ASIAWORKER"
	alice := f.user(home, "alice", "")
	bob := f.user(abroad, "bob", doc(allow("kms:*")))
	ctx := f.by(worker)
	one, two := f.key(""), f.key("")
	shared := f.key(doc(to(rootARN(home), "kms:*"), to(bob.ARN, "kms:Encrypt")))
	ec := map[string]string{"aws:s3:arn": "arn:aws:s3:::bucket/object"}
	plaintext := []byte("the plaintext that no record may hold")
	var secrets [][]byte
	keep := func(b ...[]byte) {
		for _, x := range b {
			secrets = append(secrets, x, []byte(base64.StdEncoding.EncodeToString(x)))
		}
	}
	keep(plaintext)
	sealed := must(ctx, f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: one, Plaintext: plaintext, EncryptionContext: ec}).CiphertextBlob
	keep(sealed)
	grant := must(f.by(via(worker, "sagemaker-geospatial", region)), f, kmsapi.CreateGrant, &kmsapi.CreateGrantInput{
		KeyId: one, GranteePrincipal: &service(home, "").ServiceName, RetiringPrincipal: &service(home, "").ServiceName, Operations: ops("Decrypt GenerateDataKey"),
	})
	token := *grant.GrantToken
	keep([]byte(token))
	must(ctx, f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/there", TargetKeyId: one})

	for _, c := range []struct {
		name, event string
		run         func() error
	}{
		{"encrypt", "Encrypt", func() error {
			out, err := try(ctx, f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: "alias/there", Plaintext: plaintext, EncryptionContext: ec, GrantTokens: []string{token}})
			if err == nil {
				keep(out.CiphertextBlob)
			}
			return err
		}},
		{"decrypt", "Decrypt", func() error {
			return second(try(ctx, f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: sealed, EncryptionContext: ec, GrantTokens: []string{token}}))
		}},
		{"decrypt-service", "Decrypt", func() error {
			return second(try(f.by(service(home, *grant.GrantId)), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: sealed, EncryptionContext: ec}))
		}},
		{"decrypt-forwarded", "Decrypt", func() error {
			return second(try(f.by(via(worker, "s3", region)), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: sealed, EncryptionContext: ec}))
		}},
		{"decrypt-denied", "Decrypt", func() error {
			return second(try(f.by(alice), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: sealed, EncryptionContext: ec}))
		}},
		{"decrypt-invalid", "Decrypt", func() error {
			return second(try(ctx, f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: sealed}))
		}},
		{"decrypt-dry-run", "Decrypt", func() error {
			return second(try(ctx, f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: sealed, EncryptionContext: ec, DryRun: new(true)}))
		}},
		{"generate-data-key", "GenerateDataKey", func() error {
			out, err := try(ctx, f, kmsapi.GenerateDataKey, &kmsapi.GenerateDataKeyInput{KeyId: one, KeySpec: kmsapi.DataKeySpecAes256, EncryptionContext: ec, GrantTokens: []string{token}})
			if err == nil {
				keep(out.Plaintext, out.CiphertextBlob)
			}
			return err
		}},
		{"generate-data-key-without-plaintext", "GenerateDataKeyWithoutPlaintext", func() error {
			return second(try(ctx, f, kmsapi.GenerateDataKeyWithoutPlaintext, &kmsapi.GenerateDataKeyWithoutPlaintextInput{KeyId: one, NumberOfBytes: new(int32(64))}))
		}},
		{"re-encrypt", "ReEncrypt", func() error {
			return second(try(ctx, f, kmsapi.ReEncrypt, &kmsapi.ReEncryptInput{
				CiphertextBlob: sealed, SourceEncryptionContext: ec, DestinationKeyId: two, DestinationEncryptionContext: map[string]string{"to": "2"}, GrantTokens: []string{token},
			}))
		}},
		{"generate-random", "GenerateRandom", func() error {
			out, err := try(ctx, f, kmsapi.GenerateRandom, &kmsapi.GenerateRandomInput{NumberOfBytes: new(int32(32))})
			if err == nil {
				keep(out.Plaintext)
			}
			return err
		}},
		{"create-key", "CreateKey", func() error {
			return second(try(ctx, f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{Description: new("d"), Tags: []kmsapi.Tag{{TagKey: "team", TagValue: "geo"}}}))
		}},
		{"create-key-defaults", "CreateKey", func() error {
			return second(try(ctx, f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{}))
		}},
		{"tag-resource-empty", "TagResource", func() error {
			return second(try(ctx, f, kmsapi.TagResource, &kmsapi.TagResourceInput{KeyId: two, Tags: []kmsapi.Tag{{TagKey: "team", TagValue: "geo"}, {TagKey: "flag"}}}))
		}},
		{"describe-key", "DescribeKey", func() error {
			return second(try(ctx, f, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: one, GrantTokens: []string{token}}))
		}},
		{"get-key-last-usage", "GetKeyLastUsage", func() error {
			return second(try(ctx, f, kmsapi.GetKeyLastUsage, &kmsapi.GetKeyLastUsageInput{KeyId: one}))
		}},
		{"list-keys", "ListKeys", func() error {
			return second(try(ctx, f, kmsapi.ListKeys, &kmsapi.ListKeysInput{Limit: new(int32(10))}))
		}},
		{"create-grant", "CreateGrant", func() error {
			out, err := try(ctx, f, kmsapi.CreateGrant, &kmsapi.CreateGrantInput{
				KeyId: one, GranteePrincipal: &alice.ARN, RetiringPrincipal: &alice.ARN, Operations: ops("Decrypt"), Name: new("n"), GrantTokens: []string{token},
				Constraints: &kmsapi.GrantConstraints{EncryptionContextSubset: ec},
			})
			if err == nil {
				keep([]byte(*out.GrantToken))
			}
			return err
		}},
		{"create-grant-service", "CreateGrant", func() error {
			return second(try(f.by(via(worker, "sagemaker-geospatial", region)), f, kmsapi.CreateGrant, &kmsapi.CreateGrantInput{
				KeyId: one, GranteePrincipal: &service(home, "").ServiceName, RetiringPrincipal: &service(home, "").ServiceName, Operations: ops("Decrypt"),
			}))
		}},
		{"retire-grant", "RetireGrant", func() error {
			g := must(ctx, f, kmsapi.CreateGrant, &kmsapi.CreateGrantInput{KeyId: one, GranteePrincipal: &alice.ARN, Operations: ops("Decrypt RetireGrant")})
			keep([]byte(*g.GrantToken))
			return second(try(f.by(alice), f, kmsapi.RetireGrant, &kmsapi.RetireGrantInput{GrantToken: g.GrantToken}))
		}},
		{"revoke-grant", "RevokeGrant", func() error {
			g := must(ctx, f, kmsapi.CreateGrant, &kmsapi.CreateGrantInput{KeyId: one, GranteePrincipal: &alice.ARN, Operations: ops("Decrypt")})
			return second(try(ctx, f, kmsapi.RevokeGrant, &kmsapi.RevokeGrantInput{KeyId: one, GrantId: *g.GrantId}))
		}},
		{"put-key-policy", "PutKeyPolicy", func() error {
			return second(try(ctx, f, kmsapi.PutKeyPolicy, &kmsapi.PutKeyPolicyInput{KeyId: two, Policy: doc(to(rootARN(home), "kms:*"))}))
		}},
		{"put-key-policy-locked-out", "PutKeyPolicy", func() error {
			return second(try(ctx, f, kmsapi.PutKeyPolicy, &kmsapi.PutKeyPolicyInput{KeyId: two, Policy: doc(to(rootARN(home), "kms:Describe*"))}))
		}},
		{"create-alias", "CreateAlias", func() error {
			return second(try(ctx, f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/new", TargetKeyId: two}))
		}},
		{"update-alias", "UpdateAlias", func() error {
			return second(try(ctx, f, kmsapi.UpdateAlias, &kmsapi.UpdateAliasInput{AliasName: "alias/new", TargetKeyId: one}))
		}},
		{"delete-alias", "DeleteAlias", func() error {
			return second(try(ctx, f, kmsapi.DeleteAlias, &kmsapi.DeleteAliasInput{AliasName: "alias/new"}))
		}},
		{"tag-resource", "TagResource", func() error {
			return second(try(ctx, f, kmsapi.TagResource, &kmsapi.TagResourceInput{KeyId: two, Tags: []kmsapi.Tag{{TagKey: "a", TagValue: "b"}}}))
		}},
		{"enable-key-rotation", "EnableKeyRotation", func() error {
			return second(try(ctx, f, kmsapi.EnableKeyRotation, &kmsapi.EnableKeyRotationInput{KeyId: two, RotationPeriodInDays: new(int32(90))}))
		}},
		{"rotate-key-on-demand", "RotateKeyOnDemand", func() error {
			return second(try(ctx, f, kmsapi.RotateKeyOnDemand, &kmsapi.RotateKeyOnDemandInput{KeyId: two}))
		}},
		{"rotate-key", "RotateKey", func() error { return nil }},
		{"disable-key", "DisableKey", func() error {
			return second(try(ctx, f, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: two}))
		}},
		{"encrypt-disabled", "Encrypt", func() error {
			return second(try(ctx, f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: two, Plaintext: plaintext}))
		}},
		{"schedule-key-deletion", "ScheduleKeyDeletion", func() error {
			return second(try(ctx, f, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: two, PendingWindowInDays: new(int32(7))}))
		}},
		{"cancel-key-deletion", "CancelKeyDeletion", func() error {
			return second(try(ctx, f, kmsapi.CancelKeyDeletion, &kmsapi.CancelKeyDeletionInput{KeyId: two}))
		}},
		{"delete-key", "DeleteKey", func() error {
			f.schedule(two)
			f.pass(7 * day)
			return f.s.eraseDue(f.Context())
		}},
		{"cross-account", "Encrypt", func() error {
			return second(try(f.by(bob), f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: arnOf(shared), Plaintext: plaintext}))
		}},
		{"unknown-key", "DescribeKey", func() error {
			return second(try(ctx, f, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: unknownKey}))
		}},
	} {
		before := len(f.records())
		if c.event == "RotateKey" {
			before-- // the call before has left it
		}
		err := c.run()
		if e := strings.Contains(c.name, "-denied") || strings.Contains(c.name, "-invalid") || strings.Contains(c.name, "-dry") ||
			strings.Contains(c.name, "-locked") || strings.HasSuffix(c.name, "-disabled") || strings.HasPrefix(c.name, "unknown"); e != (err != nil) {
			t.Errorf("%s: error %v", c.name, err)
		}
		var got []any
		for _, r := range f.records()[max(before, 0):] {
			var m map[string]any
			if err := json.Unmarshal(r, &m); err != nil {
				t.Fatal(err)
			}
			if m["eventName"] == c.event {
				got = append(got, m)
			}
		}
		compareGolden(t, c.name, normalise(t, f, got, map[string]string{one: "KEY-ONE", two: "KEY-TWO", shared: "KEY-SHARED"}, worker, alice, bob))
	}
	for _, r := range f.records() {
		for _, secret := range secrets {
			if bytes.Contains(r, secret) {
				t.Fatalf("a record holds %q: %s", secret, r)
			}
		}
	}
}

var (
	uuids   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	hexIDs  = regexp.MustCompile(`[0-9a-f]{64}`)
	keyIDs  = regexp.MustCompile(`A(KIA|IDA|ROA)[A-Z0-9]{16,17}`)
	request = "11111111-2222-4333-8444-555555555555"
)

func normalise(t *testing.T, f *fixture, records []any, names map[string]string, _ ...*identity.Caller) []byte {
	t.Helper()
	b, err := json.MarshalIndent(records, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(b), request, "REQUEST-ID")
	for id, name := range names {
		text = strings.ReplaceAll(text, id, name)
	}
	text = hexIDs.ReplaceAllString(uuids.ReplaceAllString(text, "UUID"), "HEX-ID")
	return []byte(keyIDs.ReplaceAllString(text, "A${1}-ID") + "\n")
}

func compareGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "records", name+".json")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; run the test with -update", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs from %s:\n%s", name, path, got)
	}
}
