package kms

import (
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

func TestEpochOfKeys(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice := f.by(root(home))
	id := must(alice, f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{}).KeyMetadata.KeyId
	fresh := New(f.s.cfg) // its cache is empty
	for name, s := range map[string]*Service{"cached": f.s, "not cached": fresh} {
		a, b := s.Epoch(region, arnOf(id)), s.Epoch(region, arnOf(id))
		if a != b {
			t.Errorf("%s: the epoch of a key that did not change went from %d to %d", name, a, b)
		}
		must(alice, f, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: id})
		if c := s.Epoch(region, arnOf(id)); c == a {
			t.Errorf("%s: a change left the epoch at %d", name, c)
		}
		must(alice, f, kmsapi.EnableKey, &kmsapi.EnableKeyInput{KeyId: id})
	}
	for name, arn := range map[string]string{"unknown": arnOf(unknownKey), "no key id": arnOf("x"), "no ARN": id, "nothing": ""} {
		if a, b := f.s.Epoch(region, arn), f.s.Epoch(region, arn); a == b {
			t.Errorf("%s: the epoch is %d twice", name, a)
		}
	}
	if a, b := f.s.Epoch(elsewhere, arnOf(id)), f.s.Epoch(elsewhere, arnOf(id)); a == b {
		t.Errorf("the epoch of a key of another region is %d twice", a)
	}
}
