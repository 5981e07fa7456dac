package wire

import (
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sagekeep/sagekeep/api/schema"
)

func queryOp() *schema.Operation {
	op := jsonOp()
	op.Service = service(schema.AWSQuery)
	op.ResultWrapper = "DoItResult"
	return op
}

// plainFull is full with what awsQuery carries: whole seconds, XML's characters.
func plainFull() *everything {
	v := full()
	at := v.At.Truncate(time.Second)
	v.At, v.Note = &at, new("a <b> & \"c\"\r\n é🚲")
	return v
}

func TestQueryGolden(t *testing.T) {
	t.Parallel()
	op := queryOp()
	in := &everything{Name: "a b", Level: "LOW", Names: []string{}, Tags: []tag{{TagKey: "k", TagValue: new("")}}, Context: map[string]string{"x": "1&2"}}
	req, body, err := EncodeInput(op, "http://h/", in)
	if err != nil {
		t.Fatal(err)
	}
	want := "Action=DoIt&Version=2026-01-02&Name=a%20b&Level=LOW&Names=&Tags.member.1.TagKey=k&Tags.member.1.TagValue=" +
		"&Context.entry.1.key=x&Context.entry.1.value=1%262"
	if string(body) != want || req.URL.Path != "/" {
		t.Errorf("got  %s\nwant %s", body, want)
	}
	w := httptest.NewRecorder()
	at := time.Date(2026, 1, 2, 3, 4, 5, 9e8, time.UTC)
	if err := EncodeOutput(op, w, "r1", &everything{Name: "a", At: &at, Tags: []tag{{TagKey: "<"}}, Context: map[string]string{"x": "1"}}); err != nil {
		t.Fatal(err)
	}
	answer := `<DoItResponse xmlns="https://made-up.example/doc/"><DoItResult><Name>a</Name><At>2026-01-02T03:04:05Z</At><Names/><Levels/>` +
		`<Tags><member><TagKey>&lt;</TagKey></member></Tags><Context><entry><key>x</key><value>1</value></entry></Context><Points/><Rings/></DoItResult>` +
		`<ResponseMetadata><RequestId>r1</RequestId></ResponseMetadata></DoItResponse>`
	if got := w.Body.String(); got != answer {
		t.Errorf("got  %s\nwant %s", got, answer)
	}
	op.Output, op.ResultWrapper = nil, ""
	w = httptest.NewRecorder()
	if err := EncodeOutput(op, w, "r1", nil); err != nil {
		t.Fatal(err)
	}
	if got := w.Body.String(); got != `<DoItResponse xmlns="https://made-up.example/doc/"><ResponseMetadata><RequestId>r1</RequestId></ResponseMetadata></DoItResponse>` {
		t.Errorf("without output: %s", got)
	}
}

func TestQueryRoundTrip(t *testing.T) {
	t.Parallel()
	op := queryOp()
	for _, wrapper := range []string{"DoItResult", ""} {
		op.ResultWrapper = wrapper
		_, body, err := EncodeInput(op, "http://h", plainFull())
		if err != nil {
			t.Fatal(err)
		}
		var in, out everything
		if err := DecodeInput(op, &Request{Body: body}, &in); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(&in, plainFull()) {
			t.Errorf("decoded %+v", in)
		}
		w := httptest.NewRecorder()
		if err := EncodeOutput(op, w, "r", &in); err != nil {
			t.Fatal(err)
		}
		if err := DecodeOutput(op, w.Result(), &out); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(&out, plainFull()) {
			t.Errorf("answered %s\ndecoded %+v", w.Body, out)
		}
	}
}

func TestQueryDecode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, form, code, text string }{
		{name: "smallest", form: "Name=a"},
		{name: "unknown", form: "Name=a&X.Y.1=2&Tags.other=1"},
		{name: "sparse and unordered", form: "Name=a&Names.member.10=b&Names.member.2=a"},
		{name: "missing", form: "", code: "ValidationError", text: "1 validation error detected: Value null at 'name' failed to satisfy constraint: Member must not be null"},
		{name: "nested missing", form: "Name=a&Tags.member.1.TagValue=", code: "ValidationError", text: "'tags.1.member.tagKey'"},
		{name: "constraint", form: "Name=A", code: "ValidationError", text: "regular expression pattern"},
		{name: "number", form: "Name=a&Count=x", code: "MalformedInput", text: "an Integer"},
		{name: "value and structure", form: "Name.1=a", code: "MalformedInput"},
		{name: "list is a value", form: "Name=a&Tags=x", code: "MalformedInput"},
		{name: "position zero", form: "Name=a&Names.member.0=x", code: "MalformedInput"},
		{name: "position too large", form: "Name=a&Names.member.10001=x", code: "MalformedInput"},
		{name: "position overflows", form: "Name=a&Names.member.99999999999999999999=x"},
		{name: "map without value", form: "Name=a&Context.entry.1.key=x", code: "MalformedInput"},
		{name: "map key twice", form: "Name=a&Context.entry.1.key=x&Context.entry.1.value=x&Context.entry.2.key=x&Context.entry.2.value=x", code: "MalformedInput"},
		{name: "too deep", form: "Name=a&" + strings.Repeat("Self.", 70) + "Name=a", code: "MalformedInput"},
		{name: "no form", form: "Name=%zz", code: "MalformedInput"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var in everything
			err := DecodeInput(queryOp(), &Request{Body: []byte(c.form)}, &in)
			if c.code == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if e, ok := err.(*schema.Error); !ok || e.Code != c.code || !strings.Contains(e.Message, c.text) {
				t.Fatalf("got %v, want %s %s", err, c.code, c.text)
			}
		})
	}
}

func FuzzQuery(f *testing.F) {
	op := queryOp()
	_, seed, _ := EncodeInput(op, "http://h", plainFull())
	f.Add(string(seed))
	f.Add("Name=a&Names.member.7=b&Tags=")
	f.Fuzz(func(t *testing.T, body string) {
		if len(body) > 4096 {
			return
		}
		form, err := url.ParseQuery(body)
		if err != nil {
			return
		}
		var first, second everything
		if DecodeInput(op, &Request{Form: form}, &first) != nil {
			return
		}
		_, again, err := EncodeInput(op, "http://h", &first)
		if err != nil {
			t.Fatal(err)
		}
		if err := DecodeInput(op, &Request{Body: again}, &second); err != nil {
			t.Fatalf("%q became %q: %v", body, again, err)
		}
		if _, third, _ := EncodeInput(op, "http://h", &second); string(third) != string(again) {
			t.Fatalf("%q became %q and then %q", body, again, third)
		}
	})
}
