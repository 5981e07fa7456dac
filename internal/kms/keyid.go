package kms

import (
	"encoding/hex"
	"strings"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

// keyRef is a parsed KeyId: a key or an alias of an account and region.
type keyRef struct {
	account, region string
	id              string // key id, or "" for an alias
	alias           string // with its prefix alias/, or ""
	typed           string // the alias as typed in the request, for kms:RequestAlias
}

// mrkPrefix starts the ids of multi-Region keys.
const mrkPrefix = "mrk-"

// validKeyID reports whether id has the form of a key id: a UUID, or mrk- and 32
// hex digits.
func validKeyID(id string) bool {
	_, _, ok := keyIDBytes(id)
	return ok
}

// keyIDBytes returns the 16 bytes of a key id and whether it is multi-Region.
func keyIDBytes(id string) (b [16]byte, mrk, ok bool) {
	text := id
	if rest, found := strings.CutPrefix(id, mrkPrefix); found {
		if len(rest) != 32 {
			return b, false, false
		}
		text, mrk = rest, true
	} else {
		if len(id) != 36 || id[8] != '-' || id[13] != '-' || id[18] != '-' || id[23] != '-' {
			return b, false, false
		}
		text = id[:8] + id[9:13] + id[14:18] + id[19:23] + id[24:]
	}
	if len(text) != 32 || strings.ToLower(text) != text {
		return b, false, false
	}
	_, err := hex.Decode(b[:], []byte(text))
	return b, mrk, err == nil
}

// keyIDText is the inverse of keyIDBytes.
func keyIDText(b [16]byte, mrk bool) string {
	h := hex.EncodeToString(b[:])
	if mrk {
		return mrkPrefix + h
	}
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// isAccountID reports whether text has the form of an account id: 12 digits.
func isAccountID(text string) bool {
	return len(text) == 12 && strings.Trim(text, "0123456789") == ""
}

// parseKeyRef reads a KeyId in any form: id, key ARN and, when alias is true,
// alias name and alias ARN. Account and region of short forms are the caller's.
//
// Errors: NotFoundException with AWS's texts.
func parseKeyRef(text, account, region string, alias bool) (keyRef, error) {
	ref := keyRef{account: account, region: region}
	resource := text
	if strings.HasPrefix(text, "arn:") {
		p := strings.SplitN(text, ":", 6)
		if len(p) != 6 || p[1] != "aws" || p[2] != "kms" || !isAccountID(p[4]) {
			return ref, kmsapi.NotFoundException("Invalid arn %s", text)
		}
		if p[3] != region {
			return ref, kmsapi.NotFoundException("Invalid arn %s", p[3])
		}
		ref.account, resource = p[4], p[5]
		if id, ok := strings.CutPrefix(resource, "key/"); ok {
			if strings.HasPrefix(id, aliasPrefix) {
				return ref, kmsapi.NotFoundException("Invalid arn %s", text)
			}
			resource = id
		} else if !strings.HasPrefix(resource, "alias/") {
			return ref, kmsapi.NotFoundException("Invalid arn %s", text)
		}
	}
	if strings.HasPrefix(resource, "alias/") {
		if !alias {
			return ref, kmsapi.NotFoundException("Invalid keyId '%s'", text)
		}
		ref.alias, ref.typed = resource, resource
		return ref, nil
	}
	if !validKeyID(resource) {
		return ref, kmsapi.NotFoundException("Invalid keyId '%s'", text)
	}
	ref.id = resource
	return ref, nil
}
