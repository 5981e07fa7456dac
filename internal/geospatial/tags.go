package geospatial

import (
	"context"
	"maps"
	"strings"
	"unicode/utf8"

	geoapi "github.com/sagekeep/sagekeep/api/geospatial"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/store"
)

// Limits of tags. Source: AWS General Reference, "Tagging AWS resources".
const (
	maxTags     = 50
	maxTagKey   = 128 // characters
	maxTagValue = 256
)

// addTags puts tags into have, which may be nil, and returns it.
//
// Errors: ValidationException.
func addTags(have, tags map[string]string) (map[string]string, error) {
	out := maps.Clone(have)
	if out == nil {
		out = map[string]string{}
	}
	for name, value := range tags {
		switch {
		case name == "" || utf8.RuneCountInString(name) > maxTagKey || utf8.RuneCountInString(value) > maxTagValue:
			return nil, geoapi.ValidationException("Tag keys have 1 to %d characters, tag values up to %d.", maxTagKey, maxTagValue)
		case strings.HasPrefix(strings.ToLower(name), "aws:"):
			return nil, geoapi.ValidationException("Tag keys beginning with aws: are reserved.")
		}
		out[name] = value
	}
	if len(out) > maxTags {
		return nil, geoapi.ValidationException("The resource would have %d tags, the limit is %d.", len(out), maxTags)
	}
	return out, nil
}

// changeTags rewrites the tags of a job or a collection.
func (s *Service) changeTags(ctx context.Context, arn string, change func(map[string]string) (map[string]string, error)) error {
	r, kind := parseARN(arn)
	return s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if kind == collectionResource {
			c, err := s.ownCollection(ctx, tx, arn)
			if err != nil {
				return err
			}
			if c.Tags, err = change(c.Tags); err != nil {
				return err
			}
			return collections.Put(tx, c, r.key()...)
		}
		job, err := s.ownJob(ctx, tx, arn)
		if err != nil {
			return err
		}
		if job.Tags, err = change(job.Tags); err != nil {
			return err
		}
		return putJob(tx, job)
	})
}

// TagResource adds tags to a job or a collection, or replaces their values.
//
// Errors: ResourceNotFoundException, ValidationException.
func (s *Service) TagResource(ctx context.Context, in *geoapi.TagResourceInput) (*geoapi.TagResourceOutput, error) {
	err := s.changeTags(ctx, in.ResourceArn, func(have map[string]string) (map[string]string, error) {
		return addTags(have, in.Tags)
	})
	if err != nil {
		return nil, err
	}
	return &geoapi.TagResourceOutput{}, nil
}

// UntagResource removes tags; names that are not there are ignored.
//
// Errors: ResourceNotFoundException.
func (s *Service) UntagResource(ctx context.Context, in *geoapi.UntagResourceInput) (*geoapi.UntagResourceOutput, error) {
	err := s.changeTags(ctx, in.ResourceArn, func(have map[string]string) (map[string]string, error) {
		out := maps.Clone(have)
		for _, name := range in.TagKeys {
			delete(out, name)
		}
		return out, nil
	})
	if err != nil {
		return nil, err
	}
	return &geoapi.UntagResourceOutput{}, nil
}

// ListTagsForResource returns the tags of a job or a collection.
//
// Errors: ResourceNotFoundException.
func (s *Service) ListTagsForResource(ctx context.Context, in *geoapi.ListTagsForResourceInput) (*geoapi.ListTagsForResourceOutput, error) {
	out := &geoapi.ListTagsForResourceOutput{Tags: map[string]string{}}
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		if _, kind := parseARN(in.ResourceArn); kind == collectionResource {
			c, err := s.ownCollection(ctx, tx, in.ResourceArn)
			maps.Copy(out.Tags, c.Tags)
			return err
		}
		job, err := s.ownJob(ctx, tx, in.ResourceArn)
		maps.Copy(out.Tags, job.Tags)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// ownJob reads a job named by a caller: of its account, in the call's region.
func (s *Service) ownJob(ctx context.Context, tx *store.Tx, arn string) (jobRow, error) {
	r, err := refOf(ctx, arn, jobResource)
	if err != nil {
		return jobRow{}, err
	}
	return readJob(tx, r)
}

// ownCollection reads a collection named by a caller.
func (s *Service) ownCollection(ctx context.Context, tx *store.Tx, arn string) (collectionRow, error) {
	r, err := refOf(ctx, arn, collectionResource)
	if err != nil {
		return collectionRow{}, err
	}
	return readCollection(tx, r)
}

// place is where a call acts.
func place(ctx context.Context) (region, account string) {
	c := identity.From(ctx)
	return c.Region, c.Caller.Account
}
