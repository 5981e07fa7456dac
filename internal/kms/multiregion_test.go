package kms

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

const third = "ap-southeast-2"

// multiRegionKey makes a multi-Region primary key.
func (f *fixture) multiRegionKey() string {
	f.Helper()
	return must(f.admin(), f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{MultiRegion: new(true)}).KeyMetadata.KeyId
}

// replicate makes a replica and waits for it.
func (f *fixture) replicate(id, to string) *kmsapi.ReplicateKeyOutput {
	f.Helper()
	out := must(f.admin(), f, kmsapi.ReplicateKey, &kmsapi.ReplicateKeyInput{KeyId: id, ReplicaRegion: to})
	f.pass(settling)
	return out
}

func (f *fixture) describeIn(region, id string) *kmsapi.KeyMetadata {
	f.Helper()
	return must(f.in(region, root(home)), f, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: id}).KeyMetadata
}

// layout is a key's MultiRegionConfiguration in short.
func (f *fixture) layout(region, id string) string {
	f.Helper()
	c := f.describeIn(region, id).MultiRegionConfiguration
	var text strings.Builder
	text.WriteString(string(c.MultiRegionKeyType) + " " + *c.PrimaryKey.Region)
	for _, r := range c.ReplicaKeys {
		if *r.Arn != keyARN(*r.Region, home, id) {
			f.Errorf("replica %s has the ARN %s", *r.Region, *r.Arn)
		}
		text.WriteString(" " + *r.Region)
	}
	return text.String()
}

func (f *fixture) wantLayout(id, primary string, replicas ...string) {
	f.Helper()
	slices.Sort(replicas)
	for _, region := range append([]string{primary}, replicas...) {
		want := "REPLICA "
		if region == primary {
			want = "PRIMARY "
		}
		if got := f.layout(region, id); got != strings.TrimSpace(want+primary+" "+strings.Join(replicas, " ")) {
			f.Errorf("%s tells %q", region, got)
		}
	}
}

