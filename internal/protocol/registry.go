package protocol

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol/wire"
	"github.com/sagekeep/sagekeep/internal/store"
)

// Check is one question to the evaluator: may the caller do this to that.
type Check struct {
	// Action is the IAM action; "" means SERVICE:Operation.
	Action string
	// Resource is the ARN, "*" for actions without one.
	Resource string
	// ResourceType is CloudTrail's type; with it the resource enters the record.
	ResourceType string
	// Account owns the resource; "" means the caller's account.
	Account string
	// Policy is the resource's own policy; nil means it has none.
	Policy *authz.Policy
	// Kind says what the resource policy must do by itself.
	Kind ResourceKind
	// AWSManaged says that an AWS service made the resource and manages it, as it
	// does an AWS managed key: resource control policies do not bear on it.
	AWSManaged bool
	// Grants are the live grants on the key.
	Grants []authz.Grant
	// EncryptionContext is the one that grant constraints are compared with.
	EncryptionContext map[string]string
	// Context adds condition keys of the service to the global ones.
	Context authz.Context
	// Denied replaces the access-denied answer, for example to hide that a
	// resource does not exist.
	Denied error
}

// ResourceKind separates the resources whose own policy must allow, whatever
// IAM says, from all others.
type ResourceKind uint8

// The kinds of resources.
const (
	Plain     ResourceKind = iota // IAM alone may allow within the account
	KMSKey                        // the key policy must allow the caller, or delegate to its account
	RoleTrust                     // the trust policy must
)

// Resolver names what a call touches. It may read rows and changes nothing.
type Resolver[In any] func(ctx context.Context, in *In) ([]Check, error)

// AnyResource is the resolver of operations that address no resource.
func AnyResource[In any](context.Context, *In) ([]Check, error) {
	return []Check{{Resource: "*"}}, nil
}

// Unchecked is the resolver of the few operations that AWS answers for every
// authenticated caller, even under an explicit deny (sts:GetCallerIdentity).
func Unchecked[In any](context.Context, *In) ([]Check, error) { return nil, nil }

// Authorizer answers checks; it is the Evaluator of package evaluator.
type Authorizer interface {
	Decide(ctx context.Context, c *Check) (authz.Decision, error)
}

// Limiter bounds how fast an account may call a service. It is asked about each
// call of a proven caller, those of other services for it included, before the
// call is authorised.
type Limiter interface {
	// Enter admits a call until Leave of the lease, or refuses it with the
	// service's error. A refused call has no lease.
	Enter(ctx context.Context, op *schema.Operation, in any) (Lease, error)
}

// Lease is an admitted call.
type Lease interface{ Leave() }

// Journal makes records durable that no commit took along.
type Journal interface {
	Append(ctx context.Context, entries ...[]byte) error
}

// binding is one operation with its method.
type binding struct {
	op      *schema.Operation
	svc     *service
	resolve func(ctx context.Context, in any) ([]Check, error)
	call    func(ctx context.Context, in any) (any, error)
}

// Registry holds every operation that the process serves. Fill it before
// serving; it is read-only afterwards.
type Registry struct {
	authorizer Authorizer
	journal    Journal
	bindings   map[*schema.Operation]*binding
	services   map[string]*service // by service name

	// NewID makes request and event ids; tests replace it.
	NewID func() string
	// Now is the instant that records carry.
	Now func() time.Time
}

// service is what the registry knows of one AWS service.
type service struct {
	*schema.Service
	byName map[string]*binding
	// limiter is nil for services without one.
	limiter Limiter
	known   []*schema.Operation // generated, registered or not; REST protocols route by them
	router  *wire.Router        // REST protocols only, built by Finish
}

// NewRegistry returns an empty registry.
func NewRegistry(a Authorizer, j Journal) *Registry {
	return &Registry{
		authorizer: a, journal: j,
		bindings: map[*schema.Operation]*binding{}, services: map[string]*service{},
		NewID: newUUID, Now: time.Now,
	}
}

