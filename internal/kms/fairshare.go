package kms

import (
	"context"
	"sync"
	"sync/atomic"
)

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
func (l *limiter) fair(t *tenant, second int64) bool {
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
