package token

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"slices"
	"sync"

	"github.com/miekg/pkcs11"
)

// library is a PKCS#11 library in memory that can lose its token.
type library struct {
	mu       sync.Mutex
	slots    []uint
	label    string
	pin      string
	noGCM    bool
	wrongTag uint // what C_Decrypt answers to a wrong tag
	removed  uint // what every call answers, 0 while the token is there
	hang     chan struct{}

	makesExtractable bool

	initialised bool
	count_      int // of initialisations
	logins      int
	loggedIn    bool
	last        uint
	sessions    map[pkcs11.SessionHandle]bool
	objects     []*object
}

// object is an AES key.
type object struct {
	handle           pkcs11.ObjectHandle
	onToken          bool
	label            string
	id               []byte
	value            []byte
	size             int // that it shows, in bytes
	encrypt, decrypt bool
	extractable      bool
	noLocal          bool
}

func newLibrary() *library {
	return &library{slots: []uint{1}, label: "prod", pin: "1234", wrongTag: pkcs11.CKR_GENERAL_ERROR, sessions: map[pkcs11.SessionHandle]bool{}}
}

// with runs fn while nothing else happens.
func (l *library) with(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fn()
}

// count returns how often the library was initialised.
func (l *library) count() (n int) {
	l.with(func() { n = l.count_ })
	return n
}

func (l *library) closeSessions() {
	clear(l.sessions)
	l.loggedIn = false
}

func (l *library) next() uint {
	l.last++
	return l.last
}

// state is what every call looks at first. The caller holds mu.
func (l *library) state(s pkcs11.SessionHandle) error {
	switch {
	case !l.initialised:
		return pkcs11.Error(pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED)
	case l.removed == pkcs11.CKR_OBJECT_HANDLE_INVALID && s == 0:
		return pkcs11.Error(pkcs11.CKR_GENERAL_ERROR)
	case l.removed != 0:
		return pkcs11.Error(l.removed)
	case s != 0 && !l.sessions[s]:
		return pkcs11.Error(pkcs11.CKR_SESSION_HANDLE_INVALID)
	case s != 0 && !l.loggedIn:
		return pkcs11.Error(pkcs11.CKR_USER_NOT_LOGGED_IN)
	}
	return nil
}

func (l *library) initialize() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count_++
	if l.removed != 0 {
		return pkcs11.Error(pkcs11.CKR_GENERAL_ERROR)
	}
	l.initialised = true
	return nil
}

func (l *library) Finalize() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closeSessions()
	l.initialised = false
	// Handles mean nothing afterwards, and session objects are gone.
	l.objects = slices.DeleteFunc(l.objects, func(o *object) bool { return !o.onToken })
	for _, o := range l.objects {
		o.handle = pkcs11.ObjectHandle(l.next())
	}
	return nil
}

func (l *library) GetSlotList(bool) ([]uint, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.slots, l.state(0)
}

func (l *library) GetTokenInfo(uint) (pkcs11.TokenInfo, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return pkcs11.TokenInfo{Label: l.label + "  ", ManufacturerID: "Nobody ", Model: "Fake", SerialNumber: "7", Flags: pkcs11.CKF_TOKEN_INITIALIZED}, l.state(0)
}

func (l *library) GetMechanismInfo(uint, []*pkcs11.Mechanism) (pkcs11.MechanismInfo, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.noGCM {
		return pkcs11.MechanismInfo{}, pkcs11.Error(pkcs11.CKR_MECHANISM_INVALID)
	}
	return pkcs11.MechanismInfo{Flags: pkcs11.CKF_ENCRYPT | pkcs11.CKF_DECRYPT}, l.state(0)
}

func (l *library) OpenSession(uint, uint) (pkcs11.SessionHandle, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.state(0); err != nil {
		return 0, err
	}
	s := pkcs11.SessionHandle(l.next())
	l.sessions[s] = true
	return s, nil
}

func (l *library) CloseSession(s pkcs11.SessionHandle) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.sessions, s)
	return l.state(0)
}

func (l *library) Login(_ pkcs11.SessionHandle, _ uint, pin string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.state(0); err != nil {
		return err
	}
	l.logins++
	if pin != l.pin {
		return pkcs11.Error(pkcs11.CKR_PIN_INCORRECT)
	}
	l.loggedIn = true
	return nil
}

func (l *library) object(h pkcs11.ObjectHandle) (*object, error) {
	for _, o := range l.objects {
		if o.handle == h {
			return o, nil
		}
	}
	return nil, pkcs11.Error(pkcs11.CKR_OBJECT_HANDLE_INVALID)
}

func flag(b bool) []byte {
	if b {
		return []byte{1}
	}
	return []byte{0}
}

