// Package geospatial is Amazon SageMaker geospatial capabilities: raster data
// collections of one's own imagery, and Earth Observation jobs that compute
// band math over them.
//
// Every byte lies in segments under a service-owned layer; with a customer
// managed key a second layer is added whose data keys come from AWS KMS, used
// under a grant that belongs to one job. Three principals act, and no other:
// the caller; the execution role, which at the start of a job checks and creates
// what the job will need; and the service principal, which works under the
// job's own grant and is refused when the grant or the key is taken away.
//
// Source: Amazon SageMaker Developer Guide, "Use AWS KMS Permissions for Amazon
// SageMaker geospatial capabilities".
package geospatial

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"time"

	geoapi "github.com/sagekeep/sagekeep/api/geospatial"
	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/blob"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/jobs"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

// Principal is the service's global name, which roles trust.
const Principal = "sagemaker-geospatial.amazonaws.com"

// Roles is what the service needs of IAM.
type Roles interface {
	// PassRoleCheck asks whether the caller may hand the role to the service.
	PassRoleCheck(roleARN, service string) protocol.Check
	// AssumeForService returns a session of the role, if the role trusts the
	// service.
	AssumeForService(ctx context.Context, roleARN, sessionName, service string) (*identity.Caller, error)
}

// Keys is what the service needs of AWS KMS. The operations are calls through
// the pipeline, for the caller in ctx: authorised and recorded.
type Keys interface {
	// Describe resolves a KeyId in any form for the caller in ctx: the key's
	// ARN, whether it is a symmetric encryption key, and its state.
	Describe(ctx context.Context, keyID string) (arn string, symmetric bool, state string, err error)
	// Check builds the question whether the caller in ctx may take an action
	// (kms:CreateGrant …) on the key, without a call.
	Check(ctx context.Context, keyID, action string, ec map[string]string) (protocol.Check, error)

	CreateGrant(ctx context.Context, in *kmsapi.CreateGrantInput) (*kmsapi.CreateGrantOutput, error)
	RetireGrant(ctx context.Context, in *kmsapi.RetireGrantInput) (*schema.Nothing, error)
	GenerateDataKey(ctx context.Context, in *kmsapi.GenerateDataKeyInput) (*kmsapi.GenerateDataKeyOutput, error)
	GenerateDataKeyWithoutPlaintext(ctx context.Context, in *kmsapi.GenerateDataKeyWithoutPlaintextInput) (*kmsapi.GenerateDataKeyWithoutPlaintextOutput, error)
	Decrypt(ctx context.Context, in *kmsapi.DecryptInput) (*kmsapi.DecryptOutput, error)
}

// Objects is what exports need of Amazon S3: a call through the pipeline.
type Objects interface {
	PutObject(ctx context.Context, in *s3api.PutObjectInput) (*s3api.PutObjectOutput, error)
}

// authorizer evaluates a check without a call and without a record.
type authorizer interface {
	Authorize(ctx context.Context, svc *schema.Service, c *protocol.Check) error
}

// Config is what a Service is made of. All but the last group is needed.
type Config struct {
	Store      *store.Store
	Keyring    *envelope.Keyring
	Blobs      blob.Store
	Jobs       *jobs.Runner // not started yet: New registers the kinds
	Roles      Roles
	Keys       Keys
	Objects    Objects
	Authorizer authorizer
	// KeyEpoch returns the counter that every change of a KMS key, its policy
	// and its grants bumps. A data key is kept only while it stands still.
	KeyEpoch func(region, keyARN string) uint64

	Account func() string    // owner of what ImportCollection makes
	Log     *slog.Logger     // slog.Default when nil
	Now     func() time.Time // time.Now when nil
	NewID   func() string    // request ids of the service's own calls; random when nil
	// BlockSide is the side of the square that one task computes, in pixels, a
	// multiple of 512; 2048 when 0.
	BlockSide int
}

// Service is SageMaker geospatial. Its methods may be called concurrently.
type Service struct {
	cfg  Config
	keys keyCache
	// blockDone, if set, is told of every block computed, for tests.
	blockDone func(p task)
}

const (
	tileSide         = 512 // pixels of an output tile
	defaultBlockSide = 2048
)

// New returns the service and registers its kinds of tasks with c.Jobs.
func New(c Config) *Service {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.NewID == nil {
		c.NewID = newRequestID
	}
	if c.BlockSide < tileSide {
		c.BlockSide = defaultBlockSide
	}
	s := &Service{cfg: c, keys: keyCache{entries: map[string]heldKey{}}}
	s.registerTasks()
	return s
}

// Register adds every implemented operation.
func (s *Service) Register(r *protocol.Registry) {
	protocol.Handle(r, geoapi.StartEarthObservationJob, s.startChecks, s.StartEarthObservationJob)
	protocol.Handle(r, geoapi.GetEarthObservationJob, of(s, func(in *geoapi.GetEarthObservationJobInput) string { return in.Arn }), s.GetEarthObservationJob)
	protocol.Handle(r, geoapi.ListEarthObservationJobs, protocol.AnyResource, s.ListEarthObservationJobs)
	protocol.Handle(r, geoapi.StopEarthObservationJob, of(s, func(in *geoapi.StopEarthObservationJobInput) string { return in.Arn }), s.StopEarthObservationJob)
	protocol.Handle(r, geoapi.DeleteEarthObservationJob, of(s, func(in *geoapi.DeleteEarthObservationJobInput) string { return in.Arn }), s.DeleteEarthObservationJob)
	protocol.Handle(r, geoapi.ExportEarthObservationJob, s.exportChecks, s.ExportEarthObservationJob)

	protocol.Handle(r, geoapi.ListRasterDataCollections, protocol.AnyResource, s.ListRasterDataCollections)
	protocol.Handle(r, geoapi.GetRasterDataCollection, of(s, func(in *geoapi.GetRasterDataCollectionInput) string { return in.Arn }), s.GetRasterDataCollection)
	protocol.Handle(r, geoapi.SearchRasterDataCollection, of(s, func(in *geoapi.SearchRasterDataCollectionInput) string { return in.Arn }), s.SearchRasterDataCollection)

	protocol.Handle(r, geoapi.TagResource, s.tagChecks, s.TagResource)
	protocol.Handle(r, geoapi.UntagResource, s.untagChecks, s.UntagResource)
	protocol.Handle(r, geoapi.ListTagsForResource, of(s, func(in *geoapi.ListTagsForResourceInput) string { return in.ResourceArn }), s.ListTagsForResource)
}

// timestamp is an instant as rows hold it: UTC, whole microseconds.
func (s *Service) timestamp() time.Time { return s.cfg.Now().UTC().Truncate(time.Microsecond) }

func newRequestID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // a version 4 UUID
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// newResourceID returns 12 random characters of a-z 0-9, the form of AWS's ids.
func newResourceID() string {
	const alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
	var b [12]byte
	for i := 0; i < len(b); {
		var r [16]byte
		rand.Read(r[:])
		for _, v := range r {
			// 252 is the largest multiple of 36: above it the draw would favour some.
			if v < 252 && i < len(b) {
				b[i] = alphabet[v%36]
				i++
			}
		}
	}
	return string(b[:])
}
