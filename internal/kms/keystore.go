package kms

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/secret"
	"github.com/sagekeep/sagekeep/internal/store"
	"github.com/sagekeep/sagekeep/internal/xks"
)

// maxKeyStores is how many custom key stores an account has in a region.
//
// Source: AWS KMS Developer Guide, "Resource quotas".
const maxKeyStores = 10

// keyStoreRow is one external key store: a proxy, and how to sign for it.
type keyStoreRow struct {
	ID, Account, Region, Name string
	Created                   time.Time
	Endpoint, Path            string
	AccessKeyID, Secret       string // as the proxy knows them
	State                     kmsapi.ConnectionStateType
	ErrorCode                 kmsapi.ConnectionErrorCodeType // FAILED only
	// Attempt is the id of the request that connects; what came of an attempt
	// counts only while it is the newest one.
	Attempt string
}

var keyStores = store.Hashed("kms.keystore",
	store.WithIndex("account", func(k keyStoreRow) []store.Key { return []store.Key{{k.Region, k.Account, k.ID}} }),
	store.WithIndex("connecting", func(k keyStoreRow) []store.Key {
		if k.State != kmsapi.ConnectionStateTypeConnecting {
			return nil
		}
		return []store.Key{{"connecting", k.Region, k.ID}}
	}))

// storeEpoch names the counter that every change of a key store bumps.
func storeEpoch(region, id string) string { return "kms/store/" + region + "/" + id }

// Format prints a key store without its secret.
func (k keyStoreRow) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "key store %s", k.ID) }

// proxy is how requests reach the store's proxy.
func (k *keyStoreRow) proxy() xks.Proxy {
	return xks.Proxy{Endpoint: k.Endpoint, Path: k.Path, AccessKeyID: k.AccessKeyID, Secret: secret.NewText(k.Secret), Region: k.Region}
}

// uri is what no two stores share.
func (k *keyStoreRow) uri() string { return strings.ToLower(k.Endpoint) + k.Path }

// put writes a store in the transaction.
func (k *keyStoreRow) put(tx *store.Tx) error {
	tx.Bump(storeEpoch(k.Region, k.ID))
	return keyStores.Put(tx, *k, k.Region, k.ID)
}

func keyStoreNotFound(id string) error {
	return kmsapi.CustomKeyStoreNotFoundException("Custom key store %s does not exist.", id)
}

// getKeyStore reads a store of the caller's account.
//
// Errors: CustomKeyStoreNotFoundException.
func getKeyStore(ctx context.Context, tx *store.Tx, id string) (keyStoreRow, error) {
	call := identity.From(ctx)
	k, err := keyStores.Get(tx, call.Region, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && k.Account != call.Caller.Account {
		return k, keyStoreNotFound(id)
	}
	return k, err
}

// keyStore is getKeyStore in a transaction of its own.
func (s *Service) keyStore(ctx context.Context, id string) (k keyStoreRow, err error) {
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		k, err = getKeyStore(ctx, tx, id)
		return err
	})
	return k, err
}

// updateKeyStore changes one store in one commit.
func (s *Service) updateKeyStore(ctx context.Context, id string, fn func(tx *store.Tx, k *keyStoreRow) error) error {
	return s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		k, err := getKeyStore(ctx, tx, id)
		if err != nil {
			return err
		}
		recordKeyStore(ctx, &k)
		if err := fn(tx, &k); err != nil {
			return err
		}
		return k.put(tx)
	})
}

// recordKeyStore names a store in the record.
func recordKeyStore(ctx context.Context, k *keyStoreRow) {
	e := audit.From(ctx)
	e.Additional("customKeyStoreId", k.ID)
	e.Additional("customKeyStoreName", k.Name)
}

