package kms

import (
	"context"
	"strings"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

const (
	maxAliases  = 50 // aliases of one key
	aliasPrefix = "alias/"
	awsAliases  = "alias/aws/"
	aliasType   = "AWS::KMS::Alias"
)

// checkAliasName accepts alias/ and [a-zA-Z0-9/_-], but not what belongs to AWS:
// that answers NotAuthorizedException without a message, as AWS does, though its
// API Reference knows no such error.
func checkAliasName(name string) error {
	rest, ok := strings.CutPrefix(name, aliasPrefix)
	switch {
	case !ok:
		return kmsapi.ValidationException(`Alias must start with the prefix "alias/". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html`)
	case rest == "":
		return kmsapi.ValidationException("%s has no name behind its prefix", name)
	case strings.HasPrefix(name, awsAliases):
		return schema.NewError("NotAuthorizedException", 400, "")
	}
	for _, c := range rest {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '/' || c == '_' || c == '-') {
			return kmsapi.ValidationException("%s contains invalid characters for an alias", name)
		}
	}
	return nil
}

// checkAliasTarget refuses an alias in the place of the key that one shall name.
func checkAliasTarget(text string) error {
	if strings.HasPrefix(text, aliasPrefix) || strings.Contains(text, ":"+aliasPrefix) {
		return kmsapi.ValidationException("Aliases must refer to keys. Not aliases")
	}
	return nil
}

// aliasCheck asks for permission on the alias, which has no policy of its own.
func aliasCheck(ctx context.Context, name string) protocol.Check {
	c := identity.From(ctx)
	return protocol.Check{
		Resource: aliasARN(c.Region, c.Caller.Account, name), ResourceType: aliasType, Account: c.Caller.Account,
		Context: accountConditions(ctx),
	}
}

// aliasTarget resolves the key that an alias shall name: by id or ARN, of the
// caller's own account and region.
func (s *Service) aliasTarget(ctx context.Context, text string) (*cachedKey, keyRef, error) {
	k, ref, err := s.resolve(ctx, text, byKey)
	if err == nil && k.Account != identity.From(ctx).Caller.Account {
		err = kmsapi.NotFoundException("Key '%s' does not exist", k.arn())
	}
	return k, ref, err
}

func (s *Service) createAliasChecks(ctx context.Context, in *kmsapi.CreateAliasInput) ([]protocol.Check, error) {
	if err := checkAliasName(in.AliasName); err != nil {
		return nil, err
	}
	if err := checkAliasTarget(in.TargetKeyId); err != nil {
		return nil, err
	}
	k, ref, err := s.aliasTarget(ctx, in.TargetKeyId)
	if err != nil {
		return nil, err
	}
	onKey, err := s.check(ctx, k, ref, call{}, nil)
	if err != nil {
		return nil, err
	}
	return []protocol.Check{aliasCheck(ctx, in.AliasName), onKey}, nil
}

// CreateAlias gives a key another name in its account and region.
//
// Errors: AlreadyExistsException; ValidationException and NotAuthorizedException
// for the name; LimitExceededException, NotFoundException,
// KMSInvalidStateException.
func (s *Service) CreateAlias(ctx context.Context, in *kmsapi.CreateAliasInput) (*schemaNothing, error) {
	call := identity.From(ctx)
	return nil, s.update(ctx, in.TargetKeyId, func(tx *store.Tx, k *keyRow) error {
		if err := customerManaged(k); err != nil {
			return err
		}
		if err := kept(k); err != nil {
			return err
		}
		exists, err := aliases.Exists(tx, call.Region, call.Caller.Account, in.AliasName)
		if err != nil {
			return err
		}
		if exists {
			return kmsapi.AlreadyExistsException("An alias with the name %s already exists", aliasARN(call.Region, call.Caller.Account, in.AliasName))
		}
		return s.pointAlias(ctx, tx, k, aliasRow{Name: in.AliasName, Account: call.Caller.Account, Region: call.Region, Created: s.timestamp()})
	})
}

// pointAlias stores the alias with the key as its target.
func (s *Service) pointAlias(ctx context.Context, tx *store.Tx, k *keyRow, a aliasRow) error {
	n := 0
	if a.Target == k.ID {
		n = -1 // it counts already
	}
	for _, err := range aliases.ByIndex(tx, "key", store.Key{k.Region, k.ID}, store.ScanOptions{Limit: maxAliases + 1}) {
		if err != nil {
			return err
		}
		n++
	}
	if n >= maxAliases {
		return kmsapi.LimitExceededException("Alias limit for the given key %s has been reached.", k.arn())
	}
	a.Target, a.Updated = k.ID, s.timestamp()
	respondKey(ctx, k)
	return aliases.Put(tx, a, a.Region, a.Account, a.Name)
}

// stillNamed refuses to act on an alias that has moved to another key since the
// call was authorised. Clients try such a call again.
func stillNamed(ctx context.Context, a *aliasRow) error {
	if audit.From(ctx).Names(keyARN(a.Region, a.Account, a.Target)) {
		return nil
	}
	return kmsapi.KMSInternalException("The alias %s was changed at the same time.", a.Name)
}

// alias reads an alias of the caller.
func (s *Service) alias(ctx context.Context, name string) (aliasRow, error) {
	c := identity.From(ctx)
	var a aliasRow
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var err error
		a, err = aliases.Get(tx, c.Region, c.Caller.Account, name)
		return err
	})
	if isNotFound(err) {
		return a, kmsapi.NotFoundException("Alias %s is not found.", aliasARN(c.Region, c.Caller.Account, name))
	}
	return a, err
}

