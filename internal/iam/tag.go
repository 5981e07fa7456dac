package iam

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/store"
)

// mergeTags returns have with more on top. Keys differ by more than case.
//
// Errors: InvalidInput for a key that occurs twice or begins with aws:;
// LimitExceeded beyond 50 tags.
func mergeTags(have, more []iamapi.Tag) ([]iamapi.Tag, error) {
	all := slices.Clone(have)
	for i, t := range more {
		same := func(o iamapi.Tag) bool { return strings.EqualFold(o.Key, t.Key) }
		if slices.ContainsFunc(more[:i], same) {
			return nil, iamapi.InvalidInputException("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		if len(t.Key) >= 4 && strings.EqualFold(t.Key[:4], "aws:") {
			return nil, iamapi.InvalidInputException("Tag keys that begin with aws: are reserved for system use.")
		}
		if at := slices.IndexFunc(all, same); at >= 0 {
			all[at] = t
		} else {
			all = append(all, t)
		}
	}
	if len(all) > tagsPerResource {
		return nil, iamapi.LimitExceededException("The number of tags has reached the maximum limit.")
	}
	return all, nil
}

func (s *Service) tag(ctx context.Context, k *kind, name string, tags []iamapi.Tag) error {
	return s.change(ctx, k, name, func(_ *store.Tx, e *entity) (err error) {
		e.Tags, err = mergeTags(e.Tags, tags)
		return err
	})
}

func (s *Service) untag(ctx context.Context, k *kind, name string, keys []string) error {
	return s.change(ctx, k, name, func(_ *store.Tx, e *entity) error {
		e.Tags = slices.DeleteFunc(e.Tags, func(t iamapi.Tag) bool {
			return slices.ContainsFunc(keys, func(key string) bool { return strings.EqualFold(key, t.Key) })
		})
		return nil
	})
}

// listTags lists tags by key. Tag keys can be too long for a marker, which
// holds the place in the list instead.
func (s *Service) listTags(ctx context.Context, k *kind, name string, marker *string, maxItems *int32) ([]iamapi.Tag, *bool, *string, error) {
	e, err := s.read(ctx, k, name)
	if err != nil {
		return nil, nil, nil, err
	}
	slices.SortFunc(e.Tags, func(a, b iamapi.Tag) int { return strings.Compare(a.Key, b.Key) })
	places := make([]string, len(e.Tags))
	for i := range places {
		places[i] = fmt.Sprintf("%02d", i)
	}
	l := listing{name: "ListTags|" + e.ID, marker: marker, maxItems: maxItems}
	places, truncated, next, err := page(ctx, s, l, places, func(p string) string { return p })
	if err != nil {
		return nil, nil, nil, err
	}
	if len(places) == 0 {
		return nil, truncated, next, nil
	}
	first, err := strconv.Atoi(places[0])
	if err != nil {
		return nil, nil, nil, fmt.Errorf("place in a list of tags: %w", err)
	}
	return e.Tags[first : first+len(places)], truncated, next, nil
}

// TagUser adds tags to a user; a key that is there, whatever its case, gets
// the new value.
//
// Errors: NoSuchEntity; InvalidInput; LimitExceeded.
func (s *Service) TagUser(ctx context.Context, in *iamapi.TagUserInput) (*schema.Nothing, error) {
	return nil, s.tag(ctx, s.users, in.UserName, in.Tags)
}

// UntagUser removes tags; a key that is not there is no error. Errors:
// NoSuchEntity.
func (s *Service) UntagUser(ctx context.Context, in *iamapi.UntagUserInput) (*schema.Nothing, error) {
	return nil, s.untag(ctx, s.users, in.UserName, in.TagKeys)
}

// ListUserTags lists a user's tags by key. Errors: NoSuchEntity.
func (s *Service) ListUserTags(ctx context.Context, in *iamapi.ListUserTagsInput) (*iamapi.ListUserTagsOutput, error) {
	tags, truncated, marker, err := s.listTags(ctx, s.users, in.UserName, in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	return &iamapi.ListUserTagsOutput{Tags: tags, IsTruncated: truncated, Marker: marker}, nil
}

// TagRole adds tags to a role, as TagUser does to a user.
//
// Errors: NoSuchEntity; InvalidInput; LimitExceeded.
func (s *Service) TagRole(ctx context.Context, in *iamapi.TagRoleInput) (*schema.Nothing, error) {
	return nil, s.tag(ctx, s.roles, in.RoleName, in.Tags)
}

// UntagRole removes tags of a role. Errors: NoSuchEntity.
func (s *Service) UntagRole(ctx context.Context, in *iamapi.UntagRoleInput) (*schema.Nothing, error) {
	return nil, s.untag(ctx, s.roles, in.RoleName, in.TagKeys)
}

// ListRoleTags lists a role's tags by key. Errors: NoSuchEntity.
func (s *Service) ListRoleTags(ctx context.Context, in *iamapi.ListRoleTagsInput) (*iamapi.ListRoleTagsOutput, error) {
	tags, truncated, marker, err := s.listTags(ctx, s.roles, in.RoleName, in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	return &iamapi.ListRoleTagsOutput{Tags: tags, IsTruncated: truncated, Marker: marker}, nil
}
