package sigv4

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Errors that a [Lookup] returns, bare or wrapped. Any other error is an
// internal failure and is passed on as such.
var (
	// ErrUnknownKey: there is no such access key id, or it is temporary and no
	// session token came with it.
	ErrUnknownKey = errors.New("sigv4: unknown access key id")
	// ErrInactive: the access key exists but is disabled. Clients see the
	// same answer as for an unknown key.
	ErrInactive = errors.New("sigv4: access key is inactive")
	// ErrTokenInvalid: the session token does not belong to the key or
	// cannot be opened.
	ErrTokenInvalid = errors.New("sigv4: session token is invalid")
	// ErrTokenExpired: the session token's time is over.
	ErrTokenExpired = errors.New("sigv4: session token has expired")
)

// Credential is what a [Lookup] returns for an access key id, and what [Sign]
// signs with. It prints and marshals without its secret parts.
type Credential struct {
	AccessKeyID string
	// Secret is the secret access key.
	Secret string
	// SessionToken is the token that a temporary key must come with, "" for
	// a long-term key.
	SessionToken string
	// Owner is the caller's own value, for example the identity.
	Owner any
	// Expires is when a temporary key ends; zero means never.
	Expires time.Time
}

// Lookup finds the credential of accessKeyID. sessionToken is what the request
// carries ("" when none), not yet checked: an implementation with sealed tokens
// opens it here. Lookup is called concurrently; the returned Credential is only
// read.
type Lookup func(ctx context.Context, accessKeyID, sessionToken string) (*Credential, error)

// Format writes the access key id alone, whatever the verb.
func (c Credential) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "sigv4.Credential("+c.AccessKeyID+" [redacted])")
}

// LogValue implements slog.LogValuer with the access key id alone.
func (c Credential) LogValue() slog.Value {
	return slog.GroupValue(slog.String("access_key_id", c.AccessKeyID))
}

// MarshalJSON refuses: a credential is not data to pass around.
func (c Credential) MarshalJSON() ([]byte, error) {
	return nil, errors.New("sigv4: a Credential does not marshal")
}
