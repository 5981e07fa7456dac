package s3_test

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"

	s3api "github.com/sagekeep/sagekeep/api/s3"
)

// model lists as the documentation says, the slow way.
func model(keys []string, prefix, delimiter, after string) []string {
	var out []string
	for _, k := range slices.Sorted(slices.Values(keys)) {
		if !strings.HasPrefix(k, prefix) || k <= after {
			continue
		}
		if delimiter != "" {
			if i := strings.Index(k[len(prefix):], delimiter); i >= 0 {
				k = k[:len(prefix)+i+len(delimiter)]
			}
		}
		if !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	return out
}

func TestListingAgreesWithModel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	rng := rand.New(rand.NewPCG(1, 2))
	alphabet := []string{"a", "b", "/", "//", "é", "~", "\x01", "z", "%", " ", "日", "\U0001F600", "\uFFFD"}
	var keys []string
	for range 150 {
		var b strings.Builder
		for range 1 + rng.IntN(5) {
			b.WriteString(alphabet[rng.IntN(len(alphabet))])
		}
		if k := b.String(); !slices.Contains(keys, k) {
			keys = append(keys, k)
			w.put("photos", k, "x")
		}
	}
	for range 150 {
		prefix, delimiter, after := "", "", ""
		if rng.IntN(2) == 0 {
			prefix = alphabet[rng.IntN(len(alphabet))]
		}
		if rng.IntN(3) > 0 {
			delimiter = []string{"/", "a", "//", "é"}[rng.IntN(4)]
		}
		if rng.IntN(3) == 0 {
			after = keys[rng.IntN(len(keys))]
		}
		// A start behind a whole group skips the group, as a marker does.
		if delimiter != "" && strings.HasPrefix(after, prefix) && strings.Index(after[len(prefix):], delimiter) == len(after)-len(prefix)-len(delimiter) {
			after = ""
		}
		limit := int32(1 + rng.IntN(7))
		name := fmt.Sprintf("prefix %q delimiter %q after %q limit %d", prefix, delimiter, after, limit)
		want := model(keys, prefix, delimiter, after)
		if got := w.walkV2(name, prefix, delimiter, after, limit); !slices.Equal(got, want) {
			t.Fatalf("V2 %s:\n got %q\nwant %q", name, got, want)
		}
		if got := w.walkV1(prefix, delimiter, after, limit); !slices.Equal(got, want) {
			t.Fatalf("V1 %s:\n got %q\nwant %q", name, got, want)
		}
	}
}

// merged returns keys and prefixes of one page in order.
func merged(contents []s3api.Object, prefixes []s3api.CommonPrefix) []string {
	var out []string
	for _, c := range contents {
		out = append(out, *c.Key)
	}
	for _, p := range prefixes {
		out = append(out, *p.Prefix)
	}
	slices.Sort(out)
	return out
}

func (w *world) walkV2(name, prefix, delimiter, after string, limit int32) []string {
	w.t.Helper()
	var got []string
	in := &s3api.ListObjectsV2Input{Bucket: "photos", Prefix: &prefix, Delimiter: &delimiter, StartAfter: &after, MaxKeys: &limit}
	for {
		out := must(w, s3api.ListObjectsV2, in)
		page := merged(out.Contents, out.CommonPrefixes)
		if int(*out.KeyCount) != len(page) || len(page) > int(limit) {
			w.t.Fatalf("%s: KeyCount %d for %d entries", name, *out.KeyCount, len(page))
		}
		got = append(got, page...)
		if !*out.IsTruncated {
			return got
		}
		in.ContinuationToken = out.NextContinuationToken
	}
}

func (w *world) walkV1(prefix, delimiter, after string, limit int32) []string {
	w.t.Helper()
	var got []string
	in := &s3api.ListObjectsInput{Bucket: "photos", Prefix: &prefix, Delimiter: &delimiter, Marker: &after, MaxKeys: &limit}
	for {
		out := must(w, s3api.ListObjects, in)
		page := merged(out.Contents, out.CommonPrefixes)
		got = append(got, page...)
		if !*out.IsTruncated {
			return got
		}
		if in.Marker = out.NextMarker; delimiter == "" {
			in.Marker = &page[len(page)-1] // what clients do
		}
	}
}

func TestListDetails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	w.put("photos", "a b/ü+c", "x")
	out := must(w, s3api.ListObjectsV2, &s3api.ListObjectsV2Input{Bucket: "photos", EncodingType: "url", FetchOwner: new(true)})
	key := *out.Contents[0].Key
	if back, err := url.PathUnescape(key); key != "a%20b/%C3%BC%2Bc" || back != "a b/ü+c" || err != nil {
		t.Errorf("got key %q", key)
	}
	if *out.Contents[0].Owner.ID != account || out.Contents[0].StorageClass != "STANDARD" {
		t.Errorf("got %+v", out.Contents[0])
	}
	if out := must(w, s3api.ListObjectsV2, &s3api.ListObjectsV2Input{Bucket: "photos", MaxKeys: new(int32(0))}); *out.IsTruncated || *out.KeyCount != 0 {
		t.Errorf("max-keys 0: got %+v", out)
	}
	for name, in := range map[string]*s3api.ListObjectsV2Input{
		"negative max-keys": {MaxKeys: new(int32(-1))},
		"foreign token":     {ContinuationToken: new("abc")},
		"encoding":          {EncodingType: "rot13"},
	} {
		in.Bucket = "photos"
		_, err := call(w, s3api.ListObjectsV2, in)
		t.Log(name)
		wantCode(t, err, "InvalidArgument", 400)
	}
}

func TestDeleteObjects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	for _, k := range []string{"a", "b", "keep/c"} {
		w.put("photos", k, "x")
	}
	w.allow("carol", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"},{"Effect":"Deny","Action":"s3:DeleteObject","Resource":"arn:aws:s3:::photos/keep/*"}]}`)
	ids := []s3api.ObjectIdentifier{{Key: "a"}, {Key: "missing"}, {Key: "keep/c"}, {Key: "b", ETag: new("x")}}
	out := must(w.as(user(account, "carol")), s3api.DeleteObjects, &s3api.DeleteObjectsInput{Bucket: "photos", Delete: &s3api.Delete{Objects: ids}})
	if len(out.Deleted) != 2 || len(out.Errors) != 2 || *out.Errors[0].Code != "AccessDenied" || *out.Errors[1].Code != "PreconditionFailed" {
		t.Errorf("got %+v", out)
	}
	if got := w.walkV2("", "", "", "", 10); !slices.Equal(got, []string{"b", "keep/c"}) {
		t.Errorf("left %q", got)
	}
	quiet := must(w, s3api.DeleteObjects, &s3api.DeleteObjectsInput{Bucket: "photos", Delete: &s3api.Delete{Objects: ids[:3], Quiet: new(true)}})
	if len(quiet.Deleted)+len(quiet.Errors) != 0 {
		t.Errorf("quiet: got %+v", quiet)
	}
	_, err := call(w, s3api.DeleteObjects, &s3api.DeleteObjectsInput{Bucket: "photos", Delete: &s3api.Delete{Objects: make([]s3api.ObjectIdentifier, 1001)}})
	wantCode(t, err, "MalformedXML", 400)
}
