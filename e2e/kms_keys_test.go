package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

func walkKeys(t *testing.T, a *account) {
	ctx := t.Context()
	there := a.as(a.server.accessKeyID, a.server.secret, func(o *kms.Options) { o.Region = "ap-south-1" }) // nobody else's
	made := map[string]bool{}
	for range 5 {
		made[*ok(there.CreateKey(ctx, &kms.CreateKeyInput{}))(t).KeyMetadata.Arn] = true
	}
	for _, k := range pages(t, kms.NewListKeysPaginator(there, &kms.ListKeysInput{Limit: aws.Int32(2)}),
		func(o *kms.ListKeysOutput) []types.KeyListEntry { return o.Keys }) {
		if !made[*k.KeyArn] || !strings.HasSuffix(*k.KeyArn, "/"+*k.KeyId) {
			t.Errorf("ListKeys lists %s (%s) twice, or nobody made it", *k.KeyArn, *k.KeyId)
		}
		delete(made, *k.KeyArn)
	}
	if len(made) != 0 {
		t.Errorf("ListKeys leaves out %v", made)
	}

	key := a.newKey(t, func(in *kms.CreateKeyInput) { in.Description = text("old") }).Arn
	ok(a.UpdateKeyDescription(ctx, &kms.UpdateKeyDescriptionInput{KeyId: key, Description: text("new")}))(t)
	m := ok(a.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: key}))(t).KeyMetadata
	if *m.Description != "new" || m.KeyState != types.KeyStateEnabled || m.KeySpec != types.KeySpecSymmetricDefault {
		t.Errorf("DescribeKey: %+v", m)
	}
	encrypt := func() error {
		return failure(a.Encrypt(ctx, &kms.EncryptInput{KeyId: key, Plaintext: []byte("x")}))
	}
	ok(a.DisableKey(ctx, &kms.DisableKeyInput{KeyId: key}))(t)
	want[*types.DisabledException](t, "Encrypt with a disabled key", encrypt())
	ok(a.EnableKey(ctx, &kms.EnableKeyInput{KeyId: key}))(t)
	deletion := ok(a.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: key, PendingWindowInDays: aws.Int32(7)}))(t)
	if deletion.KeyState != types.KeyStatePendingDeletion || deletion.DeletionDate == nil {
		t.Errorf("ScheduleKeyDeletion: %+v", deletion)
	}
	want[*types.KMSInvalidStateException](t, "Encrypt with a key that is pending deletion", encrypt())
	ok(a.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: key}))(t)
	ok(a.EnableKey(ctx, &kms.EnableKeyInput{KeyId: key}))(t)
	if err := encrypt(); err != nil {
		t.Errorf("Encrypt after CancelKeyDeletion: %v", err)
	}
}

func walkAliases(t *testing.T, a *account) {
	ctx := t.Context()
	one, two := a.newKey(t).KeyId, a.newKey(t).KeyId
	var names []string
	for i := range 5 {
		names = append(names, fmt.Sprintf("alias/walk/%d", i))
		ok(a.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: &names[i], TargetKeyId: one}))(t)
	}
	listed := pages(t, kms.NewListAliasesPaginator(a, &kms.ListAliasesInput{KeyId: one, Limit: aws.Int32(2)}),
		func(o *kms.ListAliasesOutput) []types.AliasListEntry { return o.Aliases })
	var got []string
	for _, e := range listed {
		got = append(got, *e.AliasName)
		if *e.TargetKeyId != *one {
			t.Errorf("%s is of %s, want %s", *e.AliasName, *e.TargetKeyId, *one)
		}
	}
	if slices.Sort(got); !slices.Equal(got, names) {
		t.Errorf("ListAliases: %v, want %v", got, names)
	}
	ok(a.UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: &names[0], TargetKeyId: two}))(t)
	if m := ok(a.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &names[0]}))(t).KeyMetadata; *m.KeyId != *two {
		t.Errorf("%s is of %s, want %s", names[0], *m.KeyId, *two)
	}
	ok(a.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: &names[0]}))(t)
	want[*types.NotFoundException](t, "DescribeKey by a deleted alias", failure(a.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &names[0]})))
}

