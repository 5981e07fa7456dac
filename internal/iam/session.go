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
	// ProviderKeys are the condition keys of the provider that requests of the
	// session have, ISSUER:sub and the like.
	ProviderKeys map[string][]string
	MinTokenSize int // characters; the token is padded to it
}

// UserSessionSpec says what a session to be minted is that belongs to a user or
// to the root user: its own, or a federated one.
type UserSessionSpec struct {
	// Maker asked for the session, with long-term credentials.
	Maker    *identity.Caller
	Duration time.Duration
	// FederatedName makes it a session of GetFederationToken; "" for the maker's
	// own, which has neither policies nor tags.
	FederatedName string
	Policies      []string          // session policy documents and ARNs of managed policies
	Tags          map[string]string // session tags
	MinTokenSize  int               // characters; the token is padded to it
}

// SessionCredentials are temporary credentials. They print without secret and
// token.
type SessionCredentials struct {
	AccessKeyID, SecretAccessKey, SessionToken string
	Expires                                    time.Time
	AssumedRoleID, AssumedRoleARN              string // of role sessions
}

// Format writes the access key id alone, whatever the verb.
func (c SessionCredentials) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "iam.SessionCredentials("+c.AccessKeyID+" [redacted])")
}

// LogValue implements slog.LogValuer without secret and token.
func (c SessionCredentials) LogValue() slog.Value {
	return slog.GroupValue(slog.String("access_key_id", c.AccessKeyID))
}

// sessionKind says whose session a token is. A token of no kind that we know
// opens nothing.
type sessionKind string

const (
	roleSession      sessionKind = "role"      // AssumeRole and its like
	userSession      sessionKind = "user"      // GetSessionToken
	federatedSession sessionKind = "federated" // GetFederationToken
)

// sessionToken is what a session token holds, sealed. No node keeps sessions.
type sessionToken struct {
	Kind        sessionKind `json:"kind"`
	AccessKeyID string      `json:"k"`
	Secret      string      `json:"s"`
	// OwnerID is the unique id of the role, or of the user who made the session;
	// "" is the root user. With the owner the session ends.
	OwnerID string `json:"i,omitempty"`
	// SessionName is the role session's name, or the federated user's.
	SessionName    string              `json:"n,omitempty"`
	Policies       []string            `json:"p,omitempty"`
	Tags           map[string]string   `json:"t,omitempty"`
	TransitiveKeys []string            `json:"v,omitempty"`
	SourceIdentity string              `json:"o,omitempty"`
	Provider       string              `json:"f,omitempty"`
	ProviderKeys   map[string][]string `json:"j,omitempty"`
	Issued         int64               `json:"b"` // µs UTC
	Padding        string              `json:"z,omitempty"`
}

// MintSession makes temporary credentials of a role session. The token is
// sealed and holds everything that any node needs to know the session by.
func (s *Service) MintSession(spec SessionSpec) (*SessionCredentials, error) {
	c, err := s.mint(spec.Role.Account, spec.Duration, spec.MinTokenSize, sessionToken{
		Kind: roleSession, OwnerID: spec.Role.ID, SessionName: spec.Name,
		Policies: spec.Policies, Tags: spec.Tags, TransitiveKeys: spec.TransitiveKeys, SourceIdentity: spec.SourceIdentity,
		Provider: spec.Provider, ProviderKeys: spec.ProviderKeys,
	})
	if err != nil {
		return nil, err
	}
	c.AssumedRoleID, c.AssumedRoleARN = spec.Role.ID+":"+spec.Name, sessionARN(spec.Role.Account, spec.Role.Name, spec.Name)
	return c, nil
}

// MintUserSession makes temporary credentials of a session that belongs to a
// user or to the root user. It ends when the user is deleted; a user's policies
// bind it as they are at each request.
//
// Errors: any maker but a user or the root user with long-term credentials.
func (s *Service) MintUserSession(spec UserSessionSpec) (*SessionCredentials, error) {
	m := spec.Maker
	if m.Type != identity.User && m.Type != identity.Root || m.Temporary() {
		return nil, fmt.Errorf("mint session: %s has no long-term credentials of a user", m.Name())
	}
	t := sessionToken{Kind: userSession}
	if m.Type == identity.User {
		t.OwnerID = m.PrincipalID
	}
	if spec.FederatedName != "" {
		t.Kind, t.SessionName, t.Policies, t.Tags = federatedSession, spec.FederatedName, spec.Policies, spec.Tags
	}
	return s.mint(m.Account, spec.Duration, spec.MinTokenSize, t)
}

