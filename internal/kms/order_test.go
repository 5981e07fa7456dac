package kms

import (
	"bytes"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

// TestReEncryptChecksTheDestinationFirst: the state and the usage of both keys come
// before the ciphertext, which no proxy is asked to open for nothing.
func TestReEncryptChecksTheDestinationFirst(t *testing.T) {
	t.Parallel()
	f, p, _, external := newExternal(t)
	own := f.key("")
	disabled, gone, mac := f.key(""), f.key(""), f.newKey("HMAC_256", usageMAC)
	must(f.admin(), f, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: disabled})
	f.schedule(gone)
	good := f.encrypted(f.admin(), own, nil)
	damaged := bytes.Clone(good)
	damaged[len(damaged)-1] ^= 1
	foreign := f.encrypted(f.admin(), external, nil)
	for _, to := range []struct{ name, key, code string }{
		{"disabled", disabled, "DisabledException"},
		{"pending deletion", gone, "KMSInvalidStateException"},
		{"of another usage", mac, "InvalidKeyUsageException"},
	} {
		for _, from := range []struct {
			name string
			blob []byte
		}{{"good", good}, {"damaged", damaged}, {"external", foreign}} {
			seen := len(p.Seen())
			_, err := try(f.admin(), f, kmsapi.ReEncrypt, &kmsapi.ReEncryptInput{CiphertextBlob: from.blob, DestinationKeyId: to.key})
			wantError(t, from.name+" ciphertext to a key "+to.name, err, to.code, "")
			if len(p.Seen()) != seen {
				t.Errorf("%s ciphertext to a key %s: the proxy was asked", from.name, to.name)
			}
		}
	}
	_, err := try(f.admin(), f, kmsapi.ReEncrypt, &kmsapi.ReEncryptInput{CiphertextBlob: damaged, DestinationKeyId: own})
	wantError(t, "damaged ciphertext to a good key", err, "InvalidCiphertextException", "")
}

// TestDryRunOfAGrantAtTheQuota: a dry run answers as the real call would.
func TestDryRunOfAGrantAtTheQuota(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	in := func(name string, dry bool) *kmsapi.CreateGrantInput {
		return &kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: new(rootARN(home)), Operations: ops("Decrypt"), Name: &name, DryRun: &dry}
	}
	must(f.admin(), f, kmsapi.CreateGrant, in("there", false))
	try1 := func(what, name string, dry bool, want string) {
		t.Helper()
		_, err := try(f.admin(), f, kmsapi.CreateGrant, in(name, dry))
		wantError(t, what, err, want, "")
	}
	try1("below the quota", "new", true, "DryRunOperationException")
	f.plant(id, func(k *keyRow) { k.GrantCount = maxGrants })
	try1("at the quota", "new", true, "LimitExceededException")
	try1("at the quota, the real call", "new", false, "LimitExceededException")
	try1("at the quota, a grant that is there", "there", true, "DryRunOperationException")
	if n := f.row(id).GrantCount; n != maxGrants {
		t.Errorf("dry runs changed the count of grants to %d", n)
	}
}
