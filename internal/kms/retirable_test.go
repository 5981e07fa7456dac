package kms

import (
	"fmt"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/store"
)

// TestRetirableByService: who lists what a service may retire meets the grants of
// its own account alone: their pages tell of no others.
func TestRetirableByService(t *testing.T) {
	t.Parallel()
	const service = "sagemaker.us-west-2.amazonaws.com"
	f := newFixture(t)
	keyOf := map[string]string{home: f.key(""), abroad: f.keyOf(f.by(root(abroad)), "")}
	grant := func(account string) string {
		return *must(f.by(root(account)), f, kmsapi.CreateGrant, &kmsapi.CreateGrantInput{
			KeyId: keyOf[account], GranteeServicePrincipal: new(service), RetiringServicePrincipal: new(service), Operations: ops("Decrypt"),
			Constraints: &kmsapi.GrantConstraints{SourceArn: new("arn:aws:sagemaker:us-west-2:" + account + ":job/j")},
		}).GrantId
	}
	// before makes a grant one of those that were written without ByIssuer.
	before := func(account, id string) {
		t.Helper()
		if err := f.store.Update(t.Context(), func(tx *store.Tx) error {
			g, err := grants.Get(tx, region, keyOf[account], id)
			if err != nil {
				return err
			}
			g.ByIssuer = false
			return grants.Put(tx, g, region, keyOf[account], id)
		}); err != nil {
			t.Fatal(err)
		}
	}
	list := func(account string, limit int32) (found map[string]int, pages int) {
		found = map[string]int{}
		in := &kmsapi.ListRetirableGrantsInput{RetiringServicePrincipal: new(service), Limit: &limit}
		for {
			out := must(f.by(root(account)), f, kmsapi.ListRetirableGrants, in)
			pages++
			if len(out.Grants) > int(limit) {
				t.Errorf("%d grants on a page of %d", len(out.Grants), limit)
			}
			for _, g := range out.Grants {
				found[*g.GrantId]++
			}
			if in.Marker = out.NextMarker; in.Marker == nil {
				return found, pages
			}
		}
	}
	var mine []string
	for range 5 {
		mine = append(mine, grant(home))
	}
	for range 30 {
		grant(abroad)
	}
	if found, pages := list(home, 5); len(found) != 5 || pages != 1 {
		t.Errorf("%d grants on %d pages, want 5 on 1", len(found), pages)
	}
	if found, pages := list(home, 2); len(found) != 5 || pages != 3 {
		t.Errorf("%d grants on %d pages, want 5 on 3", len(found), pages)
	}
	if found, _ := list(abroad, 7); len(found) != 30 {
		t.Errorf("%d grants of the other account, want 30", len(found))
	}

	for _, id := range mine[:3] {
		before(home, id)
	}
	for range 2 {
		before(abroad, grant(abroad))
	}
	for limit := range int32(7) {
		found, _ := list(home, limit+1)
		for _, id := range mine {
			if found[id] != 1 || len(found) != len(mine) {
				t.Fatalf("pages of %d have %v, want each of %v once", limit+1, found, mine)
			}
		}
	}
	if found, _ := list(abroad, 3); len(found) != 32 {
		t.Errorf("%d grants of the other account, want 32", len(found))
	}
	must(f.admin(), f, kmsapi.RevokeGrant, &kmsapi.RevokeGrantInput{KeyId: keyOf[home], GrantId: mine[0]})
	must(f.admin(), f, kmsapi.RevokeGrant, &kmsapi.RevokeGrantInput{KeyId: keyOf[home], GrantId: mine[4]})
	if found, _ := list(home, 1); len(found) != 3 {
		t.Errorf("%d grants after two were revoked, want 3", len(found))
	}
}

// TestGrantNameOfBefore: the same call under the same name finds the grant that was
// written without ByIssuer.
func TestGrantNameOfBefore(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	in := func() *kmsapi.CreateGrantInput {
		return &kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: new(rootARN(home)), Operations: ops("Decrypt"), Name: new("n")}
	}
	first := *f.grant(in()).GrantId
	err := f.store.Update(t.Context(), func(tx *store.Tx) error {
		g, err := grants.Get(tx, region, id, first)
		if err != nil {
			return err
		}
		if !g.ByIssuer {
			return fmt.Errorf("grant %s is not listed by its issuer", first)
		}
		g.ByIssuer = false
		return grants.Put(tx, g, region, id, first)
	})
	if err != nil {
		t.Fatal(err)
	}
	if again := *f.grant(in()).GrantId; again != first {
		t.Errorf("the same name gave %s and %s", first, again)
	}
}
