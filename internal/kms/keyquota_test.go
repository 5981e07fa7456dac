package kms

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/store"
)

func (f *fixture) keyCount() int {
	f.Helper()
	n := 0
	err := f.store.View(f.Context(), func(tx *store.Tx) (err error) {
		n, err = keyCount(tx, region, home)
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
	return n
}

// TestKeyQuota: an account has so many keys in a Region, in any state; AWS
// managed keys do not count.
func TestKeyQuota(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	if f.s.cfg.Quotas != (Quotas{Keys: 100_000, Grants: 50_000}) {
		t.Errorf("the default quotas are %+v", f.s.cfg.Quotas)
	}
	f.s.cfg.Quotas.Keys = 3
	create := func(spec kmsapi.KeySpec) error {
		in := &kmsapi.CreateKeyInput{KeySpec: spec}
		if spec != symmetricSpec {
			in.KeyUsage = usageSign
		}
		return second(try(f.admin(), f, kmsapi.CreateKey, in))
	}
	first := f.key("")
	for range 2 {
		wantError(t, "below the quota", create("ECC_NIST_P256"), "", "")
	}
	wantError(t, "the fourth key", create(symmetricSpec), "LimitExceededException", "")
	if r := f.last("CreateKey"); r["errorCode"] != "LimitExceededException" || r["responseElements"] != nil {
		t.Errorf("the record: %v", r)
	}
	wantError(t, "the fourth key, of RSA", create("RSA_4096"), "LimitExceededException", "")
	f.keyOf(f.in(elsewhere, root(home)), "")
	f.keyOf(f.by(root(abroad)), "")
	must(f.by(via(root(home), "s3", region)), f, kmsapi.GenerateDataKey, &kmsapi.GenerateDataKeyInput{KeyId: "alias/aws/s3", KeySpec: "AES_256"})
	must(f.admin(), f, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: first})
	wantError(t, "with a disabled key", create(symmetricSpec), "LimitExceededException", "")
	f.schedule(first)
	wantError(t, "with a key pending deletion", create(symmetricSpec), "LimitExceededException", "")
	f.pass(7 * day)
	f.erase()
	wantError(t, "after a deletion", create(symmetricSpec), "", "")
	wantError(t, "after that", create(symmetricSpec), "LimitExceededException", "")
	if n := f.keyCount(); n != 3 {
		t.Errorf("%d keys are counted", n)
	}
}

// Keys made at once get no further than the quota.
func TestKeyQuotaHoldsUnderContention(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.s.cfg.Quotas.Keys = 10
	var mu sync.Mutex
	made := 0
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			_, err := try(f.admin(), f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made++
				return
			}
			wantError(t, "a key too many", err, "LimitExceededException", "")
		})
	}
	wg.Wait()
	if n := f.keyCount(); made != 10 || n != 10 {
		t.Errorf("%d keys were made and %d are counted, want 10", made, n)
	}
}

// The rows of a version that did not count are counted once.
func TestKeysOfOlderRowsAreCounted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var ids []string
	for range 3 {
		ids = append(ids, f.key(""))
	}
	must(f.by(via(root(home), "s3", region)), f, kmsapi.GenerateDataKey, &kmsapi.GenerateDataKeyInput{KeyId: "alias/aws/s3", KeySpec: "AES_256"})
	forget := func() {
		if err := f.store.Update(t.Context(), func(tx *store.Tx) error { return keyCounts.Delete(tx, region, home) }); err != nil {
			t.Fatal(err)
		}
	}
	forget()
	f.key("")
	if n := f.keyCount(); n != 4 {
		t.Errorf("%d keys are counted after a creation, want 4", n)
	}
	forget()
	f.schedule(ids[0])
	f.pass(7 * day)
	f.erase()
	if n := f.keyCount(); n != 3 {
		t.Errorf("%d keys are counted after a deletion, want 3", n)
	}
}

