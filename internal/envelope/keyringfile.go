package envelope

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/sagekeep/sagekeep/internal/seal"
	"github.com/sagekeep/sagekeep/internal/secret"
)

const (
	// maxKeyringFile bounds the keyring file and the epoch file, in bytes.
	maxKeyringFile = 1 << 20
	// maxCopies bounds the copies in a file: one, or two while the seal changes.
	maxCopies = 4
	idSize    = 16 // bytes
)

// keyringFile is the JSON document in DIR/keyring; see docs/formats/keyring.md.
type keyringFile struct {
	Format int          `json:"format"`
	ID     string       `json:"id"`
	Copies []sealedCopy `json:"copies"` // newest generation first
}

// sealedCopy is the keyring as one seal holds it.
type sealedCopy struct {
	Generation uint64    `json:"generation"`
	Seal       seal.Kind `json:"seal"`
	Since      time.Time `json:"since"`
	Root       []byte    `json:"root,omitempty"`   // wrapped by the seal; none in generation 0
	Canary     []byte    `json:"canary,omitempty"` // sealed under the root key
	Keyring    []byte    `json:"keyring"`          // sealed under the root key
}

// keyringFile1 is the same file in data format 1: the seal sealed the keyring.
type keyringFile1 struct {
	Seal    seal.Kind `json:"seal"`
	Keyring []byte    `json:"keyring"`
}

type keyringSecret struct {
	Current  uint32            `json:"current"`
	Versions map[uint32][]byte `json:"versions"`
}

func (s *keyringSecret) erase() {
	for _, raw := range s.Versions {
		clear(raw)
	}
}

var errKeyringFile = errors.New("keyring: not a sagekeep keyring")

func parseKeyringFile(b []byte) (keyringFile, error) {
	var f keyringFile
	if len(b) > maxKeyringFile {
		return f, errors.New("keyring: the file is too large")
	}
	if err := json.Unmarshal(b, &f); err != nil {
		// A newer format may look different altogether.
		var v struct {
			Format int `json:"format"`
		}
		if json.Unmarshal(b, &v) == nil && v.Format > Format {
			return f, fmt.Errorf("data format %d: %w", v.Format, ErrNewer)
		}
		return f, fmt.Errorf("parse keyring: %w", err)
	}
	if f.Format > Format {
		return f, fmt.Errorf("data format %d: %w", f.Format, ErrNewer)
	}
	if f.Format == 1 {
		var old keyringFile1
		if err := json.Unmarshal(b, &old); err != nil {
			return f, fmt.Errorf("parse keyring: %w", err)
		}
		f.Copies = []sealedCopy{{Seal: old.Seal, Keyring: old.Keyring}}
	}
	if id, err := hex.DecodeString(f.ID); f.Format < 1 || err != nil || len(id) != idSize || len(f.Copies) == 0 || len(f.Copies) > maxCopies {
		return f, errKeyringFile
	}
	for i := range f.Copies {
		c := &f.Copies[i]
		if len(c.Keyring) == 0 || (c.Generation == 0) != (len(c.Root) == 0) || i > 0 && c.Generation >= f.Copies[i-1].Generation {
			return f, errKeyringFile
		}
	}
	return f, nil
}

func readKeyringFile(path string) (keyringFile, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return keyringFile{}, fmt.Errorf("read keyring: %w", err)
	}
	return parseKeyringFile(b)
}

func encodeFile(v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode a key file: %w", err)
	}
	return append(b, '\n'), nil
}

// find returns the copy of a generation, or nil.
func (f *keyringFile) find(generation uint64) *sealedCopy {
	for i := range f.Copies {
		if f.Copies[i].Generation == generation {
			return &f.Copies[i]
		}
	}
	return nil
}

