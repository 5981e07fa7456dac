package rsakey

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == Argument {
		if os.Args[2] == "3072" { // a process that never ends by itself
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(1)
		}
		Main()
	}
	os.Exit(m.Run())
}

func maker(t *testing.T) *Maker {
	t.Helper()
	m, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMake(t *testing.T) {
	t.Parallel()
	m := maker(t)
	key, err := m.Make(t.Context(), 2048)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("text"))
	sig, err := rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest[:], nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := rsa.VerifyPSS(&key.PublicKey, crypto.SHA256, digest[:], sig, nil); err != nil {
		t.Error(err)
	}
	again, err := m.Make(t.Context(), 2048)
	if err != nil {
		t.Fatal(err)
	}
	if key.Equal(again) {
		t.Error("the same key twice")
	}
}

// TestMakeEnds: the end of the request ends the process.
func TestMakeEnds(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer stop()
	if _, err := maker(t).Make(ctx, 3072); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestMakeRefuses(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]*Maker{
		"no such program": {Program: t.TempDir() + "/missing"},
		"other size":      maker(t),
	} {
		if _, err := m.Make(t.Context(), 1024); err == nil {
			t.Errorf("%s: made", name)
		}
	}
	good, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der := encoded(t, good)
	for name, c := range map[string][]byte{"nothing": nil, "cut": der[:len(der)-1]} {
		if _, err := decode(c, 2048); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := decode(der, 4096); err == nil {
		t.Error("a key of 2048 bits taken for one of 4096")
	}
	if key, err := decode(der, 2048); err != nil || !key.Equal(good) {
		t.Errorf("decode: %v", err)
	}
}

// TestServeWithoutIdleProcessors: when the first key does not come, a second one is
// made.
func TestServeWithoutIdleProcessors(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := serve(&out, "2048", time.Nanosecond); err != nil {
		t.Fatal(err)
	}
	if _, err := decode(out.Bytes(), 2048); err != nil {
		t.Error(err)
	}
}

func TestBounded(t *testing.T) {
	t.Parallel()
	exact := &bounded{b: make([]byte, 0, 5)}
	if n, err := io.Copy(exact, iotest.OneByteReader(strings.NewReader("1234"))); err != nil || n != 4 || string(exact.b) != "1234" {
		t.Errorf("%d, %v, %q", n, err, exact.b)
	}
	w := &bounded{b: make([]byte, 0, 4)}
	if n, err := io.Copy(w, strings.NewReader("12345")); err == nil || n > 4 {
		t.Errorf("%d bytes kept, %v", n, err)
	}
}

func encoded(t *testing.T, key *rsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
