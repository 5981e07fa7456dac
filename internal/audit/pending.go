package audit

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/sagekeep/sagekeep/internal/identity"
)

// ErrTaken is returned when a request's record would have to be stored twice: a
// method with two commits of its own.
var ErrTaken = errors.New("audit: the record of this request is already committed; a method may have one Update only")

// Pending gathers the records of one request: its own, and those of the calls
// that services make for it. The store takes them into the commit of the
// request's Update; the pipeline journals what is left. It implements
// store.Pending.
type Pending struct {
	mu      sync.Mutex
	entries []*Entry
	taken   int // entries[:taken] are durable, or in the commit under way
	before  int // taken as it was before the transaction under way
}

// Entry is one record while its call is under way.
type Entry struct {
	p   *Pending
	rec *Record
	// done: the call has ended; a later failure of the enclosing transaction
	// makes a successful entry untrue, a failed one stays.
	failed bool
	skip   bool
	// requested: requestParameters are set for good.
	requested bool
	touched   []string
}

type (
	pendingKey struct{}
	entryKey   struct{}
)

// NewPending returns an empty Pending, for what a service does of its own accord.
func NewPending() *Pending { return &Pending{} }

// WithPending returns a context with a new, empty Pending.
func WithPending(ctx context.Context) (context.Context, *Pending) {
	p := NewPending()
	return context.WithValue(ctx, pendingKey{}, p), p
}

// PendingFrom returns the Pending of the request, or nil.
func PendingFrom(ctx context.Context) *Pending {
	p, _ := ctx.Value(pendingKey{}).(*Pending)
	return p
}

// Begin opens the record of one call. With skip (a data event that no trail
// selects) the entry exists but is never stored.
func (p *Pending) Begin(ctx context.Context, source, name string, readOnly, skip bool, eventID string) (context.Context, *Entry) {
	e := &Entry{p: p, rec: newRecord(identity.From(ctx), source, name, readOnly, eventID), skip: skip}
	p.mu.Lock()
	p.entries = append(p.entries, e)
	p.mu.Unlock()
	return context.WithValue(ctx, entryKey{}, e), e
}

// From returns the entry of the call under way. Its methods accept nil, so that
// code that runs outside a request needs no branch.
func From(ctx context.Context) *Entry {
	e, _ := ctx.Value(entryKey{}).(*Entry)
	return e
}

func (e *Entry) set(f func(*Record)) {
	if e == nil {
		return
	}
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	f(e.rec)
}

// SetCaller replaces who called: the one who presents a web identity is known
// only when the token is proven. The record goes to that caller's account, or,
// if it belongs to none, to the owners of the resources.
func (e *Entry) SetCaller(c *identity.Caller) {
	e.set(func(r *Record) { r.UserIdentity, r.RecipientAccountID = identityOf(c), c.Account })
}

// SetRequest replaces requestParameters by v (nil = null).
func (e *Entry) SetRequest(v any) {
	e.set(func(r *Record) { r.RequestParameters, e.requested = encode(v), true })
}

// SetRequestJSON replaces requestParameters by encoded JSON.
func (e *Entry) SetRequestJSON(b []byte) {
	e.set(func(r *Record) { r.RequestParameters, e.requested = b, true })
}

// HasRequest reports whether requestParameters are set for good.
func (e *Entry) HasRequest() bool {
	has := false
	e.set(func(*Record) { has = e.requested })
	return has
}

// DefaultRequestJSON sets requestParameters to encoded JSON unless the resolver
// has set them.
func (e *Entry) DefaultRequestJSON(b []byte) {
	e.set(func(r *Record) {
		if !e.requested {
			r.RequestParameters = b
		}
	})
}

// SetResponse replaces responseElements by v (nil = null). A method that
// commits calls it inside its Update, before the commit.
func (e *Entry) SetResponse(v any) { e.set(func(r *Record) { r.ResponseElements = encode(v) }) }

// SetResponseJSON replaces responseElements by encoded JSON.
func (e *Entry) SetResponseJSON(b []byte) { e.set(func(r *Record) { r.ResponseElements = b }) }

// Additional sets one member of additionalEventData.
func (e *Entry) Additional(key string, v any) {
	e.set(func(r *Record) {
		if r.AdditionalEventData == nil {
			r.AdditionalEventData = map[string]any{}
		}
		r.AdditionalEventData[key] = v
	})
}

// AddResource names a resource; naming one twice keeps one.
func (e *Entry) AddResource(account, typ, arn string) {
	e.add(Resource{AccountID: account, Type: typ, ARN: arn})
}

// AddMissingResource names a resource that is not there. The caller's record shows
// it like one that is; the account that its ARN names gets no record of it.
func (e *Entry) AddMissingResource(account, typ, arn string) {
	e.add(Resource{AccountID: account, Type: typ, ARN: arn, missing: true})
}

func (e *Entry) add(add Resource) {
	e.set(func(r *Record) {
		for i := range r.Resources {
			if have := &r.Resources[i]; have.ARN == add.ARN {
				have.missing = have.missing && add.missing
				return
			}
		}
		r.Resources = append(r.Resources, add)
	})
}

