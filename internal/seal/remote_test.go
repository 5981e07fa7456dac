package seal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sagekeep/sagekeep/internal/secret"
)

// fakePlugin answers the protocol as docs/seals.md has it, with a key in memory
// and the context bound.
type fakePlugin struct {
	keyID string
	key   secret.Key
}

func (p *fakePlugin) answer(req []byte) []byte {
	var in request
	out := map[string]any{"keyId": p.keyID, "ignored": true}
	fail := func(code, text string) { out = map[string]any{"code": code, "error": text} }
	a, err := newAEAD(p.key.Bytes())
	if err == nil {
		err = json.Unmarshal(req, &in)
	}
	var aad []byte
	for _, name := range slices.Sorted(maps.Keys(in.Context)) {
		aad = append(aad, name+"="+in.Context[name]+"\n"...)
	}
	switch {
	case err != nil || in.Version != 1:
		fail("BadRequest", "not a request")
	case in.Operation == opWrap && len(in.Data) == secret.Size && in.KeyID != nil && *in.KeyID == "":
		out["data"] = a.Seal(nil, nil, in.Data, aad)
	case in.Operation == opUnwrap && in.KeyID != nil && *in.KeyID != p.keyID:
		fail("WrongKey", "no key "+*in.KeyID)
	case in.Operation == opUnwrap:
		if out["data"], err = a.Open(nil, nil, in.Data, aad); err != nil {
			fail("WrongKey", "does not open")
		}
	case in.Operation == opInfo && in.KeyID == nil && in.Data == nil:
		out["algorithm"], out["fips"] = "AES-256-GCM", true
	default:
		fail("BadRequest", "not understood")
	}
	b, _ := json.Marshal(out)
	return b
}

func newFake(id string) *fakePlugin { return &fakePlugin{keyID: id, key: secret.Random()} }

func (p *fakePlugin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.Header.Get("Authorization") != "Bearer t0ken" {
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, `{"code":"Denied","error":"no token"}`)
		return
	}
	b, _ := io.ReadAll(r.Body)
	w.Write(p.answer(b))
}

func webSeal(t *testing.T, h http.Handler, token string) Seal {
	t.Helper()
	srv := httptest.NewTLSServer(h)
	t.Cleanup(srv.Close)
	spec, err := Parse("exec:"+srv.URL+"/seal", "d")
	if err != nil {
		t.Fatal(err)
	}
	web := newWeb(spec.url, token)
	web.client.Transport.(*http.Transport).TLSClientConfig.RootCAs = srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	return &remote{kind: Plugin, name: spec.String(), t: web}
}

func TestWebContract(t *testing.T) {
	t.Parallel()
	contract(t, webSeal(t, newFake("k1"), "t0ken"), webSeal(t, newFake("k1"), "t0ken"))
	contract(t, webSeal(t, newFake("k1"), "t0ken"), webSeal(t, newFake("k2"), "t0ken"))
}

func TestWebFailures(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"no token":  {newFake("k").ServeHTTP, "Denied: no token"},
		"not found": {http.NotFound, "404"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://example.com/", http.StatusTemporaryRedirect)
		}, "307"},
		"too much": {func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, maxAnswer+1)) }, "more than 65536 bytes"},
		"garbage":  {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }, "plugin protocol"},
		"nothing":  {func(http.ResponseWriter, *http.Request) {}, "plugin protocol"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := webSeal(t, c.answer, "").Wrap(t.Context(), secret.Random(), where())
			if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, ErrWrong) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	t.Run("a certificate that nobody trusts", func(t *testing.T) {
		t.Parallel()
		srv := httptest.NewTLSServer(newFake("k"))
		t.Cleanup(srv.Close)
		srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		_, err := open(t, "exec:"+srv.URL, false).Info(t.Context())
		if err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%v", err)
		}
	})
}

// socketDir is a directory with a path short enough for a socket.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "seal")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// sideProgram listens and hands each connection to serve.
func sideProgram(t *testing.T, serve func(net.Conn)) *remote {
	t.Helper()
	path := filepath.Join(socketDir(t), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); serve(c) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return &remote{kind: PKCS11, name: "pkcs11:" + path, t: &socket{path: path, timeout: callTimeout}}
}

// readMessage reads one message of a socket, or returns nil.
func readMessage(c net.Conn) []byte {
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c, b); err != nil {
		return nil
	}
	return b
}

func (p *fakePlugin) serve(c net.Conn) {
	for req := readMessage(c); req != nil; req = readMessage(c) {
		reply := p.answer(req)
		c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(reply))), reply...))
	}
}

func TestSocketContract(t *testing.T) {
	t.Parallel()
	contract(t, sideProgram(t, newFake("k1").serve), sideProgram(t, newFake("k1").serve))
}

