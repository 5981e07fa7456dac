package seal

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// Spec is a parsed --seal value: where a seal is, and no secret.
type Spec struct {
	form  string
	value string
	url   *url.URL // endpoint of exec:https and awskms; nil for none
}

// Forms are the values of --seal, for messages.
const Forms = "file:PATH, passphrase-file:PATH, passphrase-env:NAME, exec:PATH, exec:https://HOST/PATH, " +
	"awskms:ARN?endpoint=URL or pkcs11:SOCKET"

// Parse reads a --seal value; docs/seals.md lists the forms. An empty text means
// the key file DIR/seal/root.key. Relative paths are taken from the working
// directory.
func Parse(text, dataDir string) (Spec, error) {
	if text == "" {
		text = "file:" + filepath.Join(dataDir, "seal", "root.key")
	}
	form, value, ok := strings.Cut(text, ":")
	if !ok || value == "" {
		return Spec{}, fmt.Errorf("seal %q: want %s", redactURL(text), Forms)
	}
	s := Spec{form: form, value: value}
	var err error
	switch {
	case form == "exec" && (strings.HasPrefix(value, "https:") || strings.HasPrefix(value, "http:")):
		s.url, err = parseEndpoint(value)
	case form == "awskms":
		s.value, s.url, err = parseKMS(value)
	case form == "passphrase-env":
		if strings.ContainsAny(value, "= \x00") {
			err = errors.New("not the name of an environment variable")
		}
	case form == "file" || form == "passphrase-file" || form == "exec" || form == "pkcs11":
		s.value, err = filepath.Abs(value)
	default:
		return Spec{}, fmt.Errorf("unknown seal kind %q: want %s", form, Forms)
	}
	if err != nil {
		return Spec{}, fmt.Errorf("seal %q: %w", redactURL(text), err)
	}
	return s, nil
}

// parseEndpoint accepts https, and http to this machine. A password in a URL
// shows in process lists, so it is refused.
func parseEndpoint(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("not a URL")
	}
	switch {
	case u.User != nil:
		return nil, errors.New("credentials in the URL are refused: they show in process lists")
	case u.Host == "" || u.Fragment != "" || u.Opaque != "":
		return nil, errors.New("not a URL of the form https://HOST/PATH")
	case u.Scheme == "https":
		return u, nil
	case u.Scheme == "http" && loopback(u.Hostname()):
		return u, nil
	}
	return nil, errors.New("want https://; http:// is for this machine alone")
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// redactURL blots out what stands before an @, for messages.
func redactURL(text string) string {
	i, j := strings.Index(text, "://"), strings.LastIndexByte(text, '@')
	if i < 0 || j < i {
		return text
	}
	return text[:i+3] + "[redacted]" + text[j:]
}

// String is the --seal value, with absolute paths.
func (s Spec) String() string {
	if s.form == "awskms" && s.url != nil {
		return "awskms:" + s.value + "?endpoint=" + url.QueryEscape(s.url.String())
	}
	return s.form + ":" + s.value
}

// Kind says what holds the key.
func (s Spec) Kind() Kind {
	switch s.form {
	case "passphrase-file", "passphrase-env":
		return Passphrase
	}
	return Kind(s.form)
}

// Path returns the file that holds the secret, or "" when none does.
func (s Spec) Path() string {
	if s.form == "file" || s.form == "passphrase-file" {
		return s.value
	}
	return ""
}

// Inside reports whether the secret of the seal lies in dir, so that who copies
// dir copies the key.
func (s Spec) Inside(dir string) bool {
	if s.Path() == "" {
		return false
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return true
	}
	rel, err := filepath.Rel(resolve(abs), resolve(s.value))
	return err != nil || rel == "." || (rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)))
}

// resolve follows symbolic links of the longest part of path that exists, so
// that a link cannot hide that a key lies in the data directory.
func resolve(path string) string {
	rest := ""
	for p := path; ; p = filepath.Dir(p) {
		if real, err := filepath.EvalSymlinks(p); err == nil {
			return filepath.Join(real, rest)
		}
		if p == filepath.Dir(p) {
			return path
		}
		rest = filepath.Join(filepath.Base(p), rest)
	}
}

// Options are what a seal needs besides its Spec.
type Options struct {
	// Create makes a key file that is missing, with a new random key. Without it
	// (data exists) a missing one is an error: a new key could open nothing.
	Create bool
	// Log takes what a plugin writes to its standard error; nil drops it.
	Log *slog.Logger
}

// Open returns the seal. Holders outside the process are not called yet.
func (s Spec) Open(opt Options) (Seal, error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	switch s.form {
	case "file":
		return openFile(s.value, opt.Create)
	case "passphrase-file":
		p, err := readPassphrase(s.value)
		if err != nil {
			return nil, err
		}
		return newPassphrase(p)
	case "passphrase-env":
		v, ok := os.LookupEnv(s.value)
		if !ok {
			return nil, fmt.Errorf("the environment variable %s with the passphrase is not set", s.value)
		}
		return newPassphrase([]byte(v))
	case "exec":
		if s.url != nil {
			return &remote{kind: Plugin, name: s.String(), t: newWeb(s.url, os.Getenv(TokenVariable))}, nil
		}
		return &remote{kind: Plugin, name: s.String(), t: &program{path: s.value, log: opt.Log, timeout: callTimeout}}, nil
	case "pkcs11":
		return &remote{kind: PKCS11, name: s.String(), t: &socket{path: s.value, timeout: callTimeout}}, nil
	case "awskms":
		return &kmsSeal{arn: s.value, endpoint: s.url}, nil
	}
	return nil, fmt.Errorf("unknown seal kind %q", s.form)
}
