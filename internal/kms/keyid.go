package kms

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strings"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/store"
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

// parseKeyRef reads a KeyId: id or key ARN and, by alias, alias name or alias ARN.
// Account and region of short forms are the caller's.
//
// Errors: NotFoundException with AWS's texts.
func parseKeyRef(text, account, region string, may use) (keyRef, error) {
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
		if may&byAlias == 0 {
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

// resolve finds the key of a KeyId for the caller in ctx. A key of another
// account that does not exist is returned with an empty row, so that the
// evaluator refuses it like one that the caller may not see.
//
// Errors: NotFoundException.
func (s *Service) resolve(ctx context.Context, text string, may use) (*cachedKey, keyRef, error) {
	call := identity.From(ctx)
	account := callerAccount(ctx)
	ref, err := parseKeyRef(text, account, call.Region, may)
	if err != nil {
		return nil, ref, err
	}
	foreign := ref.account != account
	if ref.alias != "" {
		if err := s.followAlias(ctx, &ref); err != nil {
			if !errors.Is(err, store.ErrNotFound) {
				return nil, ref, err
			}
			if foreign {
				return &cachedKey{keyRow: keyRow{Account: ref.account, Region: ref.region, ID: ref.alias}}, ref, nil
			}
			return nil, ref, kmsapi.NotFoundException("Alias %s is not found.", aliasARN(ref.region, ref.account, ref.alias))
		}
	}
	k, err := s.loadKey(ctx, ref.region, ref.id)
	if errors.Is(err, store.ErrNotFound) || err == nil && k.Account != ref.account {
		if foreign {
			return &cachedKey{keyRow: keyRow{Account: ref.account, Region: ref.region, ID: ref.id}}, ref, nil
		}
		return nil, ref, kmsapi.NotFoundException("Key '%s' does not exist", keyARN(ref.region, ref.account, ref.id))
	}
	if err != nil {
		return nil, ref, err
	}
	return k, ref, nil
}

// followAlias replaces the alias of ref by the key it points to.
func (s *Service) followAlias(ctx context.Context, ref *keyRef) error {
	get := func() error {
		return s.cfg.Store.View(ctx, func(tx *store.Tx) error {
			a, err := aliases.Get(tx, ref.region, ref.account, ref.alias)
			ref.id = a.Target
			return err
		})
	}
	err := get()
	if errors.Is(err, store.ErrNotFound) && s.isManagedAlias(ctx, ref) {
		if err := s.createManagedKey(ctx, ref, s.managedKey(ref)); err != nil {
			return err
		}
		return get()
	}
	return err
}

// newID returns a key id.
func newID(mrk bool) string {
	var b [16]byte
	rand.Read(b[:])
	if !mrk {
		b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // a version 4 UUID
	}
	return keyIDText(b, mrk)
}

// newHexID returns 64 random hex digits: the form of grant and material ids.
func newHexID() string {
	var b [32]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
