package iam

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/sigv4"
	"github.com/sagekeep/sagekeep/internal/store"
)

// SessionSpec says what a role session to be minted is. Whoever mints has
// checked that the caller may have it.
type SessionSpec struct {
	Role     *RoleInfo
	Name     string // role session name
	Duration time.Duration
	// Policies are session policy documents and ARNs of managed policies.
	Policies       []string
	Tags           map[string]string // session tags, inherited ones included
	TransitiveKeys []string          // keys of Tags that sessions of this session inherit
	SourceIdentity string
	Provider       string // identity provider that vouched for the caller, of AssumeRoleWithWebIdentity
	MinTokenSize   int    // characters; the token is padded to it
}

// SessionCredentials are temporary credentials. They print without secret and
// token.
type SessionCredentials struct {
	AccessKeyID, SecretAccessKey, SessionToken string
	Expires                                    time.Time
	AssumedRoleID, AssumedRoleARN              string
}

// Format writes the access key id alone, whatever the verb.
func (c SessionCredentials) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "iam.SessionCredentials("+c.AccessKeyID+" [redacted])")
}

// LogValue implements slog.LogValuer without secret and token.
func (c SessionCredentials) LogValue() slog.Value {
	return slog.GroupValue(slog.String("access_key_id", c.AccessKeyID))
}

// sessionToken is what a session token holds, sealed. No node keeps sessions.
type sessionToken struct {
	AccessKeyID    string            `json:"k"`
	Secret         string            `json:"s"`
	RoleName       string            `json:"r"`
	RoleID         string            `json:"i"`
	SessionName    string            `json:"n"`
	Policies       []string          `json:"p,omitempty"`
	Tags           map[string]string `json:"t,omitempty"`
	TransitiveKeys []string          `json:"v,omitempty"`
	SourceIdentity string            `json:"o,omitempty"`
	Provider       string            `json:"f,omitempty"`
	Issued         int64             `json:"b"` // µs UTC
	Padding        string            `json:"z,omitempty"`
}

// MintSession makes temporary credentials of a role session. The token is
// sealed and holds everything that any node needs to know the session by.
func (s *Service) MintSession(spec SessionSpec) (*SessionCredentials, error) {
	id, err := newAccessKeyID(temporaryPrefix, spec.Role.Account)
	if err != nil {
		return nil, err
	}
	issued := s.now().UTC()
	expires := issued.Add(spec.Duration).Truncate(time.Second)
	t := sessionToken{
		AccessKeyID: id, Secret: newSecret(), RoleName: spec.Role.Name, RoleID: spec.Role.ID, SessionName: spec.Name,
		Policies: spec.Policies, Tags: spec.Tags, TransitiveKeys: spec.TransitiveKeys, SourceIdentity: spec.SourceIdentity,
		Provider: spec.Provider, Issued: issued.UnixMicro(),
	}
	text, err := s.sealSession(&t, spec.Role.Account, expires)
	if short := spec.MinTokenSize - len(text); err == nil && short > 0 {
		t.Padding = strings.Repeat("=", short) // base 64 makes more of it than asked
		text, err = s.sealSession(&t, spec.Role.Account, expires)
	}
	if err != nil {
		return nil, fmt.Errorf("mint session: %w", err)
	}
	return &SessionCredentials{
		AccessKeyID: id, SecretAccessKey: t.Secret, SessionToken: text, Expires: expires,
		AssumedRoleID: spec.Role.ID + ":" + spec.Name, AssumedRoleARN: sessionARN(spec.Role.Account, spec.Role.Name, spec.Name),
	}, nil
}

func (s *Service) sealSession(t *sessionToken, account string, expires time.Time) (string, error) {
	b, err := json.Marshal(t)
	if err != nil {
		return "", err
	}
	return s.keyring.SealToken(envelope.SessionToken, envelope.Token{Account: account, Expires: expires, Payload: b})
}

func sessionARN(account, role, session string) string {
	return "arn:aws:sts::" + account + ":assumed-role/" + role + "/" + session
}

// tokenID is the SHA-256 of a session token.
type tokenID [sha256.Size]byte

// tokenEntry is an opened token with the credential made from it under epoch.
type tokenEntry struct {
	token   *sessionToken
	account string
	expires time.Time
	cred    *sigv4.Credential
	epoch   uint64
}

