package seal

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/sagekeep/sagekeep/internal/secret"
)

// transport carries one request of the plugin protocol and returns the answer,
// of at most maxAnswer+1 bytes. It keeps neither. With an error it may return an
// answer, too: the reason that the other side gave.
type transport interface {
	call(ctx context.Context, req []byte) ([]byte, error)
}

// remote is a seal on the other side of a transport.
type remote struct {
	kind Kind
	name string // the --seal value, for messages
	t    transport
}

func (s *remote) ask(ctx context.Context, req request) (answer, error) {
	req.Version = protocolVersion
	text, err := json.Marshal(req)
	if err != nil {
		return answer{}, fmt.Errorf("encode a request to the seal: %w", err)
	}
	defer clear(text)
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	reply, err := s.t.call(ctx, text)
	defer clear(reply)
	if err != nil {
		// The reason that it gives says more than an exit code, if there is one.
		var a answer
		if json.Unmarshal(reply, &a) == nil && len(reply) <= maxAnswer {
			if r := refusalOf(&a); r != nil {
				err = r
			}
		}
		clear(a.Data)
		return answer{}, fmt.Errorf("%s: %s: %w", s.name, req.Operation, err)
	}
	a, err := parseAnswer(req.Operation, reply)
	if err != nil {
		return answer{}, fmt.Errorf("%s: %s: %w", s.name, req.Operation, err)
	}
	return a, nil
}

func (s *remote) Kind() Kind { return s.kind }

func (s *remote) Wrap(ctx context.Context, key secret.Key, at Context) ([]byte, error) {
	a, err := s.ask(ctx, request{Operation: opWrap, KeyID: new(""), Data: key.Bytes(), Context: at.pairs()})
	if err != nil {
		return nil, err
	}
	// The commonest mistake of a plugin, and the worst.
	if bytes.Contains(a.Data, key.Bytes()) {
		return nil, fmt.Errorf("%s: wrap: the answer holds the key in clear", s.name)
	}
	w := wrapped{kind: s.kind, keyID: a.KeyID, body: a.Data}
	return w.bytes(), nil
}

func (s *remote) Unwrap(ctx context.Context, b []byte, at Context) (secret.Key, error) {
	w, err := own(b, s.kind)
	if err != nil {
		return secret.Key{}, err
	}
	a, err := s.ask(ctx, request{Operation: opUnwrap, KeyID: &w.keyID, Data: w.body, Context: at.pairs()})
	if err != nil {
		return secret.Key{}, err
	}
	defer clear(a.Data)
	return secret.New(a.Data)
}

func (s *remote) Info(ctx context.Context) (Info, error) {
	a, err := s.ask(ctx, request{Operation: opInfo})
	if err != nil {
		return Info{}, err
	}
	info := Info{KeyID: a.KeyID, Algorithm: a.Algorithm, FIPS: NotApproved}
	if info.Algorithm == "" {
		info.Algorithm = "the holder's"
	}
	if a.FIPS {
		info.FIPS = Approved
	}
	return info, nil
}

func (s *remote) Close() {}
