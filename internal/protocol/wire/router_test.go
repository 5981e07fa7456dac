package wire

import (
	"maps"
	"net/http"
	"net/url"
	"testing"

	"github.com/sagekeep/sagekeep/api/geospatial"
	"github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/api/schema"
)

func TestRouterS3(t *testing.T) {
	t.Parallel()
	rt := NewRouter(s3.Operations())
	copySource := http.Header{"X-Amz-Copy-Source": {"a/b"}}
	for _, c := range []struct {
		name, method, target string
		header               http.Header
		op                   string
		labels               map[string]string
		unknown              bool
	}{
		{name: "root", method: "GET", target: "/", op: "ListBuckets"},
		{name: "bucket", method: "GET", target: "/b", op: "ListObjects", labels: map[string]string{"Bucket": "b"}},
		{name: "bucket with slash", method: "PUT", target: "/b/", op: "CreateBucket", labels: map[string]string{"Bucket": "b"}},
		{name: "list type 2", method: "GET", target: "/b/?list-type=2&prefix=a", op: "ListObjectsV2"},
		{name: "list type 1", method: "GET", target: "/b?list-type=1", op: "ListObjects"},
		{name: "location", method: "GET", target: "/b?location", op: "GetBucketLocation"},
		{name: "policy with equals", method: "PUT", target: "/b?policy=", op: "PutBucketPolicy"},
		{name: "delete many", method: "POST", target: "/b?delete", op: "DeleteObjects"},
		{name: "get", method: "GET", target: "/b/k?x-id=GetObject", op: "GetObject", labels: map[string]string{"Bucket": "b", "Key": "k"}},
		{name: "part of an object", method: "GET", target: "/b/k?partNumber=1", op: "GetObject"},
		{name: "greedy key", method: "HEAD", target: "/b//a/%2F%20+/c/", op: "HeadObject", labels: map[string]string{"Bucket": "b", "Key": "/a// +/c/"}},
		{name: "put", method: "PUT", target: "/b/k", op: "PutObject"},
		{name: "copy", method: "PUT", target: "/b/k", header: copySource, op: "CopyObject"},
		{name: "part", method: "PUT", target: "/b/k?partNumber=1&uploadId=u", op: "UploadPart"},
		{name: "copied part", method: "PUT", target: "/b/k?partNumber=1&uploadId=u", header: copySource, op: "UploadPartCopy"},
		{name: "copied part without upload", method: "PUT", target: "/b/k?partNumber=1", header: copySource},
		{name: "tags", method: "GET", target: "/b/k?tagging", op: "GetObjectTagging"},
		{name: "tags to write, which we lack", method: "PUT", target: "/b/k?tagging"},
		{name: "part without upload", method: "PUT", target: "/b/k?partNumber=1"},
		{name: "start upload", method: "POST", target: "/b/k?uploads", op: "CreateMultipartUpload"},
		{name: "complete", method: "POST", target: "/b/k?uploadId=u", op: "CompleteMultipartUpload"},
		{name: "abort", method: "DELETE", target: "/b/k?uploadId=u", op: "AbortMultipartUpload"},
		{name: "delete", method: "DELETE", target: "/b/k?versionId=v", op: "DeleteObject"},
		{name: "parts", method: "GET", target: "/b/k?uploadId=u", op: "ListParts"},
		{name: "subresource we lack", method: "PUT", target: "/b/k?retention"},
		{name: "bucket subresource we lack", method: "DELETE", target: "/b?website"},
		{name: "annotation of an object", method: "PUT", target: "/b/k?annotation&annotationName=n"},
		{name: "annotation table of a bucket", method: "DELETE", target: "/b?metadataAnnotationTable"},
		{name: "method we lack", method: "PATCH", target: "/b/k"},
		{name: "bad escape", method: "GET", target: "/b/%zz", unknown: true},
		{name: "empty bucket", method: "GET", target: "//k", unknown: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path, query := c.target, url.Values{}
			if i := indexByte(c.target, '?'); i >= 0 {
				path = c.target[:i]
				query, _ = url.ParseQuery(c.target[i+1:])
			}
			op, labels, known := rt.MatchHeader(c.method, path, query, c.header)
			got := ""
			if op != nil {
				got = op.Name
			}
			if got != c.op || known == c.unknown {
				t.Errorf("got %q, path known %v; want %q", got, known, c.op)
			}
			if c.labels != nil && !maps.Equal(labels, c.labels) {
				t.Errorf("labels %q, want %q", labels, c.labels)
			}
		})
	}
}

func indexByte(s string, c byte) int {
	for i := range len(s) {
		if s[i] == c {
			return i
		}
	}
	return -1
}

func TestRouterGeospatial(t *testing.T) {
	t.Parallel()
	rt := NewRouter(geospatial.Operations())
	const arn = "arn:aws:sagemaker-geospatial:us-west-2:111122223333:earth-observation-job/napy9eintp64"
	for _, c := range []struct {
		name, method, path, op string
		known                  bool
		labels                 map[string]string
	}{
		{"ARN in the path", "GET", "/earth-observation-jobs/" + url.PathEscape(arn), "GetEarthObservationJob", true, map[string]string{"Arn": arn}},
		{"colons as they are", "DELETE", "/earth-observation-jobs/arn:aws:sagemaker-geospatial:us-west-2:111122223333:earth-observation-job%2Fnapy9eintp64", "DeleteEarthObservationJob", true, map[string]string{"Arn": arn}},
		{"literal before label", "POST", "/earth-observation-jobs/stop", "StopEarthObservationJob", true, nil},
		{"a job called stop", "GET", "/earth-observation-jobs/stop", "GetEarthObservationJob", true, nil},
		{"three labels", "GET", "/tile/1/2/3", "GetTile", true, map[string]string{"z": "1", "x": "2", "y": "3"}},
		{"method", "PATCH", "/earth-observation-jobs", "", true, nil},
		{"empty label", "GET", "/tags/", "ListTagsForResource", true, map[string]string{"ResourceArn": ""}},
		{"slash behind", "POST", "/list-earth-observation-jobs/", "", false, nil},
		{"nowhere", "GET", "/nowhere", "", false, nil},
		{"not a path", "GET", "*", "", false, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			op, labels, known := rt.Match(c.method, c.path, nil)
			got := ""
			if op != nil {
				got = op.Name
			}
			if got != c.op || known != c.known || c.labels != nil && !maps.Equal(labels, c.labels) {
				t.Errorf("got %q %v %v, want %q %v %v", got, labels, known, c.op, c.labels, c.known)
			}
		})
	}
}

func BenchmarkMatch(b *testing.B) {
	rt := NewRouter(s3.Operations())
	query := url.Values{}
	b.ReportAllocs()
	for b.Loop() {
		if op, _, _ := rt.Match("PUT", "/bucket/some/key", query); op != s3.PutObject.Operation {
			b.Fatal(op)
		}
	}
}

func TestRouterKeepsMissingParameters(t *testing.T) {
	t.Parallel()
	op := restOp(schema.RESTJSON1)
	got, _, _ := NewRouter([]*schema.Operation{op}).Match("POST", "/things/a/b", url.Values{"op": {"1"}})
	if got != op {
		t.Error("a missing header must reach the decoder, which names it")
	}
}