func TestReplicas(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.multiRegionKey()
	if !strings.HasPrefix(id, "mrk-") {
		t.Errorf("the id is %s", id)
	}
	f.wantLayout(id, region)
	there := f.in(elsewhere, root(home))
	early := f.encrypted(f.admin(), id, map[string]string{"a": "1"})
	_, err := try(there, f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: early, EncryptionContext: map[string]string{"a": "1"}})
	wantError(t, "Decrypt before there is a replica", err, denied, hidden)

	before := f.s.Epoch(region, arnOf(id))
	out := must(f.admin(), f, kmsapi.ReplicateKey, &kmsapi.ReplicateKeyInput{
		KeyId: id, ReplicaRegion: elsewhere, Description: new("the copy"), Tags: []kmsapi.Tag{{TagKey: "team", TagValue: "geo"}},
	})
	m := out.ReplicaKeyMetadata
	if m.KeyId != id || *m.Arn != keyARN(elsewhere, home, id) || m.KeyState != "Creating" || *m.Enabled || *m.Description != "the copy" ||
		*out.ReplicaPolicy != defaultPolicy(home) || len(out.ReplicaTags) != 1 || m.MultiRegionConfiguration.MultiRegionKeyType != "REPLICA" {
		t.Errorf("ReplicateKey %+v", out)
	}
	if f.s.Epoch(region, arnOf(id)) == before {
		t.Error("what was decided from the primary outlives the change")
	}
	_, err = try(there, f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: id, Plaintext: []byte("p")})
	wantError(t, "Encrypt while Creating", err, "KMSInvalidStateException", keyARN(elsewhere, home, id)+" is creating.")
	f.pass(settling)
	if m := f.describeIn(elsewhere, id); m.KeyState != "Enabled" || *m.CurrentKeyMaterialId != *f.describe(id).CurrentKeyMaterialId {
		t.Errorf("the replica is %+v", m)
	}
	f.wantLayout(id, region, elsewhere)
	// One key, two Regions.
	late := must(there, f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: id, Plaintext: []byte("p")}).CiphertextBlob
	got := must(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: late})
	if string(got.Plaintext) != "p" || *got.KeyId != arnOf(id) {
		t.Errorf("the primary opens the replica's: %+v", got)
	}
	got = must(there, f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: early, EncryptionContext: map[string]string{"a": "1"}})
	if *got.KeyId != keyARN(elsewhere, home, id) {
		t.Errorf("the replica opens the primary's: %+v", got)
	}
	// What is not shared.
	must(f.admin(), f, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: id})
	must(there, f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: late})
	must(f.admin(), f, kmsapi.EnableKey, &kmsapi.EnableKeyInput{KeyId: id})
	if tags := must(f.admin(), f, kmsapi.ListResourceTags, &kmsapi.ListResourceTagsInput{KeyId: id}).Tags; len(tags) != 0 {
		t.Errorf("the primary has the replica's tags %v", tags)
	}
	if keys := must(there, f, kmsapi.ListKeys, &kmsapi.ListKeysInput{}).Keys; len(keys) != 1 || *keys[0].KeyArn != keyARN(elsewhere, home, id) {
		t.Errorf("ListKeys %+v", keys)
	}

	plain := f.key("")
	for _, c := range []struct {
		name, key, region string
		code, message     string
	}{
		{"twice", id, elsewhere, "AlreadyExistsException", "The multi-Region key " + keyARN(elsewhere, home, id) + " already exists"},
		{"into itself", id, region, "AlreadyExistsException", ""},
		{"a single-Region key", plain, elsewhere, "UnsupportedOperationException", arnOf(plain) + " is not a multi-region primary key."},
		{"another partition", id, "cn-north-1", "UnsupportedOperationException", ""},
		{"no Region", id, "nowhere", "ValidationException", "1 validation error detected: Value 'nowhere' at 'replicaRegion' failed to satisfy constraint: Member must satisfy regular expression pattern: *"},
	} {
		_, err := try(f.admin(), f, kmsapi.ReplicateKey, &kmsapi.ReplicateKeyInput{KeyId: c.key, ReplicaRegion: c.region})
		wantError(t, c.name, err, c.code, c.message)
	}
	_, err = try(there, f, kmsapi.ReplicateKey, &kmsapi.ReplicateKeyInput{KeyId: id, ReplicaRegion: third})
	wantError(t, "a replica of a replica", err, "UnsupportedOperationException", keyARN(elsewhere, home, id)+" is not a multi-region primary key.")
	_, err = try(f.admin(), f, kmsapi.ReplicateKey, &kmsapi.ReplicateKeyInput{KeyId: id, ReplicaRegion: third, Policy: new(doc(to(rootARN(home), "kms:Describe*")))})
	wantError(t, "a policy that locks out", err, "MalformedPolicyDocumentException", "The new key policy will not allow you to update the key policy in the future.")
	_, err = try(f.admin(), f, kmsapi.ReplicateKey, &kmsapi.ReplicateKeyInput{KeyId: id, ReplicaRegion: third, Tags: []kmsapi.Tag{{TagKey: "aws:x", TagValue: ""}}})
	wantError(t, "a tag of AWS", err, "TagException", "")
	f.wantLayout(id, region, elsewhere)
	f.replicate(id, third)
	f.wantLayout(id, region, elsewhere, third)
}

// Keys of other specs have replicas as well.
func TestReplicasOfOtherSpecs(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	there := f.in(elsewhere, root(home))
	create := func(spec kmsapi.KeySpec, usage kmsapi.KeyUsageType) string {
		id := must(f.admin(), f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{MultiRegion: new(true), KeySpec: spec, KeyUsage: usage}).KeyMetadata.KeyId
		f.replicate(id, elsewhere)
		return id
	}
	ecc := create("ECC_NIST_P256", usageSign)
	signed := must(there, f, kmsapi.Sign, &kmsapi.SignInput{KeyId: ecc, Message: []byte("m"), SigningAlgorithm: "ECDSA_SHA_256"}).Signature
	must(f.admin(), f, kmsapi.Verify, &kmsapi.VerifyInput{KeyId: ecc, Message: []byte("m"), Signature: signed, SigningAlgorithm: "ECDSA_SHA_256"})
	if a, b := f.publicKey(ecc), must(there, f, kmsapi.GetPublicKey, &kmsapi.GetPublicKeyInput{KeyId: ecc}).PublicKey; string(a) != string(b) {
		t.Error("primary and replica have different public keys")
	}
	mac := create("HMAC_256", usageMAC)
	tag := must(there, f, kmsapi.GenerateMac, &kmsapi.GenerateMacInput{KeyId: mac, Message: []byte("m"), MacAlgorithm: "HMAC_SHA_256"}).Mac
	must(f.admin(), f, kmsapi.VerifyMac, &kmsapi.VerifyMacInput{KeyId: mac, Message: []byte("m"), Mac: tag, MacAlgorithm: "HMAC_SHA_256"})
	_, err := try(there, f, kmsapi.EnableKeyRotation, &kmsapi.EnableKeyRotationInput{KeyId: mac})
	wantError(t, "rotation of an HMAC key", err, "UnsupportedOperationException", keyARN(elsewhere, home, mac)+" key spec is HMAC_256 which is not valid for this operation.")
}

