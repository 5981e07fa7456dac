package kms

import (
	"context"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

// TestOverlyPermissiveCondition: ForAllValues with a key of one value is refused
// wherever a key policy is given.
func TestOverlyPermissiveCondition(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	mrk := must(f.admin(), f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{MultiRegion: new(true)}).KeyMetadata.KeyId
	const (
		malformed = "MalformedPolicyDocumentException"
		start     = "OverlyPermissiveCondition: Using the ForAllValues set operator with a single-valued condition key matches requests "
		ofContext = start + "without the specified encryption context or with an unspecified encryption context. To fix, remove ForAllValues."
		ofTag     = start + "without the specified tag or with an unspecified tag. To fix, remove ForAllValues."
	)
	admin := to(rootARN(home), "kms:*")
	for _, c := range []struct{ name, statement, code, message string }{
		{"encryption context", to("*", "kms:Decrypt", when("ForAllValues:StringEquals", "kms:EncryptionContext:a", "b")), malformed, ofContext},
		{"encryption context in other letters", to("*", "kms:Decrypt", when("ForAllValues:StringLikeIfExists", "KMS:encryptioncontext:A", "b")), malformed, ofContext},
		{"encryption context in a Deny", not("*", "kms:Decrypt", when("ForAllValues:StringNotEquals", "kms:EncryptionContext:a", "b")), malformed, ofContext},
		{"tag", to(rootARN(home), "kms:TagResource", when("ForAllValues:StringEquals", "aws:RequestTag/a", "b")), malformed, ofTag},
		{"tag in other letters", to(rootARN(home), "kms:TagResource", when("ForAllValues:StringEquals", "aws:requesttag/a", "b")), malformed, ofTag},
		{"no set operator", to("*", "kms:Decrypt", when("StringEquals", "kms:EncryptionContext:a", "b")), "", ""},
		{"another set operator", to("*", "kms:Decrypt", when("ForAnyValue:StringEquals", "kms:EncryptionContext:a", "b")), "", ""},
		{"keys of several values", to("*", "kms:Decrypt", when("ForAllValues:StringEquals", "kms:EncryptionContextKeys", "a")), "", ""},
		{"another key of one value", to(rootARN(home), "kms:Decrypt", when("ForAllValues:StringEquals", "kms:CallerAccount", home)), "", ""},
	} {
		policy := doc(admin, c.statement)
		put := second(try(f.admin(), f, kmsapi.PutKeyPolicy, &kmsapi.PutKeyPolicyInput{KeyId: id, Policy: policy}))
		wantError(t, "PutKeyPolicy, "+c.name, put, c.code, c.message)
		create := second(try(f.admin(), f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{Policy: &policy, BypassPolicyLockoutSafetyCheck: new(true)}))
		wantError(t, "CreateKey, "+c.name, create, c.code, c.message)
		if c.code != "" {
			replicate := second(try(f.admin(), f, kmsapi.ReplicateKey, &kmsapi.ReplicateKeyInput{KeyId: mrk, ReplicaRegion: elsewhere, Policy: &policy}))
			wantError(t, "ReplicateKey, "+c.name, replicate, c.code, c.message)
		}
	}
	// What was stored before goes on to be read.
	f.plant(id, func(k *keyRow) {
		k.Policy = doc(admin, to("*", "kms:Decrypt", when("ForAllValues:StringEquals", "kms:EncryptionContext:a", "b")))
	})
	must(f.admin(), f, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: id})
}

// TestLockoutCheckAsksForTheNextChange: the safety check sees the condition keys
// that the next PutKeyPolicy will have, so it neither refuses a policy that works
// nor accepts one that does not.
func TestLockoutCheckAsksForTheNextChange(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const bypass = "kms:BypassPolicyLockoutSafetyCheck"
	others := to(rootARN(home), "kms:Describe* kms:Get* kms:Create*")
	put := func(more string) string { return doc(others, to(rootARN(home), "kms:PutKeyPolicy", more)) }
	aliased := f.user(home, "aliased", doc(allow("kms:PutKeyPolicy", when("ForAnyValue:StringEquals", "kms:ResourceAliases", "alias/app"))))
	for _, c := range []struct {
		name, policy string
		by           context.Context
		refused      bool
	}{
		{name: "unless the check is bypassed", policy: put(when("Bool", bypass, "false"))},
		{name: "only when the check is bypassed", policy: put(when("Bool", bypass, "true")), refused: true},
		{name: "without the parameter", policy: put(when("Null", bypass, "true"))},
		{name: "a deny of bypassing", policy: doc(to(rootARN(home), "kms:*"), not("*", "kms:PutKeyPolicy", when("Bool", bypass, "true")))},
		{name: "a deny of not bypassing", policy: doc(to(rootARN(home), "kms:*"), not("*", "kms:PutKeyPolicy", when("Bool", bypass, "false"))), refused: true},
		{name: "of the key's spec", policy: put(when("StringEquals", "kms:KeySpec", "SYMMETRIC_DEFAULT"))},
		{name: "by the key's alias", policy: doc(to(rootARN(home), "kms:*")), by: f.by(aliased)},
	} {
		if c.by == nil {
			c.by = f.admin()
		}
		id := f.key("")
		if c.name == "by the key's alias" {
			must(f.admin(), f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/app", TargetKeyId: id})
		}
		code := ""
		if c.refused {
			code = "MalformedPolicyDocumentException"
		}
		change := func() error {
			return second(try(c.by, f, kmsapi.PutKeyPolicy, &kmsapi.PutKeyPolicyInput{KeyId: id, Policy: c.policy}))
		}
		wantError(t, c.name, change(), code, "")
		if !c.refused { // and the next change works
			wantError(t, c.name+", again", change(), "", "")
		}
	}
}
