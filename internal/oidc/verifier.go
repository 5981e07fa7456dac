// Package oidc verifies the ID tokens of OpenID Connect issuers.
//
// A token is believed when a key signed it that the issuer publishes now. The
// keys come over HTTPS, from the place that the issuer's discovery document
// names, and are kept for a few minutes. Nothing is asked of anybody unless a
// token is presented for a [Provider] that an account has; what a stranger can
// make us ask is bounded by [Verifier.Verify].
//
// Sources: OpenID Connect Core 1.0, section 3.1.3.7, and Discovery 1.0, section
// 4; RFC 7515, 7517, 7518, 7519; AWS STS API Reference,
// AssumeRoleWithWebIdentity; IAM User Guide, "Create an OpenID Connect (OIDC)
// identity provider in IAM".
package oidc

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Config is what a verifier may be told; the zero value is right outside tests.
type Config struct {
	// Now is the clock, time.Now when nil.
	Now func() time.Time
	// Log is told of every failure to get an issuer's keys.
	Log *slog.Logger
	// Roots are the certificate authorities that need no thumbprint; the
	// system's when nil.
	Roots *x509.CertPool
	// Timeout is for each of an issuer's two documents; 5 s when zero.
	Timeout time.Duration
}

// Provider is an issuer as an account trusts it.
type Provider struct {
	// Issuer is the URL that tokens must name in iss, byte by byte.
	Issuer string
	// ClientIDs are the audiences that count.
	ClientIDs []string
	// Thumbprints are SHA-1 fingerprints, 40 hexadecimal digits, of certificates
	// that the issuer's server may chain to although the system does not know
	// them.
	Thumbprints []string
}

// Kind is why a token was refused, with the names of AWS's errors.
type Kind string

// The kinds of refusals.
const (
	IDPCommunicationError Kind = "IDPCommunicationError" // the issuer cannot be reached: worth another try
	InvalidIdentityToken  Kind = "InvalidIdentityToken"
	ExpiredToken          Kind = "ExpiredTokenException"
)

// Error is a refusal. Message is for the caller and tells nothing that the
// token does not say; the cause is for the operator.
type Error struct {
	Kind    Kind
	Message string
	cause   error
}

// Error implements error.
func (e *Error) Error() string {
	if e.cause == nil {
		return "oidc: " + e.Message
	}
	return "oidc: " + e.Message + ": " + e.cause.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

func invalid(format string, args ...any) *Error {
	return &Error{Kind: InvalidIdentityToken, Message: fmt.Sprintf(format, args...)}
}

func (e *Error) because(cause error) *Error {
	e.cause = cause
	return e
}

// noKey is AWS's answer when an issuer answers, but not with the key.
func noKey() *Error {
	return invalid("Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity documentation for requirements")
}

// leeway is how far an issuer's clock may be ahead of ours. There is none for
// exp: a token that has ended is refused at once.
const leeway = 30 * time.Second

// Verifier verifies tokens. All methods may be called concurrently.
type Verifier struct {
	now   func() time.Time
	log   *slog.Logger
	fetch fetcher

	mu      sync.Mutex
	sources map[sourceID]*source
}

// New returns a verifier without any keys.
func New(c Config) *Verifier {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	return &Verifier{
		now: c.Now, log: c.Log, fetch: fetcher{roots: c.Roots, timeout: c.Timeout, now: c.Now},
		sources: map[sourceID]*source{},
	}
}

// Verify returns who the token says its bearer is, once the issuer's signature,
// its dates and its audience are found right. A token whose dates are wrong
// costs no look at the issuer; otherwise the issuer is asked for its keys when
// those at hand are older than ten minutes, at most once a minute when the
// token names a key that is not among them, at most every ten seconds while it
// fails, and never twice at a time.
//
// Errors: an *Error; the context's.
func (v *Verifier) Verify(ctx context.Context, p Provider, t *Token) (*Identity, error) {
	if t.Issuer != p.Issuer {
		return nil, invalid("The issuer of the token is not the identity provider")
	}
	if err := t.checkDates(v.now()); err != nil {
		return nil, err
	}
	set, err := v.keys(ctx, p, t)
	if err != nil {
		return nil, err
	}
	if err := t.verify(set.keys); err != nil {
		return nil, err
	}
	audience, ok := t.audienceOf(p.ClientIDs)
	if !ok {
		return nil, invalid("Incorrect token audience")
	}
	return &Identity{
		Issuer: t.Issuer, Subject: t.subject, Audience: audience, Audiences: slices.Clone(t.audiences),
		Methods: slices.Clone(t.methods), Connection: set.connection, claims: t.claims,
	}, nil
}
