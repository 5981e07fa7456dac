package wire

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"

	"github.com/sagekeep/sagekeep/api/schema"
)

// maxAnswer bounds what a client reads of an answer that does not stream.
const maxAnswer = 64 << 20

// EncodeInput makes the request for a call of op at endpoint, for example
// "http://127.0.0.1:4566". body is what a signer hashes; nil when the payload
// streams. An absent idempotency token is filled in on the wire, so a retry
// must send the same request again. in stays as it is.
func EncodeInput(op *schema.Operation, endpoint string, in any) (req *http.Request, body []byte, err error) {
	v, ok := structOf(op.Input, in)
	if ok {
		v = withToken(op.Input, v)
	}
	endpoint = strings.TrimSuffix(endpoint, "/")
	switch op.Service.Protocol {
	case schema.AWSJSON11:
		body = []byte("{}")
		if ok {
			body = appendJSONStruct(make([]byte, 0, 256), op.Input, v, false)
		}
		if req, err = newRequest(http.MethodPost, endpoint+"/", body); err != nil {
			return nil, nil, err
		}
		req.Header["Content-Type"] = []string{contentJSON11}
		req.Header["X-Amz-Target"] = []string{op.Service.TargetPrefix + "." + op.Name}
		return req, body, nil
	case schema.AWSQuery:
		body = append(body, "Action="+op.Name+"&Version="+op.Service.APIVersion...)
		if ok {
			body = appendFormStruct(body, "", op.Input, v)
		}
		if req, err = newRequest(http.MethodPost, endpoint+"/", body); err != nil {
			return nil, nil, err
		}
		req.Header["Content-Type"] = []string{"application/x-www-form-urlencoded; charset=utf-8"}
		return req, body, nil
	}
	return encodeRESTInput(op, endpoint, v)
}

func newRequest(method, target string, body []byte) (*http.Request, error) {
	req, err := http.NewRequest(method, target, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	return req, nil
}

// withToken returns v, or a copy with a fresh idempotency token.
func withToken(shape *schema.Shape, v reflect.Value) reflect.Value {
	for i := range shape.Members {
		m := &shape.Members[i]
		fv, present := held(m.Shape, v.Field(i))
		if !m.IdempotencyTok || present && fv.Len() > 0 {
			continue
		}
		c := reflect.New(v.Type()).Elem()
		c.Set(v)
		target(c.Field(i)).SetString(newToken())
		v = c
	}
	return v
}

// newToken returns a random UUID.
func newToken() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

func encodeRESTInput(op *schema.Operation, endpoint string, v reflect.Value) (*http.Request, []byte, error) {
	path, literals, _ := strings.Cut(op.Path, "?")
	header := make(http.Header)
	query := make(url.Values)
	labels := make(map[string]string)
	if v.IsValid() {
		for i := range op.Input.Members {
			m := &op.Input.Members[i]
			fv, ok := held(m.Shape, v.Field(i))
			if !ok {
				continue
			}
			switch m.In {
			case schema.InURI:
				labels[m.Wire()] = string(appendText(nil, m.Shape, fv, timeFormat(m, schema.TimeISO8601), fractionOf(op.Service.Protocol)))
			case schema.InQuery:
				addQuery(query, op.Service.Protocol, m, fv)
			case schema.InHeader, schema.InHeaders:
				writeHeader(header, op.Service.Protocol, m, fv)
			}
		}
	}
	path, err := fillPath(path, labels)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", op.Name, err)
	}
	// A space is %20: a signature covers the text, and "+" is not a space there.
	params := strings.ReplaceAll(query.Encode(), "+", "%20")
	switch {
	case literals != "" && params != "":
		literals += "&" + params
	case literals == "":
		literals = params
	}
	target := endpoint + path
	if literals != "" {
		target += "?" + literals
	}
	return restRequest(op, target, header, v)
}

