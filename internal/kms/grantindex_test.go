package kms

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/store"
)

// A request is decided alike by all grants and by those that the index gives.
func TestGrantIndexDecidesAlike(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(4, 2))
	context := func() map[string]string {
		ec := map[string]string{}
		for range r.IntN(3) {
			ec[string(rune('a'+r.IntN(2)))] = string(rune('0' + r.IntN(2)))
		}
		return ec
	}
	operations := []string{"Decrypt", "Encrypt", "DescribeKey", "RetireGrant", "CreateGrant"}
	alice, allowed := "arn:aws:iam::"+home+":user/alice", 0
	for range 400 {
		var all []authz.Grant
		for i := range r.IntN(100) {
			g := authz.Grant{ID: fmt.Sprint(i), Grantee: alice, Operations: []string{operations[r.IntN(len(operations))]}}
			if r.IntN(2) == 0 {
				g.Operations = append(g.Operations, operations[r.IntN(len(operations))])
			}
			switch r.IntN(8) {
			case 0, 1, 2:
				g.Constraints.EncryptionContextEquals = context()
			case 3, 4, 5:
				g.Constraints.EncryptionContextSubset = context()
			}
			if r.IntN(6) > 0 {
				g.Constraints.SourceARN = "arn:aws:s3:::other"
			}
			if r.IntN(4) == 0 {
				g.GranteeID = "AIDAOTHER"
			}
			all = append(all, g)
		}
		kept, thin := newGrantIndex(1<<20), newGrantIndex(0)
		byID := map[string]authz.Grant{}
		for _, g := range all {
			kept.add(g)
			thin.add(g)
			byID[g.ID] = g
		}
		kept.done()
		thin.done()
		if len(all) > 0 && (kept.ids != nil || thin.all != nil) {
			t.Fatal("the indexes keep what they should not")
		}
		for range 20 {
			req := authz.Request{
				Principal: authz.Principal{Type: authz.User, ARN: alice, Account: home, UserID: "AIDAALICE"},
				Action:    "kms:" + operations[r.IntN(len(operations))], Resource: arnOf(unknownKey), ResourceAccount: home,
				KMSKey: true, EncryptionContext: context(), Context: authz.NewContext(),
			}
			source := ""
			if r.IntN(3) == 0 {
				source = []string{"arn:aws:s3:::other", "arn:aws:s3:::third"}[r.IntN(2)]
				req.Context.Set("aws:SourceArn", source)
			}
			want := authz.Decide(&req, &authz.Policies{}, all)
			for name, x := range map[string]*grantIndex{"with": kept, "without": thin} {
				some, ids := x.matching(req.Action, source, req.EncryptionContext)
				if (name == "with") != (len(ids) == 0) && len(ids) > 0 {
					t.Fatal("an index that has all grants asks for some")
				}
				for _, id := range ids {
					some = append(some, byID[id])
				}
				if got := authz.Decide(&req, &authz.Policies{}, some); want.Effect != got.Effect {
					t.Fatalf("%s under %v: the index %s grants says %s, all %d grants say %s", req.Action, req.EncryptionContext, name, got.Effect, len(all), want.Effect)
				}
			}
			if want.Effect == authz.Allowed {
				allowed++
			}
		}
	}
	if allowed < 100 {
		t.Errorf("only %d requests were allowed: the test says little", allowed)
	}
}

// Many grants to one principal work like one, and a grant that is revoked among
// them is gone.
func TestManyGrantsToOnePrincipal(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	alice := f.user(home, "alice", "")
	context := func(i int) map[string]string { return map[string]string{"plot": fmt.Sprint(i)} }
	var last string
	for i := range 2 * shortList {
		last = *f.grant(&kmsapi.CreateGrantInput{
			KeyId: id, GranteePrincipal: &alice.ARN, Operations: ops("Decrypt"), Constraints: &kmsapi.GrantConstraints{EncryptionContextSubset: context(i)},
		}).GrantId
	}
	decrypt := func(i int) error {
		sealed := f.encrypted(f.admin(), id, context(i))
		return second(try(f.by(alice), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: sealed, EncryptionContext: context(i)}))
	}
	wantError(t, "the first", decrypt(0), "", "")
	wantError(t, "the last", decrypt(2*shortList-1), "", "")
	wantError(t, "none", decrypt(2*shortList), denied, "")
	must(f.admin(), f, kmsapi.RevokeGrant, &kmsapi.RevokeGrantInput{KeyId: id, GrantId: last})
	wantError(t, "the revoked one", decrypt(2*shortList-1), denied, "")
	wantError(t, "another", decrypt(2*shortList-2), "", "")
}

