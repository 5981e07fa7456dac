// Package audit builds CloudTrail records and hands them to the store, so that
// a change and its record are one commit, and what changes nothing is still in
// the durable journal before it is answered.
package audit

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/sagekeep/sagekeep/internal/identity"
)

// EventVersion is the version of the record format that we write.
const EventVersion = "1.11"

// Record is one CloudTrail event; the fields are in the order in which AWS
// writes them. Source: AWS CloudTrail User Guide, "CloudTrail record contents".
type Record struct {
	EventVersion        string          `json:"eventVersion"`
	UserIdentity        UserIdentity    `json:"userIdentity"`
	EventTime           string          `json:"eventTime"`
	EventSource         string          `json:"eventSource"`
	EventName           string          `json:"eventName"`
	AWSRegion           string          `json:"awsRegion"`
	SourceIPAddress     string          `json:"sourceIPAddress"`
	UserAgent           string          `json:"userAgent"`
	ErrorCode           string          `json:"errorCode,omitempty"`
	ErrorMessage        string          `json:"errorMessage,omitempty"`
	RequestParameters   json.RawMessage `json:"requestParameters"`
	ResponseElements    json.RawMessage `json:"responseElements"`
	AdditionalEventData map[string]any  `json:"additionalEventData,omitempty"`
	RequestID           string          `json:"requestID,omitempty"`
	EventID             string          `json:"eventID"`
	ReadOnly            bool            `json:"readOnly"`
	Resources           []Resource      `json:"resources,omitempty"`
	EventType           string          `json:"eventType"`
	ServiceEventDetails map[string]any  `json:"serviceEventDetails,omitempty"`
	ManagementEvent     bool            `json:"managementEvent"`
	RecipientAccountID  string          `json:"recipientAccountId"`
	SharedEventID       string          `json:"sharedEventID,omitempty"`
	EventCategory       string          `json:"eventCategory"`
	TLSDetails          *TLSDetails     `json:"tlsDetails,omitempty"`

	authorization *Authorization // of a refused call
	callerAlone   bool           // see TellCallerAlone
}

// UserIdentity says who made the request.
type UserIdentity struct {
	Type           string          `json:"type,omitempty"`
	PrincipalID    string          `json:"principalId,omitempty"`
	ARN            string          `json:"arn,omitempty"`
	AccountID      string          `json:"accountId,omitempty"`
	AccessKeyID    string          `json:"accessKeyId,omitempty"`
	UserName       string          `json:"userName,omitempty"`
	SessionContext *SessionContext `json:"sessionContext,omitempty"`
	// IdentityProvider is who vouches for a WebIdentityUser.
	IdentityProvider string `json:"identityProvider,omitempty"`
	InvokedBy        string `json:"invokedBy,omitempty"`
}

// SessionContext describes temporary credentials.
type SessionContext struct {
	SessionIssuer *SessionIssuer `json:"sessionIssuer,omitempty"`
	// WebIDFederationData is there, if only empty, for sessions with an issuer.
	WebIDFederationData *WebIDFederationData `json:"webIdFederationData,omitempty"`
	Attributes          SessionAttributes    `json:"attributes"`
	SourceIdentity      string               `json:"sourceIdentity,omitempty"`
}

// SessionIssuer is whose session it is: a role, or the user or root user who
// called GetFederationToken.
type SessionIssuer struct {
	Type        string `json:"type"`
	PrincipalID string `json:"principalId"`
	ARN         string `json:"arn"`
	AccountID   string `json:"accountId"`
	UserName    string `json:"userName,omitempty"` // none for the root user
}

// WebIDFederationData is the identity provider behind a session.
type WebIDFederationData struct {
	FederatedProvider string            `json:"federatedProvider,omitempty"`
	Attributes        map[string]string `json:"attributes,omitzero"`
}

// SessionAttributes are the times and the MFA state of a session.
type SessionAttributes struct {
	CreationDate     string `json:"creationDate"`
	MFAAuthenticated string `json:"mfaAuthenticated"`
}

// Resource is one resource that the event touched.
type Resource struct {
	AccountID string `json:"accountId,omitempty"`
	Type      string `json:"type,omitempty"`
	ARN       string `json:"ARN"`

	missing bool // see AddMissingResource
}

// TLSDetails describes the connection.
type TLSDetails struct {
	TLSVersion               string `json:"tlsVersion,omitempty"`
	CipherSuite              string `json:"cipherSuite,omitempty"`
	ClientProvidedHostHeader string `json:"clientProvidedHostHeader,omitempty"`
	KeyExchange              string `json:"keyExchange,omitempty"`
}

const timeFormat = "2006-01-02T15:04:05Z"

// Time renders an instant as records hold it.
func Time(t time.Time) string { return t.UTC().Format(timeFormat) }

