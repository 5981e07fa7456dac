package kms

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/store"
)

// maxPolicy is the quota of a key policy, in bytes.
const maxPolicy = 32 << 10

// defaultPolicyName is the only name that key policies have.
const defaultPolicyName = "default"

// defaultPolicy delegates the key to the IAM policies of its account.
//
// Source: AWS KMS Developer Guide, "Default key policy".
func defaultPolicy(account string) string {
	return strings.ReplaceAll(`{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "arn:aws:iam::ACCOUNT:root"
    },
    "Action" : "kms:*",
    "Resource" : "*"
  } ]
}`, "ACCOUNT", account)
}

// keyPolicyName is how explanations call a key policy.
const keyPolicyName = "key policy"

// readPolicy compiles a stored policy. One that cannot be read denies everything (I5).
func readPolicy(k *keyRow) *authz.Policy {
	p, err := authz.ParseStored(authz.KeyPolicy, []byte(k.Policy))
	if err != nil {
		return authz.Unreadable("key policy of " + k.ID)
	}
	p.Name = keyPolicyName
	return p.Bind(k.PolicyPrincipals)
}

// policyCache holds compiled policies that name nobody, by their text: those of
// keys whose policies delegate to their account are all the same. It is bounded:
// an overfull cache starts anew.
type policyCache struct {
	mu      sync.Mutex
	entries map[string]*authz.Policy
}

const maxCachedPolicies = 256