// Resources returns the resources of the record. They are not to be changed.
func (e *Entry) Resources() []Resource {
	var out []Resource
	e.set(func(r *Record) { out = r.Resources })
	return out
}

// IDFor returns the event id in the record that an account gets of the call: the
// owner of a resource has a record of its own.
func (e *Entry) IDFor(account string) string {
	id := ""
	e.set(func(r *Record) {
		if id = r.EventID; account != "" && r.RecipientAccountID != "" && account != r.RecipientAccountID {
			id = derivedID(account, r.EventID)
		}
	})
	return id
}

// Touch notes a resource that was authorised and that the record does not list.
func (e *Entry) Touch(arn string) { e.set(func(*Record) { e.touched = append(e.touched, arn) }) }

// Names reports whether the resource is in the record, or noted. A method that acts on
// what a name pointed to when the call was authorised asks this before it acts
// on what the name points to now.
func (e *Entry) Names(arn string) bool {
	found := false
	e.set(func(r *Record) {
		found = slices.Contains(e.touched, arn)
		for _, have := range r.Resources {
			found = found || have.ARN == arn
		}
	})
	return found
}

// Deny keeps why the call was refused. Each account reads of it, in its own
// record, what its own policies decided.
func (e *Entry) Deny(a Authorization) { e.set(func(r *Record) { r.authorization = &a }) }

// TellCallerAlone keeps the event from the owners of its resources, like resources
// that are not there: the caller's record is the same for both.
//
// Source: AWS KMS Developer Guide, "Logging AWS KMS API calls with AWS CloudTrail",
// on cross-account requests that are rejected because access is denied.
func (e *Entry) TellCallerAlone() { e.set(func(r *Record) { r.callerAlone = true }) }

// Fail marks the call as failed. Code and message are those of the answer.
func (e *Entry) Fail(code, message string) {
	e.set(func(r *Record) {
		r.ErrorCode, r.ErrorMessage, r.ResponseElements = code, message, null
		e.failed = true
	})
}

// ID returns the event id.
func (e *Entry) ID() string {
	if e == nil {
		return ""
	}
	return e.rec.EventID
}

func encode(v any) json.RawMessage {
	if v == nil {
		return null
	}
	b, err := json.Marshal(v)
	if err != nil {
		return null // values are ours: maps, strings, numbers
	}
	return b
}

// Mark implements store.Pending: what lies before it belongs to earlier steps.
func (p *Pending) Mark() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.before = p.taken
	return len(p.entries)
}

// Rewind implements store.Pending: changes made since the mark inside a
// transaction that did not commit did not happen. Calls that failed did, and so
// did those that only read: what they gave away is known.
func (p *Pending) Rewind(mark int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	keep := p.entries[:mark:mark]
	for _, e := range p.entries[mark:] {
		if e.failed || e.rec.ReadOnly {
			keep = append(keep, e)
		}
	}
	p.entries, p.taken = keep, p.before
}

// Take implements store.Pending: it hands the records to a commit. A request
// has one commit; ErrTaken tells of a second.
func (p *Pending) Take() ([][]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken > 0 {
		return nil, ErrTaken
	}
	b, err := encodeAll(p.entries)
	p.taken = len(p.entries)
	return b, err
}

// Rest hands over the records that no commit took; none is no error.
func (p *Pending) Rest() ([][]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, err := encodeAll(p.entries[p.taken:])
	p.taken = len(p.entries)
	return b, err
}

func encodeAll(entries []*Entry) ([][]byte, error) {
	var out [][]byte
	for _, e := range entries {
		if e.skip {
			continue
		}
		for _, r := range e.rec.fitted().deliveries() {
			b, err := encodeRecord(r)
			if err != nil {
				return nil, err
			}
			out = append(out, b)
		}
	}
	return out, nil
}

// Event is what a service does of its own accord: DeleteKey, RotateKey.
type Event struct {
	Source, Name, Region, Account string
	Time                          time.Time
	ID                            string
	Details                       map[string]any
	Resources                     []Resource
}

// AddEvent adds the record of an AwsServiceEvent. Called inside an Update, it
// stands only when that commits. It accepts nil.
func (p *Pending) AddEvent(e Event) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	const internal = "AWS Internal"
	p.entries = append(p.entries, &Entry{p: p, rec: &Record{
		EventVersion: EventVersion, UserIdentity: UserIdentity{AccountID: e.Account, InvokedBy: internal},
		EventTime: Time(e.Time), EventSource: e.Source, EventName: e.Name, AWSRegion: e.Region,
		SourceIPAddress: internal, UserAgent: internal, RequestParameters: null, ResponseElements: null,
		EventID: e.ID, Resources: e.Resources, EventType: "AwsServiceEvent", ServiceEventDetails: e.Details,
		ManagementEvent: true, RecipientAccountID: e.Account, EventCategory: "Management",
	}})
}
