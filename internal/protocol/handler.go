package protocol

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"reflect"
	"runtime/debug"
	"strings"
	"time"

	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol/wire"
	"github.com/sagekeep/sagekeep/internal/sigv4"
)

// maxBody bounds request bodies that are read whole, in bytes. The largest
// legal one is an IAM or KMS policy, URL-encoded, or an S3 DeleteObjects list.
const maxBody = 4 << 20

// maxUnsignedForm bounds what is read of a caller whom no signature proves. The
// largest legal form is that of AssumeRoleWithWebIdentity: a token, a session
// policy and ten ARNs.
const maxUnsignedForm = 64 << 10

// Handler is the HTTP side of the pipeline. Its fields are set before serving.
type Handler struct {
	Registry *Registry
	Verifier *sigv4.Verifier
	// Region is the one of requests without a credential scope.
	Region string
	Log    *slog.Logger
	// TrustedProxies may name the client in X-Forwarded-For.
	TrustedProxies []netip.Prefix
	// Observe is called once per request when set, for metrics.
	Observe func(service, operation, code string, status int)
	// EncodeDenial seals what a denied caller may have decoded, when set.
	EncodeDenial func(context.Context, *Denial) (string, error)
	// Used is told, when set, of every request whose signature was right.
	Used func(c *identity.Caller, service, region string, at time.Time)
}

// exchange is one request on its way.
type exchange struct {
	h         *Handler
	w         http.ResponseWriter
	r         *http.Request
	requestID string
	auth      *sigv4.Auth
	svc       *service
	op        *schema.Operation // nil until routed
	binding   *binding
	labels    map[string]string
	form      url.Values
	body      []byte
	stream    io.Reader
	timed     *timedBody // r.Body
	answering bool       // the status line may be gone
}

// ServeHTTP runs one request through the pipeline.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	timed := newTimedBody(w, r)
	own := *r // the server's own must keep its body
	own.Body = timed
	x := &exchange{h: h, w: w, r: &own, requestID: h.Registry.NewID(), timed: timed}
	defer func() {
		timed.linger()
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler {
				panic(p)
			}
			h.Log.Error("request panicked", "request_id", x.requestID, "panic", p, "stack", string(debug.Stack()))
			if x.answering {
				// An error behind half an answer would pass for the rest of it.
				panic(http.ErrAbortHandler)
			}
			x.fail(schema.NewError("InternalFailure", 500, "an internal error occurred"))
		}
	}()
	if err := x.serve(); err != nil {
		x.fail(err)
	}
}

func (x *exchange) serve() error {
	auth, inspectErr := sigv4.Inspect(x.r)
	x.auth = auth
	if err := x.route(); err != nil {
		return err
	}
	if inspectErr != nil {
		return inspectErr
	}
	caller, err := x.verify()
	if err != nil {
		return err
	}
	if x.op == nil {
		return unknownOperation(x.svc, x.r, x.form)
	}
	if x.binding == nil {
		return notImplemented(x.op)
	}
	return x.run(caller)
}

func (x *exchange) run(caller *identity.Caller) error {
	in := x.op.NewInput()
	call := x.call(caller)
	if x.h.Used != nil && !x.auth.Anonymous {
		x.h.Used(caller, x.svc.SigningName, call.Region, call.Time)
	}
	ctx := identity.With(x.r.Context(), call)
	ctx, pending := withPending(ctx)
	reg := x.h.Registry
	var out any
	err := wire.DecodeInput(x.op, &wire.Request{HTTP: x.r, Body: x.body, Stream: x.stream, Labels: x.labels, Form: x.form}, in)
	if err == nil {
		lease, refused := reg.enter(ctx, x.binding, in)
		if lease != nil {
			defer lease.Leave() // when it is answered
		}
		out, err = reg.invoke(ctx, pending, x.binding, in, refused)
	} else {
		// A request that cannot be decoded is recorded too: it came from a proven caller.
		e := schema.AsError(err)
		_, entry := pending.Begin(ctx, x.op.Service.EventSource, x.op.Name, x.op.ReadOnly, x.op.DataEvent, reg.NewID())
		entry.Fail(e.Code, e.Message)
	}
	if jerr := reg.journalRest(ctx, pending); jerr != nil {
		closeOutput(x.op, out)
		return jerr
	}
	if err != nil {
		return err
	}
	if x.svc.Protocol == schema.RESTXML {
		x.w.Header().Set("X-Amz-Id-2", hostID)
	}
	x.observe("", x.op.Status)
	x.answering = true
	if err := wire.EncodeOutput(x.op, x.w, x.requestID, out); err != nil {
		// The status line may be gone: cut the connection, so that the client sees a failure.
		x.h.Log.Warn("answer was cut", "request_id", x.requestID, "operation", x.op.Name, "error", err)
		panic(http.ErrAbortHandler)
	}
	return nil
}

