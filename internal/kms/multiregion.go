package kms

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/protocol/wire"
	"github.com/sagekeep/sagekeep/internal/store"
)

// The service-linked role of accounts with multi-Region keys, and the service
// principal that it trusts.
//
// Source: AWS KMS Developer Guide, "Authorizing AWS KMS to synchronize multi-Region keys".
const (
	MultiRegionPrincipal = "mrk.kms.amazonaws.com"
	MultiRegionRole      = "AWSServiceRoleForKeyManagementServiceMultiRegionKeys"
)

// maxKeyRegions bounds the Regions that one multi-Region key has keys in: a change of
// what they share writes all of them. AWS has no such quota, and fewer Regions.
const maxKeyRegions = 40

// primary returns the Region of the primary key of a multi-Region key.
func (k *keyRow) primary() string {
	if k.PrimaryRegion == "" {
		return k.Region
	}
	return k.PrimaryRegion
}

// replica reports whether the key is the replica of a key in another Region.
func (k *keyRow) replica() bool { return k.primary() != k.Region }

// keyType is the value of kms:MultiRegionKeyType and MultiRegionKeyType.
func (k *keyRow) keyType() kmsapi.MultiRegionKeyType {
	if k.replica() {
		return kmsapi.MultiRegionKeyTypeReplica
	}
	return kmsapi.MultiRegionKeyTypePrimary
}

// configuration renders the keys that share a multi-Region key's id.
func (k *keyRow) configuration() *kmsapi.MultiRegionConfiguration {
	in := func(region string) kmsapi.MultiRegionKey {
		return kmsapi.MultiRegionKey{Arn: new(keyARN(region, k.Account, k.ID)), Region: new(region)}
	}
	c := &kmsapi.MultiRegionConfiguration{
		MultiRegionKeyType: k.keyType(), PrimaryKey: new(in(k.primary())), ReplicaKeys: []kmsapi.MultiRegionKey{},
	}
	for _, region := range k.Replicas {
		c.ReplicaKeys = append(c.ReplicaKeys, in(region))
	}
	return c
}

// isPrimary refuses what only single-Region and primary keys can do.
func isPrimary(k *keyRow) error {
	if k.replica() {
		return notPrimary(k)
	}
	return nil
}

func notPrimary(k *keyRow) error {
	return kmsapi.UnsupportedOperationException("%s is not a multi-region primary key.", k.arn())
}

// keySet is a key together with those of other Regions that share its id and
// material. A change of what they share is one commit.
type keySet struct {
	*keyRow
	others []*keyRow // none for a single-Region key
}

// readSet reads a key and its relatives, or returns store.ErrNotFound.
func readSet(tx *store.Tx, region, id string) (*keySet, error) {
	k, err := keys.Get(tx, region, id)
	if err != nil {
		return nil, err
	}
	set := &keySet{keyRow: &k}
	for _, r := range append([]string{k.primary()}, k.Replicas...) {
		if r == region {
			continue
		}
		o, err := keys.Get(tx, r, id)
		if err != nil {
			return nil, fmt.Errorf("kms: read the key %s related to %s: %w", keyARN(r, k.Account, id), k.arn(), noMiss(err))
		}
		set.others = append(set.others, &o)
	}
	return set, nil
}

// noMiss hides that a row is missing from those who ask whether another one is.
func noMiss(err error) error {
	if isNotFound(err) {
		return errors.New("it is missing")
	}
	return err
}

// all yields the key, then its relatives.
func (set *keySet) all() iter.Seq[*keyRow] {
	return func(yield func(*keyRow) bool) {
		if !yield(set.keyRow) {
			return
		}
		for _, k := range set.others {
			if !yield(k) {
				return
			}
		}
	}
}

// put writes every key of the set and makes what was decided from them stale.
func (set *keySet) put(tx *store.Tx) error {
	for k := range set.all() {
		tx.Bump(epoch(k.Region, k.ID))
		if err := keys.Put(tx, *k, k.Region, k.ID); err != nil {
			return err
		}
	}
	return nil
}

