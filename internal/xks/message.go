package xks

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"slices"
)

// Limits of the proxy API.
//
// Source: proxy API specification, Encrypt, GetKeyMetadata, GetHealthStatus.
const (
	// MaxPlaintext and MaxAAD are what every proxy takes, in bytes.
	MaxPlaintext = 4300
	MaxAAD       = 8192
	// MaxMetadata is the most that a proxy adds to a ciphertext, in bytes.
	MaxMetadata = 20
	// TagSize is the length of an authentication tag, in bytes.
	TagSize     = 16
	maxUsages   = 10
	maxManagers = 10
)

// Request says for whom and why KMS asks: the requestMetadata of the API, which
// a proxy logs and may decide by.
type Request struct {
	// PrincipalARN is who called KMS, as aws:PrincipalArn has it, or a service
	// principal. Health does not send it.
	PrincipalARN string `json:"awsPrincipalArn,omitempty"`
	// KeyARN is the KMS key; "" while it is being made.
	KeyARN string `json:"kmsKeyArn,omitempty"`
	// Operation is the KMS operation.
	Operation string `json:"kmsOperation"`
	// RequestID is that of the call to KMS, as in its CloudTrail record.
	RequestID string `json:"kmsRequestId"`
	// ViaService is the value of kms:ViaService, "" for a direct call.
	ViaService string `json:"kmsViaService,omitempty"`
}

// Health is the state of a proxy and of the key managers behind it.
type Health struct {
	FleetSize     int       `json:"xksProxyFleetSize"`
	Vendor        string    `json:"xksProxyVendor"`
	Model         string    `json:"xksProxyModel"`
	ManagerVendor string    `json:"ekmVendor"`
	Managers      []Manager `json:"ekmFleetDetails"`
}

// Manager is one external key manager.
type Manager struct {
	ID     string `json:"id"`
	Model  string `json:"model"`
	Status string `json:"healthStatus"`
}

// The states of a Manager.
const (
	Active      = "ACTIVE"
	Degraded    = "DEGRADED"
	Unavailable = "UNAVAILABLE"
)

// Available reports whether at least one key manager serves.
func (h *Health) Available() bool {
	return slices.ContainsFunc(h.Managers, func(m Manager) bool { return m.Status != Unavailable })
}

func parseHealth(body []byte) (*Health, error) {
	var h Health
	if err := json.Unmarshal(body, &h); err != nil {
		return nil, invalid("read the health: %w", err)
	}
	switch {
	case h.FleetSize < 1:
		return nil, invalid("xksProxyFleetSize is %d", h.FleetSize)
	case h.Vendor == "" || h.Model == "" || h.ManagerVendor == "":
		return nil, invalid("the health lacks a vendor or a model")
	case len(h.Managers) < 1 || len(h.Managers) > maxManagers:
		return nil, invalid("%d entries in ekmFleetDetails", len(h.Managers))
	}
	for _, m := range h.Managers {
		if m.ID == "" || m.Model == "" || m.Status != Active && m.Status != Degraded && m.Status != Unavailable {
			return nil, invalid("a bad entry in ekmFleetDetails")
		}
	}
	return &h, nil
}

// KeyMetadata is what a proxy says of an external key.
type KeyMetadata struct {
	Spec   string   `json:"keySpec"`
	Usage  []string `json:"keyUsage"`
	Status string   `json:"keyStatus"`
}

// Usable reports whether the key is what KMS needs: an enabled AES-256 key that
// encrypts and decrypts.
func (k *KeyMetadata) Usable() bool {
	return k.Spec == "AES_256" && k.Status == "ENABLED" && slices.Contains(k.Usage, "ENCRYPT") && slices.Contains(k.Usage, "DECRYPT")
}

func parseKeyMetadata(body []byte) (*KeyMetadata, error) {
	var k KeyMetadata
	if err := json.Unmarshal(body, &k); err != nil {
		return nil, invalid("read the key metadata: %w", err)
	}
	switch {
	case k.Spec == "" || k.Usage == nil:
		return nil, invalid("the key metadata lack keySpec or keyUsage")
	case len(k.Usage) > maxUsages:
		return nil, invalid("%d values in keyUsage", len(k.Usage))
	case k.Status != "ENABLED" && k.Status != "DISABLED":
		return nil, invalid("keyStatus is neither ENABLED nor DISABLED")
	}
	return &k, nil
}

// Ciphertext is what a proxy made of a plaintext, in its parts.
type Ciphertext struct {
	Bytes    []byte `json:"ciphertext"`                   // as long as the plaintext
	Metadata []byte `json:"ciphertextMetadata,omitempty"` // at most MaxMetadata bytes, the proxy's own
	IV       []byte `json:"initializationVector"`         // 12 or 16 bytes
	Tag      []byte `json:"authenticationTag"`            // TagSize bytes
}

// check refuses parts of the wrong length; length is that of the plaintext.
func (c *Ciphertext) check(length int) error {
	switch {
	case len(c.Bytes) != length:
		return invalid("%d bytes of ciphertext for %d of plaintext", len(c.Bytes), length)
	case len(c.Metadata) > MaxMetadata:
		return invalid("%d bytes of ciphertext metadata", len(c.Metadata))
	case len(c.IV) != 12 && len(c.IV) != 16:
		return invalid("an initialization vector of %d bytes", len(c.IV))
	case len(c.Tag) != TagSize:
		return invalid("an authentication tag of %d bytes", len(c.Tag))
	}
	return nil
}

// integrity is the ciphertext data integrity value: proof that what came over
// the wire is what the proxy has made, and has decrypted once.
//
// Source: proxy API specification, appendix C.
func (c *Ciphertext) integrity(aad []byte) [sha256.Size]byte {
	return sha256.Sum256(slices.Concat(aad, c.Metadata, c.IV, c.Bytes, c.Tag))
}

func parseCiphertext(body []byte, length int, aad []byte) (*Ciphertext, error) {
	var answer struct {
		Ciphertext
		Integrity []byte `json:"ciphertextDataIntegrityValue"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, invalid("read the ciphertext: %w", err)
	}
	c := answer.Ciphertext
	if err := c.check(length); err != nil {
		return nil, err
	}
	if want := c.integrity(aad); subtle.ConstantTimeCompare(want[:], answer.Integrity) != 1 {
		return nil, invalid("the ciphertext data integrity value is wrong")
	}
	return &c, nil
}

func parsePlaintext(body []byte, length int) ([]byte, error) {
	var answer struct {
		Plaintext []byte `json:"plaintext"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, invalid("read the plaintext") // the cause might quote it
	}
	if len(answer.Plaintext) != length {
		return nil, invalid("%d bytes of plaintext for %d of ciphertext", len(answer.Plaintext), length)
	}
	return answer.Plaintext, nil
}
