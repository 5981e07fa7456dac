package audit

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/sagekeep/sagekeep/internal/identity"
)

// What the fields of a record hold at most, in bytes. Whoever may send requests
// chooses their length, and each leaves a record.
//
// Source: AWS CloudTrail User Guide, "CloudTrail record contents".
const (
	maxMessage  = 1 << 10
	maxElements = 100 << 10 // of requestParameters, and of responseElements
	// maxUnproven is for the requestParameters of callers who have proven nothing,
	// and to whom the journal's room is free.
	maxUnproven = 4 << 10
)

// fitted returns the record with fields that are not too long. One that was is
// marked as omitted.
func (r *Record) fitted() *Record {
	most := maxElements
	if r.UserIdentity.Type == string(identity.Anonymous) {
		most = maxUnproven
	}
	if len(r.ErrorMessage) <= maxMessage && len(r.RequestParameters) <= most && len(r.ResponseElements) <= maxElements {
		return r
	}
	n := *r
	if len(n.ErrorMessage) > maxMessage {
		n.ErrorMessage = strings.ToValidUTF8(n.ErrorMessage[:maxMessage], "")
	}
	n.RequestParameters = fit(n.RequestParameters, most, "requestParameters")
	n.ResponseElements = fit(n.ResponseElements, maxElements, "responseElements")
	return &n
}

func fit(field json.RawMessage, most int, name string) json.RawMessage {
	if len(field) <= most {
		return field
	}
	return fmt.Appendf(nil, `{"omitted":true,"originalSize":%d,"reason":"%s too large"}`, len(field), name)
}
