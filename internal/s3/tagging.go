package s3

import (
	"context"

	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/internal/protocol"
)

func (s *Service) getTaggingChecks(ctx context.Context, in *s3api.GetObjectTaggingInput) ([]protocol.Check, error) {
	return s.readChecks(ctx, "s3:GetObjectTagging", in.Bucket, in.Key, in.ExpectedBucketOwner)
}

// GetObjectTagging returns the tags that an object was written with. It uses no
// key: tags are no content.
//
// Errors: NoSuchKey (AccessDenied for callers who may not list), InvalidArgument.
//
// Source: S3 API Reference, GetObjectTagging.
func (s *Service) GetObjectTagging(ctx context.Context, in *s3api.GetObjectTaggingInput) (*s3api.GetObjectTaggingOutput, error) {
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
	o, err := s.readObject(ctx, b, in.Key)
	if err != nil {
		return nil, err
	}
	if o == nil {
		return nil, s.missing(ctx, b, in.Key)
	}
	out := &s3api.GetObjectTaggingOutput{TagSet: make([]s3api.Tag, 0, len(o.Headers.Tags))}
	for _, t := range o.Headers.Tags {
		out.TagSet = append(out.TagSet, s3api.Tag{Key: t.Key, Value: t.Value})
	}
	return out, nil
}
