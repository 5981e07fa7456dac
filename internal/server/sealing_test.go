package server

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/seal"
	"github.com/sagekeep/sagekeep/internal/sigv4"
	"github.com/sagekeep/sagekeep/internal/store"
)

// operatorRecords returns the names of the operator's records, oldest first.
func operatorRecords(t *testing.T, s *Server) []string {
	t.Helper()
	var names []string
	for rec, err := range s.store.Journal().Scan(t.Context(), store.JournalScan{}) {
		if err != nil {
			t.Fatal(err)
		}
		var r audit.Record
		if err := json.Unmarshal(rec.Data, &r); err != nil {
			t.Fatal(err)
		}
		if r.EventSource == "sagekeep.operator" {
			name := r.EventName
			if r.ErrorCode != "" {
				name += " " + r.ErrorCode
			}
			names = append(names, name)
		}
		if strings.Contains(string(rec.Data), "hunter2") || strings.Contains(string(rec.Data), s.dir.proof) {
			t.Errorf("a record shows a secret: %s", rec.Data)
		}
	}
	return names
}

func openTest(t *testing.T, cfg Config) *Server {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestSealChangesAreRecorded: the call and each of its steps.
func TestSealChangesAreRecorded(t *testing.T) {
	t.Parallel()
	s := openTest(t, Config{DataDir: filepath.Join(t.TempDir(), "data")})
	to := "file:" + filepath.Join(t.TempDir(), "root.key")
	call := func(name, body string) error {
		ctx := t.Context()
		body = strings.Replace(body, "{", `{"proof":"`+s.dir.proof+`",`, 1)
		_, err := s.offline(ctx, name, func(ctx context.Context) (any, error) { return s.operatorCalls()[name](ctx, []byte(body)) })
		return err
	}
	if err := call("MigrateSeal", `{"to":"`+to+`"}`); err != nil {
		t.Fatal(err)
	}
	if err := call("RotateSeal", `{"destroyPrevious":true}`); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"no seal": `{"to":""}`, "unknown": `{"to":"vault:x"}`, "a password": `{"to":"exec:https://a:hunter2@example.com"}`, "not JSON": `{"to":1}`,
		"no program": `{"to":"exec:/nonexistent/plugin"}`,
	} {
		if err := call("MigrateSeal", bad); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
	got := operatorRecords(t, s)
	want := []string{
		"AddSealedCopy", "VerifySealedCopy", "DestroySealedCopy", "MigrateSeal",
		"AddSealedCopy", "VerifySealedCopy", "DestroySealedCopy", "DestroyPreviousRootKeys", "RotateSeal",
		"MigrateSeal InvalidSeal", "MigrateSeal InvalidSeal", "MigrateSeal InvalidSeal", "MigrateSeal InvalidRequest", "MigrateSeal SealFailed",
	}
	slices.Sort(got[9:])
	slices.Sort(want[9:])
	if !slices.Equal(got, want) {
		t.Errorf("records %q\nwant    %q", got, want)
	}
}

// TestSealIsChangedLocally: the operator key alone changes no seal from afar.
func TestSealIsChangedLocally(t *testing.T) {
	t.Parallel()
	s := openTest(t, Config{DataDir: filepath.Join(t.TempDir(), "data")})
	proof := s.dir.proof
	for _, c := range []struct {
		name, peer, own, proof string
		local                  bool
	}{
		{"loopback", "127.0.0.1", "127.0.0.1", proof, true},
		{"loopback IPv6", "::1", "::1", proof, true},
		{"own address", "10.0.0.5", "10.0.0.5", proof, true},
		{"another machine", "10.0.0.6", "10.0.0.5", proof, false},
		{"another machine, own address unknown", "10.0.0.6", "", proof, false},
		{"peer unknown", "", "10.0.0.5", proof, false},
		{"no proof", "127.0.0.1", "127.0.0.1", "", false},
		{"another proof", "127.0.0.1", "127.0.0.1", proof[1:] + "A", false},
	} {
		ctx := context.WithValue(t.Context(), http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.ParseIP(c.own)}))
		for operation, call := range s.operatorCalls() {
			var body string
			switch operation {
			case "MigrateSeal":
				body = `{"proof":"` + c.proof + `","to":1}`
			case "RotateSeal":
				body = `{"proof":"` + c.proof + `","destroyPrevious":1}`
			default:
				continue
			}
			_, err := s.record(ctx, c.peer, "test", operation, func(ctx context.Context) (any, error) { return call(ctx, []byte(body)) })
			if code := schema.AsError(err).Code; (code == "InvalidRequest") != c.local || (code == "AccessDenied") == c.local {
				t.Errorf("%s: %s: %v", c.name, operation, err)
			}
		}
	}
}

