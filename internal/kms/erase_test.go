package kms

import (
	"context"
	"crypto/fips140"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/envelope"
)

const day = 24 * time.Hour

// opensNow reports whether a copy of a key's row opens with the epochs of now.
func (f *fixture) opensNow(k keyRow) bool {
	for i := range k.Materials {
		if _, err := f.epochs.Unwrap(k.aad(k.Materials[i].ID), k.Materials[i].Wrapped); err == nil {
			return true
		} else if !errors.Is(err, envelope.ErrErased) {
			f.Errorf("unwrap: %v", err)
		}
	}
	return false
}

func (f *fixture) schedule(id string) {
	f.Helper()
	must(f.admin(), f, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: id, PendingWindowInDays: new(int32(7))})
}

func (f *fixture) erase() {
	f.Helper()
	if err := f.s.eraseDue(f.Context()); err != nil {
		f.Fatal(err)
	}
}

func TestErasure(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id, survivor := f.key(""), f.key("")
	blob, kept := f.encrypted(f.admin(), id, nil), f.encrypted(f.admin(), survivor, nil)
	must(f.admin(), f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/gone", TargetKeyId: id})
	f.grant(&kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: new(rootARN(home)), Operations: ops("Decrypt")})
	f.schedule(id)
	row := f.row(id)
	f.pass(7*day - time.Second)
	f.erase()
	if !f.opensNow(row) {
		t.Fatal("the material is gone before its window has passed")
	}
	f.pass(time.Second)
	f.erase()
	if f.opensNow(row) {
		t.Error("a copy of the row from before the deletion opens with today's epochs")
	}
	_, err := try(f.admin(), f, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: id})
	wantError(t, "DescribeKey", err, "NotFoundException", "Key '"+arnOf(id)+"' does not exist")
	_, err = try(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: blob})
	wantError(t, "Decrypt", err, denied, hidden)
	_, err = try(f.admin(), f, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: "alias/gone"})
	wantError(t, "the alias", err, "NotFoundException", "")
	if _, err := try(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: kept}); err != nil {
		t.Errorf("the survivor: %v", err)
	}
	r := f.last("DeleteKey")
	if who, _ := r["userIdentity"].(map[string]any); r["eventType"] != "AwsServiceEvent" || who["invokedBy"] != "AWS Internal" {
		t.Errorf("record %v", r)
	}
}

// A crash between any two steps: the next call ends what was begun.
func TestErasureCarriesOn(t *testing.T) {
	t.Parallel()
	steps := []struct {
		name string
		run  func(f *fixture, doomed keyRow) error
	}{
		{"begin", func(f *fixture, _ keyRow) error { return f.s.beginErasure() }},
		{"erase the row", func(f *fixture, k keyRow) error { return f.s.eraseRows(f.Context(), []keyRow{k}) }},
		{"rewrap", func(f *fixture, _ keyRow) error { return f.s.rewrapAll(f.Context()) }},
		{"finish", func(f *fixture, _ keyRow) error { return f.epochs.Finish() }},
	}
	for crash := range len(steps) + 1 {
		name := "before the first step"
		if crash > 0 {
			name = "after " + steps[crash-1].name
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			id, next, survivor := f.key(""), f.key(""), f.key("")
			kept := f.encrypted(f.admin(), survivor, nil)
			f.schedule(id)
			row := f.row(id)
			f.pass(7 * day)
			for _, s := range steps[:crash] {
				if err := s.run(f, row); err != nil {
					t.Fatal(err)
				}
			}
			// Meanwhile another key comes due; a copy of its row is taken now,
			// possibly rewrapped under the epoch of the unfinished erasure.
			f.schedule(next)
			copied := f.row(next)
			f.pass(7 * day)
			f.erase()
			if f.epochs.InErasure() {
				t.Error("the erasure is still under way")
			}
			for what, k := range map[string]keyRow{"first": row, "second": copied} {
				if f.opensNow(k) {
					t.Errorf("the copy of the %s key opens with today's epochs", what)
				}
			}
			if _, err := try(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: kept}); err != nil {
				t.Errorf("the survivor: %v", err)
			}
			deleted := 0
			for _, r := range f.records() {
				if string(r) != "" && containsAll(string(r), `"eventName":"DeleteKey"`, arnOf(id)) {
					deleted++
				}
			}
			if deleted != 1 {
				t.Errorf("%d DeleteKey records, want 1", deleted)
			}
		})
	}
}

// A deletion that is cancelled at the last moment leaves key and records alone.
func TestCancelBeatsErasure(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	f.schedule(id)
	f.pass(7 * day)
	row := f.row(id)
	must(f.admin(), f, kmsapi.CancelKeyDeletion, &kmsapi.CancelKeyDeletionInput{KeyId: id})
	n := len(f.records())
	if err := f.s.eraseRows(f.Context(), []keyRow{row}); err != nil {
		t.Fatal(err)
	}
	if got := f.row(id).State; got != kmsapi.KeyStateDisabled || len(f.records()) != n {
		t.Errorf("state %s, %d new records", got, len(f.records())-n)
	}
}

