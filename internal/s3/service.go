package s3

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"sync"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/blob"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

// dataKeys is what S3 needs from KMS. Each call is authorised and recorded for
// the caller in ctx.
type dataKeys interface {
	GenerateDataKey(ctx context.Context, in *kmsapi.GenerateDataKeyInput) (*kmsapi.GenerateDataKeyOutput, error)
	Decrypt(ctx context.Context, in *kmsapi.DecryptInput) (*kmsapi.DecryptOutput, error)
}

// principals is what S3 needs from IAM: whether an ARN names someone.
type principals interface {
	// PrincipalExists returns the unique id of the principal; accounts have none.
	PrincipalExists(ctx context.Context, arn string) (uniqueID string, ok bool)
	// NamesNow returns what stands today in place of ARNs that were bound to
	// unique ids, when that is not the ARN.
	NamesNow(ctx context.Context, bound map[string]string) (map[string]string, error)
}

// authorizer evaluates a check without a record: whether a missing object may be
// told, and which keys of a DeleteObjects may go.
type authorizer interface {
	Authorize(ctx context.Context, svc *schema.Service, c *protocol.Check) error
}

// Config is what a Service is made of.
type Config struct {
	Store      *store.Store
	Keyring    *envelope.Keyring
	Blobs      blob.Store
	Keys       dataKeys
	Principals principals
	Authorizer authorizer

	// KeyEpoch returns the counter that every change of a KMS key, its policy,
	// aliases or grants raises, and IAMEpoch that of an account's IAM. With
	// either nil no Bucket Key is kept between requests.
	KeyEpoch func(region, keyARN string) uint64
	IAMEpoch func(account string) uint64

	// ForeignSegment reports whether a segment in Blobs belongs to somebody
	// else, so that Sweep leaves it alone; nil when Blobs is S3's alone.
	ForeignSegment func(ctx context.Context, id blob.ID) (bool, error)

	Now func() time.Time // nil: time.Now
}

// Service is Amazon S3. Its methods may be called concurrently.
type Service struct {
	cfg        Config
	buckets    bucketCache
	bucketKeys bucketKeyCache
	held       heldNames
}

// New returns the service.
func New(c Config) *Service {
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Service{
		cfg:        c,
		buckets:    bucketCache{entries: map[string]*bucketState{}},
		bucketKeys: bucketKeyCache{entries: map[[32]byte]*bucketKey{}, arns: map[[32]byte]string{}},
		held:       heldNames{names: map[string]heldName{}},
	}
}

// Register adds every implemented operation.
func (s *Service) Register(r *protocol.Registry) {
	protocol.Handle(r, s3api.ListBuckets, listBucketsChecks, s.ListBuckets)
	protocol.Handle(r, s3api.CreateBucket, createBucketChecks, s.CreateBucket)
	protocol.Handle(r, s3api.HeadBucket, s.headBucketChecks, s.HeadBucket)
	protocol.Handle(r, s3api.DeleteBucket, s.deleteBucketChecks, s.DeleteBucket)
	protocol.Handle(r, s3api.GetBucketLocation, s.getLocationChecks, s.GetBucketLocation)
	protocol.Handle(r, s3api.GetBucketVersioning, s.getVersioningChecks, s.GetBucketVersioning)

	protocol.Handle(r, s3api.PutBucketEncryption, s.putEncryptionChecks, s.PutBucketEncryption)
	protocol.Handle(r, s3api.GetBucketEncryption, s.getEncryptionChecks, s.GetBucketEncryption)
	protocol.Handle(r, s3api.DeleteBucketEncryption, s.deleteEncryptionChecks, s.DeleteBucketEncryption)

	protocol.Handle(r, s3api.PutBucketPolicy, s.putPolicyChecks, s.PutBucketPolicy)
	protocol.Handle(r, s3api.GetBucketPolicy, s.getPolicyChecks, s.GetBucketPolicy)
	protocol.Handle(r, s3api.DeleteBucketPolicy, s.deletePolicyChecks, s.DeleteBucketPolicy)

	protocol.Handle(r, s3api.PutObject, s.putObjectChecks, s.PutObject)
	protocol.Handle(r, s3api.GetObject, s.getObjectChecks, s.GetObject)
	protocol.Handle(r, s3api.HeadObject, s.headObjectChecks, s.HeadObject)
	protocol.Handle(r, s3api.GetObjectTagging, s.getTaggingChecks, s.GetObjectTagging)
	protocol.Handle(r, s3api.DeleteObject, s.deleteObjectChecks, s.DeleteObject)
	protocol.Handle(r, s3api.DeleteObjects, s.deleteObjectsChecks, s.DeleteObjects)
	protocol.Handle(r, s3api.CopyObject, s.copyObjectChecks, s.CopyObject)
	protocol.Handle(r, s3api.ListObjectsV2, s.listV2Checks, s.ListObjectsV2)
	protocol.Handle(r, s3api.ListObjects, s.listV1Checks, s.ListObjects)

	protocol.Handle(r, s3api.CreateMultipartUpload, s.createUploadChecks, s.CreateMultipartUpload)
	protocol.Handle(r, s3api.UploadPart, s.uploadPartChecks, s.UploadPart)
	protocol.Handle(r, s3api.UploadPartCopy, s.uploadPartCopyChecks, s.UploadPartCopy)
	protocol.Handle(r, s3api.CompleteMultipartUpload, s.completeUploadChecks, s.CompleteMultipartUpload)
	protocol.Handle(r, s3api.AbortMultipartUpload, s.abortUploadChecks, s.AbortMultipartUpload)
	protocol.Handle(r, s3api.ListParts, s.listPartsChecks, s.ListParts)
	protocol.Handle(r, s3api.ListMultipartUploads, s.listUploadsChecks, s.ListMultipartUploads)
}

// timestamp is an instant as rows hold it: UTC, whole microseconds.
func (s *Service) timestamp() time.Time { return s.cfg.Now().UTC().Truncate(time.Microsecond) }

// newHexID returns n random bytes in hexadecimal digits.
func newHexID(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// bucketCache holds the buckets in use. It is bounded, by their number and by what
// they take: an overfull cache starts anew.
type bucketCache struct {
	mu      sync.RWMutex
	entries map[string]*bucketState
	held    int // bytes
}

const (
	maxCachedBuckets = 10_000
	maxCachedBytes   = 96 << 20 // compiled bucket policies can take forty times their length
)
