package kms

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/store"
	"github.com/sagekeep/sagekeep/internal/xks"
)

// ConnectCustomKeyStore begins to connect a store and does not wait for it. What
// came of it stands in DescribeCustomKeyStores: CONNECTED, or FAILED with a code.
// A store that is connected or connecting stays what it is.
//
// Errors: CustomKeyStoreNotFoundException; CustomKeyStoreInvalidStateException
// for one that has failed, which must be disconnected first.
//
// Source: AWS KMS API Reference, ConnectCustomKeyStore.
func (s *Service) ConnectCustomKeyStore(ctx context.Context, in *kmsapi.ConnectCustomKeyStoreInput) (*kmsapi.ConnectCustomKeyStoreOutput, error) {
	err := s.updateKeyStore(ctx, in.CustomKeyStoreId, func(_ *store.Tx, k *keyStoreRow) error {
		switch k.State {
		case kmsapi.ConnectionStateTypeDisconnecting, kmsapi.ConnectionStateTypeFailed:
			return storeState(k, "Disconnect the custom key store before you connect it again.")
		case kmsapi.ConnectionStateTypeDisconnected:
			k.State, k.ErrorCode, k.Attempt = kmsapi.ConnectionStateTypeConnecting, "", requestID(ctx)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	select {
	case s.connecting <- struct{}{}:
	default: // whoever connects has been told already
	}
	return &kmsapi.ConnectCustomKeyStoreOutput{}, nil
}

// requestID is the id of the call, a fresh one for calls that have none.
func requestID(ctx context.Context) string {
	if id := identity.From(ctx).RequestID; id != "" {
		return id
	}
	return newID(false)
}

// DisconnectCustomKeyStore makes a store DISCONNECTED: nothing is sent to its
// proxy by a request that starts after the answer. Its keys are Unavailable.
//
// Errors: CustomKeyStoreNotFoundException; CustomKeyStoreInvalidStateException
// for one that is disconnected.
func (s *Service) DisconnectCustomKeyStore(ctx context.Context, in *kmsapi.DisconnectCustomKeyStoreInput) (*kmsapi.DisconnectCustomKeyStoreOutput, error) {
	err := s.updateKeyStore(ctx, in.CustomKeyStoreId, func(_ *store.Tx, k *keyStoreRow) error {
		if k.State == kmsapi.ConnectionStateTypeDisconnected || k.State == kmsapi.ConnectionStateTypeDisconnecting {
			return storeState(k, "It is not connected.")
		}
		k.State, k.ErrorCode, k.Attempt = kmsapi.ConnectionStateTypeDisconnected, "", ""
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &kmsapi.DisconnectCustomKeyStoreOutput{}, nil
}

// connectStores connects the stores that wait for it, at the start, when told and
// every interval, until ctx ends. A connection that another node or an earlier
// process has begun is carried on.
func (s *Service) connectStores(ctx context.Context, interval time.Duration, log *slog.Logger) {
	for {
		if err := s.connectPending(ctx, log); err != nil && ctx.Err() == nil {
			log.Error("external key stores wait for their connection; it is tried again", "error", err)
		}
		t := time.NewTimer(interval)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-s.connecting:
			t.Stop()
		case <-t.C:
		}
	}
}

// connectsAtOnce bounds the proxies that are asked at one time, so that one that
// does not answer holds up no other.
const connectsAtOnce = 8

// connectPending asks the proxies of all stores that are CONNECTING.
func (s *Service) connectPending(ctx context.Context, log *slog.Logger) error {
	var pending []keyStoreRow
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		pending = nil
		for row, err := range keyStores.ByIndex(tx, "connecting", store.Key{"connecting"}, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			pending = append(pending, row.Value)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read key stores: %w", err)
	}
	var (
		wg     sync.WaitGroup
		places = make(chan struct{}, connectsAtOnce)
		failed = make([]error, len(pending))
	)
	for i := range pending {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			failed[i] = s.connect(ctx, &pending[i], log)
		})
	}
	wg.Wait()
	for _, err := range failed {
		if err != nil {
			return err
		}
	}
	return nil
}

// connect asks a store's proxy for its health and keeps what came of it.
func (s *Service) connect(ctx context.Context, k *keyStoreRow, log *slog.Logger) error {
	h, err := s.cfg.Proxies.Health(ctx, k.proxy(), xks.Request{Operation: "ConnectCustomKeyStore", RequestID: k.Attempt})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	state, code := kmsapi.ConnectionStateTypeConnected, kmsapi.ConnectionErrorCodeType("")
	switch {
	case err != nil:
		state, code = kmsapi.ConnectionStateTypeFailed, connectionCode(err)
	case !h.Available():
		state, code = kmsapi.ConnectionStateTypeFailed, kmsapi.ConnectionErrorCodeTypeXksProxyNotReachable
	}
	if code != "" {
		log.Warn("an external key store did not connect", "store", k.ID, "code", code, "error", err)
	}
	err = s.cfg.Store.Update(store.WithPending(ctx, nil), func(tx *store.Tx) error {
		now, err := keyStores.Get(tx, k.Region, k.ID)
		if isNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if now.State != kmsapi.ConnectionStateTypeConnecting || now.Attempt != k.Attempt {
			return nil // disconnected meanwhile
		}
		now.State, now.ErrorCode, now.Attempt = state, code, ""
		return now.put(tx)
	})
	if err != nil {
		return fmt.Errorf("keep the connection of key store %s: %w", k.ID, err)
	}
	return nil
}
