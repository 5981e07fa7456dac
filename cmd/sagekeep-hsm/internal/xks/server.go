package xks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/sagekeep/sagekeep/cmd/sagekeep-hsm/internal/token"
	"github.com/sagekeep/sagekeep/internal/sigv4"
)

// Token is what a proxy needs of a token; [token.Token] says what the methods do.
type Token interface {
	Versions(ctx context.Context, label string) ([]token.Key, error)
	Encrypt(ctx context.Context, label string, id, plaintext, aad []byte) (token.Sealed, error)
	Decrypt(ctx context.Context, label string, id []byte, s token.Sealed, aad []byte) ([]byte, error)
	Check(ctx context.Context) (token.Info, error)
}

// Config is what a proxy is made of. Token and Lookup must be set.
type Config struct {
	Token Token
	// Lookup finds the credentials that requests are signed with.
	Lookup sigv4.Lookup
	// Prefix stands before /kms/xks/v1 in the path; see CheckPrefix.
	Prefix string
	// Keys are the labels that are served; none means all.
	Keys []string
	// Accounts are the accounts whose KMS keys are served; none means all.
	Accounts []string
	// Timeout bounds the work of one request; 0 means 2 seconds.
	Timeout time.Duration
	// Version is shown in the health status.
	Version string
	// Log takes one line for each request; nil drops them.
	Log *slog.Logger
	// Now is the clock, time.Now when nil.
	Now func() time.Time
}

const (
	basePath = "/kms/xks/v1"
	service  = "kms-xks-proxy"
	region   = "" // that which calls: any

	defaultTimeout = 2 * time.Second
	// healthLives is how long a check of the token counts: the specification
	// allows a minute. failureLives keeps callers from hammering a broken token.
	healthLives  = 30 * time.Second
	failureLives = time.Second
	// checkEvery keeps a fresh answer ready, because KMS waits for 250 ms only.
	checkEvery = 15 * time.Second
)

// Server answers the requests of a KMS.
type Server struct {
	cfg      Config
	verifier sigv4.Verifier

	mu      sync.Mutex // held while the token is checked
	checked time.Time  // zero: no check counts
	info    token.Info
	failure error
}

// New returns a proxy.
func New(cfg Config) (*Server, error) {
	if err := CheckPrefix(cfg.Prefix); err != nil {
		return nil, err
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Server{cfg: cfg, verifier: sigv4.Verifier{Lookup: cfg.Lookup, Now: cfg.Now}}, nil
}

var prefix = regexp.MustCompile(`^(/[a-zA-Z0-9_-]+)*$`)

// CheckPrefix reports whether s can stand before /kms/xks/v1: nothing, or /NAME
// once or more. The whole path has at most 128 characters.
func CheckPrefix(s string) error {
	if limit := 128 - len(basePath); !prefix.MatchString(s) || len(s) > limit {
		return fmt.Errorf("%q is not a URI path prefix: want /NAME, once or more, of letters, digits, - and _, at most %d characters", s, limit)
	}
	return nil
}

// route says what a request path asks for.
func (s *Server) route(uri string) (op operation, key string, ok bool) {
	// Anything that a signature could read in another way matches nothing here.
	rest, ok := strings.CutPrefix(uri, s.cfg.Prefix+basePath)
	if !ok {
		return "", "", false
	}
	if rest == "/health" {
		return health, "", true
	}
	rest, ok = strings.CutPrefix(rest, "/keys/")
	key, verb, found := strings.Cut(rest, "/")
	if !ok || !found || token.CheckLabel(key) != nil {
		return "", "", false
	}
	switch verb {
	case "metadata":
		return describe, key, true
	case "encrypt":
		return encrypt, key, true
	case "decrypt":
		return decrypt, key, true
	}
	return "", "", false
}

// ServeHTTP answers the four operations, and GET /healthz without a signature, with
// 200 or 503, for load balancers.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.RequestURI == "/healthz" {
		s.probe(w, r)
		return
	}
	began := s.cfg.Now()
	op, key, known := s.route(r.RequestURI)
	if known && r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	var m metadata
	var answer any
	err := error(invalidPath())
	if known {
		answer, err = s.serve(w, r, op, key, &m)
	}
	status, name := http.StatusOK, ""
	if err != nil {
		e := from(err)
		status, name = e.Status, e.Name
		answer = errorAnswer{e.Name, e.Message}
		if errors.Is(err, token.ErrUnavailable) || errors.Is(err, token.ErrDenied) || errors.Is(err, token.ErrTimeout) {
			s.doubt()
		}
	}
	write(w, status, answer)
	attrs := []slog.Attr{
		slog.String("operation", string(op)), slog.String("key", key), slog.Int("status", status),
		slog.Duration("took", s.cfg.Now().Sub(began)), slog.String("remote", r.RemoteAddr),
	}
	for _, a := range [][2]string{
		{"request_id", m.RequestID},
		{"kms_operation", m.Operation},
		{"principal", m.PrincipalARN},
		{"key_arn", m.KeyARN},
		{"via", m.ViaService},
		{"vpc", m.SourceVPC},
		{"vpce", m.SourceVPCE},
		{"error_name", name},
	} {
		if a[1] != "" {
			attrs = append(attrs, slog.String(a[0], a[1]))
		}
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	s.cfg.Log.LogAttrs(r.Context(), slog.LevelInfo, "xks request", attrs...)
}

