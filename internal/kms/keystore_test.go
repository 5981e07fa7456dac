package kms

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/xks"
	"github.com/sagekeep/sagekeep/internal/xks/xkstest"
)

// newStoreFixture is KMS that reaches a proxy.
func newStoreFixture(t testing.TB) (*fixture, *xkstest.Proxy) {
	t.Helper()
	f := newFixture(t)
	p := xkstest.New(t)
	p.AddKey("k1")
	p.AddKey("k2")
	f.s.cfg.Proxies = xks.New(p.Config())
	t.Cleanup(f.s.cfg.Proxies.Close)
	return f, p
}

func storeInput(name string) *kmsapi.CreateCustomKeyStoreInput {
	return &kmsapi.CreateCustomKeyStoreInput{
		CustomKeyStoreName: name, CustomKeyStoreType: kmsapi.CustomKeyStoreTypeExternalKeyStore,
		XksProxyConnectivity: kmsapi.XksProxyConnectivityTypePublicEndpoint,
		XksProxyUriEndpoint:  new(xkstest.Endpoint), XksProxyUriPath: new(xkstest.Path),
		XksProxyAuthenticationCredential: &kmsapi.XksProxyAuthenticationCredentialType{AccessKeyId: xkstest.AccessKeyID, RawSecretAccessKey: xkstest.SecretKey},
	}
}

func (f *fixture) newStore(in *kmsapi.CreateCustomKeyStoreInput) string {
	f.Helper()
	return *must(f.admin(), f, kmsapi.CreateCustomKeyStore, in).CustomKeyStoreId
}

// describeStore returns the one store with the id.
func (f *fixture) describeStore(id string) kmsapi.CustomKeyStoresListEntry {
	f.Helper()
	out := must(f.admin(), f, kmsapi.DescribeCustomKeyStores, &kmsapi.DescribeCustomKeyStoresInput{CustomKeyStoreId: &id})
	if len(out.CustomKeyStores) != 1 {
		f.Fatalf("%d stores with one id", len(out.CustomKeyStores))
	}
	return out.CustomKeyStores[0]
}

// connectStore connects a store and returns what came of it.
func (f *fixture) connectStore(id string) kmsapi.CustomKeyStoresListEntry {
	f.Helper()
	must(f.admin(), f, kmsapi.ConnectCustomKeyStore, &kmsapi.ConnectCustomKeyStoreInput{CustomKeyStoreId: id})
	if err := f.s.connectPending(f.Context(), slog.New(slog.DiscardHandler)); err != nil {
		f.Fatal(err)
	}
	return f.describeStore(id)
}

func (f *fixture) disconnectStore(id string) {
	f.Helper()
	must(f.admin(), f, kmsapi.DisconnectCustomKeyStore, &kmsapi.DisconnectCustomKeyStoreInput{CustomKeyStoreId: id})
}

