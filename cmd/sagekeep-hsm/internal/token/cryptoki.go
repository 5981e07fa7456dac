package token

import (
	"errors"
	"fmt"
	"slices"

	"github.com/miekg/pkcs11"
)

// cryptoki is what this package calls in a PKCS#11 library. Methods with the names
// of [pkcs11.Ctx] behave like those.
type cryptoki interface {
	initialize() error
	Finalize() error
	GetSlotList(tokenPresent bool) ([]uint, error)
	GetTokenInfo(slot uint) (pkcs11.TokenInfo, error)
	GetMechanismInfo(slot uint, m []*pkcs11.Mechanism) (pkcs11.MechanismInfo, error)
	OpenSession(slot, flags uint) (pkcs11.SessionHandle, error)
	CloseSession(pkcs11.SessionHandle) error
	Login(s pkcs11.SessionHandle, userType uint, pin string) error
	GetAttributeValue(pkcs11.SessionHandle, pkcs11.ObjectHandle, []*pkcs11.Attribute) ([]*pkcs11.Attribute, error)
	SetAttributeValue(pkcs11.SessionHandle, pkcs11.ObjectHandle, []*pkcs11.Attribute) error
	GenerateKey(pkcs11.SessionHandle, []*pkcs11.Mechanism, []*pkcs11.Attribute) (pkcs11.ObjectHandle, error)
	DestroyObject(pkcs11.SessionHandle, pkcs11.ObjectHandle) error
	// find returns every object that has these attributes.
	find(pkcs11.SessionHandle, []*pkcs11.Attribute) ([]pkcs11.ObjectHandle, error)
	// seal encrypts with CKM_AES_GCM and a tag of 16 bytes at the end. It returns
	// the IV that was used: a token may put its own in the place of ours.
	seal(s pkcs11.SessionHandle, key pkcs11.ObjectHandle, iv, aad, plaintext []byte) (sealed, usedIV []byte, err error)
	// open decrypts what seal returned.
	open(s pkcs11.SessionHandle, key pkcs11.ObjectHandle, iv, aad, sealed []byte) ([]byte, error)
}

// module is a loaded PKCS#11 library.
type module struct{ *pkcs11.Ctx }

// load loads a library. It stays loaded until the process ends: some libraries
// cannot be unloaded while threads of theirs run.
func load(path string) (module, error) {
	ctx := pkcs11.New(path)
	if ctx == nil {
		return module{}, fmt.Errorf("load the PKCS#11 library %s: it is missing, for another architecture, or no such library", path)
	}
	return module{ctx}, nil
}

func (m module) initialize() error {
	err := m.Initialize() // with the system's locks, which the pool of sessions needs
	if is(err, pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED) {
		return nil
	}
	return err
}

func (m module) find(s pkcs11.SessionHandle, like []*pkcs11.Attribute) (all []pkcs11.ObjectHandle, err error) {
	if err := m.FindObjectsInit(s, like); err != nil {
		return nil, err
	}
	defer func() {
		if e := m.FindObjectsFinal(s); err == nil {
			err = e
		}
	}()
	for {
		some, _, err := m.FindObjects(s, 64)
		if err != nil || len(some) == 0 {
			return all, err
		}
		all = append(all, some...)
	}
}

func gcm(p *pkcs11.GCMParams) []*pkcs11.Mechanism {
	return []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, p)}
}

func (m module) seal(s pkcs11.SessionHandle, key pkcs11.ObjectHandle, iv, aad, plaintext []byte) ([]byte, []byte, error) {
	p := pkcs11.NewGCMParams(iv, aad, tagSize*8)
	defer p.Free()
	if err := m.EncryptInit(s, gcm(p), key); err != nil {
		return nil, nil, err
	}
	sealed, err := m.Encrypt(s, plaintext)
	return sealed, p.IV(), err
}

func (m module) open(s pkcs11.SessionHandle, key pkcs11.ObjectHandle, iv, aad, sealed []byte) ([]byte, error) {
	p := pkcs11.NewGCMParams(iv, aad, tagSize*8)
	defer p.Free()
	if err := m.DecryptInit(s, gcm(p), key); err != nil {
		return nil, err
	}
	plaintext, err := m.Decrypt(s, sealed)
	if err != nil && unclear(err) {
		err = &decryptError{err}
	}
	return plaintext, err
}

// decryptError is an error of C_Decrypt that may mean a wrong tag or a broken
// token: SoftHSM, for one, answers both with CKR_GENERAL_ERROR.
type decryptError struct{ cause error }

func (e *decryptError) Error() string { return e.cause.Error() }

func is(err error, codes ...uint) bool {
	e, ok := errors.AsType[pkcs11.Error](err)
	if !ok {
		return false
	}
	return slices.Contains(codes, uint(e))
}

func unclear(err error) bool {
	return is(err, pkcs11.CKR_GENERAL_ERROR, pkcs11.CKR_FUNCTION_FAILED, pkcs11.CKR_DEVICE_ERROR)
}

// lost reports whether err says that the token or our sessions with it are gone, or
// may be.
func lost(err error) bool {
	return unclear(err) || is(err, pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SESSION_CLOSED,
		pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_TOKEN_NOT_RECOGNIZED, pkcs11.CKR_DEVICE_REMOVED, pkcs11.CKR_DEVICE_MEMORY,
		pkcs11.CKR_USER_NOT_LOGGED_IN, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED, pkcs11.CKR_SLOT_ID_INVALID)
}

// stale reports whether err says that what we know of a key is not true any more.
func stale(err error) bool {
	return is(err, pkcs11.CKR_OBJECT_HANDLE_INVALID, pkcs11.CKR_KEY_HANDLE_INVALID, pkcs11.CKR_KEY_CHANGED,
		pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED)
}

// unopened reports whether err says that a ciphertext does not open.
func unopened(err error) bool {
	return is(err, pkcs11.CKR_ENCRYPTED_DATA_INVALID, pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE, pkcs11.CKR_DATA_INVALID,
		pkcs11.CKR_DATA_LEN_RANGE, pkcs11.CKR_MECHANISM_PARAM_INVALID, pkcs11.CKR_SIGNATURE_INVALID, pkcs11.CKR_ARGUMENTS_BAD)
}

// pinRefused reports whether another try with the same PIN could lock the token.
func pinRefused(err error) bool {
	return is(err, pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE, pkcs11.CKR_PIN_EXPIRED,
		pkcs11.CKR_PIN_LOCKED, pkcs11.CKR_USER_PIN_NOT_INITIALIZED)
}
