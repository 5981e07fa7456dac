package token

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/miekg/pkcs11"
)

// Key is what may be told about a version of a key.
type Key struct {
	Label string
	// ID is CKA_ID, which tells the versions of a label apart.
	ID   []byte
	Bits int
	// Encrypt and Decrypt are what the attributes of the key allow.
	Encrypt, Decrypt bool
	// Sensitive: the token does not show the key. Extractable: it may be wrapped
	// and taken out. Local: it was made in the token.
	Sensitive, Extractable, Local bool

	handle pkcs11.ObjectHandle
}

// Disabled reports whether the token refuses every use of the key.
func (k *Key) Disabled() bool { return !k.Encrypt && !k.Decrypt }

// Version is CKA_ID in hexadecimal.
func (k *Key) Version() string { return hex.EncodeToString(k.ID) }

// number is CKA_ID as a number, without leading zeros.
func (k *Key) number() []byte { return bytes.TrimLeft(k.ID, "\x00") }

func compareVersions(a, b *Key) int {
	x, y := a.number(), b.number()
	if len(x) != len(y) {
		return len(x) - len(y)
	}
	return bytes.Compare(x, y)
}

var label = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,128}$`)

// CheckLabel reports whether s can name a key here: it must be able to stand as an
// external key id in a path.
func CheckLabel(s string) error {
	if !label.MatchString(s) || s == "." || s == ".." {
		return fmt.Errorf("%q is not a key label: want 1 to 128 of the characters a-z A-Z 0-9 _ . -", s)
	}
	return nil
}

const (
	keyBits  = 256
	idSize   = 8  // bytes of a CKA_ID that Generate makes
	maxCount = 16 // bytes of a CKA_ID that Generate counts on from
	// keysLive is how long the attributes of a key are believed. A key that another
	// program disables is refused after that time at the latest.
	keysLive = time.Second
)

// found are the versions of a key, the oldest first.
type found struct {
	versions []Key
	until    time.Time
}

func (l *link) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.keys)
}

// Versions returns the versions of a key, the oldest first; the last one encrypts.
// Errors: ErrNoKey, ErrAmbiguous.
func (t *Token) Versions(ctx context.Context, label string) ([]Key, error) {
	return do(ctx, t, func(c *call) ([]Key, error) {
		v, err := c.versions(label)
		return slices.Clone(v), err
	})
}

// List returns every AES key of the token, by label and version.
func (t *Token) List(ctx context.Context) ([]Key, error) {
	return do(ctx, t, func(c *call) ([]Key, error) {
		all, err := c.search("")
		slices.SortStableFunc(all, func(a, b Key) int { return strings.Compare(a.Label, b.Label) })
		return all, err
	})
}

func (c *call) versions(label string) ([]Key, error) {
	c.link.mu.Lock()
	f, ok := c.keys[label]
	c.link.mu.Unlock()
	if ok && c.now().Before(f.until) {
		return f.versions, nil
	}
	at := c.now()
	all, err := c.search(label)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		// A token that was pulled out may look like an empty one.
		if err := c.present(); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %s", ErrNoKey, label)
	}
	for i := range all[1:] {
		if compareVersions(&all[i], &all[i+1]) == 0 {
			return nil, fmt.Errorf("%w: label %s, CKA_ID %s", ErrAmbiguous, label, all[i].Version())
		}
	}
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.keys[label] = found{all, at.Add(keysLive)}
	return all, nil
}

// present fails with a loss when the token is not in its slot any more.
func (c *call) present() error {
	info, err := c.lib.GetTokenInfo(c.slot)
	if err != nil && !lost(err) || err == nil && trim(info.Label) != c.cfg.Label {
		return pkcs11.Error(pkcs11.CKR_TOKEN_NOT_PRESENT)
	}
	return err
}

// version returns one version of a key: that with this id.
func (c *call) version(label string, id []byte) (*Key, error) {
	all, err := c.versions(label)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if bytes.Equal(all[i].ID, id) {
			return &all[i], nil
		}
	}
	return nil, fmt.Errorf("%w: %s, version %x", ErrNoKey, label, id)
}

// search reads the AES keys of the token with this label, or all, by version.
func (c *call) search(label string) ([]Key, error) {
	like := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
	}
	if label != "" {
		like = append(like, pkcs11.NewAttribute(pkcs11.CKA_LABEL, label))
	}
	handles, err := c.lib.find(c.session, like)
	if err != nil {
		return nil, err
	}
	var all []Key
	for _, h := range handles {
		k, err := c.read(h)
		if err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b Key) int { return compareVersions(&a, &b) })
	return all, nil
}

func (c *call) read(h pkcs11.ObjectHandle) (Key, error) {
	v, err := c.attributes(h,
		pkcs11.CKA_LABEL, pkcs11.CKA_ID, pkcs11.CKA_VALUE_LEN, pkcs11.CKA_ENCRYPT, pkcs11.CKA_DECRYPT,
		pkcs11.CKA_SENSITIVE, pkcs11.CKA_EXTRACTABLE, pkcs11.CKA_LOCAL)
	if err != nil {
		return Key{}, err
	}
	return Key{
		Label: string(v[pkcs11.CKA_LABEL]), ID: v[pkcs11.CKA_ID], Bits: 8 * number(v[pkcs11.CKA_VALUE_LEN]),
		Encrypt: yes(v[pkcs11.CKA_ENCRYPT]), Decrypt: yes(v[pkcs11.CKA_DECRYPT]),
		Sensitive: yes(v[pkcs11.CKA_SENSITIVE]), Extractable: yes(v[pkcs11.CKA_EXTRACTABLE]), Local: yes(v[pkcs11.CKA_LOCAL]),
		handle: h,
	}, nil
}

// attributes reads what the token tells of an object. What it does not know is
// left out.
func (c *call) attributes(h pkcs11.ObjectHandle, types ...uint) (map[uint][]byte, error) {
	out := map[uint][]byte{}
	read := func(types ...uint) error {
		var ask []*pkcs11.Attribute
		for _, t := range types {
			ask = append(ask, pkcs11.NewAttribute(t, nil))
		}
		got, err := c.lib.GetAttributeValue(c.session, h, ask)
		if err == nil {
			for _, a := range got {
				out[a.Type] = a.Value
			}
		}
		return err
	}
	err := read(types...)
	if !is(err, pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, pkcs11.CKR_ATTRIBUTE_SENSITIVE) {
		return out, err
	}
	for _, t := range types {
		if err := read(t); err != nil && !is(err, pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, pkcs11.CKR_ATTRIBUTE_SENSITIVE) {
			return nil, err
		}
	}
	return out, nil
}

func yes(b []byte) bool { return len(b) == 1 && b[0] != 0 }

// number reads a CK_ULONG, which has the order and size of the machine.
func number(b []byte) int {
	switch len(b) {
	case 8:
		return int(binary.NativeEndian.Uint64(b))
	case 4:
		return int(binary.NativeEndian.Uint32(b))
	}
	return 0
}

// trim removes the padding of a PKCS#11 text.
func trim(s string) string { return strings.TrimRight(s, " \x00") }

// Generate makes an AES-256 key in the token that cannot leave it, and its first
// version. With rotate it makes a further version of a key. Errors: ErrExists
// without rotate, ErrNoKey with it.
func (t *Token) Generate(ctx context.Context, label string, rotate bool) (Key, error) {
	if err := CheckLabel(label); err != nil {
		return Key{}, err
	}
	return do(ctx, t, func(c *call) (Key, error) {
		c.forget()
		defer c.forget()
		all, err := c.search(label)
		switch {
		case err != nil:
			return Key{}, err
		case !rotate && len(all) > 0:
			return Key{}, fmt.Errorf("%w: %s", ErrExists, label)
		case rotate && len(all) == 0:
			return Key{}, fmt.Errorf("%w: %s", ErrNoKey, label)
		}
		id := make([]byte, idSize)
		id[idSize-1] = 1
		if rotate {
			if id, err = nextID(&all[len(all)-1]); err != nil {
				return Key{}, err
			}
		}
		return c.generate(label, id)
	})
}

// nextID returns the CKA_ID after that of k, of the same length where it fits.
func nextID(k *Key) ([]byte, error) {
	if len(k.ID) > maxCount {
		return nil, fmt.Errorf("the CKA_ID %s is too long to count on from: give the new version a higher one with the tools of the token", k.Version())
	}
	id := slices.Clone(k.ID)
	for i := len(id) - 1; i >= 0; i-- {
		id[i]++
		if id[i] != 0 {
			return id, nil
		}
	}
	return append([]byte{1}, id...), nil
}

func (c *call) generate(label string, id []byte) (Key, error) {
	s, err := c.lib.OpenSession(c.slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		return Key{}, err
	}
	defer func() { _ = c.lib.CloseSession(s) }()
	h, err := c.lib.GenerateKey(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_GEN, nil)}, append(secretKey(true),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, label),
		pkcs11.NewAttribute(pkcs11.CKA_ID, id),
		pkcs11.NewAttribute(pkcs11.CKA_MODIFIABLE, true), // for SetEnabled; nothing makes an unextractable key extractable
	))
	if err != nil {
		return Key{}, err
	}
	k, err := c.read(h)
	if err == nil && (!k.Sensitive || k.Extractable) {
		_ = c.lib.DestroyObject(s, h)
		return Key{}, fmt.Errorf("%w: it made the key without CKA_SENSITIVE or with CKA_EXTRACTABLE; the key was destroyed", ErrUnavailable)
	}
	return k, err
}

// secretKey are the attributes of the keys that we make.
func secretKey(onToken bool) []*pkcs11.Attribute {
	out := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
		pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, keyBits/8),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, onToken),
	}
	for _, t := range []uint{pkcs11.CKA_PRIVATE, pkcs11.CKA_SENSITIVE, pkcs11.CKA_ENCRYPT, pkcs11.CKA_DECRYPT} {
		out = append(out, pkcs11.NewAttribute(t, true))
	}
	for _, t := range []uint{pkcs11.CKA_EXTRACTABLE, pkcs11.CKA_WRAP, pkcs11.CKA_UNWRAP, pkcs11.CKA_SIGN, pkcs11.CKA_VERIFY, pkcs11.CKA_DERIVE} {
		out = append(out, pkcs11.NewAttribute(t, false))
	}
	return out
}

// SetEnabled ends or restores the use of every version of a key, for every program:
// CKA_ENCRYPT and CKA_DECRYPT become false, or true. Errors: ErrNoKey; ErrUsage when
// the token does not let the attributes change.
func (t *Token) SetEnabled(ctx context.Context, label string, enabled bool) error {
	_, err := do(ctx, t, func(c *call) (struct{}, error) {
		c.forget()
		defer c.forget()
		all, err := c.versions(label)
		if err != nil {
			return struct{}{}, err
		}
		s, err := c.lib.OpenSession(c.slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
		if err != nil {
			return struct{}{}, err
		}
		defer func() { _ = c.lib.CloseSession(s) }()
		for i := range all {
			err := c.lib.SetAttributeValue(s, all[i].handle, []*pkcs11.Attribute{
				pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, enabled),
				pkcs11.NewAttribute(pkcs11.CKA_DECRYPT, enabled),
			})
			if is(err, pkcs11.CKR_ATTRIBUTE_READ_ONLY, pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, pkcs11.CKR_ACTION_PROHIBITED) {
				err = fmt.Errorf("%w: the token does not let its attributes change: %w", ErrUsage, err)
			}
			if err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	})
	return err
}
