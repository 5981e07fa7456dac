package s3_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/blob"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/evaluator"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/kms"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/s3"
	"github.com/sagekeep/sagekeep/internal/store"
	"github.com/sagekeep/sagekeep/internal/store/driver"
	"github.com/sagekeep/sagekeep/internal/store/memstore"
)

const (
	account = "111122223333"
	other   = "444455556666"
	region  = "us-west-2"
)

// userPolicies are the identity policies of callers by user name: the ones that
// the test gives, everything by default.
type userPolicies struct {
	mu        sync.Mutex
	documents map[string]string
}

func (u *userPolicies) PoliciesOf(_ context.Context, c *identity.Caller) (authz.Policies, error) {
	doc := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`
	u.mu.Lock()
	if d, ok := u.documents[c.UserName]; ok {
		doc = d
	}
	u.mu.Unlock()
	p, err := authz.Parse(authz.IdentityPolicy, []byte(doc))
	return authz.Policies{Identity: []*authz.Policy{p}}, err
}

// allow gives a user a policy of its own.
func (w *world) allow(user, document string) {
	w.users.mu.Lock()
	defer w.users.mu.Unlock()
	w.users.documents[user] = document
}

// everyone knows every principal but those named ghost.
type everyone struct{}

func (everyone) PrincipalExists(_ context.Context, arn string) (string, bool) {
	_, name, _ := strings.Cut(arn, "/")
	return map[bool]string{true: "AIDA" + strings.ToUpper(name) + "EXAMPLE0000"}[name != ""], name != "ghost"
}

func (everyone) NamesNow(context.Context, map[string]string) (map[string]string, error) {
	return nil, nil
}

// viaKMS is what the server does: KMS through the pipeline.
type viaKMS struct {
	r     *protocol.Registry
	mu    sync.Mutex
	calls int
}

func (v *viaKMS) count() {
	v.mu.Lock()
	v.calls++
	v.mu.Unlock()
}

func (v *viaKMS) GenerateDataKey(ctx context.Context, in *kmsapi.GenerateDataKeyInput) (*kmsapi.GenerateDataKeyOutput, error) {
	v.count()
	return protocol.Call(ctx, v.r, kmsapi.GenerateDataKey, in)
}

func (v *viaKMS) Decrypt(ctx context.Context, in *kmsapi.DecryptInput) (*kmsapi.DecryptOutput, error) {
	v.count()
	return protocol.Call(ctx, v.r, kmsapi.Decrypt, in)
}

// world is a server without its wire.
type world struct {
	t       *testing.T
	reg     *protocol.Registry
	svc     *s3.Service
	store   *store.Store
	blobs   blob.Store
	kms     *viaKMS
	users   *userPolicies
	caller  *identity.Caller
	region  string
	objects string // folder of segments
	*shared
}

// shared is what worlds of several callers have in common.
type shared struct {
	mu       sync.Mutex
	now      time.Time
	iamEpoch uint64
}

type setup struct {
	driver driver.Store
	blobs  blob.Store
	ring   *envelope.Keyring
}

func newWorld(t *testing.T) *world { return newWorldWith(t, setup{}) }

func newWorldWith(t *testing.T, with setup) *world {
	t.Helper()
	w := &world{t: t, region: region, users: &userPolicies{documents: map[string]string{}}}
	w.shared = &shared{now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	w.caller = user(account, "alice")
	if with.driver == nil {
		with.driver = memstore.New(t)
	}
	if with.ring == nil {
		with.ring = envelope.NewMemory()
	}
	if with.blobs == nil {
		w.objects = t.TempDir()
		var err error
		with.blobs, err = blob.Local(w.objects+"/objects", w.objects+"/tmp", blob.LocalOptions{
			Now: w.clock, Space: func(string) (uint64, uint64, error) { return 1 << 40, 1 << 40, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	w.blobs = with.blobs
	w.store = store.New(with.driver, with.ring, store.Options{FreeSpace: func() (uint64, uint64, error) { return 1 << 40, 1 << 40, nil }})
	w.reg = protocol.NewRegistry(evaluator.New(w.users, nil), w.store.Journal())
	w.reg.Now = w.clock
	w.kms = &viaKMS{r: w.reg}
	keys := kms.New(kms.Config{
		Store: w.store, Keyring: with.ring, Epochs: envelope.NewMemoryEpochs(), Principals: everyone{}, Authorizer: w.reg, Now: w.clock,
	})
	keys.Register(w.reg)
	w.svc = s3.New(s3.Config{
		Store: w.store, Keyring: with.ring, Blobs: with.blobs, Keys: w.kms, Principals: everyone{}, Authorizer: w.reg, Now: w.clock,
		KeyEpoch: keys.Epoch,
		IAMEpoch: func(string) uint64 {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.iamEpoch
		},
	})
	w.svc.Register(w.reg)
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	w.now = w.now.Add(d)
	w.mu.Unlock()
}

func user(account, name string) *identity.Caller {
	return &identity.Caller{
		Type: identity.User, Account: account, ARN: "arn:aws:iam::" + account + ":user/" + name,
		PrincipalID: "AIDA" + strings.ToUpper(name) + "EXAMPLE0000", AccessKeyID: "AKIA" + name, UserName: name,
	}
}

func root(account string) *identity.Caller {
	return &identity.Caller{Type: identity.Root, Account: account, ARN: "arn:aws:iam::" + account + ":root", PrincipalID: account, AccessKeyID: "AKIAROOT"}
}

// as is the same world for another caller.
func (w *world) as(c *identity.Caller) *world {
	n := *w
	n.caller = c
	return &n
}

func (w *world) ctx() context.Context {
	return identity.With(w.t.Context(), &identity.Call{
		Caller: w.caller, Region: w.region, RequestID: "request", SourceIP: "127.0.0.1", UserAgent: "test", Time: w.clock(),
	})
}

func call[In, Out any](w *world, op schema.Op[In, Out], in *In) (*Out, error) {
	w.t.Helper()
	return protocol.Call(w.ctx(), w.reg, op, in)
}

func must[In, Out any](w *world, op schema.Op[In, Out], in *In) *Out {
	w.t.Helper()
	out, err := call(w, op, in)
	if err != nil {
		w.t.Fatalf("%s: %v", op.Name, err)
	}
	return out
}

// wantCode fails unless err is the API error with the code and status.
func wantCode(t *testing.T, err error, code string, status int) {
	t.Helper()
	if code == "" {
		if err != nil {
			t.Fatalf("got %v, want no error", err)
		}
		return
	}
	e, ok := errors.AsType[*schema.Error](err)
	if !ok || e.Code != code || status != 0 && e.Status != status {
		t.Fatalf("got %v, want %s (%d)", err, code, status)
	}
}

func (w *world) bucket(name string) {
	w.t.Helper()
	must(w, s3api.CreateBucket, &s3api.CreateBucketInput{
		Bucket:                    name,
		CreateBucketConfiguration: &s3api.CreateBucketConfiguration{LocationConstraint: s3api.BucketLocationConstraint(w.region)},
	})
}

func (w *world) key() string {
	w.t.Helper()
	return *must(w, kmsapi.CreateKey, &kmsapi.CreateKeyInput{}).KeyMetadata.Arn
}

func (w *world) put(bucket, key, body string) *s3api.PutObjectOutput {
	w.t.Helper()
	return must(w, s3api.PutObject, &s3api.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader(body)})
}

func (w *world) get(bucket, key string) (string, error) {
	w.t.Helper()
	out, err := call(w, s3api.GetObject, &s3api.GetObjectInput{Bucket: bucket, Key: key})
	if err != nil {
		return "", err
	}
	return readBody(w.t, out), nil
}

func readBody(t *testing.T, out *s3api.GetObjectOutput) string {
	t.Helper()
	defer out.Body.(io.Closer).Close()
	b, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatalf("read the body: %v", err)
	}
	return string(b)
}

// pattern is n bytes that compress badly and tell their position.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8*13 + i>>16)
	}
	return b
}
