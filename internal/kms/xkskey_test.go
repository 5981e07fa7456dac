package kms

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/xks"
	"github.com/sagekeep/sagekeep/internal/xks/xkstest"
)

func externalInput(store, external string) *kmsapi.CreateKeyInput {
	return &kmsapi.CreateKeyInput{Origin: kmsapi.OriginTypeExternalKeyStore, CustomKeyStoreId: &store, XksKeyId: &external}
}

// externalKey makes a key in a store and returns its id.
func (f *fixture) externalKey(store, external string) string {
	f.Helper()
	return must(f.admin(), f, kmsapi.CreateKey, externalInput(store, external)).KeyMetadata.KeyId
}

// newExternal is a fixture with a connected store and a key in it.
func newExternal(t testing.TB) (f *fixture, p *xkstest.Proxy, store, key string) {
	t.Helper()
	f, p = newStoreFixture(t)
	store = f.newStore(storeInput("mine"))
	f.connectStore(store)
	return f, p, store, f.externalKey(store, "k1")
}

func (f *fixture) shown(id string) kmsapi.KeyState {
	f.Helper()
	return must(f.admin(), f, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: id}).KeyMetadata.KeyState
}

func TestCreateExternalKey(t *testing.T) {
	t.Parallel()
	f, p, store, id := newExternal(t)
	if got := p.Last(); got.API != "metadata" || got.Key != "k1" || got.Metadata != (xks.Request{
		PrincipalARN: rootARN(home), Operation: "CreateKey", RequestID: "11111111-2222-4333-8444-555555555555",
	}) {
		t.Errorf("the proxy was asked with %+v", got)
	}
	m := must(f.admin(), f, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: id}).KeyMetadata
	if m.Origin != "EXTERNAL_KEY_STORE" || *m.CustomKeyStoreId != store || *m.XksKeyConfiguration.Id != "k1" || m.CurrentKeyMaterialId != nil ||
		m.KeyState != "Enabled" || m.KeySpec != "SYMMETRIC_DEFAULT" || *m.MultiRegion {
		t.Errorf("metadata %+v", m)
	}
	add := f.last("CreateKey")["additionalEventData"].(map[string]any)
	if add["customKeyStoreId"] != store || add["customKeyStoreName"] != "mine" || add["xksKeyId"] != "k1" {
		t.Errorf("additionalEventData %v", add)
	}
	p.AddKey("off")
	p.SetKey("off", func(k *xkstest.Key) { k.Metadata.Status = "DISABLED" })
	p.AddKey("small")
	p.SetKey("small", func(k *xkstest.Key) { k.Metadata.Spec = "AES_128" })
	p.AddKey("oneway")
	p.SetKey("oneway", func(k *xkstest.Key) { k.Metadata.Usage = []string{"ENCRYPT"} })
	p.AddKey("denied")
	p.SetKey("denied", func(k *xkstest.Key) { k.Denied = []string{rootARN(home)} })
	for name, c := range map[string]struct {
		change func(*kmsapi.CreateKeyInput)
		code   string
	}{
		"key in use":        {func(in *kmsapi.CreateKeyInput) { in.XksKeyId = new("k1") }, "XksKeyAlreadyInUseException"},
		"no such key":       {func(in *kmsapi.CreateKeyInput) { in.XksKeyId = new("k77") }, "XksKeyNotFoundException"},
		"disabled key":      {func(in *kmsapi.CreateKeyInput) { in.XksKeyId = new("off") }, "XksKeyInvalidConfigurationException"},
		"small key":         {func(in *kmsapi.CreateKeyInput) { in.XksKeyId = new("small") }, "XksKeyInvalidConfigurationException"},
		"one-way key":       {func(in *kmsapi.CreateKeyInput) { in.XksKeyId = new("oneway") }, "XksKeyInvalidConfigurationException"},
		"denied key":        {func(in *kmsapi.CreateKeyInput) { in.XksKeyId = new("denied") }, "KMSInvalidStateException"},
		"a path as a key":   {func(in *kmsapi.CreateKeyInput) { in.XksKeyId = new("../health") }, "ValidationException"},
		"no store":          {func(in *kmsapi.CreateKeyInput) { in.CustomKeyStoreId = nil }, "ValidationException"},
		"no key":            {func(in *kmsapi.CreateKeyInput) { in.XksKeyId = nil }, "ValidationException"},
		"unknown store":     {func(in *kmsapi.CreateKeyInput) { in.CustomKeyStoreId = new("cks-0") }, "CustomKeyStoreNotFoundException"},
		"other origin":      {func(in *kmsapi.CreateKeyInput) { in.Origin = "" }, "ValidationException"},
		"store, own origin": {func(in *kmsapi.CreateKeyInput) { in.Origin, in.XksKeyId = "", nil }, "ValidationException"},
		"CloudHSM":          {func(in *kmsapi.CreateKeyInput) { in.Origin, in.XksKeyId = "AWS_CLOUDHSM", nil }, "ValidationException"},
		"CloudHSM, no store": {func(in *kmsapi.CreateKeyInput) {
			in.Origin, in.XksKeyId, in.CustomKeyStoreId = "AWS_CLOUDHSM", nil, new("cks-0")
		}, "CustomKeyStoreNotFoundException"},
		"asymmetric":   {func(in *kmsapi.CreateKeyInput) { in.KeySpec, in.KeyUsage = "RSA_2048", "ENCRYPT_DECRYPT" }, "UnsupportedOperationException"},
		"HMAC":         {func(in *kmsapi.CreateKeyInput) { in.KeySpec, in.KeyUsage = "HMAC_256", "GENERATE_VERIFY_MAC" }, "UnsupportedOperationException"},
		"multi-Region": {func(in *kmsapi.CreateKeyInput) { in.MultiRegion = new(true) }, "UnsupportedOperationException"},
	} {
		in := externalInput(store, "k2")
		c.change(in)
		_, err := try(f.admin(), f, kmsapi.CreateKey, in)
		wantError(t, name, err, c.code, "")
	}
	for name, code := range map[xks.Name]string{
		xks.InvalidStateException: "XksKeyInvalidConfigurationException", xks.AuthenticationFailedException: "CustomKeyStoreInvalidStateException",
		xks.DependencyTimeoutException: "CustomKeyStoreInvalidStateException", "Nonsense": "CustomKeyStoreInvalidStateException",
	} {
		p.Refuse("metadata", 400, name)
		_, err := try(f.admin(), f, kmsapi.CreateKey, externalInput(store, "k2"))
		wantError(t, string(name), err, code, "")
	}
	p.Answer("metadata", nil)
	f.disconnectStore(store)
	_, err := try(f.admin(), f, kmsapi.CreateKey, externalInput(store, "k2"))
	wantError(t, "disconnected", err, "CustomKeyStoreInvalidStateException", "This KMS key is in a custom key store that is not connected*")
}

