package s3

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/secret"
)

// bucketKeyLife is how long a bucket-level key is used before KMS is asked
// again. A change of the key or of IAM ends it at once.
const bucketKeyLife = 5 * time.Minute

// maxBucketKeys bounds the cache of bucket-level keys.
const maxBucketKeys = 4096

// signed refuses to use a KMS key for a request that nobody signed, whatever the
// policies of bucket and key say: a key is used as somebody.
//
// Source: Amazon S3 User Guide, "Using server-side encryption with AWS KMS keys".
func signed(ctx context.Context) error {
	if identity.From(ctx).Caller.Type == identity.Anonymous {
		return s3api.InvalidArgument("Requests specifying Server Side Encryption with AWS KMS managed keys require AWS Signature Version 4.")
	}
	return nil
}

// newDataKey carries out a plan: it returns the object's data key, zero without
// KMS, and the row that finds it again.
//
// Errors: KMS.…, AccessDenied, InvalidArgument.
func (s *Service) newDataKey(ctx context.Context, b *bucketState, key string, p encryptionPlan) (secret.Key, encryptionRow, error) {
	e := p.row
	if !e.kms() {
		return secret.Key{}, e, nil
	}
	if err := signed(ctx); err != nil {
		return secret.Key{}, e, err
	}
	if !e.BucketKey {
		k, out, err := s.generate(ctx, b, p.key, kmsContext(&e, b.objectARN(key)))
		if err != nil {
			return secret.Key{}, e, err
		}
		e.KeyARN, e.Wrapped = *out.KeyId, out.CiphertextBlob
		return k, e, nil
	}
	bk, err := s.bucketKeyForWrite(ctx, b, p.key, &e)
	if err != nil {
		return secret.Key{}, e, err
	}
	e.KeyARN, e.Wrapped = bk.arn, bk.wrapped
	dek := secret.Random()
	e.WrappedDEK, err = sealUnder(bk.key, []byte("s3 bucket key|"+b.ID+"|"+key), dek.Bytes())
	return dek, e, err
}

// dataKey returns the data key of an object or upload, zero without KMS.
//
// Errors: KMS.…, AccessDenied, InvalidArgument.
func (s *Service) dataKey(ctx context.Context, b *bucketState, key string, e *encryptionRow) (secret.Key, error) {
	if !e.kms() {
		return secret.Key{}, nil
	}
	if err := signed(ctx); err != nil {
		return secret.Key{}, err
	}
	if !e.BucketKey {
		return s.decrypt(ctx, b, e, kmsContext(e, b.objectARN(key)))
	}
	bk, err := s.bucketKeyForRead(ctx, b, e)
	if err != nil {
		return secret.Key{}, err
	}
	plain, err := openUnder(bk.key, []byte("s3 bucket key|"+b.ID+"|"+key), e.WrappedDEK)
	if err != nil {
		return secret.Key{}, fmt.Errorf("s3: open the data key of an object: %w", err)
	}
	defer clear(plain)
	return secret.New(plain)
}

// kmsContext is the encryption context of a KMS call.
func kmsContext(e *encryptionRow, arn string) map[string]string {
	m := maps.Clone(e.Context)
	if m == nil {
		m = make(map[string]string, 1)
	}
	m[arnContext] = arn
	return m
}

// asCaller is ctx for a call that S3 forwards for its caller, in the bucket's
// region: the source of a copy may be elsewhere.
func asCaller(ctx context.Context, b *bucketState) context.Context {
	call := *identity.From(ctx)
	call.Caller = call.Caller.Forward(identity.Hop{Service: "s3", Region: b.Region})
	call.Region = b.Region
	return identity.With(ctx, &call)
}

var errDataKey = errors.New("s3: KMS returned no data key")

func (s *Service) generate(ctx context.Context, b *bucketState, key string, ec map[string]string) (secret.Key, *kmsapi.GenerateDataKeyOutput, error) {
	out, err := s.cfg.Keys.GenerateDataKey(asCaller(ctx, b), &kmsapi.GenerateDataKeyInput{
		KeyId: key, KeySpec: kmsapi.DataKeySpecAes256, EncryptionContext: ec,
	})
	if err != nil {
		return secret.Key{}, nil, kmsError(err)
	}
	if out == nil || out.KeyId == nil || len(out.CiphertextBlob) == 0 {
		return secret.Key{}, nil, errDataKey
	}
	defer clear(out.Plaintext)
	k, err := secret.New(out.Plaintext)
	return k, out, err
}

