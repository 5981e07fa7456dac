package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/client"
	"github.com/sagekeep/sagekeep/internal/protocol/wire"
	"github.com/sagekeep/sagekeep/internal/sigv4"
)

// startServer serves a new data directory on a free port until the test ends.
func startServer(tb testing.TB) (*Server, *client.Client) {
	tb.Helper()
	return startServerWith(tb, Config{DataDir: filepath.Join(tb.TempDir(), "data")})
}

func startServerWith(tb testing.TB, cfg Config) (*Server, *client.Client) {
	tb.Helper()
	if err := cfg.Validate(); err != nil {
		tb.Fatal(err)
	}
	s, err := Open(context.Background(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.Start(); err != nil {
		tb.Fatal(err)
	}
	url := listen(tb, s.Handler())
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("close: %v", err)
		}
	})
	return s, &client.Client{Endpoint: url, Region: DefaultRegion, HTTP: newHTTP(tb), Credential: rootOf(s, 0)}
}

// rootOf returns the root credential of the i-th account.
func rootOf(s *Server, i int) sigv4.Credential {
	k := s.creds.Accounts[i]
	return sigv4.Credential{AccessKeyID: k.AccessKeyID, Secret: k.SecretAccessKey}
}

// listen serves h on a free port of 127.0.0.1 until the test ends.
func listen(tb testing.TB, h http.Handler) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(l) }()
	tb.Cleanup(func() { srv.Close(); <-done })
	return "http://" + l.Addr().String()
}

func newHTTP(tb testing.TB) *http.Client {
	t := &http.Transport{MaxIdleConnsPerHost: 128, MaxConnsPerHost: 128}
	tb.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t}
}

// BenchmarkKMS compares GenerateDataKey and Decrypt over HTTP, with signatures,
// policies and durable audit, with a bare JSON echo under the same signing
// client. Both take turns, because the machine is shared; what counts is the
// median of the ratios of their rates.
func BenchmarkKMS(b *testing.B) {
	defer HoldHeap()() // as `sagekeep serve` does; the echo has it too
	_, c := startServer(b)
	ctx := context.Background()
	key, err := client.Call(ctx, c, kmsapi.CreateKey, &kmsapi.CreateKeyInput{})
	if err != nil {
		b.Fatal(err)
	}
	id := key.KeyMetadata.KeyId
	dk, err := client.Call(ctx, c, kmsapi.GenerateDataKey, &kmsapi.GenerateDataKeyInput{KeyId: id, KeySpec: kmsapi.DataKeySpecAes256})
	if err != nil {
		b.Fatal(err)
	}
	echo := *c
	echo.Endpoint = listen(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		var v map[string]any
		if json.Unmarshal(body, &v) != nil {
			return
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		json.NewEncoder(w).Encode(v)
	}))
	generate := &kmsapi.GenerateDataKeyInput{KeyId: id, KeySpec: kmsapi.DataKeySpecAes256}
	decrypt := &kmsapi.DecryptInput{CiphertextBlob: dk.CiphertextBlob}
	for _, conns := range []int{16, 64} {
		b.Run(fmt.Sprintf("GenerateDataKey/conns=%d", conns), func(b *testing.B) {
			againstEcho(b, conns, &echo, c, kmsapi.GenerateDataKey.Operation, generate)
		})
		b.Run(fmt.Sprintf("Decrypt/conns=%d", conns), func(b *testing.B) {
			againstEcho(b, conns, &echo, c, kmsapi.Decrypt.Operation, decrypt)
		})
	}
}

// burst is how many requests each side sends before the other has its turn.
const burst = 5000

// againstEcho lets the echo and the server take turns and reports the medians of
// their rates, of the tail latency and of the ratio of a turn.
func againstEcho(b *testing.B, conns int, echo, c *client.Client, op *schema.Operation, in any) {
	b.Helper()
	var base, own, tail, ratio []float64
	for i := 0; b.Loop(); i++ {
		var rate, p99 [2]float64
		for _, j := range []int{i % 2, 1 - i%2} { // who begins changes too
			rate[j], p99[j] = hammer(b, []*client.Client{echo, c}[j], conns, op, in)
		}
		base, own, tail = append(base, rate[0]), append(own, rate[1]), append(tail, p99[1])
		ratio = append(ratio, rate[1]/rate[0])
	}
	b.ReportMetric(median(base), "echo-ops/s")
	b.ReportMetric(median(own), "ops/s")
	b.ReportMetric(median(tail), "p99-µs")
	b.ReportMetric(median(ratio), "ratio")
	b.ReportMetric(slices.Min(ratio), "ratio-min")
}

// hammer sends a burst of signed requests over conns connections and returns
// the rate and the 99th percentile of the latency in microseconds.
func hammer(b *testing.B, c *client.Client, conns int, op *schema.Operation, in any) (rate, p99 float64) {
	b.Helper()
	var mu sync.Mutex
	var all []time.Duration
	next := make(chan struct{}, burst)
	for range burst {
		next <- struct{}{}
	}
	close(next)
	start := time.Now()
	var wg sync.WaitGroup
	for range conns {
		wg.Go(func() {
			var mine []time.Duration
			for range next {
				t := time.Now()
				if err := send(c, op, in); err != nil {
					b.Error(err)
					return
				}
				mine = append(mine, time.Since(t))
			}
			mu.Lock()
			all = append(all, mine...)
			mu.Unlock()
		})
	}
	wg.Wait()
	took := time.Since(start)
	if len(all) != burst {
		b.Fatalf("%d of %d requests were answered", len(all), burst)
	}
	slices.Sort(all)
	return burst / took.Seconds(), float64(all[burst*99/100].Microseconds())
}

// send makes one signed call and reads the answer to its end, decoding nothing,
// so that client cost is the same for every server.
func send(c *client.Client, op *schema.Operation, in any) error {
	req, body, err := wire.EncodeInput(op, c.Endpoint, in)
	if err != nil {
		return err
	}
	if err := sigv4.Sign(req, body, c.Credential, c.Region, op.Service.SigningName, time.Now()); err != nil {
		return err
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var sink bytes.Buffer
	if _, err := sink.ReadFrom(resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", op.Name, resp.Status, sink.String())
	}
	return nil
}
