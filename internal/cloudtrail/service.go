// Package cloudtrail answers LookupEvents from the audit journal. An event is
// there as soon as the call that made it has been answered.
//
// Source: AWS CloudTrail API Reference, API version 2013-11-01.
package cloudtrail

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	ctapi "github.com/sagekeep/sagekeep/api/cloudtrail"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

// Config is what a Service is made of.
type Config struct {
	Store   *store.Store
	Keyring *envelope.Keyring
	Now     func() time.Time // nil: time.Now
	// MaxScanned is the number of records that one LookupEvents reads at most; 0
	// means 100,000.
	MaxScanned int
}

// Service is CloudTrail. Its methods may be called concurrently.
type Service struct{ cfg Config }

// New returns the service.
func New(c Config) *Service {
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Service{c}
}

// Register adds every implemented operation.
func (s *Service) Register(r *protocol.Registry) {
	protocol.Handle(r, ctapi.LookupEvents, protocol.AnyResource, s.LookupEvents)
}

const (
	maxResults = 50
	// retention is how far back LookupEvents sees.
	retention = 90 * 24 * time.Hour
	// slack is how long after its eventTime, the start of the call, a record may
	// still be committed.
	slack = time.Hour
	// maxScanned bounds the records that one call reads. A page may end early, or
	// empty, with a token that goes on.
	maxScanned = 100_000
)

// LookupEvents returns management events of the caller's account and region,
// newest first, of the last 90 days.
//
// Errors: InvalidLookupAttributesException, InvalidTimeRangeException,
// InvalidMaxResultsException, InvalidNextTokenException,
// InvalidEventCategoryException.
func (s *Service) LookupEvents(ctx context.Context, in *ctapi.LookupEventsInput) (*ctapi.LookupEventsOutput, error) {
	c := identity.From(ctx)
	want, err := newFilter(in, c)
	if err != nil {
		return nil, err
	}
	limit := maxResults
	if in.MaxResults != nil {
		if limit = int(*in.MaxResults); limit < 1 || limit > maxResults {
			return nil, ctapi.InvalidMaxResultsException("MaxResults must be between 1 and %d.", maxResults)
		}
	}
	scan := store.JournalScan{Reverse: true, Since: s.cfg.Now().Add(-retention)}
	if in.StartTime != nil && in.StartTime.After(scan.Since) {
		scan.Since = *in.StartTime
	}
	if in.EndTime != nil {
		scan.Until = in.EndTime.Add(slack)
	}
	if in.NextToken != nil {
		if scan.After, err = s.openToken(*in.NextToken, c, want); err != nil {
			return nil, err
		}
	}
	out := &ctapi.LookupEventsOutput{Events: []ctapi.Event{}}
	var last []byte
	scanned := 0
	for rec, err := range s.cfg.Store.Journal().Scan(ctx, scan) {
		if err != nil {
			return nil, fmt.Errorf("cloudtrail: read journal: %w", err)
		}
		e, ok := want.match(rec.Data)
		if scanned++; !ok && scanned <= s.scanLimit() {
			last = rec.Cursor
			continue
		}
		if len(out.Events) == limit || scanned > s.scanLimit() {
			token, err := s.sealToken(last, c, want)
			if err != nil {
				return nil, err
			}
			out.NextToken = &token
			break
		}
		out.Events = append(out.Events, e)
		last = rec.Cursor
	}
	return out, nil
}

func (s *Service) scanLimit() int {
	if s.cfg.MaxScanned > 0 {
		return s.cfg.MaxScanned
	}
	return maxScanned
}

// filter is one question to the journal.
type filter struct {
	account, region string
	key             ctapi.LookupAttributeKey
	value           string
	start, end      time.Time
}

func newFilter(in *ctapi.LookupEventsInput, c *identity.Call) (*filter, error) {
	f := &filter{account: c.Caller.Account, region: c.Region}
	if in.EventCategory != "" {
		return nil, ctapi.InvalidEventCategoryException("There are no Insights events here.")
	}
	if len(in.LookupAttributes) > 1 {
		return nil, ctapi.InvalidLookupAttributesException("You can specify only one lookup attribute.")
	}
	for _, a := range in.LookupAttributes {
		f.key, f.value = a.AttributeKey, a.AttributeValue
		if f.value == "" {
			return nil, ctapi.InvalidLookupAttributesException("The value of the lookup attribute %s is empty.", f.key)
		}
	}
	if in.StartTime != nil {
		f.start = *in.StartTime
	}
	if in.EndTime != nil {
		f.end = *in.EndTime
	}
	if in.StartTime != nil && in.EndTime != nil && f.start.After(f.end) {
		return nil, ctapi.InvalidTimeRangeException("The start time is after the end time.")
	}
	return f, nil
}