// TestReplicaRotation: the rotation of the primary reaches its replicas.
func TestReplicaRotation(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.multiRegionKey()
	f.replicate(id, elsewhere)
	there := f.in(elsewhere, root(home))
	must(f.admin(), f, kmsapi.EnableKeyRotation, &kmsapi.EnableKeyRotationInput{KeyId: id, RotationPeriodInDays: new(int32(90))})
	status := func() *kmsapi.GetKeyRotationStatusOutput {
		return must(there, f, kmsapi.GetKeyRotationStatus, &kmsapi.GetKeyRotationStatusInput{KeyId: id})
	}
	if s := status(); !*s.KeyRotationEnabled || *s.RotationPeriodInDays != 90 || !s.NextRotationDate.Equal(f.now().Add(90*day)) {
		t.Errorf("the replica tells %+v", s)
	}
	wantOnly := keyARN(elsewhere, home, id) + " is not a multi-region primary key."
	for name, run := range map[string]func() error{
		"EnableKeyRotation": func() error {
			return second(try(there, f, kmsapi.EnableKeyRotation, &kmsapi.EnableKeyRotationInput{KeyId: id}))
		},
		"DisableKeyRotation": func() error {
			return second(try(there, f, kmsapi.DisableKeyRotation, &kmsapi.DisableKeyRotationInput{KeyId: id}))
		},
		"RotateKeyOnDemand": func() error {
			return second(try(there, f, kmsapi.RotateKeyOnDemand, &kmsapi.RotateKeyOnDemandInput{KeyId: id}))
		},
	} {
		wantError(t, name+" on a replica", run(), "UnsupportedOperationException", wantOnly)
	}
	maintain := func() {
		t.Helper()
		if err := f.s.maintainOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	old := f.encrypted(there, id, nil)
	f.pass(90 * day)
	maintain()
	maintain()
	must(f.admin(), f, kmsapi.RotateKeyOnDemand, &kmsapi.RotateKeyOnDemandInput{KeyId: id})
	if a, b := f.rotations(region, id), f.rotations(elsewhere, id); a != b || a != "NON_CURRENT , NON_CURRENT , CURRENT " {
		t.Errorf("versions: %q and %q", a, b)
	}
	fresh := f.encrypted(there, id, nil)
	for _, b := range [][]byte{old, fresh} {
		must(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: b})
		must(there, f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: b})
	}
	rotated, synced := 0, 0
	for _, r := range f.records() {
		if containsAll(string(r), `"eventName":"RotateKey"`, arnOf(id)) {
			rotated++
		}
		if containsAll(string(r), `"eventName":"SynchronizeMultiRegionKey"`, arnOf(id)) {
			synced++
		}
	}
	if rotated != 2 || synced != 4 { // the replica, the schedule, two rotations
		t.Errorf("%d RotateKey and %d SynchronizeMultiRegionKey records", rotated, synced)
	}
	// A replica that is made later knows all versions.
	f.replicate(id, third)
	for _, b := range [][]byte{old, fresh} {
		must(f.in(third, root(home)), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: b})
	}
	// The new primary rotates from now on, and once.
	must(f.admin(), f, kmsapi.UpdatePrimaryRegion, &kmsapi.UpdatePrimaryRegionInput{KeyId: id, PrimaryRegion: third})
	f.pass(90 * day)
	maintain()
	maintain()
	if got := f.rotations(elsewhere, id); got != "NON_CURRENT , NON_CURRENT , NON_CURRENT , CURRENT " {
		t.Errorf("after the move: %q", got)
	}
	must(f.in(third, root(home)), f, kmsapi.DisableKeyRotation, &kmsapi.DisableKeyRotationInput{KeyId: id})
	if s := status(); *s.KeyRotationEnabled {
		t.Errorf("the replica tells %+v", s)
	}
}

