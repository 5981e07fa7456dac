package kms

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

// BenchmarkUse is the cost of one request of each kind, without its transport.
func BenchmarkUse(b *testing.B) {
	for _, u := range keyUses {
		b.Run(u.operation+"/"+string(u.spec), func(b *testing.B) {
			f := newFixture(b)
			id := f.newKey(u.spec, u.usage)
			var given []byte
			if u.prepare != nil {
				given = u.prepare(f, id)
			}
			ctx := f.admin()
			b.ReportAllocs()
			for b.Loop() {
				if err := u.run(ctx, f, id, given, nil, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSign is the cost of a signature by key spec.
func BenchmarkSign(b *testing.B) {
	for _, name := range []kmsapi.KeySpec{
		"RSA_2048", "RSA_3072", "RSA_4096", "ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521", "ECC_SECG_P256K1", "ECC_NIST_EDWARDS25519", "ML_DSA_44", "ML_DSA_65", "ML_DSA_87",
	} {
		b.Run(string(name), func(b *testing.B) {
			f := newFixture(b)
			id, ctx := f.newKey(name, usageSign), f.admin()
			sp, _ := specOf(name)
			in := kmsapi.SignInput{KeyId: id, Message: []byte("m"), SigningAlgorithm: sp.signing[0]}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := try(ctx, f, kmsapi.Sign, &in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDataKeyBesideRSA is the latency of GenerateDataKey alone and while
// others ask for RSA_4096 key pairs without a pause.
func BenchmarkDataKeyBesideRSA(b *testing.B) {
	for name, others := range map[string]int{"alone": 0, "beside": 8} {
		b.Run(name, func(b *testing.B) {
			f := newFixture(b)
			id := f.key("")
			ctx, stop := context.WithCancel(f.admin())
			var wg sync.WaitGroup
			for range others {
				wg.Go(func() {
					for ctx.Err() == nil {
						_, _ = try(ctx, f, kmsapi.GenerateDataKeyPair, &kmsapi.GenerateDataKeyPairInput{KeyId: id, KeyPairSpec: "RSA_4096"})
					}
				})
			}
			var took []time.Duration
			for b.Loop() {
				start := time.Now()
				if _, err := try(ctx, f, kmsapi.GenerateDataKey, &kmsapi.GenerateDataKeyInput{KeyId: id, KeySpec: "AES_256"}); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
			}
			stop()
			wg.Wait()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
}
