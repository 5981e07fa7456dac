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
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/protocol/wire"
	"github.com/sagekeep/sagekeep/internal/store"
)

// call is what the authorisation of one operation on one key needs of its input.
type call struct {
	key         *string   // the request's KeyId
	tokens      *[]string // the request's GrantTokens; nil when it has none
	action      string    // kms:Operation
	ec          map[string]string
	awsResource bool // the operation has kms:GrantIsForAWSResource
	unused      bool // the operation has kms:TrailingDaysWithoutKeyUsage
	// set adds the operation's own condition keys.
	set func(authz.Context)
}

// use says how an operation may name its key.
type use uint8

const (
	byAlias      use = 1 << iota // also by an alias
	crossAccount                 // also a key of another account

	byKey use = 0 // by id or ARN alone, a key of the caller's account
)

// keyOf is the resolver of operations on one key. The key is named by its ARN in
// the input from here on: an alias that moves between authorisation and method
// moves nothing.
//
// Source: AWS KMS API Reference, "Cross-account use" of every operation.
func keyOf[In, Out any](s *Service, op schema.Op[In, Out], may use, of func(*In) call) protocol.Resolver[In] {
	return func(ctx context.Context, in *In) ([]protocol.Check, error) {
		c := of(in)
		c.action = "kms:" + op.Name
		tokens := takeTokens(ctx, op, in, c.tokens)
		k, ref, err := s.resolve(ctx, *c.key, may)
		if err != nil {
			return nil, err
		}
		if may&crossAccount == 0 && k.Account != callerAccount(ctx) {
			return nil, refusal(ctx, c.action, k.arn())
		}
		check, err := s.checkNamed(ctx, k, ref, c, tokens)
		if err != nil {
			return nil, err
		}
		pin(ctx, op, in, c.key, k, ref)
		return []protocol.Check{check}, nil
	}
}

// takeTokens takes the grant tokens out of an input, so that no record holds
// them, and returns them.
func takeTokens[In, Out any](ctx context.Context, op schema.Op[In, Out], in *In, tokens *[]string) []string {
	if tokens == nil || *tokens == nil {
		return nil
	}
	took := *tokens
	*tokens = nil
	recordRequest(ctx, op, in)
	return took
}

// pin replaces the alias in an input by the ARN of the key that it stands for
// now. The record keeps what was sent.
func pin[In, Out any](ctx context.Context, op schema.Op[In, Out], in *In, key *string, k *cachedKey, ref keyRef) {
	if ref.typed == "" {
		return
	}
	recordRequest(ctx, op, in)
	*key = k.arn()
}

func recordRequest[In, Out any](ctx context.Context, op schema.Op[In, Out], in *In) {
	if e := audit.From(ctx); e != nil && !e.HasRequest() {
		e.SetRequestJSON(wire.AppendAuditJSON(nil, op.Input, in))
	}
}

// callerAccount is the account that a call is made for.
func callerAccount(ctx context.Context) string {
	c := identity.From(ctx).Caller
	if c.Type == identity.Service {
		return c.SourceAccount
	}
	return c.Account
}

// refusal is the answer to who may not know why.
func refusal(ctx context.Context, action, resource string) error {
	return kmsapi.AccessDeniedException("%s", authz.DeniedMessage(identity.From(ctx).Caller.ARN, action, resource,
		authz.Decision{Effect: authz.ImplicitlyDenied, Layer: authz.LayerResource}))
}

// checkNamed is check for a key that the request names. Nobody learns from an
// alias of another account whether it exists or which key it names.
func (s *Service) checkNamed(ctx context.Context, k *cachedKey, ref keyRef, c call, tokens []string) (protocol.Check, error) {
	check, err := s.check(ctx, k, ref, c, tokens)
	if err == nil && ref.typed != "" && ref.account != callerAccount(ctx) {
		err = s.conceal(ctx, check, refusal(ctx, c.action, aliasARN(ref.region, ref.account, ref.typed)))
	}
	return check, err
}

// conceal gives the same answer for every reason of a denial, an explicit deny
// too, and keeps the resource out of the record.
func (s *Service) conceal(ctx context.Context, check protocol.Check, answer error) error {
	check.Context = check.Context.Clone()
	err := s.cfg.Authorizer.Authorize(ctx, kmsapi.Service, &check)
	if errors.Is(err, kmsapi.AccessDeniedException("")) {
		return answer
	}
	return err
}

// check builds the question to the evaluator.
func (s *Service) check(ctx context.Context, k *cachedKey, ref keyRef, c call, tokens []string) (protocol.Check, error) {
	caller := identity.From(ctx).Caller
	if err := s.checkTokens(tokens); err != nil {
		return protocol.Check{}, err
	}
	grants, err := s.grantsFor(ctx, k, caller, &c)
	if err != nil {
		return protocol.Check{}, err
	}
	conditions := authz.NewContext()
	if err := s.keyConditions(ctx, conditions, k, ref, caller); err != nil {
		return protocol.Check{}, err
	}
	if err := encryptionContextConditions(conditions, c.ec); err != nil {
		return protocol.Check{}, err
	}
	if c.awsResource {
		conditions.SetBool("kms:GrantIsForAWSResource", len(caller.Via) > 0 || caller.Type == identity.Service || caller.InvokedBy != "")
	}
	if c.unused {
		s.unusedCondition(ctx, conditions, k)
	}
	if c.set != nil {
		c.set(conditions)
	}
	return protocol.Check{
		Action: c.action, Resource: k.arn(), ResourceType: resourceType, Account: k.Account,
		Policy: k.policy, Kind: protocol.KMSKey, AWSManaged: k.Manager == kmsapi.KeyManagerTypeAws,
		Grants: grants, EncryptionContext: c.ec, Context: conditions,
	}, nil
}