// open opens the newest copy that s opens. Errors: seal.ErrWrong; what the holder
// answered; ErrSealed when the root key is right and the keyring is damaged.
func (f *keyringFile) open(ctx context.Context, s seal.Seal) (*root, *Keyring, error) {
	var first error
	for i := range f.Copies {
		c := &f.Copies[i]
		if c.Seal != s.Kind() {
			continue
		}
		r, k, err := c.open(ctx, s, f.ID)
		if err == nil {
			return r, k, nil
		}
		// That a copy is another's says less than that the holder did not answer.
		if first == nil || errors.Is(first, seal.ErrWrong) && !errors.Is(err, seal.ErrWrong) {
			first = err
		}
	}
	if first == nil {
		c := &f.Copies[0]
		return nil, nil, fmt.Errorf("%w: its root key is held by a seal of the kind %s, not %s: name that seal with --seal", seal.ErrWrong, c.Seal, s.Kind())
	}
	return nil, nil, fmt.Errorf("open keyring: %w", first)
}

func (c *sealedCopy) open(ctx context.Context, s seal.Seal, id string) (*root, *Keyring, error) {
	r := &root{generation: c.Generation}
	var plain []byte
	var err error
	if c.Generation == 0 {
		old, ok := s.(seal.Format1)
		if !ok {
			return nil, nil, errKeyringFile
		}
		plain, err = old.UnwrapFormat1(c.Keyring, []byte("sagekeep keyring v1|"+id))
	} else {
		if r.key, err = s.Unwrap(ctx, c.Root, seal.Context{Store: id, Purpose: seal.RootKey}); err != nil {
			return nil, nil, err
		}
		if canary, cerr := r.open(id, canaryPurpose, c.Canary); cerr != nil || !bytes.Equal(canary, []byte(canaryText)) {
			r.key.Erase()
			return nil, nil, seal.ErrWrong
		}
		plain, err = r.open(id, keyringPurpose, c.Keyring)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("the keyring is damaged, or not of this directory: %w", err)
	}
	defer clear(plain)
	k, err := decodeKeyring(id, plain)
	if err != nil {
		r.key.Erase()
		return nil, nil, err
	}
	return r, k, nil
}

func decodeKeyring(id string, plain []byte) (*Keyring, error) {
	var ks keyringSecret
	defer ks.erase()
	if err := json.Unmarshal(plain, &ks); err != nil {
		return nil, errors.New("parse keyring: it is not of the form of this version")
	}
	k := newKeyring(id)
	for v, raw := range ks.Versions {
		key, err := secret.New(raw)
		if err != nil {
			return nil, fmt.Errorf("keyring version %d: %w", v, err)
		}
		k.versions[v] = key
	}
	k.current = ks.Current
	if k.versions[k.current].IsZero() || k.versions[1].IsZero() {
		return nil, errors.New("keyring: a needed version is missing")
	}
	return k, nil
}

// copyUnder makes the copy of k that r opens, with r wrapped by s.
func (k *Keyring) copyUnder(ctx context.Context, r *root, s seal.Seal, now time.Time) (sealedCopy, error) {
	c := sealedCopy{Generation: r.generation, Seal: s.Kind(), Since: now.UTC().Truncate(time.Second)}
	var err error
	if c.Root, err = s.Wrap(ctx, r.key, seal.Context{Store: k.id, Purpose: seal.RootKey}); err != nil {
		return c, fmt.Errorf("wrap the root key: %w", err)
	}
	if c.Canary, err = r.seal(k.id, canaryPurpose, []byte(canaryText)); err != nil {
		return c, err
	}
	ks := keyringSecret{Current: k.current, Versions: map[uint32][]byte{}}
	for v, key := range k.versions {
		ks.Versions[v] = key.Bytes()
	}
	plain, err := json.Marshal(ks)
	if err != nil {
		return c, fmt.Errorf("encode keyring: %w", err)
	}
	defer clear(plain)
	c.Keyring, err = r.seal(k.id, keyringPurpose, plain)
	return c, err
}

// same reports whether two keyrings hold the same keys.
func (k *Keyring) same(o *Keyring) bool {
	if k.id != o.id || k.current != o.current || len(k.versions) != len(o.versions) {
		return false
	}
	for v, key := range k.versions {
		if !key.Equal(o.versions[v]) {
			return false
		}
	}
	return true
}

// erase overwrites the keys of a keyring that nobody uses.
func (k *Keyring) erase() {
	for _, key := range k.versions {
		key.Erase()
	}
}