func restRequest(op *schema.Operation, target string, header http.Header, v reflect.Value) (*http.Request, []byte, error) {
	length := int64(-1)
	if s := header.Get("Content-Length"); s != "" {
		if _, err := fmt.Sscan(s, &length); err != nil {
			return nil, nil, fmt.Errorf("%s: content length: %w", op.Name, err)
		}
		header.Del("Content-Length")
	}
	if v.IsValid() && op.Input.Payload > 0 && op.Input.Members[op.Input.Payload-1].Shape.Streaming {
		src := readerOrBytes(v.Field(op.Input.Payload - 1))
		if src != nil {
			req, err := http.NewRequest(op.Method, target, src)
			if err != nil {
				return nil, nil, fmt.Errorf("make the request: %w", err)
			}
			if length >= 0 {
				req.ContentLength = length
			}
			req.Header = header
			return req, nil, nil
		}
	}
	var body []byte
	if v.IsValid() {
		var contentType string
		body, contentType = encodeRESTBody(op, op.Input, v, false)
		if contentType != "" && header.Get("Content-Type") == "" {
			header.Set("Content-Type", contentType)
		}
	}
	if body == nil {
		body = []byte{}
	}
	req, err := newRequest(op.Method, target, body)
	if err != nil {
		return nil, nil, err
	}
	req.Header = header
	return req, body, nil
}

// fillPath puts the labels into a path template, percent-encoded; a greedy
// label keeps its slashes.
func fillPath(template string, labels map[string]string) (string, error) {
	var b []byte
	for {
		before, rest, found := strings.Cut(template, "{")
		b = append(b, before...)
		if !found {
			return string(b), nil
		}
		name, after, _ := strings.Cut(rest, "}")
		name, greedy := strings.CutSuffix(name, "+")
		value := labels[name]
		if value == "" {
			return "", fmt.Errorf("the path needs a value for %s", name)
		}
		b = appendPathEscaped(b, value, greedy)
		template = after
	}
}

func appendPathEscaped(dst []byte, s string, keepSlash bool) []byte {
	const upperHex = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
			c == '-' || c == '_' || c == '.' || c == '~' || c == '/' && keepSlash {
			dst = append(dst, c)
			continue
		}
		dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
	}
	return dst
}

// DecodeOutput reads an answer into out, a pointer to op's output struct, and
// closes its body, unless out has a streaming payload: then that member is
// resp.Body and the caller closes it. An answer of 300 and above is returned as
// a *schema.Error with the answer's status; S3 errors under status 200
// (CopyObject, CompleteMultipartUpload) likewise, with status 500. A body that
// cannot be read gives an error that is no *schema.Error.
func DecodeOutput(op *schema.Operation, resp *http.Response, out any) error {
	v, ok := structOf(op.Output, out)
	if resp.StatusCode < 300 && ok && op.Output.Payload > 0 && op.Output.Members[op.Output.Payload-1].Shape.Streaming {
		d := restDecoder{op: op, shape: op.Output, xml: op.Service.Protocol == schema.RESTXML}
		if err := d.answerHeaders(resp, v); err != nil {
			return answerError(op, err)
		}
		if v.Field(op.Output.Payload-1).Kind() == reflect.Slice {
			defer resp.Body.Close()
		}
		return d.stream(op.Output.Payload-1, resp.Body, v)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", op.Name, err)
	}
	if len(body) > maxAnswer {
		return fmt.Errorf("read the answer of %s: it exceeds %d bytes", op.Name, maxAnswer)
	}
	if resp.StatusCode >= 300 {
		return decodeError(op, resp, body)
	}
	if !ok {
		return nil
	}
	switch op.Service.Protocol {
	case schema.AWSJSON11:
		if len(body) > 0 {
			err = decodeJSON(op.Output, body, v)
		}
	case schema.AWSQuery:
		err = decodeQueryOutput(op, body, v)
	default:
		err = decodeRESTOutput(op, resp, body, v)
	}
	return answerError(op, err)
}

// answerError wraps what went wrong while decoding; the text only, so that
// nobody takes it for an error the server sent. Errors it did send pass.
func answerError(op *schema.Operation, err error) error {
	switch e := err.(type) {
	case nil:
		return nil
	case *sentError:
		return e.err
	}
	return fmt.Errorf("decode the answer of %s: %s", op.Name, err.Error())
}

// sentError carries an API error found in an answer with a good status.
type sentError struct{ err *schema.Error }

func (e *sentError) Error() string { return e.err.Error() }

