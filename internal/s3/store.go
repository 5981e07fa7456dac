package s3

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/blob"
	"github.com/sagekeep/sagekeep/internal/store"
)

// bucketRow is one bucket. Names are unique over all accounts; ID is not used
// again when a name is.
type bucketRow struct {
	Name, ID, Account, Region string
	Created                   time.Time
	// Default is the encryption of objects that ask for none.
	Default defaultEncryption
	Policy  string `json:",omitempty"`
	// PolicyPrincipals maps the ARNs in the policy to the unique ids that they
	// had when the policy was saved.
	PolicyPrincipals map[string]string `json:",omitempty"`
}

// defaultEncryption is a bucket's default as PutBucketEncryption gave it; the
// zero value is SSE-S3.
type defaultEncryption struct {
	Algorithm  s3api.ServerSideEncryption `json:",omitempty"`
	KeyID      string                     `json:",omitempty"` // as given: id, ARN or alias
	BucketKeys bool                       `json:",omitempty"`
	Blocked    []s3api.EncryptionType     `json:",omitempty"`
}

// encryptionRow says how one object, or one upload, is encrypted. The wrapped
// keys lie here alone, never in a segment, so that re-keying is one row.
type encryptionRow struct {
	Algorithm s3api.ServerSideEncryption
	KeyARN    string `json:",omitempty"`
	BucketKey bool   `json:",omitempty"`
	// Context is the client's encryption context, without aws:s3:arn.
	Context map[string]string `json:",omitempty"`
	// Wrapped is what KMS returned: the data key or, with a Bucket Key, the
	// bucket-level key under which WrappedDEK holds the data key.
	Wrapped    []byte `json:",omitempty"`
	WrappedDEK []byte `json:",omitempty"`
}

// kms reports whether a KMS key is involved.
func (e *encryptionRow) kms() bool { return e.Algorithm != s3api.ServerSideEncryptionAes256 }

// segmentRow is one segment of an object's body.
type segmentRow struct {
	ID   blob.ID
	Size int64  // plaintext bytes
	Key  []byte // service data key, sealed by the keyring
}

// checksumRow is an object's checksum. Of objects under a KMS key the value is
// sealed under the object's data key: it would tell the content.
type checksumRow struct {
	Algorithm s3api.ChecksumAlgorithm
	Type      s3api.ChecksumType
	Value     []byte // text as on the wire, perhaps sealed
}

// headersRow is what the client wants to get back with the body.
type headersRow struct {
	ContentType        string            `json:",omitempty"`
	CacheControl       string            `json:",omitempty"`
	ContentDisposition string            `json:",omitempty"`
	ContentEncoding    string            `json:",omitempty"`
	ContentLanguage    string            `json:",omitempty"`
	Expires            string            `json:",omitempty"`
	Redirect           string            `json:",omitempty"`
	Metadata           map[string]string `json:",omitempty"`
	Tags               []tag             `json:",omitempty"`
}

type tag struct{ Key, Value string }

// objectRow is one object.
type objectRow struct {
	Key, Version string // Version is ours: random for each write, in AADs
	Size         int64
	ETag         string // without quotes
	Modified     time.Time
	Headers      headersRow
	Encryption   encryptionRow
	Checksum     checksumRow
	Segments     []segmentRow `json:",omitempty"`
	Multipart    bool         `json:",omitempty"` // each segment is a part
	Inline       []byte       `json:"-"`          // body of objects without segments, sealed under a KMS object's data key
}

// uploadRow is one multipart upload under way.
type uploadRow struct {
	ID, Key, Version string
	Initiated        time.Time
	Initiator        string // ARN
	Headers          headersRow
	Encryption       encryptionRow
	Checksum         s3api.ChecksumAlgorithm
	ChecksumType     s3api.ChecksumType
	// Requested: the client chose the algorithm, so that parts must have it.
	Requested bool
	// AskedAlgorithm and AskedKey are the encryption headers as sent, for
	// policies that ask about them when parts come, which carry none.
	AskedAlgorithm s3api.ServerSideEncryption `json:",omitempty"`
	AskedKey       *string                    `json:",omitempty"`
}