func TestKeyStoreLife(t *testing.T) {
	t.Parallel()
	f, p := newStoreFixture(t)
	ctx := f.admin()
	id := f.newStore(storeInput("mine"))
	if !strings.HasPrefix(id, "cks-") || len(id) != 21 {
		t.Errorf("store id %q", id)
	}
	if got := p.Last(); got.API != "health" || got.Metadata.Operation != "CreateCustomKeyStore" || got.Metadata.RequestID != "11111111-2222-4333-8444-555555555555" || got.Region != region {
		t.Errorf("the probe is %+v", got)
	}
	e := f.describeStore(id)
	c := e.XksProxyConfiguration
	if e.ConnectionState != "DISCONNECTED" || *e.CustomKeyStoreName != "mine" || e.CustomKeyStoreType != "EXTERNAL_KEY_STORE" || !e.CreationDate.Equal(f.now()) ||
		c.Connectivity != "PUBLIC_ENDPOINT" || *c.AccessKeyId != xkstest.AccessKeyID || *c.UriEndpoint != xkstest.Endpoint || *c.UriPath != xkstest.Path {
		t.Errorf("described as %+v %+v", e, c)
	}
	must(ctx, f, kmsapi.ConnectCustomKeyStore, &kmsapi.ConnectCustomKeyStoreInput{CustomKeyStoreId: id})
	if e := f.describeStore(id); e.ConnectionState != "CONNECTING" {
		t.Errorf("state %s while it connects", e.ConnectionState)
	}
	if e := f.connectStore(id); e.ConnectionState != "CONNECTED" {
		t.Errorf("state %s, %s", e.ConnectionState, e.ConnectionErrorCode)
	}
	if got := p.Last(); got.Metadata.Operation != "ConnectCustomKeyStore" {
		t.Errorf("connected with %+v", got)
	}
	if e := f.connectStore(id); e.ConnectionState != "CONNECTED" {
		t.Errorf("connecting what is connected: %s", e.ConnectionState)
	}
	del := func() error {
		_, err := try(ctx, f, kmsapi.DeleteCustomKeyStore, &kmsapi.DeleteCustomKeyStoreInput{CustomKeyStoreId: id})
		return err
	}
	wantError(t, "delete a connected store", del(), "CustomKeyStoreInvalidStateException", "")
	f.disconnectStore(id)
	_, err := try(ctx, f, kmsapi.DisconnectCustomKeyStore, &kmsapi.DisconnectCustomKeyStoreInput{CustomKeyStoreId: id})
	wantError(t, "disconnect twice", err, "CustomKeyStoreInvalidStateException", "")
	wantError(t, "delete", del(), "", "")
	wantError(t, "delete twice", del(), "CustomKeyStoreNotFoundException", "Custom key store "+id+" does not exist.")
	if out := must(ctx, f, kmsapi.DescribeCustomKeyStores, &kmsapi.DescribeCustomKeyStoresInput{}); len(out.CustomKeyStores) != 0 {
		t.Errorf("%d stores are left", len(out.CustomKeyStores))
	}
	for _, rec := range f.records() {
		if bytes.Contains(rec, []byte(xkstest.SecretKey)) || bytes.Contains(rec, []byte(xkstest.AccessKeyID)) {
			t.Errorf("a record shows the credentials: %s", rec)
		}
	}
}

