package kms

import (
	"bytes"
	"crypto/aes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

// wrapped wraps key material as customers do.
func wrapped(t testing.TB, a kmsapi.AlgorithmSpec, material []byte) []byte {
	return wrapFor(t, &wrappingKey().PublicKey, a, material)
}

func wrapFor(t testing.TB, to *rsa.PublicKey, a kmsapi.AlgorithmSpec, material []byte) []byte {
	t.Helper()
	w, ok := wrappingOf(a)
	if !ok {
		t.Fatalf("no wrapping %s", a)
	}
	first := material
	var rest []byte
	if w.aes {
		first = bytes.Repeat([]byte{9}, 32)
		rest = wrapPadded(t, first, material)
	}
	out, err := rsa.EncryptOAEP(oaepHash(w.oaep), rand.Reader, to, first, nil)
	if err != nil {
		t.Fatal(err)
	}
	return append(out, rest...)
}

// wrapPadded is AES key wrap with padding, from RFC 5649, section 4.1.
func wrapPadded(t testing.TB, kek, plain []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(kek)
	if err != nil {
		t.Fatal(err)
	}
	a := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 0xa65959a6), uint32(len(plain)))
	out := append(a, plain...)
	for len(out)%8 != 0 {
		out = append(out, 0)
	}
	if len(out) == 16 {
		block.Encrypt(out, out)
		return out
	}
	return wrapBlocks(t, kek, out)
}

// RFC 5649, section 6, and what must not open.
func TestUnwrapPadded(t *testing.T) {
	t.Parallel()
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	kek := unhex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8")
	for _, c := range []struct{ plain, wrapped string }{
		{"c37b7e6492584340bed12207808941155068f738", "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a"},
		{"466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"},
	} {
		got, err := unwrapPadded(kek, unhex(c.wrapped))
		if err != nil || !bytes.Equal(got, unhex(c.plain)) {
			t.Errorf("%s: %x, %v", c.wrapped, got, err)
		}
		for i := range unhex(c.wrapped) {
			bad := unhex(c.wrapped)
			bad[i] ^= 0x10
			if got, err := unwrapPadded(kek, bad); err == nil {
				t.Errorf("byte %d changed: %x", i, got)
			}
		}
	}
	long := bytes.Repeat([]byte{5}, 32)
	for n := 1; n < 40; n++ {
		plain := bytes.Repeat([]byte{byte(n)}, n)
		got, err := unwrapPadded(long, wrapPadded(t, long, plain))
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes: %x, %v", n, got, err)
		}
	}
	for _, n := range []int{0, 8, 15, 17, 20, 25} {
		if _, err := unwrapPadded(long, make([]byte, n)); err == nil {
			t.Errorf("%d zero bytes open", n)
		}
	}
	// Padding that is not zero, and a length that is not the block's.
	forged := func(length uint32, padded []byte) []byte {
		b := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, paddedMagic), length)
		return wrapBlocks(t, long, append(b, padded...))
	}
	for name, b := range map[string][]byte{
		"padding of ones": forged(9, slices.Concat(make([]byte, 9), bytes.Repeat([]byte{1}, 7))), "no bytes": forged(0, make([]byte, 16)),
		"too long": forged(17, make([]byte, 16)), "too short": forged(8, make([]byte, 16)), "huge": forged(0xffffffff, make([]byte, 16)),
	} {
		if got, err := unwrapPadded(long, b); err == nil {
			t.Errorf("%s: %x", name, got)
		}
	}
}

// wrapBlocks wraps initial value and padded text as they are.
func wrapBlocks(t testing.TB, kek, b []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(kek)
	if err != nil {
		t.Fatal(err)
	}
	out := bytes.Clone(b)
	n := len(out)/8 - 1
	for j := range 6 {
		for i := 1; i <= n; i++ {
			x := append(bytes.Clone(out[:8]), out[8*i:8*i+8]...)
			block.Encrypt(x, x)
			binary.BigEndian.PutUint64(out, binary.BigEndian.Uint64(x)^uint64(n*j+i))
			copy(out[8*i:], x[8:])
		}
	}
	return out
}

// Of all byte strings those alone import under a token that were wrapped to its
// key, and they import as what they were.
func FuzzImport(f *testing.F) {
	x := newFixture(f)
	ecc := private(f, "ECC_NIST_P256")
	der, err := encodePrivate(ecc)
	if err != nil {
		f.Fatal(err)
	}
	public, err := encodePublic(ecc)
	if err != nil {
		f.Fatal(err)
	}
	keys := map[bool]keyRow{
		false: x.row(x.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt)), true: x.row(x.emptyKey("ECC_NIST_P256", usageSign)),
	}
	wraps := map[bool]kmsapi.AlgorithmSpec{false: wrapOAEP, true: wrapAES}
	good := map[bool][]byte{false: wrapped(f, wrapOAEP, material1), true: wrapped(f, wrapAES, der)}
	for by, b := range good {
		f.Add(b, by)
		f.Add(b[:len(b)-1], by)
		f.Add(b, !by)
		f.Add(append(bytes.Clone(b), 0), by)
	}
	kek := bytes.Repeat([]byte{9}, 32)
	f.Fuzz(func(t *testing.T, b []byte, withAES bool) {
		if len(b) > 1024 {
			return
		}
		k := keys[withAES]
		m, _, err := unwrapMaterial(&k, &importRow{Algorithm: wraps[withAES]}, wrappingKey(), b)
		switch {
		case (err == nil) != bytes.Equal(b, good[withAES]):
			t.Fatalf("%x: %v", b, err)
		case err == nil && withAES && !bytes.Equal(m.public, public), err == nil && !withAES && !bytes.Equal(m.backing.Bytes(), material1):
			t.Fatalf("%x imports as another key", b)
		}
		if len(b) == 0 {
			return
		}
		sealed := wrapPadded(t, kek, b)
		if got, err := unwrapPadded(kek, sealed); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%x opens as %x, %v", b, got, err)
		}
		sealed[len(b)%len(sealed)] ^= b[0] | 1
		if got, err := unwrapPadded(kek, sealed); err == nil {
			t.Fatalf("changed, it opens as %x", got)
		}
		if got, err := unwrapPadded(kek, b); err == nil && !bytes.Equal(wrapPadded(t, kek, got), b) {
			t.Fatalf("%x is another wrapping of %x", b, got)
		}
	})
}
