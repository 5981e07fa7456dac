package s3

import (
	"context"
	"strconv"
	"time"

	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

// maxDeletes is the most keys of one DeleteObjects.
const maxDeletes = 1000

func (s *Service) deleteObjectChecks(ctx context.Context, in *s3api.DeleteObjectInput) ([]protocol.Check, error) {
	b, err := s.locate(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	c := objectCheck(b, deleteAction(in.VersionId), in.Key)
	setOptional(c.Context, "s3:if-match", in.IfMatch)
	return []protocol.Check{c}, nil
}

func deleteAction(version *string) string {
	if version != nil && *version != "" {
		return "s3:DeleteObjectVersion"
	}
	return "s3:DeleteObject"
}

// DeleteObject removes an object; one that is not there is no error.
//
// Errors: PreconditionFailed, and NoSuchKey with If-Match.
func (s *Service) DeleteObject(ctx context.Context, in *s3api.DeleteObjectInput) (*s3api.DeleteObjectOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	if err := checkKey(in.Key); err != nil {
		return nil, err
	}
	if err := checkVersion(in.VersionId); err != nil {
		return nil, err
	}
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if err := stillThere(tx, b); err != nil {
			return err
		}
		return s.remove(tx, b, in.Key, deletion{etag: in.IfMatch, size: in.IfMatchSize, modified: in.IfMatchLastModifiedTime})
	})
	if err != nil {
		return nil, err
	}
	return &s3api.DeleteObjectOutput{}, nil
}

// deletion holds what a delete expects of the object.
type deletion struct {
	etag     *string
	size     *int64
	modified *time.Time
}

// remove deletes one object in tx.
func (s *Service) remove(tx *store.Tx, b *bucketState, key string, want deletion) error {
	o, err := getObject(tx, b.ID, key)
	if err != nil {
		return err
	}
	if o == nil {
		if want.etag != nil {
			return noSuchKey(key)
		}
		return nil
	}
	switch {
	case want.etag != nil && !etagMatches(*want.etag, o.ETag):
		return preconditionFailed("If-Match")
	case want.size != nil && *want.size != o.Size:
		return preconditionFailed("x-amz-if-match-size")
	case want.modified != nil && !want.modified.Equal(o.Modified.Truncate(time.Second)):
		return preconditionFailed("x-amz-if-match-last-modified-time")
	}
	if err := s.discard(tx, o.Segments); err != nil {
		return err
	}
	return objects.Delete(tx, b.ID, key)
}

// deleteObjectsChecks asks nothing of the whole request: each key is a question
// of its own, which DeleteObjects puts, and the answer tells key by key.
func (s *Service) deleteObjectsChecks(ctx context.Context, in *s3api.DeleteObjectsInput) ([]protocol.Check, error) {
	_, err := s.locate(ctx, in.Bucket, in.ExpectedBucketOwner)
	return nil, err
}

// DeleteObjects removes up to 1,000 objects in one commit. What may not be
// deleted is told key by key.
//
// Errors: MalformedXML.
func (s *Service) DeleteObjects(ctx context.Context, in *s3api.DeleteObjectsInput) (*s3api.DeleteObjectsOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	if in.Delete == nil || len(in.Delete.Objects) == 0 || len(in.Delete.Objects) > maxDeletes {
		return nil, malformedXML()
	}
	refused := make([]error, len(in.Delete.Objects))
	for i := range in.Delete.Objects {
		refused[i] = s.mayDelete(ctx, b, &in.Delete.Objects[i])
	}
	var out *s3api.DeleteObjectsOutput
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if err := stillThere(tx, b); err != nil {
			return err
		}
		out = &s3api.DeleteObjectsOutput{}
		for i := range in.Delete.Objects {
			if err := s.deleteOne(tx, b, &in.Delete.Objects[i], refused[i], in.Delete.Quiet != nil && *in.Delete.Quiet, out); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

func (s *Service) mayDelete(ctx context.Context, b *bucketState, o *s3api.ObjectIdentifier) error {
	if err := checkKey(o.Key); err != nil {
		return err
	}
	c := objectCheck(b, deleteAction(o.VersionId), o.Key)
	setOptional(c.Context, "s3:if-match", o.ETag)
	if err := s.cfg.Authorizer.Authorize(ctx, s3api.Service, &c); err != nil {
		return err
	}
	if o.VersionId != nil && *o.VersionId != "" && *o.VersionId != "null" {
		return s3api.NoSuchVersion("The specified version does not exist.")
	}
	return nil
}

// deleteOne deletes a key that is not refused, and reports about it. What it
// returns is no answer about this key: the whole request fails.
func (s *Service) deleteOne(tx *store.Tx, b *bucketState, o *s3api.ObjectIdentifier, refused error, quiet bool, out *s3api.DeleteObjectsOutput) error {
	err := refused
	if err == nil {
		err = s.remove(tx, b, o.Key, deletion{etag: o.ETag, size: o.Size, modified: o.LastModifiedTime})
	}
	if err != nil {
		e := schema.AsError(err)
		if e.Status >= 500 {
			return err
		}
		out.Errors = append(out.Errors, s3api.Error{Key: new(o.Key), VersionId: o.VersionId, Code: new(e.Code), Message: new(e.Message)})
		return nil
	}
	if !quiet {
		out.Deleted = append(out.Deleted, s3api.DeletedObject{Key: new(o.Key), VersionId: o.VersionId})
	}
	return nil
}

// count is a number as an error field shows it.
func count(n int64) string { return strconv.FormatInt(n, 10) }