func TestCreateKeyStoreRefusals(t *testing.T) {
	t.Parallel()
	f, p := newStoreFixture(t)
	f.newStore(storeInput("taken"))
	p.AddPath("/other/kms/xks/v1")
	const unreachable, invalidResponse = "XksProxyUriUnreachableException", "XksProxyInvalidResponseException"
	for name, c := range map[string]struct {
		change  func(*kmsapi.CreateCustomKeyStoreInput)
		code    string
		message string
	}{
		"name in use": {func(in *kmsapi.CreateCustomKeyStoreInput) {
			in.CustomKeyStoreName = "taken"
			in.XksProxyUriPath = new("/other/kms/xks/v1")
		}, "CustomKeyStoreNameInUseException", ""},
		"proxy in use": {func(in *kmsapi.CreateCustomKeyStoreInput) { in.XksProxyUriEndpoint = new("https://XKS.example.com") }, "XksProxyUriInUseException", ""},
		"endpoint in use": {func(in *kmsapi.CreateCustomKeyStoreInput) {
			in.XksProxyConnectivity, in.XksProxyVpcEndpointServiceName = "VPC_ENDPOINT_SERVICE", new("com.amazonaws.vpce.us-west-2.vpce-svc-example")
		}, "XksProxyUriEndpointInUseException", ""},
		"endpoint service": {func(in *kmsapi.CreateCustomKeyStoreInput) {
			in.XksProxyUriEndpoint = new("https://private.example.com")
			in.XksProxyConnectivity, in.XksProxyVpcEndpointServiceName = "VPC_ENDPOINT_SERVICE", new("com.amazonaws.vpce.us-west-2.vpce-svc-example")
		}, "XksProxyVpcEndpointServiceNotFoundException", ""},
		"endpoint service without a name": {func(in *kmsapi.CreateCustomKeyStoreInput) { in.XksProxyConnectivity = "VPC_ENDPOINT_SERVICE" }, "ValidationException", ""},
		"public with an endpoint service": {func(in *kmsapi.CreateCustomKeyStoreInput) {
			in.XksProxyVpcEndpointServiceName = new("com.amazonaws.vpce.us-west-2.vpce-svc-example")
		}, "ValidationException", ""},
		"CloudHSM": {func(in *kmsapi.CreateCustomKeyStoreInput) {
			*in = kmsapi.CreateCustomKeyStoreInput{CustomKeyStoreName: "n", CloudHsmClusterId: new("cluster-2a23b4cdefg"), KeyStorePassword: new("password"), TrustAnchorCertificate: new("PEM")}
		}, "CloudHsmClusterNotFoundException", ""},
		"CloudHSM without a cluster": {func(in *kmsapi.CreateCustomKeyStoreInput) {
			*in = kmsapi.CreateCustomKeyStoreInput{CustomKeyStoreName: "n"}
		}, "ValidationException", "CloudHsmClusterId is required*"},
		"CloudHSM with a proxy":   {func(in *kmsapi.CreateCustomKeyStoreInput) { in.CustomKeyStoreType = "" }, "ValidationException", ""},
		"external with a cluster": {func(in *kmsapi.CreateCustomKeyStoreInput) { in.CloudHsmClusterId = new("cluster-2a23b4cdefg") }, "ValidationException", ""},
		"no endpoint":             {func(in *kmsapi.CreateCustomKeyStoreInput) { in.XksProxyUriEndpoint = nil }, "ValidationException", ""},
		"plain HTTP":              {func(in *kmsapi.CreateCustomKeyStoreInput) { in.XksProxyUriEndpoint = new("http://xks.example.com") }, "ValidationException", ""},
		"a port": {func(in *kmsapi.CreateCustomKeyStoreInput) {
			in.XksProxyUriEndpoint = new("https://xks.example.com:8443")
		}, "ValidationException", ""},
		"a path of another API": {func(in *kmsapi.CreateCustomKeyStoreInput) { in.XksProxyUriPath = new("/metadata/latest") }, "ValidationException", ""},
		"no credentials":        {func(in *kmsapi.CreateCustomKeyStoreInput) { in.XksProxyAuthenticationCredential = nil }, "ValidationException", ""},
		"wrong credentials": {func(in *kmsapi.CreateCustomKeyStoreInput) {
			in.XksProxyAuthenticationCredential.RawSecretAccessKey = strings.Repeat("x", 43)
		}, "XksProxyIncorrectAuthenticationCredentialException", "The external key store proxy rejected the request because it could not authenticate AWS KMS.*"},
		"wrong path":                        {func(in *kmsapi.CreateCustomKeyStoreInput) { in.XksProxyUriPath = new("/nobody/kms/xks/v1") }, "XksProxyInvalidConfigurationException", "The external key store proxy rejected the request because of an invalid URI path.*"},
		"the address of a cloud's metadata": {func(in *kmsapi.CreateCustomKeyStoreInput) { in.XksProxyUriEndpoint = new("https://169.254.169.254") }, unreachable, ""},
	} {
		in := storeInput("fresh")
		in.XksProxyUriPath = new("/other/kms/xks/v1")
		if strings.HasPrefix(name, "proxy") || strings.HasPrefix(name, "endpoint in") {
			in.XksProxyUriPath = new(xkstest.Path)
		}
		c.change(in)
		_, err := try(f.admin(), f, kmsapi.CreateCustomKeyStore, in)
		wantError(t, name, err, c.code, c.message)
		if err != nil && strings.Contains(err.Error(), xkstest.SecretKey) {
			t.Errorf("%s: the error shows the secret", name)
		}
	}
	in := storeInput("fresh")
	in.XksProxyUriPath = new("/other/kms/xks/v1")
	for name, c := range map[string]struct {
		status int
		error  xks.Name
		code   string
	}{
		"internal":   {500, xks.InternalException, invalidResponse},
		"timeout":    {503, xks.DependencyTimeoutException, unreachable},
		"throttled":  {429, xks.ThrottlingException, unreachable},
		"validation": {400, xks.ValidationException, invalidResponse},
		"no error":   {418, "Teapot", invalidResponse},
	} {
		p.Refuse("health", c.status, c.error)
		_, err := try(f.admin(), f, kmsapi.CreateCustomKeyStore, in)
		wantError(t, name, err, c.code, "")
	}
	p.Answer("health", nil)
	p.SetHealth(func(h *xks.Health) { h.Managers[0].Status = xks.Unavailable })
	_, err := try(f.admin(), f, kmsapi.CreateCustomKeyStore, in)
	wantError(t, "no key manager", err, unreachable, "")
	if out := must(f.admin(), f, kmsapi.DescribeCustomKeyStores, &kmsapi.DescribeCustomKeyStoresInput{}); len(out.CustomKeyStores) != 1 {
		t.Errorf("%d stores, want the one", len(out.CustomKeyStores))
	}
}