func TestSocketFailures(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		serve func(net.Conn)
		want  string
	}{
		"hangs up":    {func(net.Conn) {}, "side program"},
		"no length":   {func(c net.Conn) { c.Write([]byte{0, 0}) }, "side program"},
		"length of 0": {func(c net.Conn) { c.Write([]byte{0, 0, 0, 0}) }, "0 bytes"},
		"too long":    {func(c net.Conn) { c.Write([]byte{0, 1, 0, 1}) }, "65537 bytes"},
		"cut":         {func(c net.Conn) { c.Write([]byte{0, 0, 0, 9, '{', '}'}) }, "side program"},
		"garbage":     {func(c net.Conn) { c.Write([]byte{0, 0, 0, 2, '[', ']'}) }, "plugin protocol"},
		"hangs":       {func(c net.Conn) { io.Copy(io.Discard, c) }, "no answer within"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := sideProgram(t, func(conn net.Conn) { readMessage(conn); c.serve(conn) })
			s.t.(*socket).timeout = 2 * time.Second
			if name == "hangs" {
				s.t.(*socket).timeout = 50 * time.Millisecond
			}
			_, err := s.Wrap(t.Context(), secret.Random(), where())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	dir := socketDir(t)
	if _, err := open(t, "pkcs11:"+filepath.Join(dir, "none"), false).Info(t.Context()); err == nil || !strings.Contains(err.Error(), "side program") {
		t.Errorf("no socket: %v", err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, "pkcs11:"+filepath.Join(dir, "none"), false).Info(t.Context()); err == nil || !strings.Contains(err.Error(), "everybody may write") {
		t.Errorf("a socket in a folder of everybody: %v", err)
	}
}

// privateDir returns a temporary directory that no group may write, whatever the
// umask.
func privateDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// script writes a shell script and returns a seal that runs it.
func script(t *testing.T, text string) (*remote, *bytes.Buffer) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("shell scripts are of Unix")
	}
	path := filepath.Join(privateDir(t), "plugin")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	p := &program{path: path, log: slog.New(slog.NewTextHandler(&log, nil)), timeout: callTimeout}
	return &remote{kind: Plugin, name: "exec:" + path, t: p}, &log
}

func TestExecFailures(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, script, want, log string }{
		{name: "exits with 3", script: "exit 3", want: "exit status 3"},
		{name: "says why", script: `echo '{"code":"Denied","error":"the PIN is locked"}'; exit 1`, want: "Denied: the PIN is locked"},
		{name: "says why and exits with 0", script: `echo '{"error":"the token is out"}'`, want: "Unavailable: the token is out"},
		{name: "an unknown code", script: `echo '{"code":"Odd"}'`, want: "Unavailable: no reason given"},
		{name: "control characters", script: `printf '{"code":"Denied","error":"a\\u001b[31m\\nb"}'`, want: "Denied: a [31m b"},
		{name: "nothing", script: "true", want: "plugin protocol"},
		{name: "garbage", script: "echo hello", want: "plugin protocol"},
		{name: "two answers", script: "echo '{}{}'", want: "plugin protocol"},
		{name: "no key id", script: `echo '{"data":"eA=="}'`, want: "keyId"},
		{name: "an unprintable key id", script: `printf '{"keyId":"a\\nb","data":"eA=="}'`, want: "keyId"},
		{name: "no data", script: `echo '{"keyId":"k"}'`, want: "data has 0 bytes"},
		{name: "data that is no base64", script: `echo '{"keyId":"k","data":"?"}'`, want: "plugin protocol"},
		{name: "the key in clear", script: `sed 's/.*"data":"\([^"]*\)".*/{"keyId":"k","data":"\1"}/'`, want: "holds the key in clear"},
		{name: "too much", script: "cat /dev/zero", want: "more than 65536 bytes"},
		{name: "complains", script: "echo the card reader is gone >&2; exit 1", want: "exit status 1", log: "the card reader is gone"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, log := script(t, c.script)
			_, err := s.Wrap(t.Context(), secret.Random(), where())
			if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, ErrWrong) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if !strings.Contains(log.String(), c.log) {
				t.Errorf("the log holds %q, want %q", log.String(), c.log)
			}
		})
	}
	if _, err := open(t, "exec:"+filepath.Join(t.TempDir(), "none"), false).Info(t.Context()); err == nil || !strings.Contains(err.Error(), "find the program") {
		t.Errorf("no program: %v", err)
	}
	s, _ := script(t, "true")
	if err := os.Chmod(s.t.(*program).path, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Info(t.Context()); err == nil || !strings.Contains(err.Error(), "everybody may write") {
		t.Errorf("a program of everybody: %v", err)
	}
}

