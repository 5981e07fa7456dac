package kms

import (
	"context"
	"fmt"
	"slices"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/protocol/wire"
	"github.com/sagekeep/sagekeep/internal/store"
)

func primaryCondition(in *kmsapi.UpdatePrimaryRegionInput) func(authz.Context) {
	return func(c authz.Context) { c.Set("kms:PrimaryRegion", in.PrimaryRegion) }
}

func updatePrimaryCall(in *kmsapi.UpdatePrimaryRegionInput) call {
	return call{key: &in.KeyId, set: primaryCondition(in)}
}

// movable refuses keys whose primary cannot move to the Region now.
func movable(k *keyRow, region string) error {
	switch {
	case !k.MultiRegion || k.replica():
		return notPrimary(k)
	case region == k.Region:
		return kmsapi.UnsupportedOperationException("%s is the multi-Region primary key already.", k.arn())
	case !slices.Contains(k.Replicas, region):
		return kmsapi.NotFoundException("Key '%s' does not exist", keyARN(region, k.Account, k.ID))
	}
	return inState(k, kmsapi.KeyStateEnabled)
}

// UpdatePrimaryRegion makes the replica in a Region the primary of its
// multi-Region key, and the primary a replica. Both are Updating for a moment,
// in which they go on to serve.
//
// Errors: UnsupportedOperationException for keys that are not multi-Region
// primary keys; NotFoundException without a replica in the Region;
// DisabledException and KMSInvalidStateException for either key, also while it is
// Updating after the last move; AccessDeniedException without
// kms:UpdatePrimaryRegion on the replica too.
//
// Source: AWS KMS API Reference, UpdatePrimaryRegion; AWS KMS Developer Guide,
// "Change the primary key in a set of multi-Region keys": both keys are Enabled
// when it starts.
func (s *Service) UpdatePrimaryRegion(ctx context.Context, in *kmsapi.UpdatePrimaryRegionInput) (*schemaNothing, error) {
	k, _, err := s.resolve(ctx, in.KeyId, byKey)
	if err != nil {
		return nil, err
	}
	if err := movable(&k.keyRow, in.PrimaryRegion); err != nil {
		return nil, err
	}
	there := elsewhereOf(ctx, in.PrimaryRegion)
	next, err := s.loadKey(there, in.PrimaryRegion, k.ID)
	if err != nil {
		return nil, err
	}
	check, err := s.check(there, next, keyRef{account: next.Account, region: next.Region, id: next.ID},
		call{action: "kms:UpdatePrimaryRegion", set: primaryCondition(in)}, nil)
	if err != nil {
		return nil, err
	}
	if err := s.cfg.Authorizer.Authorize(there, kmsapi.Service, &check); err != nil {
		return nil, err
	}
	return nil, s.updateSet(ctx, in.KeyId, func(_ *store.Tx, set *keySet) error {
		if err := movable(set.keyRow, in.PrimaryRegion); err != nil {
			return err
		}
		i := slices.IndexFunc(set.others, func(o *keyRow) bool { return o.Region == in.PrimaryRegion })
		to := set.others[i]
		if err := inState(to, kmsapi.KeyStateEnabled); err != nil {
			return err
		}
		for _, moved := range []*keyRow{set.keyRow, to} {
			moved.State, moved.Settles, moved.SettlesTo = kmsapi.KeyStateUpdating, s.timestamp().Add(settling), kmsapi.KeyStateEnabled
		}
		replicas := slices.DeleteFunc(slices.Clone(set.Replicas), func(r string) bool { return r == to.Region })
		set.place(to.Region, append(replicas, set.Region))
		respondKey(ctx, set.keyRow)
		recordPrimary(there, in, to)
		return nil
	})
}

// recordPrimary writes the record of the new primary's Region.
func recordPrimary(there context.Context, in *kmsapi.UpdatePrimaryRegionInput, k *keyRow) {
	p := audit.PendingFrom(there)
	if p == nil {
		return
	}
	_, e := p.Begin(there, kmsapi.Service.EventSource, kmsapi.UpdatePrimaryRegion.Name, false, false, newID(false))
	e.SetRequestJSON(wire.AppendAuditJSON(nil, kmsapi.UpdatePrimaryRegion.Input, in))
	e.SetResponse(map[string]string{"keyId": k.arn()})
	e.AddResource(k.Account, resourceType, k.arn())
}

// MultiRegionKeys returns the ARNs of an account's multi-Region keys by Region:
// while it has one, it needs the service-linked role.
func (s *Service) MultiRegionKeys(ctx context.Context, account string) (arns map[string][]string, err error) {
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		arns = map[string][]string{}
		for row, err := range keys.ByIndex(tx, "multiregion", store.Key{account}, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			arns[row.Value.Region] = append(arns[row.Value.Region], row.Value.arn())
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("kms: read multi-Region keys: %w", err)
	}
	return arns, nil
}
