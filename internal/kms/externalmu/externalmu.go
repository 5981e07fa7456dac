// Package externalmu verifies ML-DSA signatures of a message representative μ
// that was computed elsewhere. The library that signs takes such a μ, but
// verifies whole messages only.
//
// Verification handles public values alone, so nothing here runs in constant
// time. Signatures of whole messages are never verified here.
//
// Source: FIPS 204, algorithm 8, from step 8 on; RFC 9881, appendix D.
package externalmu

import (
	"bytes"
	"crypto/sha3"
)

// Size is the length of μ, in bytes.
const Size = 64

const (
	n = 256 // coefficients of a polynomial
	q = 8380417
	d = 13 // dropped bits of t
)

// poly is a polynomial over the integers modulo q, coefficients in [0, q).
type poly [n]uint32

// parameters is one of the three sets of FIPS 204, table 1.
type parameters struct {
	k, l     int
	tau      int // coefficients of c that are not zero
	tilde    int // length of the commitment hash, in bytes
	gamma1   int // as a power of two
	gamma2   uint32
	beta     uint32
	omega    int  // ones in the hint
	w1Bits   uint // bits of a coefficient of w1
	signSize int
}

// parametersOf finds the set by the length of an encoded public key.
func parametersOf(public []byte) (p parameters, ok bool) {
	switch len(public) {
	case 1312:
		p = parameters{k: 4, l: 4, tau: 39, tilde: 32, gamma1: 17, gamma2: (q - 1) / 88, beta: 78, omega: 80, w1Bits: 6}
	case 1952:
		p = parameters{k: 6, l: 5, tau: 49, tilde: 48, gamma1: 19, gamma2: (q - 1) / 32, beta: 196, omega: 55, w1Bits: 4}
	case 2592:
		p = parameters{k: 8, l: 7, tau: 60, tilde: 64, gamma1: 19, gamma2: (q - 1) / 32, beta: 120, omega: 75, w1Bits: 4}
	default:
		return p, false
	}
	p.signSize = p.tilde + p.l*n/8*(p.gamma1+1) + p.omega + p.k
	return p, true
}

// Verify reports whether signature is one of μ by the public key, which is
// encoded as in FIPS 204: its length tells which of the parameter sets it is of.
func Verify(public, mu, signature []byte) bool {
	p, ok := parametersOf(public)
	if !ok || len(mu) != Size || len(signature) != p.signSize {
		return false
	}
	tilde, rest := signature[:p.tilde], signature[p.tilde:]
	z, rest, ok := p.unpackZ(rest)
	if !ok {
		return false
	}
	hints, ok := p.unpackHints(rest)
	if !ok {
		return false
	}
	for i := range z {
		z[i].ntt()
	}
	c := p.sampleInBall(tilde)
	c.ntt()
	h := sha3.NewSHAKE256()
	h.Write(mu)
	packed := make([]byte, 0, n)
	for i := range p.k {
		w := p.product(public, i, z, &c)
		packed = packed[:0]
		var bits, count uint
		for j := range n {
			bits |= uint(p.useHint(hints[i][j], w[j])) << count
			for count += p.w1Bits; count >= 8; count -= 8 {
				packed, bits = append(packed, byte(bits)), bits>>8
			}
		}
		h.Write(packed)
	}
	again := make([]byte, p.tilde)
	h.Read(again)
	return bytes.Equal(tilde, again)
}

// product returns row i of A·z − c·t1·2^d; z and c are transformed.
func (p *parameters) product(public []byte, i int, z []poly, c *poly) poly {
	rho, t1 := public[:32], public[32+320*i:32+320*(i+1)]
	var w, t poly
	for j := range n {
		bit := 10 * j
		t[j] = (uint32(t1[bit/8]) | uint32(t1[bit/8+1])<<8) >> (bit % 8) & 0x3ff << d
	}
	t.ntt()
	for j := range p.l {
		a := expand(rho, byte(j), byte(i))
		for x := range n {
			w[x] = add(w[x], mul(a[x], z[j][x]))
		}
	}
	for x := range n {
		w[x] = sub(w[x], mul(c[x], t[x]))
	}
	w.inverse()
	return w
}

// expand samples an entry of the matrix A, which is in the transformed domain.
//
// Source: FIPS 204, algorithms 30 and 32.
func expand(rho []byte, column, row byte) poly {
	h := sha3.NewSHAKE128()
	h.Write(rho)
	h.Write([]byte{column, row})
	var a poly
	var block [168]byte // the rate of SHAKE128, a multiple of 3
	for i := 0; i < n; {
		h.Read(block[:])
		for b := block[:]; len(b) > 0 && i < n; b = b[3:] {
			if v := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2]&0x7f)<<16; v < q {
				a[i] = v
				i++
			}
		}
	}
	return a
}

