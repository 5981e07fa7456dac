package wire

import (
	"errors"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/sagekeep/sagekeep/api/schema"
)

func TestEncodeError(t *testing.T) {
	t.Parallel()
	kms := service(schema.AWSJSON11)
	kms.Name = "kms"
	notFound := schema.NewError("NotFoundException", 400, "no <key> %q", "k").Because(errors.New("a private cause"))
	noBucket := schema.NewError("NoSuchBucket", 404, "The bucket & its").With("BucketName", "b")
	for _, c := range []struct {
		name   string
		svc    *schema.Service
		method string
		err    *schema.Error
		status int
		header string
		want   string
	}{
		{"json", kms, "POST", notFound, 400, "X-Amzn-Requestid", `{"__type":"NotFoundException","message":"no <key> \"k\""}`},
		{"json, refused", kms, "POST", schema.NewError("AccessDeniedException", 400, "no"), 400, "X-Amzn-Requestid", `{"__type":"AccessDeniedException","Message":"no"}`},
		{"json, fields", kms, "POST", schema.NewError("A", 400, "").With("z", "1").With("b", "2"), 400, "X-Amzn-Requestid", `{"__type":"A","b":"2","z":"1"}`},
		{"rest json, no text", service(schema.RESTJSON1), "POST", schema.NewError("ConflictException", 409, ""), 409, "X-Amzn-Errortype", `{}`},
		{"rest json", service(schema.RESTJSON1), "POST", schema.NewError("ConflictException", 409, "no").With("ResourceId", "r"), 409, "X-Amzn-Errortype", `{"Message":"no","ResourceId":"r"}`},
		{
			"s3", service(schema.RESTXML), "GET", noBucket, 404, "X-Amz-Id-2",
			xmlProlog + `<Error><Code>NoSuchBucket</Code><Message>The bucket &amp; its</Message><BucketName>b</BucketName><Resource>/b/k</Resource><RequestId>r</RequestId><HostId>h</HostId></Error>`,
		},
		{"s3 head", service(schema.RESTXML), "HEAD", noBucket, 404, "X-Amz-Request-Id", ""},
		{"s3 not modified", service(schema.RESTXML), "GET", schema.NewError("NotModified", 304, ""), 304, "X-Amz-Request-Id", ""},
		{
			"query", service(schema.AWSQuery), "POST", schema.NewError("NoSuchEntity", 404, "<none>"), 404, "X-Amzn-Requestid",
			`<ErrorResponse xmlns="https://made-up.example/doc/"><Error><Type>Sender</Type><Code>NoSuchEntity</Code><Message>&lt;none&gt;</Message></Error><RequestId>r</RequestId></ErrorResponse>`,
		},
		{
			"query, ours", service(schema.AWSQuery), "POST", schema.NewError("InternalFailure", 500, "x"), 500, "X-Amzn-Requestid",
			`<ErrorResponse xmlns="https://made-up.example/doc/"><Error><Type>Receiver</Type><Code>InternalFailure</Code><Message>x</Message></Error><RequestId>r</RequestId></ErrorResponse>`,
		},
		{"no status", kms, "POST", &schema.Error{Code: "A"}, 400, "X-Amzn-Requestid", `{"__type":"A"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			r := httptest.NewRequest(c.method, "/b/k", nil)
			EncodeError(c.svc, nil, w, r, "r", "h", c.err)
			if w.Code != c.status || w.Body.String() != c.want || w.Header().Get(c.header) == "" {
				t.Errorf("%d %v\ngot  %s\nwant %s", w.Code, w.Header(), w.Body, c.want)
			}
			// A client reads back what it is told.
			op := &schema.Operation{Service: c.svc, Name: "Op", Method: "POST"}
			e, ok := DecodeOutput(op, w.Result(), nil).(*schema.Error)
			if !ok || e.Status != c.status {
				t.Fatalf("decoded %v", e)
			}
			if c.want == "" {
				return
			}
			delete(e.Fields, "Resource")
			if e.Code != c.err.Code || e.Message != c.err.Message || len(c.err.Fields) > 0 && !reflect.DeepEqual(e.Fields, c.err.Fields) {
				t.Errorf("decoded %+v", e)
			}
		})
	}
}

func TestDecodeForeignErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		protocol schema.Protocol
		status   int
		header   string
		body     string
		code     string
		message  string
	}{
		{"namespace", schema.AWSJSON11, 400, "", `{"__type":"com.amazonaws.kms#NotFoundException","Message":"m","n":1}`, "NotFoundException", "m"},
		{"header wins", schema.RESTJSON1, 400, "ConflictException:http://internal/", `{"code":"x","message":"m"}`, "ConflictException", "m"},
		{"html", schema.AWSJSON11, 503, "", `<html>`, "ServiceUnavailable", ""},
		{"nothing", schema.RESTXML, 404, "", ``, "NotFound", ""},
		{"under a good status", schema.RESTXML, 200, "", `<Error><Code>SlowDown</Code><Message>m</Message></Error>`, "SlowDown", "m"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			if c.header != "" {
				w.Header().Set("X-Amzn-ErrorType", c.header)
			}
			w.WriteHeader(c.status)
			w.WriteString(c.body)
			op := restOp(c.protocol)
			e, ok := DecodeOutput(op, w.Result(), &restedOutput{}).(*schema.Error)
			if !ok || e.Code != c.code || e.Message != c.message {
				t.Errorf("got %#v", e)
			}
		})
	}
	w := httptest.NewRecorder()
	w.WriteString(`{"Name":1}`)
	err := DecodeOutput(jsonOp(), w.Result(), &everything{})
	if _, ok := errors.AsType[*schema.Error](err); err == nil || ok {
		t.Errorf("an unreadable answer gave %v, which looks like the server's error", err)
	}
}
