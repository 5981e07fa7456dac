package xks

import (
	"encoding/base64"
	"encoding/json"
)

// Sizes in bytes, before base64. The specification asks for these at least.
const (
	maxText     = 4300
	maxAAD      = 8192
	maxMetadata = 20
	maxBody     = 64 << 10 // a whole request
)

// The only algorithms of version 1 of the specification.
const (
	cipherName = "AES_GCM"
	hashName   = "SHA_256"
)

// metadata is requestMetadata, as far as it is checked or logged. Members that later
// versions of KMS add are ignored.
type metadata struct {
	PrincipalARN string `json:"awsPrincipalArn"`
	SourceVPC    string `json:"awsSourceVpc"`
	SourceVPCE   string `json:"awsSourceVpce"`
	KeyARN       string `json:"kmsKeyArn"`
	Operation    string `json:"kmsOperation"`
	RequestID    string `json:"kmsRequestId"`
	ViaService   string `json:"kmsViaService"`
}

// request is the body of all four operations. A nil pointer means that the member is
// absent.
type request struct {
	Metadata   *metadata `json:"requestMetadata"`
	Plaintext  *string   `json:"plaintext"`
	Ciphertext *string   `json:"ciphertext"`
	CipherMeta *string   `json:"ciphertextMetadata"`
	IV         *string   `json:"initializationVector"`
	Tag        *string   `json:"authenticationTag"`
	AAD        *string   `json:"additionalAuthenticatedData"`
	Algorithm  *string   `json:"encryptionAlgorithm"`
	CDIV       *string   `json:"ciphertextDataIntegrityValueAlgorithm"`
}

// parse reads a request and checks the metadata that the operation needs.
func parse(op operation, body []byte) (*request, error) {
	var r request
	if err := json.Unmarshal(body, &r); err != nil {
		// The decoder's text may quote the body, and so a plaintext.
		return nil, validation("The body is not a JSON object of this operation.")
	}
	m := r.Metadata
	switch {
	case m == nil:
		return nil, validation("requestMetadata is missing.")
	case m.RequestID == "":
		return nil, validation("requestMetadata has no kmsRequestId.")
	case m.Operation == "":
		return nil, validation("requestMetadata has no kmsOperation.")
	case op == health:
		return &r, nil
	case m.PrincipalARN == "":
		return nil, validation("requestMetadata has no awsPrincipalArn.")
	case op == describe: // no kmsKeyArn while the KMS key is being made
		return &r, nil
	case m.KeyARN == "":
		return nil, validation("requestMetadata has no kmsKeyArn.")
	case r.Algorithm == nil:
		return nil, validation("encryptionAlgorithm is missing.")
	case *r.Algorithm != cipherName:
		return nil, validation("encryptionAlgorithm is not " + cipherName + ".")
	case op == encrypt && r.CDIV != nil && *r.CDIV != hashName:
		return nil, validation("ciphertextDataIntegrityValueAlgorithm is not " + hashName + ".")
	}
	return &r, nil
}

// decode returns the bytes of a member, or nil when it is absent.
func decode(name string, text *string, limit int) ([]byte, error) {
	if text == nil {
		return nil, nil
	}
	if base64.StdEncoding.DecodedLen(len(*text)) > limit+2 { // 2: the padding
		return nil, unsupported("%s has more than %d bytes.", name, limit)
	}
	b, err := base64.StdEncoding.Strict().DecodeString(*text)
	if err != nil {
		return nil, validation("%s is not base64.", name)
	}
	if len(b) > limit {
		return nil, unsupported("%s has more than %d bytes.", name, limit)
	}
	return b, nil
}

type encryptAnswer struct {
	Ciphertext []byte `json:"ciphertext"`
	CipherMeta []byte `json:"ciphertextMetadata"`
	IV         []byte `json:"initializationVector"`
	Tag        []byte `json:"authenticationTag"`
	CDIV       []byte `json:"ciphertextDataIntegrityValue,omitempty"`
}

type decryptAnswer struct {
	Plaintext []byte `json:"plaintext"`
}

type metadataAnswer struct {
	KeySpec   string   `json:"keySpec"`
	KeyUsage  []string `json:"keyUsage"`
	KeyStatus string   `json:"keyStatus"`
}

type healthAnswer struct {
	FleetSize int        `json:"xksProxyFleetSize"`
	Vendor    string     `json:"xksProxyVendor"`
	Model     string     `json:"xksProxyModel"`
	EKMVendor string     `json:"ekmVendor"`
	EKMFleet  []ekmState `json:"ekmFleetDetails"`
}

type ekmState struct {
	ID     string `json:"id"`
	Model  string `json:"model"`
	Health string `json:"healthStatus"`
}

type errorAnswer struct {
	Name    string `json:"errorName"`
	Message string `json:"errorMessage,omitempty"`
}
