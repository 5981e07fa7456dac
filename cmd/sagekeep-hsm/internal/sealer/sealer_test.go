package sealer

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sagekeep/sagekeep/cmd/sagekeep-hsm/internal/token"
	"github.com/sagekeep/sagekeep/cmd/sagekeep-hsm/internal/token/tokentest"
)

type side struct {
	token *tokentest.Token
	path  string
	log   *lockedBuffer
	stop  func()
	ended chan error
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func start(t *testing.T) *side {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := &side{token: new(tokentest.Token), path: filepath.Join(dir, "s"), log: new(lockedBuffer), ended: make(chan error, 1)}
	s.token.Add("root", 1)
	l, err := Listen(s.path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.stop = cancel
	srv := New(Config{Token: s.token, Label: "root", FIPS: true, Log: slog.New(slog.NewTextHandler(s.log, nil))})
	go func() { s.ended <- srv.Serve(ctx, l) }()
	t.Cleanup(cancel)
	return s
}

func (s *side) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, c net.Conn) answer {
	t.Helper()
	b, err := read(c)
	if err != nil {
		t.Fatal(err)
	}
	var a answer
	if err := json.Unmarshal(b, &a); err != nil {
		t.Fatalf("%q: %v", b, err)
	}
	return a
}

// ask sends one request on a connection of its own.
func (s *side) ask(t *testing.T, req any) answer {
	t.Helper()
	b, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	c := s.dial(t)
	defer c.Close()
	send(t, c, string(b))
	return receive(t, c)
}

func (s *side) refused(t *testing.T, req request, code string) {
	t.Helper()
	if a := s.ask(t, req); a.Code != code || a.Error == "" || a.Data != nil {
		t.Errorf("%s: answered %+v, want %s", req.Operation, a, code)
	}
}

var (
	rootKey = []byte("0123456789abcdefghijklmnopqrstuv")
	at      = map[string]string{"sagekeep:data-dir": "5f0c5f0c5f0c5f0c5f0c5f0c5f0c5f0c", "purpose": "root-key"}
)

func TestWrapUnwrap(t *testing.T) {
	t.Parallel()
	s := start(t)
	w := s.ask(t, request{Version: 1, Operation: "wrap", Data: rootKey, Context: at})
	if w.KeyID != "root/01" || len(w.Data) != 2+12+32+16 || bytes.Contains(w.Data, rootKey) {
		t.Fatalf("wrap answered %+v", w)
	}
	unwrap := request{Version: 1, Operation: "unwrap", KeyID: w.KeyID, Data: w.Data, Context: at}
	if a := s.ask(t, unwrap); !bytes.Equal(a.Data, rootKey) || a.Code != "" {
		t.Fatalf("unwrap answered %+v", a)
	}
	with := func(fn func(*request)) request {
		r := unwrap
		r.Data = bytes.Clone(r.Data)
		fn(&r)
		return r
	}
	for i := range w.Data {
		s.refused(t, with(func(r *request) { r.Data[i] ^= 0x80 }), wrongKey)
	}
	for _, r := range []request{
		with(func(r *request) {
			r.Context = map[string]string{"sagekeep:data-dir": at["sagekeep:data-dir"], "purpose": "other"}
		}),
		with(func(r *request) { r.Context = nil }),
		with(func(r *request) { r.KeyID = "root/02" }),
		with(func(r *request) { r.KeyID = "other/01" }),
		with(func(r *request) { r.KeyID = "" }),
		with(func(r *request) { r.Data = r.Data[:10] }),
		with(func(r *request) { r.Data = nil }),
	} {
		s.refused(t, r, wrongKey)
	}
	// Another version wraps from now on; the former still unwraps.
	s.token.Add("root", 2)
	if a := s.ask(t, request{Version: 1, Operation: "wrap", Data: rootKey, Context: at}); a.KeyID != "root/02" {
		t.Errorf("wrap answered %+v", a)
	}
	if a := s.ask(t, unwrap); !bytes.Equal(a.Data, rootKey) {
		t.Errorf("unwrap answered %+v", a)
	}
	if text := s.log.String(); strings.Contains(text, string(rootKey)) || strings.Contains(text, "MDEyMzQ1Njc4") {
		t.Errorf("the log holds the key:\n%s", text)
	}
}

// TestForeignCopies: one message with bytes that this program did not write ends
// neither the connection nor the program, whatever length of an IV it claims.
func TestForeignCopies(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.dial(t)
	for n := range 256 {
		for _, size := range []int{headerSize + n + rootKeySize + tagSize, headerSize + ivSize + rootKeySize + tagSize, n} {
			data := make([]byte, size)
			copy(data, []byte{formVersion, byte(n)})
			b, err := json.Marshal(request{Version: 1, Operation: "unwrap", KeyID: "root/01", Data: data, Context: at})
			if err != nil {
				t.Fatal(err)
			}
			send(t, c, string(b))
			if a := receive(t, c); a.Code != wrongKey || a.Data != nil {
				t.Fatalf("IV of %d in %d bytes: answered %+v", n, size, a)
			}
		}
	}
	// A long IV is one that a token may have chosen.
	long := token.Sealed{IV: make([]byte, longIVSize), Ciphertext: make([]byte, rootKeySize), Tag: make([]byte, tagSize)}
	if got, ok := decode(encode(long)); !ok || len(got.IV) != longIVSize {
		t.Errorf("an IV of %d bytes is decoded to %+v, %t", longIVSize, got, ok)
	}
}

// TestLongRefusal: the text of a refusal stays within the protocol's limit, also
// when it is cut within a character.
func TestLongRefusal(t *testing.T) {
	t.Parallel()
	s := start(t)
	for i := range 4 {
		a := s.ask(t, request{Version: 1, Operation: strings.Repeat("x", i) + strings.Repeat("\u20ac", maxErrorText)})
		if a.Code != badRequest || len(a.Error) > maxErrorText || strings.Contains(a.Error, "\ufffd") {
			t.Errorf("answered %d bytes: %+v", len(a.Error), a)
		}
	}
}

func TestInfoAndRefusals(t *testing.T) {
	t.Parallel()
	s := start(t)
	info := request{Version: 1, Operation: "info"}
	if a := s.ask(t, info); a.KeyID != "root/01" || a.Algorithm != "CKM_AES_GCM, AES-256" || !a.FIPS || a.Code != "" {
		t.Errorf("info answered %+v", a)
	}
	// Members that are not known are ignored.
	if a := s.ask(t, map[string]any{"version": 1, "operation": "info", "more": []int{1}}); a.KeyID != "root/01" {
		t.Errorf("info answered %+v", a)
	}
	for _, r := range []request{
		{Version: 2, Operation: "info"},
		{Operation: "info"},
		{Version: 1, Operation: "sign"},
		{Version: 1, Operation: "wrap", Data: rootKey[:31], Context: at},
		{Version: 1, Operation: "wrap", KeyID: "root/01", Data: rootKey, Context: at},
	} {
		s.refused(t, r, badRequest)
	}
	wrap := request{Version: 1, Operation: "wrap", Data: rootKey, Context: at}
	for err, code := range map[error]string{
		token.ErrUnavailable: unavailable, token.ErrTimeout: unavailable, token.ErrBusy: unavailable, token.ErrNoKey: unavailable,
		token.ErrDenied: denied, token.ErrAmbiguous: denied, token.ErrDisabled: denied, token.ErrUsage: denied,
	} {
		s.token.Fail(err)
		s.refused(t, wrap, code)
	}
	s.token.Fail(nil)
	s.token.Change("root", func(k *token.Key) { k.Encrypt, k.Decrypt = false, false })
	s.refused(t, wrap, denied)
	s.refused(t, info, denied)
}

func TestConnections(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.dial(t)
	for range 3 { // answered in their order, on one connection
		send(t, c, `{"version":1,"operation":"info"}`)
		send(t, c, `{"version":9,"operation":"info"}`)
		send(t, c, `no JSON`)
	}
	for range 3 {
		if a := receive(t, c); a.KeyID != "root/01" {
			t.Errorf("answered %+v", a)
		}
		for range 2 {
			if a := receive(t, c); a.Code != badRequest {
				t.Errorf("answered %+v", a)
			}
		}
	}
	for _, size := range []uint32{0, 65537, 1 << 31} {
		c := s.dial(t)
		if _, err := c.Write(binary.BigEndian.AppendUint32(nil, size)); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("a length of %d: read %d bytes, %v", size, n, err)
		}
	}
	c = s.dial(t)
	send(t, c, strings.Repeat(" ", 65536-32)+`{"version":1,"operation":"info"}`)
	if a := receive(t, c); a.KeyID != "root/01" {
		t.Errorf("the longest message: %+v", a)
	}
	var wg sync.WaitGroup
	for range 2 * maxConnections {
		wg.Go(func() {
			c, err := net.Dial("unix", s.path)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if err := write(c, []byte(`{"version":1,"operation":"info"}`)); err != nil {
				t.Error(err)
			}
			if b, err := read(c); err != nil || !strings.Contains(string(b), "root/01") {
				t.Errorf("answered %q, %v", b, err)
			}
		})
	}
	wg.Wait()
}

