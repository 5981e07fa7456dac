package seal

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sagekeep/sagekeep/internal/secret"
)

const (
	kmsKey   = "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	kmsAlias = "arn:aws:kms:us-west-2:111122223333:alias/seal"
)

// fakeKMS answers Encrypt and Decrypt in AWS's wire.
type fakeKMS struct {
	keyID  string // ARN of the key behind every name
	accept string // access key id
	refuse string // error code
	key    secret.Key
	seen   []map[string]any
}

func (k *fakeKMS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct {
		KeyId                     string
		Plaintext, CiphertextBlob []byte
		EncryptionContext         map[string]string
	}
	fail := func(code, text string) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"__type":%q,"message":%q}`, code, text)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	b, _ := io.ReadAll(r.Body)
	auth := r.Header.Get("Authorization")
	if !strings.HasPrefix(auth, "AWS4-HMAC-SHA256 Credential="+k.accept+"/") || !strings.Contains(auth, "/us-west-2/kms/aws4_request") ||
		!strings.Contains(auth, "Signature=") || json.Unmarshal(b, &in) != nil {
		fail("UnrecognizedClientException", "the signature is missing")
		return
	}
	var seen map[string]any
	json.Unmarshal(b, &seen)
	k.seen = append(k.seen, seen)
	a, err := newAEAD(k.key.Bytes())
	if err != nil {
		panic(err)
	}
	aad := []byte(in.EncryptionContext["purpose"] + "|" + in.EncryptionContext["sagekeep:data-dir"])
	switch target := r.Header.Get("X-Amz-Target"); {
	case k.refuse != "":
		fail(k.refuse, kmsKey+" is disabled.")
	case target == "TrentService.Encrypt":
		json.NewEncoder(w).Encode(map[string]any{
			"CiphertextBlob": a.Seal(nil, nil, in.Plaintext, aad), "KeyId": k.keyID, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
		})
	case target == "TrentService.Decrypt" && in.KeyId != k.keyID:
		fail("IncorrectKeyException", "another key")
	case target == "TrentService.Decrypt":
		p, err := a.Open(nil, nil, in.CiphertextBlob, aad)
		if err != nil {
			fail("InvalidCiphertextException", "")
			return
		}
		json.NewEncoder(w).Encode(map[string]any{"Plaintext": p, "KeyId": k.keyID})
	default:
		fail("UnknownOperationException", target)
	}
}

func newFakeKMS(t *testing.T) (*fakeKMS, string) {
	t.Helper()
	k := &fakeKMS{keyID: kmsKey, accept: "AKIAIOSFODNN7EXAMPLE", key: secret.Random()}
	srv := httptest.NewServer(k)
	t.Cleanup(srv.Close)
	return k, srv.URL
}

// clearAWS takes the machine's own AWS settings away.
func clearAWS(t *testing.T) {
	t.Helper()
	none := filepath.Join(t.TempDir(), "none")
	for name, v := range map[string]string{
		"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_ENDPOINT_URL": "",
		"AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1",
		"NO_PROXY": "127.0.0.1",
	} {
		t.Setenv(name, v)
	}
}

func setKMSCredentials(t *testing.T) {
	t.Helper()
	clearAWS(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
}

func TestKMSContract(t *testing.T) {
	setKMSCredentials(t)
	k, url := newFakeKMS(t)
	_, otherURL := newFakeKMS(t)
	contract(t, open(t, "awskms:"+kmsKey+"?endpoint="+url, false), open(t, "awskms:"+kmsKey+"?endpoint="+otherURL, false))
	for _, call := range k.seen {
		ec, _ := call["EncryptionContext"].(map[string]any)
		if call["KeyId"] != kmsKey || len(ec) != 2 || ec["sagekeep:data-dir"] == nil || ec["purpose"] == nil {
			t.Errorf("call %v", call)
		}
	}
}

// TestKMSCredentialsFile: credentials come from the shared files, by profile.
func TestKMSCredentialsFile(t *testing.T) {
	clearAWS(t)
	k, url := newFakeKMS(t)
	path := filepath.Join(t.TempDir(), "credentials")
	text := "[default]\naws_access_key_id = AKIAWRONG\naws_secret_access_key = another-long-enough-secret-key\n[seal]\naws_access_key_id = " + k.accept + "\naws_secret_access_key = a-long-enough-secret-access-key\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", path)
	wrap := func() error {
		_, err := open(t, "awskms:"+kmsKey+"?endpoint="+url, false).Wrap(t.Context(), secret.Random(), where())
		return err
	}
	if err := wrap(); err == nil || !strings.Contains(err.Error(), "UnrecognizedClientException") {
		t.Errorf("the default profile: %v", err)
	}
	t.Setenv("AWS_PROFILE", "seal")
	if err := wrap(); err != nil {
		t.Errorf("the profile: %v", err)
	}
}

func TestKMSAliasAndOtherKeys(t *testing.T) {
	setKMSCredentials(t)
	k, url := newFakeKMS(t)
	key := secret.Random()
	byAlias := open(t, "awskms:"+kmsAlias+"?endpoint="+url, false)
	w, err := byAlias.Wrap(t.Context(), key, where())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := byAlias.Unwrap(t.Context(), w, where()); err != nil || !got.Equal(key) {
		t.Errorf("by alias: %v", err)
	}
	if got, err := open(t, "awskms:"+kmsKey+"?endpoint="+url, false).Unwrap(t.Context(), w, where()); err != nil || !got.Equal(key) {
		t.Errorf("by the key that the alias meant: %v", err)
	}
	// A copy that names a key of somebody else is not sent there.
	calls := len(k.seen)
	for _, id := range []string{
		"arn:aws:kms:us-west-2:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab", "arn:aws:kms:us-east-1:111122223333:key/1", "hello",
	} {
		p, err := parseWrapped(w)
		if err != nil {
			t.Fatal(err)
		}
		p.keyID = id
		if _, err := byAlias.Unwrap(t.Context(), p.bytes(), where()); err == nil || !strings.Contains(err.Error(), "wrong root key") {
			t.Errorf("key id %s: %v", id, err)
		}
	}
	if len(k.seen) != calls {
		t.Error("the KMS was asked for another's key")
	}
	// A replica of a multi-Region key opens what its primary wrapped.
	mrk, _ := parseKeyARN("arn:aws:kms:us-west-2:111122223333:key/mrk-1")
	if id, err := mrk.decrypter("arn:aws:kms:us-west-2:111122223333:key/mrk-1", "arn:aws:kms:eu-west-1:111122223333:key/mrk-1"); err != nil ||
		id != "arn:aws:kms:us-west-2:111122223333:key/mrk-1" {
		t.Errorf("replica: %q, %v", id, err)
	}
	k.keyID = "arn:aws:kms:us-west-2:999900001111:key/1"
	if _, err := byAlias.Wrap(t.Context(), key, where()); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("a KMS that wraps under a foreign key: %v", err)
	}
}

func TestKMSFailures(t *testing.T) {
	setKMSCredentials(t)
	k, url := newFakeKMS(t)
	s := open(t, "awskms:"+kmsKey+"?endpoint="+url, false)
	w, err := s.Wrap(t.Context(), secret.Random(), where())
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range []string{"DisabledException", "KMSInvalidStateException", "AccessDeniedException", "NotFoundException"} {
		k.refuse = code
		_, err := s.Unwrap(t.Context(), w, where())
		if err == nil || !strings.Contains(err.Error(), "the KMS refuses: "+code) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", code, err)
		}
	}
	dead := httptest.NewServer(k)
	dead.Close()
	if _, err := open(t, "awskms:"+kmsKey+"?endpoint="+dead.URL, false).Unwrap(t.Context(), w, where()); err == nil {
		t.Error("a KMS that does not answer opened a copy")
	}
	clearAWS(t)
	if _, err := open(t, "awskms:"+kmsKey+"?endpoint="+url, false).Unwrap(t.Context(), w, where()); err == nil || !strings.Contains(err.Error(), "credentials") {
		t.Errorf("without credentials: %v", err)
	}
}

// TestHeldOutside: what a holder outside of the process answered is what it gets
// back to open, and nothing else is taken for its answer.
func TestHeldOutside(t *testing.T) {
	t.Parallel()
	for kind, outside := range map[Kind]bool{File: false, Passphrase: false, Plugin: true, AWSKMS: true, PKCS11: true} {
		w := wrapped{kind: kind, keyID: "k", body: []byte("answer")}
		if got := HeldOutside(w.bytes()); string(got) == "answer" != outside || !outside && got != nil {
			t.Errorf("%s: %q", kind, got)
		}
	}
	if got := HeldOutside([]byte("no wrapped root key")); got != nil {
		t.Errorf("of something else: %q", got)
	}
}
