package kms

import (
	"context"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/store"
)

// schemaNothing is the output of operations that return nothing.
type schemaNothing = schema.Nothing

// pager is one page of a list: where it starts, and how its successor is named.
type pager struct {
	s         *Service
	operation string
	account   string
	region    string
	options   store.ScanOptions
}

// page reads Limit and Marker. A marker is a sealed cursor, so it names no row
// in the clear and survives concurrent changes.
//
// Errors: ValidationException, InvalidMarkerException.
func (s *Service) page(ctx context.Context, operation string, limit *int32, marker *string, most, usual int32) (*pager, error) {
	c := identity.From(ctx)
	p := &pager{s: s, operation: operation, account: c.Caller.Account, region: c.Region, options: store.ScanOptions{Limit: int(usual)}}
	if limit != nil {
		if *limit < 1 || *limit > most {
			return nil, kmsapi.ValidationException("1 validation error detected: Value '%d' at 'limit' failed to satisfy constraint: Member must have value less than or equal to %d", *limit, most)
		}
		p.options.Limit = int(*limit)
	}
	if marker != nil {
		t, err := s.Keyring.OpenToken(envelope.PageToken, *marker, s.Now())
		if err != nil || t.Account != p.account || t.Region != p.region || len(t.Payload) < len(operation)+1 ||
			string(t.Payload[:len(operation)+1]) != operation+"|" {
			return nil, kmsapi.InvalidMarkerException("Could not deserialize marker '%s'", *marker)
		}
		p.options.After = t.Payload[len(operation)+1:]
	}
	return p, nil
}

// next returns NextMarker and Truncated.
func (p *pager) next(cursor []byte) (*string, *bool, error) {
	if cursor == nil {
		return nil, new(false), nil
	}
	text, err := p.s.Keyring.SealToken(envelope.PageToken, envelope.Token{
		Account: p.account, Region: p.region, Expires: p.s.Now().Add(24 * time.Hour),
		Payload: append([]byte(p.operation+"|"), cursor...),
	})
	if err != nil {
		return nil, nil, err
	}
	return new(text), new(true), nil
}
