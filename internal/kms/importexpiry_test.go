package kms

import (
	"strings"
	"sync"
	"testing"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/store"
)

// TestImportedRotation: several materials in one key, each by a rotation.
func TestImportedRotation(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt)
	rotate := func() error {
		_, err := try(f.admin(), f, kmsapi.RotateKeyOnDemand, &kmsapi.RotateKeyOnDemandInput{KeyId: id})
		return err
	}
	wantError(t, "RotateKeyOnDemand of an empty key", rotate(), "KMSInvalidStateException", arnOf(id)+" is pending import.")
	one := *f.imported(id, material1, asNew).KeyMaterialId
	const none = "No available key material pending rotation for the key: "
	wantError(t, "RotateKeyOnDemand without new material", rotate(), "KMSInvalidStateException", none+arnOf(id)+".")
	_, err := f.tryImport(id, material1, asNew)
	wantError(t, "known material as new", err, "IncorrectKeyMaterialException", "The key material is already associated with "+arnOf(id)+".")
	first := f.encrypted(f.admin(), id, nil)

	two := *f.imported(id, material2, asNew).KeyMaterialId
	if got := f.rotations(region, id); got != "CURRENT IMPORTED, PENDING_ROTATION IMPORTED" {
		t.Errorf("with new material: %s", got)
	}
	if m := f.describe(id); *m.CurrentKeyMaterialId != one || m.KeyState != "Enabled" {
		t.Errorf("with new material %+v", m)
	}
	_, err = f.tryImport(id, material3, asNew)
	if err == nil || !strings.HasPrefix(err.Error(), "KMSInvalidStateException: New key material (id: ") || !strings.HasSuffix(err.Error(),
		") cannot be imported into KMS key "+arnOf(id)+", because another key material (id: "+two+") is pending rotation.") {
		t.Errorf("a third material: %v", err)
	}
	// Material that waits for a rotation can be taken back.
	if out := must(f.admin(), f, kmsapi.DeleteImportedKeyMaterial, &kmsapi.DeleteImportedKeyMaterialInput{KeyId: id, KeyMaterialId: &two}); *out.KeyMaterialId != two {
		t.Errorf("DeleteImportedKeyMaterial %+v", out)
	}
	f.wantState(id, "Enabled")
	if got := f.rotations(region, id); got != "CURRENT IMPORTED" {
		t.Errorf("after the deletion of new material: %s", got)
	}
	three := *f.imported(id, material3, asNew).KeyMaterialId
	if err := rotate(); err != nil {
		t.Fatal(err)
	}
	if got := f.rotations(region, id); got != "NON_CURRENT IMPORTED, CURRENT IMPORTED" {
		t.Errorf("after the rotation: %s", got)
	}
	if *f.describe(id).CurrentKeyMaterialId != three {
		t.Error("the new material is not current")
	}
	only := must(f.admin(), f, kmsapi.ListKeyRotations, &kmsapi.ListKeyRotationsInput{KeyId: id}).Rotations
	if len(only) != 1 || *only[0].KeyMaterialId != three || only[0].RotationType != "ON_DEMAND" || !only[0].RotationDate.Equal(f.now()) {
		t.Errorf("ListKeyRotations %+v", only)
	}
	second := f.encrypted(f.admin(), id, nil)
	for what, blob := range map[string][]byte{"first": first, "second": second} {
		if _, err := try(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: blob}); err != nil {
			t.Errorf("the %s ciphertext: %v", what, err)
		}
	}
	// Every material that belongs to the key must be there.
	must(f.admin(), f, kmsapi.DeleteImportedKeyMaterial, &kmsapi.DeleteImportedKeyMaterialInput{KeyId: id, KeyMaterialId: &one})
	f.wantState(id, "PendingImport")
	if got := f.rotations(region, id); got != "NON_CURRENT PENDING_IMPORT, CURRENT IMPORTED" {
		t.Errorf("without the first: %s", got)
	}
	_, err = f.tryImport(id, material3, nil)
	wantError(t, "the one that is there", err, "", "")
	f.wantState(id, "PendingImport")
	f.imported(id, material1, func(in *kmsapi.ImportKeyMaterialInput) { in.KeyMaterialId = &one })
	f.wantState(id, "Enabled")
	// Automatic rotation is for KMS's own material.
	_, err = try(f.admin(), f, kmsapi.EnableKeyRotation, &kmsapi.EnableKeyRotationInput{KeyId: id})
	wantError(t, "EnableKeyRotation", err, "UnsupportedOperationException", arnOf(id)+" origin is EXTERNAL which is not valid for this operation.")
	if s := must(f.admin(), f, kmsapi.GetKeyRotationStatus, &kmsapi.GetKeyRotationStatusInput{KeyId: id}); *s.KeyRotationEnabled {
		t.Errorf("GetKeyRotationStatus %+v", s)
	}
	f.plant(id, func(k *keyRow) { k.Rotation.OnDemand = maxOnDemand })
	f.imported(id, material2, asNew)
	wantError(t, "the 26th rotation", rotate(), "LimitExceededException", "")
}

