//lint:file-ignore SA1019 the geospatial API has no module of the newer SDK

package wire

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	v1aws "github.com/aws/aws-sdk-go/aws"
	v1credentials "github.com/aws/aws-sdk-go/aws/credentials"
	"github.com/aws/aws-sdk-go/aws/session"
	awsgeo "github.com/aws/aws-sdk-go/service/sagemakergeospatial"

	"github.com/sagekeep/sagekeep/api/geospatial"
	"github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/api/schema"
)

// endpoint serves one service over HTTP with nothing but this package: answer
// gets each decoded input and returns an output or a *schema.Error.
func endpoint(t *testing.T, ops []*schema.Operation, answer func(op *schema.Operation, in any) (any, error)) string {
	svc := ops[0].Service
	router := NewRouter(ops)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		req := &Request{HTTP: r, Body: body, Query: r.URL.Query()}
		var op *schema.Operation
		named := func(name string) {
			for _, o := range ops {
				if o.Name == name {
					op = o
				}
			}
		}
		switch svc.Protocol {
		case schema.AWSJSON11:
			named(strings.TrimPrefix(r.Header.Get("X-Amz-Target"), svc.TargetPrefix+"."))
		case schema.AWSQuery:
			name, _, _ := strings.Cut(strings.TrimPrefix(string(body), "Action="), "&")
			named(name)
		default:
			op, req.Labels, _ = router.MatchHeader(r.Method, r.URL.EscapedPath(), req.Query, r.Header)
		}
		if op == nil {
			EncodeError(svc, nil, w, r, "r", "h", schema.NewError("UnknownOperationException", 404, "unknown"))
			return
		}
		in := op.NewInput()
		var out any
		if err = DecodeInput(op, req, in); err == nil {
			out, err = answer(op, in)
		}
		if err == nil {
			err = EncodeOutput(op, w, "r", out)
		}
		if err != nil {
			EncodeError(svc, op, w, r, "r", "h", schema.AsError(err))
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

var sdkCredentials = credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "not-a-secret", "")

func wantEqual(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %+v, want %+v", what, got, want)
	}
}

func TestSDKWithKMS(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	url := endpoint(t, kms.Operations(), func(op *schema.Operation, in any) (any, error) {
		switch in := in.(type) {
		case *kms.GenerateDataKeyInput:
			wantEqual(t, "context", in.EncryptionContext, map[string]string{"a": "é<>"})
			return &kms.GenerateDataKeyOutput{KeyId: &in.KeyId, Plaintext: []byte{1, 2}, CiphertextBlob: []byte{3}}, nil
		case *kms.DescribeKeyInput:
			return &kms.DescribeKeyOutput{KeyMetadata: &kms.KeyMetadata{KeyId: in.KeyId, CreationDate: &at, Enabled: new(true)}}, nil
		case *kms.EnableKeyInput:
			return nil, nil
		}
		return nil, schema.NewError("NotFoundException", 400, "Key does not exist")
	})
	c := awskms.New(awskms.Options{Region: "us-west-2", BaseEndpoint: &url, Credentials: sdkCredentials, RetryMaxAttempts: 1})
	ctx := t.Context()
	key, err := c.GenerateDataKey(ctx, &awskms.GenerateDataKeyInput{
		KeyId: aws.String("alias/a"), KeySpec: kmstypes.DataKeySpecAes256,
		EncryptionContext: map[string]string{"a": "é<>"},
	})
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "plaintext", key.Plaintext, []byte{1, 2})
	wantEqual(t, "key", *key.KeyId, "alias/a")
	described, err := c.DescribeKey(ctx, &awskms.DescribeKeyInput{KeyId: aws.String("k")})
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "creation date", described.KeyMetadata.CreationDate.UTC(), at)
	if _, err := c.EnableKey(ctx, &awskms.EnableKeyInput{KeyId: aws.String("k")}); err != nil {
		t.Error(err)
	}
	_, err = c.DisableKey(ctx, &awskms.DisableKeyInput{KeyId: aws.String("k")})
	if e, ok := errors.AsType[*kmstypes.NotFoundException](err); !ok || e.ErrorMessage() != "Key does not exist" {
		t.Errorf("got %v", err)
	}
	_, err = c.DescribeKey(ctx, &awskms.DescribeKeyInput{KeyId: aws.String("")})
	if err == nil || !strings.Contains(err.Error(), "ValidationException: 1 validation error detected: Value '' at 'keyId'") {
		t.Errorf("got %v", err)
	}
}