// TestExecHangs: a program and its children are killed, and the caller's end
// counts, too.
func TestExecHangs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := script(t, "(sleep 60; touch "+dir+"/alive) & sleep 60")
	s.t.(*program).timeout = 100 * time.Millisecond
	start := time.Now()
	if _, err := s.Info(t.Context()); err == nil || !strings.Contains(err.Error(), "no answer within 100ms") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Info(ctx); err == nil {
		t.Error("answered a caller that is gone")
	}
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("took %s", d)
	}
	// A child that keeps the pipes open does not keep the answer back.
	s, _ = script(t, `sleep 60 & echo '{"keyId":"k"}'`)
	start = time.Now()
	if info, err := s.Info(t.Context()); err != nil || info.KeyID != "k" {
		t.Errorf("%+v, %v", info, err)
	}
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("took %s", d)
	}
}

// TestExecKeepsSecrets: no key in arguments, environment or log.
func TestExecKeepsSecrets(t *testing.T) {
	t.Setenv("SAGEKEEP_SEAL_TOKEN", "t0ken")
	t.Setenv("SEAL_TEST_SETTING", "passed on")
	dir := t.TempDir()
	s, log := script(t, "env > "+dir+"/env; echo \"$@\" > "+dir+`/args
data=$(sed 's/.*"data":"\([^"]*\)".*/\1/')
echo "got $data" >&2
echo '{"keyId":"k","data":"eHl6"}'`)
	key, err := secret.New([]byte("an all too readable key of 32 b!"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Wrap(t.Context(), key, where()); err != nil {
		t.Fatal(err)
	}
	env, err := os.ReadFile(filepath.Join(dir, "env"))
	if err != nil || bytes.Contains(env, []byte("t0ken")) || !bytes.Contains(env, []byte("SEAL_TEST_SETTING=passed on")) {
		t.Errorf("environment %q, %v", env, err)
	}
	args, err := os.ReadFile(filepath.Join(dir, "args"))
	if err != nil || strings.TrimSpace(string(args)) != "" {
		t.Errorf("arguments %q, %v", args, err)
	}
	if text := log.String(); !strings.Contains(text, "got [redacted]") || strings.Contains(text, "YW4gYWxs") {
		t.Errorf("log %q", text)
	}
}

// TestExampleScript runs the program that docs/seals.md shows.
func TestExampleScript(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"python3", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the example of docs/seals.md needs %s, which is not here", tool)
		}
	}
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "seals.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "    #!/usr/bin/env python3\n")
	if !found {
		t.Fatal("docs/seals.md shows no program")
	}
	var text strings.Builder
	text.WriteString("#!/usr/bin/env python3\n")
	for line := range strings.Lines(rest) {
		if line != "\n" && !strings.HasPrefix(line, "    ") {
			break
		}
		text.WriteString(strings.TrimPrefix(line, "    "))
	}
	plugin := func() Seal {
		dir := privateDir(t)
		cmd := exec.Command("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=seal", "-days", "2", "-keyout", "key.pem", "-out", "cert.pem")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("openssl: %v\n%s", err, out)
		}
		if err := os.WriteFile(filepath.Join(dir, "plugin"), []byte(text.String()), 0o700); err != nil {
			t.Fatal(err)
		}
		return open(t, "exec:"+filepath.Join(dir, "plugin"), false)
	}
	contract(t, plugin(), plugin())
}

// FuzzParseAnswer: an answer is taken whole and within its limits, or refused in
// a line that a log can take and that shows none of its data.
func FuzzParseAnswer(f *testing.F) {
	key := sha256.Sum256(nil)
	for _, op := range []operation{opWrap, opUnwrap, opInfo} {
		b, _ := json.Marshal(map[string]any{"keyId": "k", "data": key[:], "algorithm": "AES", "fips": true})
		f.Add(string(op), b)
		f.Add(string(op), []byte(`{"code":"WrongKey","error":"no"}`))
		f.Add(string(op), []byte(`{"keyId":"","data":null}`))
	}
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		op := operation(name)
		if len(b) > 2*maxAnswer || op != opWrap && op != opUnwrap && op != opInfo {
			return
		}
		a, err := parseAnswer(op, b)
		if err != nil {
			if text := err.Error(); len(text) > 2*maxErrorText || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' }) {
				t.Fatalf("error %q", text)
			}
			return
		}
		switch {
		case op == opWrap && (len(a.Data) == 0 || len(a.Data) > maxBody), op == opUnwrap && len(a.Data) != secret.Size:
			t.Fatalf("%s: %d bytes of data", op, len(a.Data))
		case (op != opUnwrap || a.KeyID != "") && checkKeyID(a.KeyID) != nil:
			t.Fatalf("%s: key id %q", op, a.KeyID)
		}
	})
}
