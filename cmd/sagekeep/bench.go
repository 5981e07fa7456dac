package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/client"
	"github.com/sagekeep/sagekeep/internal/server"
	"github.com/sagekeep/sagekeep/internal/sigv4"
)

// benchResult is one comparison; the fields are those of --json. Rates are
// requests a second, latencies microseconds, all medians of the turns.
type benchResult struct {
	Operation   string  `json:"operation"`
	Connections int     `json:"connections"`
	Turns       int     `json:"turns"`
	EchoRate    float64 `json:"echoRate"`
	Rate        float64 `json:"rate"`
	Ratio       float64 `json:"ratio"` // of the rates, by turn
	RatioMin    float64 `json:"ratioMin"`
	RatioMax    float64 `json:"ratioMax"`
	P50         float64 `json:"p50us"`
	P99         float64 `json:"p99us"`
	EchoP99     float64 `json:"echoP99us"`
	ServerCPU   float64 `json:"serverCpuUs,omitempty"` // a request, user and system; Linux only
	EchoCPU     float64 `json:"echoCpuUs,omitempty"`
	ServerRSS   int64   `json:"serverRssBytes,omitempty"` // at the end; Linux only
	IdleRSS     int64   `json:"idleRssBytes,omitempty"`
}

func benchCommand() *command {
	return &command{
		name: "bench", short: "Compare KMS on this machine with a bare HTTP echo",
		example: "sagekeep bench\nsagekeep bench --connections 64 --turns 20 --json",
		flags: func(f *flag.FlagSet) {
			f.String("connections", "16,64", "comma-separated `NUMBERS` of connections")
			f.Int("turns", 10, "`N` turns of each side")
			f.Int("requests", 5000, "`N` requests a turn")
			f.String("dir", "", "`DIR` for the temporary data directory, to choose the disk")
			f.Bool("json", false, "one JSON object a comparison")
			f.Bool("echo", false, "serve the echo until the input ends; bench starts itself so")
		},
		run: bench,
	}
}

func bench(ctx context.Context, f *flag.FlagSet, std stdio) error {
	if boolValue(f, "echo") {
		return serveEcho(ctx, std)
	}
	turns, requests := intValue(f, "turns"), intValue(f, "requests")
	if turns < 1 || requests < 1 {
		return usagef("--turns and --requests are positive numbers")
	}
	var conns []int
	for text := range strings.SplitSeq(value(f, "connections"), ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 1 || n > 4096 {
			return usagef("--connections %q: numbers from 1 to 4096", value(f, "connections"))
		}
		conns = append(conns, n)
	}
	dir, err := os.MkdirTemp(value(f, "dir"), "sagekeep-bench-*")
	if err != nil {
		return err
	}
	b := &benchmark{turns: turns, requests: requests, asJSON: boolValue(f, "json"), std: std, dir: dir}
	err = b.run(ctx, conns)
	return errors.Join(err, os.RemoveAll(dir))
}

// benchmark holds the three processes: a server, an echo, and this one as the
// client of both.
type benchmark struct {
	turns, requests int
	asJSON          bool
	std             stdio
	dir             string

	server, echo *child
	sagekeep     *client.Client
	bare         *client.Client
}

