package kms

import (
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/envelope"
)

// A policy is either stored as it was sent or changes nothing, and the key stays
// readable by the evaluator either way.
func FuzzPutKeyPolicy(f *testing.F) {
	f.Add(defaultPolicy(home), false)
	f.Add(doc(to(rootARN(home), "kms:*"), not("*", "kms:Decrypt")), false)
	f.Add(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}`, true)
	f.Add("{", true)
	x := newFixture(f)
	id := x.key("")
	f.Fuzz(func(t *testing.T, policy string, bypass bool) {
		if len(policy) > 4096 {
			return
		}
		x.TB = t
		before := x.row(id)
		_, err := try(x.admin(), x, kmsapi.PutKeyPolicy, &kmsapi.PutKeyPolicyInput{KeyId: id, Policy: policy, BypassPolicyLockoutSafetyCheck: &bypass})
		after := x.row(id)
		if err != nil && (after.Policy != before.Policy || len(after.PolicyPrincipals) != len(before.PolicyPrincipals)) {
			t.Fatalf("refused with %v, but stored %q", err, after.Policy)
		}
		if err == nil && after.Policy != policy {
			t.Fatalf("accepted %q, stored %q", policy, after.Policy)
		}
		if err == nil && !bypass {
			if _, err := try(x.admin(), x, kmsapi.PutKeyPolicy, &kmsapi.PutKeyPolicyInput{KeyId: id, Policy: defaultPolicy(home)}); err != nil {
				t.Fatalf("the caller has locked itself out with %q: %v", policy, err)
			}
		}
		x.plant(id, func(k *keyRow) { k.Policy, k.PolicyPrincipals = defaultPolicy(home), nil })
	})
}

// Only texts that this keyring sealed as grant tokens open, and each names the
// grant that it was made for.
func FuzzGrantToken(f *testing.F) {
	keyring := envelope.NewMemory()
	s := New(Config{Keyring: keyring})
	want := testKeyID + "|" + testMaterial
	good, err := keyring.SealToken(envelope.GrantToken, envelope.Token{Account: home, Region: region, Payload: []byte(want)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)-2])
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 8192 {
			return
		}
		g, err := s.openGrantToken(text)
		if err == nil && (text != good || g.keyID+"|"+g.grantID != want || g.account != home || g.region != region) {
			t.Fatalf("%q opened as %+v", text, g)
		}
	})
}

// An identifier that is accepted has one spelling.
func FuzzKeyRef(f *testing.F) {
	for _, text := range []string{testKeyID, "mrk-1234abcd12ab34cd56ef1234567890ab", arnOf(testKeyID), "alias/a", aliasARN(region, home, "alias/a"), "arn:aws:kms:us-west-2:1:key/"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 2048 {
			return
		}
		ref, err := parseKeyRef(text, home, region, true)
		if err != nil {
			return
		}
		if ref.region != region || (ref.id == "") == (ref.alias == "") {
			t.Fatalf("%q is %+v", text, ref)
		}
		short, long := ref.id, keyARN(ref.region, ref.account, ref.id)
		if ref.alias != "" {
			short, long = ref.alias, aliasARN(ref.region, ref.account, ref.alias)
		}
		if text != short && text != long {
			t.Fatalf("%q is another spelling of %q", text, long)
		}
	})
}