// of compiles the policy of a key, or finds the one of another key.
func (c *policyCache) of(k *keyRow) *authz.Policy {
	if len(k.PolicyPrincipals) > 0 || len(k.Policy) > 4096 {
		return readPolicy(k)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.entries[k.Policy]; p != nil {
		return p
	}
	p := readPolicy(k)
	if p.Name != keyPolicyName {
		return p // unreadable, and says whose it is
	}
	if len(c.entries) >= maxCachedPolicies || c.entries == nil {
		c.entries = map[string]*authz.Policy{}
	}
	c.entries[k.Policy] = p
	return p
}

// setPolicy checks a policy and puts it into the row: it must parse, its
// principals must exist, and, unless the check is bypassed, the caller must keep
// the right to change it.
//
// Errors: MalformedPolicyDocumentException, LimitExceededException.
func (s *Service) setPolicy(ctx context.Context, k *keyRow, text string, bypass bool) error {
	if len(text) > maxPolicy {
		return kmsapi.LimitExceededException("The key policy has %d bytes, the limit is %d.", len(text), maxPolicy)
	}
	p, err := authz.Parse(authz.KeyPolicy, []byte(text))
	if err != nil {
		if m, ok := errors.AsType[*authz.MalformedError](err); ok {
			return kmsapi.MalformedPolicyDocumentException("%s", m.Message)
		}
		return err
	}
	if err := overlyPermissive(p); err != nil {
		return err
	}
	ids := map[string]string{}
	for _, ref := range p.Principals() {
		if invalidPrincipal(&ref) {
			return errInvalidPrincipals()
		}
		switch ref.Form {
		case authz.FormUser, authz.FormRole, authz.FormSession, authz.FormUserID, authz.FormRoleID:
			id, ok := s.cfg.Principals.PrincipalExists(ctx, ref.Value)
			if !ok {
				return errInvalidPrincipals()
			}
			ids[ref.Value] = id
		}
	}
	old := *k
	k.Policy, k.PolicyPrincipals = text, ids
	if bypass {
		return nil
	}
	next := putPolicyCall(&kmsapi.PutKeyPolicyInput{}) // with what the next change will ask for
	next.action = "kms:PutKeyPolicy"
	check, err := s.check(ctx, &cachedKey{keyRow: *k, policy: p.Bind(ids), grants: map[string][]authz.Grant{}}, keyRef{}, next, nil)
	if err != nil {
		return err
	}
	check.Grants = nil
	if err := s.cfg.Authorizer.Authorize(ctx, kmsapi.Service, &check); err != nil {
		*k = old
		return kmsapi.MalformedPolicyDocumentException("The new key policy will not allow you to update the key policy in the future.").
			Because(errors.New(err.Error())) // what a policy would do is no denial of this call
	}
	return nil
}

func errInvalidPrincipals() error {
	return kmsapi.MalformedPolicyDocumentException("Policy contains a statement with one or more invalid principals.")
}

// invalidPrincipal reports whether a principal can be nobody who calls KMS: one of
// another partition, or one that only Amazon S3 knows.
func invalidPrincipal(ref *authz.PrincipalRef) bool {
	partition, isARN := strings.CutPrefix(ref.Value, "arn:")
	return ref.Form == authz.FormCanonicalUser || ref.Form == authz.FormOriginAccess || isARN && !strings.HasPrefix(partition, "aws:")
}

// overlyPermissive refuses ForAllValues with the keys of an encryption context's
// pair and of a tag in the request. They hold one value, so that the condition
// would be met by every request that leaves the pair or the tag out. Policies
// that are stored already stay as they are.
//
// Source: AWS KMS Developer Guide, "AWS KMS condition keys", "Condition keys with
// multiple values".
func overlyPermissive(p *authz.Policy) error {
	for _, c := range p.Conditions() {
		if c.Set != "ForAllValues" {
			continue
		}
		what := ""
		switch key := strings.ToLower(c.Key); {
		case strings.HasPrefix(key, "kms:encryptioncontext:"):
			what = "encryption context"
		case strings.HasPrefix(key, "aws:requesttag/"):
			what = "tag"
		default:
			continue
		}
		return kmsapi.MalformedPolicyDocumentException("OverlyPermissiveCondition: Using the ForAllValues set operator with a single-valued condition key "+
			"matches requests without the specified %[1]s or with an unspecified %[1]s. To fix, remove ForAllValues.", what)
	}
	return nil
}

func checkPolicyName(name *string) error {
	if name != nil && *name != defaultPolicyName {
		return kmsapi.NotFoundException("No such policy exists")
	}
	return nil
}

// GetKeyPolicy returns the key policy as it was put, but for its principals: an
// account's id is shown as the ARN of its root user, a user or role that is gone
// as its unique id, a renamed one by its new ARN.
//
// Source: IAM User Guide, "AWS JSON policy elements: Principal": services may turn
// the short form of an account into the ARN.
func (s *Service) GetKeyPolicy(ctx context.Context, in *kmsapi.GetKeyPolicyInput) (*kmsapi.GetKeyPolicyOutput, error) {
	if err := checkPolicyName(in.PolicyName); err != nil {
		return nil, err
	}
	k, _, err := s.resolve(ctx, in.KeyId, byKey)
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	now, err := s.cfg.Principals.NamesNow(ctx, k.PolicyPrincipals)
	if err != nil {
		return nil, err
	}
	maps.Copy(names, now)
	for _, ref := range k.policy.Principals() {
		if ref.Form == authz.FormAccount && ref.Value == ref.Account {
			names[ref.Value] = rootARN(ref.Account)
		}
	}
	text, err := authz.RenamePrincipals(k.Policy, names)
	if err != nil {
		return nil, err
	}
	return &kmsapi.GetKeyPolicyOutput{Policy: &text, PolicyName: new(defaultPolicyName)}, nil
}

func putPolicyCall(in *kmsapi.PutKeyPolicyInput) call {
	noUnlessSaid(&in.BypassPolicyLockoutSafetyCheck)
	return call{key: &in.KeyId, set: func(c authz.Context) {
		c.SetFlag("kms:BypassPolicyLockoutSafetyCheck", in.BypassPolicyLockoutSafetyCheck)
	}}
}

// PutKeyPolicy replaces the key policy; the new one holds from the answer on.
//
// Errors: MalformedPolicyDocumentException, LimitExceededException,
// NotFoundException.
func (s *Service) PutKeyPolicy(ctx context.Context, in *kmsapi.PutKeyPolicyInput) (*schemaNothing, error) {
	if err := checkPolicyName(in.PolicyName); err != nil {
		return nil, err
	}
	k, _, err := s.resolve(ctx, in.KeyId, byKey)
	if err != nil {
		return nil, err
	}
	if err := customerManaged(&k.keyRow); err != nil {
		return nil, err
	}
	draft := k.keyRow
	if err := s.setPolicy(ctx, &draft, in.Policy, in.BypassPolicyLockoutSafetyCheck != nil && *in.BypassPolicyLockoutSafetyCheck); err != nil {
		return nil, err
	}
	return nil, s.update(ctx, in.KeyId, func(_ *store.Tx, k *keyRow) error {
		k.Policy, k.PolicyPrincipals = draft.Policy, draft.PolicyPrincipals
		respondKey(ctx, k)
		return nil
	})
}

// ListKeyPolicies returns the one name that there is.
func (s *Service) ListKeyPolicies(ctx context.Context, in *kmsapi.ListKeyPoliciesInput) (*kmsapi.ListKeyPoliciesOutput, error) {
	if _, err := s.page(ctx, "ListKeyPolicies", in.KeyId, in.Limit, in.Marker, 1000, 100); err != nil {
		return nil, err
	}
	return &kmsapi.ListKeyPoliciesOutput{PolicyNames: []string{defaultPolicyName}, Truncated: new(false)}, nil
}