// findLacking brings up to date where the material that waits for a rotation is
// not imported yet.
func (set *keySet) findLacking() {
	var lacking []string
	for k := range set.all() {
		if k.Pending != nil && k.Pending.Wrapped == nil {
			lacking = append(lacking, k.Region)
		}
	}
	slices.Sort(lacking)
	for k := range set.all() {
		k.Lacking = lacking
	}
}

// place tells every key of the set where primary and replicas are.
func (set *keySet) place(primary string, replicas []string) {
	slices.Sort(replicas)
	for k := range set.all() {
		k.PrimaryRegion, k.Replicas = primary, replicas
	}
}

// forgetSet is forget for every key of a set.
func (s *Service) forgetSet(set *keySet) {
	if set == nil {
		return
	}
	for k := range set.all() {
		s.forget(k.Region, k.ID)
	}
}

// synchronized records that what the keys of a set share was brought to its replicas.
func (s *Service) synchronized(p *audit.Pending, set *keySet) {
	for k := range set.all() {
		if k.MultiRegion && !k.replica() && len(set.others) > 0 {
			p.AddEvent(s.event("SynchronizeMultiRegionKey", k))
		}
	}
}

// elsewhereOf is the context of the same call in another Region.
func elsewhereOf(ctx context.Context, region string) context.Context {
	call := *identity.From(ctx)
	call.Region = region
	return identity.With(ctx, &call)
}

// partitionOf is the partition of a Region.
//
// Source: AWS General Reference, "Amazon Resource Names (ARNs)".
func partitionOf(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	case strings.HasPrefix(region, "us-iso"), strings.HasPrefix(region, "eu-iso"):
		return "aws-iso"
	}
	return "aws"
}

func replicateCall(in *kmsapi.ReplicateKeyInput) call {
	noUnlessSaid(&in.BypassPolicyLockoutSafetyCheck)
	return call{key: &in.KeyId, set: func(c authz.Context) {
		c.Set("kms:ReplicaRegion", in.ReplicaRegion)
		c.SetFlag("kms:BypassPolicyLockoutSafetyCheck", in.BypassPolicyLockoutSafetyCheck)
		tagConditions(c, in.Tags)
	}}
}

// replicable refuses keys that have no replica in the Region to come.
func replicable(k *keyRow, region string) error {
	switch {
	case !k.MultiRegion || k.replica():
		return notPrimary(k)
	case partitionOf(region) != partitionOf(k.Region):
		return kmsapi.UnsupportedOperationException("The Region %s is not in the partition of %s.", region, k.arn())
	case region == k.Region || slices.Contains(k.Replicas, region):
		return kmsapi.AlreadyExistsException("The multi-Region key %s already exists", keyARN(region, k.Account, k.ID))
	case 1+len(k.Replicas) >= maxKeyRegions:
		return kmsapi.LimitExceededException("The multi-Region key %s is in %d Regions, the limit.", k.arn(), maxKeyRegions)
	}
	return inState(k, kmsapi.KeyStateEnabled)
}

