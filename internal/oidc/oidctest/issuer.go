// Package oidctest is an OpenID Connect issuer for tests: its documents over
// HTTPS on this machine, its keys and tokens, and a clock.
package oidctest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Audience is the aud claim that [Issuer.Claims] makes.
const Audience = "sts.amazonaws.com"

// Issuer is an OpenID Connect issuer on this machine, under a certificate
// authority of its own.
type Issuer struct {
	URL    string            // the iss claim
	CA     *x509.Certificate // of the server's certificate, which is for 127.0.0.1
	Server *httptest.Server
	Asked  atomic.Int32 // how often the keys were read

	t       testing.TB
	mu      sync.Mutex
	keys    map[string]crypto.Signer // by kid
	replace map[string]http.HandlerFunc
	clock   time.Time
}

// New starts an issuer that has one RSA key, "first", which all of them share. It ends with the test.
func New(t testing.TB) *Issuer {
	t.Helper()
	i := &Issuer{
		t: t, keys: map[string]crypto.Signer{}, replace: map[string]http.HandlerFunc{},
		clock: time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC),
	}
	i.Server = httptest.NewUnstartedServer(i)
	var leaf tls.Certificate
	i.CA, leaf = Certificates(t, i.clock, "127.0.0.1")
	i.Server.TLS = &tls.Config{Certificates: []tls.Certificate{leaf}}
	i.Server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	i.Server.StartTLS()
	t.Cleanup(i.Server.Close)
	i.URL = i.Server.URL
	first, err := firstKey()
	if err != nil {
		t.Fatal(err)
	}
	i.AddKey("first", first)
	return i
}

// Certificates makes an authority and a server's certificate under it, which
// the server shows with it.
func Certificates(t testing.TB, now time.Time, address string) (*x509.Certificate, tls.Certificate) {
	t.Helper()
	issue := func(serial int64, template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template.SerialNumber, template.BasicConstraintsValid = big.NewInt(serial), true
		template.NotBefore, template.NotAfter = now.Add(-time.Hour), now.Add(24*time.Hour)
		if parent == nil {
			parent, signer = template, k
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, k.Public(), signer)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c, k
	}
	ca, caKey := issue(1, &x509.Certificate{Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	leaf, leafKey := issue(2, &x509.Certificate{
		Subject: pkix.Name{CommonName: "issuer"}, IPAddresses: []net.IP{net.ParseIP(address)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, ca, caKey)
	return ca, tls.Certificate{Certificate: [][]byte{leaf.Raw, ca.Raw}, PrivateKey: leafKey}
}

// firstKey is every issuer's first: RSA keys take long to make.
var firstKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// NewRSA makes an RSA key of 2048 bits.
func NewRSA(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Thumbprint is the SHA-1 fingerprint of a certificate.
func Thumbprint(c *x509.Certificate) string {
	sum := sha1.Sum(c.Raw)
	return hex.EncodeToString(sum[:])
}

// AddKey publishes a key.
func (i *Issuer) AddKey(id string, k crypto.Signer) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys[id] = k
}

// Key returns a published key.
func (i *Issuer) Key(id string) crypto.Signer {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.keys[id]
}

// DropKey takes a key back.
func (i *Issuer) DropKey(id string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.keys, id)
}

// Answer replaces what the issuer answers under a path; nil takes it back.
func (i *Issuer) Answer(path string, h http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.replace[path] = h
}

// Now is the issuer's clock, which stands still.
func (i *Issuer) Now() time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.clock
}

// Pass moves the clock on.
func (i *Issuer) Pass(d time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.clock = i.clock.Add(d)
}

// Paths of the issuer's documents.
const (
	DiscoveryPath = "/.well-known/openid-configuration"
	KeysPath      = "/keys"
)

// ServeHTTP implements http.Handler.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	h := i.replace[r.URL.Path]
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for id, k := range i.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Public(), KeyID: id, Use: "sig"})
	}
	i.mu.Unlock()
	if r.URL.Path == KeysPath {
		i.Asked.Add(1)
	}
	switch {
	case h != nil:
		h(w, r)
	case r.URL.Path == DiscoveryPath:
		WriteJSON(w, map[string]any{"issuer": i.URL, "jwks_uri": i.URL + KeysPath})
	case r.URL.Path == KeysPath:
		WriteJSON(w, set)
	default:
		http.NotFound(w, r)
	}
}

// WriteJSON answers with v as JSON.
func WriteJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// Claims are the claims of a token.
type Claims map[string]any

// Claims are right ones, with more on top; nil takes a claim away.
func (i *Issuer) Claims(more Claims) Claims {
	now := i.Now().Unix()
	c := Claims{"iss": i.URL, "sub": "system:serviceaccount:ml:train", "aud": Audience, "iat": now, "exp": now + 600}
	for k, v := range more {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	return c
}

// Token signs claims with a key of the issuer's.
func (i *Issuer) Token(alg jose.SignatureAlgorithm, kid string, more Claims) string {
	i.t.Helper()
	return Sign(i.t, alg, i.Key(kid), kid, i.Claims(more))
}

// Sign makes a token with any key, without a kid when that is "".
func Sign(t testing.TB, alg jose.SignatureAlgorithm, k any, kid string, c Claims) string {
	t.Helper()
	opts := (&jose.SignerOptions{}).WithType("JWT")
	if kid != "" {
		opts = opts.WithHeader("kid", kid)
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: k}, opts)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := s.Sign(b)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}
