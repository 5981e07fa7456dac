package kms

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/sagekeep/sagekeep/internal/secret"
	"github.com/sagekeep/sagekeep/internal/xks"
)

// The ciphertext blob, version 1 (docs/formats/kms-ciphertext.md):
//
//	0   version, 1
//	1   flags: bit 0 = the key is multi-Region
//	2   key id, 16 bytes
//	18  first 8 bytes of the key material id
//	26  nonce of the per-message key, 16 bytes
//	42  GCM nonce (12), ciphertext, tag (16)
//
// Bytes 0-41 and the canonical encryption context are authenticated.
const (
	blobVersion    = 1
	blobHeaderSize = 42
	blobOverhead   = blobHeaderSize + 12 + 16
	blobMRK        = 1
	materialHint   = 8
	messageNonce   = 16
	// maxPlaintext is the most that Encrypt takes, in bytes; maxBlob is what
	// Decrypt takes.
	maxPlaintext = 4096
	maxBlob      = 6144
)

// errBlob is what the caller sees as InvalidCiphertextException: it never says
// whether the blob, the context or the key was wrong.
var errBlob = errors.New("kms: the ciphertext does not open")

// blob is a parsed ciphertext.
type blob struct {
	keyID    string
	material [materialHint]byte
	nonce    [messageNonce]byte
	header   []byte // bytes 0-41
	sealed   []byte
	// external is what the proxy of an external key store made, nil for others;
	// sealed is what it opens to.
	external *xks.Ciphertext
}

// parseBlob reads the header of a ciphertext.
func parseBlob(b []byte) (blob, error) {
	if len(b) < blobOverhead || len(b) > maxBlob || b[0] != blobVersion && b[0] != blobExternal || b[1]&^blobMRK != 0 || b[0] == blobExternal && b[1] != 0 {
		return blob{}, errBlob
	}
	var external *xks.Ciphertext
	if b[0] == blobExternal {
		var err error
		if external, err = parseExternal(b); err != nil {
			return blob{}, err
		}
	}
	return blob{
		external: external,
		keyID:    keyIDText([16]byte(b[2:18]), b[1]&blobMRK != 0),
		material: [materialHint]byte(b[18:26]),
		nonce:    [messageNonce]byte(b[26:42]),
		header:   b[:blobHeaderSize],
		sealed:   b[blobHeaderSize:],
	}, nil
}

// sealBlob encrypts plaintext under the backing key for the encryption context.
func sealBlob(hbk secret.Key, keyID, material string, ec map[string]string, plaintext []byte) ([]byte, error) {
	out, err := newHeader(blobVersion, keyID, material, blobOverhead+len(plaintext))
	if err != nil {
		return nil, err
	}
	aead, err := messageKey(hbk, out[26:42])
	if err != nil {
		return nil, err
	}
	return aead.Seal(out, nil, plaintext, blobAAD(out[:blobHeaderSize], ec)), nil
}

// newHeader makes the header of a blob with a new nonce, in a slice with room for
// size bytes.
func newHeader(version byte, keyID, material string, size int) ([]byte, error) {
	id, mrk, ok := keyIDBytes(keyID)
	hint, err := hex.DecodeString(material)
	if !ok || err != nil || len(hint) < materialHint {
		return nil, fmt.Errorf("kms: bad key id %q or material id", keyID)
	}
	out := make([]byte, blobHeaderSize, size)
	out[0] = version
	if mrk {
		out[1] = blobMRK
	}
	copy(out[2:], id[:])
	copy(out[18:], hint[:materialHint])
	rand.Read(out[26:42])
	return out, nil
}

// open decrypts a parsed blob, or returns errBlob.
func (b *blob) open(hbk secret.Key, ec map[string]string) ([]byte, error) {
	aead, err := messageKey(hbk, b.nonce[:])
	if err != nil {
		return nil, err
	}
	p, err := aead.Open(nil, nil, b.sealed, blobAAD(b.header, ec))
	if err != nil {
		return nil, errBlob
	}
	return p, nil
}

// messageKey derives the AES-256 key of one message: SP 800-108 in counter mode
// with HMAC-SHA-256, one block, so that no key ever sees many random nonces.
//
// Source: NIST SP 800-108r1, section 4.1; AWS KMS Cryptographic Details.
func messageKey(hbk secret.Key, nonce []byte) (cipher.AEAD, error) {
	const label = "sagekeep kms message key v1"
	h := hmac.New(sha256.New, hbk.Bytes())
	var in [4 + len(label) + 1 + messageNonce + 4]byte
	binary.BigEndian.PutUint32(in[:], 1)
	n := 4 + copy(in[4:], label) + 1 // a zero byte separates label and context
	n += copy(in[n:], nonce)
	binary.BigEndian.PutUint32(in[n:], 256)
	h.Write(in[:])
	var key [sha256.Size]byte
	block, err := aes.NewCipher(h.Sum(key[:0]))
	clear(key[:])
	if err != nil {
		return nil, fmt.Errorf("kms: AES: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("kms: GCM: %w", err)
	}
	return aead, nil
}

// blobAAD is the header and the canonical encryption context: the number of
// pairs, then the pairs sorted by key, each part behind its length.
func blobAAD(header []byte, ec map[string]string) []byte {
	out := append([]byte(nil), header...)
	out = binary.BigEndian.AppendUint32(out, uint32(len(ec)))
	names := make([]string, 0, len(ec))
	for k := range ec {
		names = append(names, k)
	}
	slices.Sort(names)
	for _, k := range names {
		for _, s := range [2]string{k, ec[k]} {
			out = binary.BigEndian.AppendUint32(out, uint32(len(s)))
			out = append(out, s...)
		}
	}
	return out
}
