package sts

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	stsapi "github.com/sagekeep/sagekeep/api/sts"
	"github.com/sagekeep/sagekeep/internal/authz"
)

// Limits of what is passed with a session.
// Source: AWS STS API Reference, AssumeRole, GetFederationToken.
const (
	maxPolicyText = 2048 // characters of the inline session policy without white space
	maxPolicyARNs = 10
	maxPacked     = 4096 // bytes, compressed: what PackedPolicySize is a percentage of
)

// sessionPolicies returns the document and the managed policies passed, both
// as text that IAM compiles under the session's account.
func (s *Service) sessionPolicies(ctx context.Context, account string, policy *string, arns []stsapi.PolicyDescriptorType) ([]string, error) {
	var passed []string
	if policy != nil {
		_, err := authz.Parse(authz.SessionPolicy, []byte(*policy))
		if m, ok := errors.AsType[*authz.MalformedError](err); ok {
			return nil, stsapi.MalformedPolicyDocumentException("%s", m.Message).Because(err)
		}
		if err != nil {
			return nil, err
		}
		if n := authz.SizeWithoutWhitespace([]byte(*policy)); n > maxPolicyText {
			return nil, stsapi.PackedPolicyTooLargeException("The session policy has %d characters, more than %d", n, maxPolicyText)
		}
		// Each request of the session carries it: white space is not worth that.
		var compact bytes.Buffer
		if err := json.Compact(&compact, []byte(*policy)); err != nil {
			return nil, fmt.Errorf("session policy: %w", err)
		}
		passed = append(passed, compact.String())
	}
	if len(arns) > maxPolicyARNs {
		return nil, stsapi.ValidationError("Up to %d managed session policies can be passed", maxPolicyARNs)
	}
	for _, p := range arns {
		if p.Arn == nil {
			return nil, stsapi.ValidationError("A member of PolicyArns has no arn")
		}
		ok, err := s.roles.ManagedPolicyExists(ctx, account, *p.Arn)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, stsapi.ValidationError("The managed session policy %s does not exist in the account of the session.", *p.Arn)
		}
		passed = append(passed, *p.Arn)
	}
	return passed, nil
}

// packedSize is the part of the room for session policies and tags that is
// used, in percent from 1 to 100; nil when nothing was passed.
func packedSize(policies []string, tags map[string]string) (*int32, error) {
	if len(policies) == 0 && len(tags) == 0 {
		return nil, nil
	}
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		return nil, fmt.Errorf("pack session policy: %w", err)
	}
	if err := json.NewEncoder(w).Encode([]any{policies, tags}); err != nil {
		return nil, fmt.Errorf("pack session policy: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack session policy: %w", err)
	}
	percent := int32((b.Len()*100 + maxPacked - 1) / maxPacked)
	if percent > 100 {
		return nil, stsapi.PackedPolicyTooLargeException("Packed policy consumes %d%% of allotted space, please use smaller policy.", percent)
	}
	return &percent, nil
}
