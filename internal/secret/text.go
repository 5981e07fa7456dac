package secret

import (
	"crypto/subtle"
	"fmt"
	"log/slog"
)

// Text is a secret string, a password or a secret access key. Like a [Key] it
// never prints, logs or marshals. The zero Text is empty.
type Text struct {
	_ [0]func()
	s *string
}

// NewText returns a Text that holds s.
func NewText(s string) Text { return Text{s: &s} }

// Reveal returns the string: do not keep or print it.
func (t Text) Reveal() string {
	if t.s == nil {
		return ""
	}
	return *t.s
}

// IsZero reports whether t is empty.
func (t Text) IsZero() bool { return t.s == nil || *t.s == "" }

// Equal compares two texts in constant time for texts of one length.
func (t Text) Equal(o Text) bool {
	return subtle.ConstantTimeCompare([]byte(t.Reveal()), []byte(o.Reveal())) == 1
}

// Format prints a fixed text whatever the verb.
func (Text) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// LogValue returns a fixed text.
func (Text) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON refuses: a secret is never part of a document.
func (Text) MarshalJSON() ([]byte, error) { return nil, errNoMarshal }

// MarshalText refuses: a secret is never part of a document.
func (Text) MarshalText() ([]byte, error) { return nil, errNoMarshal }