// unlike refuses a store that has the name or the proxy of another one.
//
// Errors: CustomKeyStoreNameInUseException, XksProxyUriInUseException,
// XksProxyUriEndpointInUseException; LimitExceededException for a store that is
// not there yet.
func unlike(tx *store.Tx, k *keyStoreRow, connectivity kmsapi.XksProxyConnectivityType) error {
	others := 0
	fresh := true
	for row, err := range keyStores.ByIndex(tx, "account", store.Key{k.Region, k.Account}, store.ScanOptions{}) {
		if err != nil {
			return err
		}
		o := &row.Value
		if o.ID == k.ID {
			fresh = false
			continue
		}
		others++
		switch {
		case o.Name == k.Name:
			return kmsapi.CustomKeyStoreNameInUseException("The custom key store name %s is already in use. Choose a custom key store name that is unique in the account and Region.", k.Name)
		case k.Endpoint == "":
		case connectivity == kmsapi.XksProxyConnectivityTypeVpcEndpointService && strings.EqualFold(o.Endpoint, k.Endpoint):
			return kmsapi.XksProxyUriEndpointInUseException("The proxy URI endpoint %s belongs to an external key store with public endpoint connectivity.", k.Endpoint)
		case o.uri() == k.uri():
			return kmsapi.XksProxyUriInUseException("The combination of proxy URI endpoint %s and proxy URI path %s is already in use.", k.Endpoint, k.Path)
		}
	}
	if fresh && others >= maxKeyStores {
		return kmsapi.LimitExceededException("An account has at most %d custom key stores in a Region.", maxKeyStores)
	}
	return nil
}

// missing is the answer to a request without what its kind of store needs.
func missing(member string, kind kmsapi.CustomKeyStoreType) error {
	return kmsapi.ValidationException("%s is required for custom key stores of type %s.", member, kind)
}

// foreign is the answer to what a kind of store does not have.
func foreign(member string, kind kmsapi.CustomKeyStoreType) error {
	return kmsapi.ValidationException("%s is not valid for custom key stores of type %s.", member, kind)
}

// checkNewStore refuses a request whose members do not go together, and what we
// do not have: CloudHSM clusters and VPC endpoint services.
func checkNewStore(in *kmsapi.CreateCustomKeyStoreInput) error {
	const external, cluster = kmsapi.CustomKeyStoreTypeExternalKeyStore, kmsapi.CustomKeyStoreTypeAwsCloudhsm
	if in.CustomKeyStoreType != external {
		switch {
		case in.XksProxyUriEndpoint != nil || in.XksProxyUriPath != nil || in.XksProxyVpcEndpointServiceName != nil || in.XksProxyVpcEndpointServiceOwner != nil ||
			in.XksProxyAuthenticationCredential != nil || in.XksProxyConnectivity != "":
			return foreign("An XksProxy parameter", cluster)
		case in.CloudHsmClusterId == nil:
			return missing("CloudHsmClusterId", cluster)
		case in.KeyStorePassword == nil:
			return missing("KeyStorePassword", cluster)
		case in.TrustAnchorCertificate == nil:
			return missing("TrustAnchorCertificate", cluster)
		}
		return nil
	}
	switch {
	case in.CloudHsmClusterId != nil:
		return foreign("CloudHsmClusterId", external)
	case in.KeyStorePassword != nil:
		return foreign("KeyStorePassword", external)
	case in.TrustAnchorCertificate != nil:
		return foreign("TrustAnchorCertificate", external)
	case in.XksProxyConnectivity == "":
		return missing("XksProxyConnectivity", external)
	case in.XksProxyUriEndpoint == nil:
		return missing("XksProxyUriEndpoint", external)
	case in.XksProxyUriPath == nil:
		return missing("XksProxyUriPath", external)
	case in.XksProxyAuthenticationCredential == nil:
		return missing("XksProxyAuthenticationCredential", external)
	}
	return checkVPC(in.XksProxyConnectivity, in.XksProxyVpcEndpointServiceName, in.XksProxyVpcEndpointServiceOwner)
}

