package wire

import (
	"maps"
	"net/http"
	"slices"

	"github.com/sagekeep/sagekeep/api/schema"
)

// EncodeError writes an API error in the form of the service's protocol. op
// may be nil when no operation was found, and r may be nil; a HEAD request gets
// no body, nor does status 304. hostID is S3's x-amz-id-2 and unused elsewhere.
// The private cause of err is never written.
//
// Sources: Smithy awsJson1.1 and restJson1 error serialization; S3 API
// Reference, Error responses; IAM API Reference, Common errors.
func EncodeError(svc *schema.Service, op *schema.Operation, w http.ResponseWriter, r *http.Request, requestID, hostID string, err *schema.Error) {
	status := err.Status
	if status < 300 || status > 599 {
		status = http.StatusBadRequest
	}
	h := w.Header()
	var body []byte
	switch svc.Protocol {
	case schema.RESTXML:
		h["X-Amz-Request-Id"] = []string{requestID}
		if hostID != "" {
			h["X-Amz-Id-2"] = []string{hostID}
		}
		h["Content-Type"] = []string{"application/xml"}
		if region := err.Fields["Region"]; region != "" {
			h["X-Amz-Bucket-Region"] = []string{region} // SDKs follow it, also without a body
		}
		body = appendS3Error(nil, r, requestID, hostID, err)
	case schema.AWSQuery:
		h["X-Amzn-Requestid"] = []string{requestID}
		h["Content-Type"] = []string{"text/xml"}
		body = appendQueryError(nil, svc, requestID, status, err)
	default:
		h["X-Amzn-Requestid"] = []string{requestID}
		h["Content-Type"] = []string{contentJSON11}
		if svc.Protocol == schema.RESTJSON1 {
			h["Content-Type"] = []string{"application/json"}
			h["X-Amzn-Errortype"] = []string{err.Code}
		}
		body = appendJSONError(nil, svc, err)
	}
	if r != nil && r.Method == http.MethodHead || op != nil && op.Method == http.MethodHead {
		w.WriteHeader(status)
		return
	}
	// Whoever asked may be gone; there is nobody left to tell.
	_ = writeBody(w, status, body)
}

// messageKey is the spelling of the message member: REST-JSON services and some
// models write Message, KMS and others message; authorization failures and
// unreadable bodies come from AWS's front end, which writes Message everywhere.
func messageKey(svc *schema.Service, code string) string {
	if svc.Protocol == schema.RESTJSON1 {
		return "Message"
	}
	switch svc.Name {
	case "sagemaker", "glue", "athena":
		return "Message"
	}
	switch code {
	case "AccessDeniedException", "SerializationException":
		return "Message"
	}
	return "message"
}

// appendJSONError writes the members of an error. One without a text has no
// message member.
func appendJSONError(dst []byte, svc *schema.Service, err *schema.Error) []byte {
	comma := byte('{')
	member := func(name, text string) {
		dst = append(appendJSONString(append(dst, comma), name), ':')
		dst = appendJSONString(dst, text)
		comma = ','
	}
	if svc.Protocol == schema.AWSJSON11 {
		member("__type", err.Code)
	}
	if err.Message != "" {
		member(messageKey(svc, err.Code), err.Message)
	}
	for _, name := range slices.Sorted(maps.Keys(err.Fields)) {
		member(name, err.Fields[name])
	}
	if comma == '{' {
		dst = append(dst, comma)
	}
	return append(dst, '}')
}

// appendS3Error writes the error document, which has no namespace.
func appendS3Error(dst []byte, r *http.Request, requestID, hostID string, err *schema.Error) []byte {
	dst = append(dst, xmlProlog...)
	dst = append(dst, "<Error>"...)
	dst = appendElement(dst, "Code", err.Code)
	dst = appendElement(dst, "Message", err.Message)
	for _, name := range slices.Sorted(maps.Keys(err.Fields)) {
		dst = appendElement(dst, name, err.Fields[name])
	}
	if _, given := err.Fields["Resource"]; !given && r != nil && r.URL != nil {
		dst = appendElement(dst, "Resource", r.URL.Path)
	}
	dst = appendElement(dst, "RequestId", requestID)
	dst = appendElement(dst, "HostId", hostID)
	return append(dst, "</Error>"...)
}

func appendQueryError(dst []byte, svc *schema.Service, requestID string, status int, err *schema.Error) []byte {
	fault := "Sender"
	if status >= 500 {
		fault = "Receiver"
	}
	dst = append(dst, `<ErrorResponse xmlns="`...)
	dst = append(appendEscaped(dst, svc.XMLNamespace), `"><Error>`...)
	dst = appendElement(dst, "Type", fault)
	dst = appendElement(dst, "Code", err.Code)
	dst = appendElement(dst, "Message", err.Message)
	for _, name := range slices.Sorted(maps.Keys(err.Fields)) {
		dst = appendElement(dst, name, err.Fields[name])
	}
	dst = append(dst, "</Error>"...)
	dst = appendElement(dst, "RequestId", requestID)
	return append(dst, "</ErrorResponse>"...)
}