func TestUpdatePrimaryRegion(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.multiRegionKey()
	f.replicate(id, elsewhere)
	f.replicate(id, third)
	there := f.in(elsewhere, root(home))
	move := func(to string) error {
		return second(try(f.admin(), f, kmsapi.UpdatePrimaryRegion, &kmsapi.UpdatePrimaryRegionInput{KeyId: id, PrimaryRegion: to}))
	}
	wantError(t, "to where it is", move(region), "UnsupportedOperationException", arnOf(id)+" is the multi-Region primary key already.")
	wantError(t, "to where no replica is", move("eu-west-1"), "NotFoundException", "Key '"+keyARN("eu-west-1", home, id)+"' does not exist")
	wantError(t, "of a single-Region key", second(try(f.admin(), f, kmsapi.UpdatePrimaryRegion, &kmsapi.UpdatePrimaryRegionInput{KeyId: f.key(""), PrimaryRegion: elsewhere})), "UnsupportedOperationException", "")
	wantError(t, "of a replica", second(try(there, f, kmsapi.UpdatePrimaryRegion, &kmsapi.UpdatePrimaryRegionInput{KeyId: id, PrimaryRegion: third})), "UnsupportedOperationException", keyARN(elsewhere, home, id)+" is not a multi-region primary key.")
	must(there, f, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: id})
	wantError(t, "to a disabled replica", move(elsewhere), "DisabledException", keyARN(elsewhere, home, id)+" is disabled.")
	must(there, f, kmsapi.EnableKey, &kmsapi.EnableKeyInput{KeyId: id})
	f.wantLayout(id, region, elsewhere, third)

	epochs := map[string]uint64{}
	for _, r := range []string{region, elsewhere, third} {
		f.describeIn(r, id)
		epochs[r] = f.s.Epoch(r, keyARN(r, home, id))
	}
	if err := move(elsewhere); err != nil {
		t.Fatal(err)
	}
	for r, was := range epochs {
		if f.s.Epoch(r, keyARN(r, home, id)) == was {
			t.Errorf("what was decided from the key in %s outlives the move", r)
		}
	}
	f.wantLayout(id, elsewhere, region, third)
	for _, r := range []string{region, elsewhere} {
		if m := f.describeIn(r, id); m.KeyState != "Updating" {
			t.Errorf("the key in %s is %s", r, m.KeyState)
		}
	}
	f.encrypted(f.admin(), id, nil) // it goes on to serve
	wantError(t, "DisableKey while Updating", second(try(f.admin(), f, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: id})), "KMSInvalidStateException", arnOf(id)+" is updating.")
	wantError(t, "ReplicateKey while Updating", second(try(there, f, kmsapi.ReplicateKey, &kmsapi.ReplicateKeyInput{KeyId: id, ReplicaRegion: "eu-west-1"})), "KMSInvalidStateException", keyARN(elsewhere, home, id)+" is updating.")
	moveOn := func(to string) error {
		return second(try(there, f, kmsapi.UpdatePrimaryRegion, &kmsapi.UpdatePrimaryRegionInput{KeyId: id, PrimaryRegion: to}))
	}
	wantError(t, "UpdatePrimaryRegion while Updating", moveOn(third), "KMSInvalidStateException", keyARN(elsewhere, home, id)+" is updating.")
	f.pass(settling)
	for _, r := range []string{region, elsewhere, third} {
		if m := f.describeIn(r, id); m.KeyState != "Enabled" {
			t.Errorf("the key in %s is %s", r, m.KeyState)
		}
	}
	f.plant(id, func(k *keyRow) { k.State = kmsapi.KeyStateUpdating })
	wantError(t, "to a replica that is Updating", moveOn(region), "KMSInvalidStateException", arnOf(id)+" is updating.")
	f.plant(id, func(k *keyRow) { k.State = kmsapi.KeyStateEnabled })
	f.wantLayout(id, elsewhere, region, third)
	must(there, f, kmsapi.ReplicateKey, &kmsapi.ReplicateKeyInput{KeyId: id, ReplicaRegion: "eu-west-1"})
	f.pass(settling)
	f.wantLayout(id, elsewhere, region, third, "eu-west-1")
}