func (s *Service) updateAliasChecks(ctx context.Context, in *kmsapi.UpdateAliasInput) ([]protocol.Check, error) {
	if err := checkAliasName(in.AliasName); err != nil {
		return nil, err
	}
	if err := checkAliasTarget(in.TargetKeyId); err != nil {
		return nil, err
	}
	a, err := s.alias(ctx, in.AliasName)
	if err != nil {
		return nil, err
	}
	checks := []protocol.Check{aliasCheck(ctx, in.AliasName)}
	for _, target := range []string{a.Target, in.TargetKeyId} {
		k, ref, err := s.aliasTarget(ctx, target)
		if err != nil {
			return nil, err
		}
		c, err := s.check(ctx, k, ref, call{}, nil)
		if err != nil {
			return nil, err
		}
		if target == a.Target { // AWS's record lists the alias and its new key
			audit.From(ctx).Touch(c.Resource)
			c.ResourceType = ""
		}
		checks = append(checks, c)
	}
	checks[len(checks)-1].ResourceType = resourceType
	return checks, nil
}

// UpdateAlias points an alias to another key of the same kind.
//
// Errors: ValidationException and NotAuthorizedException for the name;
// NotFoundException, KMSInvalidStateException, LimitExceededException.
func (s *Service) UpdateAlias(ctx context.Context, in *kmsapi.UpdateAliasInput) (*schemaNothing, error) {
	call := identity.From(ctx)
	return nil, s.update(ctx, in.TargetKeyId, func(tx *store.Tx, k *keyRow) error {
		if err := customerManaged(k); err != nil {
			return err
		}
		if err := kept(k); err != nil {
			return err
		}
		a, err := aliases.Get(tx, call.Region, call.Caller.Account, in.AliasName)
		if isNotFound(err) {
			return kmsapi.NotFoundException("Alias %s is not found.", aliasARN(call.Region, call.Caller.Account, in.AliasName))
		}
		if err != nil {
			return err
		}
		if err := stillNamed(ctx, &a); err != nil {
			return err
		}
		was, err := keys.Get(tx, call.Region, a.Target)
		if err != nil && !isNotFound(err) {
			return err
		}
		if err == nil && (was.Usage != k.Usage || (was.Spec == kmsapi.KeySpecSymmetricDefault) != (k.Spec == kmsapi.KeySpecSymmetricDefault)) {
			return kmsapi.ValidationException("Alias %s cannot be moved between keys of different type or usage.", in.AliasName)
		}
		tx.Bump(epoch(call.Region, a.Target))
		return s.pointAlias(ctx, tx, k, a)
	})
}

func (s *Service) deleteAliasChecks(ctx context.Context, in *kmsapi.DeleteAliasInput) ([]protocol.Check, error) {
	if err := checkAliasName(in.AliasName); err != nil {
		return nil, err
	}
	a, err := s.alias(ctx, in.AliasName)
	if err != nil {
		return nil, err
	}
	checks := []protocol.Check{aliasCheck(ctx, in.AliasName)}
	k, ref, err := s.aliasTarget(ctx, a.Target)
	if err != nil {
		return nil, err
	}
	c, err := s.check(ctx, k, ref, call{}, nil)
	return append(checks, c), err
}

// DeleteAlias removes an alias; the key stays.
func (s *Service) DeleteAlias(ctx context.Context, in *kmsapi.DeleteAliasInput) (*schemaNothing, error) {
	c := identity.From(ctx)
	return nil, s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		a, err := aliases.Get(tx, c.Region, c.Caller.Account, in.AliasName)
		if isNotFound(err) {
			return kmsapi.NotFoundException("Alias %s is not found.", aliasARN(c.Region, c.Caller.Account, in.AliasName))
		}
		if err != nil {
			return err
		}
		if err := stillNamed(ctx, &a); err != nil {
			return err
		}
		audit.From(ctx).SetResponse(map[string]string{"keyId": keyARN(a.Region, a.Account, a.Target)})
		tx.Bump(epoch(a.Region, a.Target))
		return aliases.Delete(tx, a.Region, a.Account, a.Name)
	})
}

// ListAliases lists the aliases of the caller's account and region, or of one key.
func (s *Service) ListAliases(ctx context.Context, in *kmsapi.ListAliasesInput) (*kmsapi.ListAliasesOutput, error) {
	c := identity.From(ctx)
	var key string
	if in.KeyId != nil {
		k, _, err := s.aliasTarget(ctx, *in.KeyId)
		if err != nil {
			return nil, err
		}
		key = k.ID
	}
	p, err := s.page(ctx, "ListAliases", key, in.Limit, in.Marker, 100, 50)
	if err != nil {
		return nil, err
	}
	out := &kmsapi.ListAliasesOutput{Aliases: []kmsapi.AliasListEntry{}}
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var rows store.Page[aliasRow]
		var err error
		if key != "" {
			rows, err = aliases.PageByIndex(tx, "key", store.Key{c.Region, key}, p.options)
		} else {
			rows, err = aliases.Page(tx, store.Key{c.Region, c.Caller.Account}, p.options)
		}
		if err != nil {
			return err
		}
		for _, a := range rows.Values {
			out.Aliases = append(out.Aliases, kmsapi.AliasListEntry{
				AliasName: new(a.Name), AliasArn: new(aliasARN(a.Region, a.Account, a.Name)), TargetKeyId: new(a.Target),
				CreationDate: new(a.Created), LastUpdatedDate: new(a.Updated),
			})
		}
		out.NextMarker, out.Truncated, err = p.next(rows.Next)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
