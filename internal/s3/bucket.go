package s3

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

// usEast1 is the region whose location constraint is no text at all.
const usEast1 = "us-east-1"

// maxBuckets is the quota of buckets in one account.
const maxBuckets = 10_000

// reservedName reports whether the account may not create a bucket of that
// name: the server's own paths, the buckets of the services, and the buckets
// that SageMaker makes for an account and names after it.
func reservedName(name, account string) bool {
	switch name {
	case "healthz", "readyz", "metrics", "_sagekeep":
		return true
	}
	for _, p := range []string{"axis-earth-observation-job-", "axis-vector-enrichment-job-", "axis-raster-data-collection-"} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	owner, ok := sageMakerOwner(name)
	return ok && owner != account
}

// sageMakerOwner returns the account in a name of the form
// sagemaker-REGION-ACCOUNT, which scripts use without asking whose it is.
//
// Source: SageMaker Python SDK, "default_bucket".
func sageMakerOwner(name string) (account string, ok bool) {
	_, ok = strings.CutPrefix(name, "sagemaker-")
	cut := strings.LastIndexByte(name, '-')
	account = name[cut+1:]
	if !ok || len(account) != 12 || strings.Trim(account, "0123456789") != "" {
		return "", false
	}
	return account, true
}

// validBucketName applies the naming rules of general purpose buckets.
//
// Source: S3 User Guide, "General purpose bucket naming rules".
func validBucketName(name string) bool {
	if len(name) < 3 || len(name) > 63 || strings.Contains(name, "..") {
		return false
	}
	edge := func(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }
	for i := range len(name) {
		if c := name[i]; !edge(c) && c != '-' && c != '.' {
			return false
		}
	}
	if !edge(name[0]) || !edge(name[len(name)-1]) {
		return false
	}
	if a, err := netip.ParseAddr(name); err == nil && a.Is4() {
		return false
	}
	for _, p := range []string{"xn--", "sthree-", "amzn-s3-demo-"} {
		if strings.HasPrefix(name, p) {
			return false
		}
	}
	for _, suffix := range []string{"-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"} {
		if strings.HasSuffix(name, suffix) {
			return false
		}
	}
	return true
}

func createBucketChecks(ctx context.Context, in *s3api.CreateBucketInput) ([]protocol.Check, error) {
	c := protocol.Check{Resource: "arn:aws:s3:::" + in.Bucket, ResourceType: resourceType, Account: identity.From(ctx).Caller.Account}
	return []protocol.Check{c}, nil
}

// CreateBucket makes a bucket in the region of the request. Its objects are
// encrypted with SSE-S3 until PutBucketEncryption says otherwise.
//
// Errors: InvalidBucketName, BucketAlreadyExists, BucketAlreadyOwnedByYou,
// IllegalLocationConstraintException, InvalidLocationConstraint,
// AuthorizationHeaderMalformed for a region that is none, TooManyBuckets,
// OperationAborted when another account deleted a bucket of the name just now.
func (s *Service) CreateBucket(ctx context.Context, in *s3api.CreateBucketInput) (*s3api.CreateBucketOutput, error) {
	call := identity.From(ctx)
	if call.Caller.Account == "" {
		return nil, accessDenied()
	}
	if reservedName(in.Bucket, call.Caller.Account) {
		return nil, s3api.BucketAlreadyExists("The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.").With("BucketName", in.Bucket)
	}
	if !validBucketName(in.Bucket) {
		return nil, s3api.InvalidBucketName("The specified bucket is not valid.").With("BucketName", in.Bucket)
	}
	if err := checkLocation(in.CreateBucketConfiguration, call.Region); err != nil {
		return nil, err
	}
	if in.ObjectLockEnabledForBucket != nil && *in.ObjectLockEnabledForBucket {
		return nil, notImplemented("x-amz-bucket-object-lock-enabled")
	}
	if in.ACL != "" && in.ACL != s3api.BucketCannedACL("private") || in.GrantFullControl != nil || in.GrantRead != nil ||
		in.GrantReadACP != nil || in.GrantWrite != nil || in.GrantWriteACP != nil {
		return nil, aclError()
	}
	if in.ObjectOwnership != "" && in.ObjectOwnership != "BucketOwnerEnforced" {
		return nil, notImplemented("x-amz-object-ownership")
	}
	b := bucketRow{Name: in.Bucket, ID: newHexID(16), Account: call.Caller.Account, Region: call.Region, Created: s.timestamp()}
	out := &s3api.CreateBucketOutput{Location: new("/" + in.Bucket), BucketArn: new(b.arn())}
	if call.Region != usEast1 {
		out.Location = new("http://" + in.Bucket + ".s3.amazonaws.com/")
	}
	err := s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		protocol.Respond(ctx, s3api.CreateBucket, out)
		old, err := buckets.Get(tx, in.Bucket)
		switch {
		case err == nil && old.Account != b.Account:
			return s3api.BucketAlreadyExists("The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.").With("BucketName", in.Bucket)
		case err == nil && old.Region == usEast1 && b.Region == usEast1:
			return nil // what us-east-1 has always answered
		case err == nil:
			return s3api.BucketAlreadyOwnedByYou("Your previous request to create the named bucket succeeded and you already own it.").With("BucketName", in.Bucket)
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
		if err := s.held.check(b.Name, b.Account, s.cfg.Now()); err != nil {
			return err
		}
		n := 0
		for _, err := range buckets.ByIndex(tx, "account", store.Key{b.Account}, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			n++
		}
		if n >= maxBuckets {
			return s3api.TooManyBuckets("You have attempted to create more buckets than allowed")
		}
		tx.Bump(bucketEpoch(b.Name))
		return buckets.Put(tx, b, b.Name)
	})
	if err != nil {
		return nil, storageError(err)
	}
	return out, nil
}

