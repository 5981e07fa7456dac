package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/client"
)

// logText is a log that a test reads while it is written.
type logText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// until waits for a condition.
func until(t *testing.T, what string, log *logText, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 30 s; the log: %s", what, log)
		}
	}
}

// epochOf is the id of the directory's deletion epoch, "" while an erasure is under
// way.
func epochOf(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "seal", "epoch.json"))
	must(t, err)
	var f struct{ Epochs []struct{ ID string } }
	must(t, json.Unmarshal(b, &f))
	if len(f.Epochs) != 1 {
		return ""
	}
	return f.Epochs[0].ID
}

func importMaterial(t *testing.T, c *client.Client, id string, material []byte) {
	t.Helper()
	p, err := client.Call(t.Context(), c, kmsapi.GetParametersForImport, &kmsapi.GetParametersForImportInput{
		KeyId: id, WrappingAlgorithm: "RSAES_OAEP_SHA_256", WrappingKeySpec: "RSA_2048",
	})
	must(t, err)
	pub, err := x509.ParsePKIXPublicKey(p.PublicKey)
	must(t, err)
	wrapped, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, pub.(*rsa.PublicKey), material, nil)
	must(t, err)
	_, err = client.Call(t.Context(), c, kmsapi.ImportKeyMaterial, &kmsapi.ImportKeyMaterialInput{
		KeyId: id, ImportToken: p.ImportToken, EncryptedKeyMaterial: wrapped, ExpirationModel: "KEY_MATERIAL_DOES_NOT_EXPIRE",
	})
	must(t, err)
}

// TestRestoreFromBeforeAnErasure: rows that were copied before key material was
// erased, brought back beside the seal of after it, open nothing: not what was
// erased, and not the other keys, whose epoch went with it. Everything else works,
// and says so.
func TestRestoreFromBeforeAnErasure(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	log := &logText{}
	serve := func(use func(c *client.Client)) {
		t.Helper()
		cfg := Config{DataDir: dir, Log: slog.New(slog.NewTextHandler(log, nil))}
		must(t, cfg.Validate())
		s, err := Open(context.Background(), cfg)
		must(t, err)
		defer func() { must(t, s.Close()) }()
		must(t, s.Start())
		use(&client.Client{Endpoint: listen(t, s.Handler()), Region: DefaultRegion, HTTP: newHTTP(t), Credential: rootOf(s, 0)})
	}
	newKey := func(c *client.Client, origin kmsapi.OriginType) string {
		t.Helper()
		out, err := client.Call(t.Context(), c, kmsapi.CreateKey, &kmsapi.CreateKeyInput{Origin: origin})
		must(t, err)
		return out.KeyMetadata.KeyId
	}
	encrypt := func(c *client.Client, id string) []byte {
		t.Helper()
		out, err := client.Call(t.Context(), c, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: id, Plaintext: []byte(id)})
		must(t, err)
		return out.CiphertextBlob
	}
	decrypt := func(c *client.Client, blob []byte) (string, error) {
		out, err := client.Call(t.Context(), c, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: blob})
		if err != nil {
			return "", err
		}
		return string(out.Plaintext), nil
	}

	material := bytes.Repeat([]byte{7}, 32)
	var imported, live string
	var importedBlob, liveBlob []byte
	serve(func(c *client.Client) {
		imported, live = newKey(c, kmsapi.OriginTypeExternal), newKey(c, "")
		importMaterial(t, c, imported, material)
		importedBlob, liveBlob = encrypt(c, imported), encrypt(c, live)
	})
	rows := filepath.Join(dir, "rows")
	old := filepath.Join(t.TempDir(), "rows")
	must(t, os.CopyFS(old, os.DirFS(rows)))

	before := epochOf(t, dir)
	serve(func(c *client.Client) {
		_, err := client.Call(t.Context(), c, kmsapi.DeleteImportedKeyMaterial, &kmsapi.DeleteImportedKeyMaterialInput{KeyId: imported})
		must(t, err)
	})
	serve(func(c *client.Client) { // the maintenance of a start erases
		until(t, "the erasure", log, func() bool { now := epochOf(t, dir); return now != "" && now != before })
		if got, err := decrypt(c, liveBlob); got != live {
			t.Fatalf("the survivor: %v", err)
		}
	})
	if strings.Contains(log.String(), "older than the last erasure") {
		t.Errorf("rows and seal of one time are called old: %s", log)
	}

	must(t, os.RemoveAll(rows))
	must(t, os.CopyFS(rows, os.DirFS(old)))
	serve(func(c *client.Client) {
		until(t, "the warning", log, func() bool { return strings.Contains(log.String(), "older than the last erasure") })
		for _, k := range []struct {
			name, id string
			blob     []byte
			state    kmsapi.KeyState
			text     string
		}{
			{"the erased key", imported, importedBlob, kmsapi.KeyStatePendingImport, " is pending import."},
			{"the other key", live, liveBlob, kmsapi.KeyStateUnavailable, " is unavailable: its key material has been erased."},
		} {
			got, err := decrypt(c, k.blob)
			e, ok := errors.AsType[*schema.Error](err)
			if !ok || e.Code != "KMSInvalidStateException" || !strings.HasSuffix(e.Message, k.id+k.text) {
				t.Errorf("%s: Decrypt gave %q, %v", k.name, got, err)
			}
			out, err := client.Call(t.Context(), c, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: k.id})
			must(t, err)
			if m := out.KeyMetadata; m.KeyState != k.state || *m.Enabled {
				t.Errorf("%s: described as %s, enabled %t, want %s", k.name, m.KeyState, *m.Enabled, k.state)
			}
		}
		fresh := newKey(c, "")
		if got, err := decrypt(c, encrypt(c, fresh)); got != fresh {
			t.Errorf("a new key: %v", err)
		}
		importMaterial(t, c, imported, material)
		if got, err := decrypt(c, importedBlob); got != imported {
			t.Errorf("the same material imported again: %v", err)
		}
		_, err := client.Call(t.Context(), c, kmsapi.DeleteImportedKeyMaterial, &kmsapi.DeleteImportedKeyMaterialInput{KeyId: imported})
		must(t, err)
	})
	before = epochOf(t, dir)
	serve(func(*client.Client) { // what cannot be opened keeps nothing else from being erased
		until(t, "the next erasure", log, func() bool { now := epochOf(t, dir); return now != "" && now != before })
	})
}