// Keys made and rotated while erasures run keep their material.
func TestErasureLosesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var wg sync.WaitGroup
	blobs := make(chan []byte, 1000)
	rotating := f.key("")
	for range 2 {
		wg.Go(func() {
			for i := range 12 {
				id, err := try(f.admin(), f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{})
				if err != nil {
					t.Error(err)
					return
				}
				for _, key := range []string{id.KeyMetadata.KeyId, rotating} {
					out, err := try(f.admin(), f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: key, Plaintext: []byte("p")})
					if err != nil {
						t.Error(err)
						return
					}
					blobs <- out.CiphertextBlob
				}
				if i%2 == 0 {
					if _, err := try(f.admin(), f, kmsapi.RotateKeyOnDemand, &kmsapi.RotateKeyOnDemandInput{KeyId: rotating}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	stop := f.eraseMeanwhile()
	wg.Wait()
	stop()
	close(blobs)
	for b := range blobs {
		if _, err := try(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: b}); err != nil {
			t.Fatalf("a ciphertext made during an erasure: %v", err)
		}
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	must(f.admin(), f, kmsapi.EnableKeyRotation, &kmsapi.EnableKeyRotationInput{KeyId: id, RotationPeriodInDays: new(int32(90))})
	var blobs [][]byte
	ids := map[string]bool{}
	add := func() {
		out := must(f.admin(), f, kmsapi.GenerateDataKey, &kmsapi.GenerateDataKeyInput{KeyId: id, KeySpec: kmsapi.DataKeySpecAes256})
		blobs, ids[*out.KeyMaterialId] = append(blobs, out.CiphertextBlob), true
	}
	maintain := func() {
		t.Helper()
		if err := f.s.maintainOnce(f.Context()); err != nil {
			t.Fatal(err)
		}
	}
	add()
	f.pass(90*day - time.Second)
	maintain()
	add() // not yet
	f.pass(time.Second)
	maintain()
	maintain() // once only
	add()
	must(f.admin(), f, kmsapi.RotateKeyOnDemand, &kmsapi.RotateKeyOnDemandInput{KeyId: id})
	add()
	must(f.admin(), f, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: id})
	f.pass(90 * day)
	maintain() // disabled keys wait
	must(f.admin(), f, kmsapi.EnableKey, &kmsapi.EnableKeyInput{KeyId: id})
	add()
	maintain()
	add()
	if len(ids) != 4 {
		t.Errorf("%d versions of the material were used, want 4", len(ids))
	}
	for i, b := range blobs {
		if _, err := try(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: b}); err != nil {
			t.Errorf("ciphertext %d: %v", i, err)
		}
	}
	list := must(f.admin(), f, kmsapi.ListKeyRotations, &kmsapi.ListKeyRotationsInput{KeyId: id}).Rotations
	var how []kmsapi.RotationType
	for _, e := range list {
		how = append(how, e.RotationType)
	}
	if len(how) != 3 || how[0] != "AUTOMATIC" || how[1] != "ON_DEMAND" || how[2] != "AUTOMATIC" {
		t.Errorf("rotations %v", how)
	}
	rotated := 0
	for _, r := range f.records() {
		if containsAll(string(r), `"eventName":"RotateKey"`, arnOf(id)) {
			rotated++
		}
	}
	if rotated != 3 {
		t.Errorf("%d RotateKey records, want 3", rotated)
	}
	status := must(f.admin(), f, kmsapi.GetKeyRotationStatus, &kmsapi.GetKeyRotationStatusInput{KeyId: id})
	if !*status.KeyRotationEnabled || *status.RotationPeriodInDays != 90 || !status.NextRotationDate.Equal(f.now().Add(90*day)) {
		t.Errorf("status %+v", status)
	}
}

// inBubble runs a test in a bubble with a time of its own. The FIPS 140 module makes
// its entropy of how long things take, which there is nothing.
func inBubble(t *testing.T, fn func(t *testing.T)) {
	t.Helper()
	if fips140.Enabled() {
		t.Skip("the FIPS 140 module finds no entropy in a bubble")
	}
	synctest.Test(t, fn)
}

func TestMaintainErasesInTime(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		f := newFixture(t)
		id := f.key("")
		f.schedule(id)
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { f.s.Maintain(ctx, time.Minute, slog.New(slog.DiscardHandler)) })
		f.pass(7*day - time.Second)
		time.Sleep(90 * time.Second)
		f.row(id) // fails when it is gone
		f.pass(time.Second)
		time.Sleep(time.Minute)
		stop()
		wg.Wait()
		_, err := try(f.admin(), f, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: id})
		wantError(t, "DescribeKey", err, "NotFoundException", "")
	})
}

// eraseMeanwhile erases, one erasure after the other, until stop is called.
func (f *fixture) eraseMeanwhile() (stop func()) {
	over := make(chan struct{})
	var erasing sync.WaitGroup
	erasing.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
			}
			if err := errors.Join(f.s.beginErasure(), f.s.eraseDue(f.Context())); err != nil {
				f.Error(err)
				return
			}
		}
	})
	return func() { close(over); erasing.Wait() }
}