// Handle binds a method to an operation. Without a resolver nothing can be
// registered, so no operation skips authorisation or audit; registering twice
// panics at start-up.
func Handle[In, Out any](r *Registry, op schema.Op[In, Out], resolve Resolver[In], method func(context.Context, *In) (*Out, error)) {
	if resolve == nil || method == nil {
		panic("protocol: " + op.Name + " needs a resolver and a method")
	}
	svc := r.services[op.Service.Name]
	if svc == nil {
		svc = &service{Service: op.Service, byName: map[string]*binding{}}
		r.services[op.Service.Name] = svc
	}
	if svc.byName[op.Name] != nil {
		panic("protocol: " + op.Service.Name + ":" + op.Name + " is registered twice")
	}
	b := &binding{
		op:      op.Operation,
		svc:     svc,
		resolve: func(ctx context.Context, in any) ([]Check, error) { return resolve(ctx, in.(*In)) },
		call: func(ctx context.Context, in any) (any, error) {
			out, err := method(ctx, in.(*In))
			if out == nil {
				return nil, err
			}
			return out, err
		},
	}
	svc.byName[op.Name] = b
	r.bindings[op.Operation] = b
}

// Limit makes l decide how fast accounts may call a service. Call it after the
// service's first Handle.
func (r *Registry) Limit(svc *schema.Service, l Limiter) { r.services[svc.Name].limiter = l }

// enter asks the service's limiter.
func (r *Registry) enter(ctx context.Context, b *binding, in any) (Lease, error) {
	if b.svc.limiter == nil {
		return nil, nil
	}
	return b.svc.limiter.Enter(ctx, b.op, in)
}

// Know adds operations that the service's model has, registered or not, so that a
// request for one of those not registered is routed to the answer that it is not
// implemented. Call it after the service's first Handle.
func (r *Registry) Know(ops ...*schema.Operation) {
	for _, op := range ops {
		if svc := r.services[op.Service.Name]; svc != nil {
			svc.known = append(svc.known, op)
		}
	}
}

// Operations returns what is registered, by service name, for the coverage page.
func (r *Registry) Operations() map[string][]*schema.Operation {
	out := map[string][]*schema.Operation{}
	for name, svc := range r.services {
		for _, b := range svc.byName {
			out[name] = append(out[name], b.op)
		}
		slices.SortFunc(out[name], func(a, b *schema.Operation) int { return strings.Compare(a.Name, b.Name) })
	}
	return out
}

// Call runs an operation for the caller in ctx, as one service calls another:
// resolved, authorised and recorded like a request from outside. Inside a
// request its record joins the request's; elsewhere it is durable on return.
func Call[In, Out any](ctx context.Context, r *Registry, op schema.Op[In, Out], in *In) (*Out, error) {
	b := r.bindings[op.Operation]
	if b == nil {
		return nil, fmt.Errorf("protocol: %s:%s is not registered", op.Service.Name, op.Name)
	}
	pending := audit.PendingFrom(ctx)
	own := pending == nil
	if own {
		ctx, pending = withPending(ctx)
	}
	lease, refused := r.enter(ctx, b, in)
	if lease != nil {
		defer lease.Leave()
	}
	out, err := r.invoke(ctx, pending, b, in, refused)
	if own {
		if jerr := r.journalRest(ctx, pending); jerr != nil {
			return nil, jerr
		}
	}
	if err != nil {
		return nil, err
	}
	o, _ := out.(*Out)
	return o, nil
}

// invoke is the road from the resource on. A call that the limiter refused ends
// where it begins, with a record.
func (r *Registry) invoke(ctx context.Context, p *audit.Pending, b *binding, in any, refused error) (out any, err error) {
	ctx, entry := p.Begin(ctx, b.op.Service.EventSource, b.op.Name, b.op.ReadOnly, b.op.DataEvent, r.NewID())
	if err = refused; err == nil {
		out, err = r.run(ctx, entry, b, in)
	}
	if err != nil {
		err = storageError(b.op.Service, err)
		e := schema.AsError(err)
		code := e.Code
		if e.AuditCode != "" {
			code = e.AuditCode
		}
		if d, ok := errors.AsType[*Denial](err); ok {
			entry.Deny(d.Record())
			if d.Kind == KMSKey {
				entry.TellCallerAlone()
			}
		}
		entry.Fail(code, e.Message)
		return nil, err
	}
	return out, nil
}