// partRow is one uploaded part.
type partRow struct {
	Number   int32
	ETag     string
	Modified time.Time
	Segment  segmentRow
	Checksum checksumRow
}

// garbageRow is a segment that no object names any more.
type garbageRow struct {
	ID  blob.ID
	Due int64 // microseconds since 1970 from when on it may be deleted
}

// name is the instant as it stands in the key: it sorts.
func (g *garbageRow) name() string { return fmt.Sprintf("%020d", g.Due) }

var (
	buckets = store.Hashed("s3.bucket",
		store.WithIndex("account", func(b bucketRow) []store.Key { return []store.Key{{b.Account, b.Name}} }))
	// objects has the keys (bucket id, object key).
	objects = store.Ordered("s3.object", store.WithCodec(encodeObject, decodeObject))
	// uploads has the keys (bucket id, object key, upload id).
	uploads = store.Ordered[uploadRow]("s3.upload")
	// parts has the keys (upload id, five-digit part number).
	parts = store.Ordered[partRow]("s3.part")
	// segments has a row for every segment that some object, part or garbage row
	// names, by id.
	segments = store.Hashed[struct{}]("s3.segment")
	// garbage has the keys (due instant as 20 digits of microseconds, segment id).
	garbage = store.Ordered[garbageRow]("s3.garbage")
)

// objectVersion is the version of object rows.
const objectVersion = 1

// encodeObject is a version byte, the length of the JSON part as a varint, the
// JSON part, and the inline body as it is. See docs/formats/s3.md.
func encodeObject(o objectRow) ([]byte, error) {
	head, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, 1+binary.MaxVarintLen64+len(head)+len(o.Inline))
	b = append(b, objectVersion)
	b = binary.AppendUvarint(b, uint64(len(head)))
	b = append(b, head...)
	return append(b, o.Inline...), nil
}

var errObjectRow = errors.New("s3: damaged object row")

// decodeObject reverses encodeObject.
//
// Errors: store.ErrNewerFormat.
func decodeObject(b []byte) (objectRow, error) {
	var o objectRow
	if len(b) == 0 || b[0] < objectVersion {
		return o, errObjectRow
	}
	if b[0] > objectVersion {
		return o, fmt.Errorf("s3: object row of version %d: %w", b[0], store.ErrNewerFormat)
	}
	b = b[1:]
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)-used) {
		return o, errObjectRow
	}
	if err := json.Unmarshal(b[used:used+int(n)], &o); err != nil {
		return o, fmt.Errorf("s3: read object row: %w", err)
	}
	o.Inline = b[used+int(n):]
	return o, nil
}

// bucketEpoch names the counter that every change of a bucket bumps.
func bucketEpoch(name string) string { return "s3/" + name }

// bucketState is a bucket as the cache holds it: valid while its epoch stands.
type bucketState struct {
	bucketRow
	epoch  uint64
	policy *authz.Policy // nil: none
	size   int           // bytes, about, that it takes
}

func (b *bucketRow) arn() string { return "arn:aws:s3:::" + b.Name }

func (b *bucketRow) objectARN(key string) string { return b.arn() + "/" + key }

// bucket returns the bucket of a name.
//
// Errors: NoSuchBucket.
func (s *Service) bucket(ctx context.Context, name string) (*bucketState, error) {
	s.buckets.mu.RLock()
	b := s.buckets.entries[name]
	s.buckets.mu.RUnlock()
	if b == nil {
		// A counter, once asked for, stays in memory: ask only for buckets that are there.
		if err := s.bucketExists(ctx, name); err != nil {
			return nil, err
		}
	}
	// The epoch is read before the row: what is bumped later makes the entry stale.
	now := s.cfg.Store.Epoch(bucketEpoch(name))
	if b != nil && b.epoch == now {
		return b, nil
	}
	b = &bucketState{epoch: now}
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var err error
		b.bucketRow, err = buckets.Get(tx, name)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, noSuchBucket(name)
	}
	if err != nil {
		return nil, fmt.Errorf("s3: read bucket: %w", err)
	}
	b.policy = readPolicy(&b.bucketRow)
	s.buckets.mu.Lock()
	defer s.buckets.mu.Unlock()
	s.buckets.put(name, b)
	return b, nil
}

