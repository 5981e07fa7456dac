package organizations

import (
	"crypto/rand"
	"encoding/hex"
	"strings"

	orgapi "github.com/sagekeep/sagekeep/api/organizations"
)

// alphabet is what Organizations makes identifiers of.
const alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"

// random returns n random characters of an alphabet. Bytes that would favour
// some of them are thrown away.
func random(letters string, n int) string {
	out := make([]byte, 0, n)
	limit := 256 - 256%len(letters)
	var b [64]byte
	for {
		rand.Read(b[:])
		for _, c := range b {
			if int(c) >= limit {
				continue
			}
			if out = append(out, letters[int(c)%len(letters)]); len(out) == n {
				return string(out)
			}
		}
	}
}

func newOrganizationID() string { return "o-" + random(alphabet, 10) }
func newRootID() string         { return "r-" + random(alphabet, 4) }
func newPolicyID() string       { return "p-" + random(alphabet, 10) }
func newHandshakeID() string    { return "h-" + random(alphabet, 32) }
func newCreationID() string     { return "car-" + random(alphabet, 32) }

// newUnitID names the root in the unit, as AWS's ids do.
func newUnitID(root string) string {
	return "ou-" + strings.TrimPrefix(root, "r-") + "-" + random(alphabet, 8)
}

// newAccountID returns twelve digits that do not begin with 0.
func newAccountID() string { return random("123456789", 1) + random("0123456789", 11) }

// newEventID returns a random UUID (version 4).
func newEventID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

func isAccount(id string) bool {
	if len(id) != 12 {
		return false
	}
	for i := range len(id) {
		if id[i] < '0' || id[i] > '9' {
			return false
		}
	}
	return true
}

// arn names a part of an organization; every one of them belongs to the
// management account.
//
// Source: Service Authorization Reference, "Actions, resources, and condition
// keys for AWS Organizations".
func (o *organizationRow) arn(noun, id string) string {
	return "arn:aws:organizations::" + o.Management + ":" + noun + "/" + o.ID + "/" + id
}

func (o *organizationRow) ownARN() string {
	return "arn:aws:organizations::" + o.Management + ":organization/" + o.ID
}

func (o *organizationRow) policyARN(t orgapi.PolicyType, id string) string {
	if builtin(id) != nil {
		return "arn:aws:organizations::aws:policy/" + strings.ToLower(string(t)) + "/" + id
	}
	return o.arn("policy", strings.ToLower(string(t))+"/"+id)
}

func (o *organizationRow) handshakeARN(id string) string { return o.arn("handshake", "invite/"+id) }

// targetARN is the ARN of what policies can be attached to, by its id alone.
func (o *organizationRow) targetARN(id string) string {
	noun := "account"
	switch {
	case strings.HasPrefix(id, "r-"):
		noun = "root"
	case strings.HasPrefix(id, "ou-"):
		noun = "ou"
	}
	return o.arn(noun, id)
}
