package server

import (
	"encoding/hex"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/client"
	"github.com/sagekeep/sagekeep/internal/sigv4"
	"github.com/sagekeep/sagekeep/internal/xks/xkstest"
)

// useCredential makes c what the AWS SDK finds in the environment, as
// `sagekeep env` leaves it, and nothing else of the machine's settings.
func useCredential(t *testing.T, c sigv4.Credential) {
	t.Helper()
	none := filepath.Join(t.TempDir(), "none")
	for name, v := range map[string]string{
		"AWS_ACCESS_KEY_ID": c.AccessKeyID, "AWS_SECRET_ACCESS_KEY": c.Secret, "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_KMS": "", "AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none,
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1", "NO_PROXY": "*", "no_proxy": "*",
	} {
		t.Setenv(name, v)
	}
}

// newKeyARN makes a key and returns its ARN.
func newKeyARN(t *testing.T, c *client.Client, in *kmsapi.CreateKeyInput) string {
	t.Helper()
	out, err := client.Call(t.Context(), c, kmsapi.CreateKey, in)
	if err != nil {
		t.Fatal(err)
	}
	return *out.KeyMetadata.Arn
}

// changeSealOf asks a running server for a change of its seal, as its operator.
func changeSealOf(t *testing.T, s *Server, c *client.Client, operation string, in any) (done SealChange, err error) {
	t.Helper()
	op := c.As(sigv4.Credential{AccessKeyID: s.creds.Operator.AccessKeyID, Secret: s.creds.Operator.SecretAccessKey})
	err = op.Operator(t.Context(), operation, in, &done)
	return done, err
}

// inRegion is c in another Region.
func inRegion(c *client.Client, region string) *client.Client {
	other := *c
	other.Region = region
	return &other
}

// newExternalKeyARN makes a key in an external key store with the proxy p.
func newExternalKeyARN(t *testing.T, c *client.Client, p *xkstest.Proxy) string {
	t.Helper()
	p.AddKey("k1")
	made, err := client.Call(t.Context(), c, kmsapi.CreateCustomKeyStore, &kmsapi.CreateCustomKeyStoreInput{
		CustomKeyStoreName: "mine", CustomKeyStoreType: kmsapi.CustomKeyStoreTypeExternalKeyStore,
		XksProxyConnectivity: kmsapi.XksProxyConnectivityTypePublicEndpoint,
		XksProxyUriEndpoint:  new(xkstest.Endpoint), XksProxyUriPath: new(xkstest.Path),
		XksProxyAuthenticationCredential: &kmsapi.XksProxyAuthenticationCredentialType{AccessKeyId: xkstest.AccessKeyID, RawSecretAccessKey: xkstest.SecretKey},
	})
	if err != nil {
		t.Fatal(err)
	}
	id := made.CustomKeyStoreId
	if _, err := client.Call(t.Context(), c, kmsapi.ConnectCustomKeyStore, &kmsapi.ConnectCustomKeyStoreInput{CustomKeyStoreId: *id}); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		out, err := client.Call(t.Context(), c, kmsapi.DescribeCustomKeyStores, &kmsapi.DescribeCustomKeyStoresInput{CustomKeyStoreId: id})
		if err != nil {
			t.Fatal(err)
		}
		state := out.CustomKeyStores[0].ConnectionState
		if state == kmsapi.ConnectionStateTypeConnected {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the key store is %s", state)
		}
	}
	return newKeyARN(t, c, &kmsapi.CreateKeyInput{Origin: kmsapi.OriginTypeExternalKeyStore, CustomKeyStoreId: id, XksKeyId: new("k1")})
}

// TestSealIsNoKeyOfItsOwn: a server does not give its root key to a key of its
// own, whatever key that is and however it is reached; what it refuses changes
// nothing, and a key of another server is as good as ever.
func TestSealIsNoKeyOfItsOwn(t *testing.T) { // the environment is the process's
	proxy := xkstest.New(t)
	dir := filepath.Join(t.TempDir(), "data")
	s, c := startServerWith(t, Config{DataDir: dir, KeyProxies: proxy.Config()})
	useCredential(t, rootOf(s, 0))

	plain := newKeyARN(t, c, &kmsapi.CreateKeyInput{})
	alias := strings.Replace(plain, plain[strings.Index(plain, "key/"):], "alias/seal", 1)
	if _, err := client.Call(t.Context(), c, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/seal", TargetKeyId: plain}); err != nil {
		t.Fatal(err)
	}
	elsewhere := newKeyARN(t, inRegion(c, "eu-central-1"), &kmsapi.CreateKeyInput{})
	primary := newKeyARN(t, c, &kmsapi.CreateKeyInput{MultiRegion: new(true)})
	replicated, err := client.Call(t.Context(), c, kmsapi.ReplicateKey, &kmsapi.ReplicateKeyInput{
		KeyId: primary, ReplicaRegion: "eu-west-1",
	})
	if err != nil {
		t.Fatal(err)
	}
	replica := *replicated.ReplicaKeyMetadata.Arn
	awaitEnabled(t, inRegion(c, "eu-west-1"), replica)
	external := newExternalKeyARN(t, c, proxy)

	target, err := url.Parse(c.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	behind := listen(t, &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = target.Scheme, target.Host, r.In.Host
	}})
	byName := "http://localhost:" + target.Port()

	before, err := os.ReadFile(filepath.Join(dir, keyringName))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ name, arn, endpoint string }{
		{"own address", plain, c.Endpoint},
		{"by another name", plain, byName},
		{"through a proxy", plain, behind},
		{"by an alias", alias, c.Endpoint},
		{"in another Region", elsewhere, byName},
		{"multi-Region primary", primary, byName},
		{"multi-Region replica", replica, behind},
		{"in an external key store", external, byName},
	} {
		_, err := changeSealOf(t, s, c, "MigrateSeal", MigrateInput{To: "awskms:" + x.arn + "?endpoint=" + x.endpoint, Proof: s.dir.proof})
		if err == nil || !strings.Contains(err.Error(), "a key of this very server") {
			t.Errorf("%s: %v", x.name, err)
		}
	}
	after, err := os.ReadFile(filepath.Join(dir, keyringName))
	if err != nil || !slices.Equal(before, after) {
		t.Errorf("a refused change wrote the keyring (%v)", err)
	}

	other, oc := startServer(t)
	useCredential(t, rootOf(other, 0))
	theirs := newKeyARN(t, oc, &kmsapi.CreateKeyInput{})
	to := "awskms:" + theirs + "?endpoint=" + oc.Endpoint
	if done, err := changeSealOf(t, s, c, "MigrateSeal", MigrateInput{To: to, Proof: s.dir.proof}); err != nil || done.KeyID != theirs {
		t.Fatalf("to another server: %+v, %v", done, err)
	}
	if _, err := changeSealOf(t, s, c, "RotateSeal", RotateInput{Proof: s.dir.proof}); err != nil {
		t.Errorf("rotate under another server's key: %v", err)
	}
	if err := CheckSeal(t.Context(), dir, to); err != nil {
		t.Errorf("the other server's key does not open the directory: %v", err)
	}
}

