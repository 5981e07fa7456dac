package kms

import (
	"context"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
)

// Throttling says what keeps one account from taking KMS from the others.
type Throttling string

// The kinds of throttling.
const (
	// ThrottleFair, the default, binds only while several accounts call a server
	// that has more requests at work than it should: a customer may then have its
	// equal share of them, and the accounts of a single customer theirs. A single
	// account is never bound.
	ThrottleFair Throttling = "default"
	// ThrottleAWS enforces AWS's request quotas on every account and Region.
	ThrottleAWS Throttling = "aws"
	// ThrottleOff refuses nothing.
	ThrottleOff Throttling = "off"
)

// Valid reports whether t is one of the kinds.
func (t Throttling) Valid() bool {
	return slices.Contains([]Throttling{ThrottleFair, ThrottleAWS, ThrottleOff}, t)
}

// limiter is the Limiter of KMS.
type limiter struct {
	kind Throttling
	now  func() time.Time
	// quotas are those of single operations, by name; rates are all, by quota.
	quotas map[string]quota
	rates  []float64
	// most is the number of requests at work from which on accounts get equal
	// shares.
	most int64

	working   atomic.Int64 // requests of all accounts
	accounts  census
	customers census
	// customerOf names the customer of an account.
	customerOf func(ctx context.Context, account string) string

	mu      sync.RWMutex
	tenants map[string]*tenant   // by account
	buyers  map[string]*customer // by name
}

// tenant is an account. There are no more than accounts.
type tenant struct {
	l        *limiter
	customer *customer
	share

	mu      sync.RWMutex
	regions map[string]*buckets
}

// workPerCPU is how many requests at work are enough to keep a processor busy
// while records are synced.
const workPerCPU = 32

func newLimiter(kind Throttling, now func() time.Time, customerOf func(context.Context, string) string) *limiter {
	l := &limiter{
		kind: kind, now: now, quotas: map[string]quota{}, rates: cryptographicRates[:], tenants: map[string]*tenant{}, buyers: map[string]*customer{}, customerOf: customerOf,
		most: int64(workPerCPU * runtime.GOMAXPROCS(0)),
	}
	for _, o := range operationRates {
		l.quotas[o.operation] = quota(len(l.rates))
		l.rates = append(l.rates, o.rate)
	}
	return l
}

// Enter implements protocol.Limiter. Who calls pays, not who owns the key.
//
// Errors: ThrottlingException.
func (l *limiter) Enter(ctx context.Context, op *schema.Operation, in any) (protocol.Lease, error) {
	account, region := callerAccount(ctx), identity.From(ctx).Region
	t := l.tenant(account, l.customerOf(ctx, account))
	now := l.now()
	switch l.kind {
	case ThrottleAWS:
		if !l.charge(t, region, op, in, now) {
			return nil, throttled()
		}
	default:
		if !l.fair(t, now.Unix()) {
			return nil, throttled()
		}
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

func throttled() error {
	return kmsapi.ThrottlingException("You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.")
}

// tenant returns an account's tenant under its customer.
func (l *limiter) tenant(account, name string) *tenant {
	l.mu.RLock()
	t := l.tenants[account]
	l.mu.RUnlock()
	if t != nil && t.customer.name == name {
		return t
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t = l.tenants[account]
	if t != nil && t.customer.name == name {
		return t
	}
	fresh := &tenant{l: l, customer: l.buyers[name], regions: map[string]*buckets{}}
	if t != nil { // it has joined an organization, or left it
		t.mu.Lock()
		fresh.regions = maps.Clone(t.regions)
		t.mu.Unlock()
	}
	if fresh.customer == nil {
		fresh.customer = &customer{name: name}
		l.buyers[name] = fresh.customer
	}
	l.tenants[account] = fresh
	if len(l.buyers) > 2*len(l.tenants) { // organizations that are gone
		clear(l.buyers)
		for _, t := range l.tenants {
			l.buyers[t.customer.name] = t.customer
		}
	}
	return fresh
}