// validRegion reports whether a name has the form of a region: us-west-2,
// us-gov-east-1, eusc-de-east-1.
func validRegion(name string) bool {
	words := strings.Split(name, "-")
	n := len(words) - 1
	if n < 2 || n > 3 || len(words[0]) < 2 || len(words[0]) > 4 {
		return false
	}
	for _, w := range words[:n] {
		if w == "" || len(w) > 16 || strings.Trim(w, "abcdefghijklmnopqrstuvwxyz") != "" {
			return false
		}
	}
	number := words[n]
	return len(number) > 0 && len(number) <= 2 && number[0] != '0' && strings.Trim(number, "0123456789") == ""
}

// checkLocation compares the location constraint with the region of the
// request.
func checkLocation(c *s3api.CreateBucketConfiguration, region string) error {
	want := ""
	if c != nil {
		if c.Location != nil || c.Bucket != nil {
			return s3api.InvalidRequest("Directory buckets are not supported.")
		}
		want = string(c.LocationConstraint)
	}
	switch {
	case want == "" && !validRegion(region):
		e := s3api.InvalidRequest("The authorization header is malformed; the region '%s' is wrong; expecting '%s'", region, usEast1)
		e.Code = "AuthorizationHeaderMalformed"
		return e.With("Region", usEast1)
	case want == "" && region != usEast1:
		return s3api.IllegalLocationConstraintException("The unspecified location constraint is incompatible for the region specific endpoint this request was sent to.")
	case want == usEast1 || want != "" && want != "EU" && !validRegion(want):
		return s3api.InvalidLocationConstraint("The specified location-constraint is not valid").With("LocationConstraint", want)
	case want == "EU" && region == "eu-west-1":
		return nil
	case want != "" && want != region:
		return s3api.IllegalLocationConstraintException("The %s location constraint is incompatible for the region specific endpoint this request was sent to.", want)
	}
	return nil
}

func aclError() error {
	return schema.NewError("AccessControlListNotSupported", 400, "The bucket does not allow ACLs")
}

func (s *Service) headBucketChecks(ctx context.Context, in *s3api.HeadBucketInput) ([]protocol.Check, error) {
	b, err := s.find(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	if identity.From(ctx).Region != b.Region {
		return nil, redirect(b) // a HEAD answer has no body: clients look at the status
	}
	return []protocol.Check{bucketCheck(b, "s3:ListBucket")}, nil
}

// HeadBucket tells whether the bucket is there for the caller, and its region.
//
// Errors: NoSuchBucket, AccessDenied, PermanentRedirect.
func (s *Service) HeadBucket(ctx context.Context, in *s3api.HeadBucketInput) (*s3api.HeadBucketOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	return &s3api.HeadBucketOutput{BucketRegion: new(b.Region), BucketArn: new(b.arn()), AccessPointAlias: new(false)}, nil
}

func (s *Service) deleteBucketChecks(ctx context.Context, in *s3api.DeleteBucketInput) ([]protocol.Check, error) {
	return s.bucketOnly(ctx, in.Bucket, in.ExpectedBucketOwner, "s3:DeleteBucket")
}

// DeleteBucket deletes an empty bucket with its policy. Uploads that were not
// completed are aborted.
//
// Errors: NoSuchBucket, BucketNotEmpty.
func (s *Service) DeleteBucket(ctx context.Context, in *s3api.DeleteBucketInput) (*schema.Nothing, error) {
	err := s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		b, err := buckets.Get(tx, in.Bucket)
		if errors.Is(err, store.ErrNotFound) {
			return noSuchBucket(in.Bucket)
		}
		if err != nil {
			return err
		}
		for _, err := range objects.Scan(tx, store.Key{b.ID}, store.ScanOptions{Limit: 1}) {
			if err != nil {
				return err
			}
			return s3api.BucketNotEmpty("The bucket you tried to delete is not empty").With("BucketName", in.Bucket)
		}
		page, err := uploads.Page(tx, store.Key{b.ID}, store.ScanOptions{})
		if err != nil {
			return err
		}
		for i := range page.Values {
			if err := s.dropUpload(tx, b.ID, &page.Values[i], nil); err != nil {
				return err
			}
		}
		s.held.hold(b.Name, b.Account, s.cfg.Now())
		tx.Bump(bucketEpoch(b.Name))
		return buckets.Delete(tx, b.Name)
	})
	return nil, err
}

