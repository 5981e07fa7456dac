package kms

import (
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
		if got := f.keyState(c.key); got != c.pending {
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