func (b *benchmark) run(ctx context.Context, conns []int) (err error) {
	data := filepath.Join(b.dir, "data")
	if b.server, err = startChild(ctx, filepath.Join(b.dir, "server.log"), "serve", "--data-dir", data, "--listen", "127.0.0.1:0"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.server.stop()) }()
	if b.echo, err = startChild(ctx, filepath.Join(b.dir, "echo.log"), "bench", "--echo"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.echo.stop()) }()
	creds, err := server.ReadCredentials(data)
	if err != nil {
		return err
	}
	most := slices.Max(conns)
	h := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: most, MaxConnsPerHost: most}}
	defer h.CloseIdleConnections()
	b.sagekeep = &client.Client{
		Endpoint: b.server.url, Region: server.DefaultRegion, HTTP: h,
		Credential: sigv4.Credential{AccessKeyID: creds.Accounts[0].AccessKeyID, Secret: creds.Accounts[0].SecretAccessKey},
	}
	bare := *b.sagekeep
	bare.Endpoint = b.echo.url
	b.bare = &bare

	key, err := client.Call(ctx, b.sagekeep, kmsapi.CreateKey, &kmsapi.CreateKeyInput{})
	if err != nil {
		return err
	}
	id := key.KeyMetadata.KeyId
	data32, err := client.Call(ctx, b.sagekeep, kmsapi.GenerateDataKey, &kmsapi.GenerateDataKeyInput{KeyId: id, KeySpec: kmsapi.DataKeySpecAes256})
	if err != nil {
		return err
	}
	idle := b.server.rss()
	if !b.asJSON {
		fmt.Fprintf(b.std.out, "%-16s %5s  %10s %10s  %17s  %9s %9s  %s\n", "operation", "conns", "echo/s", "sagekeep/s", "ratio (min-max)", "p50", "p99", "server CPU")
	}
	for _, n := range conns {
		for _, side := range []struct {
			op *schema.Operation
			in any
		}{
			{kmsapi.GenerateDataKey.Operation, &kmsapi.GenerateDataKeyInput{KeyId: id, KeySpec: kmsapi.DataKeySpecAes256}},
			{kmsapi.Decrypt.Operation, &kmsapi.DecryptInput{CiphertextBlob: data32.CiphertextBlob}},
		} {
			r, err := b.compare(ctx, n, side.op, side.in)
			if err != nil {
				return err
			}
			r.IdleRSS, r.ServerRSS = idle, b.server.rss()
			if err := b.print(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// compare lets both sides take turns, after one turn each that does not count.
func (b *benchmark) compare(ctx context.Context, conns int, op *schema.Operation, in any) (*benchResult, error) {
	sides := []*client.Client{b.bare, b.sagekeep}
	children := []*child{b.echo, b.server}
	var rates, p99s, cpus [2][]float64
	var p50s, ratios []float64
	for turn := -1; turn < b.turns; turn++ {
		var rate [2]float64
		for _, i := range []int{turn & 1, 1 - turn&1} { // who begins changes too
			before := children[i].cpu()
			load, err := hammer(ctx, sides[i], conns, b.requests, op, in)
			if err != nil {
				return nil, err
			}
			spent := children[i].cpu() - before
			if rate[i] = load.rate; turn < 0 {
				continue
			}
			rates[i], p99s[i] = append(rates[i], load.rate), append(p99s[i], micros(load.p99))
			cpus[i] = append(cpus[i], micros(spent)/float64(b.requests))
			if i == 1 {
				p50s = append(p50s, micros(load.p50))
			}
		}
		if turn >= 0 {
			ratios = append(ratios, rate[1]/rate[0])
		}
	}
	return &benchResult{
		Operation: op.Name, Connections: conns, Turns: b.turns, EchoRate: median(rates[0]), Rate: median(rates[1]),
		Ratio: median(ratios), RatioMin: slices.Min(ratios), RatioMax: slices.Max(ratios), P50: median(p50s), P99: median(p99s[1]),
		EchoP99: median(p99s[0]), ServerCPU: median(cpus[1]), EchoCPU: median(cpus[0]),
	}, nil
}

func (b *benchmark) print(r *benchResult) error {
	if b.asJSON {
		return json.NewEncoder(b.std.out).Encode(r)
	}
	cpu := "not known here"
	if r.ServerCPU > 0 {
		cpu = fmt.Sprintf("%.0f µs a request (echo %.0f), %d MiB (idle %d)", r.ServerCPU, r.EchoCPU, r.ServerRSS>>20, r.IdleRSS>>20)
	}
	_, err := fmt.Fprintf(b.std.out, "%-16s %5d  %10.0f %10.0f  %5.2f (%.2f-%.2f)  %6.1f ms %6.1f ms  %s\n",
		r.Operation, r.Connections, r.EchoRate, r.Rate, r.Ratio, r.RatioMin, r.RatioMax, r.P50/1000, r.P99/1000, cpu)
	return err
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// serveEcho answers JSON with the same JSON, on a free port, until its input
// ends.
func serveEcho(ctx context.Context, std stdio) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer server.HoldHeap()() // as `sagekeep serve` does
	srv := &http.Server{Handler: http.HandlerFunc(echo), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	fmt.Fprintf(std.out, "ready http://%s\n", l.Addr())
	gone := make(chan struct{})
	go func() { defer close(gone); drain(std.in) }()
	select {
	case <-ctx.Done():
	case <-gone:
	case err := <-ended:
		return err
	}
	return srv.Close()
}