// TestPrimaryDeletion: a primary waits for the deletion of its replicas.
func TestPrimaryDeletion(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.multiRegionKey()
	f.replicate(id, elsewhere)
	f.replicate(id, third)
	blob := f.encrypted(f.admin(), id, nil)
	out := must(f.admin(), f, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: id, PendingWindowInDays: new(int32(9))})
	if out.KeyState != "PendingReplicaDeletion" || out.DeletionDate != nil || *out.PendingWindowInDays != 9 {
		t.Errorf("ScheduleKeyDeletion %+v", out)
	}
	if m := f.describe(id); m.KeyState != "PendingReplicaDeletion" || *m.PendingDeletionWindowInDays != 9 || m.DeletionDate != nil {
		t.Errorf("DescribeKey %+v", m)
	}
	_, err := try(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: blob})
	wantError(t, "Decrypt", err, "KMSInvalidStateException", arnOf(id)+" is pending replica deletion.")
	must(f.in(third, root(home)), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: blob})
	f.pass(30 * day)
	f.erase()
	f.wantLayout(id, region, elsewhere, third)
	must(f.admin(), f, kmsapi.CancelKeyDeletion, &kmsapi.CancelKeyDeletionInput{KeyId: id})
	f.wantState(id, "Disabled")
	f.schedule(id)

	for _, r := range []string{elsewhere, third} {
		row := f.rowIn(r, id)
		must(f.in(r, root(home)), f, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: id, PendingWindowInDays: new(int32(7))})
		f.pass(7 * day)
		f.wantState(id, "PendingReplicaDeletion")
		f.erase()
		if f.opensNow(row) {
			t.Errorf("a copy of the replica in %s opens", r)
		}
		_, err := try(f.in(r, root(home)), f, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: id})
		wantError(t, "the replica in "+r, err, "NotFoundException", "")
	}
	m := f.describe(id)
	if m.KeyState != "PendingDeletion" || !m.DeletionDate.Equal(f.now().Add(7*day)) || m.PendingDeletionWindowInDays != nil {
		t.Errorf("without replicas %+v", m)
	}
	f.wantLayout(id, region)
	must(f.admin(), f, kmsapi.CancelKeyDeletion, &kmsapi.CancelKeyDeletionInput{KeyId: id})
	must(f.admin(), f, kmsapi.EnableKey, &kmsapi.EnableKeyInput{KeyId: id})
	// A Region that had a replica may have one again.
	f.replicate(id, elsewhere)
	must(f.in(elsewhere, root(home)), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: blob})
	must(f.in(elsewhere, root(home)), f, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: id, PendingWindowInDays: new(int32(7))})
	f.pass(7 * day)
	f.erase()
	f.wantLayout(id, region)
	f.schedule(id)
	f.pass(7 * day)
	f.erase()
	_, err = try(f.admin(), f, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: id})
	wantError(t, "the primary", err, "NotFoundException", "")
}

