package kms

import (
	"encoding/binary"
	"hash/maphash"
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
// request. It is read-only once made. Of grants that are alike it has one.
type grantIndex struct {
	seed maphash.Seed
	// all are the grants, unless they take too much memory: then they are read from
	// the store by their ids, and near are some of them.
	all  []authz.Grant
	ids  []string
	near []authz.Grant
	// ops gives each operation a bit, masks has those of each grant.
	ops   map[string]uint64
	masks []uint64
	// kin says which grants differ in their operations and encryption contexts
	// alone, likes which differ in their contexts alone; sources has the source that
	// each of these kinds is for.
	kin, likes []int32
	sources    []string

	open   []openGrant
	equals map[uint64][]int32       // by the whole constraint
	subset map[uint64][]subsetGrant // by one of its pairs

	most   int // bytes that all may take
	held   int // bytes, about, of all, or of near
	marked int // bytes, about, of the rest
	known  map[likeness]int32
	seen   map[sameGrant]bool
	texts  map[string]string
	lists  map[string][]string
}

// openGrant is a grant that its operations of the mask have whatever the
// encryption context.
type openGrant struct {
	place int32
	mask  uint64
}

type subsetGrant struct {
	place int32
	rest  []uint64 // further pairs
}

// likeness is what grants have besides an encryption context.
type likeness struct {
	mask                       uint64
	grantee, id, source, owner string
	unknown                    bool
}

type sameGrant struct {
	like    int32
	kind    byte
	context uint64
}

// About what a grant takes in memory.
const (
	grantBytes   = 200 // with its id
	pairsBytes   = 340 // a map of up to eight pairs
	markBytes    = 120 // its part of an index
	nearBytes    = 4 << 10
	fewAndSimple = 1000 // grants that are read without waiting for one's turn
)

// newGrantIndex returns an index of grants to be added that keeps them if they take
// no more than most bytes.
func newGrantIndex(most int) *grantIndex {
	return &grantIndex{
		seed: maphash.MakeSeed(), ops: map[string]uint64{}, equals: map[uint64][]int32{}, subset: map[uint64][]subsetGrant{}, most: most,
		known: map[likeness]int32{}, seen: map[sameGrant]bool{}, texts: map[string]string{}, lists: map[string][]string{},
	}
}

// done ends the adding.
func (x *grantIndex) done() { x.known, x.seen, x.texts, x.lists = nil, nil, nil, nil }

// size is about what the index takes, in bytes.
func (x *grantIndex) size() int { return x.held + x.marked }

// sizeOf is about what a grant takes, in bytes.
func sizeOf(g *authz.Grant) int {
	n := grantBytes
	for _, pairs := range []map[string]string{g.Constraints.EncryptionContextEquals, g.Constraints.EncryptionContextSubset} {
		if pairs != nil {
			n += pairsBytes
		}
		for name, value := range pairs {
			n += len(name) + len(value)
		}
	}
	return n
}

// text returns one copy of equal texts.
func (x *grantIndex) text(s string) string {
	if known, ok := x.texts[s]; ok {
		return known
	}
	x.texts[s] = s
	x.marked += len(s)
	return s
}

// share makes a grant use what others before it have, too.
func (x *grantIndex) share(g *authz.Grant) {
	g.Grantee, g.GranteeID, g.Account = x.text(g.Grantee), x.text(g.GranteeID), x.text(g.Account)
	g.Constraints.SourceARN = x.text(g.Constraints.SourceARN)
	name := strings.Join(g.Operations, " ")
	if x.lists[name] == nil {
		x.lists[name] = g.Operations
		x.marked += len(name)
	}
	g.Operations = x.lists[name]
}

// mask returns the bits of operations.
func (x *grantIndex) mask(ops []string) (m uint64) {
	for _, op := range ops {
		if x.ops[op] == 0 {
			x.ops[op] = 1 << min(len(x.ops), 63) // there are far fewer
		}
		m |= x.ops[op]
	}
	return m
}

// add takes up a grant.
func (x *grantIndex) add(g authz.Grant) {
	x.share(&g)
	c := &g.Constraints
	mask := x.mask(g.Operations)
	var free []string // constraints on the encryption context do not bear on these
	for _, op := range g.Operations {
		if o := kmsapi.GrantOperation(op); o == kmsapi.GrantOperationDescribeKey || o == kmsapi.GrantOperationRetireGrant {
			free = append(free, op)
		}
	}
	like := likeness{mask: mask, grantee: g.Grantee, id: g.GranteeID, source: c.SourceARN, owner: g.Account, unknown: c.Unknown}
	number := x.kind(like)
	like.mask = 0
	kin := x.kind(like)
	place, found := int32(len(x.masks)), false
	fresh := func(kind byte, context uint64) bool {
		key := sameGrant{number, kind, context}
		if x.seen[key] {
			return false
		}
		x.seen[key], found = true, true
		return true
	}
	open := mask
	switch {
	case c.EncryptionContextEquals != nil:
		open = x.mask(free)
		if hash := x.hash(c.EncryptionContextEquals); fresh('=', hash) {
			x.equals[hash] = append(x.equals[hash], place)
		}
	case len(c.EncryptionContextSubset) > 0:
		open = x.mask(free)
		if fresh('<', x.hash(c.EncryptionContextSubset)) {
			var pairs []uint64
			for _, name := range slices.Sorted(maps.Keys(c.EncryptionContextSubset)) {
				pairs = append(pairs, x.pair(name, c.EncryptionContextSubset[name]))
			}
			x.subset[pairs[0]] = append(x.subset[pairs[0]], subsetGrant{place, slices.Clip(pairs[1:])})
			x.marked += 8 * len(pairs)
		}
	}
	if open != 0 && fresh('*', open) {
		x.open = append(x.open, openGrant{place, open})
	}
	if !found {
		return
	}
	x.masks, x.kin, x.likes = append(x.masks, mask), append(x.kin, kin), append(x.likes, number)
	x.marked += markBytes
	x.keep(g)
}

// kind numbers likenesses.
func (x *grantIndex) kind(like likeness) int32 {
	number, ok := x.known[like]
	if !ok {
		number = int32(len(x.sources))
		x.known[like] = number
		x.sources = append(x.sources, like.source)
	}
	return number
}

// keep holds a grant, or its id once they take too much.
func (x *grantIndex) keep(g authz.Grant) {
	if x.ids != nil {
		x.ids = append(x.ids, g.ID)
		x.held += grantBytes / 2
		return
	}
	x.all = append(x.all, g)
	if x.held += sizeOf(&g); x.held <= x.most {
		return
	}
	x.held = 0
	for i := range x.all {
		one := &x.all[i]
		x.ids = append(x.ids, one.ID)
		x.held += grantBytes / 2
		if n := sizeOf(one); n <= nearBytes && len(x.near) < nearMisses {
			x.near = append(x.near, *one)
			x.held += n
		}
	}
	x.all = nil
}

// matching returns the grants that can allow the action for the source under the
// encryption context, and some that do not. Of those that the index does not hold
// it returns the ids.
func (x *grantIndex) matching(action, source string, ec map[string]string) (out []authz.Grant, ids []string) {
	op := strings.TrimPrefix(action, "kms:")
	bit, kinds := x.ops[op], x.kin
	if op == string(kmsapi.GrantOperationCreateGrant) {
		kinds = x.likes // what else a grant lists matters for what it can lend
	}
	anySource := op == string(kmsapi.GrantOperationRetireGrant)
	var places []int32
	seen := map[int32]bool{} // one of a kind is as good as all
	take := func(place int32) {
		kind := kinds[place]
		if from := x.sources[kind]; x.masks[place]&bit == 0 || from != "" && from != source && !anySource || seen[kind] {
			return
		}
		seen[kind] = true
		places = append(places, place)
	}
	if bit != 0 {
		for _, g := range x.open {
			if g.mask&bit != 0 {
				take(g.place)
			}
		}
		if len(x.subset) > 0 {
			x.takeSubsets(ec, take)
		}
		if len(x.equals) > 0 {
			for _, place := range x.equals[x.hash(ec)] {
				take(place)
			}
		}
	}
	if x.ids != nil {
		for _, place := range places {
			ids = append(ids, x.ids[place])
		}
		return slices.Clone(x.near), ids
	}
	out = make([]authz.Grant, 0, len(places)+nearMisses)
	for _, place := range places {
		out = append(out, x.all[place])
	}
	for i := range min(nearMisses, len(x.all)) {
		if !slices.Contains(places, int32(i)) {
			out = append(out, x.all[i])
		}
	}
	return out, nil
}

func (x *grantIndex) takeSubsets(ec map[string]string, take func(place int32)) {
	pairs := make(map[uint64]bool, len(ec))
	for name, value := range ec {
		pairs[x.pair(name, value)] = true
	}
	for pair := range pairs {
		for _, g := range x.subset[pair] {
			if !slices.ContainsFunc(g.rest, func(p uint64) bool { return !pairs[p] }) {
				take(g.place)
			}
		}
	}
}

// hash stands for an encryption context, pair for one of its pairs.
func (x *grantIndex) hash(ec map[string]string) uint64 { return maphash.String(x.seed, contextKey(ec)) }

func (x *grantIndex) pair(name, value string) uint64 {
	return x.hash(map[string]string{name: value})
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
