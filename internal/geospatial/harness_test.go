package geospatial

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	geoapi "github.com/sagekeep/sagekeep/api/geospatial"
	iamapi "github.com/sagekeep/sagekeep/api/iam"
	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/blob"
	"github.com/sagekeep/sagekeep/internal/blob/blobtest"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/evaluator"
	"github.com/sagekeep/sagekeep/internal/iam"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/jobs"
	"github.com/sagekeep/sagekeep/internal/kms"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/sample"
	"github.com/sagekeep/sagekeep/internal/store"
	"github.com/sagekeep/sagekeep/internal/store/driver"
	"github.com/sagekeep/sagekeep/internal/store/memstore"
)

const (
	account  = "111122223333"
	region   = ImportRegion
	diskRoot = "/disk"
	roleARN  = "arn:aws:iam::111122223333:role/GeoRole"
)

// keyCalls are KMS through the pipeline.
type keyCalls struct {
	r *protocol.Registry
	k *kms.Service
}

func (k keyCalls) Describe(ctx context.Context, id string) (string, bool, string, error) {
	i, err := k.k.Describe(ctx, id)
	return i.ARN, i.Symmetric, i.State, err
}

func (k keyCalls) Check(ctx context.Context, id, action string, ec map[string]string) (protocol.Check, error) {
	return k.k.CheckFor(ctx, id, action, ec)
}

func (k keyCalls) CreateGrant(ctx context.Context, in *kmsapi.CreateGrantInput) (*kmsapi.CreateGrantOutput, error) {
	return protocol.Call(ctx, k.r, kmsapi.CreateGrant, in)
}

func (k keyCalls) RetireGrant(ctx context.Context, in *kmsapi.RetireGrantInput) (*schema.Nothing, error) {
	return protocol.Call(ctx, k.r, kmsapi.RetireGrant, in)
}

func (k keyCalls) GenerateDataKey(ctx context.Context, in *kmsapi.GenerateDataKeyInput) (*kmsapi.GenerateDataKeyOutput, error) {
	return protocol.Call(ctx, k.r, kmsapi.GenerateDataKey, in)
}

func (k keyCalls) GenerateDataKeyWithoutPlaintext(ctx context.Context, in *kmsapi.GenerateDataKeyWithoutPlaintextInput) (*kmsapi.GenerateDataKeyWithoutPlaintextOutput, error) {
	return protocol.Call(ctx, k.r, kmsapi.GenerateDataKeyWithoutPlaintext, in)
}

func (k keyCalls) Decrypt(ctx context.Context, in *kmsapi.DecryptInput) (*kmsapi.DecryptOutput, error) {
	return protocol.Call(ctx, k.r, kmsapi.Decrypt, in)
}

type roles struct{ *iam.Service }

func (roles) PassRoleCheck(arn, service string) protocol.Check {
	return iam.PassRoleCheck(arn, service)
}

// bucket stands in for S3: it keeps what was put.
type bucket struct {
	mu      sync.Mutex
	objects map[string]int64
	inputs  []s3api.PutObjectInput
	callers []identity.Call
	err     error
}

func (b *bucket) PutObject(ctx context.Context, in *s3api.PutObjectInput) (*s3api.PutObjectOutput, error) {
	n, err := io.Copy(io.Discard, in.Body)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		err = b.err
	}
	if err != nil {
		return nil, err
	}
	b.objects["s3://"+in.Bucket+"/"+in.Key] = n
	b.inputs = append(b.inputs, *in)
	b.callers = append(b.callers, *identity.From(ctx))
	return &s3api.PutObjectOutput{}, nil
}

// world is a data directory with the services on it.
type world struct {
	t       *testing.T
	fs      vfs.FS
	disk    *blobtest.CrashFS // of the segments
	keyring *envelope.Keyring
	epochs  *envelope.Epochs
	side    int

	rows   driver.Store
	store  *store.Store
	blobs  blob.Store
	iam    *iam.Service
	kms    *kms.Service
	reg    *protocol.Registry
	runner *jobs.Runner
	geo    *Service
	s3     *bucket
}

