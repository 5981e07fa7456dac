// Package identity says who makes a call: the principal, its session and the
// chain of services through which the call came, and carries that with the
// facts of the request in a context.
package identity

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Type is the kind of a principal, with CloudTrail's names.
type Type string

// The principal types we know.
const (
	Root          Type = "Root"
	User          Type = "IAMUser"
	AssumedRole   Type = "AssumedRole"
	FederatedUser Type = "FederatedUser" // a session made by GetFederationToken
	WebIdentity   Type = "WebIdentityUser"
	Service       Type = "AWSService"
	Anonymous     Type = "AWSAccount" // unsigned requests; CloudTrail writes AWSAccount with the account ANONYMOUS_PRINCIPAL
)

// Hop is one service that forwards its caller's request to another service.
type Hop struct {
	Service string // for example "s3"
	Region  string
}

// Endpoint is the regional name, as in kms:ViaService.
func (h Hop) Endpoint() string { return h.Service + "." + h.Region + ".amazonaws.com" }

// Principal is the global name, as in aws:CalledVia and invokedBy.
func (h Hop) Principal() string { return h.Service + ".amazonaws.com" }

// Caller is the principal of one call. It is immutable: the methods that
// change something return a copy.
type Caller struct {
	Type        Type
	Account     string // 12 digits; "" for service principals, web identities and anonymous callers
	ARN         string // user, assumed-role session, federated-user session or account root ARN
	PrincipalID string // AIDA…, AROA…:session, ACCOUNT:federated name, account id
	AccessKeyID string

	// UserName is the IAM user, of a FederatedUser the one that made the session
	// ("" for the root user), of a WebIdentity the token's subject.
	UserName string
	// UserARN and UserID are the user behind a FederatedUser session.
	UserARN, UserID string
	// Sessions of roles.
	RoleName, RoleARN, RoleID, SessionName string
	// SessionPolicies are the documents passed when the session was made.
	SessionPolicies []string
	SessionTags     map[string]string
	// TransitiveTagKeys are the session tags that sessions made from this one inherit.
	TransitiveTagKeys []string
	SourceIdentity    string
	// Provider is the identity provider of a WebIdentity, or of a role session
	// that one was given: its ARN, or its name if AWS knows it.
	Provider string
	// ProviderKeys are condition keys of that provider, ISSUER:sub and the like,
	// which requests of the session have.
	ProviderKeys map[string][]string
	IssuedAt     time.Time // when the temporary credentials were made; zero for long-term ones

	// Via is the chain of services that forwarded the call, oldest first.
	Via []Hop
	// InvokedBy replaces the invokedBy that Via would give in the audit record.
	InvokedBy string

	// Service principals: the regional name (sagemaker-geospatial.REGION.amazonaws.com),
	// and whose resource the service acts for.
	ServiceName   string
	SourceARN     string
	SourceAccount string
	GrantID       string // the only grant the evaluator may consider
}

// Temporary reports whether the credentials of the request end by themselves.
func (c *Caller) Temporary() bool { return !c.IssuedAt.IsZero() }

// MayCall reports whether the credentials are good for an operation of a
// service (iam, sts …) at all, whatever policies say. Those made by
// GetSessionToken without MFA, and all made by GetFederationToken, call nothing
// of IAM and of STS only what is named here; a new operation is closed to them.
// GetSessionToken and GetFederationToken refuse every session with a text of
// their own.
//
// Source: IAM User Guide, "Compare AWS STS credentials"; AWS STS API Reference,
// GetSessionToken.
func (c *Caller) MayCall(service, operation string) bool {
	federated := c.Type == FederatedUser
	own := (c.Type == User || c.Type == Root) && c.Temporary()
	if !federated && !own {
		return true
	}
	switch service {
	case "iam":
		return false
	case "sts":
		switch operation {
		case "GetCallerIdentity", "GetSessionToken", "GetFederationToken":
			return true
		case "AssumeRole":
			return own
		}
		return false
	}
	return true
}

// Transitive returns the session tags that sessions made from this one
// inherit, nil for none. Keys are the same whatever their case.
func (c *Caller) Transitive() map[string]string {
	var tags map[string]string
	for _, key := range c.TransitiveTagKeys {
		for k, v := range c.SessionTags {
			if strings.EqualFold(k, key) {
				if tags == nil {
					tags = make(map[string]string, len(c.TransitiveTagKeys))
				}
				tags[k] = v
			}
		}
	}
	return tags
}

// Forward returns the caller as seen by a service that hop's service calls on
// its behalf: a forward access session.
func (c *Caller) Forward(hop Hop) *Caller {
	n := *c
	n.Via = append(slices.Clip(c.Via), hop)
	return &n
}

// Name is how error texts call the principal: its ARN, or the service's name.
func (c *Caller) Name() string {
	if c.Type == Service {
		return c.ServiceName
	}
	return c.ARN
}

// GlobalServiceName is ServiceName without the region, as audit records show it.
func (c *Caller) GlobalServiceName() string {
	name, rest, ok := strings.Cut(c.ServiceName, ".")
	if !ok {
		return c.ServiceName
	}
	if strings.HasPrefix(rest, "amazonaws.com") {
		return c.ServiceName
	}
	return name + ".amazonaws.com"
}

// Call is one request's facts besides its caller.
type Call struct {
	Caller    *Caller
	Region    string // from the credential scope
	RequestID string
	SourceIP  string
	UserAgent string
	Host      string // Host header as sent
	TLS       TLS
	Time      time.Time
}

// TLS describes the connection; the zero value means plain HTTP.
type TLS struct {
	Version, CipherSuite, KeyExchange string
}

type callKey struct{}

// With returns a context that carries the call.
func With(ctx context.Context, c *Call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

// From returns the call in ctx. It panics without one: a method that needs a
// caller is only ever run by the request pipeline or by a job that set one.
func From(ctx context.Context) *Call {
	c, ok := ctx.Value(callKey{}).(*Call)
	if !ok {
		panic("identity: no call in the context")
	}
	return c
}

// As returns ctx with the caller of its call replaced and every other fact of
// the request kept.
func As(ctx context.Context, caller *Caller) context.Context {
	n := *From(ctx)
	n.Caller = caller
	return With(ctx, &n)
}
