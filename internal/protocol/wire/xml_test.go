package wire

import (
	"encoding/xml"
	"io"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/api/schema"
)

type grantee struct {
	Kind string
	ID   *string
}

type granted struct {
	Grantee *grantee
	Status  *string
	Sizes   []int32
	Wrapped []string
	Flat    map[string]string
	On      *bool
}

// xmlOp has a payload structure with an attribute, lists of both forms and a
// flattened map.
func xmlOp() *schema.Operation {
	body := &schema.Shape{Name: "Granted", Kind: schema.Structure, Members: []schema.Member{
		{Name: "Grantee", Shape: &schema.Shape{Name: "Grantee", Kind: schema.Structure, XMLNS: xsiNamespace, Members: []schema.Member{
			{Name: "Kind", WireName: "xsi:type", XMLAttribute: true, Shape: str(), Required: true},
			{Name: "ID", Shape: str()},
		}}, XMLNS: xsiNamespace, XMLNSPrefix: "xsi"},
		{Name: "Status", Shape: str()},
		{Name: "Sizes", WireName: "Size", Flattened: true, Shape: &schema.Shape{
			Name: "Sizes", Kind: schema.List,
			Elem: of(&schema.Shape{Name: "Size", Kind: schema.Integer}),
		}},
		{Name: "Wrapped", Shape: &schema.Shape{Name: "Wrapped", Kind: schema.List, Elem: &schema.Member{Name: "member", WireName: "Item", Shape: str()}}},
		{Name: "Flat", WireName: "Pair", Shape: &schema.Shape{
			Name: "Flat", Kind: schema.Map, Flattened: true,
			Key: &schema.Member{WireName: "K", Shape: str()}, Elem: &schema.Member{WireName: "V", Shape: str()},
		}},
		{Name: "On", Shape: &schema.Shape{Name: "On", Kind: schema.Boolean}},
	}}
	in := &schema.Shape{Name: "In", Kind: schema.Structure, Payload: 1, Members: []schema.Member{
		{Name: "Policy", WireName: "AccessPolicy", Shape: body, Required: true},
	}}
	return &schema.Operation{Service: service(schema.RESTXML), Name: "PutPolicy", Method: "PUT", Path: "/?acl", Status: 200, Input: in, Output: in}
}

type grantedBody struct{ Policy *granted }

func TestXMLPayload(t *testing.T) {
	t.Parallel()
	op := xmlOp()
	v := &grantedBody{&granted{
		Grantee: &grantee{Kind: "Canonical&User", ID: new("x")}, Status: new("a\x01\rb"), Sizes: []int32{1, 2},
		Wrapped: []string{}, Flat: map[string]string{"a": "b"}, On: new(true),
	}}
	want := xmlProlog + `<AccessPolicy xmlns="https://made-up.example/doc/"><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="Canonical&amp;User">` +
		`<ID>x</ID></Grantee><Status>a` + "\uFFFD" + `&#13;b</Status><Size>1</Size><Size>2</Size><Wrapped/><Pair><K>a</K><V>b</V></Pair><On>true</On></AccessPolicy>`
	_, body, err := EncodeInput(op, "http://h", v)
	if err != nil {
		t.Fatal(err)
	}
	if string(body) != want {
		t.Errorf("got  %s\nwant %s", body, want)
	}
	var in grantedBody
	if err := DecodeInput(op, &Request{HTTP: httptest.NewRequest("PUT", "/?acl", nil), Body: body}, &in); err != nil {
		t.Fatal(err)
	}
	v.Policy.Status = new("a\uFFFD\rb")
	if !reflect.DeepEqual(&in, v) {
		t.Errorf("decoded %+v", in.Policy)
	}
}

func TestXMLDecode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, body, code string }{
		{name: "no namespace", body: `<AccessPolicy><Status>x</Status></AccessPolicy>`},
		{name: "prolog, comment, space, unknown", body: `<?xml version="1.0" encoding="utf-8"?> <!-- c --> <AccessPolicy xmlns="u"> <New a="b"><c/>t</New> <Status><![CDATA[x]]></Status> </AccessPolicy> `},
		{name: "undeclared prefix", body: `<AccessPolicy><Grantee xsi:type="x"/></AccessPolicy>`},
		{name: "nothing", body: ``, code: "MissingRequestBodyError"},
		{name: "another root", body: `<Policy/>`, code: "MalformedXML"},
		{name: "open", body: `<AccessPolicy>`, code: "MalformedXML"},
		{name: "crossed", body: `<AccessPolicy><Status></AccessPolicy></Status>`, code: "MalformedXML"},
		{name: "two roots", body: `<AccessPolicy/><AccessPolicy/>`, code: "MalformedXML"},
		{name: "text behind", body: `<AccessPolicy/>x`, code: "MalformedXML"},
		{name: "stray text", body: `<AccessPolicy>x</AccessPolicy>`, code: "MalformedXML"},
		{name: "document type", body: `<!DOCTYPE a [<!ENTITY b "c">]><AccessPolicy/>`, code: "MalformedXML"},
		{name: "entity", body: `<AccessPolicy><Status>&nbsp;</Status></AccessPolicy>`, code: "MalformedXML"},
		{name: "another charset", body: `<?xml version="1.0" encoding="latin1"?><AccessPolicy/>`, code: "MalformedXML"},
		{name: "bad number", body: `<AccessPolicy><Size>x</Size></AccessPolicy>`, code: "MalformedXML"},
		{name: "bad boolean", body: `<AccessPolicy><On>1</On></AccessPolicy>`, code: "MalformedXML"},
		{name: "structure for text", body: `<AccessPolicy><Status><a/></Status></AccessPolicy>`, code: "MalformedXML"},
		{name: "twice", body: `<AccessPolicy><Status/><Status/></AccessPolicy>`, code: "MalformedXML"},
		{name: "pair without value", body: `<AccessPolicy><Pair><K>x</K></Pair></AccessPolicy>`, code: "MalformedXML"},
		{name: "too deep", body: `<AccessPolicy>` + strings.Repeat("<a>", 70) + strings.Repeat("</a>", 70) + `</AccessPolicy>`, code: "MalformedXML"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var in grantedBody
			err := DecodeInput(xmlOp(), &Request{HTTP: httptest.NewRequest("PUT", "/?acl", nil), Body: []byte(c.body)}, &in)
			if c.code == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if e, ok := err.(*schema.Error); !ok || e.Code != c.code || e.Status != 400 {
				t.Fatalf("got %v, want %s", err, c.code)
			}
		})
	}
}

