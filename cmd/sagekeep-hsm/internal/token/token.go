// Package token uses AES-256 keys that never leave a PKCS#11 token.
//
// A key is found by its label. Keys with one label are versions of one key, told
// apart by CKA_ID, which is read as a big-endian number: the highest one encrypts,
// all of them decrypt. A key that may do neither is disabled. (PKCS#11 has no other
// switch: validity dates bind nobody, and SoftHSM 2.6 cannot read them back.)
//
// Sessions are pooled. When the token or the sessions are lost, the library is
// initialised anew, at most once a second, and the call is tried again; a PIN that
// the token refused is never offered a second time.
//
// Source: OASIS PKCS #11 Cryptographic Token Interface Base Specification 2.40.
package token

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/miekg/pkcs11"
)

// Errors of the methods of [Token], wrapped with more.
var (
	// ErrNoKey: the token has no AES key with this label, or none of this version.
	ErrNoKey = errors.New("the token has no such key")
	// ErrAmbiguous: two keys have the same label and CKA_ID.
	ErrAmbiguous = errors.New("two keys of the token have this label and the same CKA_ID")
	// ErrExists: Generate found a key with the label.
	ErrExists = errors.New("the token has a key with this label")
	// ErrDisabled: the key may neither encrypt nor decrypt.
	ErrDisabled = errors.New("the key is disabled")
	// ErrUsage: the key is not AES-256, or its attributes forbid the operation.
	ErrUsage = errors.New("the key is not for this operation")
	// ErrInvalid: the ciphertext does not open: altered, or of another key or
	// other additional data. These cannot be told apart.
	ErrInvalid = errors.New("the ciphertext does not open")
	// ErrDenied: the token refuses our PIN.
	ErrDenied = errors.New("the token refuses the PIN")
	// ErrUnavailable: the token is not there, or fails. Try again later.
	ErrUnavailable = errors.New("the token cannot be used")
	// ErrBusy: no session became free in time.
	ErrBusy = errors.New("all sessions with the token are busy")
	// ErrTimeout: the token did not answer in time.
	ErrTimeout = errors.New("the token did not answer in time")
)

// Config says which token, and how to reach it.
type Config struct {
	// Module is the path of the PKCS#11 library.
	Module string
	// Label is the label of the token. Exactly one token must have it.
	Label string
	// PIN returns the PIN of the token's user. It is asked at every login.
	PIN func() (string, error)
	// Sessions is how many calls the token serves at the same time; 0 means 8.
	Sessions int
	// Log takes losses and returns of the token; nil drops them.
	Log *slog.Logger
}

// errPause: the library was initialised a moment ago.
var errPause = fmt.Errorf("%w: it was reached anew a moment ago", ErrUnavailable)

const (
	defaultSessions = 8
	// attempts of one call: with what is known, with keys looked up anew, on a new
	// connection.
	attempts = 3
	// reconnectPause is the least time between two initialisations of the library.
	reconnectPause = time.Second
	// closeWait is how long Close waits for calls under way.
	closeWait = 5 * time.Second
)

// Token is a token that somebody is logged in to. It may be used concurrently.
type Token struct {
	cfg   Config
	lib   cryptoki
	now   func() time.Time
	slots chan struct{} // one place for each call under way

	// mu is held for reading during calls into the library, and for writing while
	// it is initialised anew.
	mu         sync.RWMutex
	link       *link // nil while the token cannot be reached
	next       time.Time
	failure    error // why link is nil
	refusedPIN *string
}

// link is one login, from C_Initialize to C_Finalize.
type link struct {
	slot   uint
	info   pkcs11.TokenInfo
	anchor pkcs11.SessionHandle // stays open: closing the last session logs out

	mu   sync.Mutex
	idle []pkcs11.SessionHandle
	keys map[string]found // by label
}

// Open loads the library and logs in. Errors: ErrDenied, ErrUnavailable, and
// others when the library cannot be loaded.
func Open(cfg Config) (*Token, error) {
	lib, err := load(cfg.Module)
	if err != nil {
		return nil, err
	}
	return open(cfg, lib)
}

func open(cfg Config, lib cryptoki) (*Token, error) {
	if cfg.Sessions == 0 {
		cfg.Sessions = defaultSessions
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	t := &Token{cfg: cfg, lib: lib, now: time.Now, slots: make(chan struct{}, cfg.Sessions)}
	if err := t.connect(nil); err != nil {
		return nil, err
	}
	return t, nil
}

// Close logs out and lets go of the library. Calls under way get a moment to end.
func (t *Token) Close() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.drop()
	}()
	select {
	case <-done:
	case <-time.After(closeWait):
	}
}

// call is one attempt at something, with a session of its own.
type call struct {
	*Token
	*link
	session pkcs11.SessionHandle
}

// do runs fn with a session, and again when the token was lost meanwhile; so fn
// must have no effect that a second run could not repeat. When ctx ends first, fn
// goes on alone, with its session.
func do[T any](ctx context.Context, t *Token, fn func(*call) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	select {
	case t.slots <- struct{}{}:
	case <-ctx.Done():
		return none, ErrBusy
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-t.slots }()
		var r result
		for range attempts {
			var again bool
			if r.value, again, r.err = try(t, fn); !again {
				break
			}
		}
		done <- r
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return none, public(r.err)
		}
		return r.value, nil
	case <-ctx.Done():
		return none, ErrTimeout
	}
}

