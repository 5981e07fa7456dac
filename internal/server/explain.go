package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/store"
)

// ExplainInput is the body of ExplainEvent.
type ExplainInput struct {
	// ID is an event id, or the request id that the caller was answered with.
	ID string `json:"id"`
}

// ExplainOutput holds what the audit journal knows of an event, one element for
// each record of it: a request may have called other services, and each account
// that it touched has a record of its own.
type ExplainOutput struct {
	Events []ExplainedEvent `json:"events"`
}

// ExplainedEvent is one record with the reason of the refusal.
type ExplainedEvent struct {
	EventID      string `json:"eventId"`
	RequestID    string `json:"requestId"`
	EventTime    string `json:"eventTime"`
	EventSource  string `json:"eventSource"`
	EventName    string `json:"eventName"`
	Account      string `json:"account"` // whose record it is
	Caller       string `json:"caller"`  // ARN; without one the type, and what ids the record has
	ErrorCode    string `json:"errorCode,omitempty"`
	ErrorMessage string `json:"errorMessage,omitempty"`
	// Authorization is nil for what no policy refused.
	Authorization *audit.Authorization `json:"authorization,omitempty"`
}

// ExplainEvent opens the data directory of cfg, which no server may have open,
// and explains an event.
func ExplainEvent(ctx context.Context, cfg Config, in ExplainInput) (ExplainOutput, error) {
	s, err := openExisting(ctx, cfg)
	if err != nil {
		return ExplainOutput{}, err
	}
	out, err := s.explainEvent(ctx, in)
	return out, errors.Join(err, s.Close())
}

func (s *Server) operatorExplainEvent(ctx context.Context, body []byte) (any, error) {
	var in ExplainInput
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, schema.NewError("InvalidRequest", 400, "the body is not JSON")
	}
	audit.From(ctx).SetRequest(in)
	return s.explainEvent(ctx, in)
}

// explained is the part of a record that ExplainEvent reads.
type explained struct {
	audit.Record

	AdditionalEventData struct {
		Authorization *audit.Authorization `json:"authorization"`
	} `json:"additionalEventData"`
}

// lateRecords is how many records ExplainEvent still reads behind the first that
// it found: those of one request lie together.
const lateRecords = 4096

func (s *Server) explainEvent(ctx context.Context, in ExplainInput) (ExplainOutput, error) {
	if in.ID == "" {
		return ExplainOutput{}, schema.NewError("InvalidRequest", 400, "an event id is needed")
	}
	out := ExplainOutput{Events: []ExplainedEvent{}}
	var behind int
	for rec, err := range s.store.Journal().Scan(ctx, store.JournalScan{Reverse: true}) {
		if err != nil {
			return ExplainOutput{}, fmt.Errorf("read journal: %w", err)
		}
		if len(out.Events) > 0 {
			if behind++; behind > lateRecords {
				break
			}
		}
		if !bytes.Contains(rec.Data, []byte(in.ID)) {
			continue
		}
		var r explained
		if err := json.Unmarshal(rec.Data, &r); err != nil {
			return ExplainOutput{}, fmt.Errorf("read record: %w", err)
		}
		if r.EventID != in.ID && r.RequestID != in.ID {
			continue
		}
		out.Events = append(out.Events, ExplainedEvent{
			EventID: r.EventID, RequestID: r.RequestID, EventTime: r.EventTime, EventSource: r.EventSource, EventName: r.EventName,
			Account: r.RecipientAccountID, Caller: callerOf(&r.UserIdentity), ErrorCode: r.ErrorCode, ErrorMessage: r.ErrorMessage,
			Authorization: r.AdditionalEventData.Authorization,
		})
		if r.EventID == in.ID {
			break
		}
	}
	if len(out.Events) == 0 {
		return ExplainOutput{}, schema.NewError("NoSuchEvent", 404, "no record has the event id or request id %q. Reading and writing objects of S3 (data events) leaves none: such a request is told why when it has the header X-Sagekeep-Explain", in.ID)
	}
	return out, nil
}

// callerOf names who called. Records of the resource's account hold no ARN of a
// caller of another one.
func callerOf(u *audit.UserIdentity) string {
	if u.ARN != "" {
		return u.ARN
	}
	var caller strings.Builder
	caller.WriteString(u.Type)
	for _, id := range []string{u.AccountID, u.PrincipalID, u.InvokedBy} {
		if id != "" {
			caller.WriteString(" " + id)
		}
	}
	return caller.String()
}
