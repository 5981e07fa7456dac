// Package e2e drives a whole server with unmodified AWS clients: the Go SDK
// here, the AWS CLI and boto3 in the Python files (`make e2e`).
package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// README begins
func newKMS(endpoint, accessKeyID, secretAccessKey string) *kms.Client {
	return kms.New(kms.Options{
		BaseEndpoint: aws.String(endpoint), // http://127.0.0.1:4566
		Region:       "us-west-2",
		Credentials:  credentials.NewStaticCredentialsProvider(accessKeyID, secretAccessKey, ""),
	})
}

func envelope(ctx context.Context, client *kms.Client) error {
	key, err := client.CreateKey(ctx, &kms.CreateKeyInput{Description: aws.String("field reports")})
	if err != nil {
		return err
	}
	keyID := key.KeyMetadata.KeyId
	purpose := map[string]string{"project": "fields"}

	// Plaintext encrypts the data and is forgotten; CiphertextBlob is stored beside the data.
	dataKey, err := client.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{
		KeyId: keyID, KeySpec: types.DataKeySpecAes256, EncryptionContext: purpose,
	})
	if err != nil {
		return err
	}
	again, err := client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: dataKey.CiphertextBlob, EncryptionContext: purpose})
	if err != nil {
		return err
	}
	if !bytes.Equal(again.Plaintext, dataKey.Plaintext) {
		return errors.New("another key came back")
	}

	// Once the answer is here, the key opens nothing any more.
	if _, err := client.DisableKey(ctx, &kms.DisableKeyInput{KeyId: keyID}); err != nil {
		return err
	}
	_, err = client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: dataKey.CiphertextBlob, EncryptionContext: purpose})
	if _, ok := errors.AsType[*types.DisabledException](err); !ok {
		return fmt.Errorf("want DisabledException, got %v", err)
	}
	return nil
}

// README ends

func TestReadmeGo(t *testing.T) {
	t.Parallel()
	s := start(t)
	if err := envelope(t.Context(), newKMS(s.url, s.accessKeyID, s.secret)); err != nil {
		t.Error(err)
	}
}
