package server

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/kms"
	"github.com/sagekeep/sagekeep/internal/s3"
	"github.com/sagekeep/sagekeep/internal/store"
)

// DefaultImpactDays is how far back the users of a key are counted.
const DefaultImpactDays = 90

// ImpactInput is the body of KeyImpact.
type ImpactInput struct {
	// Key is a key id, an alias or an ARN of either.
	Key string `json:"key"`
	// Account and Region are those of a Key that is no ARN; the first account and
	// its region when empty.
	Account string `json:"account,omitempty"`
	Region  string `json:"region,omitempty"`
	// Days is how far back users are counted; DefaultImpactDays when 0.
	Days int `json:"days,omitempty"`
	// Next is the Next of the part before; "" begins.
	Next string `json:"next,omitempty"`
}

// Impact is what depends on a key. A part of it has some elements of the lists;
// the elements of one resource or one user may come in several parts.
type Impact struct {
	Key       *ImpactKey       `json:"key"`
	Resources []ImpactResource `json:"resources"`
	Grants    []ImpactGrant    `json:"grants"`
	Policies  []ImpactPolicy   `json:"policies"`
	UsedBy    []ImpactUser     `json:"usedBy"`
	// Days is how far back UsedBy reaches.
	Days int `json:"days"`
	// ObjectsRead and RecordsRead say how much was looked at.
	ObjectsRead int64 `json:"objectsRead"`
	RecordsRead int64 `json:"recordsRead"`
	// Next is empty in a whole Impact.
	Next string `json:"next,omitempty"`
}

// ImpactKey is the key itself.
type ImpactKey struct {
	ARN          string         `json:"arn"`
	Description  string         `json:"description,omitempty"`
	State        string         `json:"state"`
	Spec         string         `json:"spec"`
	Usage        string         `json:"usage"`
	Origin       string         `json:"origin"`
	Manager      string         `json:"manager"`
	MultiRegion  bool           `json:"multiRegion"`
	Regions      []string       `json:"regions,omitempty"` // of a multi-Region key, the primary's first
	Created      time.Time      `json:"created"`
	DeletionDate *time.Time     `json:"deletionDate,omitempty"`
	Aliases      []string       `json:"aliases"`
	GrantCount   int            `json:"grantCount"`
	LastUsage    *ImpactLastUse `json:"lastUsage"` // null: never used
}

// ImpactLastUse is the last cryptographic operation with the key.
type ImpactLastUse struct {
	Operation string    `json:"operation"`
	Time      time.Time `json:"time"`
	EventID   string    `json:"eventId"`
	RequestID string    `json:"requestId"`
}

// ImpactResource is something that cannot be read without the key.
type ImpactResource struct {
	Service string `json:"service"`
	Type    string `json:"type"` // bucket, earth-observation-job
	Name    string `json:"name"`
	ARN     string `json:"arn"`
	Status  string `json:"status,omitempty"`
	// Default: what is written without saying so comes under the key.
	Default bool  `json:"default,omitempty"`
	Objects int64 `json:"objects"` // under the key; of a job, files
	Bytes   int64 `json:"bytes"`
	Uploads int64 `json:"uploads,omitempty"` // under way
	// GrantID is the grant that a service reads the resource with.
	GrantID string `json:"grantId,omitempty"`
}

// ImpactGrant is one grant on the key.
type ImpactGrant struct {
	ID          string            `json:"grantId"`
	Name        string            `json:"name,omitempty"`
	Grantee     string            `json:"grantee"`
	Service     bool              `json:"service"` // the grantee is a service
	Retiring    string            `json:"retiring,omitempty"`
	Issuer      string            `json:"issuingAccount"`
	Operations  []string          `json:"operations"`
	Constraints map[string]string `json:"constraints,omitempty"`
	Created     time.Time         `json:"created"`
}

// ImpactPolicy is a policy that names the key or, of the key policy, what it
// names.
type ImpactPolicy struct {
	Type    string   `json:"type"`             // key policy, identity policy, trust policy, bucket policy
	Policy  string   `json:"policy,omitempty"` // ARN or name; of a bucket its ARN
	Holders []string `json:"holders"`          // who has it; of the key policy, the principals in it
}

// ImpactUser is a principal that used the key.
type ImpactUser struct {
	Principal  string           `json:"principal"`     // a role rather than its sessions; a service's name
	Via        string           `json:"via,omitempty"` // the service that forwarded the requests
	Count      int64            `json:"count"`
	Failed     int64            `json:"failed"` // denied, disabled and other errors; not in Count
	Operations map[string]int64 `json:"operations"`
	First      time.Time        `json:"first"`
	Last       time.Time        `json:"last"`
	LastEvent  string           `json:"lastEventId"`
}