// accountWide is the resolver of operations without a key.
func accountWide[In any](ctx context.Context, _ *In) ([]protocol.Check, error) {
	return []protocol.Check{{Resource: "*", Context: accountConditions(ctx)}}, nil
}

// accountConditions are the condition keys of calls that address no key.
func accountConditions(ctx context.Context) authz.Context {
	c := authz.NewContext()
	if a := identity.From(ctx).Caller.Account; a != "" {
		c.Set("kms:CallerAccount", a)
	}
	return c
}

// keyConditions sets the condition keys that every key operation has.
//
// Source: AWS KMS Developer Guide, "AWS KMS condition keys".
func (s *Service) keyConditions(ctx context.Context, out authz.Context, k *cachedKey, ref keyRef, caller *identity.Caller) error {
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
		out.Set("kms:MultiRegionKeyType", string(k.keyType()))
	}
	for _, name := range slices.Sorted(maps.Keys(k.Tags)) {
		out.Set("aws:ResourceTag/"+name, k.Tags[name])
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

// aliasNames returns the key's aliases, cached with it.
func (s *Service) aliasNames(ctx context.Context, k *cachedKey) ([]string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.aliased {
		return k.aliases, nil
	}
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		k.aliases = nil
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

// grantsFor returns the live grants on the key that can allow the caller the
// action. A service principal acts under one grant alone, the one of the resource
// that it serves, so that one job's grant never opens another job's data. Users
// are found under their unique ids, too, which stay when they are renamed.
func (s *Service) grantsFor(ctx context.Context, k *cachedKey, caller *identity.Caller, c *call) ([]authz.Grant, error) {
	if k.Spec == "" || k.GrantCount == 0 {
		return nil, nil
	}
	var names [4]string
	switch caller.Type {
	case identity.Service:
		if caller.SourceAccount == "" || caller.GrantID == "" {
			return nil, nil
		}
		return s.grantOf(ctx, k, caller.GrantID)
	case identity.Anonymous, identity.WebIdentity:
		return nil, nil
	case identity.AssumedRole:
		names = [4]string{caller.ARN, caller.RoleARN, rootARN(caller.Account)}
	case identity.User:
		names = [4]string{caller.ARN, caller.PrincipalID, rootARN(caller.Account)}
	case identity.FederatedUser:
		names = [4]string{caller.ARN, caller.UserARN, caller.UserID, rootARN(caller.Account)}
	default:
		names = [4]string{caller.ARN}
	}
	var out []authz.Grant
	for i, name := range names {
		if name == "" || slices.Contains(names[:i], name) {
			continue
		}
		list := grantee{name: name}
		if i > 0 && !strings.Contains(name, ":") { // a unique id
			list.not = names[i-1]
		}
		found, err := s.grantsOf(ctx, k, list, caller.SourceARN, c)
		if err != nil {
			return nil, err
		}
		if len(out) == 0 {
			out = slices.Clip(found) // the cache's own: it must not be written to
			continue
		}
		for _, g := range found {
			if !slices.Contains(names[:i], g.Grantee) { // found under its name
				out = append(out, g)
			}
		}
	}
	return out, nil
}

func rootARN(account string) string { return "arn:aws:iam::" + account + ":root" }

// dryRun is the answer of a request that would have succeeded.
func dryRun(flag *bool) error {
	if flag != nil && *flag {
		return kmsapi.DryRunOperationException("The request would have succeeded, but the DryRun option is set.")
	}
	return nil
}

// daysCondition sets the condition key of a number of days in the request. Such
// keys are there for what a request leaves out, too, with the default.
//
// Source: AWS KMS Developer Guide, "AWS KMS condition keys": "This type of
// condition works even when the parameter doesn't appear in the request".
func daysCondition(name string, days *int32, absent int32) func(authz.Context) {
	if days == nil {
		days = &absent
	}
	return func(c authz.Context) { c.Set(name, strconv.Itoa(int(*days))) }
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
	k, _, err := s.resolve(ctx, keyID, byAlias)
	if err != nil {
		return KeyInfo{}, err
	}
	return KeyInfo{ARN: k.arn(), Symmetric: k.Spec == kmsapi.KeySpecSymmetricDefault, State: string(k.State)}, nil
}

// CheckFor builds the question whether the caller in ctx may take a KMS action
// on a key, for services that must know before they begin.
func (s *Service) CheckFor(ctx context.Context, keyID, action string, ec map[string]string) (protocol.Check, error) {
	k, ref, err := s.resolve(ctx, keyID, byAlias)
	if err != nil {
		return protocol.Check{}, err
	}
	return s.checkNamed(ctx, k, ref, call{action: action, ec: ec, awsResource: true}, nil)
}