// A grant to a user holds for the user's federated sessions, within their session
// policies, and for the user under another name.
func TestGrantsOfUsers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	alice := f.user(home, "alice", "")
	sealed := f.encrypted(f.admin(), id, nil)
	decrypt := func(c *identity.Caller) error {
		return second(try(f.by(c), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: sealed}))
	}
	federated := func(of *identity.Caller, policies ...string) *identity.Caller {
		return &identity.Caller{
			Type: identity.FederatedUser, Account: home, ARN: "arn:aws:sts::" + home + ":federated-user/fred", PrincipalID: home + ":fred",
			UserName: of.UserName, UserARN: of.ARN, UserID: of.PrincipalID, SessionPolicies: policies, IssuedAt: f.now(),
		}
	}
	everything, nothing := doc(allow("kms:*")), doc(allow("s3:*"))
	wantError(t, "before", decrypt(federated(alice, everything)), denied, "")
	g := f.grant(&kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &alice.ARN, Operations: ops("Decrypt")})
	wantError(t, "the user", decrypt(alice), "", "")
	wantError(t, "a federated session", decrypt(federated(alice, everything)), "", "")
	wantError(t, "a session whose policy allows something else", decrypt(federated(alice, nothing)), denied, "")
	wantError(t, "a session of another user", decrypt(federated(f.user(home, "bob", ""), everything)), denied, "")

	must(f.admin(), f, iamapi.UpdateUser, &iamapi.UpdateUserInput{UserName: "alice", NewUserName: new("alison")})
	alison := f.lookup(alice.AccessKeyID, "")
	if alison.ARN == alice.ARN {
		t.Fatal("the user was not renamed")
	}
	wantError(t, "the renamed user", decrypt(alison), "", "")
	wantError(t, "a session of the renamed user", decrypt(federated(alison, everything)), "", "")
	wantError(t, "a new user of the old name", decrypt(f.user(home, "alice", "")), denied, "")

	must(f.admin(), f, kmsapi.RevokeGrant, &kmsapi.RevokeGrantInput{KeyId: id, GrantId: *g.GrantId})
	wantError(t, "the renamed user after the end of the grant", decrypt(alison), denied, "")
	wantError(t, "a session after the end of the grant", decrypt(federated(alison, everything)), denied, "")
	fred := federated(alison, everything)
	f.grant(&kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &fred.ARN, Operations: ops("Decrypt")})
	wantError(t, "a grant to the session itself", decrypt(fred), "", "")
	wantError(t, "a grant to a session of the user", decrypt(alison), denied, "")
}

// What a transaction reads of itself is not kept when it fails.
func TestTransactionsLeaveNoCache(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice := f.user(home, "alice", "")
	for _, warm := range []bool{false, true} {
		t.Run(fmt.Sprintf("warm=%v", warm), func(t *testing.T) {
			id := f.key("")
			sealed := f.encrypted(f.admin(), id, nil)
			if !warm {
				f.s.forget(region, id)
			}
			decrypt := func() error {
				return second(try(f.by(alice), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: sealed}))
			}
			wantError(t, "before", decrypt(), denied, "")
			if !warm {
				f.s.forget(region, id)
			}
			undone := errors.New("undone")
			ctx, p := audit.WithPending(f.admin())
			err := f.store.Update(store.WithPending(ctx, p), func(tx *store.Tx) error {
				inside := store.WithPending(tx.Context(ctx), p)
				must(inside, f, kmsapi.CreateGrant, &kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &alice.ARN, Operations: ops("Decrypt")})
				must(inside, f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/undone", TargetKeyId: id})
				must(identity.As(inside, alice), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: sealed})
				return undone
			})
			if !errors.Is(err, undone) {
				t.Fatal(err)
			}
			wantError(t, "after", decrypt(), denied, "")
			k, err := f.s.loadKey(t.Context(), region, id)
			if err != nil {
				t.Fatal(err)
			}
			if names, err := f.s.aliasNames(t.Context(), k); err != nil || len(names) > 0 {
				t.Errorf("aliases after the transaction: %v, %v", names, err)
			}
			if k.GrantCount != 0 {
				t.Errorf("%d grants after the transaction", k.GrantCount)
			}
		})
	}
}
