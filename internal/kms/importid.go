package kms

import (
	"bytes"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"math/big"
)

// importedID is the id of imported material in one of its forms: the same for the
// same form in the same key, in every Region.
func importedID(k *keyRow, form []byte) string {
	h := hmac.New(sha256.New, k.ImportSalt)
	h.Write([]byte("sagekeep kms imported material v1|" + k.ID + "|" + string(k.Spec) + "|"))
	h.Write(form)
	return hex.EncodeToString(h.Sum(nil))
}

// encodings returns every PKCS #8 encoding under which a private key, or a MAC key
// as it is, may have been imported: the one to keep first, which is the same
// however the key came. An RSA key has several: its exponent counts modulo
// lcm(p-1, q-1) or (p-1)(q-1), which may be the same, and either prime may come
// first. The caller clears them.
//
// Source: RFC 8017, section 3.2 and appendix A.1.2; FIPS 186-5, section A.1.1, for
// the exponent to keep.
func encodings(key any) ([][]byte, error) {
	plain, err := encodePrivate(key)
	if err != nil {
		return nil, fmt.Errorf("kms: encode private key: %w", err)
	}
	r, ok := key.(*rsa.PrivateKey)
	if !ok || len(r.Primes) != 2 {
		return [][]byte{plain}, nil
	}
	one := big.NewInt(1)
	p, q := r.Primes[0], r.Primes[1]
	if p.Cmp(q) < 0 {
		p, q = q, p
	}
	p1, q1 := new(big.Int).Sub(p, one), new(big.Int).Sub(q, one)
	phi := new(big.Int).Mul(p1, q1)
	gcd := new(big.Int).GCD(nil, nil, p1, q1)
	lambda := new(big.Int).Quo(phi, gcd)
	defer wipe(p1, q1, phi, gcd, lambda)
	var all [][]byte
	for _, modulus := range []*big.Int{lambda, phi} {
		d := new(big.Int).ModInverse(big.NewInt(int64(r.E)), modulus)
		if d == nil {
			return [][]byte{plain}, nil // package crypto/rsa reads no such key
		}
		for _, primes := range [][2]*big.Int{{p, q}, {q, p}} {
			der, err := encodeRSA(r, d, primes[0], primes[1])
			if err != nil {
				return nil, err
			}
			all = append(all, der)
		}
		wipe(d)
	}
	for _, der := range all {
		if bytes.Equal(der, plain) {
			clear(plain)
			return all, nil
		}
	}
	return append(all, plain), nil
}

// pkcs1 is an RSAPrivateKey of two primes.
//
// Source: RFC 8017, appendix A.1.2.
type pkcs1 struct {
	Version                  int
	N                        *big.Int
	E                        int
	D, P, Q, DP, DQ, Inverse *big.Int
}

var (
	oidRSA  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	derNull = []byte{asn1.TagNull, 0}
)

// encodeRSA is encodePrivate for a given exponent and order of the primes.
func encodeRSA(key *rsa.PrivateKey, d, p, q *big.Int) ([]byte, error) {
	one := big.NewInt(1)
	dp, dq := new(big.Int).Sub(p, one), new(big.Int).Sub(q, one)
	dp.Mod(d, dp)
	dq.Mod(d, dq)
	inverse := new(big.Int).ModInverse(q, p)
	defer wipe(dp, dq, inverse)
	inner, err := asn1.Marshal(pkcs1{N: key.N, E: key.E, D: d, P: p, Q: q, DP: dp, DQ: dq, Inverse: inverse})
	if err != nil {
		return nil, fmt.Errorf("kms: encode RSA key: %w", err)
	}
	defer clear(inner)
	return asn1.Marshal(pkcs8{
		Algorithm:  pkix.AlgorithmIdentifier{Algorithm: oidRSA, Parameters: asn1.RawValue{FullBytes: derNull}},
		PrivateKey: inner,
	})
}

// wipe overwrites numbers that tell of a private key.
func wipe(numbers ...*big.Int) {
	for _, n := range numbers {
		if n != nil {
			clear(n.Bits())
		}
	}
}
