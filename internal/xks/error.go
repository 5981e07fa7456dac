package xks

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Name says what went wrong.
type Name string

// The errors that a proxy answers.
//
// Source: proxy API specification, "Error codes".
const (
	ValidationException           Name = "ValidationException"
	InvalidStateException         Name = "InvalidStateException"
	InvalidCiphertextException    Name = "InvalidCiphertextException"
	InvalidKeyUsageException      Name = "InvalidKeyUsageException"
	AuthenticationFailedException Name = "AuthenticationFailedException"
	AccessDeniedException         Name = "AccessDeniedException"
	KeyNotFoundException          Name = "KeyNotFoundException"
	InvalidURIPathException       Name = "InvalidUriPathException"
	ThrottlingException           Name = "ThrottlingException"
	UnsupportedOperationException Name = "UnsupportedOperationException"
	DependencyTimeoutException    Name = "DependencyTimeoutException"
	InternalException             Name = "InternalException"
)

// What goes wrong on our side of the connection.
const (
	Unreachable     Name = "Unreachable"     // no TCP connection, or a forbidden address
	TLSFailed       Name = "TLSFailed"       // no TLS connection, or a certificate that proves nothing
	TimedOut        Name = "TimedOut"        // connected, but no answer in time
	InvalidResponse Name = "InvalidResponse" // an answer that cannot be read, or that is wrong
)

var proxyErrors = []Name{
	ValidationException, InvalidStateException, InvalidCiphertextException, InvalidKeyUsageException,
	AuthenticationFailedException, AccessDeniedException, KeyNotFoundException, InvalidURIPathException,
	ThrottlingException, UnsupportedOperationException, DependencyTimeoutException, InternalException,
}

// Error is a failed request. It is for the operator's log: what a caller of KMS
// is told depends on the name alone.
type Error struct {
	Name   Name
	Status int // the HTTP status of the answer, 0 when there was none
	// Message is the proxy's own, at most 511 printable ASCII characters.
	Message string
	cause   error
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "xks: %s", e.Name)
	if e.Status != 0 {
		fmt.Fprintf(&b, " (HTTP %d)", e.Status)
	}
	if e.Message != "" {
		fmt.Fprintf(&b, ": %q", e.Message)
	}
	if e.cause != nil {
		fmt.Fprintf(&b, ": %v", e.cause)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

func invalid(format string, args ...any) *Error {
	return &Error{Name: InvalidResponse, cause: fmt.Errorf(format, args...)}
}

// maxMessage bounds a proxy's error message, in bytes.
const maxMessage = 511

// parseError reads the answer of a proxy that refuses. An answer without a name
// that the API knows is an InvalidResponse.
func parseError(status int, body []byte) *Error {
	var answer struct {
		Name    Name   `json:"errorName"`
		Message string `json:"errorMessage"`
	}
	err := json.Unmarshal(body, &answer)
	switch {
	case err != nil:
		return &Error{Name: InvalidResponse, Status: status, cause: fmt.Errorf("read the error: %w", err)}
	case !slices.Contains(proxyErrors, answer.Name):
		return &Error{Name: InvalidResponse, Status: status, cause: fmt.Errorf("no error has the name %q", printable(string(answer.Name)))}
	}
	return &Error{Name: answer.Name, Status: status, Message: printable(answer.Message)}
}

// printable keeps what a message may hold.
func printable(s string) string {
	out := make([]byte, 0, min(len(s), maxMessage))
	for i := 0; i < len(s) && len(out) < maxMessage; i++ {
		if s[i] >= 0x20 && s[i] <= 0x7e {
			out = append(out, s[i])
		}
	}
	return string(out)
}
