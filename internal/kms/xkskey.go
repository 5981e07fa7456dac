package kms

import (
	"context"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/secret"
	"github.com/sagekeep/sagekeep/internal/store"
	"github.com/sagekeep/sagekeep/internal/xks"
)

// external reports whether the key lies in an external key store: its key
// material makes the inner layer of a ciphertext, the external key the outer.
func (k *keyRow) external() bool { return k.KeyStore != "" }

// checkKeyStoreMembers refuses members of CreateKey that do not go together.
//
// Errors: ValidationException, UnsupportedOperationException.
func checkKeyStoreMembers(in *kmsapi.CreateKeyInput) error {
	switch {
	case in.Origin != kmsapi.OriginTypeExternalKeyStore && in.XksKeyId != nil:
		return kmsapi.ValidationException("XksKeyId is valid only for KMS keys of origin %s.", kmsapi.OriginTypeExternalKeyStore)
	case in.Origin != kmsapi.OriginTypeExternalKeyStore && in.Origin != kmsapi.OriginTypeAwsCloudhsm:
		if in.CustomKeyStoreId != nil {
			return kmsapi.ValidationException("KMS keys of origin %s are not in a custom key store.", in.Origin)
		}
		return nil
	case in.CustomKeyStoreId == nil:
		return kmsapi.ValidationException("CustomKeyStoreId is required for KMS keys of origin %s.", in.Origin)
	case in.Origin == kmsapi.OriginTypeExternalKeyStore && in.XksKeyId == nil:
		return kmsapi.ValidationException("XksKeyId is required for KMS keys of origin %s.", in.Origin)
	case in.KeySpec != kmsapi.KeySpecSymmetricDefault || in.KeyUsage != kmsapi.KeyUsageTypeEncryptDecrypt:
		return kmsapi.UnsupportedOperationException("Custom key stores hold symmetric encryption KMS keys alone.")
	case in.MultiRegion != nil && *in.MultiRegion:
		return kmsapi.UnsupportedOperationException("Multi-Region keys cannot be in a custom key store.")
	}
	return nil
}

// findExternalKey asks the proxy of a key store for the external key of a new
// KMS key, and returns the store.
//
// Errors: CustomKeyStoreNotFoundException, CustomKeyStoreInvalidStateException,
// XksKeyAlreadyInUseException, XksKeyNotFoundException,
// XksKeyInvalidConfigurationException, KMSInvalidStateException.
func (s *Service) findExternalKey(ctx context.Context, in *kmsapi.CreateKeyInput) (k keyStoreRow, err error) {
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		k, err = claimable(ctx, tx, *in.CustomKeyStoreId, in.XksKeyId)
		return err
	})
	if err != nil {
		return k, err
	}
	recordKeyStore(ctx, &k)
	audit.From(ctx).Additional("xksKeyId", *in.XksKeyId)
	m, err := s.cfg.Proxies.KeyMetadata(ctx, k.proxy(), *in.XksKeyId, proxyRequest(ctx, "CreateKey", ""))
	if err != nil {
		return k, newKeyError(err)
	}
	if !m.Usable() {
		return k, kmsapi.XksKeyInvalidConfigurationException(keyNotSuitable)
	}
	return k, nil
}

// claimable returns the store when a new key may be made in it for the external
// key.
func claimable(ctx context.Context, tx *store.Tx, id string, external *string) (keyStoreRow, error) {
	k, err := getKeyStore(ctx, tx, id)
	if err != nil {
		return k, err
	}
	if external == nil { // of origin AWS_CLOUDHSM
		return k, kmsapi.ValidationException("The custom key store %s is not an AWS CloudHSM key store.", id)
	}
	if k.State != kmsapi.ConnectionStateTypeConnected {
		return k, kmsapi.CustomKeyStoreInvalidStateException(storeNotConnected)
	}
	for _, err := range keys.ByIndex(tx, "keystore", store.Key{k.Region, k.ID, *external}, store.ScanOptions{Limit: 1}) {
		if err != nil {
			return k, err
		}
		return k, kmsapi.XksKeyAlreadyInUseException("The external key %s is already associated with another KMS key in this external key store.", *external)
	}
	return k, nil
}