// TestRotationToOwnKey: what the seal of today leads to may become a key of the
// server itself: here the other server goes, and this one takes its address.
func TestRotationToOwnKey(t *testing.T) { // the environment is the process's
	dir := filepath.Join(t.TempDir(), "data")
	s, c := startServerWith(t, Config{DataDir: dir})
	other, oc := startServer(t)
	for _, x := range []struct {
		c     *client.Client
		alias string
	}{{c, "alias/seal"}, {oc, "alias/seal"}} {
		arn := newKeyARN(t, x.c, &kmsapi.CreateKeyInput{})
		if _, err := client.Call(t.Context(), x.c, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: x.alias, TargetKeyId: arn}); err != nil {
			t.Fatal(err)
		}
	}
	var now atomic.Pointer[string]
	now.Store(&oc.Endpoint)
	front := listen(t, &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "http", strings.TrimPrefix(*now.Load(), "http://"), r.In.Host
	}})
	useCredential(t, rootOf(other, 0))
	to := "awskms:arn:aws:kms:" + DefaultRegion + ":" + other.firstAccount() + ":alias/seal?endpoint=" + front
	if _, err := changeSealOf(t, s, c, "MigrateSeal", MigrateInput{To: to, Proof: s.dir.proof}); err != nil {
		t.Fatal(err)
	}
	now.Store(&c.Endpoint)
	useCredential(t, rootOf(s, 0))
	if _, err := changeSealOf(t, s, c, "RotateSeal", RotateInput{Proof: s.dir.proof}); err == nil || !strings.Contains(err.Error(), "a key of this very server") {
		t.Errorf("rotated to an own key: %v", err)
	}
	now.Store(&oc.Endpoint)
	useCredential(t, rootOf(other, 0))
	if err := CheckSeal(t.Context(), dir, to); err != nil {
		t.Errorf("the seal of before does not open the directory: %v", err)
	}
}

// TestNamesOwnKey: of many keys each one is found by what a ciphertext names, and
// nothing else is one of them.
func TestNamesOwnKey(t *testing.T) {
	t.Parallel()
	s, c := startServer(t)
	const workers, each = 25, 28 // together more than is read at once
	made := make([][]string, workers)
	var wg sync.WaitGroup
	for i := range made {
		wg.Go(func() {
			for range each {
				out, err := client.Call(t.Context(), c, kmsapi.CreateKey, &kmsapi.CreateKeyInput{})
				if err != nil {
					t.Error(err)
					return
				}
				made[i] = append(made[i], out.KeyMetadata.KeyId)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	sealed, err := client.Call(t.Context(), c, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: made[0][0], Plaintext: []byte("a root key")})
	if err != nil {
		t.Fatal(err)
	}
	names := func(ciphertext []byte) bool {
		t.Helper()
		own, err := s.kms.NamesOwnKey(t.Context(), ciphertext)
		if err != nil {
			t.Fatal(err)
		}
		return own
	}
	for i := range made {
		id, err := hex.DecodeString(strings.ReplaceAll(made[i][i], "-", ""))
		if err != nil {
			t.Fatal(err)
		}
		if !names(slices.Concat(sealed.CiphertextBlob[:2], id, sealed.CiphertextBlob[18:])) {
			t.Errorf("%s is not found", made[i][i])
		}
	}
	other := slices.Concat(sealed.CiphertextBlob[:2], make([]byte, 16), sealed.CiphertextBlob[18:])
	for name, ciphertext := range map[string][]byte{
		"a key of another server": other, "nothing": nil, "cut off": sealed.CiphertextBlob[:40], "AWS's form": append([]byte{1, 2, 2, 0}, sealed.CiphertextBlob...),
		"multi-Region": slices.Concat([]byte{1, 1}, sealed.CiphertextBlob[2:]),
	} {
		if names(ciphertext) {
			t.Errorf("%s: taken for an own key", name)
		}
	}
}

// awaitEnabled waits until a new key can be used.
func awaitEnabled(t *testing.T, c *client.Client, arn string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		out, err := client.Call(t.Context(), c, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: arn})
		if err != nil {
			t.Fatal(err)
		}
		if out.KeyMetadata.KeyState == kmsapi.KeyStateEnabled {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s is %s", arn, out.KeyMetadata.KeyState)
		}
	}
}