func (s *Service) decrypt(ctx context.Context, b *bucketState, e *encryptionRow, ec map[string]string) (secret.Key, error) {
	out, err := s.cfg.Keys.Decrypt(asCaller(ctx, b), &kmsapi.DecryptInput{
		CiphertextBlob: e.Wrapped, EncryptionContext: ec,
	})
	if err != nil {
		return secret.Key{}, kmsError(err)
	}
	if out == nil || out.KeyId == nil || *out.KeyId != e.KeyARN {
		return secret.Key{}, errDataKey
	}
	defer clear(out.Plaintext)
	return secret.New(out.Plaintext)
}

// bucketKey is a bucket-level key that one requester may use for one purpose.
type bucketKey struct {
	key     secret.Key
	arn     string
	wrapped []byte
	expires time.Time
	// The epochs under which KMS allowed it.
	keyEpoch, iamEpoch uint64
}

// bucketKeyCache keeps bucket-level keys. Whoever may make data keys need not be
// allowed to open them, so the two are cached apart.
type bucketKeyCache struct {
	mu      sync.Mutex
	entries map[[32]byte]*bucketKey
	// arns remembers what a key id or alias stood for, so that the key's epoch
	// can be read before KMS is asked. It decides nothing.
	arns map[[32]byte]string
}