// Two requests at once for one external key make one KMS key.
func TestExternalKeyIsClaimedOnce(t *testing.T) {
	t.Parallel()
	f, p, store, _ := newExternal(t)
	p.Answer("metadata", func(w http.ResponseWriter, _ *http.Request) {
		p.Answer("metadata", nil)
		f.externalKey(store, "k2")
		_, _ = w.Write([]byte(`{"keySpec":"AES_256","keyUsage":["ENCRYPT","DECRYPT"],"keyStatus":"ENABLED"}`))
	})
	_, err := try(f.admin(), f, kmsapi.CreateKey, externalInput(store, "k2"))
	wantError(t, "the slower one", err, "XksKeyAlreadyInUseException", "")
}

func TestExternalKeyOperations(t *testing.T) {
	t.Parallel()
	f, p, store, id := newExternal(t)
	plain := f.key("")
	other := f.externalKey(store, "k2")
	p.SetKey("k1", func(k *xkstest.Key) { k.Versioned, k.LongIV = true, true })
	worker := f.role(home, "worker", doc(allow("kms:*")))
	ctx := f.by(via(worker, "s3", region))
	ec := map[string]string{"aws:s3:arn": "arn:aws:s3:::bucket/object"}
	secretText := bytes.Repeat([]byte("s"), maxPlaintext)

	sealed := must(ctx, f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: id, Plaintext: secretText, EncryptionContext: ec}).CiphertextBlob
	if len(sealed) > maxBlob || sealed[0] != blobExternal {
		t.Errorf("a blob of %d bytes, version %d", len(sealed), sealed[0])
	}
	want := xks.Request{
		PrincipalARN: worker.RoleARN, KeyARN: arnOf(id), Operation: "Encrypt", RequestID: "11111111-2222-4333-8444-555555555555",
		ViaService: "s3." + region + ".amazonaws.com",
	}
	if got := p.Last(); got.API != "encrypt" || got.Key != "k1" || got.Metadata != want {
		t.Errorf("encrypted with %+v, want %+v", got, want)
	}
	out := must(ctx, f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: sealed, EncryptionContext: ec})
	if !bytes.Equal(out.Plaintext, secretText) || *out.KeyId != arnOf(id) || out.KeyMaterialId == nil {
		t.Errorf("decrypted %d bytes", len(out.Plaintext))
	}
	if got := p.Last(); got.API != "decrypt" || got.Metadata.Operation != "Decrypt" {
		t.Errorf("decrypted with %+v", got)
	}
	add := f.last("Decrypt")["additionalEventData"].(map[string]any)
	if add["customKeyStoreId"] != store || add["xksKeyId"] != "k1" {
		t.Errorf("additionalEventData %v", add)
	}
	data := must(ctx, f, kmsapi.GenerateDataKey, &kmsapi.GenerateDataKeyInput{KeyId: id, KeySpec: "AES_256", EncryptionContext: ec})
	if got := p.Last(); got.API != "encrypt" || got.Metadata.Operation != "GenerateDataKey" {
		t.Errorf("data key with %+v", got)
	}
	if out := must(ctx, f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: data.CiphertextBlob, EncryptionContext: ec, KeyId: &id}); !bytes.Equal(out.Plaintext, data.Plaintext) {
		t.Error("the data key is another one")
	}
	hidden := must(ctx, f, kmsapi.GenerateDataKeyWithoutPlaintext, &kmsapi.GenerateDataKeyWithoutPlaintextInput{KeyId: id, NumberOfBytes: new(int32(16))})
	if out := must(ctx, f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: hidden.CiphertextBlob}); len(out.Plaintext) != 16 {
		t.Errorf("a data key of %d bytes", len(out.Plaintext))
	}
	blob := sealed
	for _, to := range []string{plain, id, other, plain, plain, id} {
		blob = must(ctx, f, kmsapi.ReEncrypt, &kmsapi.ReEncryptInput{CiphertextBlob: blob, SourceEncryptionContext: ec, DestinationKeyId: to, DestinationEncryptionContext: ec}).CiphertextBlob
	}
	if got := p.Last(); got.API != "encrypt" || got.Metadata.Operation != "ReEncrypt" {
		t.Errorf("re-encrypted with %+v", got)
	}
	if out := must(ctx, f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: blob, EncryptionContext: ec}); !bytes.Equal(out.Plaintext, secretText) {
		t.Error("the plaintext has changed on its way")
	}
	must(ctx, f, kmsapi.ReEncrypt, &kmsapi.ReEncryptInput{CiphertextBlob: blob, SourceEncryptionContext: ec, DestinationKeyId: other})
	add = f.last("ReEncrypt")["additionalEventData"].(map[string]any)
	if add["sourceXksKeyId"] != "k1" || add["destinationXksKeyId"] != "k2" || add["sourceCustomKeyStoreId"] != store || add["destinationCustomKeyStoreId"] != store {
		t.Errorf("additionalEventData %v", add)
	}
	_, err := try(ctx, f, kmsapi.GenerateDataKeyPair, &kmsapi.GenerateDataKeyPairInput{KeyId: id, KeyPairSpec: "ECC_NIST_P256"})
	wantError(t, "GenerateDataKeyPair", err, "UnsupportedOperationException", "")
	seen := len(p.Seen())
	_, err = try(ctx, f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: id, Plaintext: []byte("p"), DryRun: new(true)})
	wantError(t, "dry run", err, "DryRunOperationException", "")
	if len(p.Seen()) != seen {
		t.Error("a dry run asked the proxy")
	}
	actor := service(home, "")
	must(f.admin(), f, kmsapi.CreateGrant, &kmsapi.CreateGrantInput{
		KeyId: id, GranteeServicePrincipal: new(actor.GlobalServiceName()), RetiringServicePrincipal: new(actor.GlobalServiceName()),
		Operations: ops("Decrypt"), Constraints: &kmsapi.GrantConstraints{SourceArn: &actor.SourceARN},
	})
	if got := proxyRequest(f.by(actor), "Decrypt", arnOf(id)).PrincipalARN; got != "sagemaker-geospatial.amazonaws.com" {
		t.Errorf("a service principal is %s to the proxy", got)
	}
}

