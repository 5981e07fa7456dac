package externalmu

import (
	"bytes"
	"crypto/rand"
	"crypto/sha3"
	"fmt"
	"testing"

	"filippo.io/mldsa"
	"filippo.io/mldsa/mldsacrypto"
	"github.com/cloudflare/circl/sign"
	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/cloudflare/circl/sign/mldsa/mldsa87"
)

// sets are the parameter sets, as two other implementations know them.
var sets = []struct {
	here  mldsa.Parameters
	there sign.Scheme
}{
	{mldsa.MLDSA44(), mldsa44.Scheme()},
	{mldsa.MLDSA65(), mldsa65.Scheme()},
	{mldsa.MLDSA87(), mldsa87.Scheme()},
}

// representative computes μ of a message without context.
func representative(public, message []byte) []byte {
	h := sha3.NewSHAKE256()
	h.Write(public)
	tr := make([]byte, 64)
	h.Read(tr)
	h.Reset()
	h.Write(tr)
	h.Write([]byte{0, 0})
	h.Write(message)
	mu := make([]byte, Size)
	h.Read(mu)
	return mu
}

func TestVerify(t *testing.T) {
	t.Parallel()
	for _, set := range sets {
		t.Run(set.here.String(), func(t *testing.T) {
			t.Parallel()
			seed := make([]byte, mldsa.PrivateKeySize)
			rand.Read(seed)
			key, err := mldsa.NewPrivateKey(set.here, seed)
			if err != nil {
				t.Fatal(err)
			}
			_, other := set.there.DeriveKey(seed)
			public := key.PublicKey().Bytes()
			for i := range 8 {
				message := fmt.Append(nil, "message ", i)
				mu := representative(public, message)
				whole, err := key.Sign(nil, message, nil)
				if err != nil {
					t.Fatal(err)
				}
				external, err := key.Sign(nil, mu, mldsacrypto.MLDSAMu)
				if err != nil {
					t.Fatal(err)
				}
				for by, sig := range map[string][]byte{"of the message": whole, "of mu": external, "by another library": set.there.Sign(other, message, nil)} {
					if !Verify(public, mu, sig) {
						t.Errorf("a signature %s does not verify", by)
					}
					if Verify(public, representative(public, []byte("other")), sig) {
						t.Errorf("a signature %s verifies for another message", by)
					}
					for _, at := range []int{0, 40, len(sig) / 2, len(sig) - 90, len(sig) - 9, len(sig) - 1} {
						bad := bytes.Clone(sig)
						bad[at] ^= 1 << (i % 8)
						if Verify(public, mu, bad) {
							t.Errorf("a signature %s verifies with a change at %d", by, at)
						}
					}
				}
			}
		})
	}
}

func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	key, err := mldsa.NewPrivateKey(mldsa.MLDSA44(), make([]byte, mldsa.PrivateKeySize))
	if err != nil {
		t.Fatal(err)
	}
	public := key.PublicKey().Bytes()
	mu := make([]byte, Size)
	sig, err := key.SignDeterministic(mu, mldsacrypto.MLDSAMu)
	if err != nil {
		t.Fatal(err)
	}
	if !Verify(public, mu, sig) {
		t.Fatal("a good signature does not verify")
	}
	p, _ := parametersOf(public)
	edit := func(fn func(hints []byte)) []byte {
		b := bytes.Clone(sig)
		fn(b[len(b)-p.omega-p.k:])
		return b
	}
	for name, c := range map[string]struct{ public, mu, sig []byte }{
		"no key":             {nil, mu, sig},
		"short key":          {public[1:], mu, sig},
		"key of another set": {make([]byte, 1952), mu, sig},
		"no mu":              {public, nil, sig},
		"long mu":            {public, make([]byte, 65), sig},
		"no signature":       {public, mu, nil},
		"short signature":    {public, mu, sig[:len(sig)-1]},
		"long signature":     {public, mu, append(bytes.Clone(sig), 0)},
		"large z":            {public, mu, append(bytes.Repeat([]byte{0}, len(sig)-p.omega-p.k), sig[len(sig)-p.omega-p.k:]...)},
		"hints that repeat":  {public, mu, edit(func(h []byte) { h[1] = h[0] })},
		"hints out of bound": {public, mu, edit(func(h []byte) { h[p.omega+p.k-1] = byte(p.omega) + 1 })},
		"hints that shrink":  {public, mu, edit(func(h []byte) { h[p.omega+1] = 0 })},
		"padding that is no zero": {public, mu, edit(func(h []byte) {
			if int(h[p.omega+p.k-1]) == p.omega {
				t.Fatal("the hint is full")
			}
			h[p.omega-1] = 255
		})},
	} {
		if Verify(c.public, c.mu, c.sig) {
			t.Errorf("%s: verifies", name)
		}
	}
}

