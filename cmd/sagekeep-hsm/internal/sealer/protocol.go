// Package sealer is the side program of the seal pkcs11:SOCKET: it wraps and unwraps
// the root keys of Sagekeep under a key in a token, for processes of the same user
// on the same machine.
//
// The protocol is that of docs/seals.md. Wrapped bytes are
//
//	1 | IV length (1) | IV | ciphertext (32) | tag (16)
//
// where 1 is the version of this form, the IV has 12 bytes, or 16 when the token
// chose so, and the token authenticates, with the
// ciphertext, the text "sagekeep-hsm seal 1", a zero byte, and the pairs of the
// context in the order of their names, each text with its length in 4 bytes, big
// endian. No request of an external key store can make or open that: there the
// first two bytes are a length of 8192 at most.
package sealer

import (
	"context"
	"crypto/subtle"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sagekeep/sagekeep/cmd/sagekeep-hsm/internal/token"
)

const (
	protocolVersion = 1
	formVersion     = 1
	rootKeySize     = 32
	headerSize      = 2  // version and length of the IV
	ivSize          = 12 // ours
	longIVSize      = 16 // what some tokens choose
	tagSize         = 16
	maxContext      = 16 // pairs
	maxErrorText    = 1024
	boundTo         = "sagekeep-hsm seal 1\x00"
)

type request struct {
	Version   int               `json:"version"`
	Operation string            `json:"operation"`
	KeyID     string            `json:"keyId"`
	Data      []byte            `json:"data"`
	Context   map[string]string `json:"context"`
}

type answer struct {
	KeyID     string `json:"keyId,omitempty"`
	Data      []byte `json:"data,omitempty"`
	Algorithm string `json:"algorithm,omitempty"`
	FIPS      bool   `json:"fips,omitempty"`
	Code      string `json:"code,omitempty"`
	Error     string `json:"error,omitempty"`
}

// refusal is an error with a code of the protocol.
type refusal struct{ code, text string }

func (r *refusal) Error() string { return r.code + ": " + r.text }

func refuse(code, format string, args ...any) error {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// Codes of the protocol.
const (
	wrongKey    = "WrongKey"
	denied      = "Denied"
	unavailable = "Unavailable"
	badRequest  = "BadRequest"
)

// refusalOf returns the code and text for an error.
func refusalOf(err error) *refusal {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r
	}
	code := unavailable
	switch {
	case errors.Is(err, token.ErrInvalid):
		code = wrongKey
	case errors.Is(err, token.ErrDisabled), errors.Is(err, token.ErrUsage), errors.Is(err, token.ErrDenied), errors.Is(err, token.ErrAmbiguous):
		code = denied
	}
	return &refusal{code, err.Error()}
}

// answer returns the reply to one message.
func (s *Server) answer(ctx context.Context, message []byte) []byte {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	var req request
	a, err := answer{}, refuse(badRequest, "the request is not a JSON object with the members of the protocol")
	if json.Unmarshal(message, &req) == nil {
		a, err = s.perform(ctx, &req)
	}
	clear(req.Data)
	if err != nil {
		r := refusalOf(err)
		// A character that is cut in two goes: its parts would grow in JSON.
		a = answer{Code: r.code, Error: strings.ToValidUTF8(r.text[:min(len(r.text), maxErrorText)], "")}
		s.cfg.Log.Warn("refused", "operation", req.Operation, "key_id", req.KeyID, "data_dir", req.Context["sagekeep:data-dir"], "code", r.code, "error", err)
	} else {
		s.cfg.Log.Info("answered", "operation", req.Operation, "key_id", a.KeyID, "data_dir", req.Context["sagekeep:data-dir"])
	}
	b, err := json.Marshal(a)
	if err != nil {
		panic("sealer: an answer does not marshal: " + err.Error())
	}
	clear(a.Data)
	return b
}

func (s *Server) perform(ctx context.Context, req *request) (answer, error) {
	if req.Version < 1 || req.Version > protocolVersion {
		return answer{}, refuse(badRequest, "version %d: this program speaks version %d", req.Version, protocolVersion)
	}
	if len(req.Context) > maxContext {
		return answer{}, refuse(badRequest, "context has more than %d members", maxContext)
	}
	switch req.Operation {
	case "wrap":
		return s.wrap(ctx, req)
	case "unwrap":
		return s.unwrap(ctx, req)
	case "info":
		return s.describe(ctx)
	}
	return answer{}, refuse(badRequest, "operation %q is not wrap, unwrap or info", req.Operation)
}

// current returns the version that wraps now.
func (s *Server) current(ctx context.Context) (*token.Key, error) {
	all, err := s.cfg.Token.Versions(ctx, s.cfg.Label)
	if errors.Is(err, token.ErrNoKey) {
		return nil, refuse(unavailable, "the token has no AES key with the label %s; `sagekeep-hsm keygen` makes one", s.cfg.Label)
	}
	if err != nil {
		return nil, err
	}
	return &all[len(all)-1], nil
}

