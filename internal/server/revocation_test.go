package server

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/client"
	"github.com/sagekeep/sagekeep/internal/sigv4"
)

// TestRevocationBites is I3: while readers hammer a key, each way of taking the
// right away is answered, and no request that starts after the answer succeeds.
func TestRevocationBites(t *testing.T) {
	t.Parallel()
	_, root := startServer(t)
	ctx := context.Background()
	const user = "reader"
	u, err := client.Call(ctx, root, iamapi.CreateUser, &iamapi.CreateUserInput{UserName: user})
	must(t, err)
	ak, err := client.Call(ctx, root, iamapi.CreateAccessKey, &iamapi.CreateAccessKeyInput{UserName: new(user)})
	must(t, err)
	reader := root.As(sigv4.Credential{AccessKeyID: ak.AccessKey.AccessKeyId, Secret: ak.AccessKey.SecretAccessKey})
	allow := func() {
		t.Helper()
		_, err := client.Call(ctx, root, iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{
			UserName: user, PolicyName: "p", PolicyDocument: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:Decrypt","Resource":"*"}]}`,
		})
		must(t, err)
	}
	const rootOnly = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":["kms:Put*","kms:Encrypt","kms:Describe*"],"Resource":"*"}]}`
	for _, tc := range []struct {
		name string
		// grant: the reader's right comes from a grant, not from IAM.
		grant bool
		take  func(key, grant string) error
	}{
		{"DisableKey", false, func(key, _ string) error {
			_, err := client.Call(ctx, root, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: key})
			return err
		}},
		{"ScheduleKeyDeletion", false, func(key, _ string) error {
			_, err := client.Call(ctx, root, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: key})
			return err
		}},
		{"PutKeyPolicy", false, func(key, _ string) error {
			_, err := client.Call(ctx, root, kmsapi.PutKeyPolicy, &kmsapi.PutKeyPolicyInput{KeyId: key, Policy: rootOnly})
			return err
		}},
		{"RevokeGrant", true, func(key, grant string) error {
			_, err := client.Call(ctx, root, kmsapi.RevokeGrant, &kmsapi.RevokeGrantInput{KeyId: key, GrantId: grant})
			return err
		}},
		{"DeleteUserPolicy", false, func(string, string) error {
			_, err := client.Call(ctx, root, iamapi.DeleteUserPolicy, &iamapi.DeleteUserPolicyInput{UserName: user, PolicyName: "p"})
			return err
		}},
		{"UpdateAccessKey Inactive", false, func(string, string) error {
			_, err := client.Call(ctx, root, iamapi.UpdateAccessKey, &iamapi.UpdateAccessKeyInput{
				UserName: new(user), AccessKeyId: ak.AccessKey.AccessKeyId, Status: iamapi.StatusTypeInactive,
			})
			return err
		}},
	} {
		if tc.grant {
			_, err := client.Call(ctx, root, iamapi.DeleteUserPolicy, &iamapi.DeleteUserPolicyInput{UserName: user, PolicyName: "p"})
			must(t, err)
		} else {
			allow()
		}
		key, err := client.Call(ctx, root, kmsapi.CreateKey, &kmsapi.CreateKeyInput{})
		must(t, err)
		id, grant := key.KeyMetadata.KeyId, ""
		if tc.grant {
			g, err := client.Call(ctx, root, kmsapi.CreateGrant, &kmsapi.CreateGrantInput{
				KeyId: id, GranteePrincipal: new(u.User.Arn), Operations: []kmsapi.GrantOperation{kmsapi.GrantOperationDecrypt},
			})
			must(t, err)
			grant = *g.GrantId
		}
		ct, err := client.Call(ctx, root, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: id, Plaintext: []byte("x")})
		must(t, err)
		late, during, err := raceAgainst(func() error {
			_, err := client.Call(ctx, reader, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: ct.CiphertextBlob})
			return err
		}, func() error { return tc.take(id, grant) })
		if err != nil || late > 0 || during == 0 {
			t.Errorf("%s: %d requests succeeded after the answer, %d before, %v", tc.name, late, during, err)
		}
	}
}

// raceAgainst runs use in a loop on several connections, takes the right away in
// the middle, and counts the uses that started after the answer and succeeded.
func raceAgainst(use, take func() error) (late, during int64, err error) {
	var answered atomic.Bool
	var lateN, duringN atomic.Int64
	var stop atomic.Bool
	var wrong atomic.Pointer[error]
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for !stop.Load() {
				after := answered.Load()
				err := use()
				switch {
				case err == nil && after:
					lateN.Add(1)
				case err == nil:
					duringN.Add(1)
				case !answered.Load():
					if _, ok := errors.AsType[*schema.Error](err); !ok {
						e := fmt.Errorf("before the answer: %w", err)
						wrong.Store(&e)
					}
				}
			}
		})
	}
	// Let the readers fill every cache.
	for deadline := time.Now().Add(30 * time.Second); duringN.Load() < 50 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	err = take()
	answered.Store(true)
	time.Sleep(100 * time.Millisecond)
	stop.Store(true)
	wg.Wait()
	if w := wrong.Load(); w != nil {
		err = errors.Join(err, *w)
	}
	return lateN.Load(), duringN.Load(), err
}
