package kms

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"testing"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

// TestImportRecords compares what imports, replications and moves leave in the
// audit trail with testdata/records.
func TestImportRecords(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	worker := f.role(home, "worker", doc(allow("kms:*")))
	worker.AccessKeyID = "ASIAWORKER"
	alice := f.user(home, "alice", doc(allow("kms:*"), deny("kms:CreateKey", when("StringEquals", "aws:RequestedRegion", third))))
	ctx := f.by(worker)
	one, two := f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt), f.multiRegionKey()
	var secrets [][]byte
	keep := func(b ...[]byte) {
		for _, x := range b {
			secrets = append(secrets, x, []byte(base64.StdEncoding.EncodeToString(x)))
		}
	}
	keep(material1)
	request := func(material []byte) *kmsapi.ImportKeyMaterialInput {
		in := &kmsapi.ImportKeyMaterialInput{
			KeyId: one, ImportToken: f.importToken(one, wrapOAEP), EncryptedKeyMaterial: wrapped(t, wrapOAEP, material), KeyMaterialDescription: new("from the safe"),
			ImportType: newOne, ExpirationModel: expires, ValidTo: new(time.Date(2026, 12, 1, 10, 0, 0, 0, time.UTC)),
		}
		keep(in.ImportToken, in.EncryptedKeyMaterial)
		return in
	}
	for _, c := range []struct {
		name, event string
		fails       bool
		run         func() error
	}{
		{"create-key-external", "CreateKey", false, func() error {
			return second(try(ctx, f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{Origin: kmsapi.OriginTypeExternal}))
		}},
		{"get-parameters-for-import", "GetParametersForImport", false, func() error {
			out, err := try(ctx, f, kmsapi.GetParametersForImport, &kmsapi.GetParametersForImportInput{KeyId: one, WrappingAlgorithm: wrapOAEP, WrappingKeySpec: "RSA_2048"})
			if err == nil {
				keep(out.ImportToken, out.PublicKey)
			}
			return err
		}},
		{"import-key-material-incorrect", "ImportKeyMaterial", true, func() error {
			return second(try(ctx, f, kmsapi.ImportKeyMaterial, request(material1[:16])))
		}},
		{"import-key-material", "ImportKeyMaterial", false, func() error {
			return second(try(ctx, f, kmsapi.ImportKeyMaterial, request(material1)))
		}},
		{"delete-imported-key-material", "DeleteImportedKeyMaterial", false, func() error {
			return second(try(ctx, f, kmsapi.DeleteImportedKeyMaterial, &kmsapi.DeleteImportedKeyMaterialInput{KeyId: one}))
		}},
		{"replicate-key", "ReplicateKey", false, func() error {
			return second(try(ctx, f, kmsapi.ReplicateKey, &kmsapi.ReplicateKeyInput{
				KeyId: two, ReplicaRegion: elsewhere, Description: new("the copy"), Tags: []kmsapi.Tag{{TagKey: "team", TagValue: "geo"}},
			}))
		}},
		{"replicate-key-replica", "CreateKey", false, func() error { return nil }}, // the call before has left it
		{"replicate-key-denied", "ReplicateKey", true, func() error {
			return second(try(f.by(alice), f, kmsapi.ReplicateKey, &kmsapi.ReplicateKeyInput{KeyId: two, ReplicaRegion: third}))
		}},
		{"synchronize-multi-region-key", "SynchronizeMultiRegionKey", false, func() error {
			f.pass(settling)
			return second(try(f.in(elsewhere, worker), f, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: two}))
		}},
		{"update-primary-region", "UpdatePrimaryRegion", false, func() error {
			return second(try(ctx, f, kmsapi.UpdatePrimaryRegion, &kmsapi.UpdatePrimaryRegionInput{KeyId: two, PrimaryRegion: elsewhere}))
		}},
		{"schedule-key-deletion-primary", "ScheduleKeyDeletion", false, func() error {
			f.pass(settling)
			return second(try(f.in(elsewhere, worker), f, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: two}))
		}},
		{"delete-expired-key-material", "DeleteExpiredKeyMaterial", false, func() error {
			must(ctx, f, kmsapi.ImportKeyMaterial, func() *kmsapi.ImportKeyMaterialInput {
				in := request(material1)
				in.ImportType = oldOne
				return in
			}())
			f.pass(30 * day)
			return f.s.maintainOnce(f.Context())
		}},
	} {
		before := len(f.records())
		if c.name == "replicate-key-replica" {
			before -= 2
		}
		if err := c.run(); (err != nil) != c.fails {
			t.Errorf("%s: error %v", c.name, err)
		}
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
		compareGolden(t, c.name, normalise(t, f, got, map[string]string{one: "KEY-ONE", two: "MRK-TWO"}))
	}
	for _, r := range f.records() {
		for _, secret := range secrets {
			if bytes.Contains(r, secret) {
				t.Fatalf("a record holds %q: %s", secret, r)
			}
		}
	}
}