func TestKeyStoreLists(t *testing.T) {
	t.Parallel()
	f, p := newStoreFixture(t)
	ctx := f.admin()
	var ids []string
	for i := range maxKeyStores + 1 {
		in := storeInput(fmt.Sprintf("store %d", i))
		in.XksProxyUriPath = new(fmt.Sprintf("/team%d/kms/xks/v1", i))
		p.AddPath(*in.XksProxyUriPath)
		if i == maxKeyStores {
			_, err := try(ctx, f, kmsapi.CreateCustomKeyStore, in)
			wantError(t, "one more", err, "LimitExceededException", "")
			must(f.by(root(abroad)), f, kmsapi.CreateCustomKeyStore, in)
			must(f.in(elsewhere, root(home)), f, kmsapi.CreateCustomKeyStore, in)
			break
		}
		ids = append(ids, f.newStore(in))
	}
	var got []string
	for in := (&kmsapi.DescribeCustomKeyStoresInput{Limit: new(int32(3))}); ; {
		out := must(ctx, f, kmsapi.DescribeCustomKeyStores, in)
		for _, e := range out.CustomKeyStores {
			got = append(got, *e.CustomKeyStoreId)
		}
		if !*out.Truncated {
			break
		}
		in.Marker = out.NextMarker
	}
	slices.Sort(ids)
	slices.Sort(got)
	if !slices.Equal(got, ids) {
		t.Errorf("listed %v, want %v", got, ids)
	}
	out := must(ctx, f, kmsapi.DescribeCustomKeyStores, &kmsapi.DescribeCustomKeyStoresInput{CustomKeyStoreName: new("store 4")})
	if len(out.CustomKeyStores) != 1 || *out.CustomKeyStores[0].CustomKeyStoreName != "store 4" || *out.Truncated {
		t.Errorf("by name: %+v", out)
	}
	for name, in := range map[string]*kmsapi.DescribeCustomKeyStoresInput{
		"unknown id":   {CustomKeyStoreId: new("cks-00000000000000000")},
		"unknown name": {CustomKeyStoreName: new("store 77")},
	} {
		_, err := try(ctx, f, kmsapi.DescribeCustomKeyStores, in)
		wantError(t, name, err, "CustomKeyStoreNotFoundException", "")
	}
	_, err := try(ctx, f, kmsapi.DescribeCustomKeyStores, &kmsapi.DescribeCustomKeyStoresInput{CustomKeyStoreName: new("a"), CustomKeyStoreId: &ids[0]})
	wantError(t, "name and id", err, "ValidationException", "")
	for _, there := range []struct {
		name string
		err  error
	}{
		{"of another account", second(try(f.by(root(abroad)), f, kmsapi.ConnectCustomKeyStore, &kmsapi.ConnectCustomKeyStoreInput{CustomKeyStoreId: ids[0]}))},
		{"of another region", second(try(f.in(elsewhere, root(home)), f, kmsapi.DeleteCustomKeyStore, &kmsapi.DeleteCustomKeyStoreInput{CustomKeyStoreId: ids[0]}))},
	} {
		wantError(t, there.name, there.err, "CustomKeyStoreNotFoundException", "")
	}
}

