package kms

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
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
	s        *Service
	question [sha256.Size]byte // operation and arguments: a marker continues no other list
	account  string
	region   string
	options  store.ScanOptions
}

// page reads Limit and Marker. A marker is a sealed cursor, so it names no row
// in the clear and survives concurrent changes.
//
// Errors: ValidationException, InvalidMarkerException.
func (s *Service) page(ctx context.Context, operation, arguments string, limit *int32, marker *string, most, usual int32) (*pager, error) {
	c := identity.From(ctx)
	p := &pager{s: s, question: sha256.Sum256([]byte(operation + "\x00" + arguments)), account: callerAccount(ctx), region: c.Region, options: store.ScanOptions{Limit: int(usual)}}
	if limit != nil {
		if *limit < 1 || *limit > most {
			bound := "greater than or equal to 1"
			if *limit > most {
				bound = fmt.Sprintf("less than or equal to %d", most)
			}
			return nil, kmsapi.ValidationException("1 validation error detected: Value '%d' at 'limit' failed to satisfy constraint: Member must have value %s", *limit, bound)
		}
		p.options.Limit = int(*limit)
	}
	if marker != nil {
		t, err := s.cfg.Keyring.OpenToken(envelope.PageToken, *marker, s.cfg.Now())
		if err != nil || t.Account != p.account || t.Region != p.region || !bytes.HasPrefix(t.Payload, p.question[:]) {
			return nil, kmsapi.InvalidMarkerException("Could not deserialize marker '%s'", *marker)
		}
		p.options.After = t.Payload[len(p.question):]
	}
	return p, nil
}

// next returns NextMarker and Truncated.
func (p *pager) next(cursor []byte) (*string, *bool, error) {
	if cursor == nil {
		return nil, new(false), nil
	}
	text, err := p.s.cfg.Keyring.SealToken(envelope.PageToken, envelope.Token{
		Account: p.account, Region: p.region, Expires: p.s.cfg.Now().Add(24 * time.Hour),
		Payload: append(p.question[:], cursor...),
	})
	if err != nil {
		return nil, nil, err
	}
	return new(text), new(true), nil
}