// match parses a record and returns it as an event when it answers the question.
func (f *filter) match(data []byte) (ctapi.Event, bool) {
	if !bytes.Contains(data, []byte(f.account)) {
		return ctapi.Event{}, false // the cheap way to say no
	}
	var r audit.Record
	if err := json.Unmarshal(data, &r); err != nil {
		return ctapi.Event{}, false // records are ours; a damaged one fails its seal first
	}
	if r.RecipientAccountID != f.account || r.AWSRegion != f.region && !everywhere(r.EventSource) || !r.ManagementEvent {
		return ctapi.Event{}, false
	}
	at, err := time.Parse(time.RFC3339, r.EventTime)
	if err != nil || !f.start.IsZero() && at.Before(f.start.Truncate(time.Second)) || !f.end.IsZero() && at.After(f.end) {
		return ctapi.Event{}, false
	}
	if !f.attribute(&r) {
		return ctapi.Event{}, false
	}
	e := ctapi.Event{
		EventId: new(r.EventID), EventName: new(r.EventName), ReadOnly: new(fmt.Sprint(r.ReadOnly)), EventTime: new(at),
		EventSource: new(r.EventSource), CloudTrailEvent: new(string(data)), Resources: []ctapi.Resource{},
	}
	if r.UserIdentity.AccessKeyID != "" {
		e.AccessKeyId = new(r.UserIdentity.AccessKeyID)
	}
	if name := username(&r); name != "" {
		e.Username = new(name)
	}
	for _, res := range r.Resources {
		e.Resources = append(e.Resources, ctapi.Resource{ResourceType: new(res.Type), ResourceName: new(res.ARN)})
	}
	return e, true
}

// everywhere reports whether events of a service are shown in every region: what
// changes an account, or lets somebody into it, must not escape who looks at one
// region. AWS shows those of its global services in us-east-1, and of AWS STS in
// the region that was called; here a caller may call in a region that nobody has
// heard of.
func everywhere(source string) bool {
	switch source {
	case "iam.amazonaws.com", "organizations.amazonaws.com", "sts.amazonaws.com":
		return true
	}
	return false
}

func (f *filter) attribute(r *audit.Record) bool {
	switch f.key {
	case "":
		return true
	case ctapi.LookupAttributeKeyEventId:
		return r.EventID == f.value
	case ctapi.LookupAttributeKeyEventName:
		return r.EventName == f.value
	case ctapi.LookupAttributeKeyEventSource:
		return r.EventSource == f.value
	case ctapi.LookupAttributeKeyReadOnly:
		return fmt.Sprint(r.ReadOnly) == f.value
	case ctapi.LookupAttributeKeyUsername:
		return username(r) == f.value
	case ctapi.LookupAttributeKeyAccessKeyId:
		return r.UserIdentity.AccessKeyID == f.value
	case ctapi.LookupAttributeKeyResourceType:
		for _, res := range r.Resources {
			if res.Type == f.value {
				return true
			}
		}
	case ctapi.LookupAttributeKeyResourceName:
		for _, res := range r.Resources {
			if res.ARN == f.value || lastPart(res.ARN) == f.value {
				return true
			}
		}
	}
	return false
}

// lastPart is the name in an ARN: behind the last slash or colon.
func lastPart(arn string) string {
	for i := len(arn) - 1; i >= 0; i-- {
		if arn[i] == '/' || arn[i] == ':' {
			return arn[i+1:]
		}
	}
	return arn
}

// username is what CloudTrail lists an event under: the user, the name of a role
// session or federated session, root.
func username(r *audit.Record) string {
	switch identity.Type(r.UserIdentity.Type) {
	case identity.Root:
		return "root"
	case identity.User:
		return r.UserIdentity.UserName
	case identity.AssumedRole, identity.FederatedUser:
		return lastPart(r.UserIdentity.ARN)
	case identity.WebIdentity:
		return r.UserIdentity.UserName
	case identity.Service:
		return r.UserIdentity.InvokedBy
	}
	return ""
}

// bytes names the question: a token is bound to it, so that it cannot continue another one.
func (f *filter) bytes() []byte {
	b, err := json.Marshal([]string{string(f.key), f.value, f.start.String(), f.end.String()})
	if err != nil {
		panic("cloudtrail: " + err.Error()) // strings always encode
	}
	return b
}

func (s *Service) sealToken(cursor []byte, c *identity.Call, f *filter) (string, error) {
	payload, err := json.Marshal([][]byte{f.bytes(), cursor})
	if err != nil {
		return "", fmt.Errorf("cloudtrail: encode token: %w", err)
	}
	return s.cfg.Keyring.SealToken(envelope.PageToken, envelope.Token{
		Account: c.Caller.Account, Region: c.Region, Expires: s.cfg.Now().Add(24 * time.Hour), Payload: payload,
	})
}

func (s *Service) openToken(text string, c *identity.Call, f *filter) ([]byte, error) {
	t, err := s.cfg.Keyring.OpenToken(envelope.PageToken, text, s.cfg.Now())
	var parts [][]byte
	if err == nil {
		err = json.Unmarshal(t.Payload, &parts)
	}
	if err != nil || t.Account != c.Caller.Account || t.Region != c.Region || len(parts) != 2 || string(parts[0]) != string(f.bytes()) {
		return nil, ctapi.InvalidNextTokenException("The next token is not valid for this request.")
	}
	return parts[1], nil
}