// TestReplicaAuthorization: ReplicateKey is kms:ReplicateKey on the key and
// kms:CreateKey in the other Region; UpdatePrimaryRegion is asked on both keys.
func TestReplicaAuthorization(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const inElsewhere = `"Condition":{"StringEquals":{"aws:RequestedRegion":"` + elsewhere + `"}}`
	id := f.multiRegionKey()
	alice := f.user(home, "alice", doc(allow("kms:DescribeKey")))
	replicate := func(tags ...kmsapi.Tag) error {
		return second(try(f.by(alice), f, kmsapi.ReplicateKey, &kmsapi.ReplicateKeyInput{KeyId: id, ReplicaRegion: elsewhere, Tags: tags}))
	}
	onlyThere := `"Condition":{"StringEquals":{"kms:ReplicaRegion":"` + elsewhere + `"}}`
	for _, c := range []struct {
		name     string
		policy   string
		want     string
		withTags bool
	}{
		{"nothing", doc(allow("kms:DescribeKey")), denied, false},
		{"CreateKey alone", doc(allow("kms:CreateKey")), denied, false},
		{"ReplicateKey alone", doc(allow("kms:ReplicateKey")), denied, false},
		{"CreateKey in the primary's Region", doc(allow("kms:ReplicateKey"), allow("kms:CreateKey", when("StringEquals", "aws:RequestedRegion", region))), denied, false},
		{"another kms:ReplicaRegion", doc(allow("kms:ReplicateKey", when("StringEquals", "kms:ReplicaRegion", third)), allow("kms:CreateKey")), denied, false},
		{"primaries alone", doc(allow("kms:ReplicateKey"), allow("kms:CreateKey", when("StringEquals", "kms:MultiRegionKeyType", "PRIMARY"))), denied, false},
		{"tags without TagResource", doc(allow("kms:ReplicateKey"), allow("kms:CreateKey", inElsewhere)), denied, true},
		{"both", doc(allow("kms:ReplicateKey", onlyThere), allow("kms:CreateKey kms:TagResource", inElsewhere)), "", true},
	} {
		f.putUserPolicy(alice, c.policy)
		var tags []kmsapi.Tag
		if c.withTags {
			tags = []kmsapi.Tag{{TagKey: "a", TagValue: "b"}}
		}
		wantError(t, c.name, replicate(tags...), c.want, "")
	}
	f.pass(settling)
	move := func() error {
		return second(try(f.by(alice), f, kmsapi.UpdatePrimaryRegion, &kmsapi.UpdatePrimaryRegionInput{KeyId: id, PrimaryRegion: elsewhere}))
	}
	for _, c := range []struct{ name, policy, want string }{
		{"the primary alone", doc(`{"Effect":"Allow","Action":"kms:UpdatePrimaryRegion","Resource":"` + arnOf(id) + `"}`), denied},
		{"the replica alone", doc(`{"Effect":"Allow","Action":"kms:UpdatePrimaryRegion","Resource":"` + keyARN(elsewhere, home, id) + `"}`), denied},
		{"another kms:PrimaryRegion", doc(allow("kms:UpdatePrimaryRegion", when("StringEquals", "kms:PrimaryRegion", third))), denied},
		{"primaries alone", doc(allow("kms:UpdatePrimaryRegion", when("StringEquals", "kms:MultiRegionKeyType", "PRIMARY"))), denied},
		{"both", doc(allow("kms:UpdatePrimaryRegion", `"Condition":{"StringEquals":{"kms:PrimaryRegion":"`+elsewhere+`"},"Bool":{"kms:MultiRegion":"true"}}`)), ""},
	} {
		f.putUserPolicy(alice, c.policy)
		wantError(t, c.name, move(), c.want, "")
	}
	// An explicit deny in the replica's Region ends the replication; the record tells.
	f.putUserPolicy(alice, doc(allow("kms:*"), deny("kms:CreateKey", when("StringEquals", "aws:RequestedRegion", third))))
	f.pass(settling)
	_, err := try(f.in(elsewhere, alice), f, kmsapi.ReplicateKey, &kmsapi.ReplicateKeyInput{KeyId: id, ReplicaRegion: third})
	wantError(t, "a deny in the other Region", err, denied, "*")
	if r := f.last("ReplicateKey"); r["errorCode"] != "AccessDenied" {
		t.Errorf("record %v", r)
	}
	bob := f.user(abroad, "bob", doc(allow("kms:*")))
	_, err = try(f.by(bob), f, kmsapi.ReplicateKey, &kmsapi.ReplicateKeyInput{KeyId: arnOf(id), ReplicaRegion: third})
	wantError(t, "another account", err, denied, "")
}