// sampleInBall turns the commitment hash into the challenge.
//
// Source: FIPS 204, algorithm 29.
func (p *parameters) sampleInBall(tilde []byte) poly {
	h := sha3.NewSHAKE256()
	h.Write(tilde)
	var signs [8]byte
	h.Read(signs[:])
	var c poly
	var j [1]byte
	for i := n - p.tau; i < n; i++ {
		for h.Read(j[:]); int(j[0]) > i; {
			h.Read(j[:])
		}
		c[i] = c[j[0]]
		c[j[0]] = 1
		if at := i + p.tau - n; signs[at/8]>>(at%8)&1 == 1 {
			c[j[0]] = q - 1
		}
	}
	return c
}

// unpackZ reads the response, whose coefficients must be small.
func (p *parameters) unpackZ(b []byte) (z []poly, rest []byte, ok bool) {
	width := p.gamma1 + 1
	gamma1 := uint32(1) << p.gamma1
	z = make([]poly, p.l)
	for i := range z {
		var bits uint64
		count := 0
		for j := range n {
			for ; count < width; count += 8 {
				bits |= uint64(b[0]) << count
				b = b[1:]
			}
			v := uint32(bits & (1<<width - 1))
			bits, count = bits>>width, count-width
			// The coefficient is gamma1 − v, and its absolute value below gamma1 − beta.
			if v <= p.beta || v >= 2*gamma1-p.beta {
				return nil, nil, false
			}
			z[i][j] = sub(gamma1, v)
		}
	}
	return z, b, true
}

// unpackHints reads the hint, of which only one encoding is valid.
//
// Source: FIPS 204, algorithm 21.
func (p *parameters) unpackHints(b []byte) (hints [][n]bool, ok bool) {
	hints = make([][n]bool, p.k)
	at := 0
	for i := range hints {
		end := int(b[p.omega+i])
		if end < at || end > p.omega {
			return nil, false
		}
		for first := at; at < end; at++ {
			if at > first && b[at-1] >= b[at] {
				return nil, false
			}
			hints[i][b[at]] = true
		}
	}
	for _, v := range b[at:p.omega] {
		if v != 0 {
			return nil, false
		}
	}
	return hints, true
}

// useHint returns the high bits of r, corrected by the hint.
//
// Source: FIPS 204, algorithms 36 and 40.
func (p *parameters) useHint(hint bool, r uint32) uint32 {
	alpha := 2 * p.gamma2
	m := (q - 1) / alpha
	low := r % alpha // r0 when it is at most gamma2, r0 + alpha otherwise
	high := r / alpha
	positive := low > 0 && low <= p.gamma2
	if low > p.gamma2 {
		high++
	}
	if high == m { // r − r0 is q − 1: high bits 0, and r0 one less
		high, positive = 0, false
	}
	switch {
	case !hint:
		return high
	case positive:
		return (high + 1) % m
	}
	return (high + m - 1) % m
}

func add(a, b uint32) uint32 { return (a + b) % q }

func sub(a, b uint32) uint32 { return (a + q - b) % q }

func mul(a, b uint32) uint32 { return uint32(uint64(a) * uint64(b) % q) }

// ntt transforms in place.
//
// Source: FIPS 204, algorithm 41.
func (f *poly) ntt() {
	m := 0
	for length := n / 2; length >= 1; length /= 2 {
		for start := 0; start < n; start += 2 * length {
			m++
			for j := start; j < start+length; j++ {
				t := mul(zetas[m], f[j+length])
				f[j], f[j+length] = add(f[j], t), sub(f[j], t)
			}
		}
	}
}

// inverse undoes ntt.
//
// Source: FIPS 204, algorithm 42.
func (f *poly) inverse() {
	m := n
	for length := 1; length < n; length *= 2 {
		for start := 0; start < n; start += 2 * length {
			m--
			for j := start; j < start+length; j++ {
				a, b := f[j], f[j+length]
				f[j], f[j+length] = add(a, b), mul(q-zetas[m], sub(a, b))
			}
		}
	}
	const ofN = 8347681 // 1/256
	for j := range f {
		f[j] = mul(f[j], ofN)
	}
}

// zetas are the powers of the 512th root of unity 1753, in bit-reversed order.
var zetas = func() (z [n]uint32) {
	power := uint32(1)
	for i := range n {
		at := 0
		for bit := range 8 {
			at |= i >> bit & 1 << (7 - bit)
		}
		z[at] = power
		power = mul(power, 1753)
	}
	return z
}()
