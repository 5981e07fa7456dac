package kms

import (
	"maps"
	"slices"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/authz"
)

// maxContext is the most that an encryption context takes in a record, in bytes.
// The requestParameters of a record hold 100 KiB: the two of a ReEncrypt and what
// else it names. AWS publishes no limit, but a longer one would be in no record.
const maxContext = 48 << 10

// recordedSize returns how many bytes an encryption context takes in a record, as
// a JSON object.
func recordedSize(ec map[string]string) int {
	n := len("{}") - len(",")
	for name, value := range ec {
		n += len(`"":"",`) + escapedSize(name) + escapedSize(value)
	}
	return n
}

// escapedSize returns the length of s within a JSON string.
func escapedSize(s string) int {
	n := len(s)
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"', c == '\\', c == '\n', c == '\r', c == '\t':
			n += len(`\n`) - 1
		case c < ' ':
			n += len(`\u0000`) - 1
		}
	}
	return n
}

// encryptionContextConditions sets the condition keys of an encryption context.
// One that no record could hold is refused.
// Names that differ only in case are one condition key with two values: what a
// policy would see of them is chance, so such a context is refused (I5).
//
// Source: AWS KMS Developer Guide, kms:EncryptionContext:context-key, "Condition
// key case sensitivity".
func encryptionContextConditions(out authz.Context, ec map[string]string) error {
	if len(ec) == 0 {
		return nil
	}
	if n := recordedSize(ec); n > maxContext {
		return kmsapi.ValidationException("The encryption context has %d bytes, the limit is %d.", n, maxContext)
	}
	for name, value := range ec {
		key := "kms:EncryptionContext:" + name
		if _, doubled := out.Get(key); doubled {
			return kmsapi.ValidationException("The encryption context has names that differ only in case, which policies cannot tell apart.")
		}
		out.Set(key, value)
	}
	out.SetMulti("kms:EncryptionContextKeys", slices.Sorted(maps.Keys(ec))...)
	return nil
}
