package xks

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"time"

	"github.com/sagekeep/sagekeep/internal/netguard"
	"github.com/sagekeep/sagekeep/internal/secret"
	"github.com/sagekeep/sagekeep/internal/sigv4"
)

// Timeout is how long a proxy has for one answer, connection and handshake
// included.
//
// Source: proxy API specification, "KMS Considerations".
const Timeout = 250 * time.Millisecond

const (
	// tries is how often a request is sent at most. All four may be repeated:
	// they change nothing at the proxy.
	tries = 2
	// service is the name in the credential scope.
	service = "kms-xks-proxy"

	maxAnswer  = 64 << 10 // bytes
	maxHeader  = 16 << 10 // bytes
	idlePerKey = 64       // connections kept to one proxy
	idleFor    = 90 * time.Second
)

// Config is what a client may be told; the zero value is right for most.
type Config struct {
	// RootCAs are the certificate authorities that proxies may have; the
	// system's when nil.
	RootCAs *x509.CertPool
	// ConnectTo names, by host name in lower case, the address (HOST:PORT) at
	// which a proxy is reached instead of port 443 of its name. The name stays
	// what the certificate must have. Endpoints of key stores hold no port.
	ConnectTo map[string]string
	// Timeout is for each try; [Timeout] when zero.
	Timeout time.Duration
	// Now is the clock of signatures, time.Now when nil.
	Now func() time.Time
}

// Proxy is how a key store reaches its proxy.
type Proxy struct {
	Endpoint    string // https://HOST
	Path        string // [/PREFIX]/kms/xks/v1
	AccessKeyID string
	Secret      secret.Text
	Region      string // of the key store
}

// Client calls proxies over a common pool of connections. Its methods may be
// called concurrently.
type Client struct {
	http    *http.Client
	timeout time.Duration
	now     func() time.Time
}