func (s *Server) wrap(ctx context.Context, req *request) (answer, error) {
	if len(req.Data) != rootKeySize {
		return answer{}, refuse(badRequest, "data has %d bytes, not %d", len(req.Data), rootKeySize)
	}
	if req.KeyID != "" {
		return answer{}, refuse(badRequest, "keyId must be empty: the token takes its current key")
	}
	k, err := s.current(ctx)
	if err != nil {
		return answer{}, err
	}
	bound := boundData(req.Context)
	sealed, err := s.cfg.Token.Encrypt(ctx, k.Label, k.ID, req.Data, bound)
	if err != nil {
		return answer{}, err
	}
	wrapped := encode(sealed)
	// Data depends on this one copy: see that it opens, before it is stored.
	stored, ok := decode(wrapped)
	if !ok {
		return answer{}, refuse(unavailable, "the token answered with an IV of %d bytes and %d bytes of ciphertext and tag", len(sealed.IV), len(sealed.Ciphertext)+len(sealed.Tag))
	}
	got, err := s.cfg.Token.Decrypt(ctx, k.Label, k.ID, stored, bound)
	if err != nil {
		return answer{}, refuse(unavailable, "the wrapped key did not open again: %s", err)
	}
	defer clear(got)
	if subtle.ConstantTimeCompare(got, req.Data) != 1 {
		return answer{}, refuse(unavailable, "the wrapped key opened to something else")
	}
	return answer{KeyID: keyID(k), Data: wrapped}, nil
}

func (s *Server) unwrap(ctx context.Context, req *request) (answer, error) {
	sealed, ok := decode(req.Data)
	if !ok {
		return answer{}, refuse(wrongKey, "the wrapped bytes are none of this program's")
	}
	all, err := s.cfg.Token.Versions(ctx, s.cfg.Label)
	if err != nil && !errors.Is(err, token.ErrNoKey) {
		return answer{}, err
	}
	i := slices.IndexFunc(all, func(k token.Key) bool { return keyID(&k) == req.KeyID })
	if i < 0 {
		return answer{}, refuse(wrongKey, "the token has no key %q", req.KeyID)
	}
	data, err := s.cfg.Token.Decrypt(ctx, s.cfg.Label, all[i].ID, sealed, boundData(req.Context))
	switch {
	case errors.Is(err, token.ErrInvalid):
		return answer{}, refuse(wrongKey, "the wrapped bytes do not open under %s", req.KeyID)
	case err != nil:
		return answer{}, err
	}
	return answer{KeyID: req.KeyID, Data: data}, nil
}

func (s *Server) describe(ctx context.Context) (answer, error) {
	k, err := s.current(ctx)
	switch {
	case err != nil:
		return answer{}, err
	case k.Disabled():
		return answer{}, refuse(denied, "the key %s is disabled", keyID(k))
	case k.Bits != 256 || !k.Encrypt || !k.Decrypt:
		return answer{}, refuse(denied, "the key %s is not an AES-256 key that encrypts and decrypts", keyID(k))
	}
	return answer{KeyID: keyID(k), Algorithm: "CKM_AES_GCM, AES-256", FIPS: s.cfg.FIPS}, nil
}

// keyID names a version: its label, a slash, and CKA_ID in hexadecimal.
func keyID(k *token.Key) string { return k.Label + "/" + k.Version() }

func encode(s token.Sealed) []byte {
	return slices.Concat([]byte{formVersion, byte(len(s.IV))}, s.IV, s.Ciphertext, s.Tag)
}

// decode reads what encode has written, and nothing else: what it returns is
// encoded to b again.
func decode(b []byte) (token.Sealed, bool) {
	if len(b) < headerSize || b[0] != formVersion {
		return token.Sealed{}, false
	}
	iv := int(b[1])
	if iv != ivSize && iv != longIVSize || len(b) != headerSize+iv+rootKeySize+tagSize {
		return token.Sealed{}, false
	}
	rest := b[headerSize:]
	take := func(n int) (part []byte) {
		part, rest = rest[:n:n], rest[n:]
		return part
	}
	return token.Sealed{IV: take(iv), Ciphertext: take(rootKeySize), Tag: take(tagSize)}, true
}

func boundData(pairs map[string]string) []byte {
	var b strings.Builder
	b.WriteString(boundTo)
	for _, name := range slices.Sorted(maps.Keys(pairs)) {
		for _, text := range []string{name, pairs[name]} {
			b.Write(binary.BigEndian.AppendUint32(nil, uint32(len(text))))
			b.WriteString(text)
		}
	}
	return []byte(b.String())
}
