package audit

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// words are what JSON writes in more than one way.
var words = []string{
	"", "plain", "two words", `a "quote"`, `back\slash`, "<b>&amp;</b>", "line\nfeed", "\x00\x1f\x7f", "Grüße", "\u2028\u2029", "\xff\xfe invalid", "日本",
	"arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
}

var raws = []string{
	"null", "{}", `{"keyId":"k","encryptionContext":{"a":"b c"}}`, " { \"a\" : 1 } ", `{"a":"<>&"}`, "[1,2.5,\"\u2028\"]", `"é"`, `{"a":[{},{"b":null}]}`, "true",
}

// fill sets every field of v at random: most are set, some are empty.
func fill(r *rand.Rand, v reflect.Value) {
	if r.IntN(4) == 0 {
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(words[r.IntN(len(words))])
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(r, v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(r, v.Field(i))
			}
		}
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[json.RawMessage]() {
			v.SetBytes([]byte(raws[r.IntN(len(raws))]))
			return
		}
		n := r.IntN(3)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(r, v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range r.IntN(4) {
			value := reflect.ValueOf(any(words[r.IntN(len(words))]))
			if v.Type().Elem().Kind() == reflect.Interface {
				value = reflect.ValueOf([]any{"text", words[r.IntN(len(words))], 7, 2.5, true, []string{"a", "<"}, map[string]any{"z": 1, "a": nil}}[r.IntN(7)])
			}
			v.SetMapIndex(reflect.ValueOf(words[r.IntN(len(words))]), value)
		}
	default:
		panic("a record has a " + v.Kind().String())
	}
}

// Records are written as package json writes them, every field of them.
func TestEncodeRecord(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 9))
	for range 20_000 {
		var rec Record
		fill(r, reflect.ValueOf(&rec).Elem())
		want, err := json.Marshal(&rec)
		if err != nil {
			t.Fatal(err)
		}
		got, err := encodeRecord(&rec)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%v\n%s\nwant\n%s", err, got, want)
		}
	}
	for name, rec := range map[string]*Record{
		"parameters that are no JSON":   {RequestParameters: json.RawMessage(`{"a": `)},
		"a value that JSON cannot hold": {AdditionalEventData: map[string]any{"f": func() {}}},
	} {
		if b, err := encodeRecord(rec); err == nil {
			t.Errorf("%s: written as %s", name, b)
		}
	}
}

// FuzzEncodeRecord: whatever clients send, a record is what package json makes of it.
func FuzzEncodeRecord(f *testing.F) {
	for _, w := range words {
		f.Add(w, `{"a":"`+w+`"}`)
	}
	for _, w := range raws {
		f.Add("agent", w)
	}
	f.Fuzz(func(t *testing.T, text, raw string) {
		if len(text)+len(raw) > 1<<12 || !json.Valid([]byte(raw)) {
			return
		}
		rec := Record{
			UserAgent: text, RequestParameters: json.RawMessage(raw), UserIdentity: UserIdentity{UserName: text},
			AdditionalEventData: map[string]any{text: text}, Resources: []Resource{{ARN: text}},
		}
		want, wantErr := json.Marshal(&rec)
		got, err := encodeRecord(&rec)
		if (err == nil) != (wantErr == nil) || err == nil && !bytes.Equal(got, want) {
			t.Fatalf("%s, %v\nwant\n%s, %v", got, err, want, wantErr)
		}
	})
}

func BenchmarkEncodeRecord(b *testing.B) {
	rec := Record{
		EventVersion: EventVersion, EventTime: "2026-11-23T10:00:00Z", EventSource: "kms.amazonaws.com", EventName: "GenerateDataKey", AWSRegion: "us-west-2",
		UserIdentity: UserIdentity{
			Type: "AssumedRole", PrincipalID: "AROAEXAMPLEEXAMPLEEXA:session", ARN: "arn:aws:sts::111122223333:assumed-role/worker/session", AccountID: "111122223333",
			AccessKeyID: "ASIAEXAMPLEEXAMPLEEX",
			SessionContext: &SessionContext{
				SessionIssuer:       &SessionIssuer{Type: "Role", PrincipalID: "AROAEXAMPLEEXAMPLEEXA", ARN: "arn:aws:iam::111122223333:role/worker", AccountID: "111122223333", UserName: "worker"},
				WebIDFederationData: &WebIDFederationData{}, Attributes: SessionAttributes{CreationDate: "2026-11-23T10:00:00Z", MFAAuthenticated: "false"},
			},
		},
		SourceIPAddress: "127.0.0.1", UserAgent: "aws-sdk-go-v2/1.47.7", RequestParameters: json.RawMessage(`{"keyId":"1234abcd-12ab-34cd-56ef-1234567890ab","keySpec":"AES_256"}`),
		ResponseElements: null, AdditionalEventData: map[string]any{"keyMaterialId": strings.Repeat("a", 64)}, RequestID: "1234abcd-12ab-34cd-56ef-1234567890ab",
		EventID: "1234abcd-12ab-34cd-56ef-1234567890ab", ReadOnly: true, EventType: "AwsApiCall", ManagementEvent: true, RecipientAccountID: "111122223333", EventCategory: "Management",
		Resources:  []Resource{{AccountID: "111122223333", Type: "AWS::KMS::Key", ARN: "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"}},
		TLSDetails: &TLSDetails{ClientProvidedHostHeader: "127.0.0.1:4566"},
	}
	for name, encode := range map[string]func(*Record) ([]byte, error){
		"own": encodeRecord, "json": func(r *Record) ([]byte, error) { return json.Marshal(r) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := encode(&rec); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
