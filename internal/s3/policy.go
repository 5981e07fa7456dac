package s3

import (
	"context"
	"crypto/md5" //nolint:gosec // Content-MD5 is what the protocol has
	"encoding/base64"
	"errors"
	"strings"

	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

// maxPolicy is the quota of a bucket policy, in bytes.
const maxPolicy = 20 << 10

// policyOf is the resolver of the operations on the policy itself.
func (s *Service) policyOf(ctx context.Context, name string, owner *string, action string) ([]protocol.Check, error) {
	b, err := s.locate(ctx, name, owner)
	if err != nil {
		return nil, err
	}
	c := bucketCheck(b, action)
	dropOwnersRoot(ctx, b, &c)
	return []protocol.Check{c}, nil
}

func (s *Service) putPolicyChecks(ctx context.Context, in *s3api.PutBucketPolicyInput) ([]protocol.Check, error) {
	return s.policyOf(ctx, in.Bucket, in.ExpectedBucketOwner, "s3:PutBucketPolicy")
}

// PutBucketPolicy replaces the bucket's policy; the new one holds from the
// answer on.
//
// Errors: MalformedPolicy; MethodNotAllowed for callers of another account;
// AccessDenied when the caller would lock itself out without saying so.
func (s *Service) PutBucketPolicy(ctx context.Context, in *s3api.PutBucketPolicyInput) (*schema.Nothing, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	if err := ownAccount(ctx, b); err != nil {
		return nil, err
	}
	if err := checkMD5(in.ContentMD5, []byte(in.Policy)); err != nil {
		return nil, err
	}
	p, ids, err := s.parsePolicy(ctx, b, in.Policy)
	if err != nil {
		return nil, err
	}
	if in.ConfirmRemoveSelfBucketAccess == nil || !*in.ConfirmRemoveSelfBucketAccess {
		draft := *b
		draft.policy = p
		c := bucketCheck(&draft, "s3:PutBucketPolicy")
		dropOwnersRoot(ctx, &draft, &c)
		if s.cfg.Authorizer.Authorize(ctx, s3api.Service, &c) != nil {
			return nil, accessDenied()
		}
	}
	return nil, s.updateBucket(ctx, in.Bucket, func(_ *store.Tx, row *bucketRow) error {
		if row.ID != b.ID {
			return noSuchBucket(in.Bucket)
		}
		row.Policy, row.PolicyPrincipals = in.Policy, ids
		return nil
	})
}

// ownAccount refuses policy operations to other accounts, whatever they may do.
//
// Source: S3 API Reference, PutBucketPolicy.
func ownAccount(ctx context.Context, b *bucketState) error {
	if identity.From(ctx).Caller.Account != b.Account {
		return s3api.MethodNotAllowed("The specified method is not allowed against this resource.")
	}
	return nil
}

func checkMD5(header *string, body []byte) error {
	if header == nil {
		return nil
	}
	want, err := base64.StdEncoding.DecodeString(*header)
	if err != nil || len(want) != md5.Size {
		return s3api.InvalidDigest("The Content-MD5 you specified was invalid.")
	}
	h := newHash("MD5")
	h.Write(body)
	if string(h.Sum(nil)) != string(want) {
		return s3api.BadDigest("The Content-MD5 you specified did not match what we received.")
	}
	return nil
}

// parsePolicy reads a policy for the bucket and binds the principals in it.
func (s *Service) parsePolicy(ctx context.Context, b *bucketState, text string) (*authz.Policy, map[string]string, error) {
	if len(text) > maxPolicy {
		return nil, nil, s3api.MalformedPolicy("Policies must not be larger than %d bytes", maxPolicy)
	}
	if strings.TrimSpace(text) == "" || text[0] != '{' {
		return nil, nil, s3api.MalformedPolicy("Policies must be valid JSON and the first byte must be '{'")
	}
	p, err := authz.Parse(authz.ResourcePolicy, []byte(text))
	if err != nil {
		if m, ok := errors.AsType[*authz.MalformedError](err); ok {
			return nil, nil, s3api.MalformedPolicy("%s", m.Message)
		}
		return nil, nil, err
	}
	for _, a := range p.Actions() {
		if vendor, _, ok := strings.Cut(a.Pattern, ":"); a.Pattern != "*" && (!ok || !strings.EqualFold(vendor, "s3")) {
			return nil, nil, s3api.MalformedPolicy("Policy has invalid action")
		}
	}
	for _, r := range p.Resources() {
		if !resourceOf(b, r.Pattern) {
			return nil, nil, s3api.MalformedPolicy("Policy has invalid resource")
		}
	}
	for _, c := range p.Conditions() {
		if !knownCondition(c.Key) {
			return nil, nil, s3api.MalformedPolicy("Policy has an invalid condition key")
		}
	}
	ids := map[string]string{}
	for _, ref := range p.Principals() {
		switch ref.Form {
		case authz.FormUser, authz.FormRole, authz.FormSession, authz.FormUserID, authz.FormRoleID, authz.FormAccount:
			value := ref.Value
			if ref.Form == authz.FormAccount {
				value = "arn:aws:iam::" + ref.Account + ":root"
			}
			id, ok := s.cfg.Principals.PrincipalExists(ctx, value)
			if !ok {
				return nil, nil, s3api.MalformedPolicy("Invalid principal in policy")
			}
			if ref.Form != authz.FormAccount {
				ids[ref.Value] = id
			}
		}
	}
	p.Name = b.arn()
	return p.Bind(ids), ids, nil
}

// resourceOf reports whether a resource pattern can only be about the bucket.
func resourceOf(b *bucketState, pattern string) bool {
	rest, ok := strings.CutPrefix(pattern, b.arn())
	return ok && (rest == "" || rest == "*" || rest[0] == '/')
}

// conditionKeys are the condition keys of S3 that requests can carry here;
// those that end in a slash take a tag's name.
func conditionKeys() []string {
	return []string{
		"s3:x-amz-server-side-encryption", "s3:x-amz-server-side-encryption-aws-kms-key-id",
		"s3:x-amz-server-side-encryption-customer-algorithm", "s3:x-amz-acl", "s3:x-amz-storage-class",
		"s3:x-amz-metadata-directive", "s3:x-amz-copy-source", "s3:prefix", "s3:delimiter", "s3:max-keys",
		"s3:if-match", "s3:if-none-match", "s3:existingobjecttag/", "s3:requestobjecttag/", "s3:requestobjecttagkeys",
		"s3:authtype", "s3:signatureage", "s3:signatureversion", "s3:x-amz-content-sha256", "s3:tlsversion",
		"s3:resourceaccount", "s3:versionid", "s3:locationconstraint", "s3:x-amz-grant-full-control",
		"s3:x-amz-grant-read", "s3:x-amz-grant-write", "s3:x-amz-grant-read-acp", "s3:x-amz-grant-write-acp",
		"s3:object-lock-mode", "s3:object-lock-legal-hold", "s3:object-lock-retain-until-date",
		"s3:object-lock-remaining-retention-days", "s3:dataaccesspointarn", "s3:dataaccesspointaccount",
		"s3:accesspointnetworkorigin", "s3:objectcreationoperation",
	}
}

func knownCondition(key string) bool {
	key = strings.ToLower(key)
	if strings.HasPrefix(key, "aws:") {
		return true
	}
	for _, known := range conditionKeys() {
		if key == known || strings.HasSuffix(known, "/") && strings.HasPrefix(key, known) && len(key) > len(known) {
			return true
		}
	}
	return false
}

func (s *Service) getPolicyChecks(ctx context.Context, in *s3api.GetBucketPolicyInput) ([]protocol.Check, error) {
	return s.policyOf(ctx, in.Bucket, in.ExpectedBucketOwner, "s3:GetBucketPolicy")
}

// GetBucketPolicy returns the policy as it was put.
//
// Errors: NoSuchBucketPolicy, MethodNotAllowed.
func (s *Service) GetBucketPolicy(ctx context.Context, in *s3api.GetBucketPolicyInput) (*s3api.GetBucketPolicyOutput, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	if err := ownAccount(ctx, b); err != nil {
		return nil, err
	}
	if b.Policy == "" {
		return nil, s3api.NoSuchBucketPolicy("The bucket policy does not exist").With("BucketName", in.Bucket)
	}
	names, err := s.cfg.Principals.NamesNow(ctx, b.PolicyPrincipals)
	if err != nil {
		return nil, err
	}
	text, err := authz.RenamePrincipals(b.Policy, names)
	if err != nil {
		return nil, err
	}
	return &s3api.GetBucketPolicyOutput{Policy: &text}, nil
}

func (s *Service) deletePolicyChecks(ctx context.Context, in *s3api.DeleteBucketPolicyInput) ([]protocol.Check, error) {
	return s.policyOf(ctx, in.Bucket, in.ExpectedBucketOwner, "s3:DeleteBucketPolicy")
}

// DeleteBucketPolicy removes the policy; a bucket without one is no error.
func (s *Service) DeleteBucketPolicy(ctx context.Context, in *s3api.DeleteBucketPolicyInput) (*schema.Nothing, error) {
	b, err := s.bucket(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	if err := ownAccount(ctx, b); err != nil {
		return nil, err
	}
	return nil, s.updateBucket(ctx, in.Bucket, func(_ *store.Tx, row *bucketRow) error {
		row.Policy, row.PolicyPrincipals = "", nil
		return nil
	})
}
