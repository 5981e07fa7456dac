package envelope

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sagekeep/sagekeep/internal/durable"
	"github.com/sagekeep/sagekeep/internal/seal"
	"github.com/sagekeep/sagekeep/internal/secret"
)

// Files are where the two files lie that a seal opens.
type Files struct {
	Keyring string // DIR/keyring
	Epochs  string // DIR/seal/epoch.json
}

// Keys is what a seal opens: the keyring and the deletion epochs. Both files hold
// a copy under a root key of their own for each seal that opens them: one, or two
// while the seal changes. At every instant each copy in the keyring file has its
// counterpart for every epoch, so that whoever opens the one opens the other.
type Keys struct {
	Keyring *Keyring
	Epochs  *Epochs

	files Files
	now   func() time.Time
	write func(path string, b []byte) error // tests make it fail

	mu     sync.Mutex // of changes to the seal
	copies []sealedCopy
	active *root // proven to open everything
}

func newKeys(files Files) *Keys {
	return &Keys{files: files, now: time.Now, write: durable.WriteFile}
}

// CreateKeys makes a keyring of one version and a first epoch, and stores them
// under s. Nothing is written before the seal that reopen returns has opened what
// s wrapped, as the next start will have to. The keyring comes last: it marks a
// directory that is complete.
func CreateKeys(ctx context.Context, files Files, s seal.Seal, reopen func() (seal.Seal, error)) (*Keys, error) {
	id := make([]byte, idSize)
	rand.Read(id)
	k := newKeys(files)
	k.Keyring = newKeyring(hex.EncodeToString(id))
	k.Keyring.versions[1] = secret.Random()
	k.Keyring.current = 1
	k.active = &root{generation: 1, key: secret.Random()}
	c, err := k.Keyring.copyUnder(ctx, k.active, s, k.now())
	if err != nil {
		return nil, err
	}
	if err := k.tryCopy(ctx, &c, reopen); err != nil {
		return nil, fmt.Errorf("the seal does not open what it has sealed, nothing was written: %w", err)
	}
	k.Epochs = &Epochs{path: files.Epochs, store: k.Keyring.id, write: k.write, roots: []*root{k.active}}
	if err := k.Epochs.Begin(); err != nil {
		return nil, err
	}
	return k, k.saveKeyring(c)
}

// tryCopy opens a copy that is not stored yet.
func (k *Keys) tryCopy(ctx context.Context, c *sealedCopy, reopen func() (seal.Seal, error)) error {
	s, err := reopen()
	if err != nil {
		return err
	}
	defer s.Close()
	got, ring, err := c.open(ctx, s, k.Keyring.id)
	if err != nil {
		return err
	}
	defer ring.erase()
	defer got.key.Erase()
	if !got.key.Equal(k.active.key) || !ring.same(k.Keyring) {
		return errors.New("it opens, and holds other keys")
	}
	return nil
}

// OpenKeys opens both files with s and writes nothing. Errors: seal.ErrWrong; what
// the holder answers; ErrNewer; ErrSealed; fs.ErrNotExist when there is no
// keyring.
func OpenKeys(ctx context.Context, files Files, s seal.Seal) (*Keys, error) {
	f, err := readKeyringFile(files.Keyring)
	if err != nil {
		return nil, err
	}
	k := newKeys(files)
	if k.active, k.Keyring, err = f.open(ctx, s); err != nil {
		return nil, err
	}
	if k.Epochs, err = openEpochs(files.Epochs, f.ID, k.active, s); err != nil {
		return nil, err
	}
	k.Epochs.write = k.write
	k.copies = f.Copies
	return k, nil
}

// saveKeyring makes the keyring file hold these copies.
func (k *Keys) saveKeyring(copies ...sealedCopy) error {
	b, err := encodeFile(keyringFile{Format: Format, ID: k.Keyring.id, Copies: copies})
	if err != nil {
		return err
	}
	if err := k.write(k.files.Keyring, b); err != nil {
		return err
	}
	k.copies = copies
	return nil
}

// OldFormat reports whether the files are of data format 1: Reseal brings them to
// the present one.
func (k *Keys) OldFormat() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.active.generation == 0
}

// Copy is what a copy says of itself, without being opened.
type Copy struct {
	Generation uint64
	Kind       seal.Kind
	Info       seal.Info
	Since      time.Time // zero in data format 1, which does not tell
}

func (c *sealedCopy) describe() (Copy, error) {
	out := Copy{Generation: c.Generation, Kind: c.Seal, Since: c.Since}
	if c.Generation == 0 {
		out.Info = seal.Info{Algorithm: "data format 1", FIPS: seal.Approved}
		return out, nil
	}
	kind, info, err := seal.Describe(c.Root)
	if err == nil && kind != c.Seal {
		err = errKeyringFile
	}
	out.Info = info
	return out, err
}

// Active describes the copy that opened the keys, or that Reseal made last.
func (k *Keys) Active() (Copy, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.activeCopy().describe()
}

func (k *Keys) activeCopy() *sealedCopy {
	f := keyringFile{Copies: k.copies}
	return f.find(k.active.generation)
}

// Step is one part of a change of the seal.
type Step string

// The steps, in their order.
const (
	Added    Step = "added"    // a copy under the new seal lies beside the old one
	Verified Step = "verified" // it was read from the disk and opened everything
	Destroy  Step = "destroy"  // the old copy is about to be destroyed
)

