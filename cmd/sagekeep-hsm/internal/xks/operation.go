package xks

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"

	"github.com/sagekeep/sagekeep/cmd/sagekeep-hsm/internal/token"
)

type operation string

const (
	health   operation = "GetHealthStatus"
	describe operation = "GetKeyMetadata"
	encrypt  operation = "Encrypt"
	decrypt  operation = "Decrypt"
)

const (
	// metadataVersion begins every ciphertextMetadata, and says how the token's
	// additional data and the rest of the metadata are made.
	metadataVersion = 1
	fingerprintSize = 8
)

// authorise is the second layer of authorization: which keys this proxy serves, for
// the KMS keys of which accounts.
func (s *Server) authorise(key string, m *metadata) error {
	if len(s.cfg.Keys) > 0 && !slices.Contains(s.cfg.Keys, key) {
		return accessDenied("This proxy does not serve that key.")
	}
	if len(s.cfg.Accounts) == 0 {
		return nil
	}
	arn := m.KeyARN
	if arn == "" {
		arn = m.PrincipalARN
	}
	if part := strings.SplitN(arn, ":", 6); len(part) < 6 || !slices.Contains(s.cfg.Accounts, part[4]) {
		return accessDenied("This proxy does not serve that account.")
	}
	return nil
}

func (s *Server) describe(ctx context.Context, key string) (*metadataAnswer, error) {
	all, err := s.cfg.Token.Versions(ctx, key)
	if err != nil {
		return nil, err
	}
	k := all[len(all)-1]
	out := &metadataAnswer{KeySpec: "AES_" + strconv.Itoa(k.Bits), KeyUsage: []string{}, KeyStatus: "ENABLED"}
	if k.Disabled() {
		out.KeyStatus = "DISABLED"
	}
	// What a disabled key is for cannot be seen; enabled, it is for both.
	if k.Encrypt || k.Disabled() {
		out.KeyUsage = append(out.KeyUsage, "ENCRYPT")
	}
	if k.Decrypt || k.Disabled() {
		out.KeyUsage = append(out.KeyUsage, "DECRYPT")
	}
	return out, nil
}

func (s *Server) encrypt(ctx context.Context, key string, r *request) (*encryptAnswer, error) {
	plaintext, err := decode("plaintext", r.Plaintext, maxText)
	if err != nil {
		return nil, err
	}
	if len(plaintext) == 0 {
		return nil, validation("plaintext is missing or empty.")
	}
	aad, err := decode("additionalAuthenticatedData", r.AAD, maxAAD)
	if err != nil {
		return nil, err
	}
	all, err := s.cfg.Token.Versions(ctx, key)
	if err != nil {
		return nil, err
	}
	k := &all[len(all)-1]
	meta := metadataOf(k)
	bound := boundData(aad, meta)
	sealed, err := s.cfg.Token.Encrypt(ctx, key, k.ID, plaintext, bound)
	if err != nil {
		return nil, err
	}
	out := &encryptAnswer{Ciphertext: sealed.Ciphertext, CipherMeta: meta, IV: sealed.IV, Tag: sealed.Tag}
	if r.CDIV == nil {
		return out, nil
	}
	// The value comes first: it promises that what it was made from decrypts.
	out.CDIV = integrityValue(aad, out)
	got, err := s.cfg.Token.Decrypt(ctx, key, k.ID, sealed, bound)
	if err != nil {
		return nil, refuse("InternalException", 500, "The ciphertext did not decrypt again.").because(err)
	}
	defer clear(got)
	if subtle.ConstantTimeCompare(got, plaintext) != 1 {
		return nil, refuse("InternalException", 500, "The ciphertext decrypted to something else.")
	}
	return out, nil
}

func (s *Server) decrypt(ctx context.Context, key string, r *request) (*decryptAnswer, error) {
	var sealed token.Sealed
	var aad, meta []byte
	for _, m := range []struct {
		name  string
		text  *string
		limit int
		to    *[]byte
	}{
		{"ciphertext", r.Ciphertext, maxText, &sealed.Ciphertext},
		{"initializationVector", r.IV, 16, &sealed.IV},
		{"authenticationTag", r.Tag, 16, &sealed.Tag},
		{"ciphertextMetadata", r.CipherMeta, maxMetadata, &meta},
		{"additionalAuthenticatedData", r.AAD, maxAAD, &aad},
	} {
		var err error
		if *m.to, err = decode(m.name, m.text, m.limit); err != nil {
			return nil, err
		}
	}
	switch {
	case len(sealed.Ciphertext) == 0 || sealed.IV == nil || sealed.Tag == nil:
		return nil, validation("ciphertext, initializationVector or authenticationTag is missing.")
	case len(sealed.IV) != 12 && len(sealed.IV) != 16 || len(sealed.Tag) != 16:
		return nil, invalidCiphertext("initializationVector or authenticationTag has the wrong length.")
	}
	all, err := s.cfg.Token.Versions(ctx, key)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(k token.Key) bool { return string(metadataOf(&k)) == string(meta) })
	if i < 0 {
		return nil, invalidCiphertext("ciphertextMetadata names no version of this key.")
	}
	plaintext, err := s.cfg.Token.Decrypt(ctx, key, all[i].ID, sealed, boundData(aad, meta))
	if err != nil {
		return nil, err
	}
	return &decryptAnswer{plaintext}, nil
}

// metadataOf returns the ciphertextMetadata of what a version encrypts. CKA_ID itself
// may be longer than the 20 bytes that are allowed.
func metadataOf(k *token.Key) []byte {
	sum := sha256.Sum256(k.ID)
	return append([]byte{metadataVersion}, sum[:fingerprintSize]...)
}

// boundData returns the token's additional data: both parts with their lengths, as
// the specification asks under ciphertextMetadata, so that no byte can change sides.
func boundData(aad, meta []byte) []byte {
	out := binary.BigEndian.AppendUint16(make([]byte, 0, 3+len(aad)+len(meta)), uint16(len(aad)))
	out = append(out, aad...)
	out = append(out, byte(len(meta)))
	return append(out, meta...)
}

// integrityValue is the ciphertext data integrity value of appendix C.
func integrityValue(aad []byte, a *encryptAnswer) []byte {
	h := sha256.New()
	for _, b := range [][]byte{aad, a.CipherMeta, a.IV, a.Ciphertext, a.Tag} {
		h.Write(b)
	}
	return h.Sum(nil)
}

func (s *Server) health(ctx context.Context) (*healthAnswer, error) {
	info, err := s.check(ctx, healthLives)
	if err != nil {
		return nil, err
	}
	id := info.Serial
	if id == "" {
		id = info.Label
	}
	return &healthAnswer{
		FleetSize: 1, Vendor: "Sagekeep", Model: "sagekeep-hsm " + s.cfg.Version, EKMVendor: orUnknown(info.Manufacturer),
		EKMFleet: []ekmState{{ID: orUnknown(id), Model: orUnknown(info.Model), Health: "ACTIVE"}},
	}, nil
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