func walkTags(t *testing.T, a *account) {
	ctx := t.Context()
	key := a.newKey(t, func(in *kms.CreateKeyInput) { in.Tags = []types.Tag{{TagKey: text("k0"), TagValue: text("0")}} }).Arn
	for i := range 5 {
		tag := types.Tag{TagKey: text(fmt.Sprint("k", i)), TagValue: text(fmt.Sprint(i * i))}
		ok(a.TagResource(ctx, &kms.TagResourceInput{KeyId: key, Tags: []types.Tag{tag}}))(t)
	}
	got := map[string]string{}
	for _, tag := range pages(t, kms.NewListResourceTagsPaginator(a, &kms.ListResourceTagsInput{KeyId: key, Limit: aws.Int32(2)}),
		func(o *kms.ListResourceTagsOutput) []types.Tag { return o.Tags }) {
		got[*tag.TagKey] = *tag.TagValue
	}
	if len(got) != 5 || got["k4"] != "16" {
		t.Errorf("ListResourceTags: %v", got)
	}
	ok(a.UntagResource(ctx, &kms.UntagResourceInput{KeyId: key, TagKeys: []string{"k0", "k1", "k2", "k3"}}))(t)
	if left := ok(a.ListResourceTags(ctx, &kms.ListResourceTagsInput{KeyId: key}))(t).Tags; len(left) != 1 || *left[0].TagKey != "k4" {
		t.Errorf("after UntagResource: %v", left)
	}
}

func walkPolicies(t *testing.T, a *account) {
	ctx := t.Context()
	key := a.newKey(t)
	arn, user := a.newUser(t, "policy-walk")
	encrypt := func() error {
		return failure(user.Encrypt(ctx, &kms.EncryptInput{KeyId: key.Arn, Plaintext: []byte("x")}))
	}
	denied(t, "a user whom no policy names", encrypt())
	before := ok(a.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: key.Arn}))(t)
	document := fmt.Sprintf(`{"Version": "2012-10-17", "Statement": [
		{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::%s:root"}, "Action": "kms:*", "Resource": "*"},
		{"Effect": "Allow", "Principal": {"AWS": %q}, "Action": "kms:Encrypt", "Resource": "*"}]}`, *key.AWSAccountId, arn)
	ok(a.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: key.Arn, Policy: &document}))(t)
	if err := encrypt(); err != nil {
		t.Errorf("a user whom the key policy names: %v", err)
	}
	if now := ok(a.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: key.Arn}))(t); *now.Policy != document || *now.PolicyName != "default" {
		t.Errorf("GetKeyPolicy: %s %s", *now.PolicyName, *now.Policy)
	}
	ok(a.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: key.Arn, Policy: before.Policy}))(t)
	denied(t, "a user whom the key policy names no more", encrypt())
	p := kms.NewListKeyPoliciesPaginator(a, &kms.ListKeyPoliciesInput{KeyId: key.Arn, Limit: aws.Int32(1)})
	for p.HasMorePages() { // there is one policy
		if o := ok(p.NextPage(ctx))(t); !slices.Equal(o.PolicyNames, []string{"default"}) || o.Truncated {
			t.Errorf("ListKeyPolicies: %v, truncated %v", o.PolicyNames, o.Truncated)
		}
	}
}