// lookupSession is Lookup for temporary credentials.
func (s *Service) lookupSession(ctx context.Context, accessKeyID, text string) (*sigv4.Credential, error) {
	id := tokenID(sha256.Sum256([]byte(text)))
	have, ok := s.tokenCache.get(id)
	if !ok {
		var err error
		if have, err = s.openSession(text); err != nil {
			return nil, err
		}
	}
	if have.token.AccessKeyID != accessKeyID {
		return nil, sigv4.ErrTokenInvalid
	}
	if !s.now().Before(have.expires) {
		return nil, sigv4.ErrTokenExpired
	}
	epoch := s.store.Epoch(epochName(have.account))
	if have.cred != nil && have.epoch == epoch {
		return have.cred, nil
	}
	owner, err := s.sessionCaller(ctx, have)
	if err != nil {
		return nil, err
	}
	fresh := &tokenEntry{token: have.token, account: have.account, expires: have.expires, epoch: epoch}
	fresh.cred = &sigv4.Credential{
		AccessKeyID: accessKeyID, Secret: have.token.Secret, SessionToken: text, Owner: owner, Expires: have.expires,
	}
	s.tokenCache.put(id, fresh)
	return fresh.cred, nil
}

// openSession opens a token without a look at its role or its time.
func (s *Service) openSession(text string) (*tokenEntry, error) {
	t, err := s.keyring.OpenToken(envelope.SessionToken, text, s.now())
	if err != nil && !errors.Is(err, envelope.ErrTokenExpired) {
		return nil, fmt.Errorf("%w: %w", sigv4.ErrTokenInvalid, err)
	}
	e := &tokenEntry{token: new(sessionToken), account: t.Account, expires: t.Expires}
	if err := json.Unmarshal(t.Payload, e.token); err != nil || t.Expires.IsZero() {
		return nil, sigv4.ErrTokenInvalid
	}
	return e, nil
}

// sessionCaller is the caller that a token stands for. Its role must be there
// and be the same one.
func (s *Service) sessionCaller(ctx context.Context, e *tokenEntry) (*identity.Caller, error) {
	var role entity
	err := s.view(ctx, func(tx *store.Tx) (err error) {
		role, err = s.roles.table.Get(tx, e.account, strings.ToLower(e.token.RoleName))
		return err
	})
	if errors.Is(err, store.ErrNotFound) || err == nil && role.ID != e.token.RoleID {
		return nil, sigv4.ErrTokenInvalid
	}
	if err != nil {
		return nil, fmt.Errorf("read role of a session: %w", err)
	}
	t := e.token
	return &identity.Caller{
		Type: identity.AssumedRole, Account: e.account, ARN: sessionARN(e.account, role.Name, t.SessionName),
		PrincipalID: role.ID + ":" + t.SessionName, AccessKeyID: t.AccessKeyID,
		RoleName: role.Name, RoleARN: s.roles.arn(&role), RoleID: role.ID, SessionName: t.SessionName,
		SessionPolicies: t.Policies, SessionTags: tagMap(role.Tags, t.Tags), IssuedAt: timeOf(t.Issued),
		TransitiveTagKeys: t.TransitiveKeys, SourceIdentity: t.SourceIdentity, Provider: t.Provider,
	}, nil
}

// Inherited is what a session hands on to the sessions made from it.
type Inherited struct {
	Tags           map[string]string // transitive session tags
	SourceIdentity string
}

// InheritedFrom returns what the session of a caller hands on. ok is false
// when the caller is no session that this node verified for the request under
// way.
func (s *Service) InheritedFrom(c *identity.Caller) (in Inherited, ok bool) {
	e, ok := s.tokenCache.find(func(e *tokenEntry) bool {
		return e.token.AccessKeyID == c.AccessKeyID && e.token.RoleID == c.RoleID && e.token.Issued == c.IssuedAt.UnixMicro()
	})
	if !ok {
		return Inherited{}, false
	}
	in = Inherited{SourceIdentity: e.token.SourceIdentity, Tags: map[string]string{}}
	for _, key := range e.token.TransitiveKeys {
		for k, v := range e.token.Tags {
			if strings.EqualFold(k, key) {
				in.Tags[k] = v
			}
		}
	}
	return in, true
}