// newWorld opens a fresh data directory whose role may use keys by their key
// policy; blockSide is that of the service.
func newWorld(t *testing.T, blockSide int) *world {
	t.Helper()
	w := &world{t: t, fs: vfs.NewMem(), disk: blobtest.NewCrashFS(diskRoot), keyring: envelope.NewMemory(), epochs: envelope.NewMemoryEpochs(), side: blockSide}
	w.open()
	if _, err := w.iam.CreateAccount(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	w.role("GeoRole", Principal)
	t.Cleanup(func() {
		w.stopRunner()
		w.close()
	})
	return w
}

func (w *world) role(name, trusts string) {
	w.t.Helper()
	_, err := protocol.Call(w.root(), w.reg, iamapi.CreateRole, &iamapi.CreateRoleInput{
		RoleName:                 name,
		AssumeRolePolicyDocument: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"` + trusts + `"},"Action":"sts:AssumeRole"}]}`,
	})
	if err != nil {
		w.t.Fatalf("CreateRole: %v", err)
	}
}

// open opens the directory, as a start of the process does, with an idle runner.
func (w *world) open() {
	w.t.Helper()
	var err error
	if w.rows, err = memstore.OpenFS(w.fs, nil); err != nil {
		w.t.Fatal(err)
	}
	w.store = store.New(w.rows, w.keyring, store.Options{})
	if w.blobs, err = blob.Local(diskRoot+"/objects", diskRoot+"/tmp", blob.LocalOptions{FS: w.disk}); err != nil {
		w.t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	w.iam = iam.New(iam.Deps{Store: w.store, Keyring: w.keyring})
	w.reg = protocol.NewRegistry(evaluator.New(w.iam, nil), w.store.Journal())
	w.iam.Register(w.reg)
	w.kms = kms.New(kms.Config{Store: w.store, Keyring: w.keyring, Epochs: w.epochs, Principals: w.iam, Authorizer: w.reg})
	w.kms.Register(w.reg)
	w.runner = jobs.New(jobs.Config{Store: w.store, Log: log, Poll: 20 * time.Millisecond, Backoff: time.Millisecond})
	w.s3 = &bucket{objects: map[string]int64{}}
	w.geo = New(Config{
		Store: w.store, Keyring: w.keyring, Blobs: w.blobs, Jobs: w.runner, Roles: roles{w.iam}, Keys: keyCalls{w.reg, w.kms},
		Objects: w.s3, Authorizer: w.reg, KeyEpoch: w.kms.Epoch, Account: func() string { return account }, Log: log, BlockSide: w.side,
	})
	w.geo.Register(w.reg)
}

func (w *world) close() {
	if err := errors.Join(w.store.Close(), w.blobs.Close()); err != nil {
		w.t.Errorf("close: %v", err)
	}
}

func (w *world) start() {
	w.t.Helper()
	if err := w.runner.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) stopRunner() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.runner.Close(ctx); err != nil {
		w.t.Error(err)
	}
}

// kill is kill -9 and the loss of what was not synced, and a new start, the
// runner still idle.
func (w *world) kill() {
	w.t.Helper()
	w.runner.Abandon()
	w.disk = w.disk.CrashClone(1)
	w.close()
	w.open()
}

// as returns the context of a request.
func (w *world) as(c *identity.Caller) context.Context {
	return identity.With(w.t.Context(), &identity.Call{
		Caller: c, Region: region, RequestID: newRequestID(), SourceIP: "172.12.34.56",
		UserAgent: "ExampleDesktop/1.0 (V1; OS)", Time: time.Now().UTC(),
	})
}

// root is the context of a request by the account's root.
func (w *world) root() context.Context {
	return w.as(&identity.Caller{Type: identity.Root, Account: account, ARN: "arn:aws:iam::" + account + ":root", PrincipalID: account})
}

// keyPolicy lets the account's root do everything and the role what is named.
func keyPolicy(actions ...string) string {
	b, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{
		map[string]any{"Effect": "Allow", "Principal": map[string]string{"AWS": "arn:aws:iam::" + account + ":root"}, "Action": "kms:*", "Resource": "*"},
		map[string]any{"Effect": "Allow", "Principal": map[string]string{"AWS": roleARN}, "Action": actions, "Resource": "*"},
	}})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// key makes a customer managed key and returns its ARN.
func (w *world) key(actions ...string) string {
	w.t.Helper()
	out, err := protocol.Call(w.root(), w.reg, kmsapi.CreateKey, &kmsapi.CreateKeyInput{Policy: new(keyPolicy(actions...))})
	if err != nil {
		w.t.Fatalf("CreateKey: %v", err)
	}
	return *out.KeyMetadata.Arn
}

// scene imports the sample scene and returns the collection's ARN.
func (w *world) scene() string {
	w.t.Helper()
	arn, err := w.geo.Import(w.t.Context(), account, region, "sample", sample.FS(), []string{sample.Item}, nil)
	if err != nil {
		w.t.Fatalf("Import: %v", err)
	}
	return arn
}

// ndvi is the input of a job that computes NDVI of the sample.
func ndvi(collection, key string) *geoapi.StartEarthObservationJobInput {
	in := &geoapi.StartEarthObservationJobInput{
		Name: "vegetation", ExecutionRoleArn: roleARN,
		InputConfig: &geoapi.InputConfigInput{RasterDataCollectionQuery: &geoapi.RasterDataCollectionQueryInput{
			RasterDataCollectionArn: collection,
			TimeRangeFilter:         &geoapi.TimeRangeFilterInput{StartTime: date("2017-01-01"), EndTime: date("2018-01-01")},
		}},
		JobConfig: &geoapi.JobConfigInput{BandMathConfig: &geoapi.BandMathConfigInput{PredefinedIndices: []string{"NDVI"}}},
	}
	if key != "" {
		in.KmsKeyId = &key
	}
	return in
}

func date(s string) time.Time {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic(err)
	}
	return t
}

// startJob starts a job as root and returns its ARN.
func (w *world) startJob(in *geoapi.StartEarthObservationJobInput) string {
	w.t.Helper()
	out, err := protocol.Call(w.root(), w.reg, geoapi.StartEarthObservationJob, in)
	if err != nil {
		w.t.Fatalf("StartEarthObservationJob: %v", err)
	}
	return out.Arn
}

func (w *world) get(arn string) *geoapi.GetEarthObservationJobOutput {
	w.t.Helper()
	out, err := protocol.Call(w.root(), w.reg, geoapi.GetEarthObservationJob, &geoapi.GetEarthObservationJobInput{Arn: arn})
	if err != nil {
		w.t.Fatalf("GetEarthObservationJob: %v", err)
	}
	return out
}

const patience = 30 * time.Second

// wait waits for a job to be in a status and returns it.
func (w *world) wait(arn string, status geoapi.EarthObservationJobStatus) *geoapi.GetEarthObservationJobOutput {
	w.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		out := w.get(arn)
		if out.Status == status {
			return out
		}
		if terminal(out.Status) || time.Now().After(end) {
			message := ""
			if out.ErrorDetails != nil {
				message = *out.ErrorDetails.Message
			}
			w.t.Fatalf("job is %s (%s), want %s", out.Status, message, status)
		}
	}
}

// record is an audit record as clients see it.
type record map[string]any

// records returns the records of an operation, oldest first.
func (w *world) records(name string) []record {
	w.t.Helper()
	var out []record
	for r, err := range w.store.Journal().Scan(w.t.Context(), store.JournalScan{}) {
		if err != nil {
			w.t.Fatal(err)
		}
		var v record
		if err := json.Unmarshal(r.Data, &v); err != nil {
			w.t.Fatal(err)
		}
		if v["eventName"] == name {
			out = append(out, v)
		}
	}
	return out
}

func wantCode(t *testing.T, err error, code, text string) {
	t.Helper()
	e, ok := errors.AsType[*schema.Error](err)
	if !ok || e.Code != code || !strings.Contains(e.Message, text) {
		t.Fatalf("got %v, want %s with %q", err, code, text)
	}
}

func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	w.t.Fatalf("never happened: %s", what)
}

// segments counts what the blob store holds.
func (w *world) segments() (n int) {
	w.t.Helper()
	for _, err := range w.blobs.List(w.t.Context()) {
		if err != nil {
			w.t.Fatal(err)
		}
		n++
	}
	return n
}

// revoke takes a job's grant away, as the owner of the key.
func (w *world) revoke(arn, key string) {
	w.t.Helper()
	r, _ := parseARN(arn)
	var job jobRow
	err := w.store.View(w.t.Context(), func(tx *store.Tx) error {
		var err error
		job, err = readJob(tx, r)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := protocol.Call(w.root(), w.reg, kmsapi.RevokeGrant, &kmsapi.RevokeGrantInput{KeyId: key, GrantId: job.GrantID}); err != nil {
		w.t.Fatalf("RevokeGrant: %v", err)
	}
}