// TestImportedExpiry: at ValidTo the material is gone, at the first use and not a
// second later; the record comes with it, once.
func TestImportedExpiry(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt)
	end := f.now().Add(10 * day)
	material := *f.imported(id, material1, until(end)).KeyMaterialId
	if m := f.describe(id); m.ExpirationModel != expires || !m.ValidTo.Equal(end) {
		t.Errorf("%+v", m)
	}
	blob := f.encrypted(f.admin(), id, nil)
	before := f.s.Epoch(region, arnOf(id))
	row := f.row(id)
	f.pass(10*day - time.Microsecond)
	must(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: blob})
	if f.s.Epoch(region, arnOf(id)) != before {
		t.Error("what was decided from the key is stale too early")
	}
	f.pass(time.Microsecond)
	if a, b := f.s.Epoch(region, arnOf(id)), f.s.Epoch(region, arnOf(id)); a == before || a == b {
		t.Error("what was decided from the key outlives its material")
	}
	_, err := try(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: blob})
	wantError(t, "Decrypt at ValidTo", err, "KMSInvalidStateException", arnOf(id)+" is pending import.")
	if f.s.Epoch(region, arnOf(id)) == before {
		t.Error("what was decided from the key outlives its material")
	}
	f.wantState(id, "PendingImport")
	if err := f.s.maintainOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f.opensNow(row) {
		t.Error("a copy of the row from before the expiry opens")
	}
	n := 0
	for _, r := range f.records() {
		if containsAll(string(r), `"eventName":"DeleteExpiredKeyMaterial"`, arnOf(id), material) {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d DeleteExpiredKeyMaterial records, want 1", n)
	}
	// The maintenance finds what nobody meets; the same material comes back for good.
	f.imported(id, material1, until(f.now().Add(time.Hour)))
	must(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: blob})
	f.pass(time.Hour)
	if err := f.s.maintainOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if k := f.row(id); k.State != "PendingImport" || k.Materials[0].Wrapped != nil {
		t.Errorf("the maintenance leaves the key %s", k.State)
	}
	f.imported(id, material1, nil)
	f.imported(id, material2, func(in *kmsapi.ImportKeyMaterialInput) { asNew(in); until(f.now().Add(time.Hour))(in) })
	if m := f.describe(id); m.ExpirationModel != forGood || m.ValidTo != nil {
		t.Errorf("what waits for a rotation counts for the expiry: %+v", m)
	}
	f.pass(time.Hour)
	f.wantState(id, "Enabled") // only what waited is gone
	if got := f.rotations(region, id); got != "CURRENT IMPORTED" {
		t.Errorf("after the expiry of what waited: %s", got)
	}
	must(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: blob})
	// A disabled key and one about to be deleted lose their material, too.
	f.imported(id, material1, until(f.now().Add(time.Hour)))
	f.schedule(id)
	f.pass(time.Hour)
	f.wantState(id, "PendingDeletion")
	must(f.admin(), f, kmsapi.CancelKeyDeletion, &kmsapi.CancelKeyDeletionInput{KeyId: id})
	f.wantState(id, "PendingImport")
}

