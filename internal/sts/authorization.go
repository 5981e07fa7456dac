package sts

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	stsapi "github.com/sagekeep/sagekeep/api/sts"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
)

const (
	// messageLife is how long a message can be decoded. AWS says that messages
	// expire and not when: a week outlasts a weekend between denial and question.
	messageLife = 7 * 24 * time.Hour
	// maxMessage is the longest EncodedMessage that the API takes, in characters.
	maxMessage = 10240
	// messageStep is what the length of messages is a multiple of, in bytes before
	// they are sealed: a length does not tell what another account has.
	messageStep = 1 << 10
	// longValue is where the value of a condition key is cut when a message is
	// too long, in bytes.
	longValue = 128
	// maxDecoded bounds what a message may unfold to, in bytes.
	maxDecoded = 4 << 20
)

// message is an authorization message, in the form that AWS's have; what stands
// behind Context is ours.
// Source: IAM User Guide, "Use DecodeAuthorizationMessage with a CLI".
type message struct {
	Allowed           bool                    `json:"allowed"`
	ExplicitDeny      bool                    `json:"explicitDeny"`
	MatchedStatements items[matchedStatement] `json:"matchedStatements"`
	Failures          items[string]           `json:"failures"`
	Context           messageContext          `json:"context"`

	Layer   string         `json:"layer"`
	Reason  string         `json:"reason,omitempty"`
	Unmet   []authz.Fact   `json:"unmet,omitempty"`
	Changes []authz.Change `json:"changes,omitempty"`
	// Truncated: parts were left out to keep the message short.
	Truncated bool `json:"truncated,omitempty"`
}

type items[T any] struct {
	Items []T `json:"items"`
}

// matchedStatement is the statement that denied.
type matchedStatement struct {
	StatementID string `json:"statementId"` // Sid, or index from 0
	Effect      string `json:"effect"`
	Policy      string `json:"policy,omitempty"`
}

type messageContext struct {
	Principal struct {
		ID  string `json:"id"`
		ARN string `json:"arn"`
	} `json:"principal"`
	Action     string           `json:"action"`
	Resource   string           `json:"resource"`
	Conditions items[condition] `json:"conditions"`
}

type condition struct {
	Key    string       `json:"key"`
	Values items[value] `json:"values"`
}

type value struct {
	Value string `json:"value"`
}

// EncodeDenial seals what the caller's account may know of a denial into the
// text that DecodeAuthorizationMessage opens. It is "" for callers without an
// account, whom nobody could decode it for.
//
// Policies of another account, and what only that account knows of the
// resource, are left out.
func (s *Service) EncodeDenial(_ context.Context, d *protocol.Denial) (string, error) {
	account := d.Caller.Account
	if account == "" {
		return "", nil
	}
	m := messageOf(d)
	for _, shorten := range []func(*message){
		func(*message) {}, (*message).cutValues, (*message).dropConditions, (*message).dropExplanation,
	} {
		shorten(m)
		text, err := s.seal(m, account)
		if err != nil {
			return "", fmt.Errorf("seal authorization message: %w", err)
		}
		if len(text) <= maxMessage {
			return text, nil
		}
		m.Truncated = true
	}
	return "", fmt.Errorf("seal authorization message: the request alone is longer than %d characters", maxMessage)
}

func (s *Service) seal(m *message, account string) (string, error) {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		return "", err
	}
	if err := json.NewEncoder(w).Encode(m); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	if over := b.Len() % messageStep; over > 0 {
		b.Write(make([]byte, messageStep-over)) // behind the end of the compressed text
	}
	return s.keyring.SealToken(envelope.AuthorizationMessage, envelope.Token{
		Account: account, Expires: s.now().UTC().Add(messageLife), Payload: b.Bytes(),
	})
}

// messageOf is the message for the caller's account, at full length.
func messageOf(d *protocol.Denial) *message {
	full := d.Record()
	seen := full.SeenBy(d.Caller.Account, d.Caller.Account)
	m := &message{
		ExplicitDeny: d.Decision.Effect == authz.ExplicitlyDenied,
		Layer:        seen.Layer, Reason: seen.Reason, Unmet: seen.Unmet, Changes: seen.Changes,
	}
	m.MatchedStatements.Items, m.Failures.Items = []matchedStatement{}, []string{}
	if m.ExplicitDeny && seen.Statement != "" {
		m.MatchedStatements.Items = append(m.MatchedStatements.Items, matchedStatement{seen.Statement, "DENY", seen.Policy})
	}
	m.Context.Principal.ID, m.Context.Principal.ARN = d.Caller.PrincipalID, d.Caller.ARN
	m.Context.Action, m.Context.Resource = d.Action, d.Resource
	m.Context.Conditions.Items = []condition{}
	abroad := d.ResourceAccount != "" && d.ResourceAccount != d.Caller.Account
	if e := d.Decision.Explanation; e != nil && e.Request != nil {
		for key, v := range e.Request.Context.All() {
			if abroad && !audit.OfRequest(key) {
				continue
			}
			c := condition{Key: key, Values: items[value]{Items: make([]value, len(v.Vals))}}
			for i, text := range v.Vals {
				c.Values.Items[i].Value = text
			}
			m.Context.Conditions.Items = append(m.Context.Conditions.Items, c)
		}
	}
	slices.SortFunc(m.Context.Conditions.Items, func(a, b condition) int { return strings.Compare(a.Key, b.Key) })
	return m
}

// cutValues shortens long values of condition keys.
func (m *message) cutValues() {
	for _, c := range m.Context.Conditions.Items {
		for i, v := range c.Values.Items {
			if len(v.Value) > longValue {
				c.Values.Items[i].Value = strings.ToValidUTF8(v.Value[:longValue], "") + "…"
			}
		}
	}
}

func (m *message) dropConditions() { m.Context.Conditions.Items = []condition{} }

func (m *message) dropExplanation() { m.Reason, m.Unmet, m.Changes = "", nil, nil }

// DecodeAuthorizationMessage returns why a request of the caller's account was
// denied, from the message that the answer carried. Who may decode reads what
// policies of the account decided.
//
// Errors: InvalidAuthorizationMessageException for what is no message of ours,
// for one that was changed, has expired or belongs to another account.
//
// Source: AWS STS API Reference, DecodeAuthorizationMessage.
func (s *Service) DecodeAuthorizationMessage(ctx context.Context, in *stsapi.DecodeAuthorizationMessageInput) (*stsapi.DecodeAuthorizationMessageOutput, error) {
	invalid := stsapi.InvalidAuthorizationMessageException("The authorization message is not valid.")
	if len(in.EncodedMessage) > maxMessage {
		return nil, invalid
	}
	t, err := s.keyring.OpenToken(envelope.AuthorizationMessage, in.EncodedMessage, s.now())
	if err != nil {
		return nil, invalid.Because(err)
	}
	if t.Account == "" || t.Account != identity.From(ctx).Caller.Account {
		return nil, invalid.Because(fmt.Errorf("the message belongs to account %q", t.Account))
	}
	b, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(t.Payload)), maxDecoded+1))
	if err == nil && len(b) > maxDecoded {
		err = fmt.Errorf("more than %d bytes", maxDecoded)
	}
	if err != nil {
		return nil, invalid.Because(fmt.Errorf("unfold authorization message: %w", err))
	}
	return &stsapi.DecodeAuthorizationMessageOutput{DecodedMessage: new(string(bytes.TrimSpace(b)))}, nil
}
