package server

import (
	"errors"
	"slices"
	"testing"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/client"
)

// TestKeyListStates: list and impact show the state of a key that nobody has met
// since it changed, as DescribeKey then does.
func TestKeyListStates(t *testing.T) {
	t.Parallel()
	s, c := startServer(t)
	ctx := t.Context()
	made, err := client.Call(ctx, c, kmsapi.CreateKey, &kmsapi.CreateKeyInput{MultiRegion: new(true)})
	if err != nil {
		t.Fatal(err)
	}
	id := made.KeyMetadata.KeyId
	must(t, second(client.Call(ctx, c, kmsapi.ReplicateKey, &kmsapi.ReplicateKeyInput{KeyId: id, ReplicaRegion: "eu-central-1"})))
	there := *c
	there.Region = "eu-central-1"
	o := operatorOf(s, c)
	states := func() (listed, impact string) {
		t.Helper()
		var out KeyListOutput
		must(t, o.Operator(ctx, "ListKeys", KeyListInput{Region: there.Region}, &out))
		var part Impact
		must(t, o.Operator(ctx, "KeyImpact", ImpactInput{Key: id, Region: there.Region}, &part))
		if len(out.Keys) != 1 {
			t.Fatalf("%d keys are listed", len(out.Keys))
		}
		return out.Keys[0].State, part.Key.State
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		listed, impact := states()
		if listed == "Enabled" && impact == "Enabled" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the replica is listed as %s, its impact says %s", listed, impact)
		}
	}
	out, err := client.Call(ctx, &there, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: id})
	if err != nil || out.KeyMetadata.KeyState != "Enabled" {
		t.Errorf("DescribeKey: %+v, %v", out, err)
	}
	var part Impact
	must(t, o.Operator(ctx, "KeyImpact", ImpactInput{Key: id, Region: there.Region}, &part))
	if want := []string{c.Region, there.Region}; !part.Key.MultiRegion || !slices.Equal(part.Key.Regions, want) {
		t.Errorf("the Regions of the key are %q, want %q", part.Key.Regions, want)
	}
}

// TestKeyAccounts: a malformed account is refused, and so is one that is not there.
func TestKeyAccounts(t *testing.T) {
	t.Parallel()
	s, c := startServer(t)
	must(t, second(s.createAccount(t.Context(), "444455556666")))
	key := makeKey(t, s)
	arn := "arn:aws:kms:us-west-2:" + s.firstAccount() + ":key/" + key
	o := operatorOf(s, c)
	for account, want := range map[string]string{"": "", "444455556666": "", "abc": "InvalidRequest", "12345678901x": "InvalidRequest", "999999999999": "NoSuchAccount"} {
		for name, err := range map[string]error{
			"ListKeys":  o.Operator(t.Context(), "ListKeys", KeyListInput{Account: account}, &KeyListOutput{}),
			"KeyImpact": o.Operator(t.Context(), "KeyImpact", ImpactInput{Key: arn, Account: account}, &Impact{}),
		} {
			code := ""
			if e, ok := errors.AsType[*schema.Error](err); ok {
				code = e.Code
			} else if err != nil {
				code = err.Error()
			}
			if code != want {
				t.Errorf("%s of the account %q: %v, want %q", name, account, err, want)
			}
		}
	}
}
