package wire

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sagekeep/sagekeep/api/schema"
)

func full() *everything {
	at := time.Date(2026, 1, 2, 3, 4, 5, 120e6, time.UTC)
	whole := at.Truncate(time.Second)
	return &everything{
		Name: "a name", Note: new("quote \" slash \\ <b>&\u2028\x01é🚲"), Level: "HIGH", Flag: new(true), Count: new(int32(7)),
		Big: new(int64(-1 << 62)), Ratio: new(1.5e-9), At: &at, When: &whole, Data: []byte{0, 1, 255},
		Names: []string{"a", "b"}, Levels: []level{"LOW"}, Tags: []tag{{TagKey: "k", TagValue: new("")}, {TagKey: "l"}},
		Context: map[string]string{"b": "2", "a": "1"}, Points: map[string]point{"p": {X: 1, Y: new(float32(0.1))}},
		Rings: [][]float64{{1, 2}, {3, 4.25}}, Choice: &choice{Text: new("t")}, Self: &everything{Name: "inner"}, Secret: new("s"),
	}
}

const fullJSON = `{"Name":"a name","Note":"quote \" slash \\ <b>&` + "\u2028" + `\u0001é🚲","Level":"HIGH","Flag":true,"Count":7,` +
	`"Big":-4611686018427387904,"Ratio":1.5e-09,"At":1767323045.12,"When":"2026-01-02T03:04:05Z","Data":"AAH/","Names":["a","b"],` +
	`"Levels":["LOW"],"Tags":[{"TagKey":"k","TagValue":""},{"TagKey":"l"}],"Context":{"a":"1","b":"2"},` +
	`"Points":{"p":{"X":1,"Y":0.1}},"Rings":[[1,2],[3,4.25]],"Choice":{"Text":"t"},"Self":{"Name":"inner"},"Secret":"s"}`