// checkVPC refuses endpoint services without the connectivity that they are for,
// and the other way round.
func checkVPC(connectivity kmsapi.XksProxyConnectivityType, name, owner *string) error {
	if connectivity == kmsapi.XksProxyConnectivityTypeVpcEndpointService {
		if name == nil {
			return kmsapi.ValidationException("XksProxyVpcEndpointServiceName is required when XksProxyConnectivity is %s.", connectivity)
		}
		return nil
	}
	if name != nil || owner != nil {
		return kmsapi.ValidationException("A VPC endpoint service is valid only when XksProxyConnectivity is %s.", kmsapi.XksProxyConnectivityTypeVpcEndpointService)
	}
	return nil
}

// noVPC is the answer where an endpoint service would have to exist.
func noVPC(name string) error {
	return kmsapi.XksProxyVpcEndpointServiceNotFoundException("The VPC endpoint service %s was not found. Verify its name and that its principals include the service principal of AWS KMS.", name)
}

// CreateCustomKeyStore makes an external key store, DISCONNECTED, after its proxy
// has answered a health request that was signed with its credentials.
//
// Errors: those of unlike and of probe; ValidationException for members that do
// not go together; CloudHsmClusterNotFoundException and
// XksProxyVpcEndpointServiceNotFoundException for what is only in AWS.
//
// Source: AWS KMS API Reference, CreateCustomKeyStore.
func (s *Service) CreateCustomKeyStore(ctx context.Context, in *kmsapi.CreateCustomKeyStoreInput) (*kmsapi.CreateCustomKeyStoreOutput, error) {
	if err := checkNewStore(in); err != nil {
		return nil, err
	}
	call := identity.From(ctx)
	k := keyStoreRow{
		ID: newKeyStoreID(), Account: call.Caller.Account, Region: call.Region, Name: in.CustomKeyStoreName, Created: s.timestamp(),
		State: kmsapi.ConnectionStateTypeDisconnected,
	}
	if in.CustomKeyStoreType == kmsapi.CustomKeyStoreTypeExternalKeyStore {
		k.Endpoint, k.Path = *in.XksProxyUriEndpoint, *in.XksProxyUriPath
		k.AccessKeyID, k.Secret = in.XksProxyAuthenticationCredential.AccessKeyId, in.XksProxyAuthenticationCredential.RawSecretAccessKey
	}
	check := func(tx *store.Tx) error { return unlike(tx, &k, in.XksProxyConnectivity) }
	if err := s.cfg.Store.View(ctx, check); err != nil {
		return nil, err
	}
	switch {
	case in.CustomKeyStoreType != kmsapi.CustomKeyStoreTypeExternalKeyStore:
		return nil, kmsapi.CloudHsmClusterNotFoundException("The AWS CloudHSM cluster %s was not found.", *in.CloudHsmClusterId)
	case in.XksProxyConnectivity == kmsapi.XksProxyConnectivityTypeVpcEndpointService:
		return nil, noVPC(*in.XksProxyVpcEndpointServiceName)
	}
	if err := s.probe(ctx, &k, "CreateCustomKeyStore"); err != nil {
		return nil, err
	}
	out := &kmsapi.CreateCustomKeyStoreOutput{CustomKeyStoreId: new(k.ID)}
	err := s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if err := check(tx); err != nil {
			return err
		}
		protocol.Respond(ctx, kmsapi.CreateCustomKeyStore, out)
		return k.put(tx)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// newKeyStoreID returns an id in AWS's form.
func newKeyStoreID() string {
	var b [9]byte
	rand.Read(b[:])
	return "cks-" + hex.EncodeToString(b[:])[:17]
}

// DeleteCustomKeyStore deletes a store that is DISCONNECTED and holds no key.
//
// Errors: CustomKeyStoreNotFoundException, CustomKeyStoreInvalidStateException,
// CustomKeyStoreHasCMKsException, also while a key waits for its deletion.
func (s *Service) DeleteCustomKeyStore(ctx context.Context, in *kmsapi.DeleteCustomKeyStoreInput) (*kmsapi.DeleteCustomKeyStoreOutput, error) {
	err := s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		k, err := getKeyStore(ctx, tx, in.CustomKeyStoreId)
		if err != nil {
			return err
		}
		recordKeyStore(ctx, &k)
		if k.State != kmsapi.ConnectionStateTypeDisconnected {
			return storeState(&k, "Disconnect the custom key store and try again.")
		}
		for _, err := range keys.ByIndex(tx, "keystore", store.Key{k.Region, k.ID}, store.ScanOptions{Limit: 1}) {
			if err != nil {
				return err
			}
			return kmsapi.CustomKeyStoreHasCMKsException("The custom key store %s contains KMS keys. Schedule their deletion; when they are deleted, the custom key store can be.", k.ID)
		}
		tx.Bump(storeEpoch(k.Region, k.ID))
		return keyStores.Delete(tx, k.Region, k.ID)
	})
	if err != nil {
		return nil, err
	}
	return &kmsapi.DeleteCustomKeyStoreOutput{}, nil
}

