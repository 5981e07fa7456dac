package organizations

import (
	"bytes"
	"context"
	"crypto/sha256"
	"time"

	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/store"
)

// maxResults is the largest page, and the one of requests that ask for none.
const maxResults = 20

// tokenLife is how long a NextToken can be used.
const tokenLife = 24 * time.Hour

// listing is one list request: what it lists, and where it goes on.
type listing struct {
	name  string // operation and what else a token must match
	token *string
	max   *int32
}

func (l *listing) question() []byte {
	sum := sha256.Sum256([]byte(l.name))
	return sum[:16]
}

// stage is one part of a list: it hands the items of one page on and returns
// where the part goes on, nil at its end.
type stage[T any] func(tx *store.Tx, opt store.ScanOptions, add func(T)) (next []byte, err error)

// rows is the part of a list that comes from the rows below an index key, of
// the table itself when index is "". shape drops a row by returning false.
func rows[R, T any](t *store.Table[R], index string, key store.Key, shape func(*store.Tx, *R) (T, bool, error)) stage[T] {
	return func(tx *store.Tx, opt store.ScanOptions, add func(T)) ([]byte, error) {
		p, err := t.Page(tx, key, opt)
		if index != "" {
			p, err = t.PageByIndex(tx, index, key, opt)
		}
		if err != nil {
			return nil, err
		}
		for i := range p.Values {
			v, ok, err := shape(tx, &p.Values[i])
			if err != nil {
				return nil, err
			}
			if ok {
				add(v)
			}
		}
		return p.Next, nil
	}
}

// fixed is a part of a list that is no rows: one item at most.
func fixed[T any](item *T) stage[T] {
	return func(_ *store.Tx, _ store.ScanOptions, add func(T)) ([]byte, error) {
		if item != nil {
			add(*item)
		}
		return nil, nil
	}
}

// list returns a page of the parts one after the other, and the token of the
// next page. Tokens are sealed and good for the same list of the same account
// for a day.
//
// Errors: InvalidInputException, INVALID_NEXT_TOKEN.
func list[T any](ctx context.Context, s *Service, tx *store.Tx, l listing, parts ...stage[T]) ([]T, *string, error) {
	limit := maxResults
	if l.max != nil {
		limit = min(maxResults, max(1, int(*l.max)))
	}
	part, after, err := s.openToken(ctx, &l, len(parts))
	if err != nil {
		return nil, nil, err
	}
	out := make([]T, 0, limit)
	for part < len(parts) && len(out) < limit {
		after, err = parts[part](tx, store.ScanOptions{After: after, Limit: limit - len(out)}, func(v T) { out = append(out, v) })
		if err != nil {
			return nil, nil, err
		}
		if after == nil {
			part++
		}
	}
	if part == len(parts) {
		return out, nil, nil
	}
	token, err := s.cfg.Keyring.SealToken(envelope.PageToken, envelope.Token{
		Account: accountOf(ctx), Expires: s.cfg.Now().Add(tokenLife), Payload: append(append(l.question(), byte(part)), after...),
	})
	if err != nil {
		return nil, nil, err
	}
	return out, &token, nil
}

func (s *Service) openToken(ctx context.Context, l *listing, parts int) (part int, after []byte, err error) {
	if l.token == nil {
		return 0, nil, nil
	}
	t, err := s.cfg.Keyring.OpenToken(envelope.PageToken, *l.token, s.cfg.Now())
	rest, ours := bytes.CutPrefix(t.Payload, l.question())
	if err != nil || t.Account != accountOf(ctx) || !ours || len(rest) == 0 || int(rest[0]) >= parts {
		return 0, nil, invalid("INVALID_NEXT_TOKEN", "The NextToken is not valid for this request.")
	}
	if len(rest) > 1 {
		after = rest[1:]
	}
	return int(rest[0]), after, nil
}