// Bounds of one part: about a third of a second each.
const (
	impactObjects   = 20_000
	impactRecords   = 100_000
	impactGrantPage = 500
	// maxImpactGrants bounds the grants that are told one by one.
	maxImpactGrants = 1000
)

// KeyImpact opens the data directory of cfg, which no server may have open, and
// finds out what depends on a key. progress is told what was read so far.
func KeyImpact(ctx context.Context, cfg Config, in ImpactInput, progress func(*Impact)) (*Impact, error) {
	s, err := openExisting(ctx, cfg)
	if err != nil {
		return nil, err
	}
	out, err := WholeImpact(ctx, in, func(ctx context.Context, in ImpactInput) (*Impact, error) {
		part, err := s.offline(ctx, "KeyImpact", func(ctx context.Context) (any, error) {
			audit.From(ctx).SetRequest(in)
			return s.keyImpact(ctx, in)
		})
		p, _ := part.(*Impact)
		return p, err
	}, progress)
	return out, errors.Join(err, s.Close())
}

// WholeImpact asks for part after part and puts them together. It ends between two
// parts when ctx does.
func WholeImpact(ctx context.Context, in ImpactInput, part func(context.Context, ImpactInput) (*Impact, error), progress func(*Impact)) (*Impact, error) {
	whole := &Impact{Resources: []ImpactResource{}, Grants: []ImpactGrant{}, Policies: []ImpactPolicy{}, UsedBy: []ImpactUser{}}
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p, err := part(ctx, in)
		if err != nil {
			return nil, err
		}
		whole.add(p)
		if progress != nil {
			progress(whole)
		}
		if p.Next == "" {
			whole.sort()
			return whole, nil
		}
		in.Next, in.Key = p.Next, whole.Key.ARN
	}
}

// add takes a part in.
func (w *Impact) add(p *Impact) {
	if p.Key != nil {
		w.Key = p.Key
	}
	w.Days = max(w.Days, p.Days)
	w.ObjectsRead += p.ObjectsRead
	w.RecordsRead += p.RecordsRead
	w.Grants = append(w.Grants, p.Grants...)
	w.Policies = append(w.Policies, p.Policies...)
	for _, r := range p.Resources {
		i := slices.IndexFunc(w.Resources, func(have ImpactResource) bool { return have.ARN == r.ARN })
		if i < 0 {
			w.Resources = append(w.Resources, r)
			continue
		}
		have := &w.Resources[i]
		have.Objects, have.Bytes, have.Uploads = have.Objects+r.Objects, have.Bytes+r.Bytes, have.Uploads+r.Uploads
		have.Default = have.Default || r.Default
	}
	for _, u := range p.UsedBy {
		i := slices.IndexFunc(w.UsedBy, func(have ImpactUser) bool { return have.Principal == u.Principal && have.Via == u.Via })
		if i < 0 {
			w.UsedBy = append(w.UsedBy, u)
			continue
		}
		have := &w.UsedBy[i]
		have.Count, have.Failed = have.Count+u.Count, have.Failed+u.Failed
		for op, n := range u.Operations {
			have.Operations[op] += n
		}
		if u.First.Before(have.First) {
			have.First = u.First
		}
		if !u.Last.Before(have.Last) {
			have.Last, have.LastEvent = u.Last, u.LastEvent
		}
	}
}

func (w *Impact) sort() {
	slices.SortFunc(w.Resources, func(a, b ImpactResource) int { return strings.Compare(a.ARN, b.ARN) })
	slices.SortFunc(w.Grants, func(a, b ImpactGrant) int { return a.Created.Compare(b.Created) })
	slices.SortFunc(w.UsedBy, func(a, b ImpactUser) int { return b.Last.Compare(a.Last) })
}

func (s *Server) operatorKeyImpact(ctx context.Context, body []byte) (any, error) {
	var in ImpactInput
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, schema.NewError("InvalidRequest", 400, "the body is not JSON")
	}
	audit.From(ctx).SetRequest(in)
	return s.keyImpact(ctx, in)
}

// dependents is how one service is asked what it keeps under a key: some of it, and
// where to go on.
type dependents func(ctx context.Context, f *kms.Facts, days int, cursor []byte, out *Impact) (next []byte, err error)

// impactPart is one of the questions, in the order in which they are asked.
type impactPart struct {
	name string
	ask  dependents
}

func (s *Server) impactParts() []impactPart {
	return []impactPart{
		{"policies", s.impactPolicies},
		{"grants", s.impactGrants},
		{"geospatial", s.impactGeospatial},
		{"s3", s.impactS3},
		{"uses", s.impactUses},
	}
}