func walkGrants(t *testing.T, a *account) {
	ctx := t.Context()
	key := a.newKey(t).Arn
	arn, user := a.newUser(t, "grant-walk")
	purpose := map[string]string{"project": "fields"}
	blob := ok(a.Encrypt(ctx, &kms.EncryptInput{KeyId: key, Plaintext: []byte("x"), EncryptionContext: purpose}))(t).CiphertextBlob
	decrypt := func(tokens ...string) error {
		return failure(user.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob, EncryptionContext: purpose, GrantTokens: tokens}))
	}
	denied(t, "before the grant", decrypt())
	grant := ok(a.CreateGrant(ctx, &kms.CreateGrantInput{
		KeyId: key, GranteePrincipal: &arn, RetiringPrincipal: &arn, Operations: []types.GrantOperation{types.GrantOperationDecrypt},
		Constraints: &types.GrantConstraints{EncryptionContextSubset: purpose},
	}))(t)
	if err := decrypt(*grant.GrantToken); err != nil {
		t.Errorf("with a grant: %v", err)
	}
	ok(a.RevokeGrant(ctx, &kms.RevokeGrantInput{KeyId: key, GrantId: grant.GrantId}))(t)
	denied(t, "after RevokeGrant", decrypt())
	denied(t, "with the token of a revoked grant", decrypt(*grant.GrantToken))

	made := map[string]string{}
	for i := range 5 {
		g := ok(a.CreateGrant(ctx, &kms.CreateGrantInput{
			KeyId: key, GranteePrincipal: &arn, RetiringPrincipal: &arn, Name: text(fmt.Sprint("walk-", i)),
			Operations: []types.GrantOperation{types.GrantOperationDecrypt, types.GrantOperationRetireGrant},
		}))(t)
		made[*g.GrantId] = *g.GrantToken
	}
	byKey := pages(t, kms.NewListGrantsPaginator(a, &kms.ListGrantsInput{KeyId: key, Limit: aws.Int32(2)}),
		func(o *kms.ListGrantsOutput) []types.GrantListEntry { return o.Grants })
	byRetiring := pages(t, kms.NewListRetirableGrantsPaginator(a, &kms.ListRetirableGrantsInput{RetiringPrincipal: &arn, Limit: aws.Int32(2)}),
		func(o *kms.ListRetirableGrantsOutput) []types.GrantListEntry { return o.Grants })
	for _, listed := range [][]types.GrantListEntry{byKey, byRetiring} {
		ids := map[string]bool{}
		for _, g := range listed {
			ids[*g.GrantId] = true
			if made[*g.GrantId] == "" || *g.GranteePrincipal != arn || *g.KeyId != *key {
				t.Errorf("a grant that nobody made: %s on %s for %s", *g.GrantId, *g.KeyId, *g.GranteePrincipal)
			}
		}
		if len(ids) != len(made) || len(listed) != len(made) {
			t.Errorf("listed %d grants with %d ids, made %d", len(listed), len(ids), len(made))
		}
	}
	byToken := true
	for id, token := range made {
		in := &kms.RetireGrantInput{KeyId: key, GrantId: &id}
		if byToken {
			in = &kms.RetireGrantInput{GrantToken: &token}
		}
		byToken = !byToken
		ok(user.RetireGrant(ctx, in))(t)
	}
	if left := ok(a.ListGrants(ctx, &kms.ListGrantsInput{KeyId: key}))(t).Grants; len(left) != 0 {
		t.Errorf("after RetireGrant: %d grants", len(left))
	}
	denied(t, "after RetireGrant", decrypt())
}

func walkRotation(t *testing.T, a *account) {
	ctx := t.Context()
	key := a.newKey(t).Arn
	ok(a.EnableKeyRotation(ctx, &kms.EnableKeyRotationInput{KeyId: key, RotationPeriodInDays: aws.Int32(90)}))(t)
	status := ok(a.GetKeyRotationStatus(ctx, &kms.GetKeyRotationStatusInput{KeyId: key}))(t)
	if !status.KeyRotationEnabled || *status.RotationPeriodInDays != 90 || status.NextRotationDate == nil {
		t.Errorf("GetKeyRotationStatus: %+v", status)
	}
	var blobs [][]byte
	for range 4 {
		blobs = append(blobs, ok(a.Encrypt(ctx, &kms.EncryptInput{KeyId: key, Plaintext: []byte("x")}))(t).CiphertextBlob)
		ok(a.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: key}))(t)
	}
	materials := map[string]bool{}
	for _, blob := range blobs {
		materials[*ok(a.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob}))(t).KeyMaterialId] = true
	}
	if len(materials) != len(blobs) {
		t.Errorf("%d key materials for %d rotations", len(materials), len(blobs))
	}
	rotations := pages(t, kms.NewListKeyRotationsPaginator(a, &kms.ListKeyRotationsInput{KeyId: key, Limit: aws.Int32(2)}),
		func(o *kms.ListKeyRotationsOutput) []types.RotationsListEntry { return o.Rotations })
	for _, r := range rotations {
		if r.RotationType != types.RotationTypeOnDemand || r.RotationDate == nil {
			t.Errorf("ListKeyRotations: %+v", r)
		}
	}
	if len(rotations) != len(blobs) {
		t.Errorf("%d rotations, want %d", len(rotations), len(blobs))
	}
	ok(a.DisableKeyRotation(ctx, &kms.DisableKeyRotationInput{KeyId: key}))(t)
	if ok(a.GetKeyRotationStatus(ctx, &kms.GetKeyRotationStatusInput{KeyId: key}))(t).KeyRotationEnabled {
		t.Error("rotation is enabled after DisableKeyRotation")
	}
}

