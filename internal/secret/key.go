// Package secret holds key bytes that never print, log or marshal, so that a
// slip in a log line or an error text cannot leak them.
package secret

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
)

// Size is the length of a Key in bytes: every symmetric key of ours is AES-256.
const Size = 32

// redacted is what every formatting verb prints.
const redacted = "[redacted]"

// Key is a 32-byte symmetric key. It never prints, logs or marshals its bytes,
// and == does not compile on it. The zero Key holds no bytes.
type Key struct {
	_ [0]func()
	b *[Size]byte // a pointer: fmt skips our Format inside an unexported field
}

// New returns a Key with a copy of b, which must be 32 bytes long.
func New(b []byte) (Key, error) {
	if len(b) != Size {
		return Key{}, fmt.Errorf("secret: a key has %d bytes, not %d", Size, len(b))
	}
	return Key{b: (*[Size]byte)(append([]byte(nil), b...))}, nil
}

// Random returns a new key from crypto/rand.
func Random() Key {
	var b [Size]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return Key{b: &b}
}

// Bytes returns the key's own bytes: do not keep, change or print them.
// It is nil for the zero Key.
func (k Key) Bytes() []byte {
	if k.b == nil {
		return nil
	}
	return k.b[:]
}

// IsZero reports whether k holds no bytes.
func (k Key) IsZero() bool { return k.b == nil }

// Equal compares two keys in constant time. Zero keys equal nothing.
func (k Key) Equal(o Key) bool {
	return k.b != nil && o.b != nil && subtle.ConstantTimeCompare(k.b[:], o.b[:]) == 1
}

// Erase overwrites the bytes of k and of every copy of it.
func (k Key) Erase() {
	if k.b != nil {
		clear(k.b[:])
	}
}

// Format prints a fixed text whatever the verb.
func (Key) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// LogValue returns a fixed text.
func (Key) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON refuses: a key is never part of a document.
func (Key) MarshalJSON() ([]byte, error) { return nil, errNoMarshal }

// MarshalText refuses: a key is never part of a document.
func (Key) MarshalText() ([]byte, error) { return nil, errNoMarshal }

var errNoMarshal = errors.New("secret: keys do not marshal")