// put keeps a bucket. The caller holds the lock.
func (c *bucketCache) put(name string, b *bucketState) {
	b.size = 4096 + len(b.Policy)
	if b.policy != nil {
		b.size += b.policy.Size()
	}
	if old := c.entries[name]; old != nil {
		c.held -= old.size
		delete(c.entries, name)
	}
	if len(c.entries) >= maxCachedBuckets || c.held+b.size > maxCachedBytes {
		clear(c.entries)
		c.held = 0
	}
	c.entries[name] = b
	c.held += b.size
}

// bucketExists refuses names that no bucket has.
//
// Errors: NoSuchBucket.
func (s *Service) bucketExists(ctx context.Context, name string) error {
	if !validBucketName(name) {
		return noSuchBucket(name)
	}
	var found bool
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var err error
		found, err = buckets.Exists(tx, name)
		return err
	})
	if err != nil {
		return fmt.Errorf("s3: look for bucket: %w", err)
	}
	if !found {
		return noSuchBucket(name)
	}
	return nil
}

// readPolicy compiles a stored policy. One that cannot be read denies
// everything (I5).
func readPolicy(b *bucketRow) *authz.Policy {
	if b.Policy == "" {
		return nil
	}
	p, err := authz.ParseStored(authz.ResourcePolicy, []byte(b.Policy))
	if err != nil {
		return authz.Unreadable(b.arn())
	}
	p.Name = b.arn()
	return p.Bind(b.PolicyPrincipals)
}

// updateBucket changes one bucket in one commit. fn works on the row as it is
// in the transaction.
func (s *Service) updateBucket(ctx context.Context, name string, fn func(tx *store.Tx, b *bucketRow) error) error {
	return s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		b, err := buckets.Get(tx, name)
		if errors.Is(err, store.ErrNotFound) {
			return noSuchBucket(name)
		}
		if err != nil {
			return err
		}
		if err := fn(tx, &b); err != nil {
			return err
		}
		tx.Bump(bucketEpoch(name))
		return buckets.Put(tx, b, name)
	})
}

// stillThere fails when the bucket was deleted since the request began.
func stillThere(tx *store.Tx, b *bucketState) error {
	now, err := buckets.Get(tx, b.Name)
	if errors.Is(err, store.ErrNotFound) || err == nil && now.ID != b.ID {
		return noSuchBucket(b.Name)
	}
	return err
}

// getObject returns an object's row, or nil when there is none.
func getObject(tx *store.Tx, bucketID, key string) (*objectRow, error) {
	o, err := objects.Get(tx, bucketID, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &o, nil
}

// readObject is getObject on a snapshot, perhaps before its commit is durable.
func (s *Service) readObject(ctx context.Context, b *bucketState, key string) (*objectRow, error) {
	var o *objectRow
	err := s.cfg.Store.ViewEarly(ctx, func(tx *store.Tx) error {
		var err error
		o, err = getObject(tx, b.ID, key)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("s3: read object: %w", err)
	}
	return o, nil
}

// putObjectRow stores o in place of old (nil: there was none).
func (s *Service) putObjectRow(tx *store.Tx, b *bucketState, old, o *objectRow) error {
	if old != nil {
		if err := s.discard(tx, old.Segments); err != nil {
			return err
		}
	}
	for i := range o.Segments {
		if err := segments.Put(tx, struct{}{}, o.Segments[i].ID.String()); err != nil {
			return err
		}
	}
	return objects.Put(tx, *o, b.ID, o.Key)
}

// discard turns segments into garbage, in the transaction that drops the last
// row that names them.
func (s *Service) discard(tx *store.Tx, list []segmentRow) error {
	for i := range list {
		g := garbageRow{ID: list[i].ID, Due: s.cfg.Now().Add(readerGrace).UnixMicro()}
		if err := garbage.Put(tx, g, g.name(), g.ID.String()); err != nil {
			return err
		}
	}
	return nil
}

// partName is a part number as it stands in a key.
func partName(n int32) string {
	text := strconv.Itoa(int(n))
	return "00000"[:max(0, 5-len(text))] + text
}
