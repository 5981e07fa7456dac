package s3_test

import (
	"slices"
	"strings"
	"testing"

	s3api "github.com/sagekeep/sagekeep/api/s3"
)

func TestGetObjectTagging(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	w.put("photos", "plain", "x")
	must(w, s3api.PutObject, &s3api.PutObjectInput{Bucket: "photos", Key: "tagged", Body: strings.NewReader("x"), Tagging: new("class=open&b=%20c")})
	w.allow("carol", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}`)
	w.allow("dave", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObjectTagging","Resource":"*","Condition":{"StringEquals":{"s3:ExistingObjectTag/class":"open"}}}}`)
	for _, test := range []struct {
		name, caller string
		in           s3api.GetObjectTaggingInput
		want         []s3api.Tag
		code         string
	}{
		{name: "tags", in: s3api.GetObjectTaggingInput{Key: "tagged"}, want: []s3api.Tag{{Key: "class", Value: "open"}, {Key: "b", Value: " c"}}},
		{name: "no tags", in: s3api.GetObjectTaggingInput{Key: "plain"}},
		{name: "the only version", in: s3api.GetObjectTaggingInput{Key: "plain", VersionId: new("null")}},
		{name: "another version", in: s3api.GetObjectTaggingInput{Key: "plain", VersionId: new("x")}, code: "InvalidArgument"},
		{name: "no such object", in: s3api.GetObjectTaggingInput{Key: "missing"}, code: "NoSuchKey"},
		{name: "owner", in: s3api.GetObjectTaggingInput{Key: "plain", ExpectedBucketOwner: new(other)}, code: "AccessDenied"},
		{name: "reading is not enough", caller: "carol", in: s3api.GetObjectTaggingInput{Key: "tagged"}, code: "AccessDenied"},
		{name: "a condition holds", caller: "dave", in: s3api.GetObjectTaggingInput{Key: "tagged"}, want: []s3api.Tag{{Key: "class", Value: "open"}, {Key: "b", Value: " c"}}},
		{name: "a condition fails", caller: "dave", in: s3api.GetObjectTaggingInput{Key: "plain"}, code: "AccessDenied"},
	} {
		t.Run(test.name, func(t *testing.T) {
			who := w
			if test.caller != "" {
				who = w.as(user(account, test.caller))
			}
			test.in.Bucket = "photos"
			out, err := call(who, s3api.GetObjectTagging, &test.in)
			wantCode(t, err, test.code, 0)
			if err == nil && !slices.Equal(out.TagSet, test.want) {
				t.Errorf("got %+v, want %+v", out.TagSet, test.want)
			}
		})
	}
}
