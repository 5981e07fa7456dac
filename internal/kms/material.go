package kms

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/secret"
)

// Key material has three forms: newMaterial before it has a row, materialRow in
// the row of its key, and opened while it is used. Nothing else holds any.

// newMaterial is key material that no row holds yet. Its maker erases it.
type newMaterial struct {
	// backing is the key of a symmetric encryption key; for other keys it seals
	// the private key and nothing else.
	backing secret.Key
	private []byte // PKCS #8 DER or a MAC key; nil for symmetric encryption keys
	public  []byte // SubjectPublicKeyInfo DER; nil without a public key
}

func (m *newMaterial) erase() {
	m.backing.Erase()
	clear(m.private)
}

// opened is the material of one version as it is used. It lives in the cache of
// its key, which forgets it with every change of the key, and never prints. Its
// bytes are overwritten when the cache has forgotten it and the last request that
// uses it is done. What the packages that compute with it keep to themselves, such
// as the tables of crypto/rsa, is left to the garbage collector.
type opened struct {
	backing secret.Key
	private any // see privatekey.go; nil for symmetric encryption keys

	holds atomic.Int64 // the cache's and one for each user
}

// done ends a use. Nothing of o may be used afterwards.
func (o *opened) done() {
	if o.holds.Add(-1) == 0 {
		o.backing.Erase()
		erasePrivate(o.private)
	}
}

// Format prints a fixed text whatever the verb.
func (*opened) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[redacted]") }

// makeMaterial makes random material for a key spec. It may take seconds and
// must not be called under s.wrapping or in a transaction, except for symmetric
// encryption keys.
//
// Errors: ThrottlingException when too many wait for an RSA key.
func (s *Service) makeMaterial(ctx context.Context, name kmsapi.KeySpec) (newMaterial, error) {
	m := newMaterial{backing: secret.Random()}
	if name == kmsapi.KeySpecSymmetricDefault {
		return m, nil
	}
	var err error
	m.private, m.public, err = s.newPair(ctx, name)
	return m, err
}

