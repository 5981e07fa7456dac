package kms

import (
	"context"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/store"
)

// maxTags is the quota of tags on one key.
const maxTags = 50

// tagConditions sets the condition keys of the tags in a request.
func tagConditions(c authz.Context, tags []kmsapi.Tag) {
	if len(tags) == 0 {
		return
	}
	var names []string
	for _, t := range tags {
		c.Set("aws:RequestTag/"+t.TagKey, t.TagValue)
		names = append(names, t.TagKey)
	}
	c.SetMulti("aws:TagKeys", names...)
}

// addTags puts tags into have. Keys that differ only in case are refused: the
// condition key aws:ResourceTag/NAME could not tell them apart.
//
// Errors: TagException for doubled or reserved keys and for too many.
func addTags(have map[string]string, tags []kmsapi.Tag) error {
	seen := map[string]bool{}
	for _, t := range tags {
		switch {
		case seen[t.TagKey]:
			return kmsapi.TagException("Duplicate tag keys")
		case strings.HasPrefix(strings.ToLower(t.TagKey), "aws:"):
			return kmsapi.TagException("Tags beginning with aws: are reserved")
		case !utf8.ValidString(t.TagKey) || !utf8.ValidString(t.TagValue):
			return kmsapi.TagException("Tags must be valid text")
		}
		for name := range have {
			if name != t.TagKey && strings.EqualFold(name, t.TagKey) {
				return kmsapi.TagException("The tag key %s differs from another one of the key only in case", t.TagKey)
			}
		}
		seen[t.TagKey] = true
		have[t.TagKey] = t.TagValue
	}
	if len(have) > maxTags {
		return kmsapi.TagException("Too many tags")
	}
	return nil
}

func tagCall(in *kmsapi.TagResourceInput) call {
	return call{key: &in.KeyId, set: func(c authz.Context) { tagConditions(c, in.Tags) }}
}

func untagCall(in *kmsapi.UntagResourceInput) call {
	return call{key: &in.KeyId, set: func(c authz.Context) { c.SetMulti("aws:TagKeys", in.TagKeys...) }}
}

// TagResource adds tags to a key, or replaces their values.
func (s *Service) TagResource(ctx context.Context, in *kmsapi.TagResourceInput) (*schemaNothing, error) {
	return nil, s.update(ctx, in.KeyId, func(_ *store.Tx, k *keyRow) error {
		if err := taggable(k); err != nil {
			return err
		}
		if k.Tags == nil {
			k.Tags = map[string]string{}
		}
		respondKey(ctx, k)
		return addTags(k.Tags, in.Tags)
	})
}

func taggable(k *keyRow) error {
	if err := customerManaged(k); err != nil {
		return err
	}
	return kept(k)
}

// UntagResource removes tags; names that are not there are ignored.
func (s *Service) UntagResource(ctx context.Context, in *kmsapi.UntagResourceInput) (*schemaNothing, error) {
	return nil, s.update(ctx, in.KeyId, func(_ *store.Tx, k *keyRow) error {
		if err := taggable(k); err != nil {
			return err
		}
		for _, name := range in.TagKeys {
			delete(k.Tags, name)
		}
		respondKey(ctx, k)
		return nil
	})
}

// ListResourceTags lists a key's tags by name.
func (s *Service) ListResourceTags(ctx context.Context, in *kmsapi.ListResourceTagsInput) (*kmsapi.ListResourceTagsOutput, error) {
	k, _, err := s.resolve(ctx, in.KeyId, byKey)
	if err != nil {
		return nil, err
	}
	p, err := s.page(ctx, "ListResourceTags", k.ID, in.Limit, in.Marker, 50, 50)
	if err != nil {
		return nil, err
	}
	names := slices.Sorted(maps.Keys(k.Tags))
	from, found := slices.BinarySearch(names, string(p.options.After))
	if found {
		from++
	}
	if p.options.After == nil {
		from = 0
	}
	out := &kmsapi.ListResourceTagsOutput{Tags: []kmsapi.Tag{}}
	var last []byte
	for _, name := range names[from:] {
		if len(out.Tags) == p.options.Limit {
			last = []byte(out.Tags[len(out.Tags)-1].TagKey)
			break
		}
		out.Tags = append(out.Tags, kmsapi.Tag{TagKey: name, TagValue: k.Tags[name]})
	}
	out.NextMarker, out.Truncated, err = p.next(last)
	if err != nil {
		return nil, err
	}
	return out, nil
}
