package audit

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// recordSize is room for most records, in bytes.
const recordSize = 1536

// appendJSON adds the record as json.Marshal writes it, byte for byte. A record is
// made for every request, and this costs a fifth of that.
func (r *Record) appendJSON(b []byte) ([]byte, error) {
	e := encoder{b: append(b, '{')}
	e.text(`"eventVersion":`, r.EventVersion)
	e.name(`"userIdentity":`)
	e.identity(&r.UserIdentity)
	e.text(`"eventTime":`, r.EventTime)
	e.text(`"eventSource":`, r.EventSource)
	e.text(`"eventName":`, r.EventName)
	e.text(`"awsRegion":`, r.AWSRegion)
	e.text(`"sourceIPAddress":`, r.SourceIPAddress)
	e.text(`"userAgent":`, r.UserAgent)
	e.optional(`"errorCode":`, r.ErrorCode)
	e.optional(`"errorMessage":`, r.ErrorMessage)
	e.raw(`"requestParameters":`, r.RequestParameters)
	e.raw(`"responseElements":`, r.ResponseElements)
	e.object(`"additionalEventData":`, r.AdditionalEventData)
	e.optional(`"requestID":`, r.RequestID)
	e.text(`"eventID":`, r.EventID)
	e.bool(`"readOnly":`, r.ReadOnly)
	if len(r.Resources) > 0 {
		e.name(`"resources":`)
		e.b = append(e.b, '[')
		for i := range r.Resources {
			if i > 0 {
				e.b = append(e.b, ',')
			}
			e.resource(&r.Resources[i])
		}
		e.b = append(e.b, ']')
	}
	e.text(`"eventType":`, r.EventType)
	e.object(`"serviceEventDetails":`, r.ServiceEventDetails)
	e.bool(`"managementEvent":`, r.ManagementEvent)
	e.text(`"recipientAccountId":`, r.RecipientAccountID)
	e.optional(`"sharedEventID":`, r.SharedEventID)
	e.text(`"eventCategory":`, r.EventCategory)
	if t := r.TLSDetails; t != nil {
		e.name(`"tlsDetails":`)
		e.b = append(e.b, '{')
		e.optional(`"tlsVersion":`, t.TLSVersion)
		e.optional(`"cipherSuite":`, t.CipherSuite)
		e.optional(`"clientProvidedHostHeader":`, t.ClientProvidedHostHeader)
		e.optional(`"keyExchange":`, t.KeyExchange)
		e.b = append(e.b, '}')
	}
	return append(e.b, '}'), e.err
}

// encoder writes JSON. Its names are ours and need no escapes.
type encoder struct {
	b   []byte
	err error // the first one
}

// name begins a member of the innermost object; it comes with quotes and colon.
func (e *encoder) name(name string) {
	if e.b[len(e.b)-1] != '{' {
		e.b = append(e.b, ',')
	}
	e.b = append(e.b, name...)
}

func (e *encoder) text(name, value string) {
	e.name(name)
	e.string(value)
}

func (e *encoder) optional(name, value string) {
	if value != "" {
		e.text(name, value)
	}
}

func (e *encoder) bool(name string, value bool) {
	e.name(name)
	e.b = strconv.AppendBool(e.b, value)
}

// plain reports which bytes stand in a JSON string as they are.
var plain = func() (t [256]bool) {
	for c := ' '; c < 0x80; c++ {
		t[c] = c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
	}
	return t
}()

// string writes a string; what needs an escape is left to package json.
func (e *encoder) string(s string) {
	for i := range len(s) {
		if !plain[s[i]] {
			e.value(s)
			return
		}
	}
	e.b = append(e.b, '"')
	e.b = append(e.b, s...)
	e.b = append(e.b, '"')
}

func (e *encoder) value(v any) {
	b, err := json.Marshal(v)
	if err != nil && e.err == nil {
		e.err = err
	}
	e.b = append(e.b, b...)
}

// raw writes encoded JSON, which package wire or json made: package json would
// compact it, and escape some of it.
func (e *encoder) raw(name string, value json.RawMessage) {
	e.name(name)
	if len(value) == 0 {
		value = null
	}
	for _, c := range value {
		if !plain[c] && c != '"' && c != '\\' || c == ' ' {
			e.value(value)
			return
		}
	}
	e.b = append(e.b, value...)
}

// object writes a map with its keys in order, unless it is empty.
func (e *encoder) object(name string, m map[string]any) {
	if len(m) == 0 {
		return
	}
	e.name(name)
	e.b = append(e.b, '{')
	if len(m) == 1 {
		for key, v := range m {
			e.entry(key, v)
		}
	} else {
		for i, key := range slices.Sorted(maps.Keys(m)) {
			if i > 0 {
				e.b = append(e.b, ',')
			}
			e.entry(key, m[key])
		}
	}
	e.b = append(e.b, '}')
}

func (e *encoder) entry(key string, v any) {
	e.string(key)
	e.b = append(e.b, ':')
	if s, ok := v.(string); ok {
		e.string(s)
	} else {
		e.value(v)
	}
}

func (e *encoder) resource(r *Resource) {
	e.b = append(e.b, '{')
	e.optional(`"accountId":`, r.AccountID)
	e.optional(`"type":`, r.Type)
	e.text(`"ARN":`, r.ARN)
	e.b = append(e.b, '}')
}

func (e *encoder) identity(u *UserIdentity) {
	e.b = append(e.b, '{')
	e.optional(`"type":`, u.Type)
	e.optional(`"principalId":`, u.PrincipalID)
	e.optional(`"arn":`, u.ARN)
	e.optional(`"accountId":`, u.AccountID)
	e.optional(`"accessKeyId":`, u.AccessKeyID)
	e.optional(`"userName":`, u.UserName)
	if u.SessionContext != nil {
		e.name(`"sessionContext":`)
		e.session(u.SessionContext)
	}
	e.optional(`"identityProvider":`, u.IdentityProvider)
	e.optional(`"invokedBy":`, u.InvokedBy)
	e.b = append(e.b, '}')
}

func (e *encoder) session(s *SessionContext) {
	e.b = append(e.b, '{')
	if i := s.SessionIssuer; i != nil {
		e.name(`"sessionIssuer":`)
		e.b = append(e.b, '{')
		e.text(`"type":`, i.Type)
		e.text(`"principalId":`, i.PrincipalID)
		e.text(`"arn":`, i.ARN)
		e.text(`"accountId":`, i.AccountID)
		e.optional(`"userName":`, i.UserName)
		e.b = append(e.b, '}')
	}
	if w := s.WebIDFederationData; w != nil {
		e.name(`"webIdFederationData":`)
		e.b = append(e.b, '{')
		e.optional(`"federatedProvider":`, w.FederatedProvider)
		if w.Attributes != nil {
			e.name(`"attributes":`)
			e.value(w.Attributes)
		}
		e.b = append(e.b, '}')
	}
	e.name(`"attributes":`)
	e.b = append(e.b, '{')
	e.text(`"creationDate":`, s.Attributes.CreationDate)
	e.text(`"mfaAuthenticated":`, s.Attributes.MFAAuthenticated)
	e.b = append(e.b, '}')
	e.optional(`"sourceIdentity":`, s.SourceIdentity)
	e.b = append(e.b, '}')
}

// encodeRecord renders a record for the journal.
func encodeRecord(r *Record) ([]byte, error) {
	b, err := r.appendJSON(make([]byte, 0, recordSize))
	if err != nil {
		return nil, fmt.Errorf("audit: encode record: %w", err)
	}
	return b, nil
}
