package e2e

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
)

const region = "us-west-2"

// account is one account of a server, seen through the SDK. Its root user acts.
type account struct {
	*kms.Client
	iam    *iam.Client
	server started

	mu     sync.Mutex
	called map[string]bool // operations of KMS
}

func newAccount(t *testing.T) *account {
	t.Helper()
	a := &account{server: start(t), called: map[string]bool{}}
	a.Client = a.as(a.server.accessKeyID, a.server.secret)
	a.iam = iam.New(iam.Options{
		BaseEndpoint: &a.server.url, Region: region, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(a.server.accessKeyID, a.server.secret, ""),
	})
	return a
}

// as is KMS for another key, or in another Region.
func (a *account) as(accessKeyID, secret string, options ...func(*kms.Options)) *kms.Client {
	return kms.New(kms.Options{
		BaseEndpoint: &a.server.url, Region: region, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(accessKeyID, secret, ""),
		APIOptions: []func(*middleware.Stack) error{func(stack *middleware.Stack) error {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.called[stack.ID()] = true
			return nil
		}},
	}, options...)
}

// newUser makes a user without any right and waits for it, as one must on AWS.
func (a *account) newUser(t *testing.T, name string) (arn string, client *kms.Client) {
	t.Helper()
	user := ok(a.iam.CreateUser(t.Context(), &iam.CreateUserInput{UserName: &name}))(t)
	waiter := iam.NewUserExistsWaiter(a.iam)
	if err := waiter.Wait(t.Context(), &iam.GetUserInput{UserName: &name}, 10*time.Second); err != nil {
		t.Fatalf("UserExistsWaiter: %v", err)
	}
	key := ok(a.iam.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: &name}))(t)
	return *user.User.Arn, a.as(*key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey)
}

// newKey makes a symmetric key, or what change asks for.
func (a *account) newKey(t *testing.T, change ...func(*kms.CreateKeyInput)) *types.KeyMetadata {
	t.Helper()
	in := &kms.CreateKeyInput{}
	for _, c := range change {
		c(in)
	}
	return ok(a.CreateKey(t.Context(), in))(t).KeyMetadata
}

func spec(s types.KeySpec, u types.KeyUsageType) func(*kms.CreateKeyInput) {
	return func(in *kms.CreateKeyInput) { in.KeySpec, in.KeyUsage = s, u }
}

// ok returns what a call answered; an error ends the test.
func ok[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// failure is the error of a call whose answer does not matter.
func failure[T any](_ T, err error) error { return err }

// is reports an error of another type than E, which the SDK makes of the code in the answer.
func is[E smithy.APIError](err error) error {
	if e, ok := errors.AsType[E](err); ok {
		if e.ErrorFault() == smithy.FaultServer {
			return fmt.Errorf("%s blames the server", e.ErrorCode())
		}
		return nil
	}
	return fmt.Errorf("got %v, want %s", err, reflect.TypeFor[E]().Elem().Name())
}

func want[E smithy.APIError](t *testing.T, what string, err error) {
	t.Helper()
	if e := is[E](err); e != nil {
		t.Errorf("%s: %v", what, e)
	}
}

// denied asks for the error of a caller without the right, which the SDK has no type for.
func denied(t *testing.T, what string, err error) {
	t.Helper()
	if e, ok := errors.AsType[smithy.APIError](err); !ok || e.ErrorCode() != "AccessDeniedException" {
		t.Errorf("%s: got %v, want AccessDeniedException", what, err)
	}
}

// pager is a paginator of the SDK.
type pager[T any] interface {
	HasMorePages() bool
	NextPage(ctx context.Context, options ...func(*kms.Options)) (T, error)
}

// pages reads a list to its end and asks for more than one page.
func pages[T, E any](t *testing.T, p pager[T], entries func(T) []E) []E {
	t.Helper()
	var all []E
	n := 0
	for ; p.HasMorePages(); n++ {
		all = append(all, entries(ok(p.NextPage(t.Context()))(t))...)
	}
	if n < 2 {
		t.Errorf("%T: %d entries on %d pages, want several", p, len(all), n)
	}
	return all
}

// TestKMS walks through every operation of KMS with the AWS SDK for Go.
func TestKMS(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	walks := map[string]func(*testing.T, *account){
		"Keys": walkKeys, "Aliases": walkAliases, "Tags": walkTags, "Policies": walkPolicies, "Grants": walkGrants, "Rotation": walkRotation,
		"Symmetric": walkSymmetric, "Signatures": walkSignatures, "MACs": walkMACs, "Agreement": walkAgreement, "Pairs": walkPairs,
		"Encapsulation": walkEncapsulation, "RSA": walkRSA, "Import": walkImport, "Regions": walkRegions, "LastUsage": walkLastUsage, "Stores": walkStores,
		"Errors": walkErrors,
	}
	t.Run("Walk", func(t *testing.T) {
		for name, walk := range walks {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				walk(t, a)
			})
		}
	})
	for m := range reflect.TypeFor[*kms.Client]().Methods() {
		if m.Name != "Options" && !a.called[m.Name] {
			t.Errorf("%s was not called", m.Name)
		}
	}
}

// text is what the calls want for their optional members.
func text(s string) *string { return aws.String(s) }
