package server

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/client"
	"github.com/sagekeep/sagekeep/internal/protocol/wire"
	"github.com/sagekeep/sagekeep/internal/sigv4"
)

// discard is a ResponseWriter that keeps the status alone.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header { return d.header }

func (d *discard) WriteHeader(status int) { d.status = status }

func (d *discard) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkKMSHandler is what the server does for a request between its decoded
// HTTP head and its encoded answer: signature, policies, cryptography, durable
// record. Its allocations do not depend on what else the machine does.
func BenchmarkKMSHandler(b *testing.B) {
	defer HoldHeap()()
	s, c := startServer(b)
	id := makeKey(b, s)
	dk, err := client.Call(b.Context(), c, kmsapi.GenerateDataKey, &kmsapi.GenerateDataKeyInput{KeyId: id, KeySpec: kmsapi.DataKeySpecAes256})
	if err != nil {
		b.Fatal(err)
	}
	handler := s.Handler()
	for _, r := range []struct {
		op *schema.Operation
		in any
	}{
		{kmsapi.GenerateDataKey.Operation, &kmsapi.GenerateDataKeyInput{KeyId: id, KeySpec: kmsapi.DataKeySpecAes256}},
		{kmsapi.Decrypt.Operation, &kmsapi.DecryptInput{CiphertextBlob: dk.CiphertextBlob}},
	} {
		b.Run(r.op.Name, func(b *testing.B) {
			req, body, err := wire.EncodeInput(r.op, c.Endpoint, r.in)
			if err != nil {
				b.Fatal(err)
			}
			if err := sigv4.Sign(req, body, c.Credential, c.Region, r.op.Service.SigningName, time.Now()); err != nil {
				b.Fatal(err)
			}
			req.RemoteAddr = "127.0.0.1:1"
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					own := req.Clone(b.Context())
					own.Body = io.NopCloser(bytes.NewReader(body))
					w := &discard{header: http.Header{}}
					if handler.ServeHTTP(w, own); w.status != http.StatusOK {
						b.Errorf("status %d", w.status)
						return
					}
				}
			})
		})
	}
}