func TestConnectionFailures(t *testing.T) {
	t.Parallel()
	f, p := newStoreFixture(t)
	id := f.newStore(storeInput("mine"))
	for name, c := range map[string]struct {
		break_ func()
		mend   func()
		code   kmsapi.ConnectionErrorCodeType
	}{
		"credentials": {func() { p.SetCredentials(nil) }, func() { p.SetCredentials(map[string]string{xkstest.AccessKeyID: xkstest.SecretKey}) }, "INVALID_CREDENTIALS"},
		"managers": {
			func() { p.SetHealth(func(h *xks.Health) { h.Managers[0].Status = xks.Unavailable }) },
			func() { p.SetHealth(func(h *xks.Health) { h.Managers[0].Status = xks.Degraded }) }, "XKS_PROXY_NOT_REACHABLE",
		},
		"path":   {func() { p.Refuse("health", 404, xks.InvalidURIPathException) }, func() { p.Answer("health", nil) }, "XKS_PROXY_INVALID_CONFIGURATION"},
		"denied": {func() { p.Refuse("health", 403, xks.AccessDeniedException) }, func() { p.Answer("health", nil) }, "XKS_PROXY_ACCESS_DENIED"},
		"late":   {func() { p.Refuse("health", 503, xks.DependencyTimeoutException) }, func() { p.Answer("health", nil) }, "XKS_PROXY_TIMED_OUT"},
		"nonsense": {func() {
			p.Answer("health", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) })
		}, func() { p.Answer("health", nil) }, "XKS_PROXY_INVALID_RESPONSE"},
		"TLS": {func() {
			f.s.cfg.Proxies = xks.New(xks.Config{ConnectTo: p.Config().ConnectTo, Timeout: 10 * time.Second})
		}, func() { f.s.cfg.Proxies = xks.New(p.Config()) }, "XKS_PROXY_INVALID_TLS_CONFIGURATION"},
	} {
		c.break_()
		if e := f.connectStore(id); e.ConnectionState != "FAILED" || e.ConnectionErrorCode != c.code {
			t.Errorf("%s: %s %s, want FAILED %s", name, e.ConnectionState, e.ConnectionErrorCode, c.code)
		}
		_, err := try(f.admin(), f, kmsapi.ConnectCustomKeyStore, &kmsapi.ConnectCustomKeyStoreInput{CustomKeyStoreId: id})
		wantError(t, name+": connect what has failed", err, "CustomKeyStoreInvalidStateException", "")
		_, err = try(f.admin(), f, kmsapi.UpdateCustomKeyStore, &kmsapi.UpdateCustomKeyStoreInput{CustomKeyStoreId: id, NewCustomKeyStoreName: new("x")})
		wantError(t, name+": update what has failed", err, "CustomKeyStoreInvalidStateException", "")
		c.mend()
		f.disconnectStore(id)
		if e := f.describeStore(id); e.ConnectionErrorCode != "" {
			t.Errorf("%s: code %s stays", name, e.ConnectionErrorCode)
		}
		if e := f.connectStore(id); e.ConnectionState != "CONNECTED" {
			t.Errorf("%s: mended, but %s %s", name, e.ConnectionState, e.ConnectionErrorCode)
		}
		f.disconnectStore(id)
	}
}

// What comes of a connection that was called off counts no more.
func TestDisconnectWhileConnecting(t *testing.T) {
	t.Parallel()
	f, p := newStoreFixture(t)
	id := f.newStore(storeInput("mine"))
	p.Answer("health", func(w http.ResponseWriter, r *http.Request) {
		p.Answer("health", nil)
		f.disconnectStore(id)
		w.WriteHeader(http.StatusInternalServerError)
	})
	if e := f.connectStore(id); e.ConnectionState != "DISCONNECTED" || e.ConnectionErrorCode != "" {
		t.Errorf("%s %s, want DISCONNECTED", e.ConnectionState, e.ConnectionErrorCode)
	}
}

// A connection is made in the background, also one that an earlier process began.
func TestConnectInBackground(t *testing.T) {
	t.Parallel()
	f, _ := newStoreFixture(t)
	id := f.newStore(storeInput("mine"))
	wait := func() {
		t.Helper()
		for began := time.Now(); f.describeStore(id).ConnectionState != "CONNECTED"; time.Sleep(2 * time.Millisecond) {
			if time.Since(began) > 10*time.Second {
				t.Fatal("the store is not connected")
			}
		}
	}
	must(f.admin(), f, kmsapi.ConnectCustomKeyStore, &kmsapi.ConnectCustomKeyStoreInput{CustomKeyStoreId: id})
	<-f.s.connecting // lost with the process
	done := make(chan struct{})
	ctx := t.Context()
	go func() {
		defer close(done)
		f.s.connectStores(ctx, time.Hour, slog.New(slog.DiscardHandler))
	}()
	t.Cleanup(func() { <-done })
	wait()
	f.disconnectStore(id)
	must(f.admin(), f, kmsapi.ConnectCustomKeyStore, &kmsapi.ConnectCustomKeyStoreInput{CustomKeyStoreId: id})
	wait()
}