// Decompose and UseHint as FIPS 204 writes them, for every residue that is near a
// border and some between.
func TestUseHint(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1312, 1952} {
		p, _ := parametersOf(make([]byte, size))
		g := int(p.gamma2)
		m := (q - 1) / (2 * g)
		want := func(hint bool, r int) int {
			r0 := r % (2 * g)
			if r0 > g {
				r0 -= 2 * g
			}
			r1 := 0
			if r-r0 == q-1 {
				r0--
			} else {
				r1 = (r - r0) / (2 * g)
			}
			switch {
			case hint && r0 > 0:
				return (r1 + 1) % m
			case hint:
				return (r1 + m - 1) % m
			}
			return r1
		}
		for r := range q {
			if near := r % g; near > 3 && near < g-3 && r%97 != 0 && r < q-3 {
				continue
			}
			for _, hint := range []bool{false, true} {
				if got := int(p.useHint(hint, uint32(r))); got != want(hint, r) {
					t.Fatalf("useHint(%v, %d) with gamma2 %d is %d, want %d", hint, r, g, got, want(hint, r))
				}
			}
		}
	}
}

func TestTransform(t *testing.T) {
	t.Parallel()
	var f poly
	for i := range f {
		f[i] = uint32(i*i*7919) % q
	}
	g := f
	g.ntt()
	g.inverse()
	if g != f {
		t.Error("inverse does not undo ntt")
	}
}

// Whatever the bytes are: this package says of a signature what the library that
// verifies whole messages says.
func FuzzVerify(f *testing.F) {
	var keys [][]byte
	var parsed []*mldsa.PublicKey
	message := []byte("the message")
	for i, set := range sets {
		key, err := mldsa.NewPrivateKey(set.here, bytes.Repeat([]byte{byte(i + 1)}, mldsa.PrivateKeySize))
		if err != nil {
			f.Fatal(err)
		}
		sig, err := key.SignDeterministic(message, nil)
		if err != nil {
			f.Fatal(err)
		}
		keys, parsed = append(keys, key.PublicKey().Bytes()), append(parsed, key.PublicKey())
		f.Add(i, message, sig)
		f.Add(i, []byte("other"), sig)
		f.Add(i, message, sig[:len(sig)-1])
	}
	f.Fuzz(func(t *testing.T, set int, message, sig []byte) {
		if len(message) > 4096 || len(sig) > 6144 {
			return
		}
		set = int(uint(set) % uint(len(keys)))
		want := mldsa.Verify(parsed[set], message, sig, nil) == nil
		if got := Verify(keys[set], representative(keys[set], message), sig); got != want {
			t.Fatalf("%s: Verify is %v, the library says %v", sets[set].here, got, want)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	for _, set := range sets {
		b.Run(set.here.String(), func(b *testing.B) {
			key, err := mldsa.GenerateKey(set.here)
			if err != nil {
				b.Fatal(err)
			}
			mu := make([]byte, Size)
			sig, err := key.Sign(nil, mu, mldsacrypto.MLDSAMu)
			if err != nil {
				b.Fatal(err)
			}
			public := key.PublicKey().Bytes()
			b.ReportAllocs()
			for b.Loop() {
				if !Verify(public, mu, sig) {
					b.Fatal("does not verify")
				}
			}
		})
	}
}
