package kms

import (
	"context"
	"errors"
	"fmt"
	"strings"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/secret"
	"github.com/sagekeep/sagekeep/internal/store"
)

// managedKeys are the AWS managed keys that services make when they are first
// needed, and DescribeKey when it names their alias, with their descriptions.
var managedKeys = map[string]string{
	"s3":        "Default key that protects my S3 objects when no other key is defined",
	"sagemaker": "Default key that protects my SageMaker data when no other key is defined",
}

// managedPolicy lets everyone in the account use the key through its service
// alone, and look at it directly.
//
// Source: AWS KMS Developer Guide, "AWS managed keys".
const managedPolicy = `{
  "Version" : "2012-10-17",
  "Id" : "auto-SERVICE-2",
  "Statement" : [ {
    "Sid" : "Allow access through SERVICE for all principals in the account that are authorized to use SERVICE",
    "Effect" : "Allow",
    "Principal" : { "AWS" : "*" },
    "Action" : [ "kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:CreateGrant", "kms:DescribeKey" ],
    "Resource" : "*",
    "Condition" : { "StringEquals" : { "kms:CallerAccount" : "ACCOUNT", "kms:ViaService" : "SERVICE.REGION.amazonaws.com" } }
  }, {
    "Sid" : "Allow direct access to key metadata to the account",
    "Effect" : "Allow",
    "Principal" : { "AWS" : "arn:aws:iam::ACCOUNT:root" },
    "Action" : [ "kms:Describe*", "kms:Get*", "kms:List*", "kms:RevokeGrant" ],
    "Resource" : "*"
  } ]
}`

// isManagedAlias reports whether ref is the alias of an AWS managed key that the
// service now calling may make.
func (s *Service) isManagedAlias(ctx context.Context, ref *keyRef) bool {
	c := identity.From(ctx).Caller
	name, ok := strings.CutPrefix(ref.alias, awsAliases)
	if !ok || managedKeys[name] == "" || ref.account != c.Account || len(c.Via) == 0 {
		return false
	}
	return c.Via[len(c.Via)-1].Service == name
}

// describeChecks is the resolver of DescribeKey, which makes the AWS managed key of
// a predefined alias that has none yet.
//
// Source: AWS KMS API Reference, DescribeKey: "If you specify a predefined AWS
// alias (an AWS alias with no key ID), KMS associates the alias with an AWS managed
// key".
func (s *Service) describeChecks() protocol.Resolver[kmsapi.DescribeKeyInput] {
	named := keyOf(s, kmsapi.DescribeKey, byAlias|crossAccount, func(in *kmsapi.DescribeKeyInput) call {
		return call{key: &in.KeyId, tokens: &in.GrantTokens}
	})
	return func(ctx context.Context, in *kmsapi.DescribeKeyInput) ([]protocol.Check, error) {
		if strings.Contains(in.KeyId, awsAliases) {
			if err := s.associate(ctx, in.KeyId); err != nil {
				return nil, err
			}
		}
		return named(ctx, in)
	}
}

// ofAWS reports whether AWS has the Region. Requests may be signed for any name, and
// who may only look at keys must not make one under each.
//
// Source: AWS General Reference, "AWS Regions and Availability Zones".
func ofAWS(region string) bool {
	area, number, _ := strings.Cut(strings.TrimPrefix(region, "ap-"), "-")
	switch region {
	case "us-east-1", "us-east-2", "us-west-1", "us-west-2", "af-south-1", "ca-central-1", "ca-west-1", "eu-central-1", "eu-central-2",
		"eu-west-1", "eu-west-2", "eu-west-3", "eu-south-1", "eu-south-2", "eu-north-1", "il-central-1", "me-south-1", "me-central-1",
		"mx-central-1", "sa-east-1":
		return true
	}
	if !strings.HasPrefix(region, "ap-") || len(number) != 1 {
		return false
	}
	most := map[string]string{"east": "2", "south": "2", "southeast": "7", "northeast": "3"}[area]
	return "1" <= number && number <= most
}

