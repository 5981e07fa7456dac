package kms

import (
	"fmt"
	"strings"
	"testing"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

// widest makes a multi-Region key in as many Regions as it may have, and returns
// its id and those of its replicas.
func (f *fixture) widest() (id string, regions []string) {
	f.Helper()
	id = f.multiRegionKey()
	for i := range maxKeyRegions - 1 {
		regions = append(regions, fmt.Sprintf("eu-north-%d", i+1))
		must(f.admin(), f, kmsapi.ReplicateKey, &kmsapi.ReplicateKeyInput{KeyId: id, ReplicaRegion: regions[i]})
	}
	f.pass(settling)
	return id, regions
}

// TestMultiRegionLimit: a change of what related keys share writes all of them, so
// they are not without number.
func TestMultiRegionLimit(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id, regions := f.widest()
	one := func(region string) error {
		return second(try(f.admin(), f, kmsapi.ReplicateKey, &kmsapi.ReplicateKeyInput{KeyId: id, ReplicaRegion: region}))
	}
	wantError(t, "one more", one(third), "LimitExceededException", "The multi-Region key "+arnOf(id)+" is in 40 Regions, the limit.")
	wantError(t, "one that is there", one(regions[0]), "AlreadyExistsException", "")
	must(f.in(regions[0], root(home)), f, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: id, PendingWindowInDays: new(int32(7))})
	f.pass(7 * day)
	f.erase()
	wantError(t, "after one has gone", one(third), "", "")
}

// TestReplicasAreErasedTogether: what it costs to erase replicas is not their
// number times the size of their set.
func TestReplicasAreErasedTogether(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	d := f.watch(nil)
	id, regions := f.widest()
	kept := regions[len(regions)-1]
	cancelled := regions[len(regions)-2]
	for _, r := range regions {
		if r != kept {
			must(f.in(r, root(home)), f, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: id, PendingWindowInDays: new(int32(7))})
		}
	}
	f.schedule(id) // waits for its replicas
	f.pass(7 * day)
	due, err := f.s.dueForDeletion(t.Context())
	if err != nil || len(due) != len(regions)-1 {
		t.Fatalf("%d keys are due: %v", len(due), err)
	}
	must(f.in(cancelled, root(home)), f, kmsapi.CancelKeyDeletion, &kmsapi.CancelKeyDeletionInput{KeyId: id})
	before, start := d.updates.Load(), time.Now()
	for _, related := range together(due) {
		if err := f.s.eraseRows(t.Context(), related); err != nil {
			t.Fatal(err)
		}
	}
	if n := d.updates.Load() - before; n != 1 {
		t.Errorf("%d commits for %d related keys, want 1", n, len(due))
	}
	if took := time.Since(start); took > time.Second { // some ms
		t.Errorf("erasing %d replicas took %s", len(due), took)
	}
	f.wantLayout(id, region, cancelled, kept)
	if s := f.row(id).State; s != kmsapi.KeyStatePendingReplicaDeletion {
		t.Errorf("the primary is %s", s)
	}
	for _, r := range []string{cancelled, kept} {
		must(f.in(r, root(home)), f, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: id, PendingWindowInDays: new(int32(7))})
	}
	f.pass(7 * day)
	f.erase()
	if k := f.row(id); k.State != kmsapi.KeyStatePendingDeletion || len(k.Replicas) > 0 {
		t.Errorf("the primary is %s with replicas %v", k.State, k.Replicas)
	}
	f.pass(7 * day)
	f.erase()
	deleted := 0
	for _, r := range f.records() {
		if containsAll(string(r), `"eventName":"DeleteKey"`) {
			deleted++
		}
	}
	if deleted != maxKeyRegions {
		t.Errorf("%d records of DeleteKey, want %d", deleted, maxKeyRegions)
	}
}

// TestTogether: related keys are erased in one commit unless they have many grants.
func TestTogether(t *testing.T) {
	t.Parallel()
	groups := together([]keyRow{
		{ID: "b", Region: "1"},
		{ID: "a", Region: "1", GrantCount: maxErasedGrants - 1},
		{ID: "b", Region: "2", GrantCount: maxErasedGrants},
		{ID: "a", Region: "2", GrantCount: 1},
		{ID: "a", Region: "3", GrantCount: 1},
		{ID: "c", Region: "1"},
		{ID: "a", Region: "4"},
	})
	var got strings.Builder
	for _, g := range groups {
		for _, k := range g {
			got.WriteString(k.ID + k.Region + " ")
		}
		got.WriteString("| ")
	}
	if want := "a1 a2 | a3 a4 | b1 b2 | c1 | "; got.String() != want {
		t.Errorf("groups %s, want %s", got.String(), want)
	}
}
