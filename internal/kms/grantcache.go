package kms

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/store"
)

// maxCachedGrantees bounds the grantees whose grants one key caches: a role has
// as many session names as its caller likes.
const maxCachedGrantees = 1000

// grantRoom bounds what cached grants take, in bytes.
type grantRoom struct {
	list int // of one grantee on one key; of more the ids alone are kept
	key  int // of one key
	all  int // of all keys
}

// usualRoom has room for 50,000 small grants in one list.
var usualRoom = grantRoom{list: 48 << 20, key: 64 << 20, all: 128 << 20}

// largeGrants is what the grants of one key take when they are the first to go.
const largeGrants = 1 << 20

// grantee is whom a list of grants is for. Those of a user are found under the name
// that they give and under the unique id: not is the name, so that no grant is in
// two lists.
type grantee struct{ name, not string }

// key is the name of the list in the cache.
func (g grantee) key() string {
	if g.not == "" {
		return g.name
	}
	return g.name + " " + g.not
}

// grantsOf returns the grants on the key that name the grantee, cached with it;
// of many, those that can allow the action.
func (s *Service) grantsOf(ctx context.Context, k *cachedKey, to grantee, source string, c *call) ([]authz.Grant, error) {
	few, x, err := s.grantList(ctx, k, to)
	if err != nil || x == nil {
		return few, err
	}
	out, ids := x.matching(c.action, source, c.ec)
	if len(ids) == 0 {
		return out, nil
	}
	held := len(out)
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		out = out[:held]
		for _, id := range ids {
			row, err := grants.Get(tx, k.Region, k.ID, id)
			if isNotFound(err) {
				continue // revoked meanwhile
			}
			if err != nil {
				return err
			}
			g := row.authz()
			lend(&g.Constraints, c.ec)
			out = append(out, g)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("kms: read grants: %w", err)
	}
	return out, nil
}

// lend makes constraints that the encryption context meets use its memory.
func lend(c *authz.GrantConstraints, ec map[string]string) {
	if len(ec) > 0 && maps.Equal(c.EncryptionContextEquals, ec) {
		c.EncryptionContextEquals = ec
	}
	met := map[string]string{}
	for name, value := range ec {
		if v, ok := c.EncryptionContextSubset[name]; ok && v == value {
			met[name] = value
		}
	}
	if len(met) > 0 && len(met) == len(c.EncryptionContextSubset) {
		c.EncryptionContextSubset = met
	}
}

// cachedGrants returns what the key has cached of a list.
func (k *cachedKey) cachedGrants(name string) (few []authz.Grant, x *grantIndex, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if x = k.large[name]; x != nil {
		return nil, x, true
	}
	few, ok = k.grants[name]
	return few, nil, ok
}

// grantList returns the grants on the key that name the grantee, as an index when
// they are many or large.
func (s *Service) grantList(ctx context.Context, k *cachedKey, to grantee) ([]authz.Grant, *grantIndex, error) {
	name := to.key()
	if few, x, ok := k.cachedGrants(name); ok {
		return few, x, nil
	}
	k.loading.Lock()
	defer k.loading.Unlock()
	if few, x, ok := k.cachedGrants(name); ok {
		return few, x, nil
	}
	x, err := s.readGrants(ctx, k, to, true)
	if errors.Is(err, errManyGrants) {
		// Each of those who read many at one time would hold them.
		leave, err := s.indexing.enter(ctx, s.cfg.Customer(ctx, k.Account))
		if err != nil {
			return nil, nil, err
		}
		defer leave()
		if x, err = s.readGrants(ctx, k, to, false); err != nil {
			return nil, nil, fmt.Errorf("kms: read grants: %w", err)
		}
	} else if err != nil {
		return nil, nil, fmt.Errorf("kms: read grants: %w", err)
	}
	if len(x.all) <= shortList && x.ids == nil {
		s.cacheGrants(k, grantBytes+x.size(), func() { k.grants[name] = x.all })
		return x.all, nil, nil
	}
	s.cacheGrants(k, grantBytes+x.size(), func() { k.large[name] = x })
	return nil, x, nil
}

var errManyGrants = errors.New("kms: too many grants to be read by the way")

// readGrants reads the grants on the key that name the grantee, or returns
// errManyGrants when only few are wanted.
func (s *Service) readGrants(ctx context.Context, k *cachedKey, to grantee, few bool) (x *grantIndex, err error) {
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		x = newGrantIndex(s.room.list)
		n := 0
		for row, err := range grants.ByIndex(tx, "grantee", store.Key{k.Region, k.ID, to.name}, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			if n++; few && (n > fewAndSimple || x.size() > largeGrants) {
				return errManyGrants
			}
			if g := row.Value.authz(); !g.GranteeIsService && g.Grantee != to.not {
				x.add(g)
			}
		}
		return nil
	})
	if x != nil {
		x.done()
	}
	return x, err
}

// grantOf returns the one grant of the id if it is a service's, cached with the
// key.
func (s *Service) grantOf(ctx context.Context, k *cachedKey, id string) ([]authz.Grant, error) {
	if g, _, ok := k.cachedGrants(id); ok {
		return g, nil
	}
	var out []authz.Grant
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		out = nil
		row, err := grants.Get(tx, k.Region, k.ID, id)
		if isNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if g := row.authz(); g.GranteeIsService {
			out = append(out, g)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("kms: read grant: %w", err)
	}
	size := grantBytes
	for i := range out {
		size += sizeOf(&out[i])
	}
	s.cacheGrants(k, size, func() { k.grants[id] = out })
	return out, nil
}

// cacheGrants keeps grants with their key; those that it had go when there are too
// many.
func (s *Service) cacheGrants(k *cachedKey, size int, set func()) {
	k.mu.Lock()
	before := k.charged
	if len(k.grants)+len(k.large) >= maxCachedGrantees || k.charged+size > s.room.key {
		clear(k.grants)
		clear(k.large)
		k.charged = 0
	}
	if k.large == nil {
		k.large = map[string]*grantIndex{}
	}
	set()
	k.charged += size
	more := k.charged - before
	k.mu.Unlock()
	retireAll(s.cache.charge(k, more, s.room.all))
}

// charge counts what a key's grants take more, and drops the keys with large
// grants, then those with any, when all take more than most. The caller retires
// what is returned.
func (c *keyCache) charge(k *cachedKey, more, most int) (gone []*cachedKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := epoch(k.Region, k.ID)
	if c.entries[name] != k {
		return nil // it goes with the requests that use it
	}
	k.granted += more
	c.granted += more
	for _, least := range [2]int{largeGrants, 1} {
		if c.granted <= most {
			break
		}
		for name, other := range c.entries {
			if other != k && other.granted >= least {
				gone = append(gone, c.drop(name)...)
			}
		}
	}
	return gone
}