// mint fills in key, secret and times, and seals.
func (s *Service) mint(account string, duration time.Duration, minSize int, t sessionToken) (*SessionCredentials, error) {
	id, err := newAccessKeyID(temporaryPrefix, account)
	if err != nil {
		return nil, err
	}
	issued := s.now().UTC()
	expires := issued.Add(duration).Truncate(time.Second)
	t.AccessKeyID, t.Secret, t.Issued = id, newSecret(), issued.UnixMicro()
	text, err := s.sealSession(&t, account, expires)
	if short := minSize - len(text); err == nil && short > 0 {
		t.Padding = strings.Repeat("=", short) // base 64 makes more of it than asked
		text, err = s.sealSession(&t, account, expires)
	}
	if err != nil {
		return nil, fmt.Errorf("mint session: %w", err)
	}
	return &SessionCredentials{AccessKeyID: id, SecretAccessKey: t.Secret, SessionToken: text, Expires: expires}, nil
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

// FederatedUserARN is the ARN of a session of GetFederationToken.
func FederatedUserARN(account, name string) string {
	return "arn:aws:sts::" + account + ":federated-user/" + name
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

func (e *tokenEntry) size() int {
	n := entrySize + 2*mapSize(e.token.Tags) // the caller's are a copy
	for _, p := range e.token.Policies {
		n += len(p)
	}
	if e.cred != nil {
		n += len(e.cred.SessionToken)
	}
	return n + len(e.token.Padding)
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

// openSession opens a token without a look at its owner or its time.
func (s *Service) openSession(text string) (*tokenEntry, error) {
	t, err := s.keyring.OpenToken(envelope.SessionToken, text, s.now())
	if err != nil && !errors.Is(err, envelope.ErrTokenExpired) {
		return nil, fmt.Errorf("%w: %w", sigv4.ErrTokenInvalid, err)
	}
	e := &tokenEntry{token: new(sessionToken), account: t.Account, expires: t.Expires}
	if err := json.Unmarshal(t.Payload, e.token); err != nil || t.Expires.IsZero() || e.token.AccessKeyID == "" {
		return nil, sigv4.ErrTokenInvalid
	}
	return e, nil
}

// sessionCaller is the caller that a token stands for. Its owner must be there
// and be the same one.
func (s *Service) sessionCaller(ctx context.Context, e *tokenEntry) (*identity.Caller, error) {
	t := e.token
	c := &identity.Caller{
		Account: e.account, AccessKeyID: t.AccessKeyID, SessionPolicies: t.Policies, IssuedAt: timeOf(t.Issued),
		TransitiveTagKeys: t.TransitiveKeys, SourceIdentity: t.SourceIdentity, Provider: t.Provider,
		ProviderKeys: t.ProviderKeys,
	}
	switch t.Kind {
	case roleSession:
		role, err := s.sessionOwner(ctx, s.roles, e)
		if err != nil {
			return nil, err
		}
		c.Type, c.ARN, c.PrincipalID = identity.AssumedRole, sessionARN(e.account, role.Name, t.SessionName), role.ID+":"+t.SessionName
		c.RoleName, c.RoleARN, c.RoleID, c.SessionName = role.Name, s.roles.arn(&role), role.ID, t.SessionName
		c.SessionTags = tagMap(role.Tags, t.Tags)
		return c, nil
	case userSession, federatedSession:
		var user entity
		var err error
		if t.OwnerID == "" {
			err = s.rootOwner(ctx, e)
		} else {
			user, err = s.sessionOwner(ctx, s.users, e)
		}
		if err != nil {
			return nil, err
		}
		s.setUser(c, e, &user)
		return c, nil
	}
	return nil, sigv4.ErrTokenInvalid
}

// setUser fills in a session of a user, of the root user when it is the zero
// entity.
func (s *Service) setUser(c *identity.Caller, e *tokenEntry, user *entity) {
	root := user.ID == ""
	arn, id := rootARN(e.account), e.account
	if !root {
		arn, id = s.users.arn(user), user.ID
	}
	c.UserName, c.SessionTags = user.Name, tagMap(user.Tags, e.token.Tags)
	switch {
	case e.token.Kind == federatedSession:
		c.Type, c.UserARN, c.UserID = identity.FederatedUser, arn, user.ID
		c.ARN, c.PrincipalID = FederatedUserARN(e.account, e.token.SessionName), e.account+":"+e.token.SessionName
	case root:
		c.Type, c.ARN, c.PrincipalID = identity.Root, arn, id
	default:
		c.Type, c.ARN, c.PrincipalID = identity.User, arn, id
	}
}

// sessionOwner reads the role or user of a session as it is now.
func (s *Service) sessionOwner(ctx context.Context, k *kind, e *tokenEntry) (owner entity, err error) {
	err = s.view(ctx, func(tx *store.Tx) error {
		owner = entity{}
		for row, err := range k.table.ByIndex(tx, byID, store.Key{e.token.OwnerID}, store.ScanOptions{Limit: 1}) {
			if err != nil {
				return fmt.Errorf("read %s of a session: %w", k.noun, err)
			}
			owner = row.Value
		}
		return nil
	})
	if err != nil {
		return entity{}, err
	}
	if owner.ID == "" || owner.ID != e.token.OwnerID || owner.Account != e.account {
		return entity{}, sigv4.ErrTokenInvalid
	}
	return owner, nil
}

// rootOwner checks that the account of a root user's session is there.
func (s *Service) rootOwner(ctx context.Context, e *tokenEntry) error {
	var have bool
	err := s.view(ctx, func(tx *store.Tx) (err error) {
		have, err = s.accounts.Exists(tx, e.account)
		return err
	})
	if err != nil {
		return fmt.Errorf("read account of a session: %w", err)
	}
	if !have {
		return sigv4.ErrTokenInvalid
	}
	return nil
}