// proxyRequest is what a proxy is told of the call in ctx.
func proxyRequest(ctx context.Context, operation, keyARN string) xks.Request {
	caller := identity.From(ctx).Caller
	r := xks.Request{PrincipalARN: caller.ARN, KeyARN: keyARN, Operation: operation, RequestID: requestID(ctx)}
	switch caller.Type {
	case identity.AssumedRole:
		r.PrincipalARN = caller.RoleARN // as aws:PrincipalArn
	case identity.Service:
		r.PrincipalARN = caller.GlobalServiceName()
	}
	if n := len(caller.Via); n > 0 {
		r.ViaService = caller.Via[n-1].Endpoint()
	}
	return r
}

// joinStore reads the store of a key in one. While the store is not connected,
// the key is Unavailable unless it is about to be deleted.
//
// Source: AWS KMS Developer Guide, "Disconnect an external key store".
func (s *Service) joinStore(ctx context.Context, k *cachedKey) error {
	if !k.external() {
		return nil
	}
	// The epoch is read before the row: what is bumped later makes the entry stale.
	k.storeEpoch = s.cfg.Store.Epoch(storeEpoch(k.Region, k.KeyStore))
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var err error
		k.keyStore, err = keyStores.Get(tx, k.Region, k.KeyStore)
		return err
	})
	if err != nil {
		return err
	}
	if k.keyStore.State != kmsapi.ConnectionStateTypeConnected && (k.State == kmsapi.KeyStateEnabled || k.State == kmsapi.KeyStateDisabled) {
		k.State = kmsapi.KeyStateUnavailable
	}
	return nil
}

// current reports whether neither the key nor its store has changed since k was read.
func (s *Service) current(k *cachedKey) bool {
	return s.cfg.Store.Epoch(epoch(k.Region, k.ID)) == k.epoch && s.connectedAsRead(k)
}

// connectedAsRead is current for the store alone.
func (s *Service) connectedAsRead(k *cachedKey) bool {
	return !k.external() || s.cfg.Store.Epoch(storeEpoch(k.Region, k.KeyStore)) == k.storeEpoch
}

// recordExternal names the external key in the record. ReEncrypt may have two,
// told apart by side as their key material is.
func recordExternal(ctx context.Context, k *cachedKey, operation, side string) {
	e := audit.From(ctx)
	if operation == "ReEncrypt" {
		e.Additional(side+"CustomKeyStoreId", k.KeyStore)
		e.Additional(side+"XksKeyId", k.XksKeyID)
		return
	}
	e.Additional("customKeyStoreId", k.KeyStore)
	e.Additional("xksKeyId", k.XksKeyID)
}

// sealExternal makes the ciphertext blob of a key in an external key store:
// sealed by its key material, then by the external key.
//
// Errors: KMSInvalidStateException for whatever the proxy refuses.
//
// Source: AWS KMS Developer Guide, "How external key stores work", Double
// encryption.
func (s *Service) sealExternal(ctx context.Context, k *cachedKey, backing secret.Key, m *materialRow, ec map[string]string, plaintext []byte, operation string) ([]byte, error) {
	recordExternal(ctx, k, operation, "destination")
	header, inner, err := sealInner(backing, k.ID, m.ID, ec, plaintext)
	if err != nil {
		return nil, err
	}
	c, err := s.cfg.Proxies.Encrypt(ctx, k.keyStore.proxy(), k.XksKeyID, proxyRequest(ctx, operation, k.arn()), inner, outerAAD(header, ec))
	if err != nil {
		return nil, cryptoError(err)
	}
	return appendExternal(header, c), nil
}

// openExternal has the external key open the outer layer of a blob; what is left
// is the inner one.
//
// Errors: KMSInvalidStateException for whatever the proxy refuses.
func (s *Service) openExternal(ctx context.Context, k *cachedKey, b *blob, ec map[string]string, operation string) error {
	recordExternal(ctx, k, operation, "source")
	inner, err := s.cfg.Proxies.Decrypt(ctx, k.keyStore.proxy(), k.XksKeyID, proxyRequest(ctx, operation, k.arn()), b.external, outerAAD(b.header, ec))
	if err != nil {
		return cryptoError(err)
	}
	b.sealed = inner
	return nil
}