// Whatever is wrong with a ciphertext: it does not open.
func TestExternalCiphertexts(t *testing.T) {
	t.Parallel()
	f, p, store, id := newExternal(t)
	p.SetKey("k1", func(k *xkstest.Key) { k.Versioned = true })
	ctx, ec := f.admin(), map[string]string{"a": "b"}
	sealed := f.encrypted(ctx, id, ec)
	other := f.externalKey(store, "k2")
	normal := f.encrypted(ctx, f.key(""), ec)
	dec := func(b []byte, ec map[string]string, key *string) error {
		return second(try(ctx, f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: b, EncryptionContext: ec, KeyId: key}))
	}
	wantError(t, "other context", dec(sealed, map[string]string{"a": "c"}, nil), "KMSInvalidStateException", "The external key store proxy rejected the request because the specified ciphertext or encryption context is corrupted*")
	wantError(t, "other key", dec(sealed, ec, &other), "IncorrectKeyException", "")
	for at := 26; at < len(sealed); at++ {
		bad := bytes.Clone(sealed)
		bad[at] ^= 1
		if err := dec(bad, ec, nil); err == nil {
			t.Fatalf("opens with byte %d changed", at)
		}
	}
	for name, b := range map[string][]byte{
		"cut":             sealed[:len(sealed)-30],
		"long metadata":   append(append(bytes.Clone(sealed[:42]), 21), sealed[43:]...),
		"odd IV":          append(append(bytes.Clone(sealed[:43]), 13), sealed[44:]...),
		"a flag":          append([]byte{2, 1}, sealed[2:]...),
		"as a normal one": append([]byte{1}, sealed[1:]...),
	} {
		code := dec(b, ec, nil)
		wantError(t, name, code, "InvalidCiphertextException", "")
	}
	// a normal key's blob that says it is external
	wantError(t, "as an external one", dec(append([]byte{2}, normal[1:]...), ec, nil), "InvalidCiphertextException", "")
	// what the proxy returns is not what it was given
	p.Answer("decrypt", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"plaintext":"` + zeros64(24+innerOverhead) + `"}`))
	})
	wantError(t, "another plaintext", dec(sealed, ec, nil), "KMSInvalidStateException", ciphertextCorrupt)
}

// A proxy that decides anew is asked anew: nothing is kept.
func TestProxyDecidesEveryUse(t *testing.T) {
	t.Parallel()
	f, p, _, id := newExternal(t)
	alice := f.user(home, "alice", doc(allow("kms:*")))
	ctx := f.by(alice)
	sealed := f.encrypted(ctx, id, nil)
	dec := func() error {
		return second(try(ctx, f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: sealed}))
	}
	for name, c := range map[string]struct {
		revoke, allow func(*xkstest.Key)
		message       string
	}{
		"denied":   {func(k *xkstest.Key) { k.Denied = []string{alice.ARN} }, func(k *xkstest.Key) { k.Denied = nil }, "The external key store proxy denied access to the operation.*"},
		"disabled": {func(k *xkstest.Key) { k.Metadata.Status = "DISABLED" }, func(k *xkstest.Key) { k.Metadata.Status = "ENABLED" }, "The external key associated with this KMS key in an external key store is not enabled*"},
		"usage": {
			func(k *xkstest.Key) { k.Metadata.Usage = []string{"ENCRYPT"} }, func(k *xkstest.Key) { k.Metadata.Usage = []string{"ENCRYPT", "DECRYPT"} },
			"The external key associated with this KMS key in an external key store does not support the requested operation.*",
		},
	} {
		wantError(t, name+": before", dec(), "", "")
		p.SetKey("k1", c.revoke)
		wantError(t, name, dec(), "KMSInvalidStateException", c.message)
		p.SetKey("k1", c.allow)
		wantError(t, name+": after", dec(), "", "")
	}
	for _, what := range []string{"cached", "forgotten"} {
		was := f.s.Epoch(region, arnOf(id))
		if is := f.s.Epoch(region, arnOf(id)); is == was {
			t.Errorf("%s: what others keep of the key stays valid", what)
		}
		f.s.forget(region, id)
	}
	p.RemoveKey("k1")
	wantError(t, "gone", dec(), "KMSInvalidStateException", "The external key associated with this KMS key in an external key store was not found*")
	for name, want := range map[xks.Name]string{
		xks.ValidationException: "AWS KMS cannot interpret the response*", xks.AuthenticationFailedException: "The external key store proxy rejected the request because it could not authenticate*",
		xks.InvalidURIPathException: "The external key store proxy rejected the request because of an invalid URI path.*", xks.UnsupportedOperationException: "The external key store proxy rejected the request because it does not support*",
		xks.DependencyTimeoutException: "The external key store proxy did not respond to the request in the time allotted.*", xks.ThrottlingException: "The external key store proxy rejected the request due to a very high request rate.*",
		xks.InternalException: "The external key store proxy rejected the request because it cannot communicate*", "Nonsense": "AWS KMS cannot interpret the response*",
	} {
		p.Refuse("decrypt", 500, name)
		wantError(t, string(name), dec(), "KMSInvalidStateException", want)
	}
	p.Server.CloseClientConnections()
	p.Server.Close()
	wantError(t, "no proxy", dec(), "KMSInvalidStateException", "AWS KMS cannot communicate with the external key store proxy.*")
}

// While the store is disconnected its keys are Unavailable, from the answer on.
func TestUnavailableKeys(t *testing.T) {
	t.Parallel()
	f, p, store, id := newExternal(t)
	ctx := f.admin()
	sealed := f.encrypted(ctx, id, nil)
	notConnected := func(what string) {
		t.Helper()
		seen := len(p.Seen())
		for name, err := range map[string]error{
			"Decrypt":         second(try(ctx, f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: sealed})),
			"Encrypt":         second(try(ctx, f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: id, Plaintext: []byte("p")})),
			"GenerateDataKey": second(try(ctx, f, kmsapi.GenerateDataKey, &kmsapi.GenerateDataKeyInput{KeyId: id, KeySpec: "AES_256"})),
		} {
			wantError(t, what+": "+name, err, "KMSInvalidStateException", storeNotConnected)
		}
		if len(p.Seen()) != seen {
			t.Errorf("%s: the proxy was asked", what)
		}
		if got := f.shown(id); got != kmsapi.KeyStateUnavailable {
			t.Errorf("%s: key state %s", what, got)
		}
	}
	f.disconnectStore(store)
	notConnected("disconnected")
	must(ctx, f, kmsapi.ConnectCustomKeyStore, &kmsapi.ConnectCustomKeyStoreInput{CustomKeyStoreId: store})
	notConnected("connecting")
	p.Refuse("health", 500, xks.InternalException)
	if e := f.connectStore(store); e.ConnectionState != "FAILED" {
		t.Fatal(e.ConnectionState)
	}
	notConnected("failed")
	// what needs no key material goes on
	must(ctx, f, kmsapi.TagResource, &kmsapi.TagResourceInput{KeyId: id, Tags: []kmsapi.Tag{{TagKey: "k", TagValue: "v"}}})
	f.grant(&kmsapi.CreateGrantInput{KeyId: id, GranteePrincipal: new(rootARN(home)), Operations: ops("Decrypt")})
	must(ctx, f, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: id})
	notConnected("disabled while it is unavailable")
	p.Answer("health", nil)
	f.disconnectStore(store)
	f.connectStore(store)
	if got := f.shown(id); got != kmsapi.KeyStateDisabled {
		t.Errorf("DisableKey has no effect later: %s", got)
	}
	must(ctx, f, kmsapi.EnableKey, &kmsapi.EnableKeyInput{KeyId: id})
	wantError(t, "connected again", second(try(ctx, f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: sealed})), "", "")

	for name, err := range map[string]error{
		"EnableKeyRotation":    second(try(ctx, f, kmsapi.EnableKeyRotation, &kmsapi.EnableKeyRotationInput{KeyId: id})),
		"RotateKeyOnDemand":    second(try(ctx, f, kmsapi.RotateKeyOnDemand, &kmsapi.RotateKeyOnDemandInput{KeyId: id})),
		"GetKeyRotationStatus": second(try(ctx, f, kmsapi.GetKeyRotationStatus, &kmsapi.GetKeyRotationStatusInput{KeyId: id})),
	} {
		wantError(t, name, err, "UnsupportedOperationException", "")
	}

	// deletion: the store goes after its keys
	f.disconnectStore(store)
	f.schedule(id)
	if got := f.shown(id); got != kmsapi.KeyStatePendingDeletion {
		t.Errorf("scheduled, but %s", got)
	}
	del := func() error {
		return second(try(ctx, f, kmsapi.DeleteCustomKeyStore, &kmsapi.DeleteCustomKeyStoreInput{CustomKeyStoreId: store}))
	}
	wantError(t, "a store with a key", del(), "CustomKeyStoreHasCMKsException", "")
	f.pass(8 * day)
	f.erase()
	wantError(t, "an empty store", del(), "", "")
}

// The condition keys of keys in external key stores.
func TestExternalKeyConditions(t *testing.T) {
	t.Parallel()
	f, _, store, _ := newExternal(t)
	only := f.user(home, "only", doc(allow("kms:CreateKey", when("StringEquals", "kms:KeyOrigin", "EXTERNAL_KEY_STORE"))))
	never := f.user(home, "never", doc(allow("kms:CreateKey"), deny("kms:CreateKey", when("StringEquals", "kms:KeyOrigin", "EXTERNAL_KEY_STORE"))))
	for name, c := range map[string]struct {
		by   *identity.Caller
		in   *kmsapi.CreateKeyInput
		code string
	}{
		"external only":  {only, externalInput(store, "k2"), ""},
		"of its own":     {only, &kmsapi.CreateKeyInput{}, denied},
		"never external": {never, externalInput(store, "k3"), denied},
	} {
		_, err := try(f.by(c.by), f, kmsapi.CreateKey, c.in)
		wantError(t, name, err, c.code, "")
	}
}

// An external blob that parses is put together from its parts again.
func FuzzExternalBlob(f *testing.F) {
	header := append([]byte{blobExternal, 0}, make([]byte, blobHeaderSize-2)...)
	f.Add(appendExternal(header, &xks.Ciphertext{Bytes: make([]byte, 60), IV: make([]byte, 12), Tag: make([]byte, 16)}))
	f.Add(appendExternal(header, &xks.Ciphertext{Bytes: make([]byte, 28), IV: make([]byte, 16), Tag: make([]byte, 16), Metadata: []byte("v1")}))
	f.Add(header)
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 2*maxBlob {
			return
		}
		b, err := parseBlob(in)
		if err != nil || b.external == nil {
			return
		}
		if got := appendExternal(b.header, b.external); !bytes.Equal(got, in) {
			t.Fatalf("%x became %x", in, got)
		}
	})
}

// zeros64 is the Base64 of n zero bytes.
func zeros64(n int) string { return base64.StdEncoding.EncodeToString(make([]byte, n)) }