// newPair makes a private key and returns it with its public key, encoded.
func (s *Service) newPair(ctx context.Context, name kmsapi.KeySpec) (private, public []byte, err error) {
	key, err := s.newPrivate(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	defer erasePrivate(key)
	if public, err = encodePublic(key); err != nil {
		return nil, nil, fmt.Errorf("kms: encode public key: %w", err)
	}
	if private, err = encodePrivate(key); err != nil {
		return nil, nil, fmt.Errorf("kms: encode private key: %w", err)
	}
	return private, public, nil
}

// newPrivate makes a private key.
func (s *Service) newPrivate(ctx context.Context, name kmsapi.KeySpec) (any, error) {
	var key any
	var err error
	if bits := rsaBits(name); bits > 0 {
		key, err = s.newRSA(ctx, bits)
	} else {
		key, err = generatePrivate(name)
	}
	if err != nil {
		return nil, fmt.Errorf("kms: generate %s: %w", name, err)
	}
	return key, nil
}

// newRSA makes an RSA key. They come one at a time: each takes up to seconds of
// one processor, which the other requests must not lose altogether.
func (s *Service) newRSA(ctx context.Context, bits int) (*rsa.PrivateKey, error) {
	leave, err := s.making.enter(ctx, s.cfg.Customer(ctx, callerAccount(ctx)))
	if err != nil {
		return nil, err
	}
	defer leave()
	return s.cfg.MakeRSA(ctx, bits)
}

// addMaterial gives the key a new version of its material. The caller holds
// s.wrapping for reading from before its Update until that has returned.
func (s *Service) addMaterial(k *keyRow, how kmsapi.RotationType, fresh *newMaterial) error {
	m := materialRow{ID: newHexID(), Created: s.timestamp(), Rotation: how}
	if err := s.fill(k, &m, fresh); err != nil {
		return err
	}
	k.Materials = append(slices.Clip(k.Materials), m)
	return nil
}

// fill puts material into a version of the key. The caller holds s.wrapping as
// for addMaterial.
func (s *Service) fill(k *keyRow, m *materialRow, fresh *newMaterial) error {
	m.Private, m.Public = nil, fresh.public
	if fresh.private != nil {
		a, err := privateAEAD(fresh.backing)
		if err != nil {
			return err
		}
		m.Private = a.Seal(nil, nil, fresh.private, k.aad(m.ID))
	}
	m.Wrapped = s.cfg.Epochs.Wrap(k.aad(m.ID), fresh.backing)
	return nil
}

// takeOut is the inverse of fill. The caller erases what it gets.
//
// Errors: KMSInvalidStateException, over envelope.ErrErased, for what was erased.
func (s *Service) takeOut(k *keyRow, m *materialRow) (fresh newMaterial, err error) {
	defer func() {
		if err != nil {
			fresh.erase()
		}
	}()
	fresh.backing, err = s.cfg.Epochs.Unwrap(k.aad(m.ID), m.Wrapped)
	if errors.Is(err, envelope.ErrErased) {
		return fresh, materialErased(k)
	}
	if err != nil {
		return fresh, fmt.Errorf("kms: open backing key of %s: %w", k.ID, err)
	}
	fresh.public = m.Public
	if m.Private == nil {
		return fresh, nil
	}
	a, err := privateAEAD(fresh.backing)
	if err != nil {
		return fresh, err
	}
	if fresh.private, err = a.Open(nil, nil, m.Private, k.aad(m.ID)); err != nil {
		return fresh, fmt.Errorf("kms: open private key of %s: %w", k.ID, err)
	}
	return fresh, nil
}

// privateAEAD seals private keys under their backing key, which seals nothing else.
func privateAEAD(backing secret.Key) (cipher.AEAD, error) {
	b, err := aes.NewCipher(backing.Bytes())
	if err != nil {
		return nil, fmt.Errorf("kms: AES: %w", err)
	}
	a, err := cipher.NewGCMWithRandomNonce(b)
	if err != nil {
		return nil, fmt.Errorf("kms: GCM: %w", err)
	}
	return a, nil
}

// openCurrent opens the version that encrypts and signs. The caller calls done.
func (s *Service) openCurrent(ctx context.Context, k *cachedKey) (*opened, *materialRow, error) {
	m := k.current()
	if m == nil {
		return nil, nil, kmsapi.KMSInvalidStateException("%s has no key material.", k.arn())
	}
	o, err := s.open(ctx, k, m)
	return o, m, err
}

// open returns a version of the key's material, ready for use. The caller calls
// done.
func (s *Service) open(ctx context.Context, k *cachedKey, m *materialRow) (*opened, error) {
	for {
		o, err := s.opened(k, m)
		if !errors.Is(err, envelope.ErrErased) {
			return o, err
		}
		// An erasure of other keys has wrapped this one anew since k was read;
		// one that was erased stays as it is.
		fresh, rerr := s.loadKey(ctx, k.Region, k.ID)
		if rerr != nil {
			return nil, errors.Join(err, rerr)
		}
		again := fresh.material(m.ID)
		if fresh == k || again == nil || bytes.Equal(again.Wrapped, m.Wrapped) {
			return nil, err
		}
		k, m = fresh, again
	}
}

// opened opens a version once: parsing an RSA key costs as much as a signature.
func (s *Service) opened(k *cachedKey, m *materialRow) (*opened, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if o := k.materials[m.ID]; o != nil {
		o.holds.Add(1)
		return o, nil
	}
	if m.Wrapped == nil { // no state in which the key is used has this
		return nil, kmsapi.KMSInvalidStateException("%s is pending import.", k.arn())
	}
	out, err := s.takeOut(&k.keyRow, m)
	if err != nil {
		return nil, err
	}
	o := &opened{backing: out.backing}
	o.holds.Store(1)
	if out.private != nil {
		defer clear(out.private)
		if o.private, err = parsePrivate(k.Spec, out.private); err != nil {
			o.done()
			return nil, fmt.Errorf("kms: read private key of %s: %w", k.ID, err)
		}
	}
	if !k.retired {
		o.holds.Add(1)
		k.materials[m.ID] = o
	}
	return o, nil
}

// retire ends the cache's hold on the key's material. Requests that have k still
// may go on to open it, each for itself.
func (k *cachedKey) retire() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.retired = true
	for _, o := range k.materials {
		o.done()
	}
	k.materials = nil
}