// closeOutput releases a streaming answer that will not be sent.
func closeOutput(op *schema.Operation, out any) {
	if out == nil || !streams(op.Output) {
		return
	}
	body := reflect.ValueOf(out).Elem().Field(op.Output.Payload - 1).Interface()
	if c, ok := body.(io.Closer); ok {
		c.Close()
	}
}

func withPending(ctx context.Context) (context.Context, *audit.Pending) {
	ctx, p := audit.WithPending(ctx)
	return withStorePending(ctx, p), p
}

// call gathers the request's facts.
func (x *exchange) call(caller *identity.Caller) *identity.Call {
	c := &identity.Call{
		Caller: caller, Region: x.region(), RequestID: x.requestID, SourceIP: x.clientAddress(),
		UserAgent: cut(x.r.UserAgent()), Host: cut(x.r.Host), Time: x.h.Registry.Now().UTC(),
	}
	if t := x.r.TLS; t != nil {
		c.TLS = identity.TLS{
			Version:     strings.ReplaceAll(tls.VersionName(t.Version), " ", "v"),
			CipherSuite: tls.CipherSuiteName(t.CipherSuite), KeyExchange: t.CurveID.String(),
		}
	}
	return c
}

// maxFact is how much of a header counts, in bytes. Whoever sends it, anonymous
// callers too, chooses its length; it is recorded and compared with policies.
// Source: AWS CloudTrail User Guide, "CloudTrail record contents", userAgent.
const maxFact = 1024

func cut(header string) string {
	if len(header) <= maxFact {
		return header
	}
	return strings.ToValidUTF8(header[:maxFact], "")
}

// globalRegion is where AWS keeps the services that are one for all regions, and
// where it records their calls.
const globalRegion = "us-east-1"

// region is where the call takes place. A global service's is not the caller's
// to choose by the credential scope: aws:RequestedRegion would be what the caller
// likes, and the record would lie in a region where nobody looks.
//
// Sources: AWS CloudTrail User Guide, "Global service events"; IAM User Guide,
// "AWS global condition context keys", aws:RequestedRegion.
func (x *exchange) region() string {
	if x.svc != nil && (x.svc.Name == "iam" || x.svc.Name == "organizations") {
		return globalRegion
	}
	if x.auth == nil || x.auth.Scope.Region == "" {
		return x.h.Region
	}
	return x.auth.Scope.Region
}

