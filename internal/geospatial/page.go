package geospatial

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	geoapi "github.com/sagekeep/sagekeep/api/geospatial"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/store"
)

// pager is one page of a list: where it starts, and how its successor is named.
type pager struct {
	s               *Service
	account, region string
	list            []byte // operation and what the list was narrowed by
	options         store.ScanOptions
}

const (
	maxPage     = 20 // MaxResults of the model
	searchPage  = 50
	pageLasts   = 24 * time.Hour
	pageVersion = "page1|"
)

// page reads MaxResults and NextToken. A token is a sealed cursor: it names no
// row in the clear and belongs to one account, region, operation and filter.
//
// Errors: ValidationException.
func (s *Service) page(ctx context.Context, operation string, filter any, limit *int32, usual int, token *string) (*pager, error) {
	p := &pager{s: s, options: store.ScanOptions{Limit: usual}}
	p.region, p.account = place(ctx)
	f, err := json.Marshal(filter)
	if err != nil {
		return nil, fmt.Errorf("geospatial: encode a filter: %w", err)
	}
	sum := sha256.Sum256(f)
	p.list = fmt.Appendf(nil, "%s%s|%x|", pageVersion, operation, sum[:8])
	if limit != nil {
		p.options.Limit = int(*limit)
	}
	if token == nil || *token == "" {
		return p, nil
	}
	t, err := s.cfg.Keyring.OpenToken(envelope.PageToken, *token, s.cfg.Now())
	n := len(p.list)
	if err != nil || t.Account != p.account || t.Region != p.region || len(t.Payload) < n || string(t.Payload[:n]) != string(p.list) {
		return nil, geoapi.ValidationException("NextToken is not valid for this request.")
	}
	p.options.After = t.Payload[n:]
	return p, nil
}

// next returns NextToken; nil when there is no more.
func (p *pager) next(cursor []byte) (*string, error) {
	if cursor == nil {
		return nil, nil
	}
	text, err := p.s.cfg.Keyring.SealToken(envelope.PageToken, envelope.Token{
		Account: p.account, Region: p.region, Expires: p.s.cfg.Now().Add(pageLasts), Payload: append(p.list, cursor...),
	})
	if err != nil {
		return nil, fmt.Errorf("geospatial: seal a page token: %w", err)
	}
	return &text, nil
}