func TestGrantQuota(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.s.cfg.Quotas.Grants = 2
	id := f.key("")
	in := kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: new(rootARN(home)), Operations: ops("Decrypt"), Name: new("same")}
	g := f.grant(&in)
	f.grant(&kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: new(rootARN(home)), Operations: ops("Encrypt")})
	more := func() error {
		return second(try(f.admin(), f, kmsapi.CreateGrant, &kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: new(rootARN(home)), Operations: ops("DescribeKey")}))
	}
	wantError(t, "the third grant", more(), "LimitExceededException", "")
	wantError(t, "one that is there, by its name", second(try(f.admin(), f, kmsapi.CreateGrant, &in)), "", "")
	f.grant(&kmsapi.CreateGrantInput{KeyId: f.key(""), GranteePrincipal: new(rootARN(home)), Operations: ops("Encrypt")})
	must(f.admin(), f, kmsapi.RevokeGrant, &kmsapi.RevokeGrantInput{KeyId: id, GrantId: *g.GrantId})
	wantError(t, "after a revocation", more(), "", "")
	wantError(t, "after that", more(), "LimitExceededException", "")
}

// TestInputLimits has the bounds of the API model that TestLimits has not.
func TestInputLimits(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id, mac, sign := f.key(""), f.newKey("HMAC_256", usageMAC), f.newKey("ECC_NIST_P256", usageSign)
	long := func(n int) string { return strings.Repeat("a", n) }
	number := func(n int) *int32 { return new(int32(n)) }
	tags := make([]kmsapi.Tag, 51)
	for i := range tags {
		tags[i].TagKey = fmt.Sprint("k", i)
	}
	full := f.key("")
	for i := range maxAliases {
		must(f.admin(), f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: fmt.Sprint("alias/full", i), TargetKeyId: full})
	}
	must(f.admin(), f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/mine", TargetKeyId: id})
	grant := func(change func(*kmsapi.CreateGrantInput)) error {
		in := &kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: new(rootARN(home)), Operations: ops("Decrypt")}
		change(in)
		return second(try(f.admin(), f, kmsapi.CreateGrant, in))
	}
	const invalid = "ValidationException"
	for _, c := range []struct {
		name, code string
		err        error
	}{
		{"a description of 8192", "", second(try(f.admin(), f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{Description: new(long(8192))}))},
		{"a description of 8193", invalid, second(try(f.admin(), f, kmsapi.UpdateKeyDescription, &kmsapi.UpdateKeyDescriptionInput{KeyId: id, Description: long(8193)}))},
		{"a key with 51 tags", "TagException", second(try(f.admin(), f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{Tags: tags}))},
		{"a key with 50 tags", "", second(try(f.admin(), f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{Tags: tags[:50]}))},
		{"a tag value of 256", "", second(try(f.admin(), f, kmsapi.TagResource, &kmsapi.TagResourceInput{KeyId: id, Tags: []kmsapi.Tag{{TagKey: "a", TagValue: long(256)}}}))},
		{"a tag value of 257", invalid, second(try(f.admin(), f, kmsapi.TagResource, &kmsapi.TagResourceInput{KeyId: id, Tags: []kmsapi.Tag{{TagKey: "a", TagValue: long(257)}}}))},
		{"an alias of 256", "", second(try(f.admin(), f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/" + long(250), TargetKeyId: id}))},
		{"an alias of 257", invalid, second(try(f.admin(), f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/" + long(251), TargetKeyId: id}))},
		{"an alias that moves to a full key", "LimitExceededException", second(try(f.admin(), f, kmsapi.UpdateAlias, &kmsapi.UpdateAliasInput{AliasName: "alias/mine", TargetKeyId: full}))},
		{"a MAC of 4096", "", second(try(f.admin(), f, kmsapi.GenerateMac, &kmsapi.GenerateMacInput{KeyId: mac, MacAlgorithm: "HMAC_SHA_256", Message: make([]byte, 4096)}))},
		{"a MAC of 4097", invalid, second(try(f.admin(), f, kmsapi.GenerateMac, &kmsapi.GenerateMacInput{KeyId: mac, MacAlgorithm: "HMAC_SHA_256", Message: make([]byte, 4097)}))},
		{"a signature of 4097", invalid, second(try(f.admin(), f, kmsapi.Sign, &kmsapi.SignInput{KeyId: sign, SigningAlgorithm: "ECDSA_SHA_256", Message: make([]byte, 4097)}))},
		{"a data key of 1024", "", second(try(f.admin(), f, kmsapi.GenerateDataKey, &kmsapi.GenerateDataKeyInput{KeyId: id, NumberOfBytes: number(1024)}))},
		{"a data key of 1025", invalid, second(try(f.admin(), f, kmsapi.GenerateDataKey, &kmsapi.GenerateDataKeyInput{KeyId: id, NumberOfBytes: number(1025)}))},
		{"a data key of 0", invalid, second(try(f.admin(), f, kmsapi.GenerateDataKey, &kmsapi.GenerateDataKeyInput{KeyId: id, NumberOfBytes: number(0)}))},
		{"a window of 366 days", invalid, second(try(f.admin(), f, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: id, PendingWindowInDays: number(366)}))},
		{"a grant's name of 256", "", grant(func(in *kmsapi.CreateGrantInput) { in.Name = new(long(256)) })},
		{"a grant's name of 257", invalid, grant(func(in *kmsapi.CreateGrantInput) { in.Name = new(long(257)) })},
		{"a grantee of 257", invalid, grant(func(in *kmsapi.CreateGrantInput) {
			in.GranteePrincipal = new("arn:aws:iam::" + home + ":user/" + long(228))
		})},
		{"a source of 19", invalid, grant(func(in *kmsapi.CreateGrantInput) {
			in.Constraints = &kmsapi.GrantConstraints{SourceArn: new("arn:aws:s3:::bucket")}
		})},
		{"a source without account", invalid, grant(func(in *kmsapi.CreateGrantInput) {
			in.Constraints = &kmsapi.GrantConstraints{SourceArn: new("arn:aws:s3:us-west-2::bucket")}
		})},
		{"a token of 8193", invalid, grant(func(in *kmsapi.CreateGrantInput) { in.GrantTokens = []string{long(8193)} })},
		{"Encrypt with 11 tokens", invalid, second(try(f.admin(), f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: id, Plaintext: []byte("p"), GrantTokens: strings.Split(long(11), "")}))},
		{"Decrypt with 11 tokens", invalid, second(try(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: []byte("c"), GrantTokens: strings.Split(long(11), "")}))},
		{"ListKeys by 1000", "", second(try(f.admin(), f, kmsapi.ListKeys, &kmsapi.ListKeysInput{Limit: number(1000)}))},
		{"ListKeys by 1001", invalid, second(try(f.admin(), f, kmsapi.ListKeys, &kmsapi.ListKeysInput{Limit: number(1001)}))},
		{"ListKeys by 0", invalid, second(try(f.admin(), f, kmsapi.ListKeys, &kmsapi.ListKeysInput{Limit: number(0)}))},
		{"ListKeyPolicies by 1001", invalid, second(try(f.admin(), f, kmsapi.ListKeyPolicies, &kmsapi.ListKeyPoliciesInput{KeyId: id, Limit: number(1001)}))},
		{"ListKeyRotations by 1001", invalid, second(try(f.admin(), f, kmsapi.ListKeyRotations, &kmsapi.ListKeyRotationsInput{KeyId: id, Limit: number(1001)}))},
		{"ListGrants by 100", "", second(try(f.admin(), f, kmsapi.ListGrants, &kmsapi.ListGrantsInput{KeyId: id, Limit: number(100)}))},
		{"ListGrants by 101", invalid, second(try(f.admin(), f, kmsapi.ListGrants, &kmsapi.ListGrantsInput{KeyId: id, Limit: number(101)}))},
		{"ListRetirableGrants by 101", invalid, second(try(f.admin(), f, kmsapi.ListRetirableGrants, &kmsapi.ListRetirableGrantsInput{RetiringPrincipal: new(rootARN(home)), Limit: number(101)}))},
		{"a marker of 1025", invalid, second(try(f.admin(), f, kmsapi.ListKeys, &kmsapi.ListKeysInput{Marker: new(long(1025))}))},
	} {
		wantError(t, c.name, c.err, c.code, "")
	}
}
