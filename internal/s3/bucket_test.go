package s3_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/identity"
)

func TestCreateBucketNames(t *testing.T) {
	t.Parallel()
	for name, code := range map[string]string{
		"photos":                              "",
		"a.b-c.d":                             "",
		"123":                                 "",
		strings.Repeat("a", 63):               "",
		"ab":                                  "InvalidBucketName",
		strings.Repeat("a", 64):               "InvalidBucketName",
		"Photos":                              "InvalidBucketName",
		"photos_1":                            "InvalidBucketName",
		"-photos":                             "InvalidBucketName",
		"photos.":                             "InvalidBucketName",
		"a..b":                                "InvalidBucketName",
		"192.168.5.4":                         "InvalidBucketName",
		"xn--photos":                          "InvalidBucketName",
		"photos-s3alias":                      "InvalidBucketName",
		"photos--x-s3":                        "InvalidBucketName",
		"healthz":                             "BucketAlreadyExists",
		"readyz":                              "BucketAlreadyExists",
		"metrics":                             "BucketAlreadyExists",
		"_sagekeep":                           "BucketAlreadyExists",
		"axis-earth-observation-job-1":        "BucketAlreadyExists",
		"axis-vector-enrichment-job-3787788":  "BucketAlreadyExists",
		"axis-raster-data-collection-3787":    "BucketAlreadyExists",
		"sagemaker-us-west-2-" + account:      "",
		"sagemaker-us-west-2-" + other:        "BucketAlreadyExists",
		"sagemaker-eu-west-1-" + other:        "BucketAlreadyExists",
		"sagemaker-" + other:                  "BucketAlreadyExists",
		"sagemaker-us-west-2-" + other + "-a": "",
		"sagemaker-us-west-2-44445555666a":    "",
		"sagemaker-photos":                    "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			_, err := call(w, s3api.CreateBucket, &s3api.CreateBucketInput{
				Bucket: name, CreateBucketConfiguration: &s3api.CreateBucketConfiguration{LocationConstraint: region},
			})
			wantCode(t, err, code, 0)
		})
	}
}

func TestCreateBucketLocation(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, region string
		constraint   s3api.BucketLocationConstraint
		code         string
		location     s3api.BucketLocationConstraint
	}{
		{name: "us-east-1 without", region: "us-east-1"},
		{name: "us-east-1 named", region: "us-east-1", constraint: "us-east-1", code: "InvalidLocationConstraint"},
		{name: "elsewhere without", region: "us-west-2", code: "IllegalLocationConstraintException"},
		{name: "the same", region: "us-west-2", constraint: "us-west-2", location: "us-west-2"},
		{name: "another", region: "us-west-2", constraint: "eu-west-1", code: "IllegalLocationConstraintException"},
		{name: "a word", region: "foo", constraint: "foo", code: "InvalidLocationConstraint"},
		{name: "a word in a region", region: "us-west-2", constraint: "foo", code: "InvalidLocationConstraint"},
		{name: "a word without", region: "foo", code: "AuthorizationHeaderMalformed"},
		{name: "no number", region: "us-west", constraint: "us-west", code: "InvalidLocationConstraint"},
		{name: "a zone", region: "us-west-2a", constraint: "us-west-2a", code: "InvalidLocationConstraint"},
		{name: "upper case", region: "US-WEST-2", constraint: "US-WEST-2", code: "InvalidLocationConstraint"},
		{name: "GovCloud", region: "us-gov-west-1", constraint: "us-gov-west-1", location: "us-gov-west-1"},
		{name: "a long first word", region: "eusc-de-east-1", constraint: "eusc-de-east-1", location: "eusc-de-east-1"},
		{name: "EU", region: "eu-west-1", constraint: "EU", location: "eu-west-1"},
		{name: "EU elsewhere", region: "us-east-1", constraint: "EU", code: "IllegalLocationConstraintException"},
		{name: "another from us-east-1", region: "us-east-1", constraint: "eu-west-1", code: "IllegalLocationConstraintException"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.region = test.region
			in := &s3api.CreateBucketInput{Bucket: "photos"}
			if test.constraint != "" {
				in.CreateBucketConfiguration = &s3api.CreateBucketConfiguration{LocationConstraint: test.constraint}
			}
			_, err := call(w, s3api.CreateBucket, in)
			wantCode(t, err, test.code, 0)
			if err == nil {
				if got := must(w, s3api.GetBucketLocation, &s3api.GetBucketLocationInput{Bucket: "photos"}).LocationConstraint; got != test.location {
					t.Errorf("got location %q, want %q", got, test.location)
				}
			}
		})
	}
}

