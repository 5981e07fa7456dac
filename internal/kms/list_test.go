package kms

import (
	"fmt"
	"slices"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

// walk follows a list to its end; between runs after every page.
func walk(t *testing.T, page func(marker *string) ([]string, *string, *bool, error), between func()) []string {
	t.Helper()
	var all []string
	var marker *string
	for range 1000 {
		names, next, truncated, err := page(marker)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, names...)
		if *truncated != (next != nil) {
			t.Fatalf("Truncated is %t with marker %v", *truncated, next)
		}
		if next == nil {
			return all
		}
		marker = next
		between()
	}
	t.Fatal("the list does not end")
	return nil
}

// TestListsPage: with rows coming and going between the pages, what stays is
// listed exactly once.
func TestListsPage(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice := f.user(home, "alice", "").ARN
	id := f.key("")
	limit := new(int32(3))
	type list struct {
		add    func(i int) string
		remove func(name string)
		page   func(marker *string) ([]string, *string, *bool, error)
	}
	grant := func(int) string {
		return *f.grant(&kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: &alice, RetiringPrincipal: &alice, Operations: ops("Decrypt")}).GrantId
	}
	revoke := func(g string) {
		must(f.admin(), f, kmsapi.RevokeGrant, &kmsapi.RevokeGrantInput{KeyId: id, GrantId: g})
	}
	grantIDs := func(g []kmsapi.GrantListEntry) (names []string) {
		for _, e := range g {
			names = append(names, *e.GrantId)
		}
		return names
	}
	for name, l := range map[string]list{
		"ListKeys": {
			func(int) string { return f.key("") }, nil,
			func(m *string) (names []string, _ *string, _ *bool, _ error) {
				out, err := try(f.admin(), f, kmsapi.ListKeys, &kmsapi.ListKeysInput{Limit: limit, Marker: m})
				if err != nil {
					return nil, nil, nil, err
				}
				for _, k := range out.Keys {
					names = append(names, *k.KeyId)
				}
				return names, out.NextMarker, out.Truncated, nil
			},
		},
		"ListAliases": {
			func(i int) string {
				n := fmt.Sprintf("alias/l%d", i)
				must(f.admin(), f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: n, TargetKeyId: id})
				return n
			},
			func(n string) { must(f.admin(), f, kmsapi.DeleteAlias, &kmsapi.DeleteAliasInput{AliasName: n}) },
			func(m *string) (names []string, _ *string, _ *bool, _ error) {
				out, err := try(f.admin(), f, kmsapi.ListAliases, &kmsapi.ListAliasesInput{Limit: limit, Marker: m, KeyId: &id})
				if err != nil {
					return nil, nil, nil, err
				}
				for _, a := range out.Aliases {
					names = append(names, *a.AliasName)
				}
				return names, out.NextMarker, out.Truncated, nil
			},
		},
		"ListGrants": {grant, revoke, func(m *string) ([]string, *string, *bool, error) {
			out, err := try(f.admin(), f, kmsapi.ListGrants, &kmsapi.ListGrantsInput{KeyId: id, Limit: limit, Marker: m})
			if err != nil {
				return nil, nil, nil, err
			}
			return grantIDs(out.Grants), out.NextMarker, out.Truncated, nil
		}},
		"ListGrants of a grantee": {grant, revoke, func(m *string) ([]string, *string, *bool, error) {
			out, err := try(f.admin(), f, kmsapi.ListGrants, &kmsapi.ListGrantsInput{KeyId: id, Limit: limit, Marker: m, GranteePrincipal: &alice})
			if err != nil {
				return nil, nil, nil, err
			}
			return grantIDs(out.Grants), out.NextMarker, out.Truncated, nil
		}},
		"ListRetirableGrants": {grant, revoke, func(m *string) ([]string, *string, *bool, error) {
			out, err := try(f.admin(), f, kmsapi.ListRetirableGrants, &kmsapi.ListRetirableGrantsInput{RetiringPrincipal: &alice, Limit: limit, Marker: m})
			if err != nil {
				return nil, nil, nil, err
			}
			return grantIDs(out.Grants), out.NextMarker, out.Truncated, nil
		}},
		"ListResourceTags": {
			func(i int) string {
				n := fmt.Sprintf("t%02d", i)
				must(f.admin(), f, kmsapi.TagResource, &kmsapi.TagResourceInput{KeyId: id, Tags: []kmsapi.Tag{{TagKey: n, TagValue: "v"}}})
				return n
			},
			func(n string) {
				must(f.admin(), f, kmsapi.UntagResource, &kmsapi.UntagResourceInput{KeyId: id, TagKeys: []string{n, "absent"}})
			},
			func(m *string) (names []string, _ *string, _ *bool, _ error) {
				out, err := try(f.admin(), f, kmsapi.ListResourceTags, &kmsapi.ListResourceTagsInput{KeyId: id, Limit: limit, Marker: m})
				if err != nil {
					return nil, nil, nil, err
				}
				for _, tag := range out.Tags {
					names = append(names, tag.TagKey)
				}
				return names, out.NextMarker, out.Truncated, nil
			},
		},
		"ListKeyRotations": {
			func(int) string {
				must(f.admin(), f, kmsapi.RotateKeyOnDemand, &kmsapi.RotateKeyOnDemandInput{KeyId: id})
				return f.row(id).Materials[len(f.row(id).Materials)-1].ID
			}, nil,
			func(m *string) (names []string, _ *string, _ *bool, _ error) {
				out, err := try(f.admin(), f, kmsapi.ListKeyRotations, &kmsapi.ListKeyRotationsInput{KeyId: id, Limit: limit, Marker: m})
				if err != nil {
					return nil, nil, nil, err
				}
				for _, e := range out.Rotations {
					names = append(names, *e.KeyMaterialId)
				}
				return names, out.NextMarker, out.Truncated, nil
			},
		},
	} {
		n := 0
		add := func() string { n++; return l.add(n) }
		var stay, leave []string
		for i := range 10 {
			if x := add(); i%3 == 0 && l.remove != nil {
				leave = append(leave, x)
			} else {
				stay = append(stay, x)
			}
		}
		got := walk(t, l.page, func() {
			if n < 16 {
				add()
			}
			if len(leave) > 0 {
				l.remove(leave[0])
				leave = leave[1:]
			}
		})
		slices.Sort(got)
		if len(slices.Compact(slices.Clone(got))) != len(got) {
			t.Errorf("%s lists something twice: %v", name, got)
		}
		for _, x := range stay {
			if !slices.Contains(got, x) {
				t.Errorf("%s lacks %s", name, x)
			}
		}
	}
}

