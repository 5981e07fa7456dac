package server

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/client"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/rsakey"
	"github.com/sagekeep/sagekeep/internal/sigv4"
)

const (
	manyKeys   = 100_000
	manyGrants = 50_000
)

// asRoot is the context of the first account's root, for set-up without HTTP.
func asRoot(s *Server) context.Context {
	account := s.firstAccount()
	return identity.With(context.Background(), &identity.Call{
		Caller: &identity.Caller{Type: identity.Root, Account: account, ARN: "arn:aws:iam::" + account + ":root", PrincipalID: account},
		Region: DefaultRegion, RequestID: "set-up", SourceIP: "127.0.0.1", Host: "localhost", Time: time.Now(),
	})
}

// inParallel runs f for 0 to n-1, 64 at a time: commits share syncs.
func inParallel(tb testing.TB, n int, f func(i int) error) {
	tb.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := f(i); err != nil {
					tb.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if tb.Failed() {
		tb.FailNow()
	}
}

func makeKey(tb testing.TB, s *Server) string {
	tb.Helper()
	out, err := protocol.Call(asRoot(s), s.registry, kmsapi.CreateKey, &kmsapi.CreateKeyInput{})
	if err != nil {
		tb.Fatal(err)
	}
	return out.KeyMetadata.KeyId
}

// BenchmarkKMSScaleKeys opens a directory with 100,000 keys, and compares
// DescribeKey of one of them with that of a server which has but one, by turns.
func BenchmarkKMSScaleKeys(b *testing.B) {
	defer HoldHeap()()
	cfg := Config{DataDir: filepath.Join(b.TempDir(), "many"), KMSQuotas: "off"}
	if err := cfg.Validate(); err != nil {
		b.Fatal(err)
	}
	s, err := Open(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	ids := make([]string, manyKeys)
	create := func(i int) error {
		out, err := protocol.Call(asRoot(s), s.registry, kmsapi.CreateKey, &kmsapi.CreateKeyInput{})
		if err == nil {
			ids[i] = out.KeyMetadata.KeyId
		}
		return err
	}
	// The first and the last keys come one after the other, to compare them.
	const alone = 500
	each := func(from int) float64 {
		var took []float64
		for i := range alone {
			start := time.Now()
			if err := create(from + i); err != nil {
				b.Fatal(err)
			}
			took = append(took, micro(time.Since(start)))
		}
		return median(took)
	}
	first := each(0)
	inParallel(b, manyKeys-2*alone, func(i int) error { return create(alone + i) })
	last := each(manyKeys - alone)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	b.Run("start", func(b *testing.B) {
		var took []float64
		for b.Loop() {
			start := time.Now()
			s, err := Open(context.Background(), cfg)
			if err == nil {
				err = s.Start()
			}
			if err == nil {
				err = s.store.WaitDurable(context.Background())
			}
			if err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(start).Seconds())
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(median(took), "ready-s")
		b.ReportMetric(first, "first-create-µs")
		b.ReportMetric(last, "last-create-µs")
	})
	_, many := startServerWith(b, cfg)
	lone, one := startServer(b)
	only := makeKey(b, lone)
	for name, pick := range map[string]func() string{
		"one":  func() string { return ids[0] },
		"each": func() string { return ids[rand.IntN(manyKeys)] },
	} {
		b.Run("DescribeKey/"+name, func(b *testing.B) {
			compareTurns(b, 200,
				func() error {
					return send(one, kmsapi.DescribeKey.Operation, &kmsapi.DescribeKeyInput{KeyId: only})
				},
				func() error {
					return send(many, kmsapi.DescribeKey.Operation, &kmsapi.DescribeKeyInput{KeyId: pick()})
				})
		})
	}
	b.Run("ListKeys", func(b *testing.B) {
		for b.Loop() {
			if err := send(many, kmsapi.ListKeys.Operation, &kmsapi.ListKeysInput{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// compareTurns lets two requests take turns of n and reports their medians in
// microseconds and the median of the ratios of a turn.
func compareTurns(b *testing.B, n int, base, own func() error) {
	b.Helper()
	var took [2][]float64
	var ratio []float64
	for i := 0; b.Loop(); i++ {
		var mid [2]float64
		for _, j := range []int{i % 2, 1 - i%2} {
			var each []float64
			for range n {
				start := time.Now()
				if err := []func() error{base, own}[j](); err != nil {
					b.Fatal(err)
				}
				each = append(each, float64(time.Since(start).Nanoseconds())/1000)
			}
			mid[j] = median(each)
		}
		if i == 0 {
			continue // caches are filled
		}
		took[0], took[1], ratio = append(took[0], mid[0]), append(took[1], mid[1]), append(ratio, mid[1]/mid[0])
	}
	if len(ratio) == 0 {
		return
	}
	b.ReportMetric(median(took[0]), "base-µs")
	b.ReportMetric(median(took[1]), "own-µs")
	b.ReportMetric(median(ratio), "ratio")
}

// BenchmarkKMSScaleGrants compares Decrypt under a key with 50,000 grants with
// that under a key without or with one, by turns.
func BenchmarkKMSScaleGrants(b *testing.B) {
	defer HoldHeap()()
	s, admin := startServerWith(b, Config{DataDir: filepath.Join(b.TempDir(), "data"), KMSQuotas: "off"})
	user := benchUser(b, admin, "grantee")
	account := s.firstAccount()
	context := func(i int) map[string]string { return map[string]string{"plot": fmt.Sprint(i)} }
	grant := func(key string, i int, grantee string, c *kmsapi.GrantConstraints) error {
		_, err := protocol.Call(asRoot(s), s.registry, kmsapi.CreateGrant, &kmsapi.CreateGrantInput{
			KeyId: key, GranteePrincipal: &grantee, Operations: []kmsapi.GrantOperation{"Decrypt", "GenerateDataKey"}, Constraints: c,
		})
		return err
	}
	blob := func(key string, ec map[string]string) []byte {
		out, err := client.Call(b.Context(), admin, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: key, Plaintext: []byte("p"), EncryptionContext: ec})
		if err != nil {
			b.Fatal(err)
		}
		return out.CiphertextBlob
	}
	decrypt := func(c *client.Client, key string, ec map[string]string) func() error {
		in := &kmsapi.DecryptInput{CiphertextBlob: blob(key, ec), EncryptionContext: ec}
		return func() error { return send(c, kmsapi.Decrypt.Operation, in) }
	}
	bare := makeKey(b, s)
	few := makeKey(b, s)
	if err := grant(few, 0, user.arn, &kmsapi.GrantConstraints{EncryptionContextSubset: context(7)}); err != nil {
		b.Fatal(err)
	}
	// Grants to many principals: sessions need not exist to be named.
	spread := makeKey(b, s)
	inParallel(b, manyGrants, func(i int) error {
		return grant(spread, i, fmt.Sprintf("arn:aws:sts::%s:federated-user/u%d", account, i), nil)
	})
	b.Run("to-many/by-policy", func(b *testing.B) {
		compareTurns(b, 200, decrypt(admin, bare, nil), decrypt(admin, spread, nil))
	})
	// All to one principal, each for a context of its own.
	heaped := makeKey(b, s)
	inParallel(b, manyGrants, func(i int) error {
		return grant(heaped, i, user.arn, &kmsapi.GrantConstraints{EncryptionContextSubset: context(i)})
	})
	b.Run("to-one/by-grant", func(b *testing.B) {
		compareTurns(b, 200, decrypt(user.client, few, context(7)), decrypt(user.client, heaped, context(manyGrants/2)))
	})
	b.Run("to-one/by-policy", func(b *testing.B) {
		compareTurns(b, 200, decrypt(admin, bare, nil), decrypt(admin, heaped, nil))
	})
}

type benchPrincipal struct {
	arn    string
	client *client.Client
}

// benchUser makes an IAM user that may do nothing.
func benchUser(b *testing.B, admin *client.Client, name string) benchPrincipal {
	b.Helper()
	u, err := client.Call(b.Context(), admin, iamapi.CreateUser, &iamapi.CreateUserInput{UserName: name})
	if err != nil {
		b.Fatal(err)
	}
	k, err := client.Call(b.Context(), admin, iamapi.CreateAccessKey, &iamapi.CreateAccessKeyInput{UserName: &name})
	if err != nil {
		b.Fatal(err)
	}
	return benchPrincipal{arn: u.User.Arn, client: admin.As(sigv4.Credential{AccessKeyID: k.AccessKey.AccessKeyId, Secret: k.AccessKey.SecretAccessKey})}
}

// BenchmarkKMSBesideRSA is the latency of GenerateDataKey at 1,000 requests a
// second, open loop, alone and while RSA_4096 keys are made without a pause. Both
// take turns of two seconds.
func BenchmarkKMSBesideRSA(b *testing.B) {
	defer HoldHeap()()
	maker, err := rsakey.New()
	if err != nil {
		b.Fatal(err)
	}
	s, c := startServerWith(b, Config{DataDir: filepath.Join(b.TempDir(), "data"), MakeRSA: maker.Make})
	id := makeKey(b, s)
	in := &kmsapi.GenerateDataKeyInput{KeyId: id, KeySpec: kmsapi.DataKeySpecAes256}
	var p50s, p99s [2][]float64
	var ratios []float64
	var made atomic.Int64
	for i := 0; b.Loop(); i++ {
		var p99 [2]float64
		for _, beside := range []int{i % 2, 1 - i%2} {
			ctx, stop := context.WithCancel(context.Background())
			var wg sync.WaitGroup
			if beside == 1 {
				for range 4 {
					wg.Go(func() {
						for ctx.Err() == nil {
							_, err := client.Call(ctx, c, kmsapi.CreateKey, &kmsapi.CreateKeyInput{KeySpec: "RSA_4096", KeyUsage: "SIGN_VERIFY"})
							if err == nil {
								made.Add(1)
							}
						}
					})
				}
				time.Sleep(100 * time.Millisecond)
			}
			all := openLoop(b, c, 1000, 2*time.Second, kmsapi.GenerateDataKey.Operation, in)
			stop()
			wg.Wait()
			slices.Sort(all)
			p50s[beside] = append(p50s[beside], micro(all[len(all)/2]))
			p99[beside] = micro(all[len(all)*99/100])
			p99s[beside] = append(p99s[beside], p99[beside])
		}
		ratios = append(ratios, p99[1]/p99[0])
	}
	b.ReportMetric(median(p50s[0]), "alone-p50-µs")
	b.ReportMetric(median(p99s[0]), "alone-p99-µs")
	b.ReportMetric(median(p50s[1]), "beside-p50-µs")
	b.ReportMetric(median(p99s[1]), "beside-p99-µs")
	b.ReportMetric(median(ratios), "p99-ratio")
	b.ReportMetric(float64(made.Load()), "keys-made")
}

func micro(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// openLoop sends requests at a rate whatever the answers do, and returns the
// latencies from the instants at which they were due.
func openLoop(b *testing.B, c *client.Client, rate int, span time.Duration, op *schema.Operation, in any) []time.Duration {
	b.Helper()
	n := int(span.Seconds() * float64(rate))
	all := make([]time.Duration, n)
	var wg sync.WaitGroup
	start := time.Now()
	for i := range n {
		due := start.Add(time.Duration(i) * time.Second / time.Duration(rate))
		time.Sleep(time.Until(due))
		wg.Go(func() {
			if err := send(c, op, in); err != nil {
				b.Error(err)
			}
			all[i] = time.Since(due)
		})
	}
	wg.Wait()
	if b.Failed() {
		b.FailNow()
	}
	return all
}