func TestSDKWithS3(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	url := endpoint(t, s3.Operations(), func(op *schema.Operation, in any) (any, error) {
		switch in := in.(type) {
		case *s3.PutObjectInput:
			body, _ := io.ReadAll(in.Body)
			wantEqual(t, "body", string(body), "content")
			wantEqual(t, "key", in.Key, "a b/ü+%/../c")
			wantEqual(t, "metadata", in.Metadata, map[string]string{"colour": "red"})
			return &s3.PutObjectOutput{ETag: new(`"e"`), BucketKeyEnabled: new(true)}, nil
		case *s3.GetObjectInput:
			if in.Key == "none" {
				return nil, schema.NewError("NoSuchKey", 404, "The specified key does not exist.").With("Key", in.Key)
			}
			return &s3.GetObjectOutput{Body: strings.NewReader("content"), ContentLength: new(int64(7)), LastModified: &at, Metadata: map[string]string{"colour": "red"}}, nil
		case *s3.HeadObjectInput:
			return nil, schema.NewError("NoSuchKey", 404, "")
		case *s3.ListObjectsV2Input:
			wantEqual(t, "prefix", *in.Prefix, "p q")
			return &s3.ListObjectsV2Output{
				Contents:       []s3.Object{{Key: new("p q<&>"), LastModified: &at, Size: new(int64(7))}},
				CommonPrefixes: []s3.CommonPrefix{{Prefix: new("x/")}},
			}, nil
		case *s3.DeleteObjectsInput:
			wantEqual(t, "objects", len(in.Delete.Objects), 2)
			return &s3.DeleteObjectsOutput{Deleted: []s3.DeletedObject{{Key: new("a")}}, Errors: []s3.Error{{Key: new("b"), Code: new("AccessDenied")}}}, nil
		case *s3.GetBucketLocationInput:
			return &s3.GetBucketLocationOutput{LocationConstraint: "eu-west-1"}, nil
		case *s3.CopyObjectInput:
			return &s3.CopyObjectOutput{CopyObjectResult: &s3.CopyObjectResult{ETag: new(`"c"`), LastModified: &at}}, nil
		case *s3.CompleteMultipartUploadInput:
			wantEqual(t, "parts", len(in.MultipartUpload.Parts), 1)
			return &s3.CompleteMultipartUploadOutput{ETag: new(`"m-1"`)}, nil
		}
		return nil, schema.NewError("NotImplemented", 501, "%s", op.Name)
	})
	c := awss3.New(awss3.Options{
		Region: "us-west-2", BaseEndpoint: &url, Credentials: sdkCredentials, UsePathStyle: true, RetryMaxAttempts: 1,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	})
	ctx, bucket := t.Context(), aws.String("bucket")
	put, err := c.PutObject(ctx, &awss3.PutObjectInput{Bucket: bucket, Key: aws.String("a b/ü+%/../c"), Body: strings.NewReader("content"), Metadata: map[string]string{"Colour": "red"}})
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "bucket key", *put.BucketKeyEnabled, true)
	got, err := c.GetObject(ctx, &awss3.GetObjectInput{Bucket: bucket, Key: aws.String("k")})
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(got.Body)
	wantEqual(t, "body", string(body), "content")
	wantEqual(t, "last modified", got.LastModified.UTC(), at)
	wantEqual(t, "metadata", got.Metadata, map[string]string{"colour": "red"})
	_, err = c.GetObject(ctx, &awss3.GetObjectInput{Bucket: bucket, Key: aws.String("none")})
	if _, ok := errors.AsType[*s3types.NoSuchKey](err); !ok {
		t.Errorf("got %v", err)
	}
	_, err = c.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: bucket, Key: aws.String("k")})
	if _, ok := errors.AsType[*s3types.NotFound](err); !ok {
		t.Errorf("got %v", err)
	}
	list, err := c.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: bucket, Prefix: aws.String("p q")})
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "listed", *list.Contents[0].Key, "p q<&>")
	wantEqual(t, "listed time", list.Contents[0].LastModified.UTC(), at)
	wantEqual(t, "prefix", *list.CommonPrefixes[0].Prefix, "x/")
	deleted, err := c.DeleteObjects(ctx, &awss3.DeleteObjectsInput{Bucket: bucket, Delete: &s3types.Delete{Objects: []s3types.ObjectIdentifier{{Key: aws.String("a")}, {Key: aws.String("b")}}}})
	if err != nil || len(deleted.Deleted) != 1 || len(deleted.Errors) != 1 || *deleted.Errors[0].Code != "AccessDenied" {
		t.Errorf("deleted %+v, %v", deleted, err)
	}
	where, err := c.GetBucketLocation(ctx, &awss3.GetBucketLocationInput{Bucket: bucket})
	if err != nil || where.LocationConstraint != "eu-west-1" {
		t.Errorf("location %+v, %v", where, err)
	}
	copied, err := c.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: bucket, Key: aws.String("k"), CopySource: aws.String("a/b")})
	if err != nil || *copied.CopyObjectResult.ETag != `"c"` {
		t.Errorf("copied %+v, %v", copied, err)
	}
	complete, err := c.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{
		Bucket: bucket, Key: aws.String("k"), UploadId: aws.String("u"),
		MultipartUpload: &s3types.CompletedMultipartUpload{Parts: []s3types.CompletedPart{{ETag: aws.String("e"), PartNumber: aws.Int32(1)}}},
	})
	if err != nil || *complete.ETag != `"m-1"` {
		t.Errorf("completed %+v, %v", complete, err)
	}
	if _, err := c.GetBucketCors(ctx, &awss3.GetBucketCorsInput{Bucket: bucket}); err == nil || !strings.Contains(err.Error(), "UnknownOperationException") {
		t.Errorf("an operation without a method: %v", err)
	}
}

