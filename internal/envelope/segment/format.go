// Package segment reads and writes SGK1, the encrypted form of an object's
// bytes: a header, then chunks of 64 KiB that are sealed one by one, so that a
// range can be read without the rest and a stream of any length is sealed in
// constant memory. docs/formats/sgk1.md has the byte offsets.
//
// A segment has a service-owned layer and, inside it, optionally a layer under
// a customer managed key: invariant I1 wants the second on top of the first,
// never in its place. Each layer has a key and a key commitment of its own.
//
// What holds for every reader:
//
//  1. No byte is released before the chunk it lies in was authenticated, with
//     its position, its being the last one or not, and the header.
//  2. A segment cut at any byte, chunk boundaries included, does not open: the
//     final chunk is authenticated when the reader is made.
//  3. A segment opens under its own identifier, keys and context alone.
package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// ChunkSize is the number of plaintext bytes in every chunk but the last,
	// which holds 0 to ChunkSize, and 0 only in an empty segment.
	ChunkSize = 1 << chunkLog2
	// MaxSize is the greatest plaintext length of a segment in bytes (1 TiB):
	// 2^24 random nonces under one key, far below the 2^32 that NIST SP 800-38D
	// section 8.3 allows.
	MaxSize = 1 << 40

	magic     = "SGK1"
	version   = 1
	suite     = 1 // AES-256-GCM with random nonces, HKDF-SHA-512, 32-byte commitment
	chunkLog2 = 16

	layerOverhead = 12 + 16 // nonce and tag
	fixedHeader   = 32      // the header before the commitments
	commitment    = 32
	maxLayers     = 2
	maxHeader     = fixedHeader + maxLayers*commitment
	maxAAD        = maxHeader + 4 + 1
)

var (
	// ErrWrongKey says that a key, the context, or the number of layers is not
	// what the segment was written with. Nothing was decrypted.
	ErrWrongKey = errors.New("segment: wrong key or context")
	// ErrDamaged says that the segment is not whole and genuine: bytes were
	// changed, moved, cut or added, or it is another segment than was asked for.
	ErrDamaged = errors.New("segment: damaged")
	// ErrUnsupported says that a newer program wrote the segment.
	ErrUnsupported = errors.New("segment: newer format")
	// ErrTooLarge says that more than MaxSize bytes were written.
	ErrTooLarge = errors.New("segment: too large")
)

// headerSize returns the length of a header with so many layers.
func headerSize(layers int) int64 { return int64(fixedHeader + layers*commitment) }

// SealedSize returns the length of a segment whose plaintext has plain bytes
// (0 to MaxSize) and which has the given number of layers (1 or 2).
func SealedSize(plain int64, layers int) int64 {
	return headerSize(layers) + plain + chunks(plain)*int64(layers)*layerOverhead
}

// PlainSize is the inverse of SealedSize. It fails with ErrDamaged for a length
// that no segment has.
func PlainSize(sealedSize int64, layers int) (int64, error) {
	if layers < 1 || layers > maxLayers {
		return 0, fmt.Errorf("segment: %d layers: there are 1 or %d", layers, maxLayers)
	}
	overhead := int64(layers) * layerOverhead
	body := sealedSize - headerSize(layers)
	if body < overhead || sealedSize > SealedSize(MaxSize, layers) {
		return 0, fmt.Errorf("%w: no segment has %d bytes", ErrDamaged, sealedSize)
	}
	n := (body + ChunkSize + overhead - 1) / (ChunkSize + overhead)
	plain := body - n*overhead
	// A last chunk without a whole nonce, tag and first byte has no place after
	// another one.
	if plain < 0 || chunks(plain) != n {
		return 0, fmt.Errorf("%w: no segment has %d bytes", ErrDamaged, sealedSize)
	}
	return plain, nil
}

// chunks returns the number of chunks of a plaintext length.
func chunks(plain int64) int64 { return max(1, (plain+ChunkSize-1)/ChunkSize) }

// header is the parsed start of a segment.
type header struct {
	layers      int
	id          ID
	commitments [maxLayers][commitment]byte // service, customer
}

// append adds the encoded header to b.
func (h *header) append(b []byte) []byte {
	b = append(b, magic...)
	b = append(b, version, suite, chunkLog2, byte(h.layers))
	b = append(b, make([]byte, 8)...) // reserved
	b = append(b, h.id[:]...)
	for i := range h.layers {
		b = append(b, h.commitments[i][:]...)
	}
	return b
}

// parseHeader reads the header at the start of b.
func parseHeader(b []byte) (header, error) {
	var h header
	if len(b) < fixedHeader || string(b[:4]) != magic {
		return h, fmt.Errorf("%w: not a segment", ErrDamaged)
	}
	switch {
	case b[4] == 0:
		return h, fmt.Errorf("%w: version 0", ErrDamaged)
	case b[4] > version:
		return h, fmt.Errorf("%w: version %d, this program reads up to %d", ErrUnsupported, b[4], version)
	case b[5] != suite:
		return h, fmt.Errorf("%w: suite %d", ErrUnsupported, b[5])
	case b[6] != chunkLog2:
		return h, fmt.Errorf("%w: chunks of 2^%d bytes", ErrUnsupported, b[6])
	case b[7] < 1 || b[7] > maxLayers:
		return h, fmt.Errorf("%w: %d layers", ErrUnsupported, b[7])
	case binary.BigEndian.Uint64(b[8:]) != 0:
		return h, fmt.Errorf("%w: reserved bytes are set", ErrDamaged)
	}
	h.layers = int(b[7])
	if int64(len(b)) < headerSize(h.layers) {
		return h, fmt.Errorf("%w: the header is cut", ErrDamaged)
	}
	copy(h.id[:], b[16:])
	for i := range h.layers {
		copy(h.commitments[i][:], b[fixedHeader+i*commitment:])
	}
	return h, nil
}

// aad is the additional data of a chunk: header, index, final flag.
type aad struct {
	b [maxAAD]byte
	n int // length of the header
}

func newAAD(h *header) *aad {
	a := new(aad)
	a.n = len(h.append(a.b[:0]))
	return a
}

// chunk sets index and flag, and returns the bytes, valid until the next call.
func (a *aad) chunk(index int64, final bool) []byte {
	binary.BigEndian.PutUint32(a.b[a.n:], uint32(index)) // MaxSize keeps it below 2^24
	a.b[a.n+4] = 0
	if final {
		a.b[a.n+4] = 1
	}
	return a.b[:a.n+5]
}
