// Package client makes signed calls to a running server on the generated
// shapes: for our own commands and the demo. It is an ordinary client; it has no
// way around authorisation.
package client

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
	"time"

	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/protocol/wire"
	"github.com/sagekeep/sagekeep/internal/sigv4"
)

// Client calls one server as one principal. It may be used concurrently.
type Client struct {
	Endpoint   string // for example http://127.0.0.1:4566
	Region     string
	Credential sigv4.Credential
	HTTP       *http.Client // nil: http.DefaultClient
}

// As returns a client of the same server for another principal.
func (c *Client) As(cred sigv4.Credential) *Client {
	n := *c
	n.Credential = cred
	return &n
}

// Trusting returns an HTTP client that trusts the PEM certificate besides the
// system's; with an empty text the system's alone.
func Trusting(pem string) (*http.Client, error) {
	t := &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute}
	if pem != "" {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM([]byte(pem)) {
			return nil, errors.New("client: not a PEM certificate")
		}
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: t}, nil
}

func (c *Client) http() *http.Client {
	if c.HTTP != nil {
		return c.HTTP
	}
	return http.DefaultClient
}

// Call sends one request and returns its answer. An output that streams is the
// caller's to read and close. Errors of the server are *schema.Error.
func Call[In, Out any](ctx context.Context, c *Client, op schema.Op[In, Out], in *In) (*Out, error) {
	req, body, err := wire.EncodeInput(op.Operation, c.Endpoint, in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op.Name, err)
	}
	req = req.WithContext(ctx)
	if op.Service.Protocol == schema.RESTXML {
		if body == nil { // a stream; the connection or loopback protects it
			req.Header.Set("X-Amz-Content-Sha256", sigv4.UnsignedPayload)
		}
	}
	if err := sigv4.Sign(req, body, c.Credential, c.Region, op.Service.SigningName, time.Now()); err != nil {
		return nil, fmt.Errorf("%s: %w", op.Name, err)
	}
	resp, err := c.http().Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op.Name, err)
	}
	out := new(Out)
	if err := wire.DecodeOutput(op.Operation, resp, out); err != nil {
		return nil, fmt.Errorf("%s: %w", op.Name, err)
	}
	return out, nil
}

// maxOperatorAnswer bounds what the operator endpoint answers, in bytes.
const maxOperatorAnswer = 16 << 20

// Operator calls the operator endpoint of the server, signed with the operator
// key. Errors of the server are *schema.Error.
func (c *Client) Operator(ctx context.Context, name string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Endpoint+"/_sagekeep/"+name, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	req.Header.Set("Content-Type", "application/json")
	if err := sigv4.Sign(req, body, c.Credential, c.Region, "sagekeep", time.Now()); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	resp, err := c.http().Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxOperatorAnswer))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if resp.StatusCode != http.StatusOK {
		var e struct{ Code, Message string }
		if json.Unmarshal(b, &e) != nil || e.Code == "" {
			return fmt.Errorf("%s: the server answered %s", name, resp.Status)
		}
		return schema.NewError(e.Code, resp.StatusCode, "%s", e.Message)
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("%s: read answer: %w", name, err)
	}
	return nil
}
