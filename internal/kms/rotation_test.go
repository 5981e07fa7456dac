package kms

import (
	"encoding/json"
	"reflect"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

// A key that waits for its deletion does not rotate, and says so; cancelling the
// deletion brings the rotation back.
func TestRotationStatusWhilePendingDeletion(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	plain, primary := f.key(""), f.multiRegionKey()
	f.replicate(primary, elsewhere)
	for _, c := range []struct {
		name, key string
		pending   kmsapi.KeyState
	}{
		{"pending deletion", plain, kmsapi.KeyStatePendingDeletion},
		{"pending replica deletion", primary, kmsapi.KeyStatePendingReplicaDeletion},
	} {
		status := func() *kmsapi.GetKeyRotationStatusOutput {
			return must(f.admin(), f, kmsapi.GetKeyRotationStatus, &kmsapi.GetKeyRotationStatusInput{KeyId: c.key})
		}
		must(f.admin(), f, kmsapi.EnableKeyRotation, &kmsapi.EnableKeyRotationInput{KeyId: c.key, RotationPeriodInDays: new(int32(90))})
		next := *status().NextRotationDate
		must(f.admin(), f, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: c.key})
		if got := f.shown(c.key); got != c.pending {
			t.Fatalf("%s: state %s", c.name, got)
		}
		if got := status(); *got.KeyRotationEnabled || got.NextRotationDate != nil || got.RotationPeriodInDays != nil {
			t.Errorf("%s: status %t, next %v, period %v, want no rotation", c.name, *got.KeyRotationEnabled, got.NextRotationDate, got.RotationPeriodInDays)
		}
		must(f.admin(), f, kmsapi.CancelKeyDeletion, &kmsapi.CancelKeyDeletionInput{KeyId: c.key})
		if got := status(); !*got.KeyRotationEnabled || got.NextRotationDate == nil || !got.NextRotationDate.Equal(next) || *got.RotationPeriodInDays != 90 {
			t.Errorf("%s: after the cancellation status %t, next %v", c.name, *got.KeyRotationEnabled, got.NextRotationDate)
		}
	}
}

// A rotation on demand has happened when it is answered: nothing shows it under
// way, and the next one follows at once.
func TestRotationOnDemandIsSynchronous(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	for n := range 2 {
		before := *f.describe(id).CurrentKeyMaterialId
		must(f.admin(), f, kmsapi.RotateKeyOnDemand, &kmsapi.RotateKeyOnDemandInput{KeyId: id})
		if now := *f.describe(id).CurrentKeyMaterialId; now == before {
			t.Errorf("rotation %d: the material is the one of before", n+1)
		}
		if got := must(f.admin(), f, kmsapi.GetKeyRotationStatus, &kmsapi.GetKeyRotationStatusInput{KeyId: id}); got.OnDemandRotationStartDate != nil {
			t.Errorf("rotation %d is under way since %s", n+1, got.OnDemandRotationStartDate)
		}
	}
}

// Names that policies cannot tell apart are refused, in contexts and in tags.
func TestNamesThatDifferInCase(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	both := map[string]string{"plot": "7", "Plot": "8"}
	_, err := try(f.admin(), f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: id, Plaintext: []byte("p"), EncryptionContext: both})
	wantError(t, "Encrypt", err, "ValidationException", "The encryption context has names that differ only in case*")
	_, err = try(f.admin(), f, kmsapi.CreateGrant, &kmsapi.CreateGrantInput{
		KeyId: id, GranteePrincipal: new(rootARN(home)), Operations: ops("Decrypt"), Constraints: &kmsapi.GrantConstraints{EncryptionContextSubset: both},
	})
	wantError(t, "CreateGrant", err, "ValidationException", "")
	must(f.admin(), f, kmsapi.TagResource, &kmsapi.TagResourceInput{KeyId: id, Tags: []kmsapi.Tag{{TagKey: "plot", TagValue: "7"}}})
	_, err = try(f.admin(), f, kmsapi.TagResource, &kmsapi.TagResourceInput{KeyId: id, Tags: []kmsapi.Tag{{TagKey: "Plot", TagValue: "8"}}})
	wantError(t, "TagResource", err, "TagException", "")
}

// TestRotationOfOtherKeys: asymmetric and HMAC keys have a status, and cannot be
// rotated, for which their state is asked first.
func TestRotationOfOtherKeys(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for spec, usage := range map[kmsapi.KeySpec]kmsapi.KeyUsageType{
		kmsapi.KeySpecEccNistP256: usageSign, kmsapi.KeySpecEccNistP384: usageAgree, kmsapi.KeySpecHmac256: usageMAC,
	} {
		id := f.newKey(spec, usage)
		got := must(f.admin(), f, kmsapi.GetKeyRotationStatus, &kmsapi.GetKeyRotationStatusInput{KeyId: id})
		if *got.KeyRotationEnabled || *got.KeyId != arnOf(id) || got.NextRotationDate != nil || got.RotationPeriodInDays != nil {
			t.Errorf("status of a key of the spec %s: %+v", spec, got)
		}
		rotate := func() error {
			return second(try(f.admin(), f, kmsapi.RotateKeyOnDemand, &kmsapi.RotateKeyOnDemandInput{KeyId: id}))
		}
		wantError(t, string(spec), rotate(), "UnsupportedOperationException", "")
		must(f.admin(), f, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: id})
		wantError(t, string(spec)+", disabled", rotate(), "DisabledException", arnOf(id)+" is disabled.")
	}
}

// TestRotationRecords: the record of a rotation says what came in place of what.
func TestRotationRecords(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	first := *f.describe(id).CurrentKeyMaterialId
	must(f.admin(), f, kmsapi.RotateKeyOnDemand, &kmsapi.RotateKeyOnDemandInput{KeyId: id})
	second := *f.describe(id).CurrentKeyMaterialId
	must(f.admin(), f, kmsapi.EnableKeyRotation, &kmsapi.EnableKeyRotationInput{KeyId: id, RotationPeriodInDays: new(int32(90))})
	f.pass(91 * day)
	if err := f.s.rotateDue(f.Context()); err != nil {
		t.Fatal(err)
	}
	third := *f.describe(id).CurrentKeyMaterialId
	var got []map[string]any
	for _, r := range f.records() {
		var m struct {
			EventName           string
			ServiceEventDetails map[string]any
		}
		if err := json.Unmarshal(r, &m); err != nil {
			t.Fatal(err)
		}
		if m.EventName == "RotateKey" {
			got = append(got, m.ServiceEventDetails)
		}
	}
	details := func(why, former, now string) map[string]any {
		return map[string]any{"keyId": arnOf(id), "keyOrigin": "AWS_KMS", "rotationType": why, "previousKeyMaterialId": former, "currentKeyMaterialId": now}
	}
	if want := []map[string]any{details("ON_DEMAND", first, second), details("AUTOMATIC", second, third)}; !reflect.DeepEqual(got, want) {
		t.Errorf("the records have %v, want %v", got, want)
	}
}

func TestRotationsOnDemandAreLimited(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	rotate := func() error {
		return second(try(f.admin(), f, kmsapi.RotateKeyOnDemand, &kmsapi.RotateKeyOnDemandInput{KeyId: id}))
	}
	for range maxOnDemand {
		if err := rotate(); err != nil {
			t.Fatal(err)
		}
	}
	wantError(t, "one more", rotate(), "LimitExceededException",
		"The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can be performed for this key: "+arnOf(id))
}