func listBucketsChecks(context.Context, *s3api.ListBucketsInput) ([]protocol.Check, error) {
	return []protocol.Check{{Action: "s3:ListAllMyBuckets", Resource: "arn:aws:s3:::*"}}, nil
}

// ListBuckets lists the buckets of the caller's account by name.
//
// Errors: InvalidArgument for a token that is not ours.
func (s *Service) ListBuckets(ctx context.Context, in *s3api.ListBucketsInput) (*s3api.ListBucketsOutput, error) {
	account := identity.From(ctx).Caller.Account
	limit := maxBuckets
	if in.MaxBuckets != nil {
		if *in.MaxBuckets < 1 || *in.MaxBuckets > maxBuckets {
			return nil, s3api.InvalidArgument("Argument max-buckets must be an integer between 1 and 10000")
		}
		limit = int(*in.MaxBuckets)
	}
	after := ""
	if in.ContinuationToken != nil {
		t, err := s.openPage("ListBuckets", account, *in.ContinuationToken)
		if err != nil {
			return nil, err
		}
		after = t
	}
	var all []bucketRow
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		page, err := buckets.PageByIndex(tx, "account", store.Key{account}, store.ScanOptions{})
		all = page.Values
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b bucketRow) int { return strings.Compare(a.Name, b.Name) })
	out := &s3api.ListBucketsOutput{Owner: owner(account), Prefix: in.Prefix, Buckets: []s3api.Bucket{}}
	for _, b := range all {
		if b.Name <= after || in.Prefix != nil && !strings.HasPrefix(b.Name, *in.Prefix) || in.BucketRegion != nil && *in.BucketRegion != b.Region {
			continue
		}
		if len(out.Buckets) == limit {
			token, err := s.sealPage("ListBuckets", account, *out.Buckets[limit-1].Name)
			if err != nil {
				return nil, err
			}
			out.ContinuationToken = &token
			break
		}
		out.Buckets = append(out.Buckets, s3api.Bucket{
			Name: new(b.Name), CreationDate: new(b.Created), BucketRegion: new(b.Region), BucketArn: new(b.arn()),
		})
	}
	return out, nil
}

// owner names an account as S3 does; ours have no canonical user ids.
func owner(account string) *s3api.Owner { return &s3api.Owner{ID: new(account)} }

// sealPage makes a continuation token that opens for the same operation on the
// same thing alone.
func (s *Service) sealPage(operation, subject, last string) (string, error) {
	return s.cfg.Keyring.SealToken(envelope.PageToken, envelope.Token{Payload: []byte("s3:" + operation + "|" + subject + "|" + last)})
}

func (s *Service) openPage(operation, subject, token string) (string, error) {
	t, err := s.cfg.Keyring.OpenToken(envelope.PageToken, token, s.cfg.Now())
	last, ok := strings.CutPrefix(string(t.Payload), "s3:"+operation+"|"+subject+"|")
	if err != nil || !ok {
		return "", invalidArgument("continuation-token", token, "The continuation token provided is incorrect")
	}
	return last, nil
}

func (s *Service) getLocationChecks(ctx context.Context, in *s3api.GetBucketLocationInput) ([]protocol.Check, error) {
	// The one question that may be asked anywhere.
	b, err := s.find(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	return []protocol.Check{bucketCheck(b, "s3:GetBucketLocation")}, nil
}

// GetBucketLocation returns the bucket's region, nothing for us-east-1.
func (s *Service) GetBucketLocation(ctx context.Context, in *s3api.GetBucketLocationInput) (*s3api.GetBucketLocationOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	out := &s3api.GetBucketLocationOutput{}
	if b.Region != usEast1 {
		out.LocationConstraint = s3api.BucketLocationConstraint(b.Region)
	}
	return out, nil
}

func (s *Service) getVersioningChecks(ctx context.Context, in *s3api.GetBucketVersioningInput) ([]protocol.Check, error) {
	return s.bucketOnly(ctx, in.Bucket, in.ExpectedBucketOwner, "s3:GetBucketVersioning")
}

// GetBucketVersioning answers that versioning was never enabled.
func (s *Service) GetBucketVersioning(context.Context, *s3api.GetBucketVersioningInput) (*s3api.GetBucketVersioningOutput, error) {
	return &s3api.GetBucketVersioningOutput{}, nil
}
