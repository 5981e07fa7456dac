package authz

import "encoding/json"

// Explanation says why a request was denied and what would allow it. It quotes
// policies: it is for those who may read them.
type Explanation struct {
	Request *Request
	// Facts are what kept the statements that came nearest from allowing.
	Facts []Fact
	// Changes, made together, are the smallest that allow the request.
	Changes []Change
}

// Fact is one element of a statement that the request did not meet.
type Fact struct {
	Layer     string `json:"layer"`
	Policy    string `json:"policy,omitempty"`
	Statement string `json:"statement,omitempty"` // Sid, or index from 0
	Element   string `json:"element"`             // Principal, Action, Resource or Condition
	Operator  string `json:"operator,omitempty"`  // of a condition, as written
	Key       string `json:"key,omitempty"`       // of a condition, as written
	// Wanted is what the statement says, Found what the request has; a condition
	// key that the request lacks has no Found.
	Wanted []string `json:"wanted,omitempty"`
	Found  []string `json:"found,omitempty"`
}

// Change is one step towards an allowed request.
type Change struct {
	Layer string `json:"layer"`
	// Add is the statement that a policy of the layer needs; nil for a deny.
	Add json.RawMessage `json:"add,omitempty"`
	// Policy and Statement name the explicit deny that must no longer apply.
	Policy    string `json:"policy,omitempty"`
	Statement string `json:"statement,omitempty"`
}

// Explain explains the denial d that [Decide] gave for the same arguments.
func Explain(req *Request, pols *Policies, grants []Grant, d Decision) *Explanation {
	return &Explanation{Request: req}
}