func TestS3Answers(t *testing.T) {
	t.Parallel()
	const ns = `xmlns="http://s3.amazonaws.com/doc/2006-03-01/"`
	for _, c := range []struct {
		name   string
		op     *schema.Operation
		out    any
		status int
		want   string
	}{
		{
			"bucket location", s3.GetBucketLocation.Operation, &s3.GetBucketLocationOutput{LocationConstraint: "eu-west-1"}, 200,
			xmlProlog + `<LocationConstraint ` + ns + `>eu-west-1</LocationConstraint>`,
		},
		{
			"bucket location of us-east-1", s3.GetBucketLocation.Operation, &s3.GetBucketLocationOutput{}, 200,
			xmlProlog + `<LocationConstraint ` + ns + `/>`,
		},
		{"bucket policy", s3.GetBucketPolicy.Operation, &s3.GetBucketPolicyOutput{Policy: new(`{"a":"<"}`)}, 200, `{"a":"<"}`},
		{
			"list", s3.ListObjectsV2.Operation, &s3.ListObjectsV2Output{Name: new("b"), Contents: []s3.Object{{Key: new("a&b"), ETag: new(`"e"`)}, {Key: new("c")}}}, 200,
			xmlProlog + `<ListBucketResult ` + ns + `><Contents><Key>a&amp;b</Key><ETag>&quot;e&quot;</ETag></Contents><Contents><Key>c</Key></Contents><Name>b</Name></ListBucketResult>`,
		},
		{
			"buckets", s3.ListBuckets.Operation, &s3.ListBucketsOutput{Buckets: []s3.Bucket{{Name: new("b")}}}, 200,
			xmlProlog + `<ListAllMyBucketsResult ` + ns + `><Buckets><Bucket><Name>b</Name></Bucket></Buckets></ListAllMyBucketsResult>`,
		},
		{
			"copy", s3.CopyObject.Operation, &s3.CopyObjectOutput{CopyObjectResult: &s3.CopyObjectResult{ETag: new("e")}}, 200,
			xmlProlog + `<CopyObjectResult ` + ns + `><ETag>e</ETag></CopyObjectResult>`,
		},
		{
			"copied part", s3.UploadPartCopy.Operation, &s3.UploadPartCopyOutput{CopyPartResult: &s3.CopyPartResult{ETag: new("e")}}, 200,
			xmlProlog + `<CopyPartResult ` + ns + `><ETag>e</ETag></CopyPartResult>`,
		},
		{
			"tags", s3.GetObjectTagging.Operation, &s3.GetObjectTaggingOutput{TagSet: []s3.Tag{{Key: "a", Value: "1"}}}, 200,
			xmlProlog + `<Tagging ` + ns + `><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>`,
		},
		{
			"no tags", s3.GetObjectTagging.Operation, &s3.GetObjectTaggingOutput{TagSet: []s3.Tag{}}, 200,
			xmlProlog + `<Tagging ` + ns + `><TagSet/></Tagging>`,
		},
		{"range", s3.GetObject.Operation, &s3.GetObjectOutput{ContentRange: new("bytes 0-1/9"), Body: strings.NewReader("ab")}, 206, "ab"},
		{"deleted", s3.DeleteObject.Operation, &s3.DeleteObjectOutput{}, 204, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			if err := EncodeOutput(c.op, w, "r", c.out); err != nil {
				t.Fatal(err)
			}
			if w.Code != c.status || w.Body.String() != c.want || w.Header().Get("X-Amz-Request-Id") != "r" {
				t.Errorf("%d %v\ngot  %s\nwant %s", w.Code, w.Header(), w.Body, c.want)
			}
		})
	}
}

func FuzzXML(f *testing.F) {
	f.Add(`<AccessPolicy xmlns="u"><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="x"><ID>i</ID></Grantee><Size>1</Size><Pair><K>a</K><V>b</V></Pair></AccessPolicy>`)
	f.Add(`<AccessPolicy><Wrapped><Item>a</Item></Wrapped><On>true</On></AccessPolicy>`)
	op := xmlOp()
	f.Fuzz(func(t *testing.T, body string) {
		if len(body) > 4096 {
			return
		}
		var first, second grantedBody
		r := httptest.NewRequest("PUT", "/?acl", nil)
		if DecodeInput(op, &Request{HTTP: r, Body: []byte(body)}, &first) != nil {
			return
		}
		d := xml.NewDecoder(strings.NewReader(body))
		for {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("accepted what encoding/xml refuses: %q: %v", body, err)
			}
		}
		_, again, err := EncodeInput(op, "http://h", &first)
		if err != nil {
			t.Fatal(err)
		}
		if err := DecodeInput(op, &Request{HTTP: r, Body: again}, &second); err != nil {
			t.Fatalf("%q became %q: %v", body, again, err)
		}
		if !reflect.DeepEqual(&first, &second) {
			t.Fatalf("%q became %q", body, again)
		}
	})
}
