package kms

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/store"
)

// cachedKey is a key as the cache holds it: valid while its epoch stands.
type cachedKey struct {
	keyRow
	epoch  uint64
	policy *authz.Policy
	size   int // bytes, about, that the policy takes
	// keyStore is the external key store of a key in one, as of storeEpoch.
	keyStore   keyStoreRow
	storeEpoch uint64
	changes    time.Time // see keyRow.nextChange

	mu        sync.Mutex
	grants    map[string][]authz.Grant // by grantee, or the id of a service's grant, loaded when asked for
	large     map[string]*grantIndex   // by grantee, those with many
	charged   int                      // bytes, about, that grants and large take
	materials map[string]*opened       // by material id
	retired   bool                     // not in the cache: holds no material
	aliases   []string                 // for kms:ResourceAliases
	aliased   bool

	// loading lets one request read grants for all that wait for them.
	loading sync.Mutex
	granted int // charged as the cache knows it; under its lock
}

// keyCache holds the keys in use. It is bounded, by their number, by what their
// policies take (an overfull cache starts anew) and by what their grants take: see
// charge.
type keyCache struct {
	mu      sync.RWMutex
	entries map[string]*cachedKey
	held    int // bytes of policies
	granted int // bytes of grants
}

const (
	maxCachedKeys  = 20_000
	maxCachedBytes = 96 << 20 // a compiled key policy can take forty times its length
)

// maxKeyReads bounds how often a request reads a key that changes under it.
const maxKeyReads = 10

// loadKey returns the key of (region, id), or store.ErrNotFound.
func (s *Service) loadKey(ctx context.Context, region, id string) (*cachedKey, error) {
	for range maxKeyReads {
		if k, err := s.readKey(ctx, region, id); k != nil || err != nil {
			return k, err
		}
	}
	return nil, fmt.Errorf("kms: key %s in %s does not come to rest", id, region)
}

// readKey returns the key from the cache or the rows; nil without an error when
// it has changed meanwhile, or by itself, and is to be read again.
func (s *Service) readKey(ctx context.Context, region, id string) (*cachedKey, error) {
	name := epoch(region, id)
	s.cache.mu.RLock()
	k := s.cache.entries[name]
	s.cache.mu.RUnlock()
	joined := s.cfg.Store.InTransaction(ctx)
	if joined {
		k = nil // what it reads is the transaction's own, which may not be committed
	}
	if k == nil && !s.cfg.Store.EpochKnown(name) {
		// A counter, once asked for, stays in memory: ask only for keys that are there.
		err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
			found, err := keys.Exists(tx, region, id)
			if err == nil && !found {
				err = store.ErrNotFound
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	// The epoch is read before the rows: what is bumped later makes the entry stale.
	now := s.cfg.Store.Epoch(name)
	if k != nil && k.epoch == now && s.connectedAsRead(k) && !s.mustChange(k) {
		return k, nil
	}
	k = &cachedKey{epoch: now, grants: map[string][]authz.Grant{}, materials: map[string]*opened{}}
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var err error
		k.keyRow, err = keys.Get(tx, region, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	if k.changeDue(s.cfg.Now()) {
		return nil, s.applyChanges(ctx, region, id)
	}
	k.changes = k.nextChange()
	if err := s.joinStore(ctx, k); err != nil {
		return nil, err
	}
	if !joined && s.lacksEpoch(&k.keyRow) {
		if s.cfg.Store.Epoch(name) != now { // an erasure has wrapped it anew meanwhile
			return nil, nil
		}
		s.lose(&k.keyRow)
	}
	k.policy = s.policies.of(&k.keyRow)
	if joined {
		k.retired = true
		return k, nil
	}
	k, gone := s.keep(name, k)
	retireAll(gone)
	return k, nil
}

// keep caches a key and returns those that went for it. What has changed meanwhile
// is used, for this request, but not kept. Of those who read a key at one time all
// use what the first has cached, so that they read its grants once.
func (s *Service) keep(name string, k *cachedKey) (kept *cachedKey, gone []*cachedKey) {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	if !s.current(k) {
		k.retired = true
		return k, nil
	}
	if first := s.cache.entries[name]; first != nil && s.current(first) && !s.mustChange(first) {
		return first, nil
	}
	return k, s.cache.put(name, k)
}

// put keeps a key. The caller holds the lock, and retires what is returned when it
// does no more: a key may be busy.
func (c *keyCache) put(name string, k *cachedKey) (gone []*cachedKey) {
	gone = c.drop(name)
	if k.policy != nil {
		k.size = k.policy.Size()
	}
	if len(c.entries) >= maxCachedKeys || c.held+k.size > maxCachedBytes {
		gone = slices.AppendSeq(gone, maps.Values(c.entries))
		clear(c.entries)
		c.held, c.granted = 0, 0
	}
	c.entries[name] = k
	c.held += k.size
	return gone
}

// drop forgets a key. The caller does as for put.
func (c *keyCache) drop(name string) (gone []*cachedKey) {
	k := c.entries[name]
	if k == nil {
		return nil
	}
	c.held -= k.size
	c.granted -= k.granted
	delete(c.entries, name)
	return []*cachedKey{k}
}

func retireAll(gone []*cachedKey) {
	for _, k := range gone {
		k.retire()
	}
}

// forget drops a key that has changed from the cache, and with it the last that
// memory holds of its material once the requests under way have ended.
func (s *Service) forget(region, id string) {
	s.cache.mu.Lock()
	gone := s.cache.drop(epoch(region, id))
	s.cache.mu.Unlock()
	retireAll(gone)
}

// forgetStale drops every key that has changed since it was cached, on this node
// or another, and was not asked for again.
func (s *Service) forgetStale() {
	s.cache.mu.RLock()
	var stale []string
	for name, k := range s.cache.entries {
		if !s.current(k) {
			stale = append(stale, name)
		}
	}
	s.cache.mu.RUnlock()
	var gone []*cachedKey
	s.cache.mu.Lock()
	for _, name := range stale {
		if k := s.cache.entries[name]; k != nil && !s.current(k) {
			gone = append(gone, s.cache.drop(name)...)
		}
	}
	s.cache.mu.Unlock()
	retireAll(gone)
}

// Epoch returns the counter that every change of the key bumps. For an ARN that
// names no key each call returns another number: nothing kept under it is valid.
// So it is for a key in an external key store, whose proxy decides every use anew.
func (s *Service) Epoch(region, arn string) uint64 {
	_, id, _ := strings.Cut(arn, ":key/")
	if !validKeyID(id) {
		return noEpoch()
	}
	name := epoch(region, id)
	s.cache.mu.RLock()
	cached := s.cache.entries[name]
	s.cache.mu.RUnlock()
	if cached != nil {
		if cached.external() {
			return noEpoch()
		}
		if now := s.cfg.Store.Epoch(name); now != cached.epoch || !s.mustChange(cached) {
			return now
		}
		return noEpoch() // imported material has expired, and no request has met the key since
	}
	// A counter, once asked for, stays in memory: ask only for keys that are there.
	var k keyRow
	err := s.cfg.Store.View(context.Background(), func(tx *store.Tx) error {
		var err error
		k, err = keys.Get(tx, region, id)
		return err
	})
	if err != nil || k.external() || k.changeDue(s.cfg.Now()) {
		return noEpoch()
	}
	return s.cfg.Store.Epoch(name)
}

// noEpoch is a number that no counter reaches and that does not come again.
func noEpoch() uint64 { return rand.Uint64() | 1<<63 }
