package kms

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

// call is what the authorisation of one operation on one key needs of its input.
type call struct {
	key         string
	action      string // "" = kms:Operation
	ec          map[string]string
	tokens      []string
	awsResource bool // the operation has kms:GrantIsForAWSResource
	// set adds the operation's own condition keys.
	set func(authz.Context)
}

// keyOf is the resolver of operations on one key.
func keyOf[In any](s *Service, alias bool, of func(*In) call) protocol.Resolver[In] {
	return func(ctx context.Context, in *In) ([]protocol.Check, error) {
		c := of(in)
		k, ref, err := s.resolve(ctx, c.key, alias)
		if err != nil {
			return nil, err
		}
		check, err := s.check(ctx, k, ref, c)
		if err != nil {
			return nil, err
		}
		return []protocol.Check{check}, nil
	}
}

// check builds the question to the evaluator.
func (s *Service) check(ctx context.Context, k *keyState, ref keyRef, c call) (protocol.Check, error) {
	caller := identity.From(ctx).Caller
	if err := s.checkTokens(caller, c.tokens); err != nil {
		return protocol.Check{}, err
	}
	grants, err := s.grantsFor(ctx, k, caller)
	if err != nil {
		return protocol.Check{}, err
	}
	conditions := authz.NewContext()
	if err := s.keyConditions(ctx, conditions, k, ref, caller); err != nil {
		return protocol.Check{}, err
	}
	encryptionContextConditions(conditions, c.ec)
	if c.awsResource {
		conditions.SetBool("kms:GrantIsForAWSResource", len(caller.Via) > 0 || caller.Type == identity.Service || caller.InvokedBy != "")
	}
	if c.set != nil {
		c.set(conditions)
	}
	return protocol.Check{
		Action: c.action, Resource: k.arn(), ResourceType: resourceType, Account: k.Account,
		Policy: k.policy, Kind: protocol.KMSKey, Grants: grants, EncryptionContext: c.ec, Context: conditions,
	}, nil
}

// keyConditions sets the condition keys that every key operation has.
//
// Source: AWS KMS Developer Guide, "AWS KMS condition keys".
func (s *Service) keyConditions(ctx context.Context, out authz.Context, k *keyState, ref keyRef, caller *identity.Caller) error {
	if caller.Account != "" {
		out.Set("kms:CallerAccount", caller.Account)
	}
	if ref.typed != "" {
		out.Set("kms:RequestAlias", ref.typed)
	}
	if k.Spec == "" { // a key that the caller cannot see
		return nil
	}
	out.Set("kms:KeySpec", string(k.Spec))
	out.Set("kms:CustomerMasterKeySpec", string(k.Spec))
	out.Set("kms:KeyUsage", string(k.Usage))
	out.Set("kms:CustomerMasterKeyUsage", string(k.Usage))
	out.Set("kms:KeyOrigin", string(k.Origin))
	out.SetBool("kms:MultiRegion", k.MultiRegion)
	if k.MultiRegion {
		out.Set("kms:MultiRegionKeyType", string(kmsapi.MultiRegionKeyTypePrimary))
	}
	for name, value := range k.Tags {
		out.Set("aws:ResourceTag/"+name, value)
	}
	names, err := s.aliasNames(ctx, k)
	if err != nil {
		return err
	}
	if len(names) > 0 && len(names) <= maxAliases { // void above the quota
		out.SetMulti("kms:ResourceAliases", names...)
	}
	return nil
}

func encryptionContextConditions(out authz.Context, ec map[string]string) {
	if len(ec) == 0 {
		return
	}
	for name, value := range ec {
		out.Set("kms:EncryptionContext:"+name, value)
	}
	out.SetMulti("kms:EncryptionContextKeys", slices.Sorted(maps.Keys(ec))...)
}

// aliasNames returns the key's aliases, cached with it.
func (s *Service) aliasNames(ctx context.Context, k *keyState) ([]string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.aliased {
		return k.aliases, nil
	}
	err := s.Store.View(ctx, func(tx *store.Tx) error {
		for row, err := range aliases.ByIndex(tx, "key", store.Key{k.Region, k.ID}, store.ScanOptions{Limit: maxAliases + 1}) {
			if err != nil {
				return err
			}
			k.aliases = append(k.aliases, row.Value.Name)
		}
		return nil
	})
	if err != nil {
		k.aliases = nil
		return nil, fmt.Errorf("kms: read aliases: %w", err)
	}
	k.aliased = true
	return k.aliases, nil
}

// grantsFor returns the live grants on the key that can concern the caller. A
// service principal acts under one grant alone, the one of the resource that it
// serves, so that one job's grant never opens another job's data.
func (s *Service) grantsFor(ctx context.Context, k *keyState, caller *identity.Caller) ([]authz.Grant, error) {
	if k.Spec == "" {
		return nil, nil
	}
	var names []string
	switch caller.Type {
	case identity.Service:
		if caller.SourceAccount != k.Account && caller.SourceAccount == "" {
			return nil, nil
		}
		names = []string{caller.ServiceName}
	case identity.Anonymous:
		return nil, nil
	case identity.AssumedRole:
		names = []string{caller.ARN, caller.RoleARN, rootARN(caller.Account)}
	default:
		names = []string{caller.ARN, rootARN(caller.Account)}
	}
	var out []authz.Grant
	for i, name := range names {
		if name == "" || slices.Contains(names[:i], name) {
			continue
		}
		g, err := s.grantsOf(ctx, k, name)
		if err != nil {
			return nil, err
		}
		out = append(out, g...)
	}
	if caller.Type == identity.Service {
		out = slices.DeleteFunc(slices.Clone(out), func(g authz.Grant) bool { return g.ID != caller.GrantID })
	} else {
		out = slices.DeleteFunc(slices.Clone(out), func(g authz.Grant) bool { return g.GranteeIsService })
	}
	return out, nil
}

