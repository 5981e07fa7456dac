package wire

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sagekeep/sagekeep/api/schema"
)

func someRested() *rested {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return &rested{
		Id: "arn:aws:x/y z", Rest: "a//b+c%é/", Max: new(int32(7)), Keys: []string{"k 1", "k+2"}, Since: &at,
		Extra: map[string]string{"other": "v&1"}, Token: "t", Parts: []string{"one", `two, "quoted"`, ""}, Changed: &at,
		Meta: map[string]string{"colour": "red"}, Title: new("<a & b>"), Tags: []tag{{TagKey: "k", TagValue: new("v")}, {TagKey: "l"}},
	}
}

// served sends a request through Router and DecodeInput, as a server does.
func served(t *testing.T, op *schema.Operation, req *http.Request, body []byte, in any) error {
	t.Helper()
	got, labels, known := NewRouter([]*schema.Operation{op}).MatchHeader(req.Method, req.URL.EscapedPath(), req.URL.Query(), req.Header)
	if got != op || !known {
		t.Fatalf("%s %s does not route", req.Method, req.URL)
	}
	return DecodeInput(op, &Request{HTTP: req, Body: body, Labels: labels}, in)
}

func TestRESTRoundTrip(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		protocol    schema.Protocol
		url, body   string
		answer      string
		contentType string
	}{
		"restJson1": {
			schema.RESTJSON1,
			"http://h/things/arn%3Aaws%3Ax%2Fy%20z/a//b%2Bc%25%C3%A9/?op=1&max-items=7&other=v%261&since=2026-01-02T03%3A04%3A05Z&tagKeys=k%201&tagKeys=k%2B2",
			`{"title":"<a & b>","Tags":[{"TagKey":"k","TagValue":"v"},{"TagKey":"l"}]}`,
			`{"title":"<a & b>","Tags":[{"TagKey":"k"}],"At":1767323045.12}`, "application/json",
		},
		"restXml": {
			schema.RESTXML,
			"http://h/things/arn%3Aaws%3Ax%2Fy%20z/a//b%2Bc%25%C3%A9/?op=1&max-items=7&other=v%261&since=2026-01-02T03%3A04%3A05.000Z&tagKeys=k%201&tagKeys=k%2B2",
			xmlProlog + `<PutThingRequest xmlns="https://made-up.example/doc/"><title>&lt;a &amp; b&gt;</title><Tags><TagKey>k</TagKey><TagValue>v</TagValue></Tags><Tags><TagKey>l</TagKey></Tags></PutThingRequest>`,
			xmlProlog + `<RestedResult xmlns="https://made-up.example/doc/"><title>&lt;a &amp; b&gt;</title><Tags><TagKey>k</TagKey></Tags><At>2026-01-02T03:04:05.120Z</At></RestedResult>`, "application/xml",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			op := restOp(c.protocol)
			req, body, err := EncodeInput(op, "http://h", someRested())
			if err != nil {
				t.Fatal(err)
			}
			if req.URL.String() != c.url || string(body) != c.body {
				t.Errorf("got  %s %s\nwant %s %s", req.URL, body, c.url, c.body)
			}
			if got := req.Header["X-Amz-Parts"]; len(got) != 1 || got[0] != `one,"two, \"quoted\"",""` {
				t.Errorf("parts header %q", got)
			}
			if got := req.Header.Get("X-Amz-Changed"); got != "Fri, 02 Jan 2026 03:04:05 GMT" {
				t.Errorf("date header %q", got)
			}
			var in rested
			if err := served(t, op, req, body, &in); err != nil {
				t.Fatal(err)
			}
			delete(in.Extra, "op")
			if !reflect.DeepEqual(&in, someRested()) {
				t.Errorf("decoded %+v", in)
			}

			at := time.Date(2026, 1, 2, 3, 4, 5, 120e6, time.UTC)
			whole := at.Truncate(time.Second)
			out := &restedOutput{
				Status: new(int32(202)), Token: new("t"), Changed: &whole, Meta: map[string]string{"a-b": "c"},
				Title: new("<a & b>"), Tags: []tag{{TagKey: "k"}}, At: &at,
			}
			w := httptest.NewRecorder()
			if err := EncodeOutput(op, w, "r", out); err != nil {
				t.Fatal(err)
			}
			if got := w.Body.String(); got != c.answer || w.Code != 202 {
				t.Errorf("%d\ngot  %s\nwant %s", w.Code, got, c.answer)
			}
			if w.Header().Get("Content-Type") != c.contentType || w.Header()[strings.ToLower("X-Amz-Meta-A-B")] == nil {
				t.Errorf("headers %v", w.Header())
			}
			var back restedOutput
			if err := DecodeOutput(op, w.Result(), &back); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(&back, out) {
				t.Errorf("decoded %+v", back)
			}
		})
	}
}

