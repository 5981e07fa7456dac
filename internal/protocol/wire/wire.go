// Package wire turns bytes into the shapes of package schema and back, for the
// four protocols our services speak: awsJson1.1, restJson1, restXml and
// awsQuery. It works in both directions: a server decodes requests and encodes
// responses and errors, a client encodes requests and decodes what comes back.
//
// Decoding for a server also checks the model's constraints, because only the
// decoder knows which members were present; the texts are AWS's ("1 validation
// error detected: Value 'x' at 'keyId' failed to satisfy constraint: …"). In
// restXml the service itself judges values, as S3 does.
//
// Generated structs have one field per member in the order of Shape.Members, so
// the codecs walk value and shape by index and keep no state between calls:
// every function may be called concurrently.
//
// Sources: AWS General Reference (query and JSON error forms), Smithy's
// protocol pages for awsJson1.1, restJson1, restXml and awsQuery, and the S3,
// KMS and IAM API references.
package wire

import (
	"io"
	"net/http"
	"net/url"
	"reflect"

	"github.com/sagekeep/sagekeep/api/schema"
)

// Request is an HTTP request as far as a decoder needs it. The caller bounds
// the size of Body and Form.
type Request struct {
	HTTP   *http.Request
	Body   []byte            // the whole body; nil when the input's payload streams
	Stream io.Reader         // the body of a streaming payload, already unchunked
	Labels map[string]string // decoded URI labels by name, from Router.Match
	Query  url.Values        // parsed query string; parsed from HTTP.URL when nil
	Form   url.Values        // awsQuery parameters; parsed from Body when nil
}

func (r *Request) query() url.Values {
	if r.Query == nil && r.HTTP != nil && r.HTTP.URL != nil {
		r.Query = r.HTTP.URL.Query()
	}
	return r.Query
}

// DecodeInput reads the request into in, a pointer to op's input struct, and
// checks the constraints of the model.
//
// Errors are *schema.Error with status 400: SerializationException for what
// cannot be read (awsJson1.1, restJson1), MalformedInput (awsQuery),
// MalformedXML, MissingRequestBodyError, InvalidRequest or InvalidArgument
// (restXml); ValidationException, or ValidationError in awsQuery, for values
// that break a constraint. No error text holds the value of a sensitive member.
func DecodeInput(op *schema.Operation, r *Request, in any) error {
	v, ok := structOf(op.Input, in)
	if !ok {
		return nil
	}
	switch op.Service.Protocol {
	case schema.AWSJSON11:
		return decodeJSONInput(op.Input, r.Body, v)
	case schema.RESTJSON1, schema.RESTXML:
		return decodeREST(op, r, v)
	case schema.AWSQuery:
		return decodeQueryInput(op.Input, r, v)
	}
	panic("wire: unknown protocol of " + op.Service.Name)
}

// EncodeOutput writes the answer of a successful call: status, headers and
// body. Nothing is written when it fails before the status line. A streaming
// payload is copied to w and closed when it is an io.Closer; an error while
// copying comes after the headers, so the caller must then abort the
// connection (http.ErrAbortHandler), or the client takes a part for the whole.
func EncodeOutput(op *schema.Operation, w http.ResponseWriter, requestID string, out any) error {
	v, _ := structOf(op.Output, out)
	switch op.Service.Protocol {
	case schema.AWSJSON11:
		return encodeJSONOutput(op, w, requestID, v)
	case schema.RESTJSON1, schema.RESTXML:
		return encodeRESTOutput(op, w, requestID, v)
	case schema.AWSQuery:
		return encodeQueryOutput(op, w, requestID, v)
	}
	panic("wire: unknown protocol of " + op.Service.Name)
}

// structOf returns the struct behind v, a pointer to the Go type of shape;
// false when the operation has no such shape or v is nil.
func structOf(shape *schema.Shape, v any) (reflect.Value, bool) {
	if shape == nil || v == nil {
		return reflect.Value{}, false
	}
	rv := reflect.ValueOf(v)
	for rv.Kind() == reflect.Pointer {
		if rv.IsNil() {
			return reflect.Value{}, false
		}
		rv = rv.Elem()
	}
	if rv.Kind() != reflect.Struct || rv.NumField() != len(shape.Members) {
		panic("wire: " + rv.Type().String() + " is not the Go type of shape " + shape.Name)
	}
	return rv, true
}