// clientAddress is the peer's address, or the one a trusted proxy names last.
func (x *exchange) clientAddress() string {
	host, _, err := net.SplitHostPort(x.r.RemoteAddr)
	if err != nil {
		host = x.r.RemoteAddr
	}
	if len(x.h.TrustedProxies) == 0 {
		return host
	}
	hops := strings.Split(strings.Join(x.r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && x.trusted(host); i-- {
		a, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		host = a.String()
	}
	return host
}

func (x *exchange) trusted(host string) bool {
	a, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	for _, p := range x.h.TrustedProxies {
		if p.Contains(a.Unmap()) {
			return true
		}
	}
	return false
}

// verify proves who sent the request and reads the body, in the order that the
// service's signature rules need.
func (x *exchange) verify() (*identity.Caller, error) {
	if x.svc.Protocol == schema.RESTXML {
		return x.verifyS3()
	}
	if x.body == nil {
		if err := x.readBody(x.r.Body); err != nil {
			return nil, err
		}
	}
	if x.auth.Anonymous {
		if x.op != nil && (x.op.Unsigned || x.binding == nil) {
			return anonymous, nil // one that we lack is refused as that, signed or not
		}
		return nil, &sigv4.Error{Kind: sigv4.MissingAuth, Message: "Missing Authentication Token"}
	}
	opts := sigv4.Options{Body: x.body, Service: x.svc.SigningName}
	if err := x.h.Verifier.Verify(x.r.Context(), x.r, x.auth, opts); err != nil {
		return nil, err
	}
	return callerOf(x.auth)
}

func (x *exchange) verifyS3() (*identity.Caller, error) {
	caller := anonymous
	x.stream = x.r.Body
	if !x.auth.Anonymous {
		opts := sigv4.Options{S3: true, Service: x.svc.SigningName}
		if err := x.h.Verifier.Verify(x.r.Context(), x.r, x.auth, opts); err != nil {
			return nil, err
		}
		var err error
		if caller, err = callerOf(x.auth); err != nil {
			return nil, err
		}
	}
	payload, err := x.h.Verifier.Body(x.r, x.auth)
	if err != nil {
		return nil, err
	}
	x.stream = payload
	if x.op != nil && !streams(x.op.Input) {
		return caller, x.readBody(payload)
	}
	return caller, nil
}

// streams reports whether the input's payload is not buffered.
func streams(s *schema.Shape) bool {
	return s != nil && s.Payload > 0 && s.Members[s.Payload-1].Shape.Streaming
}

func (x *exchange) readBody(r io.Reader) error { return x.readUpTo(r, maxBody) }

func (x *exchange) readUpTo(r io.Reader, most int64) error {
	x.timed.whole()
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		if _, ok := errors.AsType[*sigv4.Error](err); ok {
			return err
		}
		if _, ok := errors.AsType[*schema.Error](err); ok {
			return err
		}
		return schema.NewError("RequestTimeout", 400, "the request body could not be read").Because(err)
	}
	if int64(len(b)) > most {
		return schema.NewError("RequestEntityTooLargeException", 413, "the request body is larger than %d bytes", most)
	}
	x.body, x.stream = b, nil
	return nil
}

// anonymous is the caller of unsigned requests.
var anonymous = &identity.Caller{Type: identity.Anonymous, ARN: "anonymous"}

func callerOf(a *sigv4.Auth) (*identity.Caller, error) {
	c, ok := a.Credential.Owner.(*identity.Caller)
	if !ok {
		return nil, errors.New("protocol: the credential has no owner")
	}
	return c, nil
}

// fail answers with an error in the protocol of the service.
func (x *exchange) fail(err error) {
	x.timed.linger()
	var svc *schema.Service
	if x.svc != nil {
		svc = x.svc.Service
	}
	e := x.translate(err, svc)
	if e.Status >= 500 && e.Status != http.StatusNotImplemented {
		x.h.Log.Error("request failed", "request_id", x.requestID, "service", svcName(svc), "operation", opName(x.op),
			"code", e.Code, "error", errors.Unwrap(e))
	}
	x.observe(e.Code, e.Status)
	x.explainDenial(err)
	if svc == nil {
		writeUnrouted(x.w, x.r, x.requestID, e)
		return
	}
	wire.EncodeError(svc, x.op, x.w, x.r, x.requestID, hostID, e)
}

// hostID is S3's second request id; ours is constant, it identifies no host.
const hostID = "sagekeep"

func (x *exchange) observe(code string, status int) {
	if x.h.Observe == nil || x.svc == nil {
		return
	}
	x.h.Observe(x.svc.Name, opName(x.op), code, status)
}

func svcName(s *schema.Service) string {
	if s == nil {
		return ""
	}
	return s.Name
}

func opName(op *schema.Operation) string {
	if op == nil {
		return "unknown"
	}
	return op.Name
}

// unrouted stands for the query services that we do not know.
var unrouted = &schema.Service{Name: "unknown", Protocol: schema.AWSQuery}

// writeUnrouted answers a request of no service that we know: in XML to a form,
// as query clients expect, and in JSON otherwise.
func writeUnrouted(w http.ResponseWriter, r *http.Request, requestID string, e *schema.Error) {
	if isForm(r) {
		wire.EncodeError(unrouted, nil, w, r, requestID, hostID, e)
		return
	}
	b, err := json.Marshal(map[string]string{"__type": e.Code, "message": e.Message})
	if err != nil {
		b = []byte("{}")
	}
	h := w.Header()
	h.Set("Content-Type", "application/x-amz-json-1.1")
	h.Set("X-Amzn-RequestId", requestID)
	h.Set("X-Amzn-ErrorType", e.Code)
	w.WriteHeader(e.Status)
	w.Write(b)
}
