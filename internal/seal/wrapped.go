package seal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/sagekeep/sagekeep/internal/secret"
)

// wrapped is a wrapped root key as it is stored: see docs/formats/keyring.md.
//
//	version (1) | kind (1) | key id | parameters | body
//
// where key id and parameters have their length (2, big endian) in front.
type wrapped struct {
	kind   Kind
	keyID  string
	params []byte // how a passphrase becomes a key; empty for other kinds
	body   []byte // AES-256-GCM of the root key, or what the holder answered
}

const (
	wrappedVersion = 3 // 1 and 2 were the blobs of data format 1
	maxKeyID       = 256
	maxParams      = 64
	maxBody        = 16 << 10
)

// kinds are the numbers of kinds in stored copies, from 1.
func kinds() []Kind { return []Kind{"", File, Passphrase, Plugin, AWSKMS, PKCS11} }

// header is everything in front of the body.
func (w *wrapped) header() []byte {
	b := []byte{wrappedVersion, byte(slices.Index(kinds(), w.kind))}
	b = binary.BigEndian.AppendUint16(b, uint16(len(w.keyID)))
	b = append(b, w.keyID...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(w.params)))
	return append(b, w.params...)
}

func (w *wrapped) bytes() []byte { return append(w.header(), w.body...) }

// aad binds a body that we seal ourselves to its header and context.
func (w *wrapped) aad(at Context) []byte {
	b := append([]byte("sagekeep wrapped root key v3|"), w.header()...)
	for _, text := range []string{at.Store, at.Purpose} {
		b = binary.BigEndian.AppendUint16(b, uint16(len(text)))
		b = append(b, text...)
	}
	return b
}

var errWrapped = errors.New("not a wrapped root key")

// ErrNewerCopy: a wrapped key is of a version that this program does not know.
var ErrNewerCopy = errors.New("a wrapped root key of a newer version of sagekeep")

func parseWrapped(b []byte) (wrapped, error) {
	var w wrapped
	if len(b) > 0 && b[0] > wrappedVersion {
		return w, ErrNewerCopy
	}
	if len(b) < 2 || b[0] != wrappedVersion || int(b[1]) >= len(kinds()) || b[1] == 0 {
		return w, errWrapped
	}
	w.kind = kinds()[b[1]]
	rest := b[2:]
	field := func(limit int) ([]byte, bool) {
		if len(rest) < 2 {
			return nil, false
		}
		n := int(binary.BigEndian.Uint16(rest))
		if n > limit || len(rest) < 2+n {
			return nil, false
		}
		f := rest[2 : 2+n]
		rest = rest[2+n:]
		return f, true
	}
	id, ok := field(maxKeyID)
	if !ok || checkKeyID(string(id)) != nil {
		return w, errWrapped
	}
	params, ok := field(maxParams)
	if !ok || len(rest) == 0 || len(rest) > maxBody {
		return w, errWrapped
	}
	w.keyID, w.params, w.body = string(id), params, rest
	return w, nil
}

// checkKeyID accepts 1 to 256 bytes of printable ASCII.
func checkKeyID(id string) error {
	if id == "" || len(id) > maxKeyID {
		return fmt.Errorf("a key id has 1 to %d characters", maxKeyID)
	}
	for _, c := range []byte(id) {
		if c < ' ' || c > '~' {
			return errors.New("a key id is printable ASCII")
		}
	}
	return nil
}

// sealKey fills the body of w with key under the wrapping key kek.
func (w *wrapped) sealKey(kek []byte, key secret.Key, at Context) error {
	a, err := newAEAD(kek)
	if err != nil {
		return err
	}
	w.body = a.Seal(nil, nil, key.Bytes(), w.aad(at))
	return nil
}

// openKey opens what sealKey made, or returns ErrWrong.
func (w *wrapped) openKey(kek []byte, at Context) (secret.Key, error) {
	a, err := newAEAD(kek)
	if err != nil {
		return secret.Key{}, err
	}
	p, err := a.Open(nil, nil, w.body, w.aad(at))
	if err != nil {
		return secret.Key{}, ErrWrong
	}
	defer clear(p)
	key, err := secret.New(p)
	if err != nil {
		return secret.Key{}, ErrWrong
	}
	return key, nil
}

// own parses a copy that a seal of this kind is asked to open.
func own(b []byte, kind Kind) (wrapped, error) {
	w, err := parseWrapped(b)
	if errors.Is(err, ErrNewerCopy) {
		return w, err
	}
	if err != nil {
		return w, fmt.Errorf("%w: %w", ErrWrong, err)
	}
	if w.kind != kind {
		return w, fmt.Errorf("%w: it is held by a seal of the kind %s", ErrWrong, w.kind)
	}
	return w, nil
}

// Describe reads what a wrapped key says of itself, without opening it. Nothing
// of it is proven until Unwrap succeeds.
func Describe(b []byte) (Kind, Info, error) {
	w, err := parseWrapped(b)
	if err != nil {
		return "", Info{}, err
	}
	info := Info{KeyID: w.keyID, FIPS: Unknown, Algorithm: "the holder's"}
	switch w.kind {
	case File:
		info.Algorithm, info.FIPS = fileAlgorithm, Approved
	case Passphrase:
		d, err := parseDerivation(w.params)
		if err != nil {
			return "", Info{}, err
		}
		info.Algorithm, info.FIPS = d.String(), d.fips()
	case AWSKMS:
		info.Algorithm = kmsAlgorithm
	}
	return w.kind, info, nil
}