// storeState is the answer to what a store's connection state does not allow.
func storeState(k *keyStoreRow, advice string) error {
	return kmsapi.CustomKeyStoreInvalidStateException("The connection state of the custom key store %s is %s, which is not valid for this operation. %s", k.ID, k.State, advice)
}

// DescribeCustomKeyStores lists the stores of the account in the region, or one by
// its id or name. Of a store's credentials it shows the access key id.
//
// Errors: CustomKeyStoreNotFoundException, InvalidMarkerException.
func (s *Service) DescribeCustomKeyStores(ctx context.Context, in *kmsapi.DescribeCustomKeyStoresInput) (*kmsapi.DescribeCustomKeyStoresOutput, error) {
	if in.CustomKeyStoreId != nil && in.CustomKeyStoreName != nil {
		return nil, kmsapi.ValidationException("Specify either CustomKeyStoreId or CustomKeyStoreName, not both.")
	}
	p, err := s.page(ctx, "DescribeCustomKeyStores", "", in.Limit, in.Marker, 1000, 100)
	if err != nil {
		return nil, err
	}
	out := &kmsapi.DescribeCustomKeyStoresOutput{CustomKeyStores: []kmsapi.CustomKeyStoresListEntry{}, Truncated: new(false)}
	call := identity.From(ctx)
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		out.CustomKeyStores = out.CustomKeyStores[:0]
		if in.CustomKeyStoreId != nil {
			k, err := getKeyStore(ctx, tx, *in.CustomKeyStoreId)
			out.CustomKeyStores = append(out.CustomKeyStores, k.entry())
			return err
		}
		options := p.options
		if in.CustomKeyStoreName != nil {
			options = store.ScanOptions{Limit: maxKeyStores}
		}
		rows, err := keyStores.PageByIndex(tx, "account", store.Key{call.Region, call.Caller.Account}, options)
		if err != nil {
			return err
		}
		for i := range rows.Values {
			if k := &rows.Values[i]; in.CustomKeyStoreName == nil || k.Name == *in.CustomKeyStoreName {
				out.CustomKeyStores = append(out.CustomKeyStores, k.entry())
			}
		}
		if in.CustomKeyStoreName != nil {
			if len(out.CustomKeyStores) == 0 {
				return keyStoreNotFound(*in.CustomKeyStoreName)
			}
			return nil
		}
		out.NextMarker, out.Truncated, err = p.next(rows.Next)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// entry renders a store.
func (k *keyStoreRow) entry() kmsapi.CustomKeyStoresListEntry {
	return kmsapi.CustomKeyStoresListEntry{
		CustomKeyStoreId: new(k.ID), CustomKeyStoreName: new(k.Name), CustomKeyStoreType: kmsapi.CustomKeyStoreTypeExternalKeyStore,
		ConnectionState: k.State, ConnectionErrorCode: k.ErrorCode, CreationDate: new(k.Created),
		XksProxyConfiguration: &kmsapi.XksProxyConfigurationType{
			Connectivity: kmsapi.XksProxyConnectivityTypePublicEndpoint, AccessKeyId: new(k.AccessKeyID), UriEndpoint: new(k.Endpoint), UriPath: new(k.Path),
		},
	}
}
