package protocol

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/identity"
)

// Denial is why the evaluator refused. It is the private cause of the answer:
// the record keeps it, and the caller gets of it what [Handler] is asked for.
type Denial struct {
	Caller          *identity.Caller
	Action          string
	Resource        string
	ResourceAccount string
	Kind            ResourceKind
	Decision        authz.Decision
}

// Error says why, for logs.
func (d *Denial) Error() string {
	return d.Action + " on " + d.Resource + ": " + d.Decision.Effect.String() + " (" + d.Decision.Layer + "): " + d.Decision.Reason
}

// changes of the explanation, none without one.
func (d *Denial) changes() []authz.Change {
	if d.Decision.Explanation == nil {
		return nil
	}
	return d.Decision.Explanation.Changes
}

// Record is what the audit record keeps, before each account is shown its part.
func (d *Denial) Record() audit.Authorization {
	a := audit.Authorization{
		Action: d.Action, Resource: d.Resource, ResourceAccount: d.ResourceAccount, Decision: d.Decision.Effect.String(),
		Layer: d.Decision.Layer, Policy: d.Decision.Policy, Statement: d.Decision.Statement, Reason: d.Decision.Reason,
		Lacking: d.Decision.Lacking, Changes: d.changes(),
	}
	if e := d.Decision.Explanation; e != nil {
		a.Unmet = e.Facts
	}
	return a
}

// Headers by which a denied caller learns more. The request asks with
// ExplainHeader, whatever its value; the answer has the changes that would
// allow it, as JSON without a word of any policy, and the sealed explanation,
// which sts:DecodeAuthorizationMessage opens for those who may.
const (
	ExplainHeader = "X-Sagekeep-Explain"
	HintHeader    = "X-Sagekeep-Hint"
	MessageHeader = "X-Sagekeep-Authorization-Message"
)

// explainDenial adds the headers to an answer that refuses.
func (x *exchange) explainDenial(err error) {
	if x.r.Header.Get(ExplainHeader) == "" {
		return
	}
	d, ok := errors.AsType[*Denial](err)
	if !ok || d.Caller.Type == identity.Anonymous || d.Caller.Type == identity.WebIdentity {
		return // whoever belongs to no account learns nothing of the resource's
	}
	h := x.w.Header()
	h.Set(HintHeader, hint(d.changes()))
	if encode := x.h.EncodeDenial; encode != nil {
		if message, err := encode(x.r.Context(), d); err != nil {
			x.h.Log.Error("authorization message could not be sealed", "request_id", x.requestID, "error", err)
		} else if message != "" {
			h.Set(MessageHeader, message)
		}
	}
}

// hint is the changes without the names of policies: what to add follows from
// the request alone, and that there is a deny is in the error text.
func hint(changes []authz.Change) string {
	type step struct {
		Layer  string          `json:"layer"`
		Add    json.RawMessage `json:"add,omitempty"`
		Remove string          `json:"remove,omitempty"`
	}
	steps := make([]step, len(changes))
	for i, c := range changes {
		steps[i] = step{Layer: c.Layer, Add: c.Add, Remove: c.Remove}
	}
	b, err := json.Marshal(steps)
	if err != nil {
		return "[]" // strings and JSON of ours
	}
	return ascii(string(b))
}

// ascii escapes what a header cannot hold. The text is JSON, where such
// characters stand in strings only.
func ascii(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r < 0x7f:
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			b.WriteString(`\u` + strconv.FormatInt(int64(0xd800+r>>10), 16) + `\u` + strconv.FormatInt(int64(0xdc00+r&0x3ff), 16))
		default:
			text := strconv.FormatInt(int64(r), 16)
			b.WriteString(`\u` + strings.Repeat("0", 4-len(text)) + text)
		}
	}
	return b.String()
}

// deny is the answer to a refused check, with the denial as its cause.
func deny(ctx context.Context, svc *schema.Service, c *Check, d authz.Decision) error {
	caller := identity.From(ctx).Caller
	denial := &Denial{Caller: caller, Action: c.Action, Resource: c.Resource, ResourceAccount: c.Account, Kind: c.Kind, Decision: d}
	if denial.ResourceAccount == "" {
		denial.ResourceAccount = caller.Account
	}
	if c.Denied != nil && d.Effect != authz.ExplicitlyDenied {
		if e, ok := errors.AsType[*schema.Error](c.Denied); ok {
			return e.Because(errors.Join(denial, e.Unwrap()))
		}
		return errors.Join(c.Denied, denial)
	}
	return accessDenied(svc, authz.DeniedMessage(caller.Name(), c.Action, c.Resource, d)).Because(denial)
}
