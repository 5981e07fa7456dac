package s3

import (
	"context"
	"strconv"

	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
)

// resourceType is CloudTrail's type of a bucket.
const resourceType = "AWS::S3::Bucket"

// Resolvers compare what the request says with policies before anybody checks
// whether it makes sense: a policy that denies the encryption AES192 answers
// 403, not 400. They read the bucket and judge nothing else.

// locate returns the bucket that a request names, if it is where the request
// was sent and whose the request expects.
//
// Errors: NoSuchBucket, AccessDenied, PermanentRedirect,
// AuthorizationHeaderMalformed.
func (s *Service) locate(ctx context.Context, name string, owner *string) (*bucketState, error) {
	b, err := s.find(ctx, name, owner)
	if err != nil {
		return nil, err
	}
	if region := identity.From(ctx).Region; region != b.Region {
		return nil, wrongRegion(ctx, b, region)
	}
	return b, nil
}

// find is locate for a bucket of any region.
func (s *Service) find(ctx context.Context, name string, owner *string) (*bucketState, error) {
	b, err := s.bucket(ctx, name)
	if err != nil {
		return nil, err
	}
	if owner != nil && *owner != b.Account {
		return nil, accessDenied()
	}
	return b, nil
}

// wrongRegion tells where the bucket is. A signature names a region, and
// clients sign again for the one in the answer; others are redirected.
//
// Source: S3 User Guide, "Making requests over IPv6 and Regions", redirects.
func wrongRegion(ctx context.Context, b *bucketState, region string) error {
	caller := identity.From(ctx).Caller
	if caller.AccessKeyID != "" && len(caller.Via) == 0 {
		e := s3api.InvalidRequest("The authorization header is malformed; the region '%s' is wrong; expecting '%s'", region, b.Region)
		e.Code = "AuthorizationHeaderMalformed"
		return e.With("Region", b.Region)
	}
	return redirect(b)
}

// redirect is the answer that names the bucket's endpoint.
func redirect(b *bucketState) error {
	return s3api.PermanentRedirect("The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint.").
		With("Bucket", b.Name).With("Region", b.Region).With("Endpoint", b.Name+".s3."+b.Region+".amazonaws.com")
}

// bucketCheck asks for an action on the bucket. It enters the record.
func bucketCheck(b *bucketState, action string) protocol.Check {
	c := objectCheck(b, action, "")
	c.Resource, c.ResourceType = b.arn(), resourceType
	return c
}

// objectCheck asks for an action on an object.
func objectCheck(b *bucketState, action, key string) protocol.Check {
	c := protocol.Check{
		Action: action, Resource: b.objectARN(key), Account: b.Account, Policy: b.policy, Context: authz.NewContext(),
	}
	c.Context.Set("s3:ResourceAccount", b.Account)
	return c
}

// bucketOnly is the resolver of operations that ask one action of a bucket.
func (s *Service) bucketOnly(ctx context.Context, name string, owner *string, action string) ([]protocol.Check, error) {
	b, err := s.locate(ctx, name, owner)
	if err != nil {
		return nil, err
	}
	return []protocol.Check{bucketCheck(b, action)}, nil
}

// setOptional sets a condition key that exists only with its header.
func setOptional(c authz.Context, key string, value *string) {
	if value != nil {
		c.Set(key, *value)
	}
}

func setText(c authz.Context, key, value string) {
	if value != "" {
		c.Set(key, value)
	}
}

// writeHeaders are the headers of a write that policies can ask about.
type writeHeaders struct {
	encryption           s3api.ServerSideEncryption
	key, tagging         *string
	ifMatch, ifNoneMatch *string
	acl                  s3api.ObjectCannedACL
	storage              s3api.StorageClass
	metadataDirective    s3api.MetadataDirective
	copySource           string
	customerAlgorithm    *string
}

// writeChecks are the checks of everything that makes an object: the write
// itself and, with tags, the right to tag. The values of headers are used as
// sent, and a header that was not sent leaves its key missing.
//
// Source: Service Authorization Reference, "Actions, resources, and condition
// keys for Amazon S3".
func writeChecks(b *bucketState, key string, h writeHeaders) []protocol.Check {
	c := objectCheck(b, "s3:PutObject", key)
	setText(c.Context, "s3:x-amz-server-side-encryption", string(h.encryption))
	setOptional(c.Context, "s3:x-amz-server-side-encryption-aws-kms-key-id", h.key)
	setOptional(c.Context, "s3:x-amz-server-side-encryption-customer-algorithm", h.customerAlgorithm)
	setOptional(c.Context, "s3:if-match", h.ifMatch)
	setOptional(c.Context, "s3:if-none-match", h.ifNoneMatch)
	setText(c.Context, "s3:x-amz-acl", string(h.acl))
	setText(c.Context, "s3:x-amz-storage-class", string(h.storage))
	setText(c.Context, "s3:x-amz-metadata-directive", string(h.metadataDirective))
	setText(c.Context, "s3:x-amz-copy-source", h.copySource)
	if h.tagging == nil {
		return []protocol.Check{c}
	}
	t := objectCheck(b, "s3:PutObjectTagging", key)
	if tags, err := parseTags(*h.tagging); err == nil {
		names := make([]string, 0, len(tags))
		for _, tag := range tags {
			c.Context.Set("s3:RequestObjectTag/"+tag.Key, tag.Value)
			t.Context.Set("s3:RequestObjectTag/"+tag.Key, tag.Value)
			names = append(names, tag.Key)
		}
		c.Context.SetMulti("s3:RequestObjectTagKeys", names...)
		t.Context.SetMulti("s3:RequestObjectTagKeys", names...)
	}
	return []protocol.Check{c, t}
}

// readCheck is the check of GetObject, HeadObject, GetObjectTagging and a copy's
// source; it knows the tags that the object has.
func (s *Service) readCheck(ctx context.Context, b *bucketState, action, key string) (protocol.Check, error) {
	c := objectCheck(b, action, key)
	o, err := s.readObject(ctx, b, key)
	if err != nil {
		return c, err
	}
	if o != nil {
		for _, tag := range o.Headers.Tags {
			c.Context.Set("s3:ExistingObjectTag/"+tag.Key, tag.Value)
		}
	}
	return c, nil
}

// listCheck is the check of ListObjects and ListObjectsV2.
func listCheck(b *bucketState, prefix, delimiter *string, maxKeys *int32) protocol.Check {
	c := bucketCheck(b, "s3:ListBucket")
	setOptional(c.Context, "s3:prefix", prefix)
	setOptional(c.Context, "s3:delimiter", delimiter)
	if maxKeys != nil {
		c.Context.Set("s3:max-keys", strconv.Itoa(int(*maxKeys)))
	}
	return c
}

// missing is the answer for an object that is not there: only who may list the
// bucket learns that.
func (s *Service) missing(ctx context.Context, b *bucketState, key string) error {
	c := bucketCheck(b, "s3:ListBucket")
	if s.cfg.Authorizer.Authorize(ctx, s3api.Service, &c) != nil {
		return accessDenied()
	}
	return noSuchKey(key)
}

// dropOwnersRoot takes the policy off a check when the root user of the
// bucket's account manages the policy itself, so that no policy locks it out.
//
// Source: S3 API Reference, PutBucketPolicy.
func dropOwnersRoot(ctx context.Context, b *bucketState, c *protocol.Check) {
	if caller := identity.From(ctx).Caller; caller.Type == identity.Root && caller.Account == b.Account && len(caller.Via) == 0 {
		c.Policy = nil
	}
}
