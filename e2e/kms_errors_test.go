package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// walkErrors asks for one answer of each kind that the SDK has a type for.
func walkErrors(t *testing.T, a *account) {
	key, other := a.newKey(t).Arn, a.newKey(t).Arn
	rsaKey := a.newKey(t, spec(types.KeySpecRsa2048, types.KeyUsageTypeSignVerify)).Arn
	disabled := a.newKey(t).Arn
	ok(a.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: disabled}))(t)
	pending := a.newKey(t).Arn
	ok(a.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: pending}))(t)
	ok(a.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: text("alias/taken"), TargetKeyId: key}))(t)
	blob := ok(a.Encrypt(t.Context(), &kms.EncryptInput{KeyId: key, Plaintext: []byte("x")}))(t).CiphertextBlob
	tags := make([]types.Tag, 51)
	for i := range tags {
		tags[i] = types.Tag{TagKey: text(fmt.Sprint("k", i)), TagValue: text("")}
	}
	for name, c := range map[string]struct {
		call func(context.Context) error
		is   func(error) error
	}{
		"unknown key": {func(ctx context.Context) error {
			return failure(a.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: text("1234abcd-12ab-34cd-56ef-1234567890ab")}))
		}, is[*types.NotFoundException]},
		"unknown alias": {func(ctx context.Context) error {
			return failure(a.Encrypt(ctx, &kms.EncryptInput{KeyId: text("alias/nobody"), Plaintext: []byte("x")}))
		}, is[*types.NotFoundException]},
		"alias twice": {func(ctx context.Context) error {
			return failure(a.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: text("alias/taken"), TargetKeyId: other}))
		}, is[*types.AlreadyExistsException]},
		"disabled key": {func(ctx context.Context) error {
			return failure(a.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: disabled, KeySpec: types.DataKeySpecAes256}))
		}, is[*types.DisabledException]},
		"key that is pending deletion": {func(ctx context.Context) error {
			return failure(a.EnableKey(ctx, &kms.EnableKeyInput{KeyId: pending}))
		}, is[*types.KMSInvalidStateException]},
		"dry run": {func(ctx context.Context) error {
			return failure(a.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob, DryRun: aws.Bool(true)}))
		}, is[*types.DryRunOperationException]},
		"another key's ciphertext": {func(ctx context.Context) error {
			return failure(a.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob, KeyId: other}))
		}, is[*types.IncorrectKeyException]},
		"no ciphertext": {func(ctx context.Context) error {
			return failure(a.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: []byte("x")}))
		}, is[*types.InvalidCiphertextException]},
		"wrong encryption context": {func(ctx context.Context) error {
			return failure(a.ReEncrypt(ctx, &kms.ReEncryptInput{CiphertextBlob: blob, DestinationKeyId: key, SourceEncryptionContext: map[string]string{"a": "b"}}))
		}, is[*types.InvalidCiphertextException]},
		"grant of nobody": {func(ctx context.Context) error {
			return failure(a.RevokeGrant(ctx, &kms.RevokeGrantInput{KeyId: key, GrantId: text(strings.Repeat("0", 64))}))
		}, is[*types.NotFoundException]},
		"forged grant token": {func(ctx context.Context) error {
			return failure(a.Encrypt(ctx, &kms.EncryptInput{KeyId: key, Plaintext: []byte("x"), GrantTokens: []string{"forged"}}))
		}, is[*types.InvalidGrantTokenException]},
		"key of another usage": {func(ctx context.Context) error {
			return failure(a.Encrypt(ctx, &kms.EncryptInput{KeyId: rsaKey, Plaintext: []byte("x")}))
		}, is[*types.InvalidKeyUsageException]},
		"forged marker": {func(ctx context.Context) error {
			return failure(a.ListKeys(ctx, &kms.ListKeysInput{Marker: text("forged")}))
		}, is[*types.InvalidMarkerException]},
		"signature of nobody": {func(ctx context.Context) error {
			return failure(a.Verify(ctx, &kms.VerifyInput{
				KeyId: rsaKey, SigningAlgorithm: types.SigningAlgorithmSpecRsassaPssSha256, Message: []byte("x"), Signature: make([]byte, 256),
			}))
		}, is[*types.KMSInvalidSignatureException]},
		"51 tags": {func(ctx context.Context) error {
			return failure(a.TagResource(ctx, &kms.TagResourceInput{KeyId: other, Tags: tags}))
		}, is[*types.TagException]},
		"51 aliases": {func(ctx context.Context) error {
			for i := range 51 {
				if _, err := a.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: text(fmt.Sprint("alias/many/", i)), TargetKeyId: other}); err != nil {
					return err
				}
			}
			return nil
		}, is[*types.LimitExceededException]},
		"reserved tag": {func(ctx context.Context) error {
			return failure(a.TagResource(ctx, &kms.TagResourceInput{KeyId: other, Tags: []types.Tag{{TagKey: text("aws:mine"), TagValue: text("")}}}))
		}, is[*types.TagException]},
		"policy without grammar": {func(ctx context.Context) error {
			return failure(a.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: other, Policy: text("{}")}))
		}, is[*types.MalformedPolicyDocumentException]},
		"policy that locks out": {func(ctx context.Context) error {
			return failure(a.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: other, Policy: text(`{"Version": "2012-10-17", "Statement": [
				{"Effect": "Deny", "Principal": "*", "Action": "kms:PutKeyPolicy", "Resource": "*"}]}`)}))
		}, is[*types.MalformedPolicyDocumentException]},
		"rotation of an asymmetric key": {func(ctx context.Context) error {
			return failure(a.EnableKeyRotation(ctx, &kms.EnableKeyRotationInput{KeyId: rsaKey}))
		}, is[*types.UnsupportedOperationException]},
		"public key of a symmetric one": {func(ctx context.Context) error {
			return failure(a.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: key}))
		}, is[*types.UnsupportedOperationException]},
		"a grantee that is no ARN": {func(ctx context.Context) error {
			return failure(a.CreateGrant(ctx, &kms.CreateGrantInput{KeyId: key, GranteePrincipal: text("nobody"), Operations: []types.GrantOperation{types.GrantOperationDecrypt}}))
		}, is[*types.InvalidArnException]},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := c.is(c.call(t.Context())); err != nil {
				t.Error(err)
			}
		})
	}
}
