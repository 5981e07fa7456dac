package kms

import (
	"context"
	"slices"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
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

// newLimiter returns the Limiter of a kind; nil for ThrottleOff.
func newLimiter(kind Throttling, now func() time.Time, customerOf func(context.Context, string) string) protocol.Limiter {
	switch kind {
	case ThrottleOff:
		return nil
	case ThrottleAWS:
		return newQuotaLimiter(now)
	}
	return newFairLimiter(now, customerOf)
}

func throttled() error {
	return kmsapi.ThrottlingException("You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.")
}