// TestImportedErasure: an erasure keeps imported material and open imports.
func TestImportedErasure(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id, next, doomed := f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt), f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt), f.key("")
	f.imported(id, material1, nil)
	f.imported(id, material2, asNew)
	blob := f.encrypted(f.admin(), id, nil)
	f.schedule(doomed)
	f.pass(7 * day)
	token := f.importToken(next, wrapOAEP)
	var old importRow
	if err := f.store.View(t.Context(), func(tx *store.Tx) error {
		for row, err := range imports.Scan(tx, store.Key{region, next}, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			old = row.Value
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	f.erase()
	if _, err := f.s.openImport(&old); err == nil {
		t.Error("a copy of a wrapping key from before the erasure opens")
	}
	must(f.admin(), f, kmsapi.ImportKeyMaterial, &kmsapi.ImportKeyMaterialInput{
		KeyId: next, ImportToken: token, EncryptedKeyMaterial: wrapped(t, wrapOAEP, material1), ExpirationModel: forGood,
	})
	must(f.admin(), f, kmsapi.RotateKeyOnDemand, &kmsapi.RotateKeyOnDemandInput{KeyId: id})
	for _, b := range [][]byte{blob, f.encrypted(f.admin(), id, nil)} {
		must(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: b})
	}
	// What is deleted while an erasure runs is erased by the next one.
	if err := f.s.beginErasure(); err != nil {
		t.Fatal(err)
	}
	if err := f.s.rewrapAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	copied := f.row(next)
	must(f.admin(), f, kmsapi.DeleteImportedKeyMaterial, &kmsapi.DeleteImportedKeyMaterialInput{KeyId: next})
	f.erase()
	if f.opensNow(copied) {
		t.Error("material that was deleted during an erasure opens")
	}
	f.schedule(id)
	f.importToken(id, wrapOAEP)
	f.pass(7 * day)
	f.erase()
}

// One token serves one of many imports at a time; a disabled key stays that.
func TestImportOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt)
	f.imported(id, material1, nil)
	must(f.admin(), f, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: id})
	token, sealed := f.importToken(id, wrapOAEP), wrapped(t, wrapOAEP, material1)
	results := make(chan error, 8)
	for range cap(results) {
		go func() {
			_, err := try(f.admin(), f, kmsapi.ImportKeyMaterial, &kmsapi.ImportKeyMaterialInput{
				KeyId: id, ImportToken: token, EncryptedKeyMaterial: sealed, ExpirationModel: forGood,
			})
			results <- err
		}()
	}
	served := 0
	for range cap(results) {
		if err := <-results; err == nil {
			served++
		} else {
			wantError(t, "another import", err, "InvalidImportTokenException", "")
		}
	}
	if served != 1 {
		t.Errorf("one token has served %d imports", served)
	}
	f.wantState(id, "Disabled")
}

// Imports and deletions go on while erasures run.
func TestImportsDuringErasures(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ids := []string{f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt), f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt)}
	var wg sync.WaitGroup
	for _, id := range ids {
		wg.Go(func() {
			for range 8 {
				if _, err := f.tryImport(id, material1, nil); err != nil {
					t.Errorf("ImportKeyMaterial: %v", err)
				}
				if _, err := try(f.admin(), f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: id, Plaintext: []byte("p")}); err != nil {
					t.Errorf("Encrypt: %v", err)
				}
				if _, err := try(f.admin(), f, kmsapi.DeleteImportedKeyMaterial, &kmsapi.DeleteImportedKeyMaterialInput{KeyId: id}); err != nil {
					t.Errorf("DeleteImportedKeyMaterial: %v", err)
				}
			}
		})
	}
	stop := f.eraseMeanwhile()
	wg.Wait()
	stop()
	f.erase()
	if queued, err := f.s.queuedErasures(t.Context()); err != nil || len(queued) > 0 {
		t.Errorf("%d erasures are still queued, %v", len(queued), err)
	}
}

