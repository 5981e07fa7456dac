package seal

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"

	"github.com/sagekeep/sagekeep/internal/secret"
)

const kmsAlgorithm = "kms:Encrypt with SYMMETRIC_DEFAULT"

// kmsSeal asks a KMS with AWS's wire: AWS's, another Sagekeep, or one that is
// compatible. Credentials come from where every AWS client takes them.
type kmsSeal struct {
	arn      string
	endpoint *url.URL // nil: AWS's own for the ARN's region

	mu     sync.Mutex
	client *kms.Client
}

// keyARN are the parts of arn:PARTITION:kms:REGION:ACCOUNT:key/ID or :alias/NAME.
type keyARN struct{ partition, region, account, resource string }

func parseKeyARN(text string) (keyARN, error) {
	f := strings.SplitN(text, ":", 6)
	if len(f) != 6 || f[0] != "arn" || f[1] == "" || f[2] != "kms" || f[3] == "" || len(f[4]) != 12 || checkKeyID(text) != nil {
		return keyARN{}, errors.New("want the ARN of a KMS key or alias, arn:aws:kms:REGION:ACCOUNT:key/ID")
	}
	a := keyARN{f[1], f[3], f[4], f[5]}
	kind, name, _ := strings.Cut(a.resource, "/")
	if kind != "key" && kind != "alias" || name == "" {
		return keyARN{}, errors.New("want the ARN of a KMS key or alias, arn:aws:kms:REGION:ACCOUNT:key/ID")
	}
	return a, nil
}

// parseKMS reads ARN?endpoint=URL.
func parseKMS(value string) (arn string, endpoint *url.URL, err error) {
	arn, query, _ := strings.Cut(value, "?")
	if _, err := parseKeyARN(arn); err != nil {
		return "", nil, err
	}
	q, err := url.ParseQuery(query)
	if err != nil {
		return "", nil, errors.New("what stands behind ? cannot be read")
	}
	for name, values := range q {
		if name != "endpoint" || len(values) != 1 {
			return "", nil, fmt.Errorf("behind ? stands endpoint=URL, once, and nothing else; not %q", name)
		}
	}
	if text := q.Get("endpoint"); text != "" {
		if endpoint, err = parseEndpoint(text); err != nil {
			return "", nil, fmt.Errorf("endpoint: %w", err)
		}
	}
	return arn, endpoint, nil
}

// decrypter returns the ARN to decrypt with, for a copy that names the key id. A
// copy may name a key that the operator did not: an alias leads to several keys
// in time, and a replica of a multi-Region key stands for its primary. A key of
// another account or with another name is none of them.
func (a keyARN) decrypter(configured, id string) (string, error) {
	b, err := parseKeyARN(id)
	if err != nil {
		return "", ErrWrong
	}
	same := a.partition == b.partition && a.account == b.account
	switch {
	case configured == id:
		return id, nil
	case same && strings.HasPrefix(a.resource, "alias/") && a.region == b.region:
		return id, nil
	case same && strings.HasPrefix(a.resource, "key/mrk-") && a.resource == b.resource:
		return configured, nil
	}
	return "", fmt.Errorf("%w: it is wrapped by the key %s", ErrWrong, id)
}

func (s *kmsSeal) open(ctx context.Context) (*kms.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		return s.client, nil
	}
	a, err := parseKeyARN(s.arn)
	if err != nil {
		return nil, err
	}
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion(a.region))
	if err != nil {
		return nil, fmt.Errorf("read the AWS configuration: %w", err)
	}
	s.client = kms.NewFromConfig(cfg, func(o *kms.Options) {
		if s.endpoint != nil {
			o.BaseEndpoint = aws.String(s.endpoint.String())
		}
	})
	return s.client, nil
}

// failed explains an error of the KMS in one line.
func (s *kmsSeal) failed(op string, err error) error {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		switch api.ErrorCode() {
		case "InvalidCiphertextException", "IncorrectKeyException":
			return fmt.Errorf("awskms:%s: %w (%s)", s.arn, ErrWrong, api.ErrorCode())
		}
		return fmt.Errorf("awskms:%s: %s: the KMS refuses: %s: %s", s.arn, op, api.ErrorCode(), printable(api.ErrorMessage(), maxErrorText))
	}
	return fmt.Errorf("awskms:%s: %s: %w", s.arn, op, err)
}

func (s *kmsSeal) Kind() Kind { return AWSKMS }

func (s *kmsSeal) Wrap(ctx context.Context, key secret.Key, at Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := s.open(ctx)
	if err != nil {
		return nil, s.failed("wrap", err)
	}
	out, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: &s.arn, Plaintext: key.Bytes(), EncryptionContext: at.pairs()})
	if err != nil {
		return nil, s.failed("wrap", err)
	}
	id := aws.ToString(out.KeyId)
	if a, err := parseKeyARN(s.arn); err != nil {
		return nil, err
	} else if _, err := a.decrypter(s.arn, id); err != nil {
		return nil, fmt.Errorf("awskms:%s: wrap: the KMS used another key: %s", s.arn, printable(id, maxKeyID))
	}
	if len(out.CiphertextBlob) == 0 || len(out.CiphertextBlob) > maxBody {
		return nil, fmt.Errorf("awskms:%s: wrap: a ciphertext of %d bytes", s.arn, len(out.CiphertextBlob))
	}
	w := wrapped{kind: AWSKMS, keyID: id, body: out.CiphertextBlob}
	return w.bytes(), nil
}

func (s *kmsSeal) Unwrap(ctx context.Context, b []byte, at Context) (secret.Key, error) {
	w, err := own(b, AWSKMS)
	if err != nil {
		return secret.Key{}, err
	}
	a, err := parseKeyARN(s.arn)
	if err != nil {
		return secret.Key{}, err
	}
	id, err := a.decrypter(s.arn, w.keyID)
	if err != nil {
		return secret.Key{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := s.open(ctx)
	if err != nil {
		return secret.Key{}, s.failed("unwrap", err)
	}
	out, err := c.Decrypt(ctx, &kms.DecryptInput{KeyId: &id, CiphertextBlob: w.body, EncryptionContext: at.pairs()})
	if err != nil {
		return secret.Key{}, s.failed("unwrap", err)
	}
	defer clear(out.Plaintext)
	key, err := secret.New(out.Plaintext)
	if err != nil {
		return secret.Key{}, fmt.Errorf("awskms:%s: %w: the plaintext is no root key", s.arn, ErrWrong)
	}
	return key, nil
}

// Info asks nothing: a principal that may use a key need not be allowed to
// describe it.
func (s *kmsSeal) Info(context.Context) (Info, error) {
	return Info{KeyID: s.arn, Algorithm: kmsAlgorithm, FIPS: Unknown}, nil
}

func (s *kmsSeal) Close() {}

// HeldOutside returns what a holder outside of the process answered when it
// wrapped a root key: of a KMS, its ciphertext; of a plugin or an HSM, bytes that
// it alone can read. It returns nil when the root key is wrapped in the process,
// and for what is no wrapped root key.
func HeldOutside(b []byte) []byte {
	w, err := parseWrapped(b)
	if err != nil {
		return nil
	}
	switch w.kind {
	case AWSKMS, Plugin, PKCS11:
		return w.body
	}
	return nil
}