// serve does everything between the path and the answer. It fills m as soon as the
// signature is proven.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, op operation, key string, m *metadata) (any, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	defer clear(body)
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, unsupported("The body has more than %d bytes.", maxBody)
	}
	if err != nil {
		return nil, validation("The body could not be read.").because(err)
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.Timeout)
	defer cancel()
	if err := s.authenticate(ctx, r, body); err != nil {
		return nil, err
	}
	req, err := parse(op, body)
	if err != nil {
		return nil, err
	}
	*m = *req.Metadata
	if op == health {
		return s.health(ctx)
	}
	if err := s.authorise(key, m); err != nil {
		return nil, err
	}
	switch op {
	case describe:
		return s.describe(ctx, key)
	case encrypt:
		return s.encrypt(ctx, key, req)
	default:
		return s.decrypt(ctx, key, req)
	}
}

func (s *Server) authenticate(ctx context.Context, r *http.Request, body []byte) error {
	a, err := sigv4.Inspect(r)
	if err == nil && a.Presigned {
		return unauthenticated(errors.New("presigned"))
	}
	if err == nil {
		err = s.verifier.Verify(ctx, r, a, sigv4.Options{Body: body, Service: service, Region: region})
	}
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*sigv4.Error](err); ok {
		return unauthenticated(err)
	}
	return err
}

func write(w http.ResponseWriter, status int, answer any) {
	b, err := json.Marshal(answer)
	if err != nil {
		panic("xks: an answer does not marshal: " + err.Error())
	}
	defer clear(b)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(b) // who went away needs no answer
}

// probe is the check of a load balancer.
func (s *Server) probe(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if _, err := s.check(r.Context(), healthLives); err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, "the token cannot be used\n")
		return
	}
	_, _ = io.WriteString(w, "ok\n")
}

// check returns the last check of the token when it is younger than age, or makes
// one. Those who come meanwhile wait for its result.
func (s *Server) check(ctx context.Context, age time.Duration) (token.Info, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure != nil {
		age = min(age, failureLives)
	}
	if !s.checked.IsZero() && s.cfg.Now().Sub(s.checked) < age {
		return s.info, s.failure
	}
	// The result is for all who wait, so it does not end with who asked first.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Timeout)
	defer cancel()
	s.info, s.failure = s.cfg.Token.Check(ctx)
	s.checked = s.cfg.Now()
	return s.info, s.failure
}

// doubt makes the next question about health ask the token.
func (s *Server) doubt() {
	if s.mu.TryLock() { // a check under way answers the doubt
		s.checked = time.Time{}
		s.mu.Unlock()
	}
}

// Watch keeps the health status fresh until ctx ends, and logs its changes.
func (s *Server) Watch(ctx context.Context) {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	healthy := true
	for {
		_, err := s.check(ctx, 0)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && healthy:
			s.cfg.Log.Error("the token cannot be used", "error", err)
		case err == nil && !healthy:
			s.cfg.Log.Info("the token can be used again")
		}
		healthy = err == nil
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
