package envelope

import (
	"crypto/cipher"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

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
	path  string // "" = memory only
	store string // id of the data directory
	write func(path string, b []byte) error

	saving sync.Mutex // of the file, taken before mu
	roots  []*root    // that the file is sealed under: one, or two while the seal changes
	stale  bool       // the file holds copies under root keys that are gone

	mu   sync.RWMutex
	keys []epochKey // newest first: one, or two while an erasure is under way
}

type epochKey struct {
	id   [epochIDSize]byte
	key  secret.Key
	aead cipher.AEAD
	// format1 is the key as the seal sealed it in data format 1.
	format1 []byte
}

// epochFile is the JSON document in DIR/seal/epoch.json.
type epochFile struct {
	Format int          `json:"format"`
	Epochs []epochEntry `json:"epochs"` // newest first
}

type epochEntry struct {
	ID   string      `json:"id"`
	Key  []byte      `json:"key,omitempty"` // data format 1: sealed by the seal
	Keys []epochCopy `json:"keys,omitempty"`
}

// epochCopy is an epoch's key under the root key of a generation.
type epochCopy struct {
	Generation uint64 `json:"generation"`
	Key        []byte `json:"key"`
}

func (e *epochEntry) find(generation uint64) []byte {
	for _, c := range e.Keys {
		if c.Generation == generation {
			return c.Key
		}
	}
	return nil
}

func parseEpochFile(b []byte) (epochFile, error) {
	var f epochFile
	if len(b) > maxKeyringFile {
		return f, errors.New("deletion epochs: the file is too large")
	}
	if err := json.Unmarshal(b, &f); err != nil {
		return f, fmt.Errorf("parse deletion epochs: %w", err)
	}
	if f.Format > Format {
		return f, fmt.Errorf("deletion epochs: data format %d: %w", f.Format, ErrNewer)
	}
	if f.Format < 1 || len(f.Epochs) == 0 || len(f.Epochs) > 2 {
		return f, fmt.Errorf("deletion epochs: the file holds %d epochs, want 1 or 2", len(f.Epochs))
	}
	for i := range f.Epochs {
		entry := &f.Epochs[i]
		if id, err := hex.DecodeString(entry.ID); err != nil || len(id) != epochIDSize {
			return f, fmt.Errorf("deletion epochs: bad id %q", entry.ID)
		}
		if f.Format == 1 {
			entry.Keys, entry.Key = []epochCopy{{Key: entry.Key}}, nil
		}
		if len(entry.Keys) == 0 || len(entry.Keys) > maxCopies {
			return f, fmt.Errorf("deletion epochs: %d copies of epoch %s", len(entry.Keys), entry.ID)
		}
	}
	return f, nil
}

func readEpochFile(path string) (epochFile, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return epochFile{}, fmt.Errorf("read deletion-epoch key: %w", err)
	}
	return parseEpochFile(b)
}

// openEpochs opens the epoch file under r; for generation 0, with s.
func openEpochs(path, store string, r *root, s seal.Seal) (*Epochs, error) {
	f, err := readEpochFile(path)
	if err != nil {
		return nil, err
	}
	e := &Epochs{path: path, store: store, roots: []*root{r}}
	for i := range f.Epochs {
		entry := &f.Epochs[i]
		sealed := entry.find(r.generation)
		if sealed == nil {
			return nil, fmt.Errorf("%s and the keyring are not of one time: bring back the two that belong together", path)
		}
		k, err := openEpoch(entry.ID, sealed, store, r, s)
		if err != nil {
			return nil, fmt.Errorf("open deletion-epoch key: %w", err)
		}
		e.keys = append(e.keys, k)
		e.stale = e.stale || len(entry.Keys) > 1
	}
	return e, nil
}