func TestSDKWithIAM(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	url := endpoint(t, iam.Operations(), func(op *schema.Operation, in any) (any, error) {
		switch in := in.(type) {
		case *iam.CreateRoleInput:
			wantEqual(t, "tags", len(in.Tags), 2)
			wantEqual(t, "policy", in.AssumeRolePolicyDocument, `{"Statement": [ 1+1 ]}`)
			return &iam.CreateRoleOutput{Role: &iam.Role{RoleName: in.RoleName, Path: "/", RoleId: "AROAEXAMPLE", Arn: "arn:aws:iam::111122223333:role/r", CreateDate: at, Tags: in.Tags}}, nil
		case *iam.ListUsersInput:
			return &iam.ListUsersOutput{}, nil
		case *iam.DeleteRoleInput:
			return nil, schema.NewError("NoSuchEntity", 404, "The role with name %s cannot be found.", in.RoleName)
		}
		return nil, nil
	})
	c := awsiam.New(awsiam.Options{Region: "us-east-1", BaseEndpoint: &url, Credentials: sdkCredentials, RetryMaxAttempts: 1})
	ctx := t.Context()
	role, err := c.CreateRole(ctx, &awsiam.CreateRoleInput{
		RoleName: aws.String("r"), AssumeRolePolicyDocument: aws.String(`{"Statement": [ 1+1 ]}`),
		Tags: []iamtypes.Tag{{Key: aws.String("a"), Value: aws.String("1 +é")}, {Key: aws.String("b"), Value: aws.String("")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "tag", *role.Role.Tags[0].Value, "1 +é")
	wantEqual(t, "date", role.Role.CreateDate.UTC(), at)
	users, err := c.ListUsers(ctx, &awsiam.ListUsersInput{})
	if err != nil || users.Users == nil {
		t.Errorf("users %+v, %v; want an empty list, not none", users, err)
	}
	if _, err := c.DeleteUser(ctx, &awsiam.DeleteUserInput{UserName: aws.String("u")}); err != nil {
		t.Error(err)
	}
	_, err = c.DeleteRole(ctx, &awsiam.DeleteRoleInput{RoleName: aws.String("r")})
	if e, ok := errors.AsType[*iamtypes.NoSuchEntityException](err); !ok || e.ErrorMessage() != "The role with name r cannot be found." {
		t.Errorf("got %v", err)
	}
}

func TestSDKWithGeospatial(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:sagemaker-geospatial:us-west-2:111122223333:earth-observation-job/napy9eintp64"
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	url := endpoint(t, geospatial.Operations(), func(op *schema.Operation, in any) (any, error) {
		switch in := in.(type) {
		case *geospatial.ListTagsForResourceInput:
			wantEqual(t, "label", in.ResourceArn, arn)
			return &geospatial.ListTagsForResourceOutput{Tags: map[string]string{"a": "b"}}, nil
		case *geospatial.UntagResourceInput:
			wantEqual(t, "tag keys", in.TagKeys, []string{"a b", "c"})
			return &geospatial.UntagResourceOutput{}, nil
		case *geospatial.ListEarthObservationJobsInput:
			return &geospatial.ListEarthObservationJobsOutput{EarthObservationJobSummaries: []geospatial.ListEarthObservationJobOutputConfig{
				{Arn: arn, Name: "n", CreationTime: at, Status: "COMPLETED", OperationType: "BandMath"},
			}}, nil
		case *geospatial.GetTileInput:
			wantEqual(t, "tile", []int32{in.Z, in.X, in.Y}, []int32{1, 2, 3})
			return &geospatial.GetTileOutput{BinaryFile: strings.NewReader("png")}, nil
		}
		return nil, schema.NewError("ConflictException", 409, "no").With("ResourceId", "r")
	})
	c := awsgeo.New(session.Must(session.NewSession(&v1aws.Config{
		Region: new("us-west-2"), Endpoint: &url, MaxRetries: new(0),
		Credentials: v1credentials.NewStaticCredentials("AKIDEXAMPLE", "not-a-secret", ""),
	})))
	tags, err := c.ListTagsForResource(&awsgeo.ListTagsForResourceInput{ResourceArn: v1aws.String(arn)})
	if err != nil || *tags.Tags["a"] != "b" {
		t.Errorf("tags %v, %v", tags, err)
	}
	if _, err := c.UntagResource(&awsgeo.UntagResourceInput{ResourceArn: v1aws.String(arn), TagKeys: v1aws.StringSlice([]string{"a b", "c"})}); err != nil {
		t.Error(err)
	}
	jobs, err := c.ListEarthObservationJobs(&awsgeo.ListEarthObservationJobsInput{})
	if err != nil || len(jobs.EarthObservationJobSummaries) != 1 || !jobs.EarthObservationJobSummaries[0].CreationTime.Equal(at) {
		t.Errorf("jobs %v, %v", jobs, err)
	}
	tile, err := c.GetTile(&awsgeo.GetTileInput{
		Z: v1aws.Int64(1), X: v1aws.Int64(2), Y: v1aws.Int64(3), Arn: v1aws.String(arn),
		ImageAssets: v1aws.StringSlice([]string{"red"}), Target: new("INPUT"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(tile.BinaryFile); string(b) != "png" {
		t.Errorf("tile %q", b)
	}
	_, err = c.DeleteEarthObservationJob(&awsgeo.DeleteEarthObservationJobInput{Arn: v1aws.String(arn)})
	if e, ok := errors.AsType[*awsgeo.ConflictException](err); !ok || *e.ResourceId != "r" || e.Message() != "no" {
		t.Errorf("got %v", err)
	}
}