func TestJSONGolden(t *testing.T) {
	t.Parallel()
	op := jsonOp()
	w := httptest.NewRecorder()
	if err := EncodeOutput(op, w, "r1", full()); err != nil {
		t.Fatal(err)
	}
	if got := w.Body.String(); got != fullJSON {
		t.Errorf("got  %s\nwant %s", got, fullJSON)
	}
	if !json.Valid(w.Body.Bytes()) {
		t.Error("encoding/json refuses it")
	}
	for name, want := range map[string]string{"Content-Type": "application/x-amz-json-1.1", "X-Amzn-Requestid": "r1"} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	var back everything
	if err := DecodeOutput(op, w.Result(), &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(&back, full()) {
		t.Errorf("decoded %+v", back)
	}
	req, body, err := EncodeInput(op, "http://h", full())
	if err != nil {
		t.Fatal(err)
	}
	if string(body) != fullJSON || req.Header.Get("X-Amz-Target") != "MadeUp.DoIt" || req.Method != "POST" || req.URL.String() != "http://h/" {
		t.Errorf("request %s %s %v %s", req.Method, req.URL, req.Header, body)
	}
	var in everything
	if err := DecodeInput(op, &Request{HTTP: req, Body: body}, &in); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(&in, full()) {
		t.Errorf("decoded %+v", in)
	}
}

func TestJSONNoOutput(t *testing.T) {
	t.Parallel()
	op := jsonOp()
	op.Output = nil
	w := httptest.NewRecorder()
	if err := EncodeOutput(op, w, "r", &schema.Nothing{}); err != nil || w.Body.Len() != 0 || w.Code != 200 {
		t.Errorf("%v, status %d, body %q", err, w.Code, w.Body)
	}
	if err := DecodeOutput(op, w.Result(), nil); err != nil {
		t.Error(err)
	}
}

func TestJSONDecode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, body string
		code, text string // text is contained in the message
	}{
		{name: "smallest", body: `{"Name":"a"}`},
		{name: "null is absent", body: `{"Name":"a","Note":null,"Tags":null}`},
		{name: "unknown members", body: ` { "Name" : "a" , "New":[{"a":[1,2.5e3,-0,null,true,"x"]}], "Newer":{} } `},
		{name: "escapes", body: `{"N\u0061me":"a","Note":"\ud83d\udeb2\/\b\f\n\r\t"}`},
		{name: "integral forms", body: `{"Name":"a","Count":1e2,"Big":2.0}`},
		{name: "times", body: `{"Name":"a","At":"2026-01-02T03:04:05.5Z","When":1767323045}`},
		{name: "named floats", body: `{"Name":"a","Ratio":"-Infinity"}`},
		{name: "empty", body: ``, code: "ValidationException", text: "Value null at 'name' failed to satisfy constraint: Member must not be null"},
		{name: "no object", body: `[]`, code: "SerializationException", text: "Start of list"},
		{name: "no json", body: `Name=a`, code: "SerializationException"},
		{name: "open", body: `{"Name":"a"`, code: "SerializationException"},
		{name: "comma", body: `{"Name":"a",}`, code: "SerializationException"},
		{name: "behind", body: `{"Name":"a"} {}`, code: "SerializationException"},
		{name: "duplicate", body: `{"Name":"a","Name":"a"}`, code: "SerializationException", text: "Duplicate"},
		{name: "duplicate after null", body: `{"Name":null,"Name":"a"}`, code: "SerializationException", text: "Duplicate"},
		{name: "duplicate unknown", body: `{"Name":"a","x":{"y":1,"\u0079":2}}`, code: "SerializationException", text: "Duplicate"},
		{name: "duplicate key", body: `{"Name":"a","Context":{"y":"1","y":"2"}}`, code: "SerializationException", text: "Duplicate"},
		{name: "duplicate structure key", body: `{"Name":"a","Points":{"y":{"X":1},"y":{"X":1}}}`, code: "SerializationException", text: "Duplicate"},
		{name: "bad utf-8", body: "{\"Name\":\"\xff\"}", code: "SerializationException", text: "UTF-8"},
		{name: "lone surrogate", body: `{"Name":"\ud83d"}`, code: "SerializationException", text: "surrogate"},
		{name: "control character", body: "{\"Name\":\"a\nb\"}", code: "SerializationException"},
		{name: "leading zero", body: `{"Name":"a","Count":01}`, code: "SerializationException"},
		{name: "text for integer", body: `{"Name":"a","Count":"1"}`, code: "SerializationException", text: "STRING_VALUE can not be converted to an Integer"},
		{name: "fraction for integer", body: `{"Name":"a","Count":1.5}`, code: "SerializationException", text: "NUMBER_VALUE can not be converted to an Integer"},
		{name: "integer out of range", body: `{"Name":"a","Count":2147483648}`, code: "SerializationException"},
		{name: "long out of range", body: `{"Name":"a","Big":9223372036854775808}`, code: "SerializationException"},
		{name: "number for text", body: `{"Name":1}`, code: "SerializationException", text: "NUMBER_VALUE can not be converted to a String"},
		{name: "true for text", body: `{"Name":true}`, code: "SerializationException", text: "TRUE_VALUE can not be converted to a String"},
		{name: "structure for text", body: `{"Name":{}}`, code: "SerializationException", text: "Start of structure or map found where not expected."},
		{name: "text for list", body: `{"Name":"a","Tags":"x"}`, code: "SerializationException", text: "Expected list or null"},
		{name: "text for map", body: `{"Name":"a","Context":"x"}`, code: "SerializationException"},
		{name: "bad base64", body: `{"Name":"a","Data":"%%%%"}`, code: "SerializationException"},
		{name: "bad time", body: `{"Name":"a","At":"yesterday"}`, code: "SerializationException"},
		{name: "time far out", body: `{"Name":"a","At":1e300}`, code: "SerializationException"},
		{name: "too deep", body: strings.Repeat(`{"Self":`, 65) + `{}` + strings.Repeat(`}`, 65), code: "SerializationException", text: "deep"},
		{name: "unknown too deep", body: `{"Name":"a","x":` + strings.Repeat(`[`, 100) + strings.Repeat(`]`, 100) + `}`, code: "SerializationException", text: "deep"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var in everything
			err := DecodeInput(jsonOp(), &Request{Body: []byte(c.body)}, &in)
			if c.code == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			e, ok := err.(*schema.Error)
			if !ok || e.Code != c.code || e.Status != 400 || !strings.Contains(e.Message, c.text) {
				t.Fatalf("got %v, want %s with %q", err, c.code, c.text)
			}
		})
	}
}