func TestRESTErrors(t *testing.T) {
	t.Parallel()
	good := map[string]string{"Id": "i", "Rest": "r"}
	for _, c := range []struct {
		name, query, token, body string
		labels                   map[string]string
		json, xml                string // "code: part of the message", "" = no error
	}{
		{name: "good", token: "t", labels: good},
		{name: "no header", labels: good, json: "ValidationException: Value null at 'token'", xml: "InvalidRequest: Missing required header for this request: x-amz-token"},
		{name: "no label", token: "t", labels: map[string]string{"Id": "i"}, json: "ValidationException: Value null at 'rest'", xml: "InvalidArgument: Rest"},
		{name: "empty label", token: "t", labels: map[string]string{"Id": "", "Rest": "r"}, json: "ValidationException: Value '' at 'id' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{name: "label in another charset", token: "t", labels: map[string]string{"Id": "i", "Rest": "\xff"}, json: "SerializationException: ", xml: "InvalidURI: "},
		{name: "header in another charset", token: "\xe9", labels: good, json: "SerializationException: ", xml: "InvalidArgument: x-amz-token"},
		{
			name: "bad number", token: "t", labels: good, query: "max-items=ten", json: "SerializationException: STRING_VALUE can not be converted to an Integer",
			xml: "InvalidArgument: Provided max-items not an integer or within integer range",
		},
		{name: "number too large", token: "t", labels: good, query: "max-items=21", json: "ValidationException: Value '21' at 'max-items'"},
		{name: "empty number", token: "t", labels: good, query: "max-items=", json: "SerializationException: "},
		{name: "constraint in body", token: "t", labels: good, body: `{"Tags":[{}]}`, json: "ValidationException: Value null at 'tags.1.member.tagKey'", xml: "MalformedXML: "},
		{name: "broken body", token: "t", labels: good, body: `<`, json: "SerializationException: ", xml: "MalformedXML: "},
		{name: "wrong root", token: "t", labels: good, body: `<Other/>`, json: "SerializationException: ", xml: "MalformedXML: "},
	} {
		for protocol, want := range map[schema.Protocol]string{schema.RESTJSON1: c.json, schema.RESTXML: c.xml} {
			op := restOp(protocol)
			if protocol == schema.RESTJSON1 {
				want = strings.ReplaceAll(want, "max-items", "max")
			}
			r := &Request{HTTP: httptest.NewRequest("POST", "/things/i/r?op=1&"+c.query, nil), Body: []byte(c.body), Labels: c.labels}
			if c.token != "" {
				r.HTTP.Header.Set("X-Amz-Token", c.token)
			}
			var in rested
			err := DecodeInput(op, r, &in)
			if want == "" {
				if err != nil {
					t.Errorf("%s, protocol %d: %v", c.name, protocol, err)
				}
				continue
			}
			code, part, _ := strings.Cut(want, ": ")
			if e, ok := err.(*schema.Error); !ok || e.Code != code || !strings.Contains(e.Message, part) {
				t.Errorf("%s, protocol %d: got %v, want %s", c.name, protocol, err, want)
			}
		}
	}
}

// closing is a reader that knows whether it was closed.
type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

func TestStreaming(t *testing.T) {
	t.Parallel()
	op := streamOp()
	content := strings.Repeat("0123456789", 20_000)
	req, body, err := EncodeInput(op, "http://h", &streamed{Bucket: "b", Length: new(int64(len(content))), Body: struct{ io.Reader }{strings.NewReader(content)}})
	if err != nil {
		t.Fatal(err)
	}
	if body != nil || req.ContentLength != int64(len(content)) {
		t.Errorf("body %d bytes, length %d", len(body), req.ContentLength)
	}
	labels := map[string]string{"x-bucket": "b"}
	var in streamed
	if err := DecodeInput(op, &Request{HTTP: req, Stream: req.Body, Labels: labels}, &in); err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(in.Body); string(got) != content || in.Bucket != "b" || in.Length == nil || *in.Length != int64(len(content)) {
		t.Errorf("decoded %+v", in)
	}

	src := &closing{Reader: struct{ io.Reader }{strings.NewReader(content)}}
	w := httptest.NewRecorder()
	if err := EncodeOutput(op, w, "r", &streamed{Bucket: "b", Length: new(int64(len(content))), Body: src}); err != nil {
		t.Fatal(err)
	}
	if !src.closed || w.Header().Get("Content-Length") != "200000" {
		t.Errorf("closed %v, headers %v", src.closed, w.Header())
	}
	var out streamed
	if err := DecodeOutput(op, w.Result(), &out); err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(out.Body); string(got) != content {
		t.Errorf("answer has %d bytes", len(got))
	}
	if err := EncodeOutput(op, httptest.NewRecorder(), "r", &streamed{Body: io.MultiReader(strings.NewReader("a"), brokenReader{})}); err != io.ErrUnexpectedEOF {
		t.Errorf("a broken source gave %v", err)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestCopyClearsItsBuffer(t *testing.T) {
	t.Parallel()
	var seen []byte
	src := readerFunc(func(p []byte) (int, error) {
		if seen != nil {
			return 0, io.EOF
		}
		seen = p
		return copy(p, "a customer's plaintext"), nil
	})
	if err := copyBody(io.Discard, src); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(seen[:32], make([]byte, 32)) {
		t.Errorf("the pooled buffer holds %q", seen[:32])
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestIdempotencyToken(t *testing.T) {
	t.Parallel()
	op := jsonOp()
	op.Input.Members[1].IdempotencyTok = true
	in := &everything{Name: "a"}
	_, first, _ := EncodeInput(op, "http://h", in)
	_, second, _ := EncodeInput(op, "http://h", in)
	if in.Note != nil || bytes.Equal(first, second) || len(first) != len(`{"Name":"a","Note":""}`)+36 {
		t.Errorf("%s and %s, input %+v", first, second, in)
	}
	if _, own, _ := EncodeInput(op, "http://h", &everything{Name: "a", Note: new("mine")}); !strings.Contains(string(own), `"mine"`) {
		t.Errorf("a given token was replaced: %s", own)
	}
}
