package iam

import (
	"context"
	"crypto/sha256"
	"slices"
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
	return s.annotate(ctx, k, name, func(_ *store.Tx, e *entity) (err error) {
		e.Tags, err = mergeTags(e.Tags, tags)
		return err
	})
}

func (s *Service) untag(ctx context.Context, k *kind, name string, keys []string) error {
	return s.annotate(ctx, k, name, func(_ *store.Tx, e *entity) error {
		e.Tags = withoutTags(e.Tags, keys)
		return nil
	})
}

// withoutTags returns tags but those of the keys, whatever their case.
func withoutTags(tags []iamapi.Tag, keys []string) []iamapi.Tag {
	return slices.DeleteFunc(tags, func(t iamapi.Tag) bool {
		return slices.ContainsFunc(keys, func(key string) bool { return strings.EqualFold(key, t.Key) })
	})
}

func (s *Service) listTags(ctx context.Context, k *kind, name string, marker *string, maxItems *int32) ([]iamapi.Tag, *bool, *string, error) {
	e, err := s.read(ctx, k, name)
	if err != nil {
		return nil, nil, nil, err
	}
	return s.pageTags(ctx, e.ID, e.Tags, marker, maxItems)
}

// pageTags lists the tags of what id names by key, whatever their case.
func (s *Service) pageTags(ctx context.Context, id string, tags []iamapi.Tag, marker *string, maxItems *int32) ([]iamapi.Tag, *bool, *string, error) {
	l := listing{name: "ListTags|" + id, marker: marker, maxItems: maxItems}
	return page(ctx, s, l, slices.Clone(tags), tagPlace)
}

// tagPlace sorts tags by key. A key can be too long for a marker: its first
// bytes and a hash of it all stand for it, so that a page goes on behind it
// when tags come and go.
func tagPlace(t iamapi.Tag) string {
	key := strings.ToLower(t.Key)
	sum := sha256.Sum256([]byte(key))
	return key[:min(len(key), 100)] + string(sum[:16])
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

// TagPolicy adds tags to a customer managed policy, as TagUser does to a user.
//
// Errors: NoSuchEntity; InvalidInput; LimitExceeded; AccessDenied for AWS
// managed policies.
func (s *Service) TagPolicy(ctx context.Context, in *iamapi.TagPolicyInput) (*schema.Nothing, error) {
	return nil, s.annotatePolicy(ctx, in.PolicyArn, func(p *policyRow) (err error) {
		p.Tags, err = mergeTags(p.Tags, in.Tags)
		return err
	})
}

// UntagPolicy removes tags of a customer managed policy.
//
// Errors: NoSuchEntity; InvalidInput; AccessDenied for AWS managed policies.
func (s *Service) UntagPolicy(ctx context.Context, in *iamapi.UntagPolicyInput) (*schema.Nothing, error) {
	return nil, s.annotatePolicy(ctx, in.PolicyArn, func(p *policyRow) error {
		p.Tags = withoutTags(p.Tags, in.TagKeys)
		return nil
	})
}

// ListPolicyTags lists a managed policy's tags by key; AWS managed ones have
// none. Errors: NoSuchEntity; InvalidInput.
func (s *Service) ListPolicyTags(ctx context.Context, in *iamapi.ListPolicyTagsInput) (*iamapi.ListPolicyTagsOutput, error) {
	p, err := s.readPolicy(ctx, in.PolicyArn)
	if err != nil {
		return nil, err
	}
	tags, truncated, marker, err := s.pageTags(ctx, p.ID, p.Tags, in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	return &iamapi.ListPolicyTagsOutput{Tags: tags, IsTruncated: truncated, Marker: marker}, nil
}