// TestReplicaRecords: what replications and moves leave in both Regions.
func TestReplicaRecords(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.multiRegionKey()
	n := len(f.records())
	must(f.admin(), f, kmsapi.ReplicateKey, &kmsapi.ReplicateKeyInput{KeyId: id, ReplicaRegion: elsewhere, Description: new("d")})
	f.pass(settling)
	f.describeIn(elsewhere, id)
	must(f.admin(), f, kmsapi.UpdatePrimaryRegion, &kmsapi.UpdatePrimaryRegionInput{KeyId: id, PrimaryRegion: elsewhere})
	var got []string
	for _, r := range f.records()[n:] {
		var m struct {
			EventName, AWSRegion string
			Resources            []struct{ ARN string }
			ResponseElements     map[string]any
		}
		if err := json.Unmarshal(r, &m); err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		text.WriteString(m.EventName + " " + m.AWSRegion)
		for _, x := range m.Resources {
			text.WriteString(" " + x.ARN)
		}
		got = append(got, strings.ReplaceAll(text.String(), home+":key/"+id, "KEY"))
	}
	want := []string{
		"ReplicateKey us-west-2 arn:aws:kms:us-west-2:KEY",
		"CreateKey eu-central-1 arn:aws:kms:eu-central-1:KEY",
		"SynchronizeMultiRegionKey us-west-2 arn:aws:kms:us-west-2:KEY",
		"DescribeKey eu-central-1 arn:aws:kms:eu-central-1:KEY",
		"UpdatePrimaryRegion us-west-2 arn:aws:kms:us-west-2:KEY",
		"UpdatePrimaryRegion eu-central-1 arn:aws:kms:eu-central-1:KEY",
	}
	if !slices.Equal(got, want) {
		t.Errorf("records:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestOldMultiRegionRows: keys from before replicas existed are primaries.
func TestOldMultiRegionRows(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.multiRegionKey()
	f.plant(id, func(k *keyRow) { k.PrimaryRegion, k.Replicas = "", nil })
	f.wantLayout(id, region)
	f.replicate(id, elsewhere)
	f.wantLayout(id, region, elsewhere)
}

// TestMultiRegionKeys lists what needs the service-linked role.
func TestMultiRegionKeys(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.key("")
	id := f.multiRegionKey()
	f.replicate(id, elsewhere)
	got, err := f.s.MultiRegionKeys(t.Context(), home)
	if err != nil || len(got) != 2 || !slices.Equal(got[region], []string{arnOf(id)}) || !slices.Equal(got[elsewhere], []string{keyARN(elsewhere, home, id)}) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := f.s.MultiRegionKeys(t.Context(), abroad); err != nil || len(got) != 0 {
		t.Errorf("another account: %v, %v", got, err)
	}
}

// TestLinkedRole: multi-Region keys need the role of their service, others do not.
func TestLinkedRole(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var asked []string
	refuse := error(nil)
	f.s.cfg.LinkedRole = func(_ context.Context, service string) error {
		asked = append(asked, service)
		return refuse
	}
	f.key("")
	f.multiRegionKey()
	if !slices.Equal(asked, []string{"mrk.kms.amazonaws.com"}) {
		t.Errorf("asked for %v", asked)
	}
	refuse = kmsapi.AccessDeniedException("no")
	_, err := try(f.admin(), f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{MultiRegion: new(true)})
	wantError(t, "CreateKey without the role", err, denied, "no")
	if keys := must(f.admin(), f, kmsapi.ListKeys, &kmsapi.ListKeysInput{}).Keys; len(keys) != 2 {
		t.Errorf("%d keys", len(keys))
	}
}

// A set is written whole or not at all, whatever happens to a key at the same time.
func TestReplicaRace(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.multiRegionKey()
	f.replicate(id, elsewhere)
	done := make(chan error, 3)
	there := f.in(elsewhere, root(home))
	go func() {
		for range 10 {
			if _, err := try(f.admin(), f, kmsapi.RotateKeyOnDemand, &kmsapi.RotateKeyOnDemandInput{KeyId: id}); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	go func() {
		for range 20 {
			if _, err := try(there, f, kmsapi.UpdateKeyDescription, &kmsapi.UpdateKeyDescriptionInput{KeyId: id, Description: "d"}); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	go func() {
		for range 3 {
			if err := f.s.beginErasure(); err != nil {
				done <- err
				return
			}
			if err := f.s.eraseDue(f.Context()); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if a, b := f.rotations(region, id), f.rotations(elsewhere, id); a != b || strings.Count(a, "CURRENT") != 11 {
		t.Errorf("versions: %q and %q", a, b)
	}
	must(there, f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: f.encrypted(f.admin(), id, nil)})
}