// try runs fn once. again says that another attempt may end better.
func try[T any](t *Token, fn func(*call) (T, error)) (value T, again bool, err error) {
	t.mu.RLock()
	l := t.link
	if l != nil {
		value, err = with(t, l, fn)
	}
	t.mu.RUnlock()
	switch {
	case l == nil || lost(err):
		if err != nil {
			t.cfg.Log.Warn("lost the token", "error", err)
		}
		e := t.connect(l)
		if errors.Is(e, errPause) && err != nil {
			e = fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		if e != nil {
			return value, false, e
		}
		return value, true, err
	case stale(err):
		l.forget()
		return value, true, err
	}
	return value, false, err
}

func with[T any](t *Token, l *link, fn func(*call) (T, error)) (T, error) {
	s, err := l.take(t.lib)
	if err != nil {
		var none T
		return none, err
	}
	v, err := fn(&call{t, l, s})
	l.give(t.lib, s, err == nil)
	return v, err
}

// public makes an error of the library one of this package's.
func public(err error) error {
	switch {
	case stale(err):
		return fmt.Errorf("%w: %w", ErrUsage, err)
	case is(err, pkcs11.CKR_KEY_TYPE_INCONSISTENT, pkcs11.CKR_KEY_SIZE_RANGE):
		return fmt.Errorf("%w: %w", ErrUsage, err)
	}
	if _, ok := errors.AsType[pkcs11.Error](err); ok && !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrDenied) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

func (l *link) take(lib cryptoki) (pkcs11.SessionHandle, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.idle); n > 0 {
		s := l.idle[n-1]
		l.idle = l.idle[:n-1]
		return s, nil
	}
	return lib.OpenSession(l.slot, pkcs11.CKF_SERIAL_SESSION)
}

// give puts a session back. After a failure an operation may still be active in
// it, so it is closed.
func (l *link) give(lib cryptoki, s pkcs11.SessionHandle, clean bool) {
	if !clean {
		_ = lib.CloseSession(s) // it may be gone: that was the failure
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.idle = append(l.idle, s)
}

// connect replaces the link old, unless somebody did so already.
func (t *Token) connect(old *link) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.link != old {
		return nil
	}
	if now := t.now(); now.Before(t.next) {
		if t.failure != nil {
			return t.failure
		}
		return errPause
	}
	t.drop()
	l, err := t.establish()
	if err != nil {
		_ = t.lib.Finalize()
		t.failure = err
	} else {
		t.link, t.failure = l, nil
		if old != nil {
			t.cfg.Log.Info("reached the token again", "token", t.cfg.Label)
		}
	}
	t.next = t.now().Add(reconnectPause)
	return err
}

// drop ends the link. The caller holds mu.
func (t *Token) drop() {
	if t.link != nil {
		_ = t.lib.Finalize() // closes every session, which logs out
		t.link = nil
	}
}

func (t *Token) establish() (*link, error) {
	if err := t.lib.initialize(); err != nil {
		return nil, fmt.Errorf("%w: initialise the library: %w", ErrUnavailable, err)
	}
	l, err := t.locate()
	if err != nil {
		return nil, err
	}
	m, err := t.lib.GetMechanismInfo(l.slot, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, nil)})
	if err != nil || m.Flags&pkcs11.CKF_ENCRYPT == 0 || m.Flags&pkcs11.CKF_DECRYPT == 0 {
		return nil, fmt.Errorf("%w: token %s has no CKM_AES_GCM", ErrUnavailable, t.cfg.Label)
	}
	if l.anchor, err = t.lib.OpenSession(l.slot, pkcs11.CKF_SERIAL_SESSION); err != nil {
		return nil, fmt.Errorf("%w: open a session: %w", ErrUnavailable, err)
	}
	if err := t.login(l.anchor); err != nil {
		return nil, err
	}
	return l, nil
}

// locate finds the token by its label.
func (t *Token) locate() (*link, error) {
	slots, err := t.lib.GetSlotList(true)
	if err != nil {
		return nil, fmt.Errorf("%w: list slots: %w", ErrUnavailable, err)
	}
	var l *link
	for _, slot := range slots {
		info, err := t.lib.GetTokenInfo(slot)
		if err != nil || info.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0 || trim(info.Label) != t.cfg.Label {
			continue
		}
		if l != nil {
			return nil, fmt.Errorf("%w: two tokens have the label %q", ErrUnavailable, t.cfg.Label)
		}
		l = &link{slot: slot, info: info, keys: map[string]found{}}
	}
	if l == nil {
		return nil, fmt.Errorf("%w: no slot holds a token with the label %q", ErrUnavailable, t.cfg.Label)
	}
	return l, nil
}

func (t *Token) login(s pkcs11.SessionHandle) error {
	pin, err := t.cfg.PIN()
	if err != nil {
		return fmt.Errorf("%w: read the PIN: %w", ErrUnavailable, err)
	}
	if t.refusedPIN != nil && *t.refusedPIN == pin {
		return fmt.Errorf("%w: it did so before, and is not asked again until the PIN changes", ErrDenied)
	}
	err = t.lib.Login(s, pkcs11.CKU_USER, pin)
	switch {
	case err == nil || is(err, pkcs11.CKR_USER_ALREADY_LOGGED_IN):
		t.refusedPIN = nil
		return nil
	case pinRefused(err):
		t.refusedPIN = &pin
		return fmt.Errorf("%w: %w", ErrDenied, err)
	}
	return fmt.Errorf("%w: log in: %w", ErrUnavailable, err)
}