func TestConstraintTexts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, body, want string }{
		{"max length", `{"Name":"abcdefghijklmnopq"}`, "1 validation error detected: Value 'abcdefghijklmnopq' at 'name' failed to satisfy constraint: Member must have length less than or equal to 16"},
		{"min length", `{"Name":""}`, "1 validation error detected: Value '' at 'name' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"characters count, not bytes", `{"Name":"a","Names":["éééé"]}`, ""},
		{"pattern", `{"Name":"A"}`, "1 validation error detected: Value 'A' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-z ]*"},
		{"enum", `{"Name":"a","Level":"MID"}`, "1 validation error detected: Value 'MID' at 'level' failed to satisfy constraint: Member must satisfy enum value set: [LOW, HIGH]"},
		{"empty enum", `{"Name":"a","Level":""}`, "1 validation error detected: Value '' at 'level' failed to satisfy constraint: Member must satisfy enum value set: [LOW, HIGH]"},
		{"number", `{"Name":"a","Count":1001}`, "1 validation error detected: Value '1001' at 'count' failed to satisfy constraint: Member must have value less than or equal to 1000"},
		{"sensitive", `{"Name":"a","Secret":"12345"}`, "1 validation error detected: Value at 'secret' failed to satisfy constraint: Member must have length less than or equal to 4"},
		{"blob", `{"Name":"a","Data":"AAAAAAAAAAAAAAAAAAAAAAAA"}`, "1 validation error detected: Value 'java.nio.HeapByteBuffer[pos=0 lim=18 cap=18]' at 'data' failed to satisfy constraint: Member must have length less than or equal to 16"},
		{"two, in the model's order", `{"Tags":[{"TagValue":"x"}]}`, "2 validation errors detected: Value null at 'name' failed to satisfy constraint: Member must not be null; " +
			"Value null at 'tags.1.member.tagKey' failed to satisfy constraint: Member must not be null"},
		{"nested", `{"Name":"a","Tags":[{"TagKey":"k"},{"TagKey":"123456789"}]}`, "1 validation error detected: Value '123456789' at 'tags.2.member.tagKey' failed to satisfy constraint: Member must have length less than or equal to 8"},
		{"list length", `{"Name":"a","Names":["a","b","c","d","e"]}`, "1 validation error detected: Value '[a, b, c, d]' at 'names' failed to satisfy constraint: Member must have length less than or equal to 3"},
		{"list element", `{"Name":"a","Names":["a","12345"]}`, "1 validation error detected: Value '[a, 12345]' at 'names' failed to satisfy constraint: " +
			"Member must satisfy constraint: [Member must have length less than or equal to 4, Member must have length greater than or equal to 1]"},
		{"list of enums", `{"Name":"a","Levels":["X"]}`, "1 validation error detected: Value '[X]' at 'levels' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [LOW, HIGH]]"},
		{"null element", `{"Name":"a","Names":[null]}`, "1 validation error detected: Value null at 'names.1.member' failed to satisfy constraint: Member must not be null"},
		{"map value", `{"Name":"a","Context":{"k":"123456789"}}`, "1 validation error detected: Value '{k=123456789}' at 'context' failed to satisfy constraint: Map value must satisfy constraint: [Member must have length less than or equal to 8]"},
		{"null map value", `{"Name":"a","Context":{"k":null}}`, "1 validation error detected: Value null at 'context.k.member' failed to satisfy constraint: Member must not be null"},
		{"in a map", `{"Name":"a","Points":{"k":{}}}`, "1 validation error detected: Value null at 'points.k.member.x' failed to satisfy constraint: Member must not be null"},
		{"list in list", `{"Name":"a","Rings":[[1,2],[1]]}`, "1 validation error detected: Value '[1]' at 'rings.2.member' failed to satisfy constraint: Member must have length greater than or equal to 2"},
		{"empty union", `{"Name":"a","Choice":{}}`, "1 validation error detected: Value at 'choice' failed to satisfy constraint: Member must have exactly one member set"},
		{"full union", `{"Name":"a","Choice":{"Text":"a","Point":{"X":1}}}`, "1 validation error detected: Value at 'choice' failed to satisfy constraint: Member must have exactly one member set"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var in everything
			got := ""
			if err := DecodeInput(jsonOp(), &Request{Body: []byte(c.body)}, &in); err != nil {
				got = err.(*schema.Error).Message
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	if bad := Validate(everythingShape(), full()); bad != nil {
		t.Errorf("a good value: %v", bad)
	}
	in := full()
	in.Self.Name = "ABC"
	in.Tags[1].TagKey = ""
	in.Choice.Point = &point{}
	bad := Validate(everythingShape(), in)
	if bad == nil || bad.Count() != 3 {
		t.Fatalf("got %v, want three", bad)
	}
	for _, part := range []string{"'tags.2.member.tagKey'", "'choice'", "'self.name'"} {
		if !strings.Contains(bad.Error(), part) {
			t.Errorf("%s is missing in %s", part, bad.Error())
		}
	}
	if code := bad.AsError(schema.AWSQuery).Code; code != "ValidationError" {
		t.Errorf("query code %s", code)
	}
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(fullJSON))
	f.Add([]byte(`{"Name":"a","x":[{"y":"\ud83d\udeb2"}],"Count":1e2}`))
	op := jsonOp()
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 4096 {
			return
		}
		r := jsonReader{b: body}
		if r.skip() == nil && r.end() == nil && !json.Valid(body) {
			t.Fatalf("accepted what encoding/json refuses: %q", body)
		}
		var first, second everything
		if DecodeInput(op, &Request{Body: body}, &first) != nil || len(body) == 0 {
			return
		}
		if !json.Valid(body) || !utf8.Valid(body) {
			t.Fatalf("accepted what encoding/json refuses: %q", body)
		}
		w := httptest.NewRecorder()
		if err := EncodeOutput(op, w, "r", &first); err != nil {
			t.Fatal(err)
		}
		if err := DecodeInput(op, &Request{Body: w.Body.Bytes()}, &second); err != nil {
			t.Fatalf("%q became %q: %v", body, w.Body, err)
		}
		w2 := httptest.NewRecorder()
		if err := EncodeOutput(op, w2, "r", &second); err != nil || w2.Body.String() != w.Body.String() {
			t.Fatalf("%q became %q and then %q", body, w.Body, w2.Body)
		}
	})
}

