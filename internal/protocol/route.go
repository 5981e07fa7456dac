package protocol

import (
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/protocol/wire"
	"github.com/sagekeep/sagekeep/internal/sigv4"
)

// Finish builds the routers of the REST services. Call it after the last Handle.
func (r *Registry) Finish() {
	for _, svc := range r.services {
		if svc.Protocol != schema.RESTJSON1 && svc.Protocol != schema.RESTXML {
			continue
		}
		ops := slices.Clone(svc.known)
		for _, b := range svc.byName {
			if !slices.Contains(ops, b.op) {
				ops = append(ops, b.op)
			}
		}
		svc.router = wire.NewRouter(ops)
	}
}

// route finds service and operation: X-Amz-Target prefix; credential scope;
// form body; S3 last (DESIGN 4).
func (x *exchange) route() error {
	if target := x.r.Header.Get("X-Amz-Target"); target != "" {
		return x.routeTarget(target)
	}
	scope := ""
	if x.auth != nil {
		scope = x.auth.Scope.Service
	}
	switch {
	case scope == "" && isForm(x.r):
		return x.routeUnsignedForm()
	case scope == "" || scope == "s3":
		return x.routeS3()
	}
	svc := x.h.Registry.bySigningName(scope)
	if svc == nil && isForm(x.r) {
		return schema.NewError("InvalidAction", 400, "the service %q is not one of this endpoint's", scope)
	}
	if svc == nil {
		return schema.NewError("UnknownOperationException", 404, "the service %q is not one of this endpoint's", scope)
	}
	x.svc = svc
	if svc.Protocol == schema.AWSQuery {
		return x.routeQuery()
	}
	if svc.router == nil { // a JSON 1.1 service without its target header
		return schema.NewError("UnknownOperationException", 400, "the request names no operation: X-Amz-Target is missing")
	}
	// The signature covers the normalised path, so that is what routes.
	path := sigv4.NormalizePath(escapedPath(x.r))
	if op, labels, _ := svc.router.MatchHeader(x.r.Method, path, queryOf(x.r), x.r.Header); op != nil {
		x.setOperation(op, labels)
	}
	return nil // no operation: answered as unknown once the signature is proven
}

func (x *exchange) setOperation(op *schema.Operation, labels map[string]string) {
	x.op, x.labels = op, labels
	x.binding = x.h.Registry.bindings[op]
}

func (r *Registry) bySigningName(name string) *service {
	for _, svc := range r.services {
		if svc.SigningName == name {
			return svc
		}
	}
	return nil
}

// routeTarget splits PREFIX.Operation. Newer SDKs shorten CloudTrail's prefix to
// its last part, so that one matches too.
func (x *exchange) routeTarget(target string) error {
	i := strings.LastIndexByte(target, '.')
	if i < 0 {
		return schema.NewError("UnknownOperationException", 400, "X-Amz-Target is not PREFIX.Operation")
	}
	prefix, name := target[:i], target[i+1:]
	for _, svc := range x.h.Registry.services {
		if svc.TargetPrefix == "" || svc.TargetPrefix != prefix && !strings.HasSuffix(svc.TargetPrefix, "."+prefix) {
			continue
		}
		x.svc = svc
		x.named(name)
		return nil
	}
	return schema.NewError("UnknownOperationException", 400, "the target %q is not one of this endpoint's", prefix)
}

// named sets the operation by its name; a known one that is not registered gets
// an operation without a binding.
func (x *exchange) named(name string) {
	if b := x.svc.byName[name]; b != nil {
		x.setOperation(b.op, nil)
		return
	}
	if slices.Contains(x.svc.Known, name) {
		x.op = &schema.Operation{Service: x.svc.Service, Name: name}
		return
	}
}

func isForm(r *http.Request) bool {
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && t == "application/x-www-form-urlencoded" && r.Method == http.MethodPost && r.URL.Path == "/"
}

// readForm reads the parameters of a query request, from the body of a POST or
// from the URL of a GET. A presigned POST has an empty body and its parameters
// in the URL, which the signature covers.
func (x *exchange) readForm(most int64) error {
	if x.r.Method == http.MethodGet {
		x.form = queryOf(x.r)
		return nil
	}
	if err := x.readUpTo(x.r.Body, most); err != nil {
		return err
	}
	if len(x.body) == 0 {
		x.form = queryOf(x.r)
		return nil
	}
	form, err := url.ParseQuery(string(x.body))
	if err != nil {
		return schema.NewError("MalformedQueryString", 400, "the request body is not a well-formed query string")
	}
	x.form = form
	return nil
}

func (x *exchange) routeQuery() error {
	if err := x.readForm(maxBody); err != nil {
		return err
	}
	if v := x.form.Get("Version"); v != "" && v != x.svc.APIVersion {
		return schema.NewError("NoSuchVersion", 400, "the requested version (%s) is not valid", v)
	}
	x.named(x.form.Get("Action"))
	return nil
}

// routeUnsignedForm serves the unsigned operations of the query services.
func (x *exchange) routeUnsignedForm() error {
	if err := x.readForm(maxUnsignedForm); err != nil {
		return err
	}
	for _, svc := range x.h.Registry.services {
		if svc.Protocol == schema.AWSQuery && svc.APIVersion == x.form.Get("Version") {
			x.svc = svc
			x.named(x.form.Get("Action"))
			return nil
		}
	}
	return schema.NewError("MissingAuthenticationToken", 403, "Missing Authentication Token")
}

func (x *exchange) routeS3() error {
	svc := x.h.Registry.services["s3"]
	if svc == nil {
		return schema.NewError("UnknownOperationException", 404, "the request names no service of this endpoint")
	}
	x.svc = svc
	path := escapedPath(x.r)
	if bucket := HostBucket(x.r.Host); bucket != "" {
		path = "/" + bucket + path
	}
	if op, labels, _ := svc.router.MatchHeader(x.r.Method, path, queryOf(x.r), x.r.Header); op != nil {
		x.setOperation(op, labels)
	}
	return nil
}

// HostBucket returns the bucket of a virtual-hosted request: BUCKET.localhost,
// BUCKET.s3.localhost, BUCKET.s3.REGION.amazonaws.com and the like; "" for
// addresses and plain names.
func HostBucket(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if net.ParseIP(strings.Trim(host, "[]")) != nil {
		return ""
	}
	host = strings.ToLower(host)
	rest := ""
	switch {
	case strings.HasSuffix(host, ".localhost"):
		rest = strings.TrimSuffix(host, ".localhost")
	case strings.HasSuffix(host, ".amazonaws.com"):
		rest = strings.TrimSuffix(host, ".amazonaws.com")
	default:
		return ""
	}
	if rest == "s3" || strings.HasPrefix(rest, "s3.") {
		return ""
	}
	if i := strings.LastIndex(rest, ".s3"); i > 0 && (len(rest) == i+3 || rest[i+3] == '.' || rest[i+3] == '-') {
		return rest[:i]
	}
	if strings.HasSuffix(host, ".amazonaws.com") {
		return ""
	}
	return rest
}

// escapedPath is the path as received: "%2F" stays, dot segments stay. Only a
// target that does not begin with a slash is the absolute form that is sent to
// proxies: "://" inside a path is part of an object's name.
func escapedPath(r *http.Request) string {
	p, _, _ := strings.Cut(r.RequestURI, "?")
	if strings.HasPrefix(p, "/") {
		return p
	}
	_, authority, ok := strings.Cut(p, "://")
	if !ok {
		return p // "*", which is no path
	}
	if i := strings.IndexByte(authority, '/'); i >= 0 {
		return authority[i:]
	}
	return "/"
}
