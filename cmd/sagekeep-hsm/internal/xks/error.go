package xks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/sagekeep/sagekeep/cmd/sagekeep-hsm/internal/token"
)

// Error is an answer that refuses, with a name of the specification's table of
// error codes. The cause goes to the log alone.
type Error struct {
	Name    string
	Status  int
	Message string // at most 511 printable ASCII characters
	cause   error
}

func (e *Error) Error() string {
	if e.cause != nil {
		return e.Name + ": " + e.Message + ": " + e.cause.Error()
	}
	return e.Name + ": " + e.Message
}

// Unwrap returns the private cause.
func (e *Error) Unwrap() error { return e.cause }

// maxMessage is below the 512 characters of the specification.
const maxMessage = 511

func refuse(name string, status int, format string, args ...any) *Error {
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, fmt.Sprintf(format, args...))
	return &Error{Name: name, Status: status, Message: text[:min(len(text), maxMessage)]}
}

func (e *Error) because(err error) *Error {
	e.cause = err
	return e
}

func validation(format string, args ...any) *Error {
	return refuse("ValidationException", http.StatusBadRequest, format, args...)
}

func invalidCiphertext(format string, args ...any) *Error {
	return refuse("InvalidCiphertextException", http.StatusBadRequest, format, args...)
}

func unsupported(format string, args ...any) *Error {
	return refuse("UnsupportedOperationException", http.StatusNotImplemented, format, args...)
}

func invalidPath() *Error {
	return refuse("InvalidUriPathException", http.StatusNotFound, "The URI path is not one of this proxy.")
}

func unauthenticated(err error) *Error {
	return refuse("AuthenticationFailedException", http.StatusUnauthorized, "The signature of the request is not valid.").because(err)
}

func accessDenied(format string, args ...any) *Error {
	return refuse("AccessDeniedException", http.StatusForbidden, format, args...)
}

// from returns the answer for an error of a token.
func from(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	e := refuse("InternalException", http.StatusInternalServerError, "The key manager cannot be used.")
	switch {
	case errors.Is(err, token.ErrNoKey):
		e = refuse("KeyNotFoundException", http.StatusNotFound, "The key manager has no such key.")
	case errors.Is(err, token.ErrAmbiguous):
		e.Message = "The key manager has two keys of this id."
	case errors.Is(err, token.ErrDisabled):
		e = refuse("InvalidStateException", http.StatusBadRequest, "The key is disabled.")
	case errors.Is(err, token.ErrUsage):
		e = refuse("InvalidKeyUsageException", http.StatusBadRequest, "The key does not support the operation.")
	case errors.Is(err, token.ErrInvalid):
		e = invalidCiphertext("The ciphertext does not open with this key, initialization vector, tag and additional authenticated data.")
	case errors.Is(err, token.ErrBusy):
		e = refuse("ThrottlingException", http.StatusTooManyRequests, "The key manager is busy.")
	case errors.Is(err, token.ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		e = refuse("DependencyTimeoutException", http.StatusServiceUnavailable, "The key manager did not answer in time.")
	}
	return e.because(err)
}