// requester names everything in a request that KMS's decision may rest on:
// whoever differs in any of it asks KMS again.
func requester(ctx context.Context, parts ...string) [32]byte {
	call := identity.From(ctx)
	c := call.Caller
	list := []string{
		string(c.Type), c.Account, c.ARN, c.PrincipalID, c.AccessKeyID, c.RoleID, c.SessionName, c.InvokedBy,
		c.ServiceName, c.SourceARN, c.SourceAccount, c.GrantID, strconv.FormatInt(c.IssuedAt.UnixMicro(), 10),
		call.Region, call.SourceIP, call.UserAgent, call.TLS.Version,
		strings.Join(c.SessionPolicies, "\x00"), mapText(c.SessionTags),
	}
	for _, hop := range c.Via {
		list = append(list, hop.Service, hop.Region)
	}
	list = append(list, "|")
	list = append(list, parts...)
	h := sha256.New()
	var n [8]byte
	for _, p := range list {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	return [32]byte(h.Sum(nil))
}

// mapText is a map as one text; equal maps have equal texts.
func mapText(m map[string]string) string {
	b, err := json.Marshal(m)
	if err != nil {
		return ""
	}
	return string(b)
}

// account is whose IAM decides about the caller.
func callerAccount(ctx context.Context) string {
	c := identity.From(ctx).Caller
	if c.Account == "" {
		return c.SourceAccount
	}
	return c.Account
}

// bucketKeyForWrite returns a bucket-level key for new objects.
func (s *Service) bucketKeyForWrite(ctx context.Context, b *bucketState, keyID string, e *encryptionRow) (*bucketKey, error) {
	id := requester(ctx, "generate", b.ID, keyID, mapText(e.Context))
	name := requester(ctx, "arn", keyID)
	if bk := s.cachedKey(ctx, b, id); bk != nil {
		return bk, nil
	}
	s.bucketKeys.mu.Lock()
	arn := s.bucketKeys.arns[name]
	s.bucketKeys.mu.Unlock()
	if strings.HasPrefix(keyID, "arn:") && strings.Contains(keyID, ":key/") {
		arn = keyID
	}
	epochs := s.epochs(ctx, b, arn)
	k, out, err := s.generate(ctx, b, keyID, kmsContext(e, b.arn()))
	if err != nil {
		return nil, err
	}
	bk := &bucketKey{key: k, arn: *out.KeyId, wrapped: out.CiphertextBlob}
	if arn == bk.arn {
		s.keepKey(id, bk, epochs)
		return bk, nil
	}
	// The epoch that was read is another key's: the next request keeps its key.
	s.bucketKeys.mu.Lock()
	defer s.bucketKeys.mu.Unlock()
	if len(s.bucketKeys.arns) >= maxBucketKeys {
		clear(s.bucketKeys.arns)
	}
	s.bucketKeys.arns[name] = bk.arn
	return bk, nil
}

// bucketKeyForRead opens the bucket-level key of an object.
func (s *Service) bucketKeyForRead(ctx context.Context, b *bucketState, e *encryptionRow) (*bucketKey, error) {
	id := requester(ctx, "decrypt", b.ID, e.KeyARN, mapText(e.Context), string(e.Wrapped))
	if bk := s.cachedKey(ctx, b, id); bk != nil {
		return bk, nil
	}
	epochs := s.epochs(ctx, b, e.KeyARN)
	k, err := s.decrypt(ctx, b, e, kmsContext(e, b.arn()))
	if err != nil {
		return nil, err
	}
	bk := &bucketKey{key: k, arn: e.KeyARN, wrapped: e.Wrapped}
	s.keepKey(id, bk, epochs)
	return bk, nil
}

// epochPair is read before KMS is asked: what is bumped later makes the entry
// stale.
type epochPair struct{ key, iam uint64 }

func (s *Service) epochs(ctx context.Context, b *bucketState, arn string) epochPair {
	if s.cfg.KeyEpoch == nil || s.cfg.IAMEpoch == nil || arn == "" {
		return epochPair{}
	}
	return epochPair{key: s.cfg.KeyEpoch(b.Region, arn), iam: s.cfg.IAMEpoch(callerAccount(ctx))}
}

func (s *Service) cachedKey(ctx context.Context, b *bucketState, id [32]byte) *bucketKey {
	s.bucketKeys.mu.Lock()
	bk := s.bucketKeys.entries[id]
	s.bucketKeys.mu.Unlock()
	if bk == nil {
		return nil
	}
	if s.cfg.Now().Before(bk.expires) && s.epochs(ctx, b, bk.arn) == (epochPair{bk.keyEpoch, bk.iamEpoch}) {
		return bk
	}
	s.bucketKeys.mu.Lock()
	defer s.bucketKeys.mu.Unlock()
	if s.bucketKeys.entries[id] == bk {
		delete(s.bucketKeys.entries, id)
	}
	return nil
}

func (s *Service) keepKey(id [32]byte, bk *bucketKey, at epochPair) {
	if s.cfg.KeyEpoch == nil || s.cfg.IAMEpoch == nil {
		return
	}
	bk.expires, bk.keyEpoch, bk.iamEpoch = s.cfg.Now().Add(bucketKeyLife), at.key, at.iam
	s.bucketKeys.mu.Lock()
	defer s.bucketKeys.mu.Unlock()
	if len(s.bucketKeys.entries) >= maxBucketKeys {
		clear(s.bucketKeys.entries)
	}
	s.bucketKeys.entries[id] = bk
}

// sealUnder encrypts p under a data key, bound to aad.
func sealUnder(k secret.Key, aad, p []byte) ([]byte, error) {
	a, err := newGCM(k)
	if err != nil {
		return nil, err
	}
	return a.Seal(nil, nil, p, aad), nil
}

// openUnder reverses sealUnder into a fresh slice.
func openUnder(k secret.Key, aad, sealed []byte) ([]byte, error) {
	a, err := newGCM(k)
	if err != nil {
		return nil, err
	}
	p, err := a.Open(nil, nil, sealed, aad)
	if err != nil {
		return nil, fmt.Errorf("s3: what is sealed under a data key does not open: %w", err)
	}
	return p, nil
}

func newGCM(k secret.Key) (cipher.AEAD, error) {
	b, err := aes.NewCipher(k.Bytes())
	if err != nil {
		return nil, fmt.Errorf("s3: AES: %w", err)
	}
	a, err := cipher.NewGCMWithRandomNonce(b)
	if err != nil {
		return nil, fmt.Errorf("s3: GCM: %w", err)
	}
	return a, nil
}
