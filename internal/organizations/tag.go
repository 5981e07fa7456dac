package organizations

import (
	"context"
	"slices"
	"strings"

	orgapi "github.com/sagekeep/sagekeep/api/organizations"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/store"
)

// mergeTags returns have with more on top. Keys are case-sensitive.
//
// Errors: InvalidInputException for a key that occurs twice or begins with
// aws:; ConstraintViolationException beyond 50 tags.
func mergeTags(have, more []orgapi.Tag) ([]orgapi.Tag, error) {
	all := slices.Clone(have)
	for i, t := range more {
		same := func(o orgapi.Tag) bool { return o.Key == t.Key }
		if slices.ContainsFunc(more[:i], same) {
			return nil, invalid("DUPLICATE_TAG_KEY", "Tag keys must be unique among the tags attached to the same entity.")
		}
		if len(t.Key) >= 4 && strings.EqualFold(t.Key[:4], "aws:") {
			return nil, invalid("INVALID_SYSTEM_TAGS_PARAMETER", "You specified a tag key that is a system tag. You can't add, edit, or delete system tag keys because they're reserved for AWS use.")
		}
		if at := slices.IndexFunc(all, same); at >= 0 {
			all[at] = t
		} else {
			all = append(all, t)
		}
	}
	if len(all) > maxTags {
		return nil, violation("MAX_TAG_LIMIT_EXCEEDED", "You have exceeded the number of tags allowed on the resource: %d.", maxTags)
	}
	return all, nil
}

// tagged returns the tags of a root, unit, account or policy, and what stores
// them again.
//
// Errors: TargetNotFoundException.
func (s *Service) tagged(tx *store.Tx, o *organizationRow, id string) (*[]orgapi.Tag, func(*store.Tx) error, error) {
	if !strings.HasPrefix(id, "p-") {
		t, err := s.target(tx, o, id)
		if err != nil {
			return nil, nil, missing(err, "target", noTarget())
		}
		return t.tags, t.put, nil
	}
	p, err := s.policy(tx, o, id)
	if err != nil {
		return nil, nil, missing(err, "policy", noTarget())
	}
	return &p.Tags, func(tx *store.Tx) error {
		if builtin(p.ID) != nil {
			return invalid("IMMUTABLE_POLICY", "You specified a policy that is managed by AWS and can't be modified.")
		}
		return s.policies.Put(tx, *p, o.ID, p.ID)
	}, nil
}

// TagResource adds tags; a key that is there gets the new value.
//
// Errors: TargetNotFoundException; InvalidInputException;
// ConstraintViolationException; AWSOrganizationsNotInUseException;
// AccessDeniedException.
func (s *Service) TagResource(ctx context.Context, in *orgapi.TagResourceInput) (*schema.Nothing, error) {
	return nil, s.change(ctx, func(tx *store.Tx, o *organizationRow) error {
		tags, put, err := s.tagged(tx, o, in.ResourceId)
		if err != nil {
			return err
		}
		if *tags, err = mergeTags(*tags, in.Tags); err != nil {
			return err
		}
		return put(tx)
	})
}

// UntagResource removes tags; a key that is not there is no error.
//
// Errors: TargetNotFoundException; AWSOrganizationsNotInUseException;
// AccessDeniedException.
func (s *Service) UntagResource(ctx context.Context, in *orgapi.UntagResourceInput) (*schema.Nothing, error) {
	return nil, s.change(ctx, func(tx *store.Tx, o *organizationRow) error {
		tags, put, err := s.tagged(tx, o, in.ResourceId)
		if err != nil {
			return err
		}
		*tags = slices.DeleteFunc(*tags, func(t orgapi.Tag) bool { return slices.Contains(in.TagKeys, t.Key) })
		return put(tx)
	})
}

// ListTagsForResource lists the tags of a root, unit, account or policy.
//
// Errors: TargetNotFoundException; AWSOrganizationsNotInUseException;
// AccessDeniedException; InvalidInputException.
func (s *Service) ListTagsForResource(ctx context.Context, in *orgapi.ListTagsForResourceInput) (*orgapi.ListTagsForResourceOutput, error) {
	out := &orgapi.ListTagsForResourceOutput{}
	err := s.read(ctx, func(tx *store.Tx, o *organizationRow) error {
		tags, _, err := s.tagged(tx, o, in.ResourceId)
		if err != nil {
			return err
		}
		parts := make([]stage[orgapi.Tag], len(*tags))
		for i := range *tags {
			parts[i] = fixed(&(*tags)[i])
		}
		l := listing{name: "ListTagsForResource|" + in.ResourceId, token: in.NextToken}
		out.Tags, out.NextToken, err = list(ctx, s, tx, l, parts...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