func openEpoch(id string, sealed []byte, store string, r *root, s seal.Seal) (epochKey, error) {
	var raw, format1 []byte
	var err error
	if r.generation == 0 {
		old, ok := s.(seal.Format1)
		if !ok {
			return epochKey{}, ErrSealed
		}
		format1 = sealed
		raw, err = old.UnwrapFormat1(sealed, []byte("sagekeep deletion epoch v1|"+id))
	} else {
		raw, err = r.open(store, epochPurpose+id, sealed)
	}
	if err != nil {
		return epochKey{}, err
	}
	defer clear(raw)
	k, err := newEpochKey(id, raw)
	k.format1 = format1
	return k, err
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

// Erased reports whether the epoch that wrapped has been destroyed, so that Unwrap
// answers ErrErased.
func (e *Epochs) Erased(wrapped []byte) bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return len(wrapped) >= epochIDSize &&
		!slices.ContainsFunc(e.keys, func(k epochKey) bool { return k.id == [epochIDSize]byte(wrapped[:epochIDSize]) })
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
	e.saving.Lock()
	defer e.saving.Unlock()
	before := e.snapshot()
	if len(before) > 1 {
		return nil
	}
	raw := secret.Random()
	k, err := newEpochKey(hex.EncodeToString(secret.Random().Bytes()[:epochIDSize]), raw.Bytes())
	if err != nil {
		return err
	}
	return e.replace(append([]epochKey{k}, before...), e.roots)
}

// Finish destroys every epoch but the newest. What was not rewrapped by then is
// erased.
func (e *Epochs) Finish() error {
	e.saving.Lock()
	defer e.saving.Unlock()
	before := e.snapshot()
	if err := e.replace(before[:1], e.roots); err != nil {
		return err
	}
	for _, k := range before[1:] {
		k.key.Erase()
	}
	return nil
}

func (e *Epochs) snapshot() []epochKey {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return slices.Clone(e.keys)
}

// reseal makes the file hold the epochs under these root keys.
func (e *Epochs) reseal(roots ...*root) error {
	e.saving.Lock()
	defer e.saving.Unlock()
	return e.replace(e.snapshot(), roots)
}

// replace writes the file, then takes keys and roots over. The caller holds
// e.saving; readers go on meanwhile.
func (e *Epochs) replace(keys []epochKey, roots []*root) error {
	if e.path != "" {
		b, err := e.encode(keys, roots)
		if err != nil {
			return err
		}
		if err := e.write(e.path, b); err != nil {
			e.stale = true // the file may hold either
			return err
		}
	}
	e.roots, e.stale = roots, false
	e.mu.Lock()
	defer e.mu.Unlock()
	e.keys = keys
	return nil
}

func (e *Epochs) encode(keys []epochKey, roots []*root) ([]byte, error) {
	f := epochFile{Format: Format}
	for i := range keys {
		k := &keys[i]
		entry := epochEntry{ID: hex.EncodeToString(k.id[:])}
		for _, r := range roots {
			c := epochCopy{Generation: r.generation, Key: k.format1}
			if r.generation > 0 {
				var err error
				if c.Key, err = r.seal(e.store, epochPurpose+entry.ID, k.key.Bytes()); err != nil {
					return nil, err
				}
			} else if c.Key == nil {
				return nil, errors.New("deletion epochs: data format 1 takes no new epoch")
			}
			entry.Keys = append(entry.Keys, c)
		}
		f.Epochs = append(f.Epochs, entry)
	}
	return encodeFile(f)
}

// superfluous reports whether the file holds copies besides those under r.
func (e *Epochs) superfluous(r *root) bool {
	e.saving.Lock()
	defer e.saving.Unlock()
	return e.stale || len(e.roots) != 1 || e.roots[0] != r
}

// stored reports whether the file, opened under r, holds the epochs of e.
func (e *Epochs) stored(r *root, s seal.Seal) (bool, error) {
	e.saving.Lock() // no erasure meanwhile
	defer e.saving.Unlock()
	o, err := openEpochs(e.path, e.store, r, s)
	if err != nil {
		return false, err
	}
	same := slices.EqualFunc(e.snapshot(), o.keys, func(a, b epochKey) bool { return a.id == b.id && a.key.Equal(b.key) })
	for _, k := range o.keys {
		k.key.Erase()
	}
	return same, nil
}