func (d *restDecoder) answerHeaders(resp *http.Response, v reflect.Value) error {
	for i := range d.shape.Members {
		m := &d.shape.Members[i]
		switch m.In {
		case schema.InHeader:
			if err := d.header(i, resp.Header.Values(m.Wire()), v.Field(i)); err != nil {
				return err
			}
		case schema.InHeaders:
			if err := d.prefixed(i, resp.Header, v.Field(i)); err != nil {
				return err
			}
		case schema.InStatus:
			target(v.Field(i)).SetInt(int64(resp.StatusCode))
		}
	}
	return nil
}

func decodeRESTOutput(op *schema.Operation, resp *http.Response, body []byte, v reflect.Value) error {
	d := restDecoder{op: op, shape: op.Output, xml: op.Service.Protocol == schema.RESTXML}
	if err := d.answerHeaders(resp, v); err != nil {
		return err
	}
	if d.xml {
		if x := newXMLReader(body, false); len(body) > 0 {
			if start, err := x.root(); err == nil && start.Name.Local == "Error" && start.Name.Space == "" {
				return &sentError{readXMLError(x, http.StatusInternalServerError)}
			}
		}
	}
	if d.shape.Payload == 0 && !hasBody(d.shape) {
		return nil
	}
	return d.body(body, v)
}

func decodeQueryOutput(op *schema.Operation, body []byte, v reflect.Value) error {
	x := newXMLReader(body, false)
	if _, err := x.root(); err != nil {
		return err
	}
	var set bitset
	if op.ResultWrapper == "" {
		return x.structure(op.Output, v, &set)
	}
	return x.children(func(s xml.StartElement) error {
		if s.Name.Local != op.ResultWrapper {
			return x.skip()
		}
		return x.structure(op.Output, v, &set)
	})
}

// decodeError reads an error answer; one without a readable body is named by
// its status.
func decodeError(op *schema.Operation, resp *http.Response, body []byte) *schema.Error {
	e := &schema.Error{}
	switch op.Service.Protocol {
	case schema.RESTXML, schema.AWSQuery:
		x := newXMLReader(body, false)
		if start, err := x.root(); err == nil {
			if start.Name.Local == "Error" {
				e = readXMLError(x, 0)
			} else {
				// An error inside the answer's own tree may be cut short; what was read counts.
				_ = x.children(func(s xml.StartElement) error {
					if s.Name.Local != "Error" {
						return x.skip()
					}
					e = readXMLError(x, 0)
					return nil
				})
			}
		}
	default:
		e = readJSONError(body)
		if code := resp.Header.Get("X-Amzn-Errortype"); code != "" {
			e.Code = bareCode(code)
		}
	}
	e.Status = resp.StatusCode
	if e.Code == "" {
		e.Code = strings.ReplaceAll(http.StatusText(resp.StatusCode), " ", "")
	}
	return e
}

// readXMLError reads the children of an <Error> element.
func readXMLError(x *xmlReader, status int) *schema.Error {
	e := &schema.Error{Status: status}
	_ = x.children(func(s xml.StartElement) error {
		name := s.Name.Local
		text, err := x.text()
		if err != nil {
			return err
		}
		switch name {
		case "Code":
			e.Code = text
		case "Message":
			e.Message = text
		case "Type", "RequestId", "HostId":
		default:
			setField(e, name, text)
		}
		return nil
	})
	return e
}

// readJSONError reads __type or code, the message in either spelling, and the
// further text members.
func readJSONError(body []byte) *schema.Error {
	e := &schema.Error{}
	r := jsonReader{b: body}
	if r.peek() != '{' {
		return e
	}
	_ = r.object(func(name []byte) error {
		if r.peek() != '"' {
			return r.skip()
		}
		key := string(name)
		text, err := r.text()
		if err != nil {
			return err
		}
		switch key {
		case "__type", "code":
			e.Code = bareCode(string(text))
		case "message", "Message":
			e.Message = string(text)
		default:
			setField(e, key, string(text))
		}
		return nil
	})
	return e
}

func setField(e *schema.Error, name, text string) {
	if e.Fields == nil {
		e.Fields = make(map[string]string)
	}
	e.Fields[name] = text
}

// bareCode strips the namespace before "#" and the address after ":".
func bareCode(s string) string {
	if _, after, ok := strings.Cut(s, "#"); ok {
		s = after
	}
	s, _, _ = strings.Cut(s, ":")
	return strings.TrimSpace(s)
}
