package kms

import (
	"crypto/sha256"
	"fmt"

	"github.com/sagekeep/sagekeep/internal/secret"
	"github.com/sagekeep/sagekeep/internal/xks"
)

// The ciphertext blob of keys in external key stores, version 2
// (docs/formats/kms-ciphertext.md):
//
//	0   version, 2
//	1   flags, 0
//	2   key id, material id and nonce as in version 1
//	42  length of the proxy's metadata, 0-20
//	43  length of the initialization vector, 12 or 16
//	44  metadata, initialization vector, tag (16), ciphertext
//
// What the external key has encrypted is bytes 42 and on of a version 1 blob
// with this one's header.
const (
	blobExternal       = 2
	externalHeaderSize = blobHeaderSize + 2
	innerOverhead      = 12 + 16
)

// sealInner makes the header of an external blob and its inner layer.
func sealInner(hbk secret.Key, keyID, material string, ec map[string]string, plaintext []byte) (header, inner []byte, err error) {
	header, err = newHeader(blobExternal, keyID, material, blobHeaderSize)
	if err != nil {
		return nil, nil, err
	}
	if header[1] != 0 {
		return nil, nil, fmt.Errorf("kms: the external key %q is a multi-Region key", keyID)
	}
	aead, err := messageKey(hbk, header[26:42])
	if err != nil {
		return nil, nil, err
	}
	return header, aead.Seal(nil, nil, plaintext, blobAAD(header, ec)), nil
}

// outerAAD is what the external key authenticates: the header and the encryption
// context, as a hash, since proxies need not take more than 8,192 bytes and need
// not read a context.
func outerAAD(header []byte, ec map[string]string) []byte {
	sum := sha256.Sum256(blobAAD(header, ec))
	return append([]byte("sagekeep xks aad v1|"), sum[:]...)
}

// appendExternal puts a blob together.
func appendExternal(header []byte, c *xks.Ciphertext) []byte {
	out := append([]byte(nil), header...)
	out = append(out, byte(len(c.Metadata)), byte(len(c.IV)))
	out = append(out, c.Metadata...)
	out = append(out, c.IV...)
	out = append(out, c.Tag...)
	return append(out, c.Bytes...)
}

// parseExternal takes the parts of an external blob apart, or returns errBlob.
func parseExternal(b []byte) (*xks.Ciphertext, error) {
	if len(b) < externalHeaderSize {
		return nil, errBlob
	}
	metadata, iv, rest := int(b[blobHeaderSize]), int(b[blobHeaderSize+1]), b[externalHeaderSize:]
	if metadata > xks.MaxMetadata || iv != 12 && iv != 16 || len(rest) < metadata+iv+xks.TagSize+innerOverhead {
		return nil, errBlob
	}
	take := func(n int) (part []byte) {
		part, rest = rest[:n:n], rest[n:]
		return part
	}
	return &xks.Ciphertext{Metadata: take(metadata), IV: take(iv), Tag: take(xks.TagSize), Bytes: rest}, nil
}