// associate makes the AWS managed key that text names by its alias, unless it is
// there. The caller must be allowed to describe the key to come.
//
// Errors: AccessDeniedException.
func (s *Service) associate(ctx context.Context, text string) error {
	account := callerAccount(ctx)
	ref, err := parseKeyRef(text, account, identity.From(ctx).Region, byAlias)
	service, ok := strings.CutPrefix(ref.alias, awsAliases)
	if err != nil || !ok || managedKeys[service] == "" || ref.account != account || !ofAWS(ref.region) || s.cfg.Store.InTransaction(ctx) {
		return nil // as it is named, so it is found or not
	}
	if err := s.followAlias(ctx, &ref); !isNotFound(err) {
		return err
	}
	row := s.managedKey(&ref)
	k := &cachedKey{keyRow: *row, policy: readPolicy(row), aliases: []string{ref.alias}, aliased: true, grants: map[string][]authz.Grant{}}
	check, err := s.check(ctx, k, ref, call{action: "kms:DescribeKey"}, nil)
	if err != nil {
		return err
	}
	err = s.cfg.Authorizer.Authorize(ctx, kmsapi.Service, &check)
	if e, denied := errors.AsType[*schema.Error](err); denied && e.Code == "AccessDeniedException" {
		shown := *e // the key that it speaks of is not made
		shown.Message = strings.ReplaceAll(e.Message, row.arn(), aliasARN(ref.region, ref.account, ref.alias))
		return &shown
	}
	if err != nil {
		return err
	}
	return s.createManagedKey(ctx, &ref, row)
}

// managedKey is the row of the AWS managed key of ref's alias, without material.
func (s *Service) managedKey(ref *keyRef) *keyRow {
	service := strings.TrimPrefix(ref.alias, awsAliases)
	k := &keyRow{
		ID: newID(false), Account: ref.account, Region: ref.region, Description: managedKeys[service],
		Spec: kmsapi.KeySpecSymmetricDefault, Usage: kmsapi.KeyUsageTypeEncryptDecrypt, Origin: kmsapi.OriginTypeAwsKms,
		Manager: kmsapi.KeyManagerTypeAws, State: kmsapi.KeyStateEnabled, Created: s.timestamp(), Tags: map[string]string{},
		Policy: strings.NewReplacer("SERVICE", service, "ACCOUNT", ref.account, "REGION", ref.region).Replace(managedPolicy),
	}
	k.Rotation = rotationRow{Enabled: true, PeriodDays: defaultPeriod, Next: k.Created.Add(days(defaultPeriod))}
	return k
}

// createManagedKey makes k the AWS managed key of ref's alias. Two callers at once
// make one. It fails inside a transaction: whoever holds the store's writer lock
// must not wait for s.wrapping, whose holders wait for that lock.
func (s *Service) createManagedKey(ctx context.Context, ref *keyRef, k *keyRow) error {
	if s.cfg.Store.InTransaction(ctx) {
		return fmt.Errorf("kms: %s is not there yet and is not made inside a transaction", ref.alias)
	}
	fresh := newMaterial{backing: secret.Random()}
	defer fresh.erase()
	s.wrapping.RLock()
	defer s.wrapping.RUnlock()
	if err := s.addMaterial(k, "", &fresh); err != nil {
		return err
	}
	// A commit and a record of its own: it is the service's doing, not the request's.
	p := audit.NewPending()
	return s.cfg.Store.Update(store.WithPending(ctx, p), func(tx *store.Tx) error {
		exists, err := aliases.Exists(tx, ref.region, ref.account, ref.alias)
		if err != nil || exists {
			return err
		}
		p.AddEvent(s.event("CreateKey", k))
		tx.Bump(epoch(k.Region, k.ID))
		if err := keys.Put(tx, *k, k.Region, k.ID); err != nil {
			return err
		}
		a := aliasRow{Name: ref.alias, Account: ref.account, Region: ref.region, Target: k.ID, Created: k.Created, Updated: k.Created}
		return aliases.Put(tx, a, a.Region, a.Account, a.Name)
	})
}
