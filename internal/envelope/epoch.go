package envelope

import (
	"crypto/cipher"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/sagekeep/sagekeep/internal/durable"
	"github.com/sagekeep/sagekeep/internal/seal"
	"github.com/sagekeep/sagekeep/internal/secret"
)

// ErrErased: the epoch key that wrapped a backing key has been destroyed.
var ErrErased = errors.New("the key material has been erased")

// epochIDSize is the length of an epoch's id, in bytes.
const epochIDSize = 8

// Epochs holds the deletion-epoch key. Backing keys are wrapped under it, and it
// lives with the seal, not with the rows: erasing key material means to make a
// new epoch key, rewrap the survivors and destroy the old one, so that a copy of
// the rows taken before cannot be opened with the seal of today. It may be used
// concurrently.
type Epochs struct {
	path string
	seal seal.Seal // nil = memory only

	mu   sync.RWMutex
	keys []epochKey // newest first: one, or two while an erasure is under way
}

type epochKey struct {
	id   [epochIDSize]byte
	key  secret.Key
	aead cipher.AEAD
}

type epochFile struct {
	Format int          `json:"format"`
	Epochs []epochEntry `json:"epochs"` // newest first
}

type epochEntry struct {
	ID  string `json:"id"`
	Key []byte `json:"key"` // wrapped by the seal
}

func epochAAD(id string) []byte { return []byte("sagekeep deletion epoch v1|" + id) }

// OpenEpochs reads the epoch keys at path. With create a missing file is made;
// otherwise it is an error, for the backing keys could not be opened.
func OpenEpochs(path string, s seal.Seal, create bool) (*Epochs, error) {
	e := &Epochs{path: path, seal: s}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && create {
		return e, e.Begin()
	}
	if err != nil {
		return nil, fmt.Errorf("read deletion-epoch key: %w", err)
	}
	var f epochFile
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("parse %s: %w", path, err)
	}
	if f.Format > Format {
		return nil, fmt.Errorf("%s: %w", path, ErrNewer)
	}
	for _, entry := range f.Epochs {
		raw, err := s.Unwrap(entry.Key, epochAAD(entry.ID))
		if err != nil {
			return nil, fmt.Errorf("open deletion-epoch key: %w", err)
		}
		k, err := newEpochKey(entry.ID, raw)
		clear(raw)
		if err != nil {
			return nil, err
		}
		e.keys = append(e.keys, k)
	}
	if len(e.keys) == 0 || len(e.keys) > 2 {
		return nil, fmt.Errorf("%s holds %d epochs, want 1 or 2", path, len(e.keys))
	}
	return e, nil
}

// NewMemoryEpochs returns epochs that are stored nowhere.
func NewMemoryEpochs() *Epochs {
	e := &Epochs{}
	if err := e.Begin(); err != nil {
		panic("envelope: " + err.Error()) // cannot fail without a file
	}
	return e
}

func newEpochKey(id string, raw []byte) (epochKey, error) {
	idb, err := hex.DecodeString(id)
	if err != nil || len(idb) != epochIDSize {
		return epochKey{}, fmt.Errorf("deletion epoch: bad id %q", id)
	}
	key, err := secret.New(raw)
	if err != nil {
		return epochKey{}, fmt.Errorf("deletion epoch: %w", err)
	}
	a, err := newAEAD(key.Bytes())
	return epochKey{id: [epochIDSize]byte(idb), key: key, aead: a}, err
}

// Wrap seals a backing key under the newest epoch: id (8) | nonce, ciphertext, tag.
func (e *Epochs) Wrap(aad []byte, key secret.Key) []byte {
	e.mu.RLock()
	defer e.mu.RUnlock()
	k := &e.keys[0]
	return k.aead.Seal(append([]byte(nil), k.id[:]...), nil, key.Bytes(), aad)
}

// Unwrap opens what Wrap made. Errors: ErrErased when its epoch is gone,
// ErrSealed when it was altered or belongs elsewhere.
func (e *Epochs) Unwrap(aad, wrapped []byte) (secret.Key, error) {
	if len(wrapped) < epochIDSize {
		return secret.Key{}, ErrSealed
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	for i := range e.keys {
		k := &e.keys[i]
		if k.id != [epochIDSize]byte(wrapped[:epochIDSize]) {
			continue
		}
		p, err := k.aead.Open(nil, nil, wrapped[epochIDSize:], aad)
		if err != nil {
			return secret.Key{}, ErrSealed
		}
		defer clear(p)
		return secret.New(p)
	}
	return secret.Key{}, ErrErased
}

// Current reports whether wrapped is under the newest epoch.
func (e *Epochs) Current(wrapped []byte) bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return len(wrapped) >= epochIDSize && e.keys[0].id == [epochIDSize]byte(wrapped[:epochIDSize])
}

// InErasure reports whether Begin was called and Finish not yet: after a crash
// the erasure must be carried on.
func (e *Epochs) InErasure() bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return len(e.keys) > 1
}

// Begin adds a new epoch, durably, and makes it the one that wraps. It does
// nothing when an erasure is already under way.
func (e *Epochs) Begin() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.keys) > 1 {
		return nil
	}
	raw := secret.Random()
	k, err := newEpochKey(hex.EncodeToString(secret.Random().Bytes()[:epochIDSize]), raw.Bytes())
	if err != nil {
		return err
	}
	keys := append([]epochKey{k}, e.keys...)
	if err := e.save(keys); err != nil {
		return err
	}
	e.keys = keys
	return nil
}

// Finish destroys every epoch but the newest. What was not rewrapped by then is
// erased.
func (e *Epochs) Finish() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.save(e.keys[:1]); err != nil {
		return err
	}
	for _, k := range e.keys[1:] {
		k.key.Erase()
	}
	e.keys = e.keys[:1]
	return nil
}

func (e *Epochs) save(keys []epochKey) error {
	if e.seal == nil {
		return nil
	}
	f := epochFile{Format: Format}
	for _, k := range keys {
		id := hex.EncodeToString(k.id[:])
		w, err := e.seal.Wrap(k.key.Bytes(), epochAAD(id))
		if err != nil {
			return fmt.Errorf("wrap deletion-epoch key: %w", err)
		}
		f.Epochs = append(f.Epochs, epochEntry{ID: id, Key: w})
	}
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("encode deletion epochs: %w", err)
	}
	return durable.WriteFile(e.path, append(b, '\n'))
}