// TestImportedReplicas: the same material goes into every Region by itself.
func TestImportedReplicas(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := must(f.admin(), f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{MultiRegion: new(true), Origin: kmsapi.OriginTypeExternal}).KeyMetadata.KeyId
	_, err := try(f.admin(), f, kmsapi.ReplicateKey, &kmsapi.ReplicateKeyInput{KeyId: id, ReplicaRegion: elsewhere})
	wantError(t, "a replica of an empty key", err, "KMSInvalidStateException", arnOf(id)+" is pending import.")
	one := *f.imported(id, material1, nil).KeyMaterialId
	f.replicate(id, elsewhere)
	there := f.in(elsewhere, root(home))
	if m := f.describeIn(elsewhere, id); m.KeyState != "PendingImport" || m.Origin != "EXTERNAL" || m.ExpirationModel != "" {
		t.Errorf("the replica is %+v", m)
	}
	_, err = f.tryImportIn(elsewhere, id, material2, nil)
	wantError(t, "other material in the replica", err, "IncorrectKeyMaterialException", "")
	_, err = f.tryImportIn(elsewhere, id, material2, asNew)
	wantError(t, "new material in the replica", err, "UnsupportedOperationException", "")
	out, err := f.tryImportIn(elsewhere, id, material1, nil)
	if err != nil || *out.KeyMaterialId != one {
		t.Fatalf("the import into the replica: %+v, %v", out, err)
	}
	blob := f.encrypted(f.admin(), id, nil)
	must(there, f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: blob})

	const waiting = "PENDING_MULTI_REGION_IMPORT_AND_ROTATION"
	rotate := func() error {
		return second(try(f.admin(), f, kmsapi.RotateKeyOnDemand, &kmsapi.RotateKeyOnDemandInput{KeyId: id}))
	}
	want := func(what, here, elsewhereWant string) {
		t.Helper()
		if a, b := f.rotations(region, id), f.rotations(elsewhere, id); a != here || b != elsewhereWant {
			t.Errorf("%s: %q and %q", what, a, b)
		}
	}
	two := *f.imported(id, material2, asNew).KeyMaterialId
	want("new material in the primary", "CURRENT IMPORTED, "+waiting+" IMPORTED", "CURRENT IMPORTED, "+waiting+" PENDING_IMPORT")
	wantError(t, "a rotation that lacks a replica", rotate(), "KMSInvalidStateException", "No available key material pending rotation for the key: "+arnOf(id)+".")
	f.replicate(id, third) // which lacks both
	for _, r := range []string{elsewhere, third} {
		if _, err := f.tryImportIn(r, id, material2, func(in *kmsapi.ImportKeyMaterialInput) { in.ImportType = oldOne }); err != nil {
			t.Fatal(err)
		}
	}
	want("new material everywhere", "CURRENT IMPORTED, PENDING_ROTATION IMPORTED", "CURRENT IMPORTED, PENDING_ROTATION IMPORTED")
	// A replica's own copy can be deleted; the primary's goes with all.
	must(there, f, kmsapi.DeleteImportedKeyMaterial, &kmsapi.DeleteImportedKeyMaterialInput{KeyId: id, KeyMaterialId: &two})
	want("the replica's copy deleted", "CURRENT IMPORTED, "+waiting+" IMPORTED", "CURRENT IMPORTED, "+waiting+" PENDING_IMPORT")
	must(f.admin(), f, kmsapi.DeleteImportedKeyMaterial, &kmsapi.DeleteImportedKeyMaterialInput{KeyId: id, KeyMaterialId: &two})
	want("the primary's copy deleted", "CURRENT IMPORTED", "CURRENT IMPORTED")
	f.imported(id, material3, asNew)
	if _, err := f.tryImportIn(elsewhere, id, material3, nil); err != nil {
		t.Fatal(err)
	}
	// The third Region leaves and lets the rotation go.
	must(f.in(third, root(home)), f, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: id, PendingWindowInDays: new(int32(7))})
	wantError(t, "a rotation that lacks the third Region", rotate(), "KMSInvalidStateException", "")
	f.pass(7 * day)
	f.erase()
	if err := rotate(); err != nil {
		t.Fatal(err)
	}
	want("after the rotation", "NON_CURRENT IMPORTED, CURRENT IMPORTED", "NON_CURRENT IMPORTED, CURRENT IMPORTED")
	fresh := f.encrypted(there, id, nil)
	for _, b := range [][]byte{blob, fresh} {
		must(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: b})
		must(there, f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: b})
	}
	// The other Regions keep what one loses.
	must(f.admin(), f, kmsapi.DeleteImportedKeyMaterial, &kmsapi.DeleteImportedKeyMaterialInput{KeyId: id})
	f.wantState(id, "PendingImport")
	must(there, f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: fresh})
}

// TestUnreadableWrappingKey: a wrapping key that nothing opens any more, as in a
// row that was restored from a copy, keeps nobody's key from being erased.
func TestUnreadableWrappingKey(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	rows := func() (all []importRow) {
		t.Helper()
		err := f.store.View(t.Context(), func(tx *store.Tx) error {
			all = nil
			for row, err := range imports.Scan(tx, nil, store.ScanOptions{}) {
				if err != nil {
					return err
				}
				all = append(all, row.Value)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	// eraseOne runs an erasure of some key to its end.
	eraseOne := func() keyRow {
		t.Helper()
		id := f.key("")
		f.schedule(id)
		row := f.row(id)
		f.pass(7*day + time.Second)
		f.erase()
		return row
	}
	external := f.emptyKey(kmsapi.KeySpecSymmetricDefault, kmsapi.KeyUsageTypeEncryptDecrypt)
	f.importToken(external, kmsapi.AlgorithmSpecRsaesOaepSha256)
	old := rows()[0]
	eraseOne() // and the row, whose day is over
	old.Expires = f.now().Add(30 * day)
	err := f.store.Update(t.Context(), func(tx *store.Tx) error { return imports.Put(tx, old, old.Region, old.KeyID, old.ID) })
	if err != nil {
		t.Fatal(err)
	}
	if gone := eraseOne(); f.opensNow(gone) {
		t.Error("the other key was not erased")
	}
	if left := rows(); len(left) != 0 {
		t.Errorf("%d rows are left", len(left))
	}
}

// TestExpiryOfMissingMaterial: an expiry date of material that is not there ends
// like any other; the key is not changed for ever.
func TestExpiryOfMissingMaterial(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	f.plant(id, func(k *keyRow) { k.Materials[0].Wrapped, k.Materials[0].ValidTo = nil, f.now().Add(-time.Hour) })
	out, err := try(f.admin(), f, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: id})
	if err != nil || out.KeyMetadata.KeyState != "PendingImport" {
		t.Errorf("%+v, %v", out, err)
	}
}