// keyImpact answers one part. Next names the question and where it goes on.
func (s *Server) keyImpact(ctx context.Context, in ImpactInput) (*Impact, error) {
	if in.Key == "" {
		return nil, schema.NewError("InvalidRequest", 400, "a key is needed")
	}
	if err := s.checkKeyPlace(ctx, &in.Account, &in.Region); err != nil {
		return nil, err
	}
	if in.Days <= 0 {
		in.Days = DefaultImpactDays
	}
	f, err := s.kms.Inspect(ctx, in.Account, in.Region, in.Key)
	if err != nil {
		return nil, err
	}
	out := &Impact{Days: in.Days}
	parts := s.impactParts()
	at, cursor := 0, []byte(nil)
	if in.Next == "" {
		out.Key = impactKey(f)
	} else if at, cursor, err = parseImpactNext(parts, in.Next); err != nil {
		return nil, err
	}
	next, err := parts[at].ask(ctx, f, in.Days, cursor, out)
	if err != nil {
		return nil, err
	}
	switch {
	case next != nil:
		out.Next = parts[at].name + ":" + base64.RawURLEncoding.EncodeToString(next)
	case at+1 < len(parts):
		out.Next = parts[at+1].name + ":"
	}
	return out, nil
}

func parseImpactNext(parts []impactPart, text string) (at int, cursor []byte, err error) {
	name, rest, _ := strings.Cut(text, ":")
	at = slices.IndexFunc(parts, func(p impactPart) bool { return p.name == name })
	cursor, err = base64.RawURLEncoding.DecodeString(rest)
	if at < 0 || err != nil {
		return 0, nil, schema.NewError("InvalidRequest", 400, "next is not of KeyImpact")
	}
	if len(cursor) == 0 {
		cursor = nil
	}
	return at, cursor, nil
}

func impactKey(f *kms.Facts) *ImpactKey {
	k := &ImpactKey{
		ARN: f.ARN, Description: f.Description, State: string(f.State), Spec: string(f.Spec), Usage: string(f.Usage),
		Origin: string(f.Origin), Manager: string(f.Manager),
		MultiRegion: len(f.Regions) > 0, Regions: f.Regions, Created: f.Created, Aliases: f.Aliases, GrantCount: f.Grants,
	}
	if f.State == kmsapi.KeyStatePendingDeletion && !f.DeletionDate.IsZero() {
		k.DeletionDate = &f.DeletionDate
	}
	if u := f.LastUse; u.Operation != "" {
		k.LastUsage = &ImpactLastUse{Operation: u.Operation, Time: u.At, EventID: u.EventID, RequestID: u.RequestID}
	}
	return k
}

func (s *Server) impactPolicies(ctx context.Context, f *kms.Facts, _ int, _ []byte, out *Impact) ([]byte, error) {
	out.Policies = append(out.Policies, ImpactPolicy{Type: "key policy", Policy: "default", Holders: f.Principals})
	all, err := s.iam.PoliciesMentioning(ctx, append([]string{f.ID}, f.Aliases...)...)
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		out.Policies = append(out.Policies, ImpactPolicy{Type: m.Kind + " policy", Policy: m.Policy, Holders: m.Holders})
	}
	return nil, nil
}

func (s *Server) impactGrants(ctx context.Context, f *kms.Facts, _ int, cursor []byte, out *Impact) ([]byte, error) {
	// The cursor is how many were told, then that of the rows.
	told := 0
	if cursor != nil {
		if n, rest, ok := bytes.Cut(cursor, []byte{'|'}); ok {
			var err error
			if told, err = strconv.Atoi(string(n)); err != nil {
				return nil, schema.NewError("InvalidRequest", 400, "next is not of KeyImpact")
			}
			cursor = rest
		}
	}
	all, next, err := s.kms.InspectGrants(ctx, f.Region, f.ID, cursor, impactGrantPage)
	if err != nil {
		return nil, err
	}
	for _, g := range all {
		i := ImpactGrant{
			ID: g.ID, Name: g.Name, Grantee: g.Grantee, Service: g.Service, Retiring: g.Retiring, Issuer: g.Issuer, Operations: g.Operations,
			Created: g.Created, Constraints: map[string]string{},
		}
		for name, value := range g.Equals {
			i.Constraints["EncryptionContextEquals:"+name] = value
		}
		for name, value := range g.Subset {
			i.Constraints["EncryptionContextSubset:"+name] = value
		}
		if g.SourceARN != "" {
			i.Constraints["SourceArn"] = g.SourceARN
		}
		out.Grants = append(out.Grants, i)
	}
	if told += len(all); next == nil || told >= maxImpactGrants {
		return nil, nil
	}
	return append(fmt.Appendf(nil, "%d|", told), next...), nil
}

func (s *Server) impactGeospatial(ctx context.Context, f *kms.Facts, _ int, cursor []byte, out *Impact) ([]byte, error) {
	const jobs = 500 // at a time
	found, next, _, err := s.geospatial.KeyUses(ctx, f.ARN, cursor, jobs)
	for _, u := range found {
		out.Resources = append(out.Resources, ImpactResource{
			Service: "sagemaker-geospatial", Type: "earth-observation-job", Name: u.Name, ARN: u.ARN, Status: u.Status,
			Objects: u.Files, Bytes: u.Bytes, GrantID: u.GrantID,
		})
	}
	return next, err
}