func (r *Registry) run(ctx context.Context, entry *audit.Entry, b *binding, in any) (out any, err error) {
	defer func() {
		// A broken invariant fails the call, which is then recorded like any other.
		if p := recover(); p != nil {
			out, err = nil, fmt.Errorf("protocol: %s panicked: %v\n%s", b.op.Name, p, debug.Stack())
		}
	}()
	if !identity.From(ctx).Caller.MayCall(b.op.Service.Name, b.op.Name) {
		return nil, schema.NewError("InvalidClientTokenId", 403, "The security token included in the request is invalid")
	}
	checks, err := b.resolve(ctx, in)
	if !b.op.DataEvent && b.op.Input != nil {
		entry.DefaultRequestJSON(requestParameters(b.op, in)) // after the resolver, which fills in defaults
	}
	if err != nil {
		return nil, err
	}
	for i := range checks {
		c := &checks[i]
		if c.Action == "" {
			c.Action = b.op.Service.Name + ":" + b.op.Name
		}
		if c.ResourceType != "" {
			entry.AddResource(c.Account, c.ResourceType, c.Resource)
		}
	}
	for i := range checks {
		if err := r.authorize(ctx, b.op.Service, &checks[i]); err != nil {
			return nil, err
		}
	}
	return b.call(context.WithValue(ctx, checksKey{}, checks), in)
}

type checksKey struct{}

// Checks returns what the caller of the method that runs in ctx was allowed, for a
// method that must ask again after it has waited. They must not be changed.
func Checks(ctx context.Context) []Check {
	checks, _ := ctx.Value(checksKey{}).([]Check)
	return checks
}

// Authorize asks the evaluator about c for the caller in ctx, without a call
// and without a record: for what a service must know before it begins.
func (r *Registry) Authorize(ctx context.Context, svc *schema.Service, c *Check) error {
	return r.authorize(ctx, svc, c)
}

func (r *Registry) authorize(ctx context.Context, svc *schema.Service, c *Check) error {
	d, err := r.authorizer.Decide(ctx, c)
	if err != nil {
		return err // fail closed (I5)
	}
	if d.Effect == authz.Allowed {
		return nil
	}
	return deny(ctx, svc, c, d)
}

// accessDenied is the service's form of a refusal; every service writes
// AccessDenied into the record.
func accessDenied(svc *schema.Service, message string) *schema.Error {
	e := schema.NewError("AccessDenied", 403, "%s", message)
	switch svc.Protocol {
	case schema.AWSJSON11:
		e.Code, e.Status = "AccessDeniedException", 400
	case schema.RESTJSON1:
		e.Code = "AccessDeniedException"
	}
	e.AuditCode = "AccessDenied"
	return e
}

// requestParameters renders an input for the record: no blobs, nothing sensitive.
func requestParameters(op *schema.Operation, in any) []byte {
	b := wire.AppendAuditJSON(nil, op.Input, in)
	if len(b) == 0 || string(b) == "{}" {
		return []byte("null")
	}
	return b
}

// Respond sets responseElements from the operation's output. A method that
// commits calls it inside its Update.
func Respond[In, Out any](ctx context.Context, op schema.Op[In, Out], out *Out) {
	audit.From(ctx).SetResponseJSON(wire.AppendAuditJSON(nil, op.Output, out))
}

func (r *Registry) journalRest(ctx context.Context, p *audit.Pending) error {
	rest, err := p.Rest()
	if err != nil {
		return schema.AsError(err)
	}
	if len(rest) == 0 {
		return nil
	}
	// The caller may be gone; the record is needed all the same.
	if err := r.journal.Append(context.WithoutCancel(ctx), rest...); err != nil {
		if errors.Is(err, store.ErrFull) {
			return err
		}
		return schema.NewError("InternalFailure", 500, "the audit record could not be stored").Because(err)
	}
	return nil
}

// newUUID returns a random UUID (version 4).
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	var s [36]byte
	hex.Encode(s[:8], b[:4])
	s[8] = '-'
	hex.Encode(s[9:13], b[4:6])
	s[13] = '-'
	hex.Encode(s[14:18], b[6:8])
	s[18] = '-'
	hex.Encode(s[19:23], b[8:10])
	s[23] = '-'
	hex.Encode(s[24:], b[10:])
	return string(s[:])
}
