package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"sync"
)

// signingKey is a derived key. It is held by pointer and formats itself, so it
// does not print.
type signingKey struct{ b [sha256.Size]byte }

// Format hides the key.
func (*signingKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[redacted]") }

func deriveKey(secret string, s Scope) *signingKey {
	k := mac([]byte("AWS4"+secret), s.Date)
	k = mac(k[:], s.Region)
	k = mac(k[:], s.Service)
	return &signingKey{mac(k[:], terminator)}
}

func mac(key []byte, message string) (out [sha256.Size]byte) {
	h := hmac.New(sha256.New, key)
	_, _ = io.WriteString(h, message)
	h.Sum(out[:0])
	return out
}

// sign returns the signature of a string to sign in hexadecimal.
func (k *signingKey) sign(stringToSign []byte) (sig [2 * sha256.Size]byte) {
	var sum [sha256.Size]byte
	h := hmac.New(sha256.New, k.b[:])
	h.Write(stringToSign)
	h.Sum(sum[:0])
	hex.Encode(sig[:], sum[:])
	return sig
}

// appendStringToSign writes the string to sign of a canonical request.
func appendStringToSign(dst []byte, amzDate string, s Scope, canonical []byte) []byte {
	dst = append(dst, Algorithm+"\n"...)
	dst = appendDateScope(dst, amzDate, s)
	sum := sha256.Sum256(canonical)
	return hex.AppendEncode(dst, sum[:])
}

// appendDateScope writes the two lines that every string to sign has.
func appendDateScope(dst []byte, amzDate string, s Scope) []byte {
	dst = append(dst, amzDate...)
	dst = append(dst, '\n')
	dst = appendScope(dst, s)
	return append(dst, '\n')
}

func appendScope(dst []byte, s Scope) []byte {
	dst = append(dst, s.Date...)
	dst = append(dst, '/')
	dst = append(dst, s.Region...)
	dst = append(dst, '/')
	dst = append(dst, s.Service...)
	return append(dst, "/"+terminator...)
}

// keyCacheSize bounds each of the two generations of a keyCache.
const keyCacheSize = 1024

type keyID struct {
	accessKeyID string
	scope       Scope
}

type keyEntry struct {
	secret [sha256.Size]byte // fingerprint: a rotated secret misses
	key    *signingKey
}

// keyCache remembers derived keys. It holds two generations: when the young one
// is full it becomes the old one, and what is used moves back. The zero value
// is ready.
type keyCache struct {
	mu         sync.RWMutex
	young, old map[keyID]keyEntry
}

// get returns the cached key of id under that secret, nil when there is none.
func (c *keyCache) get(id keyID, secret *[sha256.Size]byte) *signingKey {
	c.mu.RLock()
	e, inYoung := c.young[id]
	if !inYoung {
		e = c.old[id]
	}
	c.mu.RUnlock()
	if e.key == nil || subtle.ConstantTimeCompare(e.secret[:], secret[:]) != 1 {
		return nil
	}
	if !inYoung {
		c.put(id, secret, e.key)
	}
	return e.key
}

// put stores a key. Only proven requests get here, so that strangers cannot
// push entries out.
func (c *keyCache) put(id keyID, secret *[sha256.Size]byte, key *signingKey) {
	// The strings are parts of a request's header: do not keep that alive.
	id.accessKeyID = strings.Clone(id.accessKeyID)
	id.scope = Scope{strings.Clone(id.scope.Date), strings.Clone(id.scope.Region), strings.Clone(id.scope.Service)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.young) >= keyCacheSize {
		c.old, c.young = c.young, nil
	}
	if c.young == nil {
		c.young = make(map[keyID]keyEntry)
	}
	c.young[id] = keyEntry{*secret, key}
}

func (c *keyCache) len() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.young) + len(c.old)
}
