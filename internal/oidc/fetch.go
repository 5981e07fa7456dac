package oidc

import (
	"context"
	"crypto/fips140"
	"crypto/sha1" //nolint:gosec // thumbprints of certificates are SHA-1 in AWS's contract
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json"

	"github.com/sagekeep/sagekeep/internal/netguard"
)

// Limits of what an issuer's server may answer.
const (
	maxDocument  = 1 << 20 // bytes
	maxHeader    = 64 << 10
	maxRedirects = 3
	maxChain     = 10 // certificates
)

// fetcher gets an issuer's documents.
type fetcher struct {
	roots   *x509.CertPool // the system's when nil
	timeout time.Duration
	now     func() time.Time
}

// keys reads the discovery document and the key set that it names.
//
// Errors: an *Error.
func (f *fetcher) keys(ctx context.Context, issuer string, thumbprints []string) (*keySet, error) {
	c := &connections{f: f, thumbprints: thumbprints, used: TrustStore}
	client := c.client()
	b, err := f.get(ctx, client, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return nil, err
	}
	var doc struct {
		Issuer  string `json:"issuer"`
		KeysURL string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, noKey().because(fmt.Errorf("read discovery document: %w", err))
	}
	if doc.Issuer != issuer {
		return nil, noKey().because(fmt.Errorf("the discovery document is of issuer %q", doc.Issuer))
	}
	if b, err = f.get(ctx, client, doc.KeysURL); err != nil {
		return nil, err
	}
	keys, err := parseKeys(b)
	if err != nil {
		return nil, noKey().because(err)
	}
	return &keySet{keys: keys, connection: c.used, at: f.now()}, nil
}

// get reads one document over HTTPS.
func (f *fetcher) get(ctx context.Context, client *http.Client, address string) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, noKey().because(fmt.Errorf("%q is no https URL", address))
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, noKey().because(err)
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "sagekeep")
	answer, err := client.Do(r)
	if err != nil {
		return nil, failure(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		err := fmt.Errorf("%s answers %s", address, answer.Status)
		if answer.StatusCode >= 500 || answer.StatusCode == http.StatusTooManyRequests {
			return nil, unreachable(err)
		}
		return nil, noKey().because(err)
	}
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxDocument+1))
	if err != nil {
		return nil, unreachable(err)
	}
	if len(b) > maxDocument {
		return nil, noKey().because(fmt.Errorf("%s answers more than %d bytes", address, maxDocument))
	}
	return b, nil
}

func unreachable(err error) *Error {
	return &Error{Kind: IDPCommunicationError, Message: "The identity provider could not be reached", cause: err}
}

var (
	errRedirect   = errors.New("oidc: redirected to another server")
	errNotTrusted = errors.New("oidc: the server's certificate is not trusted")
)

// failure tells a server that must not be believed from one that is away.
func failure(err error) *Error {
	switch {
	case errors.Is(err, errNotTrusted):
		return invalid("OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint").because(err)
	case errors.Is(err, errRedirect):
		return noKey().because(err)
	}
	return unreachable(err)
}

// connections are those of one look at an issuer. None outlives it, so that
// each was judged by the thumbprints of the provider it is for.
type connections struct {
	f           *fetcher
	thumbprints []string
	used        Connection
}

// client returns one that asks the issuer's server itself, without a proxy of
// the environment's.
func (c *connections) client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialTLSContext: c.dial, DisableKeepAlives: true, DisableCompression: true,
			MaxResponseHeaderBytes: maxHeader, ResponseHeaderTimeout: c.f.timeout,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if first := via[0].URL; r.URL.Scheme != first.Scheme || r.URL.Host != first.Host || len(via) > maxRedirects {
				return errRedirect
			}
			return nil
		},
	}
}

// dial connects and proves the server. The addresses are judged after the name
// was resolved, so that no name leads to a forbidden one.
func (c *connections) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: c.f.timeout, Control: netguard.Control}
	plain, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(plain, &tls.Config{
		ServerName: host, MinVersion: tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection does what this leaves out, and knows thumbprints
		VerifyConnection:   func(s tls.ConnectionState) error { return c.verify(s.PeerCertificates, host) },
	})
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, plain.Close())
	}
	return conn, nil
}

// verify proves the server by the trusted roots, or by a certificate of the
// chain that it shows, if that has a thumbprint of the provider's. Name, dates
// and uses of the certificates must be right either way.
//
// Source: IAM User Guide, "Obtain the thumbprint for an OpenID Connect identity
// provider".
func (c *connections) verify(chain []*x509.Certificate, host string) error {
	if len(chain) == 0 || len(chain) > maxChain {
		return errNotTrusted
	}
	opts := x509.VerifyOptions{
		DNSName: host, CurrentTime: c.f.now(), Roots: c.f.roots, Intermediates: poolOf(chain[1:]...),
	}
	_, err := chain[0].Verify(opts)
	if err == nil {
		return nil
	}
	if !fips140.Enforced() { // which has no SHA-1
		for _, cert := range chain {
			if !c.has(cert) {
				continue
			}
			opts.Roots = poolOf(cert)
			if _, err := chain[0].Verify(opts); err == nil {
				c.used = Thumbprint
				return nil
			}
		}
	}
	return fmt.Errorf("%w: %w", errNotTrusted, err)
}

func (c *connections) has(cert *x509.Certificate) bool {
	sum := sha1.Sum(cert.Raw) //nolint:gosec // see the import
	print := hex.EncodeToString(sum[:])
	return slices.ContainsFunc(c.thumbprints, func(t string) bool { return strings.EqualFold(t, print) })
}

func poolOf(certs ...*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certs {
		p.AddCert(c)
	}
	return p
}
