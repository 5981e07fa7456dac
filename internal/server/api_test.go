package server

import (
	"errors"
	"strings"
	"testing"

	ctapi "github.com/sagekeep/sagekeep/api/cloudtrail"
	geoapi "github.com/sagekeep/sagekeep/api/geospatial"
	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/client"
)

// apiError is the AWS error in err's tree; the test fails without one.
func apiError(t *testing.T, err error) *schema.Error {
	t.Helper()
	e, ok := errors.AsType[*schema.Error](err)
	if !ok {
		t.Fatalf("no API error: %v", err)
	}
	return e
}

// TestReadsTakeNoEncryptionHeaders: how an object is encrypted was settled when
// it was written.
func TestReadsTakeNoEncryptionHeaders(t *testing.T) {
	t.Parallel()
	_, c := startServer(t)
	_, err := client.Call(t.Context(), c, s3api.CreateBucket, &s3api.CreateBucketInput{
		Bucket: "bucket", CreateBucketConfiguration: &s3api.CreateBucketConfiguration{LocationConstraint: DefaultRegion},
	})
	must(t, err)
	_, err = client.Call(t.Context(), c, s3api.PutObject, &s3api.PutObjectInput{Bucket: "bucket", Key: "k", Body: strings.NewReader("x"), ContentLength: new(int64(1))})
	must(t, err)
	for name, in := range map[string]*s3api.GetObjectInput{
		"algorithm": {Bucket: "bucket", Key: "k", ServerSideEncryption: s3api.ServerSideEncryptionAwsKms},
		"key":       {Bucket: "bucket", Key: "k", SSEKMSKeyId: new("alias/x")},
		"context":   {Bucket: "bucket", Key: "k", SSEKMSEncryptionContext: new("e30=")},
	} {
		_, err := client.Call(t.Context(), c, s3api.GetObject, in)
		if e := apiError(t, err); e.Code != "InvalidArgument" || e.Status != 400 {
			t.Errorf("%s: %v", name, e)
		}
	}
	_, err = client.Call(t.Context(), c, s3api.HeadObject, &s3api.HeadObjectInput{Bucket: "bucket", Key: "k", ServerSideEncryption: s3api.ServerSideEncryptionAes256})
	if e := apiError(t, err); e.Status != 400 {
		t.Errorf("HEAD: %v", e)
	}
}

// TestKnownOperationsAreNamed: what AWS has and we have not yet says so.
func TestKnownOperationsAreNamed(t *testing.T) {
	t.Parallel()
	_, c := startServer(t)
	_, err := client.Call(t.Context(), c, geoapi.ListVectorEnrichmentJobs, &geoapi.ListVectorEnrichmentJobsInput{})
	if e := apiError(t, err); e.Code != "NotImplementedException" || e.Status != 501 || !strings.Contains(e.Message, "ListVectorEnrichmentJobs") {
		t.Errorf("%v", e)
	}
}

// TestGrantTokensStaySecret: neither an error text nor a record holds one.
func TestGrantTokensStaySecret(t *testing.T) {
	t.Parallel()
	_, c := startServer(t)
	secret := strings.Repeat("Zq7token", 2000) // longer than a token may be
	_, err := client.Call(t.Context(), c, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: "k", GrantTokens: []string{secret}})
	if e := apiError(t, err); e.Code != "ValidationException" || strings.Contains(e.Message, "Zq7token") {
		t.Errorf("%.200v", e)
	}
	events, err := client.Call(t.Context(), c, ctapi.LookupEvents, &ctapi.LookupEventsInput{})
	must(t, err)
	if len(events.Events) == 0 {
		t.Fatal("the refused call left no record")
	}
	for _, e := range events.Events {
		if strings.Contains(*e.CloudTrailEvent, "Zq7token") {
			t.Errorf("a record holds the token: %.300s", *e.CloudTrailEvent)
		}
	}
}
