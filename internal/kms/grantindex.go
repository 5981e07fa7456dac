package kms

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/authz"
)

// A key may have 50,000 grants, and they may all name one principal. The
// evaluator looks at each grant that it is given, so it is given those alone
// that can matter once there are more than shortList.
const (
	shortList = 64
	// nearMisses are given besides, for the explanation of a denial.
	nearMisses = 16
)

// grantIndex finds the grants of one grantee on one key that can allow a
// request. It is read-only once made.
type grantIndex struct {
	all []authz.Grant
	ops map[string]*grantsByContext // by operation
}

// grantsByContext are the grants of one operation, as places in all.
type grantsByContext struct {
	open []int32 // whatever the encryption context
	// equals and subset have the others by their whole constraint, or by one of
	// its pairs.
	equals, subset map[string][]int32
}

func newGrantIndex(all []authz.Grant) *grantIndex {
	x := &grantIndex{all: all, ops: map[string]*grantsByContext{}}
	type likeness struct{ op, grantee, id, source, account string }
	seen := map[likeness]bool{}
	for i := range all {
		g := &all[i]
		for _, op := range g.Operations {
			by := x.ops[op]
			if by == nil {
				by = &grantsByContext{equals: map[string][]int32{}, subset: map[string][]int32{}}
				x.ops[op] = by
			}
			equals, subset := g.Constraints.EncryptionContextEquals, g.Constraints.EncryptionContextSubset
			if o := kmsapi.GrantOperation(op); o == kmsapi.GrantOperationDescribeKey || o == kmsapi.GrantOperationRetireGrant {
				equals, subset = nil, nil // constraints do not bear on these
			}
			switch {
			case equals != nil:
				name := contextKey(equals)
				by.equals[name] = append(by.equals[name], int32(i))
			case len(subset) > 0:
				first := slices.Min(slices.Collect(maps.Keys(subset)))
				name := contextKey(map[string]string{first: subset[first]})
				by.subset[name] = append(by.subset[name], int32(i))
			default:
				// One of grants that are alike is as good as all.
				like := likeness{op, g.Grantee, g.GranteeID, g.Constraints.SourceARN, g.Account}
				if !seen[like] {
					seen[like] = true
					by.open = append(by.open, int32(i))
				}
			}
		}
	}
	return x
}

// matching returns the grants that can allow the action under the encryption
// context, and some that do not.
func (x *grantIndex) matching(action string, ec map[string]string) []authz.Grant {
	op := strings.TrimPrefix(action, "kms:")
	var places []int32
	if by := x.ops[op]; by != nil {
		places = append(places, by.open...)
		places = append(places, by.equals[contextKey(ec)]...)
		if len(by.subset) > 0 {
			for name, value := range ec {
				places = append(places, by.subset[contextKey(map[string]string{name: value})]...)
			}
		}
	}
	out := make([]authz.Grant, 0, len(places)+nearMisses)
	for _, i := range places {
		out = append(out, x.all[i])
	}
	for i := range min(nearMisses, len(x.all)) {
		if !slices.Contains(places, int32(i)) {
			out = append(out, x.all[i])
		}
	}
	return out
}

// contextKey is one text for one encryption context.
func contextKey(ec map[string]string) string {
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(ec)) {
		for _, s := range [2]string{name, ec[name]} {
			b = binary.AppendUvarint(b, uint64(len(s)))
			b = append(b, s...)
		}
	}
	return string(b)
}
