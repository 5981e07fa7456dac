package token

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/pkcs11"
)

// start returns a token on a fake library, with the key k.
func start(t *testing.T, change ...func(*Config)) (*Token, *library) {
	t.Helper()
	lib := newLibrary()
	cfg := Config{Label: "prod", PIN: func() (string, error) { return "1234", nil }}
	for _, fn := range change {
		fn(&cfg)
	}
	tok, err := open(cfg, lib)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tok.Close)
	if _, err := tok.Generate(t.Context(), "k", false); err != nil {
		t.Fatal(err)
	}
	return tok, lib
}

func encrypt(t *testing.T, tok *Token) (Sealed, error) {
	t.Helper()
	v, err := tok.Versions(t.Context(), "k")
	if err != nil {
		return Sealed{}, err
	}
	return tok.Encrypt(t.Context(), "k", v[len(v)-1].ID, []byte("text"), []byte("aad"))
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	tok, _ := start(t)
	s, err := encrypt(t, tok)
	if err != nil || len(s.IV) != 12 || len(s.Ciphertext) != 4 || len(s.Tag) != 16 {
		t.Fatalf("%+v, %v", s, err)
	}
	id := []byte{0, 0, 0, 0, 0, 0, 0, 1}
	got, err := tok.Decrypt(t.Context(), "k", id, s, []byte("aad"))
	if err != nil || string(got) != "text" {
		t.Fatalf("%q, %v", got, err)
	}
	for name, change := range map[string]func(*Sealed){
		"tag":        func(s *Sealed) { s.Tag = bytes.Repeat([]byte{1}, 16) },
		"iv":         func(s *Sealed) { s.IV = bytes.Repeat([]byte{1}, 12) },
		"iv length":  func(s *Sealed) { s.IV = nil },
		"tag length": func(s *Sealed) { s.Tag = s.Tag[:12] },
		"no text":    func(s *Sealed) { s.Ciphertext = nil },
	} {
		c := s
		change(&c)
		_, err := tok.Decrypt(t.Context(), "k", id, c, []byte("aad"))
		wantErr(t, name, err, ErrInvalid)
	}
	_, err = tok.Decrypt(t.Context(), "k", id, s, nil)
	wantErr(t, "aad", err, ErrInvalid)
	_, err = tok.Decrypt(t.Context(), "k", []byte{2}, s, []byte("aad"))
	wantErr(t, "version", err, ErrNoKey)
	_, err = tok.Versions(t.Context(), "other")
	wantErr(t, "label", err, ErrNoKey)
}

// TestWrongTag: libraries say in different ways that a tag is wrong.
func TestWrongTag(t *testing.T) {
	t.Parallel()
	for _, code := range []uint{
		pkcs11.CKR_GENERAL_ERROR, pkcs11.CKR_FUNCTION_FAILED, pkcs11.CKR_ENCRYPTED_DATA_INVALID,
		pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE, pkcs11.CKR_DATA_INVALID, pkcs11.CKR_SIGNATURE_INVALID,
	} {
		tok, lib := start(t)
		s, err := encrypt(t, tok)
		if err != nil {
			t.Fatal(err)
		}
		lib.with(func() { lib.wrongTag = code })
		v, _ := tok.Versions(t.Context(), "k")
		before := lib.count()
		_, err = tok.Decrypt(t.Context(), "k", v[0].ID, s, []byte("other"))
		wantErr(t, pkcs11.Error(code).Error(), err, ErrInvalid)
		if got := lib.count(); got != before {
			t.Errorf("%v: the library was initialised anew", pkcs11.Error(code))
		}
		got, err := tok.Decrypt(t.Context(), "k", v[0].ID, s, []byte("aad"))
		if err != nil || string(got) != "text" {
			t.Errorf("afterwards: %q, %v", got, err)
		}
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	tok, lib := start(t)
	_, err := tok.Generate(t.Context(), "k", false)
	wantErr(t, "a second first version", err, ErrExists)
	_, err = tok.Generate(t.Context(), "new", true)
	wantErr(t, "a second version of nothing", err, ErrNoKey)
	for _, bad := range []string{"", ".", "..", "a/b", "ä", strings.Repeat("k", 129)} {
		if _, err := tok.Generate(t.Context(), bad, false); err == nil {
			t.Errorf("made a key with the label %q", bad)
		}
	}
	old, err := encrypt(t, tok)
	if err != nil {
		t.Fatal(err)
	}
	k, err := tok.Generate(t.Context(), "k", true)
	if err != nil || k.Version() != "0000000000000002" || !k.Sensitive || k.Extractable || !k.Local || k.Bits != 256 {
		t.Fatalf("%+v, %v", k, err)
	}
	v, err := tok.Versions(t.Context(), "k")
	if err != nil || len(v) != 2 || v[0].Version() != "0000000000000001" {
		t.Fatalf("%+v, %v", v, err)
	}
	if _, err := tok.Decrypt(t.Context(), "k", v[0].ID, old, []byte("aad")); err != nil {
		t.Error(err)
	}
	_, err = tok.Decrypt(t.Context(), "k", v[1].ID, old, []byte("aad"))
	wantErr(t, "the new version on old data", err, ErrInvalid)
	lib.with(func() { lib.objects[0].id = []byte{2} })
	time.Sleep(keysLive)
	_, err = tok.Versions(t.Context(), "k")
	wantErr(t, "two keys of one CKA_ID", err, ErrAmbiguous)
}

func TestNextID(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"": "\x01", "\x00\x01": "\x00\x02", "\x00\xff": "\x01\x00", "\xff\xff": "\x01\x00\x00"} {
		if got, err := nextID(&Key{ID: []byte(in)}); err != nil || string(got) != want {
			t.Errorf("after %x: %x, %v", in, got, err)
		}
		if compareVersions(&Key{ID: []byte(in)}, &Key{ID: []byte(want)}) >= 0 {
			t.Errorf("%x is not before %x", in, want)
		}
	}
	if _, err := nextID(&Key{ID: make([]byte, 17)}); err == nil {
		t.Error("counted on from 17 bytes")
	}
	if compareVersions(&Key{ID: []byte("\x00\x02")}, &Key{ID: []byte("\x01")}) <= 0 {
		t.Error("leading zeros count")
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*object)
		want   error
	}{
		{"not for encryption", func(o *object) { o.encrypt = false }, ErrUsage},
		{"128 bits", func(o *object) { o.size = 16 }, ErrUsage},
		{"for neither", func(o *object) { o.encrypt, o.decrypt = false, false }, ErrDisabled},
		{"an attribute that the token does not know", func(o *object) { o.noLocal = true }, nil},
	} {
		tok, lib := start(t)
		lib.with(func() { tc.change(lib.objects[0]) })
		tok.link.forget()
		if _, err := encrypt(t, tok); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
}

