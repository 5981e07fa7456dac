package kms

import (
	"testing"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

// TestShownState: a row that nobody has met since it changed shows the state that
// DescribeKey then shows, and is not written.
func TestShownState(t *testing.T) {
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
				if facts, err := f.s.Inspect(t.Context(), home, in, id); err != nil || facts.State != c.shown {
					t.Errorf("Inspect: %+v, %v, want %s", facts, err, c.shown)
				}
				if row := f.rowIn(in, id); row.State != c.stored {
					t.Fatalf("the row says %s, want %s", row.State, c.stored)
				}
			}
			if m := f.describeIn(in, id); m.KeyState != c.shown {
				t.Errorf("DescribeKey says %s, want %s", m.KeyState, c.shown)
			}
		})
	}
}

// TestShownStateOfExternalKeys: the connection of its store decides.
func TestShownStateOfExternalKeys(t *testing.T) {
	t.Parallel()
	f, _, keyStore, id := newExternal(t)
	want := func(what string, want kmsapi.KeyState) {
		t.Helper()
		if facts, err := f.s.Inspect(t.Context(), home, region, id); err != nil || facts.State != want || f.shown(id) != want {
			t.Errorf("%s: %+v, %v, DescribeKey says %s, want %s", what, facts, err, f.shown(id), want)
		}
	}
	want("connected", "Enabled")
	f.disconnectStore(keyStore)
	want("disconnected", "Unavailable")
	f.connectStore(keyStore)
	want("connected again", "Enabled")
}
