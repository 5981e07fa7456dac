package iam

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/internal/authz"
)

// Quotas. Sizes are characters without white space.
// Source: IAM User Guide, "IAM and AWS STS quotas".
const (
	managedPolicySize    = 6144
	userPolicySize       = 2048
	groupPolicySize      = 5120
	rolePolicySize       = 10240
	trustPolicySize      = 2048
	policyVersions       = 5
	policiesPerPrincipal = 10
	keysPerUser          = 2
	tagsPerResource      = 50
	groupsPerUser        = 10
	usersPerAccount      = 5000
	groupsPerAccount     = 300
	rolesPerAccount      = 1000
	policiesPerAccount   = 1500
)

// parseDocument checks a document that is about to be saved.
func parseDocument(k authz.Kind, doc string) (*authz.Policy, error) {
	p, err := authz.Parse(k, []byte(doc))
	if m, ok := errors.AsType[*authz.MalformedError](err); ok {
		return nil, iamapi.MalformedPolicyDocumentException("%s", m.Message).Because(err)
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// documentSize is what quotas count.
func documentSize(doc string) int { return authz.SizeWithoutWhitespace([]byte(doc)) }

// squeezed is a document as it is stored: as it was sent, or, when it has more
// white space than the quota has characters, without the white space between its
// tokens, which quotas do not count and rows would have to hold.
func squeezed(doc string, quota int) string {
	if len(doc) <= 2*quota {
		return doc
	}
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(doc)); err != nil {
		return doc // it has been parsed
	}
	return b.String()
}

// encodeDocument returns the document as IAM's answers hold it: every byte but
// RFC 3986's unreserved ones percent-encoded.
func encodeDocument(doc string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(doc) + len(doc)/2)
	for i := range len(doc) {
		c := doc[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-_.~", c) >= 0:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}
