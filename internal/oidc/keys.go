package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

// How long keys are good, and how soon an issuer is asked again.
const (
	keysMaxAge   = 10 * time.Minute
	unknownKey   = time.Minute      // after the last look, when a token names another key
	failurePause = 10 * time.Second // after a failure
)

// maxSources bounds how many issuers are remembered.
const maxSources = 4096

// Limits of an issuer's keys. Source: IAM User Guide, "Create an OpenID Connect
// (OIDC) identity provider in IAM". Larger RSA keys cost too much to verify.
const (
	maxKeys    = 100 // of RSA, and of ECDSA
	minRSABits = 2048
	maxRSABits = 4096
)

// sourceID names an issuer under one list of thumbprints: keys that came over
// a connection which one account believes are not another account's.
type sourceID struct{ issuer, thumbprints string }

// source is where the keys of an issuer come from.
type source struct {
	mu     sync.Mutex
	set    *keySet
	asked  time.Time // the last look, begun or ended
	err    error     // of the last look
	flight chan struct{}
}

// keySet is what an issuer published at one time. It is immutable.
type keySet struct {
	keys       []key
	connection Connection
	at         time.Time
}

func (s *keySet) has(t *Token) bool {
	return slices.ContainsFunc(s.keys, func(k key) bool { return k.fits(t, len(s.keys) == 1) })
}

// source returns the one of a provider. When there are too many, any other goes;
// who waits for that one's answer still gets it.
func (v *Verifier) source(p Provider) *source {
	prints := slices.Clone(p.Thumbprints)
	for i := range prints {
		prints[i] = strings.ToLower(prints[i])
	}
	slices.Sort(prints)
	id := sourceID{p.Issuer, strings.Join(prints, ",")}
	v.mu.Lock()
	defer v.mu.Unlock()
	if s := v.sources[id]; s != nil {
		return s
	}
	if len(v.sources) >= maxSources {
		for old := range v.sources {
			delete(v.sources, old)
			break
		}
	}
	s := &source{}
	v.sources[id] = s
	return s
}

// keys returns the issuer's keys, asking for them if need be: in the
// background, so that a caller who goes away does not stop the look for others.
func (v *Verifier) keys(ctx context.Context, p Provider, t *Token) (*keySet, error) {
	s := v.source(p)
	for {
		set, flight, err := s.atHand(v, p, t)
		if flight == nil {
			return set, err
		}
		select {
		case <-flight:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// atHand returns what is known, or a channel that closes when more is.
func (s *source) atHand(v *Verifier, p Provider, t *Token) (*keySet, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := v.now()
	since := now.Sub(s.asked)
	switch fresh := s.set != nil && now.Sub(s.set.at) < keysMaxAge; {
	case fresh && (s.set.has(t) || since < unknownKey):
		return s.set, nil, nil
	case !fresh && s.err != nil && since < failurePause:
		return nil, nil, s.err
	case s.flight == nil:
		s.flight, s.asked = make(chan struct{}), now
		go s.refresh(v, p)
	}
	return nil, s.flight, nil
}

func (s *source) refresh(v *Verifier, p Provider) {
	set, err := v.look(p)
	if err != nil {
		v.log.Warn("the keys of an identity provider could not be read", "issuer", p.Issuer, "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err = err; err == nil {
		s.set = set
	}
	s.asked = v.now()
	close(s.flight)
	s.flight = nil
}

// look asks the issuer. Its answers are a stranger's: one that makes a parser
// panic is an error of this issuer alone.
func (v *Verifier) look(p Provider) (set *keySet, err error) {
	defer func() {
		if r := recover(); r != nil {
			set, err = nil, noKey().because(fmt.Errorf("reading keys panicked: %v", r))
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 2*v.fetch.timeout)
	defer cancel()
	return v.fetch.keys(ctx, p.Issuer, p.Thumbprints)
}

// parseKeys reads a JWK set. Keys that cannot have signed an ID token are left
// out.
func parseKeys(b []byte) ([]key, error) {
	var doc struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, fmt.Errorf("read key set: %w", err)
	}
	if len(doc.Keys) > 2*maxKeys {
		return nil, fmt.Errorf("the issuer has %d keys", len(doc.Keys))
	}
	var keys []key
	rsaKeys, ecKeys := 0, 0
	for _, raw := range doc.Keys {
		var jwk jose.JSONWebKey
		if err := jwk.UnmarshalJSON(raw); err != nil || jwk.Use != "" && jwk.Use != "sig" {
			continue
		}
		switch public := jwk.Key.(type) {
		case *rsa.PublicKey:
			rsaKeys++
			if n := public.N.BitLen(); n < minRSABits || n > maxRSABits {
				continue
			}
		case *ecdsa.PublicKey:
			ecKeys++
		default:
			continue
		}
		keys = append(keys, key{id: jwk.KeyID, algorithm: jwk.Algorithm, public: jwk.Key})
	}
	if rsaKeys > maxKeys || ecKeys > maxKeys {
		return nil, fmt.Errorf("the issuer has %d RSA and %d EC keys", rsaKeys, ecKeys)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("none of the issuer's %d keys can be used", len(doc.Keys))
	}
	return keys, nil
}
