package iam

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/internal/envelope"
)

// defaultItems is the page size when a request names none.
const defaultItems = 100

// listing is one list request: what it lists, and where it goes on.
type listing struct {
	name     string // operation and what else a marker must match
	marker   *string
	maxItems *int32
}

// markerPrefix binds a marker to its list.
func (l *listing) markerPrefix() []byte {
	sum := sha256.Sum256([]byte(l.name))
	return sum[:8]
}

// page sorts items by key, which is unique and at most 150 bytes, and returns
// the part that the request asks for. A marker is sealed: it holds the key of
// the last item, and is good for the same list of the same account only.
func page[T any](ctx context.Context, s *Service, l listing, items []T, key func(T) string) ([]T, *bool, *string, error) {
	slices.SortFunc(items, func(a, b T) int { return strings.Compare(key(a), key(b)) })
	account := accountOf(ctx)
	if l.marker != nil {
		t, err := s.keyring.OpenToken(envelope.PageToken, *l.marker, s.now())
		last, ours := strings.CutPrefix(string(t.Payload), string(l.markerPrefix()))
		if err != nil || t.Account != account || !ours {
			return nil, nil, nil, iamapi.ValidationError("Invalid Marker.")
		}
		i, found := slices.BinarySearchFunc(items, last, func(item T, last string) int { return strings.Compare(key(item), last) })
		if found {
			i++
		}
		items = items[i:]
	}
	limit := defaultItems
	if l.maxItems != nil && *l.maxItems > 0 {
		limit = int(*l.maxItems)
	}
	if len(items) <= limit {
		return items, new(false), nil, nil
	}
	items = items[:limit]
	marker, err := s.keyring.SealToken(envelope.PageToken, envelope.Token{
		Account: account, Payload: append(l.markerPrefix(), key(items[limit-1])...),
	})
	if err != nil {
		return nil, nil, nil, err
	}
	return items, new(true), &marker, nil
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