type dataKeyInput struct {
	KeyId             string
	EncryptionContext map[string]string
	KeySpec           level
}

type dataKeyOutput struct {
	CiphertextBlob []byte
	Plaintext      []byte
	KeyId          *string
}

func dataKeyOp() *schema.Operation {
	blob := &schema.Shape{Name: "Blob", Kind: schema.Blob}
	id := &schema.Shape{Name: "KeyId", Kind: schema.String, Min: new(float64(1)), Max: new(float64(2048))}
	return &schema.Operation{
		Service: service(schema.AWSJSON11), Name: "GenerateDataKey", Method: "POST", Path: "/", Status: 200,
		Input: &schema.Shape{Name: "In", Kind: schema.Structure, Members: []schema.Member{
			{Name: "KeyId", Required: true, Shape: id},
			{Name: "EncryptionContext", Shape: &schema.Shape{Name: "Map", Kind: schema.Map, Key: of(str()), Elem: of(str())}},
			{Name: "KeySpec", Shape: &schema.Shape{Name: "Spec", Kind: schema.String, Enum: []string{"AES_256", "AES_128"}}},
		}},
		Output: &schema.Shape{Name: "Out", Kind: schema.Structure, Members: []schema.Member{
			{Name: "CiphertextBlob", Shape: blob}, {Name: "Plaintext", Shape: blob}, {Name: "KeyId", Shape: id},
		}},
	}
}

const dataKeyBody = `{"KeyId":"arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",` +
	`"EncryptionContext":{"aws:s3:arn":"arn:aws:s3:::bucket/key"},"KeySpec":"AES_256"}`

func BenchmarkDecodeInputJSON(b *testing.B) {
	op := dataKeyOp()
	r := &Request{Body: []byte(dataKeyBody)}
	b.SetBytes(int64(len(dataKeyBody)))
	b.ReportAllocs()
	for b.Loop() {
		var in dataKeyInput
		if err := DecodeInput(op, r, &in); err != nil {
			b.Fatal(err)
		}
	}
}

// discard is a response writer that keeps nothing.
type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

func BenchmarkEncodeOutputJSON(b *testing.B) {
	op := dataKeyOp()
	out := &dataKeyOutput{
		CiphertextBlob: make([]byte, 184), Plaintext: make([]byte, 32),
		KeyId: new("arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"),
	}
	w := discard{make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		if err := EncodeOutput(op, w, "1b2c3d4e-0000-4000-8000-000000000000", out); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendAuditJSON(b *testing.B) {
	op := dataKeyOp()
	in := &dataKeyInput{KeyId: "alias/a", KeySpec: "AES_256", EncryptionContext: map[string]string{"a": "b"}}
	buf := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendAuditJSON(buf[:0], op.Input, in)
	}
}
