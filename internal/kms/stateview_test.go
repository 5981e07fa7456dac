package kms

import (
	"testing"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

// TestStateAt: a row that nobody has met since it changed shows the state that
// DescribeKey then shows, and is not written.
func TestStateAt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		// make returns the key, the region to look at and how long to wait.
		make          func(f *fixture) (id, in string, wait time.Duration)
		stored, shown kmsapi.KeyState
	}{
		{"an enabled key", func(f *fixture) (string, string, time.Duration) { return f.key(""), region, day }, "Enabled", "Enabled"},
		{"a replica at first", func(f *fixture) (string, string, time.Duration) {
			id := f.multiRegionKey()
			f.replicate(id, third)
			must(f.admin(), f, kmsapi.ReplicateKey, &kmsapi.ReplicateKeyInput{KeyId: id, ReplicaRegion: elsewhere})
			return id, elsewhere, settling - time.Microsecond
		}, "Creating", "Creating"},
		{"a replica that has settled", func(f *fixture) (string, string, time.Duration) {
			id := f.multiRegionKey()
			must(f.admin(), f, kmsapi.ReplicateKey, &kmsapi.ReplicateKeyInput{KeyId: id, ReplicaRegion: elsewhere})
			return id, elsewhere, settling
		}, "Creating", "Enabled"},
		{"a primary that has moved", func(f *fixture) (string, string, time.Duration) {
			id := f.multiRegionKey()
			f.replicate(id, elsewhere)
			f.describeIn(elsewhere, id)
			must(f.admin(), f, kmsapi.UpdatePrimaryRegion, &kmsapi.UpdatePrimaryRegionInput{KeyId: id, PrimaryRegion: elsewhere})
			return id, elsewhere, settling
		}, "Updating", "Enabled"},
		{"a replica of imported material", func(f *fixture) (string, string, time.Duration) {
			id := must(f.admin(), f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{MultiRegion: new(true), Origin: kmsapi.OriginTypeExternal}).KeyMetadata.KeyId
			f.imported(id, material1, nil)
			must(f.admin(), f, kmsapi.ReplicateKey, &kmsapi.ReplicateKeyInput{KeyId: id, ReplicaRegion: elsewhere})
			return id, elsewhere, settling
		}, "Creating", "PendingImport"},
		{"material that is valid", func(f *fixture) (string, string, time.Duration) {
			id := f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt)
			f.imported(id, material1, until(f.now().Add(day)))
			return id, region, day - time.Microsecond
		}, "Enabled", "Enabled"},
		{"material that has expired", func(f *fixture) (string, string, time.Duration) {
			id := f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt)
			f.imported(id, material1, until(f.now().Add(day)))
			return id, region, day
		}, "Enabled", "PendingImport"},
		{"expired material of a disabled key", func(f *fixture) (string, string, time.Duration) {
			id := f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt)
			f.imported(id, material1, until(f.now().Add(day)))
			must(f.admin(), f, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: id})
			return id, region, day
		}, "Disabled", "PendingImport"},
		{"expired material of a key on its way out", func(f *fixture) (string, string, time.Duration) {
			id := f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt)
			f.imported(id, material1, until(f.now().Add(day)))
			must(f.admin(), f, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: id})
			return id, region, day
		}, "PendingDeletion", "PendingDeletion"},
		{"expired material that waits for a rotation", func(f *fixture) (string, string, time.Duration) {
			id := f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt)
			f.imported(id, material1, nil)
			f.imported(id, material2, func(in *kmsapi.ImportKeyMaterialInput) {
				asNew(in)
				until(f.now().Add(day))(in)
			})
			return id, region, day
		}, "Enabled", "Enabled"},
		{"a key past its window", func(f *fixture) (string, string, time.Duration) {
			id := f.key("")
			must(f.admin(), f, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: id, PendingWindowInDays: new(int32(7))})
			return id, region, 8 * day
		}, "PendingDeletion", "PendingDeletion"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			id, in, wait := c.make(f)
			f.pass(wait)
			for range 2 { // it leaves the row as it is
				got, err := f.s.StateAt(t.Context(), in, id, f.now())
				if err != nil || got != c.shown {
					t.Errorf("StateAt: %s, %v, want %s", got, err, c.shown)
				}
				if facts, err := f.s.Inspect(t.Context(), home, in, id); err != nil || facts.State != string(c.stored) {
					t.Fatalf("the row says %+v, %v, want %s", facts, err, c.stored)
				}
			}
			if m := f.describeIn(in, id); m.KeyState != c.shown {
				t.Errorf("DescribeKey says %s, want %s", m.KeyState, c.shown)
			}
		})
	}
}

// TestStateAtOfExternalKeys: the connection of its store decides.
func TestStateAtOfExternalKeys(t *testing.T) {
	t.Parallel()
	f, _, keyStore, id := newExternal(t)
	want := func(what string, want kmsapi.KeyState) {
		t.Helper()
		if got, err := f.s.StateAt(t.Context(), region, id, f.now()); err != nil || got != want || f.cachedKey(id) != want {
			t.Errorf("%s: %s, %v, DescribeKey says %s, want %s", what, got, err, f.cachedKey(id), want)
		}
	}
	want("connected", "Enabled")
	f.disconnectStore(keyStore)
	want("disconnected", "Unavailable")
	f.connectStore(keyStore)
	want("connected again", "Enabled")
	_, err := f.s.StateAt(t.Context(), elsewhere, id, f.now())
	wantError(t, "in another Region", err, "NotFoundException", "Key '"+id+"' does not exist")
}