func TestEnd(t *testing.T) {
	t.Parallel()
	s := start(t)
	idle := s.dial(t)
	send(t, idle, `{"version":1,"operation":"info"}`)
	receive(t, idle)
	s.stop()
	select {
	case err := <-s.ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("still serving")
	}
	if _, err := os.Lstat(s.path); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestListen(t *testing.T) {
	t.Parallel()
	s := start(t)
	if fi, err := os.Lstat(s.path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the socket has mode %v, %v", fi.Mode(), err)
	}
	dir := filepath.Dir(s.path)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(dir, "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		s.path: "another process serves", file: "is no socket", filepath.Join(open, "s"): "everybody may write", filepath.Join(dir, "none", "s"): "no such file",
	} {
		l, err := Listen(path)
		if err == nil {
			l.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Listen(%s): %v, want %q", filepath.Base(path), err, want)
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "data" {
		t.Errorf("the file holds %q, %v", b, err)
	}
	// What a killed process left is replaced.
	stale := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	again, err := Listen(stale)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

// FuzzAnswer: whatever a message holds, there is one answer of the protocol, and
// nothing but a wrapped copy unwraps.
func FuzzAnswer(f *testing.F) {
	for _, r := range []request{
		{Version: 1, Operation: "info"},
		{Version: 1, Operation: "wrap", Data: rootKey, Context: at},
		{Version: 1, Operation: "unwrap", KeyID: "root/01", Data: bytes.Repeat([]byte{1, 12}, 31), Context: at},
		{Version: 1, Operation: "unwrap", KeyID: "root/01", Data: bytes.Repeat([]byte{1, 254}, 152), Context: at},
	} {
		b, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	tok := new(tokentest.Token)
	tok.Add("root", 1)
	s := New(Config{Token: tok, Label: "root"})
	f.Fuzz(func(t *testing.T, message []byte) {
		if len(message) > maxMessage {
			return
		}
		var req request
		_ = json.Unmarshal(message, &req)
		var a answer
		b := s.answer(t.Context(), message)
		if err := json.Unmarshal(b, &a); err != nil || len(b) > 65536 {
			t.Fatalf("answered %d bytes %q: %v", len(b), b, err)
		}
		switch {
		case a.Code != "" && (a.Error == "" || a.Data != nil || a.KeyID != ""), a.Code == "" && a.KeyID != "root/01":
			t.Errorf("answered %+v", a)
		case a.Code == "" && req.Operation == "unwrap":
			t.Errorf("unwrapped %+v", req)
		}
	})
}

// FuzzDecode: what is decoded has the sizes that this program writes, and is the
// whole input in another form; everything else is refused.
func FuzzDecode(f *testing.F) {
	const most = headerSize + longIVSize + rootKeySize + tagSize
	for _, n := range []byte{0, ivSize, longIVSize, 253, 254, 255} {
		f.Add(append([]byte{formVersion, n}, make([]byte, int(n)+rootKeySize+tagSize)...))
	}
	f.Add([]byte{formVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > maxMessage {
			return
		}
		s, ok := decode(b)
		if !ok {
			if s.IV != nil || s.Ciphertext != nil || s.Tag != nil {
				t.Errorf("%x is refused and gives %+v", b, s)
			}
			return
		}
		if len(s.IV) != ivSize && len(s.IV) != longIVSize || len(s.Ciphertext) != rootKeySize || len(s.Tag) != tagSize || len(b) > most {
			t.Errorf("%x is decoded to %+v", b, s)
		}
		if again := encode(s); !bytes.Equal(again, b) {
			t.Errorf("%x is encoded again to %x", b, again)
		}
	})
}

// FuzzRead: a message has the length that stands in front of it, from 1 byte to
// the limit, and all of it came.
func FuzzRead(f *testing.F) {
	f.Add([]byte{0, 0, 0, 2, '{', '}', 0})
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{0, 1, 0, 1, ' '})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > maxMessage+8 {
			return
		}
		ours, theirs := net.Pipe()
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _ = theirs.Write(in) // ends early when the message is refused
			theirs.Close()
		})
		b, err := read(ours)
		ours.Close()
		wg.Wait()
		whole := false
		if len(in) >= 4 {
			n := binary.BigEndian.Uint32(in)
			whole = n >= 1 && n <= maxMessage && int(n) <= len(in)-4
		}
		switch {
		case whole != (err == nil):
			t.Errorf("%d bytes: %v", len(in), err)
		case err == nil && !bytes.Equal(b, in[4:4+len(b)]), err == nil && len(b) != int(binary.BigEndian.Uint32(in)):
			t.Errorf("read %d bytes of %d", len(b), len(in))
		}
	})
}