func (l *library) GetAttributeValue(s pkcs11.SessionHandle, h pkcs11.ObjectHandle, ask []*pkcs11.Attribute) ([]*pkcs11.Attribute, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.state(s); err != nil {
		return nil, err
	}
	o, err := l.object(h)
	if err != nil {
		return nil, err
	}
	have := map[uint][]byte{
		pkcs11.CKA_LABEL: []byte(o.label), pkcs11.CKA_ID: o.id, pkcs11.CKA_VALUE_LEN: binary.NativeEndian.AppendUint64(nil, uint64(o.size)),
		pkcs11.CKA_ENCRYPT: flag(o.encrypt), pkcs11.CKA_DECRYPT: flag(o.decrypt), pkcs11.CKA_SENSITIVE: flag(true),
		pkcs11.CKA_EXTRACTABLE: flag(o.extractable),
	}
	if !o.noLocal {
		have[pkcs11.CKA_LOCAL] = flag(true)
	}
	var out []*pkcs11.Attribute
	for _, a := range ask {
		v, ok := have[a.Type]
		if !ok {
			return nil, pkcs11.Error(pkcs11.CKR_ATTRIBUTE_TYPE_INVALID)
		}
		out = append(out, &pkcs11.Attribute{Type: a.Type, Value: bytes.Clone(v)})
	}
	return out, nil
}

func (l *library) SetAttributeValue(s pkcs11.SessionHandle, h pkcs11.ObjectHandle, set []*pkcs11.Attribute) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.state(s); err != nil {
		return err
	}
	o, err := l.object(h)
	if err != nil {
		return err
	}
	for _, a := range set {
		o.set(a)
	}
	return nil
}

func (o *object) set(a *pkcs11.Attribute) {
	switch a.Type {
	case pkcs11.CKA_ENCRYPT:
		o.encrypt = yes(a.Value)
	case pkcs11.CKA_DECRYPT:
		o.decrypt = yes(a.Value)
	case pkcs11.CKA_LABEL:
		o.label = string(a.Value)
	case pkcs11.CKA_ID:
		o.id = bytes.Clone(a.Value)
	case pkcs11.CKA_TOKEN:
		o.onToken = yes(a.Value)
	case pkcs11.CKA_EXTRACTABLE:
		o.extractable = yes(a.Value)
	}
}

func (l *library) GenerateKey(s pkcs11.SessionHandle, _ []*pkcs11.Mechanism, like []*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.state(s); err != nil {
		return 0, err
	}
	o := &object{handle: pkcs11.ObjectHandle(l.next()), value: make([]byte, 32), size: 32}
	rand.Read(o.value)
	for _, a := range like {
		o.set(a)
	}
	o.extractable = o.extractable || l.makesExtractable
	l.objects = append(l.objects, o)
	return o.handle, nil
}

func (l *library) DestroyObject(s pkcs11.SessionHandle, h pkcs11.ObjectHandle) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.objects = slices.DeleteFunc(l.objects, func(o *object) bool { return o.handle == h })
	return l.state(s)
}

func (l *library) find(s pkcs11.SessionHandle, like []*pkcs11.Attribute) ([]pkcs11.ObjectHandle, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// Like SoftHSM's, this token looks empty when it is gone.
	if l.removed == pkcs11.CKR_OBJECT_HANDLE_INVALID {
		return nil, nil
	}
	if err := l.state(s); err != nil {
		return nil, err
	}
	var out []pkcs11.ObjectHandle
	for _, o := range l.objects {
		match := o.onToken
		for _, a := range like {
			match = match && (a.Type != pkcs11.CKA_LABEL || o.label == string(a.Value))
		}
		if match {
			out = append(out, o.handle)
		}
	}
	return out, nil
}

func (l *library) aead(s pkcs11.SessionHandle, h pkcs11.ObjectHandle, allowed func(*object) bool) (cipher.AEAD, error) {
	l.mu.Lock()
	hang := l.hang
	l.mu.Unlock()
	if hang != nil {
		<-hang
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.state(s); err != nil {
		return nil, err
	}
	o, err := l.object(h)
	switch {
	case err != nil:
		return nil, err
	case !allowed(o) && o.onToken:
		return nil, pkcs11.Error(pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED)
	}
	block, err := aes.NewCipher(o.value)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func (l *library) seal(s pkcs11.SessionHandle, h pkcs11.ObjectHandle, iv, aad, plaintext []byte) ([]byte, []byte, error) {
	a, err := l.aead(s, h, func(o *object) bool { return o.encrypt })
	if err != nil {
		return nil, nil, err
	}
	return a.Seal(nil, iv, plaintext, aad), bytes.Clone(iv), nil
}

func (l *library) open(s pkcs11.SessionHandle, h pkcs11.ObjectHandle, iv, aad, sealed []byte) ([]byte, error) {
	a, err := l.aead(s, h, func(o *object) bool { return o.decrypt })
	if err != nil {
		return nil, err
	}
	b, err := a.Open(nil, iv, sealed, aad)
	if err == nil {
		return b, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := pkcs11.Error(l.wrongTag); unclear(err) {
		return nil, &decryptError{err}
	}
	return nil, pkcs11.Error(l.wrongTag)
}
