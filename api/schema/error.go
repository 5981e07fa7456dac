package schema

import (
	"errors"
	"fmt"
	"maps"
)

// Error is an AWS API error. Code and Message go to the client; the wrapped
// cause goes to the log and never leaves the process.
type Error struct {
	Code    string            // wire code, for example "NotFoundException"
	Message string            // safe to show to the caller
	Status  int               // HTTP status, for example 400
	Fields  map[string]string // further members of the error shape, by wire name
	// AuditCode replaces Code in the audit record when AWS writes another one
	// there (KMS: AccessDenied); "" = Code.
	AuditCode string
	cause     error
}

// NewError makes an Error; args format the message when there are any.
func NewError(code string, status int, format string, args ...any) *Error {
	if len(args) > 0 {
		format = fmt.Sprintf(format, args...)
	}
	return &Error{Code: code, Status: status, Message: format}
}

// Error returns code and message, never the cause.
func (e *Error) Error() string {
	if e.Message == "" {
		return e.Code
	}
	return e.Code + ": " + e.Message
}

// Unwrap returns the private cause.
func (e *Error) Unwrap() error { return e.cause }

// Because returns a copy of e with a private cause.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// With returns a copy of e with one more member of its error shape.
func (e *Error) With(name, value string) *Error {
	c := *e
	c.Fields = make(map[string]string, len(e.Fields)+1)
	maps.Copy(c.Fields, e.Fields)
	c.Fields[name] = value
	return &c
}

// Is reports whether target is an Error with the same code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// AsError returns the Error in err's tree, or a 500 that keeps err private.
func AsError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return NewError("InternalFailure", 500, "an internal error occurred").Because(err)
}