// Reseal makes a new root key, held by the seal that open returns, and destroys
// the copies under the former one. open is called twice: the second seal verifies
// what the first has written, from the disk. Both copies stay until then, and if
// anything fails before, the new one goes. step is told of each step and stops
// the change by an error; nil asks nobody.
//
// A crash at any point leaves files that the old seal or the new one opens.
// After an error from Destroy on, the new one opens them, and perhaps both do.
func (k *Keys) Reseal(ctx context.Context, open func() (seal.Seal, error), step func(Step, Copy) error) (Copy, error) {
	if step == nil {
		step = func(Step, Copy) error { return nil }
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.settle(); err != nil {
		return Copy{}, fmt.Errorf("end a former change of the seal: %w", err)
	}
	old, former := *k.activeCopy(), k.active
	fresh := &root{generation: former.generation + 1, key: secret.Random()}
	c, about, err := k.wrapCopy(ctx, fresh, open)
	if err != nil {
		return Copy{}, err
	}
	// The epochs first: a copy in the keyring file has its counterparts already.
	if err = k.Epochs.reseal(fresh, former); err == nil {
		k.copies = []sealedCopy{c, old} // from here on the disk may hold both
		err = k.saveKeyring(c, old)
	}
	if err == nil {
		err = step(Added, about)
	}
	if err == nil {
		err = k.verify(ctx, fresh, open)
	}
	if err == nil {
		err = step(Verified, about)
	}
	if err != nil {
		if terr := k.settle(); terr != nil {
			return Copy{}, errors.Join(err, fmt.Errorf("take the new copy back: %w", terr))
		}
		fresh.key.Erase()
		return Copy{}, err
	}
	k.active = fresh
	gone, err := old.describe()
	if err != nil {
		return Copy{}, err
	}
	if err = step(Destroy, gone); err == nil {
		err = k.settle()
	}
	if err != nil {
		return about, fmt.Errorf("the new seal opens the directory, and so does the former one, whose copy could not be destroyed: %w", err)
	}
	former.key.Erase()
	return about, nil
}

func (k *Keys) wrapCopy(ctx context.Context, r *root, open func() (seal.Seal, error)) (sealedCopy, Copy, error) {
	s, err := open()
	if err != nil {
		return sealedCopy{}, Copy{}, err
	}
	defer s.Close()
	c, err := k.Keyring.copyUnder(ctx, r, s, k.now())
	if err != nil {
		return c, Copy{}, err
	}
	about, err := c.describe()
	return c, about, err
}

// verify opens the copy of a generation as a start would.
func (k *Keys) verify(ctx context.Context, r *root, open func() (seal.Seal, error)) error {
	s, err := open()
	if err != nil {
		return fmt.Errorf("verify the new copy: %w", err)
	}
	defer s.Close()
	f, err := readKeyringFile(k.files.Keyring)
	if err != nil {
		return fmt.Errorf("verify the new copy: %w", err)
	}
	c := f.find(r.generation)
	if c == nil {
		return errors.New("verify the new copy: it is not in the keyring file")
	}
	got, ring, err := c.open(ctx, s, k.Keyring.id)
	if err != nil {
		return fmt.Errorf("verify the new copy: %w", err)
	}
	defer ring.erase()
	defer got.key.Erase()
	same, err := k.Epochs.stored(got, s)
	if err != nil {
		return fmt.Errorf("verify the new copy: %w", err)
	}
	if !same || !got.key.Equal(r.key) || !ring.same(k.Keyring) {
		return errors.New("verify the new copy: it opens, and holds other keys")
	}
	return nil
}

// Others describes the copies besides the one that opened these keys: what a
// change of the seal that did not come to its end has left.
func (k *Keys) Others() []Copy {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []Copy
	for i := range k.copies {
		c := &k.copies[i]
		if c.Generation == k.active.generation {
			continue
		}
		about, err := c.describe()
		if err != nil {
			about = Copy{Generation: c.Generation, Kind: c.Seal, Since: c.Since}
		}
		out = append(out, about)
	}
	return out
}

// Settle destroys the Others, and copies of epochs that nothing opens.
func (k *Keys) Settle() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.settle()
}

func (k *Keys) settle() error {
	if len(k.copies) > 1 {
		if err := k.saveKeyring(*k.activeCopy()); err != nil {
			return err
		}
	}
	if k.Epochs.superfluous(k.active) {
		return k.Epochs.reseal(k.active)
	}
	return nil
}

// Status is what the two files tell without being opened.
type Status struct {
	ID     string // of the data directory
	Format int
	Copies []Copy // newest first
	// Leftovers counts copies of epochs under root keys that the keyring file does
	// not name: a crash left them, and nothing opens them.
	Leftovers int
}

// ReadStatus reads both files. Nothing of the answer is proven: that takes
// OpenKeys.
func ReadStatus(files Files) (Status, error) {
	f, err := readKeyringFile(files.Keyring)
	if err != nil {
		return Status{}, err
	}
	s := Status{ID: f.ID, Format: f.Format}
	for i := range f.Copies {
		c, err := f.Copies[i].describe()
		if err != nil {
			return s, fmt.Errorf("keyring: %w", err)
		}
		s.Copies = append(s.Copies, c)
	}
	e, err := readEpochFile(files.Epochs)
	if err != nil {
		return s, err
	}
	for i := range e.Epochs {
		for _, c := range e.Epochs[i].Keys {
			if f.find(c.Generation) == nil {
				s.Leftovers++
			}
		}
	}
	return s, nil
}