// ReplicateKey makes a replica of a multi-Region primary key in another Region,
// with the same id and material and a policy, description and tags of its own.
// It is Creating for a moment, then Enabled, or PendingImport when the material
// is to be imported there too.
//
// Errors: UnsupportedOperationException for keys that are not multi-Region
// primary keys and Regions of other partitions; AlreadyExistsException;
// LimitExceededException for a key in 40 Regions; DisabledException,
// KMSInvalidStateException; AccessDeniedException without
// kms:CreateKey in the replica's Region; those of CreateKey for policy and tags.
//
// Source: AWS KMS API Reference, ReplicateKey.
func (s *Service) ReplicateKey(ctx context.Context, in *kmsapi.ReplicateKeyInput) (*kmsapi.ReplicateKeyOutput, error) {
	k, _, err := s.resolve(ctx, in.KeyId, byKey)
	if err != nil {
		return nil, err
	}
	there := elsewhereOf(ctx, in.ReplicaRegion)
	create := replicaRequest(&k.keyRow, in)
	if err := s.mayReplicate(there, create); err != nil {
		return nil, err
	}
	if err := replicable(&k.keyRow, in.ReplicaRegion); err != nil {
		return nil, err
	}
	replica, err := s.newReplica(there, &k.keyRow, in)
	if err != nil {
		return nil, err
	}
	out := &kmsapi.ReplicateKeyOutput{ReplicaPolicy: new(replica.Policy), ReplicaTags: in.Tags}
	s.wrapping.RLock()
	defer s.wrapping.RUnlock()
	err = s.updateSet(ctx, in.KeyId, func(tx *store.Tx, set *keySet) error {
		if err := replicable(set.keyRow, in.ReplicaRegion); err != nil {
			return err
		}
		exists, err := keys.Exists(tx, in.ReplicaRegion, set.ID)
		if err != nil {
			return err
		}
		if exists {
			return fmt.Errorf("kms: %s is no relative of %s", keyARN(in.ReplicaRegion, set.Account, set.ID), set.arn())
		}
		r := *replica
		if err := s.share(set.keyRow, &r); err != nil {
			return err
		}
		set.others = append(set.others, &r)
		set.place(set.Region, append(slices.Clone(set.Replicas), r.Region))
		set.findLacking()
		if err := tombstones.Delete(tx, r.Region, r.ID); err != nil {
			return err
		}
		if err := s.countKey(tx, &r); err != nil {
			return err
		}
		out.ReplicaKeyMetadata = metadata(&r)
		recordReplica(there, create, &r)
		protocol.Respond(ctx, kmsapi.ReplicateKey, out)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// replicaRequest is the CreateKey request that a ReplicateKey request stands for
// in the replica's Region.
func replicaRequest(k *keyRow, in *kmsapi.ReplicateKeyInput) *kmsapi.CreateKeyInput {
	return &kmsapi.CreateKeyInput{
		Policy: in.Policy, Description: in.Description, Tags: in.Tags, BypassPolicyLockoutSafetyCheck: in.BypassPolicyLockoutSafetyCheck,
		KeySpec: k.Spec, CustomerMasterKeySpec: kmsapi.CustomerMasterKeySpec(k.Spec), KeyUsage: k.Usage, Origin: k.Origin, MultiRegion: new(true),
	}
}

// mayReplicate asks whether the caller may make the replica in its Region.
func (s *Service) mayReplicate(there context.Context, create *kmsapi.CreateKeyInput) error {
	checks, err := s.createKeyChecks(there, create)
	if err != nil {
		return err
	}
	for i := range checks {
		c := &checks[i]
		if c.Action == "" {
			c.Action = "kms:CreateKey"
		}
		c.Context.Set("kms:MultiRegionKeyType", string(kmsapi.MultiRegionKeyTypeReplica))
		if err := s.cfg.Authorizer.Authorize(there, kmsapi.Service, c); err != nil {
			return err
		}
	}
	return nil
}

// newReplica makes the row of a replica, without what it shares with the primary.
func (s *Service) newReplica(there context.Context, k *keyRow, in *kmsapi.ReplicateKeyInput) (*keyRow, error) {
	r := &keyRow{
		ID: k.ID, Account: k.Account, Region: in.ReplicaRegion, Description: deref(in.Description), Spec: k.Spec, Usage: k.Usage,
		Origin: k.Origin, Manager: k.Manager, MultiRegion: true, PrimaryRegion: k.Region, Created: s.timestamp(), Tags: map[string]string{},
		State: kmsapi.KeyStateCreating, Settles: s.timestamp().Add(settling), SettlesTo: kmsapi.KeyStateEnabled,
	}
	if k.Origin == kmsapi.OriginTypeExternal {
		r.SettlesTo = kmsapi.KeyStatePendingImport
	}
	if err := addTags(r.Tags, in.Tags); err != nil {
		return nil, err
	}
	text := defaultPolicy(r.Account)
	if in.Policy != nil {
		text = *in.Policy
	}
	bypass := in.BypassPolicyLockoutSafetyCheck != nil && *in.BypassPolicyLockoutSafetyCheck
	return r, s.setPolicy(there, r, text, bypass || in.Policy == nil)
}

// share gives a new replica what it shares with its primary. Imported material
// is not copied: it must be imported in every Region. The caller holds
// s.wrapping as for addMaterial.
func (s *Service) share(primary, r *keyRow) error {
	r.Rotation, r.ImportSalt = primary.Rotation, primary.ImportSalt
	bare := func(m *materialRow) materialRow {
		return materialRow{ID: m.ID, Created: m.Created, Rotation: m.Rotation}
	}
	r.Materials = nil
	for i := range primary.Materials {
		from := &primary.Materials[i]
		m := bare(from)
		if primary.Origin != kmsapi.OriginTypeExternal {
			if err := s.copyMaterial(primary, from, r, &m); err != nil {
				return err
			}
		}
		r.Materials = append(r.Materials, m)
	}
	if primary.Pending != nil {
		r.Pending = new(bare(primary.Pending))
	}
	return nil
}

// copyMaterial wraps the material of one key's version for another key.
func (s *Service) copyMaterial(from *keyRow, m *materialRow, to *keyRow, into *materialRow) error {
	fresh, err := s.takeOut(from, m)
	defer fresh.erase()
	if err != nil {
		return err
	}
	return s.fill(to, into, &fresh)
}

// recordReplica writes the CreateKey record of the replica's Region.
func recordReplica(there context.Context, create *kmsapi.CreateKeyInput, r *keyRow) {
	p := audit.PendingFrom(there)
	if p == nil {
		return
	}
	_, e := p.Begin(there, kmsapi.Service.EventSource, kmsapi.CreateKey.Name, false, false, newID(false))
	e.SetRequestJSON(wire.AppendAuditJSON(nil, kmsapi.CreateKey.Input, create))
	e.SetResponseJSON(wire.AppendAuditJSON(nil, kmsapi.CreateKey.Output, &kmsapi.CreateKeyOutput{KeyMetadata: metadata(r)}))
	e.AddResource(r.Account, resourceType, r.arn())
}

// addSharedMaterial gives every key of a set the same new version.
func (s *Service) addSharedMaterial(set *keySet, how kmsapi.RotationType, fresh *newMaterial) error {
	if err := s.addMaterial(set.keyRow, how, fresh); err != nil {
		return err
	}
	m := set.current()
	for _, k := range set.others {
		same := materialRow{ID: m.ID, Created: m.Created, Rotation: how}
		if err := s.fill(k, &same, fresh); err != nil {
			return err
		}
		k.Materials = append(slices.Clip(k.Materials), same)
	}
	return nil
}

// leave takes keys that are erased out of their set. When the last replica goes
// and the primary waits for that, the primary's own waiting period begins.
func (s *Service) leave(tx *store.Tx, set *keySet, gone []*keyRow) error {
	stay := slices.DeleteFunc(slices.Collect(set.all()), func(k *keyRow) bool { return slices.Contains(gone, k) })
	if len(stay) == 0 {
		return nil
	}
	rest := &keySet{keyRow: stay[0], others: stay[1:]}
	rest.place(rest.primary(), slices.DeleteFunc(slices.Clone(rest.Replicas), func(region string) bool {
		return slices.ContainsFunc(gone, func(k *keyRow) bool { return k.Region == region })
	}))
	rest.findLacking()
	for k := range rest.all() {
		if !k.replica() && k.State == kmsapi.KeyStatePendingReplicaDeletion && len(k.Replicas) == 0 {
			k.State, k.DeletionDate = kmsapi.KeyStatePendingDeletion, s.timestamp().Add(days(k.WindowDays))
		}
	}
	return rest.put(tx)
}
