package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/sigv4"
	"github.com/sagekeep/sagekeep/internal/store"
)

// The operator endpoint: commands beside a running server call it, signed with
// the operator key of DIR/credentials. That key is no AWS principal: it opens
// nothing but this path, and AWS credentials do not open this path.
const (
	operatorPath    = "/_sagekeep/"
	operatorPrefix  = "SGKO" // of operator key ids
	operatorService = "sagekeep"
	maxOperatorBody = 1 << 20
)

// operatorCall is one operation of the operator endpoint.
type operatorCall func(ctx context.Context, body []byte) (any, error)

func (s *Server) operatorCalls() map[string]operatorCall {
	return map[string]operatorCall{
		"CreateAccount":    s.operatorCreateAccount,
		"ImportCollection": s.operatorImportCollection,
		"JobProgress":      s.operatorJobProgress,
		"ExplainEvent":     s.operatorExplainEvent,
		"KeyImpact":        s.operatorKeyImpact,
		"ListKeys":         s.operatorListKeys,
		"MigrateSeal":      s.operatorMigrateSeal,
		"RotateSeal":       s.operatorRotateSeal,
	}
}

// operatorHandler serves POST /_sagekeep/OPERATION with JSON in and out.
func (s *Server) operatorHandler() http.Handler {
	calls := s.operatorCalls()
	verifier := &sigv4.Verifier{Lookup: func(_ context.Context, id, _ string) (*sigv4.Credential, error) {
		if id != s.creds.Operator.AccessKeyID {
			return nil, sigv4.ErrUnknownKey
		}
		return &sigv4.Credential{AccessKeyID: id, Secret: s.creds.Operator.SecretAccessKey}, nil
	}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, maxOperatorBody+1))
		if err != nil || len(body) > maxOperatorBody {
			operatorError(w, schema.NewError("InvalidRequest", 400, "the body cannot be read or is too large"))
			return
		}
		setReadDeadline(w, time.Time{})
		auth, err := sigv4.Inspect(r)
		if err == nil {
			err = verifier.Verify(r.Context(), r, auth, sigv4.Options{Body: body, Service: operatorService})
		}
		if err != nil {
			operatorError(w, schema.NewError("AccessDenied", 403, "the call is not signed with the operator key of this data directory"))
			return
		}
		name := strings.TrimPrefix(r.URL.Path, operatorPath)
		call, ok := calls[name]
		if !ok || r.Method != http.MethodPost {
			operatorError(w, schema.NewError("UnknownOperation", 404, "the operator endpoint has no operation %q", name))
			return
		}
		out, err := s.recorded(r, name, func(ctx context.Context) (any, error) { return call(ctx, body) })
		if err != nil {
			e := schema.AsError(err)
			switch {
			case e.Status >= 500:
				s.cfg.Log.Error("operator call failed", "operation", name, "code", e.Code, "error", err)
			case e.Code == sealFailedCode:
				s.cfg.Log.Warn("the seal was not changed", "operation", name, "error", err)
			}
			operatorError(w, e)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(out); err != nil {
			s.cfg.Log.Warn("operator answer was cut", "error", err)
		}
	})
}

func operatorError(w http.ResponseWriter, e *schema.Error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.Status)
	if err := json.NewEncoder(w).Encode(map[string]string{"code": e.Code, "message": e.Message}); err != nil {
		return // the client is gone
	}
}

// recorded runs an operator call and makes its record durable before it answers.
func (s *Server) recorded(r *http.Request, name string, call func(context.Context) (any, error)) (any, error) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr // not a TCP address
	}
	return s.record(r.Context(), host, r.UserAgent(), name, call)
}

// offline runs an operator call of a command that has opened the directory
// itself, with the same record.
func (s *Server) offline(ctx context.Context, name string, call func(context.Context) (any, error)) (any, error) {
	return s.record(ctx, "localhost", "sagekeep", name, call)
}

func (s *Server) record(ctx context.Context, host, agent, name string, call func(context.Context) (any, error)) (any, error) {
	c := &identity.Call{
		Caller: &identity.Caller{Type: "SagekeepOperator", Account: s.firstAccount(), AccessKeyID: s.creds.Operator.AccessKeyID},
		Region: DefaultRegion, RequestID: s.registry.NewID(), SourceIP: host, UserAgent: agent, Time: s.registry.Now().UTC(),
	}
	ctx = identity.With(ctx, c)
	ctx, p := audit.WithPending(ctx)
	ctx = store.WithPending(ctx, p)
	ctx, entry := p.Begin(ctx, "sagekeep.operator", name, false, false, s.registry.NewID())
	out, err := guarded(ctx, name, call)
	if err != nil {
		e := schema.AsError(err)
		entry.Fail(e.Code, e.Message)
	}
	rest, rerr := p.Rest()
	if rerr == nil && len(rest) > 0 {
		rerr = s.store.Journal().Append(context.WithoutCancel(ctx), rest...)
	}
	if rerr != nil {
		return nil, errors.Join(err, rerr)
	}
	return out, err
}

// guarded runs a call and makes an error of a panic, so that it is recorded.
func guarded(ctx context.Context, name string, call func(context.Context) (any, error)) (out any, err error) {
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, fmt.Errorf("operator call %s panicked: %v\n%s", name, p, debug.Stack())
		}
	}()
	return call(ctx)
}

// createAccountInput is the body of CreateAccount.
type createAccountInput struct {
	ID string `json:"id"`
}

func (s *Server) operatorCreateAccount(ctx context.Context, body []byte) (any, error) {
	var in createAccountInput
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, schema.NewError("InvalidRequest", 400, "the body is not JSON")
	}
	audit.From(ctx).SetRequest(map[string]string{"id": in.ID})
	key, err := s.createAccount(ctx, in.ID)
	if err != nil {
		return nil, accountError(in.ID, err)
	}
	return key, nil
}
