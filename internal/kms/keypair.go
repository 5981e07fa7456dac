package kms

import (
	"context"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/protocol"
)

func pairConditions(pair kmsapi.DataKeyPairSpec) func(authz.Context) {
	return func(c authz.Context) {
		algorithmCondition(symmetric)(c)
		c.Set("kms:DataKeyPairSpec", string(pair))
	}
}

func keyPairCall(in *kmsapi.GenerateDataKeyPairInput) call {
	return call{key: &in.KeyId, ec: in.EncryptionContext, tokens: &in.GrantTokens, set: pairConditions(in.KeyPairSpec)}
}

func keyPairWithoutCall(in *kmsapi.GenerateDataKeyPairWithoutPlaintextInput) call {
	return call{key: &in.KeyId, ec: in.EncryptionContext, tokens: &in.GrantTokens, set: pairConditions(in.KeyPairSpec)}
}

// GenerateDataKeyPair returns a new key pair for use outside: the public key as
// SubjectPublicKeyInfo, the private key as PKCS #8 in plaintext and encrypted
// under the key.
//
// Errors: those of Encrypt; UnsupportedOperationException for SM2 and, in FIPS 140
// mode, for pairs that the module does not make; ThrottlingException when too
// many wait for an RSA key; AccessDeniedException, too, when the permission was
// taken away meanwhile.
//
// Source: AWS KMS API Reference, GenerateDataKeyPair.
func (s *Service) GenerateDataKeyPair(ctx context.Context, in *kmsapi.GenerateDataKeyPairInput) (*kmsapi.GenerateDataKeyPairOutput, error) {
	if err := noRecipient(in.Recipient); err != nil {
		return nil, err
	}
	p, err := s.dataKeyPair(ctx, keyPairCall(in), in.KeyPairSpec, in.DryRun, "GenerateDataKeyPair")
	if err != nil {
		return nil, err
	}
	return &kmsapi.GenerateDataKeyPairOutput{
		KeyId: new(p.key), KeyPairSpec: in.KeyPairSpec, KeyMaterialId: new(p.material),
		PublicKey: p.public, PrivateKeyPlaintext: p.private, PrivateKeyCiphertextBlob: p.sealed,
	}, nil
}

// GenerateDataKeyPairWithoutPlaintext is GenerateDataKeyPair without the
// plaintext of the private key.
func (s *Service) GenerateDataKeyPairWithoutPlaintext(ctx context.Context, in *kmsapi.GenerateDataKeyPairWithoutPlaintextInput) (*kmsapi.GenerateDataKeyPairWithoutPlaintextOutput, error) {
	p, err := s.dataKeyPair(ctx, keyPairWithoutCall(in), in.KeyPairSpec, in.DryRun, "GenerateDataKeyPairWithoutPlaintext")
	if err != nil {
		return nil, err
	}
	clear(p.private)
	return &kmsapi.GenerateDataKeyPairWithoutPlaintextOutput{
		KeyId: new(p.key), KeyPairSpec: in.KeyPairSpec, KeyMaterialId: new(p.material), PublicKey: p.public, PrivateKeyCiphertextBlob: p.sealed,
	}, nil
}

// dataKeyPair is a pair, the ARN of the key that sealed it and the id of the material.
type dataKeyPair struct {
	private, sealed, public []byte
	key, material           string
}

func (s *Service) dataKeyPair(ctx context.Context, c call, pair kmsapi.DataKeyPairSpec, dry *bool, operation string) (p dataKeyPair, err error) {
	user, err := s.dataKeyUser(ctx, *c.key, operation)
	if err != nil {
		return p, err
	}
	if user.external() {
		return p, kmsapi.UnsupportedOperationException("%s origin is %s which is not valid for %s.", user.arn(), user.Origin, operation)
	}
	name := kmsapi.KeySpec(pair)
	if err := checkSpec(name); err != nil {
		return p, err
	}
	if err := dryRun(dry); err != nil {
		return p, err
	}
	if p.private, p.public, err = s.newPair(ctx, name); err != nil {
		return p, err
	}
	if rsaBits(name) > 0 { // it has waited for others, and took a while
		err = s.authorizeAgain(ctx, c, operation)
	}
	if err == nil {
		err = s.sealPair(ctx, *c.key, c.ec, operation, &p)
	}
	if err != nil {
		clear(p.private)
		return dataKeyPair{}, err
	}
	audit.From(ctx).Additional("keyMaterialId", p.material)
	return p, nil
}

// authorizeAgain asks whether the caller may still do what it was allowed when the
// request began (I3).
//
// Errors: AccessDeniedException; those of finding the key.
func (s *Service) authorizeAgain(ctx context.Context, c call, operation string) error {
	k, ref, err := s.resolve(ctx, *c.key, byKey)
	if err != nil {
		return err
	}
	for _, first := range protocol.Checks(ctx) { // the resolver has put the key in place of its alias
		if alias, ok := first.Context.Get("kms:RequestAlias"); ok && len(alias.Vals) == 1 {
			ref.typed = alias.Vals[0]
		}
	}
	c.action = "kms:" + operation
	check, err := s.check(ctx, k, ref, c, nil)
	if err != nil {
		return err
	}
	return s.cfg.Authorizer.Authorize(ctx, kmsapi.Service, &check)
}

// sealPair encrypts the private key. Making it may have taken a while: the key
// must serve still (I3).
func (s *Service) sealPair(ctx context.Context, keyID string, ec map[string]string, operation string, p *dataKeyPair) error {
	k, err := s.dataKeyUser(ctx, keyID, operation)
	if err != nil {
		return err
	}
	sealed, m, err := s.seal(ctx, k, ec, p.private, operation)
	if err != nil {
		return err
	}
	p.sealed, p.key, p.material = sealed, k.arn(), m.ID
	return nil
}
