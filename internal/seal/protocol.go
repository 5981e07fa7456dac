package seal

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sagekeep/sagekeep/internal/secret"
)

// The plugin protocol of docs/seals.md.
const (
	protocolVersion = 1
	maxAnswer       = 64 << 10 // bytes
	maxErrorText    = 1024     // bytes
	maxAlgorithm    = 128      // bytes
	callTimeout     = 30 * time.Second
)

type operation string

const (
	opWrap   operation = "wrap"
	opUnwrap operation = "unwrap"
	opInfo   operation = "info"
)

// request goes to a plugin as JSON.
type request struct {
	Version   int               `json:"version"`
	Operation operation         `json:"operation"`
	KeyID     *string           `json:"keyId,omitempty"`
	Data      []byte            `json:"data,omitempty"`
	Context   map[string]string `json:"context,omitempty"`
}

// answer comes back from a plugin.
type answer struct {
	KeyID     string `json:"keyId"`
	Data      []byte `json:"data"`
	Algorithm string `json:"algorithm"`
	FIPS      bool   `json:"fips"`
	Code      string `json:"code"`
	Error     string `json:"error"`
}

// codeWrongKey is the one code that means ErrWrong.
const codeWrongKey = "WrongKey"

// refusal is a failure that a plugin reports.
type refusal struct{ code, text string }

func (r *refusal) Error() string { return r.code + ": " + r.text }

// Unwrap makes a refused key ErrWrong.
func (r *refusal) Unwrap() error {
	if r.code == codeWrongKey {
		return ErrWrong
	}
	return nil
}

// refusalOf returns what an answer reports, or nil. Codes that the protocol does
// not name count as Unavailable.
func refusalOf(a *answer) error {
	if a.Code == "" && a.Error == "" {
		return nil
	}
	r := &refusal{code: a.Code, text: printable(a.Error, maxErrorText)}
	switch a.Code {
	case codeWrongKey, "Denied", "BadRequest":
	default:
		r.code = "Unavailable"
	}
	if r.text == "" {
		r.text = "no reason given"
	}
	return r
}

// printable cuts text and replaces what a terminal or a log should not get.
func printable(text string, limit int) string {
	if len(text) > limit {
		text = text[:limit] + "…"
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return ' '
		}
		return r
	}, text))
}

// errGarbage: an answer breaks the protocol. It never shows the answer, which may
// hold a key.
var errGarbage = errors.New("the answer is not one of the plugin protocol")

// parseAnswer checks what a plugin wrote to a request for op. An error that it
// reports is returned as a *refusal.
func parseAnswer(op operation, b []byte) (answer, error) {
	var a answer
	if len(b) > maxAnswer {
		return a, fmt.Errorf("%w: it has more than %d bytes", errGarbage, maxAnswer)
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return answer{}, fmt.Errorf("%w: it is not a JSON object with the members of docs/seals.md", errGarbage)
	}
	if err := refusalOf(&a); err != nil {
		return answer{}, err
	}
	if a.KeyID != "" || op != opUnwrap {
		if err := checkKeyID(a.KeyID); err != nil {
			return answer{}, fmt.Errorf("%w: keyId: %w", errGarbage, err)
		}
	}
	switch {
	case op == opUnwrap && len(a.Data) != secret.Size:
		return answer{}, fmt.Errorf("%w: data has %d bytes, not %d", errGarbage, len(a.Data), secret.Size)
	case op == opWrap && (len(a.Data) == 0 || len(a.Data) > maxBody):
		return answer{}, fmt.Errorf("%w: data has %d bytes, want 1 to %d", errGarbage, len(a.Data), maxBody)
	case op == opInfo && len(a.Algorithm) > maxAlgorithm:
		return answer{}, fmt.Errorf("%w: algorithm has more than %d bytes", errGarbage, maxAlgorithm)
	}
	a.Algorithm = printable(a.Algorithm, maxAlgorithm)
	return a, nil
}