func (s *Server) impactS3(ctx context.Context, f *kms.Facts, _ int, cursor []byte, out *Impact) ([]byte, error) {
	names := s3.KeyNames{ARN: f.ARN, ID: f.ID, Account: f.Account, Region: f.Region, Aliases: f.Aliases}
	found, next, read, err := s.s3.KeyUses(ctx, names, cursor, impactObjects)
	out.ObjectsRead += int64(read)
	for _, u := range found {
		arn := "arn:aws:s3:::" + u.Bucket
		if u.Policy {
			out.Policies = append(out.Policies, ImpactPolicy{Type: "bucket policy", Policy: arn, Holders: []string{}})
		}
		if !u.Default && u.Objects == 0 && u.Uploads == 0 {
			continue
		}
		out.Resources = append(out.Resources, ImpactResource{
			Service: "s3", Type: "bucket", Name: u.Bucket, ARN: arn, Default: u.Default, Objects: u.Objects, Bytes: u.Bytes, Uploads: u.Uploads,
		})
	}
	return next, err
}

// impactUses reads the journal of the last days, oldest first.
func (s *Server) impactUses(ctx context.Context, f *kms.Facts, days int, cursor []byte, out *Impact) ([]byte, error) {
	scan := store.JournalScan{Since: s.registry.Now().AddDate(0, 0, -days), After: cursor}
	users := map[[2]string]*ImpactUser{}
	var last []byte
	n := int64(0)
	for rec, err := range s.store.Journal().Scan(ctx, scan) {
		if err != nil {
			return nil, fmt.Errorf("read journal: %w", err)
		}
		noteKeyUser(users, rec.Data, f.ARN)
		if n++; n == impactRecords {
			last = bytes.Clone(rec.Cursor)
			break
		}
	}
	out.RecordsRead += n
	for _, u := range users {
		out.UsedBy = append(out.UsedBy, *u)
	}
	return last, nil
}

// keyUser is the part of a record that tells who used a key.
type keyUser struct {
	UserIdentity  audit.UserIdentity `json:"userIdentity"`
	EventTime     string             `json:"eventTime"`
	EventSource   string             `json:"eventSource"`
	EventName     string             `json:"eventName"`
	ErrorCode     string             `json:"errorCode"`
	EventID       string             `json:"eventID"`
	EventType     string             `json:"eventType"`
	Resources     []audit.Resource   `json:"resources"`
	SharedEventID string             `json:"sharedEventID"`
}

// noteKeyUser counts a record that is about the key. An event that two accounts
// have a record of is counted in its caller's.
func noteKeyUser(users map[[2]string]*ImpactUser, data []byte, arn string) {
	if !bytes.Contains(data, []byte(arn)) {
		return
	}
	var r keyUser
	if json.Unmarshal(data, &r) != nil || r.EventSource != kmsapi.Service.EventSource || r.EventType != "AwsApiCall" {
		return
	}
	if r.SharedEventID != "" && r.UserIdentity.Type == "AWSAccount" || r.ErrorCode == "DryRunOperationException" {
		return
	}
	if !slices.ContainsFunc(r.Resources, func(res audit.Resource) bool { return res.ARN == arn }) {
		return
	}
	at, err := time.Parse(time.RFC3339, r.EventTime)
	if err != nil {
		return
	}
	who, via := principalOfRecord(&r.UserIdentity)
	u := users[[2]string{who, via}]
	if u == nil {
		u = &ImpactUser{Principal: who, Via: via, Operations: map[string]int64{}, First: at}
		users[[2]string{who, via}] = u
	}
	if r.ErrorCode != "" {
		u.Failed++
	} else {
		u.Count++
		u.Operations[r.EventName]++
	}
	if !at.Before(u.Last) {
		u.Last, u.LastEvent = at, r.EventID
	}
}

// principalOfRecord names who called: the role of a session, the user of a
// federated one, a service by its name.
func principalOfRecord(u *audit.UserIdentity) (who, via string) {
	via = u.InvokedBy
	switch {
	case u.Type == "AWSService":
		return u.InvokedBy, ""
	case u.SessionContext != nil && u.SessionContext.SessionIssuer != nil:
		i := u.SessionContext.SessionIssuer
		if i.Type == "Role" {
			// Execution roles have an issuer in the form of a session.
			return "arn:aws:iam::" + i.AccountID + ":role/" + i.UserName, via
		}
		return i.ARN, via
	case u.ARN != "":
		return u.ARN, via
	case u.AccountID != "":
		return u.AccountID + " " + u.PrincipalID, via
	}
	return u.Type, via
}