func TestUpdateKeyStore(t *testing.T) {
	t.Parallel()
	f, p := newStoreFixture(t)
	p.AddPath("/new/kms/xks/v1")
	second := storeInput("second")
	second.XksProxyUriPath = new("/second/kms/xks/v1")
	p.AddPath("/second/kms/xks/v1")
	f.newStore(second)
	id := f.newStore(storeInput("mine"))
	other := &kmsapi.XksProxyAuthenticationCredentialType{AccessKeyId: "OTHERXKSPROXYKEYABCDEF", RawSecretAccessKey: strings.Repeat("y", 43)}
	for _, c := range []struct {
		name           string
		in             kmsapi.UpdateCustomKeyStoreInput
		code           string // while disconnected
		whileConnected string
	}{
		{"nothing", kmsapi.UpdateCustomKeyStoreInput{}, "", ""},
		{"name", kmsapi.UpdateCustomKeyStoreInput{NewCustomKeyStoreName: new("renamed")}, "", ""},
		{"name in use", kmsapi.UpdateCustomKeyStoreInput{NewCustomKeyStoreName: new("second")}, "CustomKeyStoreNameInUseException", "CustomKeyStoreNameInUseException"},
		{"path", kmsapi.UpdateCustomKeyStoreInput{XksProxyUriPath: new("/new/kms/xks/v1")}, "", ""},
		{"path in use", kmsapi.UpdateCustomKeyStoreInput{XksProxyUriPath: new("/second/kms/xks/v1")}, "XksProxyUriInUseException", "XksProxyUriInUseException"},
		{"wrong path", kmsapi.UpdateCustomKeyStoreInput{XksProxyUriPath: new("/nobody/kms/xks/v1")}, "XksProxyInvalidConfigurationException", "XksProxyInvalidConfigurationException"},
		{"wrong credentials", kmsapi.UpdateCustomKeyStoreInput{XksProxyAuthenticationCredential: other}, "XksProxyIncorrectAuthenticationCredentialException", "XksProxyIncorrectAuthenticationCredentialException"},
		{"endpoint", kmsapi.UpdateCustomKeyStoreInput{XksProxyUriEndpoint: new("https://XKS.EXAMPLE.com")}, "", "CustomKeyStoreInvalidStateException"},
		{"connectivity", kmsapi.UpdateCustomKeyStoreInput{XksProxyConnectivity: "PUBLIC_ENDPOINT"}, "", "CustomKeyStoreInvalidStateException"},
		{"endpoint service", kmsapi.UpdateCustomKeyStoreInput{
			XksProxyConnectivity: "VPC_ENDPOINT_SERVICE", XksProxyUriEndpoint: new("https://private.example.com"),
			XksProxyVpcEndpointServiceName: new("com.amazonaws.vpce.us-west-2.vpce-svc-example"),
		}, "XksProxyVpcEndpointServiceNotFoundException", "CustomKeyStoreInvalidStateException"},
		{"cluster", kmsapi.UpdateCustomKeyStoreInput{CloudHsmClusterId: new("cluster-2a23b4cdefg")}, "ValidationException", "ValidationException"},
		{"password", kmsapi.UpdateCustomKeyStoreInput{KeyStorePassword: new("password")}, "ValidationException", "ValidationException"},
	} {
		c.in.CustomKeyStoreId = id
		_, err := try(f.admin(), f, kmsapi.UpdateCustomKeyStore, &c.in)
		wantError(t, c.name+", disconnected", err, c.code, "")
		f.connectStore(id)
		_, err = try(f.admin(), f, kmsapi.UpdateCustomKeyStore, &c.in)
		wantError(t, c.name+", connected", err, c.whileConnected, "")
		f.disconnectStore(id)
	}
	e := f.describeStore(id)
	if *e.CustomKeyStoreName != "renamed" || *e.XksProxyConfiguration.UriPath != "/new/kms/xks/v1" || *e.XksProxyConfiguration.AccessKeyId != xkstest.AccessKeyID {
		t.Errorf("updated to %+v %+v", e, e.XksProxyConfiguration)
	}
	_, err := try(f.admin(), f, kmsapi.UpdateCustomKeyStore, &kmsapi.UpdateCustomKeyStoreInput{CustomKeyStoreId: "cks-0"})
	wantError(t, "no store", err, "CustomKeyStoreNotFoundException", "")

	// The credentials change at the proxy first, which knows both for a while.
	p.SetCredentials(map[string]string{xkstest.AccessKeyID: xkstest.SecretKey, other.AccessKeyId: other.RawSecretAccessKey})
	f.connectStore(id)
	must(f.admin(), f, kmsapi.UpdateCustomKeyStore, &kmsapi.UpdateCustomKeyStoreInput{CustomKeyStoreId: id, XksProxyAuthenticationCredential: other})
	p.SetCredentials(map[string]string{other.AccessKeyId: other.RawSecretAccessKey})
	key := f.externalKey(id, "k1")
	f.encrypted(f.admin(), key, nil)
	if got := *f.describeStore(id).XksProxyConfiguration.AccessKeyId; got != other.AccessKeyId {
		t.Errorf("access key id %s", got)
	}
}