// TestSealBehindProxy: a proxy on the server's machine makes nobody local who does
// not read the data directory.
func TestSealBehindProxy(t *testing.T) {
	t.Parallel()
	s, c := startServer(t)
	proofless := RotateInput{}
	proven := RotateInput{Proof: s.dir.proof}
	target, err := url.Parse(c.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []struct {
		name    string
		rewrite func(*httputil.ProxyRequest)
		in      RotateInput
		local   bool
	}{
		{"none", nil, proven, true},
		{"none, no proof", nil, proofless, false},
		{"silent", func(*httputil.ProxyRequest) {}, proofless, false},
		{"usual", func(r *httputil.ProxyRequest) { r.SetXForwarded() }, proofless, false},
	} {
		op := *c.As(sigv4.Credential{AccessKeyID: s.creds.Operator.AccessKeyID, Secret: s.creds.Operator.SecretAccessKey})
		if p.rewrite != nil {
			op.Endpoint = listen(t, &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
				r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
				p.rewrite(r)
			}})
		}
		var done SealChange
		switch err := op.Operator(t.Context(), "RotateSeal", p.in, &done); {
		case p.local && err != nil:
			t.Errorf("proxy %s: %v", p.name, err)
		case !p.local && schema.AsError(err).Code != "AccessDenied":
			t.Errorf("proxy %s: %v, want AccessDenied", p.name, err)
		}
	}
}

// TestSealInsideOffLoopback: a server that others reach takes no seal in its own
// directory, also later.
func TestSealInsideOffLoopback(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	s := openTest(t, Config{DataDir: dir, Seal: "file:" + filepath.Join(t.TempDir(), "root.key"), Listen: "0.0.0.0:0", TLSSelfSigned: true})
	_, err := s.migrateSeal(t.Context(), MigrateInput{To: "file:" + filepath.Join(dir, "seal", "root.key")})
	if err == nil || !strings.Contains(err.Error(), "loopback only") {
		t.Errorf("migrated into the directory: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "seal", "root.key")); err == nil {
		t.Error("a key file was made")
	}
}

// TestInterruptedSealChange: a start under either seal ends the change in favour
// of that seal, and says so in the audit journal.
func TestInterruptedSealChange(t *testing.T) {
	t.Parallel()
	made := filepath.Join(t.TempDir(), "data")
	former, next := "file:"+filepath.Join(t.TempDir(), "former"), "file:"+filepath.Join(t.TempDir(), "next")
	s := openTest(t, Config{DataDir: made, Seal: former})
	spec, err := seal.Parse(next, made)
	if err != nil {
		t.Fatal(err)
	}
	stopped := errStopped{}
	_, err = s.dir.keys.Reseal(t.Context(), func() (seal.Seal, error) { return spec.Open(seal.Options{Create: true}) },
		func(step envelope.Step, _ envelope.Copy) error {
			if step == envelope.Destroy {
				return stopped
			}
			return nil
		})
	if err == nil {
		t.Fatal("the change came to its end")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ text, other string }{{former, next}, {next, former}} {
		dir := copyOf(t, made)
		st, err := ReadSealStatus(t.Context(), dir, c.text)
		if err != nil || len(st.Others) != 1 || !*st.Opens {
			t.Fatalf("status before: %+v, %v", st, err)
		}
		if err := CheckSeal(t.Context(), dir, c.other); err != nil {
			t.Fatal(err)
		}
		s := openTest(t, Config{DataDir: dir, Seal: c.text})
		if got := operatorRecords(t, s); !slices.Equal(got, []string{"DestroySealedCopy"}) {
			t.Errorf("records %q", got)
		}
		s.Close()
		if st, err := ReadSealStatus(t.Context(), dir, c.text); err != nil || len(st.Others) != 0 || !*st.Opens {
			t.Errorf("status after: %+v, %v", st, err)
		}
		if err := CheckSeal(t.Context(), dir, c.other); err == nil {
			t.Error("the other seal opens the directory still")
		}
	}
}

type errStopped struct{}

func (errStopped) Error() string { return "stopped" }

// TestOldDataFormat starts on a directory of data format 1.
func TestOldDataFormat(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	from := filepath.Join("..", "envelope", "testdata", "v1-file")
	for name, to := range map[string]string{"keyring": "keyring", "epoch.json": "seal/epoch.json", "root.key": "seal/root.key"} {
		b, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.FromSlash(to))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first, err := openOnce(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := ReadSealStatus(t.Context(), dir, ""); err != nil || st.Format != envelope.Format || !*st.Opens || len(st.Others) != 0 {
		t.Errorf("status %+v, %v", st, err)
	}
	if again, err := openOnce(t, dir); err != nil || again.Accounts[0].SecretAccessKey != first.Accounts[0].SecretAccessKey {
		t.Errorf("the start after that: %v", err)
	}
}