func TestBucketNamesAreGlobal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	create := func(w *world) error {
		in := &s3api.CreateBucketInput{Bucket: "photos", CreateBucketConfiguration: &s3api.CreateBucketConfiguration{LocationConstraint: region}}
		_, err := call(w, s3api.CreateBucket, in)
		return err
	}
	wantCode(t, create(w), "BucketAlreadyOwnedByYou", 409)
	wantCode(t, create(w.as(user(other, "eve"))), "BucketAlreadyExists", 409)
	east := newWorld(t)
	east.region = "us-east-1"
	must(east, s3api.CreateBucket, &s3api.CreateBucketInput{Bucket: "photos"})
	east.put("photos", "kept", "x")
	must(east, s3api.CreateBucket, &s3api.CreateBucketInput{Bucket: "photos"})
	if got, err := east.get("photos", "kept"); got != "x" {
		t.Errorf("creating the bucket again in us-east-1 lost its object: %v", err)
	}
}

func TestDeleteBucket(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	w.put("photos", "a", "x")
	del := func() error {
		_, err := call(w, s3api.DeleteBucket, &s3api.DeleteBucketInput{Bucket: "photos"})
		return err
	}
	wantCode(t, del(), "BucketNotEmpty", 409)
	must(w, s3api.DeleteObject, &s3api.DeleteObjectInput{Bucket: "photos", Key: "a"})
	must(w, s3api.CreateMultipartUpload, &s3api.CreateMultipartUploadInput{Bucket: "photos", Key: "b"})
	wantCode(t, del(), "", 0)
	wantCode(t, del(), "NoSuchBucket", 404)
	_, err := w.get("photos", "a")
	wantCode(t, err, "NoSuchBucket", 404)
	w.bucket("photos")
	if n := len(must(w, s3api.ListMultipartUploads, &s3api.ListMultipartUploadsInput{Bucket: "photos"}).Uploads); n != 0 {
		t.Errorf("a new bucket of the name has %d uploads of the old one", n)
	}
}

// A request that was authorised for the bucket of one account is never carried
// out on that of another.
func TestDeletedNameIsHeld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	create := func(w *world) error {
		_, err := call(w, s3api.CreateBucket, &s3api.CreateBucketInput{
			Bucket: "photos", CreateBucketConfiguration: &s3api.CreateBucketConfiguration{LocationConstraint: region},
		})
		return err
	}
	del := func() { must(w, s3api.DeleteBucket, &s3api.DeleteBucketInput{Bucket: "photos"}) }
	eve := w.as(user(other, "eve"))
	wantCode(t, create(w), "", 0)
	del()
	wantCode(t, create(eve), "OperationAborted", 409)
	wantCode(t, create(w), "", 0) // its own account takes it back at once
	w.advance(30 * time.Second)
	del()
	w.advance(31 * time.Second) // the first minute is over, the second is not
	wantCode(t, create(eve), "OperationAborted", 409)
	w.advance(30 * time.Second)
	wantCode(t, create(eve), "", 0)
}

func TestBucketIsElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	w.put("photos", "a", "x")
	w.region = "eu-west-1"
	_, err := w.get("photos", "a")
	wantCode(t, err, "AuthorizationHeaderMalformed", 400)
	if e, _ := errors.AsType[*schema.Error](err); e.Fields["Region"] != region {
		t.Errorf("got fields %v, want the bucket's region", e.Fields)
	}
	_, err = call(w, s3api.HeadBucket, &s3api.HeadBucketInput{Bucket: "photos"})
	wantCode(t, err, "PermanentRedirect", 301)
	_, err = call(w, s3api.HeadObject, &s3api.HeadObjectInput{Bucket: "photos", Key: "a"})
	wantCode(t, err, "PermanentRedirect", 301)
	if got := must(w, s3api.GetBucketLocation, &s3api.GetBucketLocationInput{Bucket: "photos"}).LocationConstraint; got != region {
		t.Errorf("got location %q from another region", got)
	}
	w.region = region
	if got := *must(w, s3api.HeadBucket, &s3api.HeadBucketInput{Bucket: "photos"}).BucketRegion; got != region {
		t.Errorf("got region %q", got)
	}
}

func TestExpectedOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	must(w, s3api.HeadBucket, &s3api.HeadBucketInput{Bucket: "photos", ExpectedBucketOwner: new(account)})
	_, err := call(w, s3api.HeadBucket, &s3api.HeadBucketInput{Bucket: "photos", ExpectedBucketOwner: new(other)})
	wantCode(t, err, "AccessDenied", 403)
	_, err = call(w, s3api.PutObject, &s3api.PutObjectInput{Bucket: "photos", Key: "a", ExpectedBucketOwner: new(other)})
	wantCode(t, err, "AccessDenied", 403)
}

func TestListBucketsInPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var want []string
	for i := range 7 {
		name := fmt.Sprintf("bucket-%d", i)
		w.bucket(name)
		want = append(want, name)
	}
	w.as(user(other, "eve")).bucket("not-mine")
	var got []string
	in := &s3api.ListBucketsInput{MaxBuckets: new(int32(3))}
	for {
		out := must(w, s3api.ListBuckets, in)
		for _, b := range out.Buckets {
			got = append(got, *b.Name)
		}
		if out.ContinuationToken == nil {
			break
		}
		in.ContinuationToken = out.ContinuationToken
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got %v, want %v", got, want)
	}
	_, err := call(w.as(user(other, "eve")), s3api.ListBuckets, in)
	wantCode(t, err, "InvalidArgument", 400)
}

func TestBucketEncryption(t *testing.T) {
	t.Parallel()
	key := "1234abcd-12ab-34cd-56ef-1234567890ab"
	one := rule("aws:kms", &key, true).Rules[0]
	for _, test := range []struct {
		name string
		conf *s3api.ServerSideEncryptionConfiguration
		code string
	}{
		{"a key that does not exist", rule("aws:kms", &key, true), ""},
		{"no key", rule("aws:kms:dsse", nil, false), ""},
		{"SSE-S3", rule("AES256", nil, false), ""},
		{"a key with SSE-S3", rule("AES256", &key, false), "InvalidArgument"},
		{"unknown algorithm", rule("AES192", nil, false), "MalformedXML"},
		{"no rule", &s3api.ServerSideEncryptionConfiguration{}, "MalformedXML"},
		{"two rules", &s3api.ServerSideEncryptionConfiguration{Rules: []s3api.ServerSideEncryptionRule{one, one}}, "MalformedXML"},
		{"nothing", nil, "MalformedXML"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.bucket("photos")
			_, err := call(w, s3api.PutBucketEncryption, &s3api.PutBucketEncryptionInput{Bucket: "photos", ServerSideEncryptionConfiguration: test.conf})
			wantCode(t, err, test.code, 400*min(1, len(test.code)))
			got := must(w, s3api.GetBucketEncryption, &s3api.GetBucketEncryptionInput{Bucket: "photos"}).ServerSideEncryptionConfiguration.Rules[0]
			want := rule("AES256", nil, false).Rules[0]
			if err == nil {
				want = test.conf.Rules[0]
			}
			by, wantBy := got.ApplyServerSideEncryptionByDefault, want.ApplyServerSideEncryptionByDefault
			if by.SSEAlgorithm != wantBy.SSEAlgorithm || (by.KMSMasterKeyID == nil) != (wantBy.KMSMasterKeyID == nil) || *got.BucketKeyEnabled != *want.BucketKeyEnabled {
				t.Errorf("got %v, want %v", by, wantBy)
			}
			must(w, s3api.DeleteBucketEncryption, &s3api.DeleteBucketEncryptionInput{Bucket: "photos"})
			if out := w.put("photos", "a", "x"); out.ServerSideEncryption != "AES256" {
				t.Errorf("after DeleteBucketEncryption: got %s", out.ServerSideEncryption)
			}
		})
	}
}