func TestDisable(t *testing.T) {
	t.Parallel()
	tok, lib := start(t)
	if err := tok.SetEnabled(t.Context(), "k", false); err != nil {
		t.Fatal(err)
	}
	_, err := encrypt(t, tok)
	wantErr(t, "disabled", err, ErrDisabled)
	if o := lib.objects[0]; o.encrypt || o.decrypt {
		t.Errorf("the token still allows use: %+v", o)
	}
	if err := tok.SetEnabled(t.Context(), "k", true); err != nil {
		t.Fatal(err)
	}
	if _, err := encrypt(t, tok); err != nil {
		t.Error(err)
	}
	// Another program does so: what is remembered ends with the token's refusal.
	lib.with(func() { lib.objects[0].encrypt = false })
	_, err = encrypt(t, tok)
	wantErr(t, "changed behind our back", err, ErrUsage)
	wantErr(t, "no such key", tok.SetEnabled(t.Context(), "none", false), ErrNoKey)
}

// TestLoss: whatever the library says when the token is gone, calls fail until it
// is back, and then work again without a restart.
func TestLoss(t *testing.T) {
	t.Parallel()
	for _, code := range []uint{
		pkcs11.CKR_DEVICE_REMOVED, pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_GENERAL_ERROR,
		pkcs11.CKR_DEVICE_ERROR, pkcs11.CKR_OBJECT_HANDLE_INVALID, pkcs11.CKR_USER_NOT_LOGGED_IN,
	} {
		synctest.Test(t, func(t *testing.T) {
			name := pkcs11.Error(code).Error()
			tok, lib := start(t)
			time.Sleep(time.Minute)
			if _, err := encrypt(t, tok); err != nil {
				t.Fatal(err)
			}
			lib.with(func() { lib.removed = code })
			for range 3 {
				_, err := encrypt(t, tok)
				wantErr(t, name, err, ErrUnavailable)
				_, err = tok.Check(t.Context())
				wantErr(t, name+", check", err, ErrUnavailable)
				time.Sleep(10 * time.Minute)
			}
			lib.with(func() { lib.removed = 0 })
			if _, err := encrypt(t, tok); err != nil {
				t.Errorf("%s: afterwards: %v", name, err)
			}
			if _, err := tok.Check(t.Context()); err != nil {
				t.Errorf("%s: afterwards: %v", name, err)
			}
		})
	}
}

// TestSessionsLost: when the token is there again at once, callers notice nothing.
func TestSessionsLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tok, lib := start(t)
		time.Sleep(time.Minute)
		lib.with(lib.closeSessions)
		if _, err := encrypt(t, tok); err != nil {
			t.Error(err)
		}
		if got := lib.count(); got != 2 {
			t.Errorf("the library was initialised %d times, want 2", got)
		}
	})
}

// TestReconnectPause: a broken token is not initialised anew for every call.
func TestReconnectPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tok, lib := start(t)
		time.Sleep(time.Minute)
		lib.with(func() { lib.removed = pkcs11.CKR_DEVICE_REMOVED })
		before := lib.count()
		for range 100 {
			_, err := encrypt(t, tok)
			wantErr(t, "removed", err, ErrUnavailable)
		}
		if got := lib.count() - before; got != 1 {
			t.Errorf("the library was initialised %d times, want once", got)
		}
	})
}