func TestMarkersBelongToTheirList(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	one, two := f.key(""), f.key("")
	for range 2 {
		for _, id := range []string{one, two} {
			f.grant(&kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: new(rootARN(home)), Operations: ops("Decrypt")})
		}
	}
	marker := must(f.admin(), f, kmsapi.ListGrants, &kmsapi.ListGrantsInput{KeyId: one, Limit: new(int32(1))}).NextMarker
	for name, err := range map[string]error{
		"another key":       second(try(f.admin(), f, kmsapi.ListGrants, &kmsapi.ListGrantsInput{KeyId: two, Marker: marker})),
		"another filter":    second(try(f.admin(), f, kmsapi.ListGrants, &kmsapi.ListGrantsInput{KeyId: one, Marker: marker, GranteePrincipal: new(rootARN(home))})),
		"another operation": second(try(f.admin(), f, kmsapi.ListKeys, &kmsapi.ListKeysInput{Marker: marker})),
		"another account":   second(try(f.by(root(abroad)), f, kmsapi.ListKeys, &kmsapi.ListKeysInput{Marker: marker})),
		"nonsense":          second(try(f.admin(), f, kmsapi.ListKeys, &kmsapi.ListKeysInput{Marker: new("AAAA")})),
	} {
		wantError(t, name, err, "InvalidMarkerException", "")
	}
	f.pass(25 * day / 24)
	_, err := try(f.admin(), f, kmsapi.ListGrants, &kmsapi.ListGrantsInput{KeyId: one, Marker: marker})
	wantError(t, "an old marker", err, "InvalidMarkerException", "")
}

// Lists show the caller's account and region and nothing else.
func TestIsolation(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	contexts := map[string]func() (keys, aliases []string){}
	for _, account := range []string{home, abroad} {
		for _, r := range []string{region, elsewhere} {
			ctx := f.in(r, root(account))
			id := f.keyOf(ctx, "")
			must(ctx, f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/same", TargetKeyId: id})
			if got := must(ctx, f, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: "alias/same"}).KeyMetadata; got.KeyId != id {
				t.Errorf("the alias of %s in %s names %s", account, r, got.KeyId)
			}
			contexts[id] = func() (keys, aliases []string) {
				for _, k := range must(ctx, f, kmsapi.ListKeys, &kmsapi.ListKeysInput{}).Keys {
					keys = append(keys, *k.KeyId)
				}
				for _, a := range must(ctx, f, kmsapi.ListAliases, &kmsapi.ListAliasesInput{}).Aliases {
					aliases = append(aliases, *a.TargetKeyId)
				}
				return keys, aliases
			}
		}
	}
	for id, list := range contexts {
		k, a := list()
		if !slices.Equal(k, []string{id}) || !slices.Equal(a, []string{id}) {
			t.Errorf("keys %v, aliases %v, want %s alone", k, a, id)
		}
	}
	_, err := try(f.by(root(abroad)), f, kmsapi.ListRetirableGrants, &kmsapi.ListRetirableGrantsInput{RetiringPrincipal: new(rootARN(home))})
	wantError(t, "another account's retirable grants", err, "InvalidArnException", "")
}
