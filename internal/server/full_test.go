package server

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/client"
)

// TestFullDisk is the last part of I6: with little free space writes are refused
// before they begin, reads go on, and all is well when there is space again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	var free atomic.Uint64
	free.Store(100 << 30)
	cfg := Config{
		DataDir:   filepath.Join(t.TempDir(), "data"),
		freeSpace: func() (uint64, uint64, error) { return free.Load(), 100 << 30, nil },
	}
	_, c := startServerWith(t, cfg)
	ctx := context.Background()
	key, err := client.Call(ctx, c, kmsapi.CreateKey, &kmsapi.CreateKeyInput{})
	must(t, err)
	ct, err := client.Call(ctx, c, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: key.KeyMetadata.KeyId, Plaintext: []byte("x")})
	must(t, err)
	_, err = client.Call(ctx, c, s3api.CreateBucket, &s3api.CreateBucketInput{
		Bucket: "b", CreateBucketConfiguration: &s3api.CreateBucketConfiguration{LocationConstraint: DefaultRegion},
	})
	if err == nil {
		t.Fatal("a bucket name of one letter was accepted")
	}
	_, err = client.Call(ctx, c, s3api.CreateBucket, &s3api.CreateBucketInput{
		Bucket: "bucket", CreateBucketConfiguration: &s3api.CreateBucketConfiguration{LocationConstraint: DefaultRegion},
	})
	must(t, err)
	put := func(size int) error {
		body := strings.Repeat("x", size)
		_, err := client.Call(ctx, c, s3api.PutObject, &s3api.PutObjectInput{
			Bucket: "bucket", Key: "k", Body: strings.NewReader(body), ContentLength: new(int64(size)),
		})
		return err
	}
	must(t, put(100_000))
	free.Store(2<<30 - 1)   // below 2 % of 100 GiB
	time.Sleep(time.Second) // the file system is asked once a second
	time.Sleep(100 * time.Millisecond)
	for name, call := range map[string]func() error{
		"CreateKey": func() error {
			_, err := client.Call(ctx, c, kmsapi.CreateKey, &kmsapi.CreateKeyInput{})
			return err
		},
		"small PutObject": func() error { return put(10) },
		"large PutObject": func() error { return put(100_000) },
	} {
		e, ok := errors.AsType[*schema.Error](call())
		if !ok || e.Status != 503 || !strings.HasPrefix(e.Code, "ServiceUnavailable") {
			t.Errorf("%s on a full disk = %v", name, e)
		}
	}
	out, err := client.Call(ctx, c, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: ct.CiphertextBlob})
	if err != nil || string(out.Plaintext) != "x" {
		t.Errorf("Decrypt on a full disk: %v", err)
	}
	o, err := client.Call(ctx, c, s3api.GetObject, &s3api.GetObjectInput{Bucket: "bucket", Key: "k"})
	if err != nil || drain(o.Body) != nil {
		t.Errorf("GetObject on a full disk: %v", err)
	}
	free.Store(100 << 30)
	time.Sleep(1100 * time.Millisecond)
	if err := put(10); err != nil {
		t.Errorf("PutObject after space was freed: %v", err)
	}
}

// TestStartOnAFullDisk: a directory is served for reading when free space is low at
// the start.
func TestStartOnAFullDisk(t *testing.T) {
	t.Parallel()
	var free atomic.Uint64
	free.Store(100 << 30)
	cfg := Config{
		DataDir:   filepath.Join(t.TempDir(), "data"),
		freeSpace: func() (uint64, uint64, error) { return free.Load(), 100 << 30, nil },
	}
	ctx := t.Context()
	var blob []byte
	t.Run("with space", func(t *testing.T) {
		_, c := startServerWith(t, cfg)
		key, err := client.Call(ctx, c, kmsapi.CreateKey, &kmsapi.CreateKeyInput{})
		must(t, err)
		ct, err := client.Call(ctx, c, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: key.KeyMetadata.KeyId, Plaintext: []byte("x")})
		must(t, err)
		blob = ct.CiphertextBlob
	})
	free.Store(1 << 30)
	_, c := startServerWith(t, cfg)
	out, err := client.Call(ctx, c, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: blob})
	if err != nil || string(out.Plaintext) != "x" {
		t.Errorf("Decrypt: %v", err)
	}
	_, err = client.Call(ctx, c, kmsapi.CreateKey, &kmsapi.CreateKeyInput{})
	if e, ok := errors.AsType[*schema.Error](err); !ok || e.Status != 503 {
		t.Errorf("CreateKey = %v", err)
	}
}
