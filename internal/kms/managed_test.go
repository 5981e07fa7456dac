package kms

import (
	"strings"
	"sync"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/store"
)

// TestManagedKeyInTransaction: an AWS managed key is not made by who holds the
// store's writer lock, and can be used there once it is made.
func TestManagedKeyInTransaction(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const alias = awsAliases + "s3"
	ctx := f.by(via(root(home), "s3", region))
	describe := func() error {
		return f.store.Update(ctx, func(tx *store.Tx) error { return second(f.s.Describe(tx.Context(ctx), alias)) })
	}
	// As while an erasure begins: a reader of s.wrapping would wait for the writer,
	// the writer for another reader, and that one for the store's lock.
	if err := describe(); err == nil || !strings.Contains(err.Error(), "inside a transaction") {
		t.Errorf("the first use inside a transaction: %v", err)
	}
	if err := f.store.View(ctx, func(tx *store.Tx) error {
		made, err := aliases.Exists(tx, region, home, alias)
		if made {
			t.Error("the key was made")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.s.Describe(ctx, alias); err != nil {
		t.Fatal(err)
	}
	if err := describe(); err != nil {
		t.Errorf("a use inside a transaction: %v", err)
	}
}

// TestDescribePredefinedAlias: DescribeKey of a predefined AWS alias makes its AWS
// managed key, for whom it may show it.
func TestDescribePredefinedAlias(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	describe := func(by *identity.Caller, key string) (*kmsapi.DescribeKeyOutput, error) {
		return try(f.by(by), f, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: key})
	}
	const alias = awsAliases + "s3"
	made := func() (n int) {
		for _, r := range f.records() {
			if containsAll(string(r), `"eventName":"CreateKey"`, `"eventType":"AwsServiceEvent"`) {
				n++
			}
		}
		return n
	}
	for _, c := range []struct{ name, policy, message string }{
		{"nothing", "", "*because no identity-based policy allows the kms:DescribeKey action"},
		{"another operation", doc(allow("kms:ListAliases")), ""},
		{"another alias", doc(allow("kms:DescribeKey", when("StringEquals", "kms:RequestAlias", "alias/aws/sagemaker"))), ""},
		{"a deny", doc(allow("kms:*"), deny("kms:DescribeKey", when("ForAnyValue:StringLike", "kms:ResourceAliases", "alias/aws/*"))), "*with an explicit deny in an identity-based policy"},
	} {
		caller := f.user(home, strings.ReplaceAll(c.name, " ", "-"), c.policy)
		_, err := describe(caller, alias)
		message, found := strings.CutPrefix(c.message, "*")
		if found {
			message = "User: " + caller.ARN + " is not authorized to perform: kms:DescribeKey on resource: " + aliasARN(region, home, alias) + " " + message
		}
		wantError(t, "allowed "+c.name, err, denied, message)
	}
	bob := f.user(abroad, "bob", doc(allow("kms:*")))
	_, err := describe(bob, aliasARN(region, home, alias))
	wantError(t, "of another account", err, denied, "")
	_, err = describe(root(home), awsAliases+"none")
	wantError(t, "no predefined alias", err, "NotFoundException", "")
	_, err = try(f.admin(), f, kmsapi.GetPublicKey, &kmsapi.GetPublicKeyInput{KeyId: alias})
	wantError(t, "another operation", err, "NotFoundException", "")
	if n := made(); n != 0 {
		t.Fatalf("%d keys were made", n)
	}

	viewer := f.user(home, "viewer", doc(allow("kms:DescribeKey")))
	var at sync.WaitGroup
	found := make([]string, 8)
	for i := range found {
		at.Go(func() {
			out, err := describe(viewer, alias)
			if err != nil {
				t.Error(err)
				return
			}
			found[i] = *out.KeyMetadata.Arn
			if m := out.KeyMetadata; m.KeyManager != kmsapi.KeyManagerTypeAws || m.KeyState != kmsapi.KeyStateEnabled || *m.Description != managedKeys["s3"] {
				t.Errorf("described as %+v", m)
			}
		})
	}
	at.Wait()
	for _, arn := range found {
		if arn != found[0] {
			t.Errorf("described %s and %s", found[0], arn)
		}
	}
	if n := made(); n != 1 {
		t.Errorf("%d keys were made, want 1", n)
	}
	if r := f.last("CreateKey"); r["resources"].([]any)[0].(map[string]any)["ARN"] != found[0] {
		t.Errorf("the record of the key is %v", r)
	}
	if r := f.last("DescribeKey"); r["requestParameters"].(map[string]any)["keyId"] != alias {
		t.Errorf("the record of the call is %v", r)
	}
	out := must(f.by(via(root(home), "s3", region)), f, kmsapi.GenerateDataKey, &kmsapi.GenerateDataKeyInput{KeyId: alias, KeySpec: kmsapi.DataKeySpecAes256})
	if *out.KeyId != found[0] {
		t.Errorf("the service uses %s, described was %s", *out.KeyId, found[0])
	}
	theirs := must(f.by(bob), f, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: aliasARN(region, abroad, alias)})
	if *theirs.KeyMetadata.Arn == found[0] || *theirs.KeyMetadata.AWSAccountId != abroad {
		t.Errorf("another account got %s", *theirs.KeyMetadata.Arn)
	}
}
