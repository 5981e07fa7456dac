package kms

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/protocol"
)

// fairLimiter is the Limiter of ThrottleFair.
type fairLimiter struct {
	now func() time.Time
	// most is the number of requests at work from which on there are shares.
	most int64
	// customerOf names the customer of an account.
	customerOf func(ctx context.Context, account string) string

	working   atomic.Int64 // requests of all accounts
	accounts  census
	customers census

	mu      sync.RWMutex
	tenants map[string]*tenant   // by account
	buyers  map[string]*customer // by name
}

// tenant is an account. There are no more than accounts.
type tenant struct {
	l        *fairLimiter
	customer *customer
	share
}

// workPerCPU is how many requests at work are enough to keep a processor busy
// while records are synced.
const workPerCPU = 32

func newFairLimiter(now func() time.Time, customerOf func(context.Context, string) string) *fairLimiter {
	return &fairLimiter{
		now: now, customerOf: customerOf, most: int64(workPerCPU * runtime.GOMAXPROCS(0)),
		tenants: map[string]*tenant{}, buyers: map[string]*customer{},
	}
}

// Enter implements protocol.Limiter. Who calls pays, not who owns the key.
//
// Errors: ThrottlingException.
func (l *fairLimiter) Enter(ctx context.Context, _ *schema.Operation, _ any) (protocol.Lease, error) {
	account := callerAccount(ctx)
	t := l.tenant(account, l.customerOf(ctx, account))
	if !l.fair(t, l.now().Unix()) {
		return nil, throttled()
	}
	l.working.Add(1)
	t.working.Add(1)
	t.customer.working.Add(1)
	return t, nil
}

// Leave implements protocol.Lease.
func (t *tenant) Leave() {
	t.working.Add(-1)
	t.customer.working.Add(-1)
	t.l.working.Add(-1)
}

// tenant returns an account's tenant under its customer, another one when it has
// joined an organization or left it.
func (l *fairLimiter) tenant(account, name string) *tenant {
	l.mu.RLock()
	t := l.tenants[account]
	l.mu.RUnlock()
	if t != nil && t.customer.name == name {
		return t
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if t = l.tenants[account]; t != nil && t.customer.name == name {
		return t
	}
	t = &tenant{l: l, customer: l.buyers[name]}
	if t.customer == nil {
		t.customer = &customer{name: name}
		l.buyers[name] = t.customer
	}
	l.tenants[account] = t
	if len(l.buyers) > 2*len(l.tenants) { // organizations that are gone
		clear(l.buyers)
		for _, t := range l.tenants {
			l.buyers[t.customer.name] = t.customer
		}
	}
	return t
}

// census counts those of a kind, accounts or customers, that call.
type census struct {
	active atomic.Int64 // that called in this second or the one before

	mu           sync.Mutex
	at           int64
	before, here int64 // that called in the second before, and in this one
}

// share is what one of them has at work.
type share struct {
	working atomic.Int64
	second  atomic.Int64 // in which it last called
}

// note counts s once a second.
func (c *census) note(s *share, second int64) {
	was := s.second.Load()
	if was == second || !s.second.CompareAndSwap(was, second) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at != second {
		if c.before = 0; c.at == second-1 {
			c.before = c.here
		}
		c.at, c.here = second, 0
	}
	c.here++
	c.active.Store(max(c.before, c.here))
}

// full reports whether s has its equal part of most, or more, while others call.
func (c *census) full(s *share, most int64) bool {
	n := c.active.Load()
	return n > 1 && s.working.Load() >= max(1, most/n)
}

// customer is an organization, or an account in none: who has many accounts has
// no larger part for it.
type customer struct {
	name string
	share
}

// ownCustomer makes every account a customer.
func ownCustomer(_ context.Context, account string) string { return account }

// fair reports whether a request of t may go to work in a second. While several
// customers call, each has its part; one that is alone has it all, in equal parts
// for its accounts.
func (l *fairLimiter) fair(t *tenant, second int64) bool {
	l.accounts.note(&t.share, second)
	l.customers.note(&t.customer.share, second)
	if l.working.Load() < l.most {
		return true
	}
	if l.customers.active.Load() > 1 {
		return !l.customers.full(&t.customer.share, l.most)
	}
	return !l.accounts.full(&t.share, l.most)
}