// identityOf renders a caller.
//
// Source: AWS CloudTrail User Guide, "CloudTrail userIdentity element".
func identityOf(c *identity.Caller) UserIdentity {
	u := UserIdentity{
		Type: string(c.Type), PrincipalID: c.PrincipalID, ARN: c.ARN, AccountID: c.Account, AccessKeyID: c.AccessKeyID,
	}
	switch c.Type {
	case identity.Service:
		return UserIdentity{Type: string(c.Type), InvokedBy: c.GlobalServiceName()}
	case identity.Anonymous:
		return UserIdentity{Type: string(c.Type), AccountID: "ANONYMOUS_PRINCIPAL"}
	case identity.WebIdentity:
		return UserIdentity{
			Type: string(c.Type), PrincipalID: c.PrincipalID, UserName: c.UserName, IdentityProvider: c.Provider,
		}
	case identity.User:
		u.UserName = c.UserName
		u.SessionContext = ownSession(c)
	case identity.Root:
		u.SessionContext = ownSession(c)
	case identity.FederatedUser:
		issuer := &SessionIssuer{Type: string(identity.User), PrincipalID: c.UserID, ARN: c.UserARN, AccountID: c.Account, UserName: c.UserName}
		if c.UserName == "" {
			issuer.Type, issuer.PrincipalID = string(identity.Root), c.Account
		}
		u.SessionContext = sessionContext(c, issuer)
	case identity.AssumedRole:
		issuer := c.RoleARN
		if strings.HasPrefix(c.InvokedBy, "arn:") {
			// An execution role that a service uses for its account: AWS's example
			// records name the issuer in the form of a session.
			// Source: Amazon SageMaker Developer Guide, "Use AWS KMS Permissions for
			// Amazon SageMaker geospatial capabilities".
			issuer = "arn:aws:sts::" + c.Account + ":assumed-role/" + c.RoleName
		}
		u.SessionContext = sessionContext(c, &SessionIssuer{
			Type: "Role", PrincipalID: c.RoleID, ARN: issuer, AccountID: c.Account, UserName: c.RoleName,
		})
	}
	u.InvokedBy = c.InvokedBy
	if n := len(c.Via); n > 0 && u.InvokedBy == "" {
		u.InvokedBy = c.Via[n-1].Principal()
	}
	return u
}

// sessionContext describes a session that was issued for somebody else.
func sessionContext(c *identity.Caller, issuer *SessionIssuer) *SessionContext {
	data := &WebIDFederationData{FederatedProvider: c.Provider}
	if c.Provider != "" {
		data.Attributes = map[string]string{}
	}
	return &SessionContext{
		SessionIssuer: issuer, WebIDFederationData: data, Attributes: attributes(c), SourceIdentity: c.SourceIdentity,
	}
}

// ownSession describes a session that GetSessionToken gave a user of itself;
// nil for long-term credentials.
func ownSession(c *identity.Caller) *SessionContext {
	if !c.Temporary() {
		return nil
	}
	return &SessionContext{Attributes: attributes(c)}
}

// attributes of a session: there are no MFA devices, so that none had one.
func attributes(c *identity.Caller) SessionAttributes {
	return SessionAttributes{CreationDate: Time(c.IssuedAt), MFAAuthenticated: "false"}
}

// newRecord fills in what the call knows.
func newRecord(call *identity.Call, source, name string, readOnly bool, eventID string) *Record {
	r := &Record{
		EventVersion:       EventVersion,
		UserIdentity:       identityOf(call.Caller),
		EventTime:          Time(call.Time),
		EventSource:        source,
		EventName:          name,
		AWSRegion:          call.Region,
		SourceIPAddress:    call.SourceIP,
		UserAgent:          call.UserAgent,
		RequestParameters:  null,
		ResponseElements:   null,
		RequestID:          call.RequestID,
		EventID:            eventID,
		ReadOnly:           readOnly,
		EventType:          "AwsApiCall",
		ManagementEvent:    true,
		RecipientAccountID: call.Caller.Account,
		EventCategory:      "Management",
	}
	switch {
	case call.Caller.Type == identity.Service:
		name := call.Caller.GlobalServiceName()
		r.SourceIPAddress, r.UserAgent = name, name
		r.RecipientAccountID = call.Caller.SourceAccount
	case len(call.Caller.Via) > 0 && call.Caller.InvokedBy == "":
		name := call.Caller.Via[len(call.Caller.Via)-1].Principal()
		r.SourceIPAddress, r.UserAgent = name, name
	case call.Host != "":
		r.TLSDetails = &TLSDetails{
			TLSVersion: call.TLS.Version, CipherSuite: call.TLS.CipherSuite, KeyExchange: call.TLS.KeyExchange,
			ClientProvidedHostHeader: call.Host,
		}
	}
	return r
}

var null = json.RawMessage("null")
