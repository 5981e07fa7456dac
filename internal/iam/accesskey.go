package iam

import (
	"context"
	"errors"
	"fmt"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

// keysOf returns the access keys of a user, of the root user when userID is "".
func (s *Service) keysOf(tx *store.Tx, account, userID string) ([]accessKeyRow, error) {
	var keys []accessKeyRow
	for row, err := range s.keys.ByIndex(tx, byOwner, store.Key{account, ownerKey(userID)}, store.ScanOptions{}) {
		if err != nil {
			return nil, fmt.Errorf("list access keys: %w", err)
		}
		keys = append(keys, row.Value)
	}
	return keys, nil
}

// keyOwner returns the user a call is about; the zero entity is the root user.
func (s *Service) keyOwner(ctx context.Context, tx *store.Tx, name *string) (entity, error) {
	n, err := ownerName(ctx, name)
	if err != nil || n == "" {
		return entity{}, err
	}
	return s.users.get(tx, accountOf(ctx), n)
}

// ownedKey returns an access key of the given owner.
func (s *Service) ownedKey(tx *store.Tx, account string, owner *entity, id string) (accessKeyRow, error) {
	k, err := s.keys.Get(tx, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && (k.Account != account || k.UserID != owner.ID) {
		return accessKeyRow{}, iamapi.NoSuchEntityException("The Access Key with id %s cannot be found.", id)
	}
	return k, err
}

func keyStatus(active bool) iamapi.StatusType {
	if active {
		return iamapi.StatusTypeActive
	}
	return iamapi.StatusTypeInactive
}

// CreateAccessKey makes an active access key for a user or the root user. The
// secret is in the answer and nowhere else but in the sealed row.
//
// Errors: NoSuchEntity; LimitExceeded beyond two keys; ValidationError.
func (s *Service) CreateAccessKey(ctx context.Context, in *iamapi.CreateAccessKeyInput) (*iamapi.CreateAccessKeyOutput, error) {
	account := accountOf(ctx)
	id, err := newAccessKeyID(longTermPrefix, account)
	if err != nil {
		return nil, err
	}
	key := accessKeyRow{ID: id, Secret: newSecret(), Account: account, Active: true, Created: s.stamp()}
	out := &iamapi.CreateAccessKeyOutput{AccessKey: &iamapi.AccessKey{
		AccessKeyId: key.ID, Status: iamapi.StatusTypeActive, SecretAccessKey: key.Secret, CreateDate: new(timeOf(key.Created)),
	}}
	err = s.update(ctx, account, func(tx *store.Tx) error {
		owner, err := s.keyOwner(ctx, tx, in.UserName)
		if err != nil {
			return err
		}
		have, err := s.keysOf(tx, account, owner.ID)
		if err != nil {
			return err
		}
		if len(have) >= keysPerUser {
			return iamapi.LimitExceededException("Cannot exceed quota for AccessKeysPerUser: %d", keysPerUser)
		}
		if taken, err := s.keys.Exists(tx, key.ID); err != nil || taken {
			return errors.Join(err, whenTrue(taken, iamapi.ServiceFailureException("The access key id is taken. Try again.")))
		}
		key.UserName, key.UserID = owner.Name, owner.ID
		out.AccessKey.UserName = owner.Name
		protocol.Respond(ctx, iamapi.CreateAccessKey, out)
		return s.keys.Put(tx, key, key.ID)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// ListAccessKeys lists a user's access keys without their secrets.
//
// Errors: NoSuchEntity; ValidationError.
func (s *Service) ListAccessKeys(ctx context.Context, in *iamapi.ListAccessKeysInput) (*iamapi.ListAccessKeysOutput, error) {
	var keys []accessKeyRow
	var owner entity
	err := s.view(ctx, func(tx *store.Tx) (err error) {
		if owner, err = s.keyOwner(ctx, tx, in.UserName); err != nil {
			return err
		}
		keys, err = s.keysOf(tx, accountOf(ctx), owner.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	l := listing{name: "ListAccessKeys|" + owner.ID, marker: in.Marker, maxItems: in.MaxItems}
	keys, truncated, marker, err := page(ctx, s, l, keys, func(k accessKeyRow) string { return k.ID })
	if err != nil {
		return nil, err
	}
	out := &iamapi.ListAccessKeysOutput{AccessKeyMetadata: make([]iamapi.AccessKeyMetadata, len(keys)), IsTruncated: truncated, Marker: marker}
	for i, k := range keys {
		out.AccessKeyMetadata[i] = iamapi.AccessKeyMetadata{
			UserName: optional(k.UserName), AccessKeyId: new(k.ID), Status: keyStatus(k.Active), CreateDate: new(timeOf(k.Created)),
		}
	}
	return out, nil
}

// optional is nil for "".
func optional(v string) *string {
	if v == "" {
		return nil
	}
	return &v
}

// UpdateAccessKey makes a key active or inactive. An inactive key opens nothing
// from the answer on.
//
// Errors: NoSuchEntity; ValidationError.
func (s *Service) UpdateAccessKey(ctx context.Context, in *iamapi.UpdateAccessKeyInput) (*schema.Nothing, error) {
	if in.Status != iamapi.StatusTypeActive && in.Status != iamapi.StatusTypeInactive {
		return nil, iamapi.ValidationError("1 validation error detected: Value '%s' at 'status' failed to satisfy constraint: Member must satisfy enum value set: [Active, Inactive]", in.Status)
	}
	account := accountOf(ctx)
	return nil, s.update(ctx, account, func(tx *store.Tx) error {
		owner, err := s.keyOwner(ctx, tx, in.UserName)
		if err != nil {
			return err
		}
		k, err := s.ownedKey(tx, account, &owner, in.AccessKeyId)
		if err != nil {
			return err
		}
		k.Active = in.Status == iamapi.StatusTypeActive
		return s.keys.Put(tx, k, k.ID)
	})
}

// DeleteAccessKey removes an access key.
//
// Errors: NoSuchEntity; ValidationError.
func (s *Service) DeleteAccessKey(ctx context.Context, in *iamapi.DeleteAccessKeyInput) (*schema.Nothing, error) {
	account := accountOf(ctx)
	return nil, s.update(ctx, account, func(tx *store.Tx) error {
		owner, err := s.keyOwner(ctx, tx, in.UserName)
		if err != nil {
			return err
		}
		k, err := s.ownedKey(tx, account, &owner, in.AccessKeyId)
		if err != nil {
			return err
		}
		if err := s.forgetUse(tx, account, k.ID); err != nil {
			return err
		}
		return s.keys.Delete(tx, k.ID)
	})
}

// GetAccessKeyLastUsed names the owner of a key and says when, for which
// service and where a request was last signed with it.
//
// Errors: NoSuchEntity.
func (s *Service) GetAccessKeyLastUsed(ctx context.Context, in *iamapi.GetAccessKeyLastUsedInput) (*iamapi.GetAccessKeyLastUsedOutput, error) {
	var k accessKeyRow
	var u useRow
	err := s.view(ctx, func(tx *store.Tx) (err error) {
		if k, err = s.keys.Get(tx, in.AccessKeyId); err != nil {
			return err
		}
		u, err = s.lastUse(tx, k.Account, k.ID)
		return err
	})
	if errors.Is(err, store.ErrNotFound) || err == nil && k.Account != accountOf(ctx) {
		return nil, iamapi.NoSuchEntityException("The Access Key with id %s cannot be found.", in.AccessKeyId)
	}
	if err != nil {
		return nil, err
	}
	return &iamapi.GetAccessKeyLastUsedOutput{UserName: optional(k.UserName), AccessKeyLastUsed: keyLastUsed(u)}, nil
}