func rootARN(account string) string { return "arn:aws:iam::" + account + ":root" }

// grantsOf returns the grants on the key that name the grantee, cached with it.
func (s *Service) grantsOf(ctx context.Context, k *keyState, grantee string) ([]authz.Grant, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if g, ok := k.grants[grantee]; ok {
		return g, nil
	}
	var out []authz.Grant
	err := s.Store.View(ctx, func(tx *store.Tx) error {
		out = nil
		for row, err := range grants.ByIndex(tx, "grantee", store.Key{k.Region, k.ID, grantee}, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			out = append(out, row.Value.authz())
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("kms: read grants: %w", err)
	}
	k.grants[grantee] = out
	return out, nil
}

// checkTokens refuses tokens that are not ours. A grant works from the instant
// its CreateGrant is answered, so a good token adds nothing.
func (s *Service) checkTokens(caller *identity.Caller, tokens []string) error {
	for _, t := range tokens {
		if _, err := s.openGrantToken(t); err != nil {
			return err
		}
	}
	return nil
}

// openGrantToken returns the grant that a token stands for.
func (s *Service) openGrantToken(text string) (grantToken, error) {
	t, err := s.Keyring.OpenToken(envelope.GrantToken, text, s.Now())
	if err != nil {
		return grantToken{}, kmsapi.InvalidGrantTokenException("").Because(err)
	}
	keyID, grantID, ok := strings.Cut(string(t.Payload), "|")
	if !ok {
		return grantToken{}, kmsapi.InvalidGrantTokenException("")
	}
	return grantToken{account: t.Account, region: t.Region, keyID: keyID, grantID: grantID}, nil
}

type grantToken struct{ account, region, keyID, grantID string }

// usable returns the error of the key's state for operations that use it.
//
// Source: AWS KMS Developer Guide, "Key states of AWS KMS keys".
func usable(k *keyRow) error {
	switch k.State {
	case kmsapi.KeyStateEnabled:
		return nil
	case kmsapi.KeyStateDisabled:
		return kmsapi.DisabledException("%s is disabled.", k.arn())
	}
	return pendingState(k)
}

// pendingState returns the error for operations that need the key not to be
// pending.
func pendingState(k *keyRow) error {
	switch k.State {
	case kmsapi.KeyStatePendingDeletion:
		return kmsapi.KMSInvalidStateException("%s is pending deletion.", k.arn())
	case kmsapi.KeyStatePendingImport:
		return kmsapi.KMSInvalidStateException("%s is pending import.", k.arn())
	}
	return nil
}

// dryRun is the answer of a request that would have succeeded.
func dryRun(flag *bool) error {
	if flag != nil && *flag {
		return kmsapi.DryRunOperationException("The request would have succeeded, but the DryRun option is set.")
	}
	return nil
}

// update changes one key in one commit: fn works on the row as it is in the
// transaction.
func (s *Service) update(ctx context.Context, id string, fn func(tx *store.Tx, k *keyRow) error) error {
	ref, err := s.refOf(ctx, id)
	if err != nil {
		return err
	}
	return s.Store.Update(ctx, func(tx *store.Tx) error {
		k, err := keys.Get(tx, ref.region, ref.id)
		if errors.Is(err, store.ErrNotFound) {
			return kmsapi.NotFoundException("Key '%s' does not exist", keyARN(ref.region, ref.account, ref.id))
		}
		if err != nil {
			return err
		}
		if err := fn(tx, &k); err != nil {
			return err
		}
		tx.Bump(epoch(ref.region, ref.id))
		return keys.Put(tx, k, ref.region, ref.id)
	})
}

// refOf resolves a KeyId once more for the method; the resolver has accepted it.
func (s *Service) refOf(ctx context.Context, text string) (keyRef, error) {
	k, ref, err := s.resolve(ctx, text, true)
	if err != nil {
		return ref, err
	}
	ref.id, ref.account = k.ID, k.Account
	return ref, nil
}

func daysCondition(name string, days int32) func(authz.Context) {
	return func(c authz.Context) { c.Set(name, strconv.Itoa(int(days))) }
}

// days is a whole number of days.
func days(n int32) time.Duration { return time.Duration(n) * 24 * time.Hour }

// KeyInfo is what other services need to know of a key before they use it.
type KeyInfo struct {
	ARN       string
	Symmetric bool // a symmetric encryption key
	State     string
}

// Describe resolves a KeyId in any form for the caller in ctx.
//
// Errors: NotFoundException.
func (s *Service) Describe(ctx context.Context, keyID string) (KeyInfo, error) {
	k, _, err := s.resolve(ctx, keyID, true)
	if err != nil {
		return KeyInfo{}, err
	}
	return KeyInfo{ARN: k.arn(), Symmetric: k.Spec == kmsapi.KeySpecSymmetricDefault, State: string(k.State)}, nil
}

// CheckFor builds the question whether the caller in ctx may take a KMS action
// on a key, for services that must know before they begin.
func (s *Service) CheckFor(ctx context.Context, keyID, action string, ec map[string]string) (protocol.Check, error) {
	k, ref, err := s.resolve(ctx, keyID, true)
	if err != nil {
		return protocol.Check{}, err
	}
	return s.check(ctx, k, ref, call{action: action, ec: ec, awsResource: true})
}

// Epoch returns the counter that every change of the key bumps.
func (s *Service) Epoch(region, arn string) uint64 {
	_, id, _ := strings.Cut(arn, ":key/")
	return s.Store.Epoch(epoch(region, id))
}
