package kms

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/audit"
)

// Maintain erases the material of keys whose window has passed, and imported
// material that was deleted or has expired, and rotates keys that are due, once at
// the start and then every interval, and connects external key stores when told,
// until ctx ends. What comes due while erasures rest waits for the next one: see
// eraseRest.
func (s *Service) Maintain(ctx context.Context, interval time.Duration, log *slog.Logger) {
	var connections sync.WaitGroup
	connections.Go(func() { s.connectStores(ctx, interval, log) })
	defer connections.Wait()
	if err := s.warnErased(ctx, log); err != nil && ctx.Err() == nil {
		log.Error("reading keys failed", "error", err)
	}
	for {
		if err := s.maintainOnce(ctx); err != nil && ctx.Err() == nil {
			log.Error("key maintenance failed; it is tried again", "error", err)
		}
		t := time.NewTimer(interval)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

func (s *Service) maintainOnce(ctx context.Context) error {
	err := errors.Join(s.applyDueChanges(ctx), s.rotateDue(ctx), s.rewrapImports(ctx), s.eraseRested(ctx))
	s.forgetStale()
	return err
}

// event is the record of what KMS itself did to a key.
func (s *Service) event(name string, k *keyRow) audit.Event {
	return audit.Event{
		Source: kmsapi.Service.EventSource, Name: name, Region: k.Region, Account: k.Account, Time: s.cfg.Now(), ID: newID(false),
		Details:   map[string]any{"keyId": k.arn()},
		Resources: []audit.Resource{{AccountID: k.Account, Type: resourceType, ARN: k.arn()}},
	}
}
