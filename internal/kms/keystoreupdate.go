package kms

import (
	"context"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/store"
	"github.com/sagekeep/sagekeep/internal/xks"
)

// probe asks the proxy of a store that is being made or changed for its health.
//
// Errors: XksProxyUriUnreachableException, XksProxyInvalidResponseException,
// XksProxyInvalidConfigurationException,
// XksProxyIncorrectAuthenticationCredentialException.
func (s *Service) probe(ctx context.Context, k *keyStoreRow, operation string) error {
	h, err := s.cfg.Proxies.Health(ctx, k.proxy(), xks.Request{Operation: operation, RequestID: requestID(ctx)})
	if err != nil {
		return storeError(err)
	}
	if !h.Available() {
		return kmsapi.XksProxyUriUnreachableException("The external key store proxy reports that all external key managers are unavailable. Verify that they are active and try again.")
	}
	return nil
}

// checkStoreUpdate refuses what external key stores do not have.
func checkStoreUpdate(in *kmsapi.UpdateCustomKeyStoreInput) error {
	switch {
	case in.KeyStorePassword != nil:
		return foreign("KeyStorePassword", kmsapi.CustomKeyStoreTypeExternalKeyStore)
	case in.CloudHsmClusterId != nil:
		return foreign("CloudHsmClusterId", kmsapi.CustomKeyStoreTypeExternalKeyStore)
	}
	return checkVPC(in.XksProxyConnectivity, in.XksProxyVpcEndpointServiceName, in.XksProxyVpcEndpointServiceOwner)
}

// change applies an update to a store; probe says that the proxy must be asked
// whether it agrees.
func (k *keyStoreRow) change(in *kmsapi.UpdateCustomKeyStoreInput) (probe bool, err error) {
	switch {
	case k.State != kmsapi.ConnectionStateTypeDisconnected && (in.XksProxyUriEndpoint != nil || in.XksProxyConnectivity != ""):
		return false, storeState(k, "Disconnect the custom key store and try again.")
	case k.State != kmsapi.ConnectionStateTypeDisconnected && k.State != kmsapi.ConnectionStateTypeConnected:
		return false, storeState(k, "Disconnect the custom key store and try again.")
	}
	if in.NewCustomKeyStoreName != nil {
		k.Name = *in.NewCustomKeyStoreName
	}
	was := *k
	if in.XksProxyUriEndpoint != nil {
		k.Endpoint = *in.XksProxyUriEndpoint
	}
	if in.XksProxyUriPath != nil {
		k.Path = *in.XksProxyUriPath
	}
	if c := in.XksProxyAuthenticationCredential; c != nil {
		k.AccessKeyID, k.Secret = c.AccessKeyId, c.RawSecretAccessKey
	}
	return *k != was, nil
}

// UpdateCustomKeyStore changes a store's name, or what it knows of its proxy:
// name, path and credentials while it is connected or disconnected, the endpoint
// while it is disconnected. The proxy must answer under the new values.
//
// Errors: those of unlike and of probe; CustomKeyStoreNotFoundException,
// CustomKeyStoreInvalidStateException, XksProxyVpcEndpointServiceNotFoundException;
// KMSInternalException when another request has changed the store meanwhile.
//
// Source: AWS KMS API Reference, UpdateCustomKeyStore.
func (s *Service) UpdateCustomKeyStore(ctx context.Context, in *kmsapi.UpdateCustomKeyStoreInput) (*kmsapi.UpdateCustomKeyStoreOutput, error) {
	var (
		was, wanted keyStoreRow
		asks        bool
	)
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var err error
		if was, err = getKeyStore(ctx, tx, in.CustomKeyStoreId); err != nil {
			return err
		}
		recordKeyStore(ctx, &was)
		if err := checkStoreUpdate(in); err != nil {
			return err
		}
		wanted = was
		if asks, err = wanted.change(in); err != nil {
			return err
		}
		return unlike(tx, &wanted, in.XksProxyConnectivity)
	})
	if err != nil {
		return nil, err
	}
	if in.XksProxyConnectivity == kmsapi.XksProxyConnectivityTypeVpcEndpointService {
		return nil, noVPC(*in.XksProxyVpcEndpointServiceName)
	}
	if asks {
		if err := s.probe(ctx, &wanted, "UpdateCustomKeyStore"); err != nil {
			return nil, err
		}
	}
	err = s.updateKeyStore(ctx, in.CustomKeyStoreId, func(tx *store.Tx, k *keyStoreRow) error {
		if *k != was {
			return kmsapi.KMSInternalException("The custom key store has changed meanwhile. Try again.")
		}
		*k = wanted
		return unlike(tx, k, in.XksProxyConnectivity)
	})
	if err != nil {
		return nil, err
	}
	return &kmsapi.UpdateCustomKeyStoreOutput{}, nil
}