func TestBucketPolicyErrors(t *testing.T) {
	t.Parallel()
	statement := func(principal, action, resource, rest string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":` + principal + `,"Action":"` + action + `","Resource":"` + resource + `"` + rest + `}]}`
	}
	for _, test := range []struct{ name, policy, code, message string }{
		{name: "good", policy: statement(`"*"`, "s3:DeleteObject", "arn:aws:s3:::photos/*", "")},
		{name: "no JSON", policy: "x", code: "MalformedPolicy", message: "Policies must be valid JSON and the first byte must be '{'"},
		{name: "other bucket", policy: statement(`"*"`, "s3:GetObject", "arn:aws:s3:::photos2/*", ""), code: "MalformedPolicy", message: "Policy has invalid resource"},
		{name: "every bucket", policy: statement(`"*"`, "s3:GetObject", "*", ""), code: "MalformedPolicy", message: "Policy has invalid resource"},
		{name: "other service", policy: statement(`"*"`, "kms:Decrypt", "arn:aws:s3:::photos/*", ""), code: "MalformedPolicy", message: "Policy has invalid action"},
		{name: "unknown principal", policy: statement(`{"AWS":"arn:aws:iam::111122223333:user/ghost"}`, "s3:GetObject", "arn:aws:s3:::photos/*", ""), code: "MalformedPolicy", message: "Invalid principal in policy"},
		{name: "unknown operator", policy: statement(`"*"`, "s3:GetObject", "arn:aws:s3:::photos/*", `,"Condition":{"StringAlmost":{"s3:prefix":"x"}}`), code: "MalformedPolicy"},
		{name: "unknown key", policy: statement(`"*"`, "s3:GetObject", "arn:aws:s3:::photos/*", `,"Condition":{"StringEquals":{"s3:nonsense":"x"}}`), code: "MalformedPolicy", message: "Policy has an invalid condition key"},
		{name: "too long", policy: statement(`"*"`, "s3:GetObject", "arn:aws:s3:::photos/"+strings.Repeat("x", 21<<10), ""), code: "MalformedPolicy"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.bucket("photos")
			_, err := call(w, s3api.GetBucketPolicy, &s3api.GetBucketPolicyInput{Bucket: "photos"})
			wantCode(t, err, "NoSuchBucketPolicy", 404)
			_, err = call(w, s3api.PutBucketPolicy, &s3api.PutBucketPolicyInput{Bucket: "photos", Policy: test.policy})
			wantCode(t, err, test.code, 0)
			if test.message != "" {
				if e, _ := errors.AsType[*schema.Error](err); e.Message != test.message {
					t.Errorf("got %q, want %q", e.Message, test.message)
				}
			}
			if err != nil {
				return
			}
			if got := *must(w, s3api.GetBucketPolicy, &s3api.GetBucketPolicyInput{Bucket: "photos"}).Policy; got != test.policy {
				t.Errorf("got policy %s", got)
			}
			must(w, s3api.DeleteBucketPolicy, &s3api.DeleteBucketPolicyInput{Bucket: "photos"})
			_, err = call(w, s3api.GetBucketPolicy, &s3api.GetBucketPolicyInput{Bucket: "photos"})
			wantCode(t, err, "NoSuchBucketPolicy", 404)
		})
	}
}

func TestPolicyForcesKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	arn, second := w.key(), w.key()
	must(w, s3api.PutBucketEncryption, &s3api.PutBucketEncryptionInput{Bucket: "photos", ServerSideEncryptionConfiguration: rule("aws:kms", &arn, false)})
	must(w, s3api.PutBucketPolicy, &s3api.PutBucketPolicyInput{Bucket: "photos", Policy: `{"Version":"2012-10-17","Statement":[{
		"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::photos/*",
		"Condition":{"StringNotEquals":{"s3:x-amz-server-side-encryption-aws-kms-key-id":"` + arn + `"}}}]}`})
	for _, test := range []struct {
		name      string
		algorithm s3api.ServerSideEncryption
		key       *string
		code      string
	}{
		{name: "the key", algorithm: "aws:kms", key: &arn},
		{name: "another key", algorithm: "aws:kms", key: &second, code: "AccessDenied"},
		{name: "the bucket's default", code: "AccessDenied"}, // the default does not fill the condition key
		{name: "SSE-S3", algorithm: "AES256", code: "AccessDenied"},
		{name: "an algorithm that does not exist", algorithm: "AES192", code: "AccessDenied"},
		{name: "the key, but no such algorithm", algorithm: "AES192", key: &arn, code: "InvalidArgument"},
	} {
		_, err := call(w, s3api.PutObject, &s3api.PutObjectInput{
			Bucket: "photos", Key: "a", Body: strings.NewReader("x"), ServerSideEncryption: test.algorithm, SSEKMSKeyId: test.key,
		})
		t.Log(test.name)
		wantCode(t, err, test.code, 0)
	}
}

func TestPolicyAcrossAccounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	w.put("photos", "public/a", "x")
	w.put("photos", "private/a", "x")
	eve := w.as(user(other, "eve"))
	anyone := w.as(&identity.Caller{Type: identity.Anonymous, ARN: "anonymous"})
	for _, c := range []*world{eve, anyone} {
		_, err := c.get("photos", "public/a")
		wantCode(t, err, "AccessDenied", 403)
	}
	must(w, s3api.PutBucketPolicy, &s3api.PutBucketPolicyInput{Bucket: "photos", Policy: `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::photos/public/*"},
		{"Effect":"Allow","Principal":{"AWS":"` + other + `"},"Action":"s3:PutBucketPolicy","Resource":"arn:aws:s3:::photos"}]}`})
	for _, c := range []*world{eve, anyone} {
		if got, err := c.get("photos", "public/a"); got != "x" {
			t.Errorf("a public object is refused: %v", err)
		}
		_, err := c.get("photos", "private/a")
		wantCode(t, err, "AccessDenied", 403)
		_, err = c.get("photos", "public/missing")
		wantCode(t, err, "AccessDenied", 403) // may not list
	}
	_, err := w.get("photos", "public/missing")
	wantCode(t, err, "NoSuchKey", 404)
	_, err = call(eve, s3api.PutBucketPolicy, &s3api.PutBucketPolicyInput{Bucket: "photos", Policy: `{"Version":"2012-10-17","Statement":[]}`})
	wantCode(t, err, "MethodNotAllowed", 405)
	_, err = call(anyone, s3api.GetObject, &s3api.GetObjectInput{Bucket: "photos", Key: "public/a", ResponseContentType: new("text/html")})
	wantCode(t, err, "InvalidRequest", 400)
}

func TestNobodyIsLockedOutByAccident(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	lock := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::photos","arn:aws:s3:::photos/*"]}]}`
	_, err := call(w, s3api.PutBucketPolicy, &s3api.PutBucketPolicyInput{Bucket: "photos", Policy: lock})
	wantCode(t, err, "AccessDenied", 403)
	must(w, s3api.PutBucketPolicy, &s3api.PutBucketPolicyInput{Bucket: "photos", Policy: lock, ConfirmRemoveSelfBucketAccess: new(true)})
	_, err = call(w, s3api.DeleteBucketPolicy, &s3api.DeleteBucketPolicyInput{Bucket: "photos"})
	wantCode(t, err, "AccessDenied", 403)
	must(w.as(root(account)), s3api.DeleteBucketPolicy, &s3api.DeleteBucketPolicyInput{Bucket: "photos"})
	w.put("photos", "a", "x")
}

func TestListConditions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("photos")
	w.put("photos", "home/carol/a", "x")
	w.allow("carol", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::photos","Condition":{"StringEquals":{"s3:prefix":"home/carol/","s3:delimiter":"/"},"NumericLessThanEquals":{"s3:max-keys":"10"}}}}`)
	carol := w.as(user(account, "carol"))
	in := &s3api.ListObjectsV2Input{Bucket: "photos", Prefix: new("home/carol/"), Delimiter: new("/"), MaxKeys: new(int32(10))}
	if n := *must(carol, s3api.ListObjectsV2, in).KeyCount; n != 1 {
		t.Errorf("got %d keys", n)
	}
	in.Prefix = new("home/")
	_, err := call(carol, s3api.ListObjectsV2, in)
	wantCode(t, err, "AccessDenied", 403)
}
