package envelope

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/sagekeep/sagekeep/internal/secret"
)

func TestSealedValuesAreBound(t *testing.T) {
	t.Parallel()
	k := NewMemory()
	sealed, err := k.Seal("key", []byte("aad"), []byte("value"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Open("grant", []byte("aad"), sealed); !errors.Is(err, ErrSealed) {
		t.Errorf("other class: %v", err)
	}
	if _, err := k.Open("ke", []byte("yaad"), sealed); !errors.Is(err, ErrSealed) {
		t.Errorf("class and aad run together: %v", err)
	}
	if _, err := NewMemory().Open("key", []byte("aad"), sealed); !errors.Is(err, ErrSealed) {
		t.Errorf("other keyring: %v", err)
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 0x80
		if _, err := k.Open("key", []byte("aad"), bad); err == nil {
			t.Errorf("byte %d flipped and opened", i)
		}
		if _, err := k.Open("key", []byte("aad"), sealed[:i]); err == nil {
			t.Errorf("cut to %d and opened", i)
		}
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	k, now := NewMemory(), time.Unix(1_800_000_000, 0)
	tok := Token{Account: "111122223333", Region: "us-west-2", Expires: now.Add(time.Hour), Payload: []byte("p")}
	purposes := []Purpose{SessionToken, GrantToken, PageToken, ImportToken, AuthorizationMessage}
	for _, p := range purposes {
		text, err := k.SealToken(p, tok)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range purposes {
			got, err := k.OpenToken(q, text, now)
			if p == q && (err != nil || string(got.Payload) != "p" || got.Account != tok.Account || !got.Expires.Equal(tok.Expires)) {
				t.Errorf("%s: %+v, %v", p, got, err)
			}
			if p != q && !errors.Is(err, ErrToken) {
				t.Errorf("a %s token opened as %s: %v", p, q, err)
			}
		}
		if _, err := k.OpenToken(p, text, now.Add(time.Hour)); !errors.Is(err, ErrTokenExpired) {
			t.Errorf("%s after its hour: %v", p, err)
		}
		for _, space := range []string{"\n", "\r\n", " "} {
			if _, err := k.OpenToken(p, text[:9]+space+text[9:], now); !errors.Is(err, ErrToken) {
				t.Errorf("%s with %q inside: %v", p, space, err)
			}
		}
		for i := range text {
			bad := []byte(text)
			bad[i] ^= 1
			if _, err := k.OpenToken(p, string(bad), now); err == nil {
				t.Errorf("%s: character %d changed and opened", p, i)
			}
		}
	}
}

func FuzzOpenToken(f *testing.F) {
	k, now := NewMemory(), time.Unix(1_800_000_000, 0)
	text, _ := k.SealToken(GrantToken, Token{Account: "1", Payload: []byte("p")})
	f.Add(text)
	f.Add("AQA")
	f.Fuzz(func(t *testing.T, s string) {
		// Nothing but what was sealed opens.
		if tok, err := k.OpenToken(GrantToken, s, now); err == nil && s != text {
			t.Fatalf("forged %q opened as %+v", s, tok)
		}
	})
}

func TestEpochs(t *testing.T) {
	t.Parallel()
	files := newFiles(t)
	s := fileSeal(t, t.TempDir())
	keys, err := CreateKeys(t.Context(), files, s, reopening(s))
	if err != nil {
		t.Fatal(err)
	}
	e := keys.Epochs
	dead, alive := secret.Random(), secret.Random()
	wd, wa := e.Wrap([]byte("dead"), dead), e.Wrap([]byte("alive"), alive)
	if _, err := e.Unwrap([]byte("other"), wd); !errors.Is(err, ErrSealed) {
		t.Errorf("other aad: %v", err)
	}
	if err := e.Begin(); err != nil {
		t.Fatal(err)
	}
	// A crash here: both epochs are on disk, and the erasure is carried on.
	e = openKeys(t, files, s).Epochs
	if !e.InErasure() {
		t.Fatal("the erasure is forgotten")
	}
	k, err := e.Unwrap([]byte("alive"), wa)
	if err != nil || !k.Equal(alive) || e.Current(wa) {
		t.Fatalf("survivor: %v", err)
	}
	wa = e.Wrap([]byte("alive"), k)
	if err := e.Finish(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // as it is, and after a restart
		if _, err := e.Unwrap([]byte("dead"), wd); !errors.Is(err, ErrErased) || !e.Erased(wd) || e.Erased(wa) || e.Erased(nil) {
			t.Errorf("erased key: %v; Erased: %t, survivor %t", err, e.Erased(wd), e.Erased(wa))
		}
		if k, err := e.Unwrap([]byte("alive"), wa); err != nil || !k.Equal(alive) {
			t.Errorf("survivor: %v", err)
		}
		e = openKeys(t, files, s).Epochs
	}
}
