package iam

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

const base32Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

// newUniqueID returns prefix and 17 random characters.
func newUniqueID(prefix string) string {
	var b [17]byte
	rand.Read(b[:])
	for i := range b {
		b[i] = base32Alphabet[b[i]&31]
	}
	return prefix + string(b[:])
}

// newUUID returns a random UUID (version 4).
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Prefixes of access key ids.
const (
	longTermPrefix  = "AKIA"
	temporaryPrefix = "ASIA"
)

// newAccessKeyID returns a 20-character id that names its account, as AWS's
// do: behind the prefix stand 80 bits in base 32, of which bits 1 to 40 are the
// account number and the last 39 are random.
func newAccessKeyID(prefix, account string) (string, error) {
	n, err := strconv.ParseUint(account, 10, 40)
	if err != nil {
		return "", fmt.Errorf("access key id: account %q is no account number", account)
	}
	var b [10]byte
	rand.Read(b[:])
	var head [8]byte
	binary.BigEndian.PutUint64(head[:], 1<<47|n<<7|uint64(b[5]&0x7f))
	copy(b[:6], head[2:])
	return prefix + base32.StdEncoding.EncodeToString(b[:]), nil
}

// AccountOfAccessKey returns the account that an access key id names, whether
// or not the key exists; ok is false for what is no id of ours.
func AccountOfAccessKey(id string) (account string, ok bool) {
	if len(id) != 20 || !strings.HasPrefix(id, longTermPrefix) && !strings.HasPrefix(id, temporaryPrefix) {
		return "", false
	}
	b, err := base32.StdEncoding.DecodeString(id[4:])
	if err != nil {
		return "", false
	}
	n := binary.BigEndian.Uint64(append([]byte{0, 0}, b[:6]...))
	account = fmt.Sprintf("%012d", n&(1<<47-1)>>7)
	return account, n>>47 == 1 && len(account) == 12
}

// newSecret returns a secret access key: 40 characters, 240 random bits.
func newSecret() string {
	var b [30]byte
	rand.Read(b[:])
	return base64.StdEncoding.EncodeToString(b[:])
}

// arn is an ARN of IAM or STS in its parts.
type arn struct {
	service, account, resource string
}

// parseARN reads arn:aws:SERVICE::ACCOUNT:RESOURCE.
func parseARN(s string) (arn, bool) {
	p := strings.SplitN(s, ":", 6)
	if len(p) != 6 || p[0] != "arn" || p[1] != "aws" || p[3] != "" || p[5] == "" {
		return arn{}, false
	}
	return arn{service: p[2], account: p[4], resource: p[5]}, true
}

// name returns the last component of the resource when its first is noun.
func (a arn) name(noun string) (string, bool) {
	rest, ok := strings.CutPrefix(a.resource, noun+"/")
	if !ok {
		return "", false
	}
	name := rest[strings.LastIndexByte(rest, '/')+1:]
	return name, name != ""
}

// validAccount reports whether id is a 12-digit account id.
func validAccount(id string) bool {
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