// A store changes while its update asks the proxy: neither change is lost.
func TestUpdateKeyStoreMeanwhile(t *testing.T) {
	t.Parallel()
	f, p := newStoreFixture(t)
	p.AddPath("/new/kms/xks/v1")
	id := f.newStore(storeInput("mine"))
	p.Answer("health", func(w http.ResponseWriter, _ *http.Request) {
		p.Answer("health", nil)
		must(f.admin(), f, kmsapi.UpdateCustomKeyStore, &kmsapi.UpdateCustomKeyStoreInput{CustomKeyStoreId: id, NewCustomKeyStoreName: new("renamed")})
		_, _ = w.Write([]byte(`{"xksProxyFleetSize":1,"xksProxyVendor":"v","xksProxyModel":"m","ekmVendor":"e","ekmFleetDetails":[{"id":"a","model":"m","healthStatus":"ACTIVE"}]}`))
	})
	in := &kmsapi.UpdateCustomKeyStoreInput{CustomKeyStoreId: id, XksProxyUriPath: new("/new/kms/xks/v1")}
	_, err := try(f.admin(), f, kmsapi.UpdateCustomKeyStore, in)
	wantError(t, "overtaken", err, "KMSInternalException", "")
	must(f.admin(), f, kmsapi.UpdateCustomKeyStore, in)
	if e := f.describeStore(id); *e.CustomKeyStoreName != "renamed" || *e.XksProxyConfiguration.UriPath != "/new/kms/xks/v1" {
		t.Errorf("%+v", e)
	}
}

// Key stores are no resources: IAM policies on every resource decide alone.
func TestKeyStoreAccess(t *testing.T) {
	t.Parallel()
	f, _ := newStoreFixture(t)
	id := f.newStore(storeInput("mine"))
	for _, c := range []struct {
		name   string
		policy string
		code   string
	}{
		{"nobody", "", denied},
		{"reader", doc(allow("kms:DescribeCustomKeyStores")), denied},
		{"manager", doc(allow("kms:ConnectCustomKeyStore")), ""},
		{"conditional", doc(allow("kms:ConnectCustomKeyStore", when("StringEquals", "kms:CallerAccount", home))), ""},
		{"stranger", doc(allow("kms:ConnectCustomKeyStore", when("StringEquals", "kms:CallerAccount", abroad))), denied},
		{"narrow", doc(strings.Replace(allow("kms:ConnectCustomKeyStore"), `"*"`, `"arn:aws:kms:us-west-2:111122223333:key/*"`, 1)), denied},
	} {
		_, err := try(f.by(f.user(home, c.name, c.policy)), f, kmsapi.ConnectCustomKeyStore, &kmsapi.ConnectCustomKeyStoreInput{CustomKeyStoreId: id})
		wantError(t, c.name, err, c.code, "")
	}
}

func TestRandomFromKeyStores(t *testing.T) {
	t.Parallel()
	f, _ := newStoreFixture(t)
	id := f.newStore(storeInput("mine"))
	for store, code := range map[string]string{id: "UnsupportedOperationException", "cks-0": "CustomKeyStoreNotFoundException"} {
		_, err := try(f.admin(), f, kmsapi.GenerateRandom, &kmsapi.GenerateRandomInput{NumberOfBytes: new(int32(8)), CustomKeyStoreId: &store})
		wantError(t, store, err, code, "")
	}
}
