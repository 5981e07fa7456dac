package server

import (
	"bytes"
	"context"
	"crypto/rsa"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

// TestRSAKeysAreMadeAnyway: without the process that makes them, and a warning
// tells it once.
func TestRSAKeysAreMadeAnyway(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	fail := errors.New("no more processes")
	s := &Server{cfg: Config{
		Log:     slog.New(slog.NewTextHandler(&log, nil)),
		MakeRSA: func(context.Context, int) (*rsa.PrivateKey, error) { return nil, fail },
	}}
	for range 2 {
		if key, err := s.makeRSA(t.Context(), 2048); err != nil || key.N.BitLen() != 2048 {
			t.Fatalf("%v, %v", key, err)
		}
	}
	if n := strings.Count(log.String(), "no more processes"); n != 1 {
		t.Errorf("%d warnings: %s", n, &log)
	}
	gone, stop := context.WithCancel(t.Context())
	stop()
	if _, err := s.makeRSA(gone, 2048); !errors.Is(err, fail) {
		t.Errorf("the caller has gone: %v", err)
	}
	ready := new(rsa.PrivateKey)
	s.cfg.MakeRSA = func(context.Context, int) (*rsa.PrivateKey, error) { return ready, nil }
	if key, err := s.makeRSA(t.Context(), 2048); key != ready || err != nil {
		t.Errorf("made elsewhere: %v, %v", key, err)
	}
}
