package server

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	ctapi "github.com/sagekeep/sagekeep/api/cloudtrail"
	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/internal/client"
	"github.com/sagekeep/sagekeep/internal/rsakey"
	"github.com/sagekeep/sagekeep/internal/sigv4"
)

// crashDir makes the test binary a server, so that it can be killed.
const crashDir = "SAGEKEEP_CRASH_TEST_DIR"

func TestMain(m *testing.M) {
	rsakey.Main()
	if dir := os.Getenv(crashDir); dir != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		defer HoldHeap()()
		cfg := Config{DataDir: dir, Listen: "127.0.0.1:0"}
		if err := Run(ctx, cfg, func(url string) { fmt.Println("ready", url) }); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// victim is a server process that the test kills.
type victim struct {
	cmd *exec.Cmd
	c   *client.Client
}

func startVictim(t testing.TB, dir string) *victim {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if err != nil || !ok {
		cmd.Process.Kill()
		cmd.Wait()
		t.Fatalf("the server did not start: %q, %v, %s", line, err, errs.String())
	}
	creds, err := ReadCredentials(dir)
	if err != nil {
		t.Fatal(err)
	}
	root := creds.Accounts[0]
	return &victim{cmd: cmd, c: &client.Client{
		Endpoint: url, Region: DefaultRegion, HTTP: newHTTP(t),
		Credential: sigv4.Credential{AccessKeyID: root.AccessKeyID, Secret: root.SecretAccessKey},
	}}
}

// end stops the process with sig and waits for it.
func (v *victim) end(sig os.Signal) {
	v.cmd.Process.Signal(sig)
	v.cmd.Wait()
}

// acked is what the server has acknowledged.
type acked struct {
	mu      sync.Mutex
	blobs   map[string][]byte // key id -> ciphertext of the key id
	objects map[string]string // object key -> body
}

// TestKill9 is I6 and I4: after kill -9 in the middle of writes, everything that
// was acknowledged is there, opens, and has its record; nothing is half there.
func TestKill9(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	have := &acked{blobs: map[string][]byte{}, objects: map[string]string{}}
	const bucket = "crash"
	v := startVictim(t, dir)
	_, err := client.Call(t.Context(), v.c, s3api.CreateBucket, &s3api.CreateBucketInput{
		Bucket: bucket, CreateBucketConfiguration: &s3api.CreateBucketConfiguration{LocationConstraint: DefaultRegion},
	})
	must(t, err)
	for round := range 4 {
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() { have.write(t.Context(), v.c, bucket, fmt.Sprintf("r%d-w%d", round, w)) })
		}
		have.grow(t, 6)                                          // the kill falls into the middle of work, however slow the machine
		time.Sleep(time.Duration(10+7*round) * time.Millisecond) // and not always at the same step
		v.end(syscall.SIGKILL)
		wg.Wait()
		v = startVictim(t, dir)
		have.check(t, v.c, bucket)
	}
	v.end(syscall.SIGTERM)
	if code := v.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the server ended with %d after SIGTERM", code)
	}
}

// grow waits until n more objects are acknowledged.
func (a *acked) grow(t *testing.T, n int) {
	t.Helper()
	count := func() int {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.objects)
	}
	want := count() + n
	for deadline := time.Now().Add(30 * time.Second); count() < want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d objects were acknowledged in 30 s, want %d", count(), want)
		}
	}
}

// write makes keys and objects until the server is gone.
func (a *acked) write(ctx context.Context, c *client.Client, bucket, name string) {
	for i := 0; ; i++ {
		key, err := client.Call(ctx, c, kmsapi.CreateKey, &kmsapi.CreateKeyInput{})
		if err != nil {
			return
		}
		id := key.KeyMetadata.KeyId
		ct, err := client.Call(ctx, c, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: id, Plaintext: []byte(id)})
		if err != nil {
			return
		}
		a.mu.Lock()
		a.blobs[id] = ct.CiphertextBlob
		a.mu.Unlock()
		object, body := fmt.Sprintf("%s-%d", name, i), strings.Repeat(name+";", 1+i%2*20_000)
		_, err = client.Call(ctx, c, s3api.PutObject, &s3api.PutObjectInput{
			Bucket: bucket, Key: object, Body: strings.NewReader(body), ContentLength: new(int64(len(body))),
			ServerSideEncryption: s3api.ServerSideEncryptionAwsKms, SSEKMSKeyId: new(id),
		})
		if err != nil {
			return
		}
		a.mu.Lock()
		a.objects[object] = body
		a.mu.Unlock()
	}
}

func (a *acked) check(t *testing.T, c *client.Client, bucket string) {
	t.Helper()
	ctx := t.Context()
	for id, ct := range a.blobs {
		out, err := client.Call(ctx, c, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: ct})
		if err != nil || string(out.Plaintext) != id {
			t.Fatalf("key %s was acknowledged: %v", id, err)
		}
	}
	for key, want := range a.objects {
		o, err := client.Call(ctx, c, s3api.GetObject, &s3api.GetObjectInput{Bucket: bucket, Key: key})
		if err != nil {
			t.Fatalf("object %s was acknowledged: %v", key, err)
		}
		var got strings.Builder
		if _, err := bufio.NewReader(o.Body).WriteTo(&got); err != nil || got.String() != want {
			t.Fatalf("object %s has %d bytes, %v; want %d", key, got.Len(), err, len(want))
		}
	}
	// What is listed but was not acknowledged is whole all the same.
	list, err := client.Call(ctx, c, s3api.ListObjectsV2, &s3api.ListObjectsV2Input{Bucket: bucket})
	must(t, err)
	for _, o := range list.Contents {
		if _, ok := a.objects[*o.Key]; ok {
			continue
		}
		out, err := client.Call(ctx, c, s3api.GetObject, &s3api.GetObjectInput{Bucket: bucket, Key: *o.Key})
		if err != nil {
			t.Fatalf("object %s is listed: %v", *o.Key, err)
		}
		must(t, drain(out.Body))
	}
	recorded := map[string]bool{}
	in := &ctapi.LookupEventsInput{LookupAttributes: []ctapi.LookupAttribute{{AttributeKey: ctapi.LookupAttributeKeyEventName, AttributeValue: "CreateKey"}}}
	for {
		events, err := client.Call(ctx, c, ctapi.LookupEvents, in)
		must(t, err)
		for _, e := range events.Events {
			for _, r := range e.Resources {
				_, id, _ := strings.Cut(*r.ResourceName, ":key/")
				recorded[id] = true
			}
		}
		if in.NextToken = events.NextToken; in.NextToken == nil {
			break
		}
	}
	for id := range a.blobs {
		if !recorded[id] {
			t.Fatalf("key %s has no CreateKey record", id)
		}
	}
}