// New returns a client.
func New(c Config) *Client {
	if c.Timeout == 0 {
		c.Timeout = Timeout
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	d := &dialer{connectTo: c.ConnectTo, timeout: c.Timeout, tls: &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: c.RootCAs, NextProtos: []string{"http/1.1"},
		// Of TLS 1.2 the suites that the API names; TLS 1.3 has its own.
		CipherSuites:       []uint16{tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384},
		ClientSessionCache: tls.NewLRUClientSessionCache(idlePerKey),
	}}
	return &Client{
		timeout: c.Timeout, now: c.Now,
		http: &http.Client{
			Transport: &http.Transport{
				DialContext: refuse, DialTLSContext: d.dial, // never plain HTTP
				DisableCompression: true, MaxResponseHeaderBytes: maxHeader,
				MaxIdleConnsPerHost: idlePerKey, IdleConnTimeout: idleFor,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Close closes the connections that are not in use.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Health asks whether the proxy and its key managers work.
//
// Errors: an *Error.
func (c *Client) Health(ctx context.Context, p Proxy, r Request) (*Health, error) {
	r.PrincipalARN, r.KeyARN, r.ViaService = "", "", ""
	body, err := c.call(ctx, p, "/health", struct {
		Request Request `json:"requestMetadata"`
	}{r})
	if err != nil {
		return nil, err
	}
	return parseHealth(body)
}

// KeyMetadata asks what the external key with the id is.
//
// Errors: an *Error.
func (c *Client) KeyMetadata(ctx context.Context, p Proxy, id string, r Request) (*KeyMetadata, error) {
	body, err := c.callKey(ctx, p, id, "/metadata", struct {
		Request Request `json:"requestMetadata"`
	}{r})
	if err != nil {
		return nil, err
	}
	return parseKeyMetadata(body)
}

const algorithm = "AES_GCM"

// Encrypt has the external key encrypt plaintext, at most MaxPlaintext bytes,
// and authenticate aad, at most MaxAAD bytes. The proxy vouches with a checksum
// that what it answers can be decrypted; an answer without a right one is
// refused.
//
// Errors: an *Error.
func (c *Client) Encrypt(ctx context.Context, p Proxy, id string, r Request, plaintext, aad []byte) (*Ciphertext, error) {
	body, err := c.callKey(ctx, p, id, "/encrypt", struct {
		Request   Request `json:"requestMetadata"`
		AAD       []byte  `json:"additionalAuthenticatedData,omitempty"`
		Plaintext []byte  `json:"plaintext"`
		Algorithm string  `json:"encryptionAlgorithm"`
		Integrity string  `json:"ciphertextDataIntegrityValueAlgorithm"`
	}{r, aad, plaintext, algorithm, "SHA_256"})
	if err != nil {
		return nil, err
	}
	return parseCiphertext(body, len(plaintext), aad)
}

// Decrypt has the external key decrypt what Encrypt returned for the same aad.
//
// Errors: an *Error.
func (c *Client) Decrypt(ctx context.Context, p Proxy, id string, r Request, sealed *Ciphertext, aad []byte) ([]byte, error) {
	body, err := c.callKey(ctx, p, id, "/decrypt", struct {
		Request Request `json:"requestMetadata"`
		AAD     []byte  `json:"additionalAuthenticatedData,omitempty"`
		*Ciphertext
		Algorithm string `json:"encryptionAlgorithm"`
	}{r, aad, sealed, algorithm})
	if err != nil {
		return nil, err
	}
	defer clear(body)
	return parsePlaintext(body, len(sealed.Bytes))
}

// maxKeyID is how long the id of an external key may be, in characters.
const maxKeyID = 128

// validKeyID reports whether a proxy is asked for an id as it is. Of what the API
// allows, the names of this and of the upper directory do not get there: whoever
// reads the path takes them out.
//
// Source: proxy API specification, "API operations"; RFC 3986 section 5.2.4.
func validKeyID(id string) bool {
	if id == "" || len(id) > maxKeyID || id == "." || id == ".." {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}

var errKeyID = errors.New("no external key can have this id")

// callKey sends a request about an external key.
//
// Errors: an *Error; KeyNotFoundException, without asking, for what is no id.
func (c *Client) callKey(ctx context.Context, p Proxy, id, operation string, message any) ([]byte, error) {
	if !validKeyID(id) {
		return nil, &Error{Name: KeyNotFoundException, cause: errKeyID}
	}
	return c.call(ctx, p, "/keys/"+id+operation, message)
}

// call sends a request, once more when the proxy did not answer.
func (c *Client) call(ctx context.Context, p Proxy, path string, message any) ([]byte, error) {
	body, err := json.Marshal(message)
	if err != nil {
		return nil, fmt.Errorf("xks: encode a request: %w", err)
	}
	defer clear(body)
	for try := 1; ; try++ {
		answer, err := c.try(ctx, p, path, body)
		if err == nil {
			return answer, nil
		}
		if e, ok := errors.AsType[*Error](err); !ok || try == tries || !e.again() || ctx.Err() != nil {
			return nil, err
		}
	}
}

// again reports whether another try might go better.
func (e *Error) again() bool {
	switch e.Name {
	case Unreachable:
		return !errors.Is(e.cause, netguard.ErrForbidden)
	case TimedOut, DependencyTimeoutException:
		return true
	}
	return false
}

func (c *Client) try(ctx context.Context, p Proxy, path string, body []byte) ([]byte, error) {
	if !strings.HasPrefix(p.Endpoint, "https://") {
		return nil, &Error{Name: Unreachable, cause: errNotHTTPS}
	}
	var reached progress
	ctx, cancel := context.WithTimeout(reached.within(ctx), c.timeout)
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { reached.to(connected) }})
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.Endpoint+p.Path+path, bytes.NewReader(body))
	if err != nil {
		return nil, &Error{Name: Unreachable, cause: err}
	}
	// Only host and x-amz-date are signed, as the specification says: the other
	// headers are set afterwards.
	cred := sigv4.Credential{AccessKeyID: p.AccessKeyID, Secret: p.Secret.Reveal()}
	if err := sigv4.Sign(r, body, cred, p.Region, service, c.now()); err != nil {
		return nil, fmt.Errorf("xks: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "sagekeep")
	r.Header["Idempotency-Key"] = nil // not sent; lets the transport replace a connection that has gone stale
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, reached.failure(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, reached.failure(err)
	case len(answer) > maxAnswer:
		return nil, &Error{Name: InvalidResponse, Status: resp.StatusCode, cause: fmt.Errorf("more than %d bytes", maxAnswer)}
	case resp.StatusCode != http.StatusOK:
		return nil, parseError(resp.StatusCode, answer)
	}
	return answer, nil
}
