package s3

import (
	"context"
	"encoding/base64"
	"encoding/json"

	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

const (
	sseS3   = s3api.ServerSideEncryptionAes256
	sseKMS  = s3api.ServerSideEncryptionAwsKms
	sseDSSE = s3api.ServerSideEncryptionAwsKmsDsse

	// managedKey is the key of requests that ask for SSE-KMS and name none.
	managedKey = "alias/aws/s3"

	// arnContext is the pair that S3 adds to every encryption context.
	arnContext = "aws:s3:arn"

	// maxContext bounds the client's encryption context header, in characters.
	maxContext = 8 << 10
)

func (s *Service) putEncryptionChecks(ctx context.Context, in *s3api.PutBucketEncryptionInput) ([]protocol.Check, error) {
	return s.bucketOnly(ctx, in.Bucket, in.ExpectedBucketOwner, "s3:PutEncryptionConfiguration")
}

// PutBucketEncryption sets how objects that ask for no encryption are
// encrypted. The key is not looked at: a bad one fails at the first PutObject.
//
// Errors: MalformedXML unless there is exactly one rule; InvalidArgument for a
// key that the algorithm does not take.
func (s *Service) PutBucketEncryption(ctx context.Context, in *s3api.PutBucketEncryptionInput) (*schema.Nothing, error) {
	d, err := defaultOf(in.ServerSideEncryptionConfiguration)
	if err != nil {
		return nil, err
	}
	return nil, s.updateBucket(ctx, in.Bucket, func(_ *store.Tx, b *bucketRow) error {
		b.Default = d
		return nil
	})
}

func malformedXML() error {
	return s3api.MalformedXML("The XML you provided was not well-formed or did not validate against our published schema")
}

func defaultOf(c *s3api.ServerSideEncryptionConfiguration) (defaultEncryption, error) {
	var d defaultEncryption
	if c == nil || len(c.Rules) != 1 {
		return d, malformedXML()
	}
	r := &c.Rules[0]
	d.BucketKeys = r.BucketKeyEnabled != nil && *r.BucketKeyEnabled
	if r.BlockedEncryptionTypes != nil {
		d.Blocked = r.BlockedEncryptionTypes.EncryptionType
	}
	by := r.ApplyServerSideEncryptionByDefault
	if by == nil {
		return d, nil
	}
	d.Algorithm = by.SSEAlgorithm
	switch by.SSEAlgorithm {
	case sseS3:
		if by.KMSMasterKeyID != nil {
			return d, s3api.InvalidArgument("a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse").
				With("ArgumentName", "ApplyServerSideEncryptionByDefault")
		}
	case sseKMS, sseDSSE:
		if by.KMSMasterKeyID != nil {
			d.KeyID = *by.KMSMasterKeyID
		}
	default:
		return d, malformedXML()
	}
	return d, nil
}

func (s *Service) getEncryptionChecks(ctx context.Context, in *s3api.GetBucketEncryptionInput) ([]protocol.Check, error) {
	return s.bucketOnly(ctx, in.Bucket, in.ExpectedBucketOwner, "s3:GetEncryptionConfiguration")
}

// GetBucketEncryption returns the bucket's default; every bucket has one.
func (s *Service) GetBucketEncryption(ctx context.Context, in *s3api.GetBucketEncryptionInput) (*s3api.GetBucketEncryptionOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	d := b.Default
	by := &s3api.ServerSideEncryptionByDefault{SSEAlgorithm: d.algorithm()}
	if d.KeyID != "" {
		by.KMSMasterKeyID = new(d.KeyID)
	}
	rule := s3api.ServerSideEncryptionRule{ApplyServerSideEncryptionByDefault: by, BucketKeyEnabled: new(d.BucketKeys)}
	if len(d.Blocked) > 0 {
		rule.BlockedEncryptionTypes = &s3api.BlockedEncryptionTypes{EncryptionType: d.Blocked}
	}
	return &s3api.GetBucketEncryptionOutput{
		ServerSideEncryptionConfiguration: &s3api.ServerSideEncryptionConfiguration{Rules: []s3api.ServerSideEncryptionRule{rule}},
	}, nil
}

func (d *defaultEncryption) algorithm() s3api.ServerSideEncryption {
	if d.Algorithm == "" {
		return sseS3
	}
	return d.Algorithm
}

func (s *Service) deleteEncryptionChecks(ctx context.Context, in *s3api.DeleteBucketEncryptionInput) ([]protocol.Check, error) {
	return s.bucketOnly(ctx, in.Bucket, in.ExpectedBucketOwner, "s3:PutEncryptionConfiguration")
}

// DeleteBucketEncryption goes back to SSE-S3.
func (s *Service) DeleteBucketEncryption(ctx context.Context, in *s3api.DeleteBucketEncryptionInput) (*schema.Nothing, error) {
	return nil, s.updateBucket(ctx, in.Bucket, func(_ *store.Tx, b *bucketRow) error {
		b.Default = defaultEncryption{}
		return nil
	})
}

// sseHeaders are the encryption headers of a write.
type sseHeaders struct {
	algorithm    s3api.ServerSideEncryption
	key, context *string
	bucketKey    *bool
	// customer is any of the SSE-C headers.
	customer []*string
}

// encryptionPlan is what a write will do, before any key was used.
type encryptionPlan struct {
	row encryptionRow // without keys
	key string        // KMS key as asked for: id, ARN or alias
}

// plan judges the headers against the bucket's default.
//
// Errors: InvalidArgument, NotImplemented for SSE-C.
func plan(b *bucketState, h sseHeaders) (encryptionPlan, error) {
	var p encryptionPlan
	for _, c := range h.customer {
		if c == nil {
			continue
		}
		if h.algorithm != "" {
			return p, s3api.InvalidArgument("Server Side Encryption with Customer provided key is incompatible with the encryption method specified").
				With("ArgumentName", "x-amz-server-side-encryption").With("ArgumentValue", string(h.algorithm))
		}
		return p, notImplemented("x-amz-server-side-encryption-customer-algorithm")
	}
	const name = "x-amz-server-side-encryption"
	switch h.algorithm {
	case "", sseS3:
		if h.key != nil {
			return p, invalidArgument(name, string(h.algorithm), "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms or aws:kms:dsse")
		}
		if h.context != nil && (h.algorithm == sseS3 || b.Default.algorithm() == sseS3) {
			return p, invalidArgument(name, string(h.algorithm), "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms or aws:kms:dsse")
		}
	case sseKMS, sseDSSE:
	default:
		return p, invalidArgument(name, string(h.algorithm), "The encryption method specified is not supported")
	}
	p.row.Algorithm = h.algorithm
	wantBucketKey := b.Default.BucketKeys
	if h.bucketKey != nil {
		wantBucketKey = *h.bucketKey
	}
	if h.algorithm == "" {
		p.row.Algorithm, p.key = b.Default.algorithm(), b.Default.KeyID
	} else if h.key != nil {
		p.key = *h.key
	} else if h.algorithm == b.Default.Algorithm {
		p.key = b.Default.KeyID
	}
	if !p.row.kms() {
		return p, nil
	}
	if p.key == "" {
		p.key = managedKey
	}
	// Two layers with two keys for each object are the point of DSSE.
	p.row.BucketKey = wantBucketKey && p.row.Algorithm == sseKMS
	if h.context != nil {
		var err error
		p.row.Context, err = parseContext(*h.context)
		return p, err
	}
	return p, nil
}

// parseContext reads the encryption context header: base64 of a JSON object of
// strings, which may not hold the pair that S3 adds itself.
func parseContext(header string) (map[string]string, error) {
	const name = "x-amz-server-side-encryption-context"
	bad := func() error {
		return invalidArgument(name, "", "The header '%s' shall be Base64-encoded UTF-8 string holding JSON which represents a string-string map", name)
	}
	if len(header) > maxContext {
		return nil, bad()
	}
	text, err := base64.StdEncoding.DecodeString(header)
	if err != nil {
		return nil, bad()
	}
	var m map[string]*string
	if err := json.Unmarshal(text, &m); err != nil || m == nil {
		return nil, bad()
	}
	out := make(map[string]string, len(m))
	for k, v := range m {
		if v == nil || k == "" {
			return nil, bad()
		}
		if k == arnContext {
			return nil, invalidArgument(name, "", "The header '%s' must not hold %s, which S3 adds", name, arnContext)
		}
		out[k] = *v
	}
	return out, nil
}

// contextText is the header that answers a write: the client's own pairs.
func contextText(m map[string]string) *string {
	if len(m) == 0 {
		return nil
	}
	b, err := json.Marshal(m) // sorted by name
	if err != nil {
		return nil
	}
	return new(base64.StdEncoding.EncodeToString(b))
}

// keyHeader and bucketKeyHeader are the answer's encryption headers.
func (e *encryptionRow) keyHeader() *string {
	if e.KeyARN == "" {
		return nil
	}
	return new(e.KeyARN)
}

func (e *encryptionRow) bucketKeyHeader() *bool {
	if !e.BucketKey {
		return nil
	}
	return new(true)
}