func walkLastUsage(t *testing.T, a *account) {
	ctx := t.Context()
	key := a.newKey(t).Arn
	unused := ok(a.GetKeyLastUsage(ctx, &kms.GetKeyLastUsageInput{KeyId: key}))(t)
	if unused.KeyLastUsage != nil && unused.KeyLastUsage.Timestamp != nil {
		t.Errorf("a new key was used: %+v", unused.KeyLastUsage)
	}
	ok(a.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: key, KeySpec: types.DataKeySpecAes256}))(t)
	used := ok(a.GetKeyLastUsage(ctx, &kms.GetKeyLastUsageInput{KeyId: key}))(t).KeyLastUsage
	if used == nil || used.Timestamp == nil || used.Operation != types.KeyLastUsageTrackingOperationGenerateDataKey {
		t.Errorf("GetKeyLastUsage: %+v", used)
	}
}

func walkRegions(t *testing.T, a *account) {
	ctx := t.Context()
	primary := a.newKey(t, func(in *kms.CreateKeyInput) { in.MultiRegion = aws.Bool(true) })
	replicated := ok(a.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: primary.Arn, ReplicaRegion: text("eu-central-1")}))(t)
	there := a.as(a.server.accessKeyID, a.server.secret, func(o *kms.Options) { o.Region = "eu-central-1" })
	waitEnabled(t, there, *primary.KeyId)
	blob := ok(a.Encrypt(ctx, &kms.EncryptInput{KeyId: primary.Arn, Plaintext: []byte("x")}))(t).CiphertextBlob
	opened := ok(there.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob}))(t)
	if string(opened.Plaintext) != "x" || *opened.KeyId != *replicated.ReplicaKeyMetadata.Arn {
		t.Errorf("the replica opened %q as %s", opened.Plaintext, *opened.KeyId)
	}
	ok(a.UpdatePrimaryRegion(ctx, &kms.UpdatePrimaryRegionInput{KeyId: primary.KeyId, PrimaryRegion: text("eu-central-1")}))(t)
	waitEnabled(t, a.Client, *primary.KeyId)
	m := waitEnabled(t, there, *primary.KeyId)
	if m.MultiRegionConfiguration.MultiRegionKeyType != types.MultiRegionKeyTypePrimary {
		t.Errorf("after UpdatePrimaryRegion: %+v", m.MultiRegionConfiguration)
	}
}

// walkStores finds no custom key store; keys in one are tested where a proxy is.
func walkStores(t *testing.T, a *account) {
	ctx := t.Context()
	id := text("cks-1234567890abcdef0")
	p := kms.NewDescribeCustomKeyStoresPaginator(a, &kms.DescribeCustomKeyStoresInput{Limit: aws.Int32(1)})
	for p.HasMorePages() {
		if o := ok(p.NextPage(ctx))(t); len(o.CustomKeyStores) != 0 {
			t.Errorf("DescribeCustomKeyStores: %v", o.CustomKeyStores)
		}
	}
	for name, err := range map[string]error{
		"Describe":   failure(a.DescribeCustomKeyStores(ctx, &kms.DescribeCustomKeyStoresInput{CustomKeyStoreId: id})),
		"Update":     failure(a.UpdateCustomKeyStore(ctx, &kms.UpdateCustomKeyStoreInput{CustomKeyStoreId: id, NewCustomKeyStoreName: text("new")})),
		"Connect":    failure(a.ConnectCustomKeyStore(ctx, &kms.ConnectCustomKeyStoreInput{CustomKeyStoreId: id})),
		"Disconnect": failure(a.DisconnectCustomKeyStore(ctx, &kms.DisconnectCustomKeyStoreInput{CustomKeyStoreId: id})),
		"Delete":     failure(a.DeleteCustomKeyStore(ctx, &kms.DeleteCustomKeyStoreInput{CustomKeyStoreId: id})),
	} {
		want[*types.CustomKeyStoreNotFoundException](t, name, err)
	}
	want[*types.CloudHsmClusterNotFoundException](t, "Create, in a cluster", failure(a.CreateCustomKeyStore(ctx, &kms.CreateCustomKeyStoreInput{
		CustomKeyStoreName: text("walk"), CloudHsmClusterId: text("cluster-2a23b4cdefg"), KeyStorePassword: text("password"), TrustAnchorCertificate: text("PEM"),
	})))
}

// waitEnabled waits until a key that is being made or changed can be used: KMS has no waiter in the SDK.
func waitEnabled(t *testing.T, client *kms.Client, key string) *types.KeyMetadata {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		m := ok(client.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &key}))(t).KeyMetadata
		if m.KeyState == types.KeyStateEnabled {
			return m
		}
		if time.Now().After(end) {
			t.Fatalf("%s is %s after 30 seconds", *m.Arn, m.KeyState)
		}
	}
}