// TestRefusedPIN: a token that locks itself after a few tries sees a wrong PIN once.
func TestRefusedPIN(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pin := "1234"
		tok, lib := start(t, func(c *Config) { c.PIN = func() (string, error) { return pin, nil } })
		lib.with(func() { lib.pin = "changed"; lib.closeSessions() })
		before := lib.logins
		for range 5 {
			time.Sleep(time.Minute)
			_, err := encrypt(t, tok)
			wantErr(t, "PIN", err, ErrDenied)
			if strings.Contains(err.Error(), pin) {
				t.Errorf("the error shows the PIN: %v", err)
			}
		}
		if got := lib.logins - before; got != 1 {
			t.Errorf("the wrong PIN was tried %d times", got)
		}
		pin = "changed"
		time.Sleep(time.Minute)
		if _, err := encrypt(t, tok); err != nil {
			t.Error(err)
		}
	})
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*library)
		want   error
		text   string
	}{
		{"no token", func(l *library) { l.label = "other" }, ErrUnavailable, `label "prod"`},
		{"two tokens", func(l *library) { l.slots = []uint{1, 2} }, ErrUnavailable, "two tokens"},
		{"wrong PIN", func(l *library) { l.pin = "x" }, ErrDenied, "CKR_PIN_INCORRECT"},
		{"no GCM", func(l *library) { l.noGCM = true }, ErrUnavailable, "CKM_AES_GCM"},
		{"removed", func(l *library) { l.removed = pkcs11.CKR_GENERAL_ERROR }, ErrUnavailable, "initialise"},
	} {
		lib := newLibrary()
		tc.change(lib)
		_, err := open(Config{Label: "prod", PIN: func() (string, error) { return "1234", nil }}, lib)
		if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%s: %v, want %v with %q", tc.name, err, tc.want, tc.text)
		}
	}
	_, err := open(Config{Label: "prod", PIN: func() (string, error) { return "", errors.New("no file") }}, newLibrary())
	wantErr(t, "no PIN", err, ErrUnavailable)
	if _, err := Open(Config{Module: "/nonexistent/library.so"}); err == nil || !strings.Contains(err.Error(), "load the PKCS#11 library") {
		t.Errorf("a missing library: %v", err)
	}
}

// TestHangingToken: callers get their answer in time, and the calls that hang take
// no more than their sessions.
func TestHangingToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tok, lib := start(t, func(c *Config) { c.Sessions = 2 })
		v, err := tok.Versions(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		release := make(chan struct{})
		lib.with(func() { lib.hang = release })
		call := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := tok.Encrypt(ctx, "k", v[0].ID, []byte("x"), nil)
			return err
		}
		wantErr(t, "first", call(), ErrTimeout)
		wantErr(t, "second", call(), ErrTimeout)
		wantErr(t, "third", call(), ErrBusy)
		lib.with(func() { lib.hang = nil })
		close(release)
		synctest.Wait()
		if err := call(); err != nil {
			t.Error(err)
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	tok, lib := start(t, func(c *Config) { c.Sessions = 4 })
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 20 {
				s, err := encrypt(t, tok)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := tok.Decrypt(t.Context(), "k", []byte{0, 0, 0, 0, 0, 0, 0, 1}, s, []byte("aad")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	lib.with(func() {
		if n := len(lib.sessions); n > 5 {
			t.Errorf("%d sessions are open, want 4 and the one that stays", n)
		}
	})
}

// TestListAndChecks: every key is listed, and a check leaves nothing behind.
func TestListAndChecks(t *testing.T) {
	t.Parallel()
	tok, lib := start(t)
	for _, label := range []string{"b", "a"} {
		if _, err := tok.Generate(t.Context(), label, false); err != nil {
			t.Fatal(err)
		}
	}
	if i, err := tok.Check(t.Context()); err != nil || i != (Info{"prod", "Nobody", "Fake", "7"}) {
		t.Errorf("%+v, %v", i, err)
	}
	all, err := tok.List(t.Context())
	if err != nil || len(all) != 3 || all[0].Label != "a" || all[1].Label != "b" || all[2].Label != "k" {
		t.Errorf("%+v, %v", all, err)
	}
	if n := len(lib.objects); n != 3 {
		t.Errorf("%d objects", n)
	}
}

// TestExtractable: a token that does not do what it is asked gets no key.
func TestExtractable(t *testing.T) {
	t.Parallel()
	tok, lib := start(t)
	lib.with(func() { lib.makesExtractable = true })
	_, err := tok.Generate(t.Context(), "new", false)
	wantErr(t, "extractable", err, ErrUnavailable)
	_, err = tok.Versions(t.Context(), "new")
	wantErr(t, "afterwards", err, ErrNoKey)
}
