package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"

	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/audit"
)

// KeyListInput is the body of ListKeys.
type KeyListInput struct {
	// Account and Region are the first account and its region when empty.
	Account string `json:"account,omitempty"`
	Region  string `json:"region,omitempty"`
	Next    string `json:"next,omitempty"`
}

// KeyListOutput is some of an account's keys; Next is empty at the end.
type KeyListOutput struct {
	Keys []ImpactKey `json:"keys"`
	Next string      `json:"next,omitempty"`
}

// keyListPage is how many keys one call returns.
const keyListPage = 1000

// ListKeys opens the data directory of cfg, which no server may have open, and
// calls list with page after page of an account's keys.
func ListKeys(ctx context.Context, cfg Config, in KeyListInput, list func(KeyListOutput) error) error {
	s, err := openExisting(ctx, cfg)
	if err != nil {
		return err
	}
	return errors.Join(EachKeyPage(ctx, in, func(ctx context.Context, in KeyListInput) (KeyListOutput, error) {
		out, err := s.offline(ctx, "ListKeys", func(ctx context.Context) (any, error) {
			audit.From(ctx).SetRequest(in)
			return s.listKeys(ctx, in)
		})
		page, _ := out.(KeyListOutput)
		return page, err
	}, list), s.Close())
}

// checkKeyPlace fills in the first account and its region, and refuses accounts
// that are not there.
//
// Errors: InvalidRequest, NoSuchAccount.
func (s *Server) checkKeyPlace(ctx context.Context, account, region *string) error {
	if *region == "" {
		*region = DefaultRegion
	}
	if *account == "" {
		*account = s.firstAccount()
		return nil
	}
	if !IsAccountID(*account) {
		return schema.NewError("InvalidRequest", 400, "account: %q is not a 12-digit account id", *account)
	}
	have, err := s.iam.AccountExists(ctx, *account)
	if err == nil && !have {
		err = schema.NewError("NoSuchAccount", 400, "no such account: %s", *account)
	}
	return err
}

// IsAccountID reports whether text has the form of an account id.
func IsAccountID(text string) bool {
	return len(text) == 12 && strings.Trim(text, "0123456789") == ""
}

// EachKeyPage asks for page after page.
func EachKeyPage(ctx context.Context, in KeyListInput, page func(context.Context, KeyListInput) (KeyListOutput, error), list func(KeyListOutput) error) error {
	for {
		out, err := page(ctx, in)
		if err != nil {
			return err
		}
		if err := list(out); err != nil || out.Next == "" {
			return err
		}
		in.Next = out.Next
	}
}

func (s *Server) operatorListKeys(ctx context.Context, body []byte) (any, error) {
	var in KeyListInput
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, schema.NewError("InvalidRequest", 400, "the body is not JSON")
	}
	audit.From(ctx).SetRequest(in)
	return s.listKeys(ctx, in)
}

func (s *Server) listKeys(ctx context.Context, in KeyListInput) (KeyListOutput, error) {
	if err := s.checkKeyPlace(ctx, &in.Account, &in.Region); err != nil {
		return KeyListOutput{}, err
	}
	after, err := base64.RawURLEncoding.DecodeString(in.Next)
	if err != nil {
		return KeyListOutput{}, schema.NewError("InvalidRequest", 400, "next is not of ListKeys")
	}
	if len(after) == 0 {
		after = nil
	}
	all, next, err := s.kms.InspectAll(ctx, in.Account, in.Region, after, keyListPage)
	if err != nil {
		return KeyListOutput{}, err
	}
	out := KeyListOutput{Keys: []ImpactKey{}}
	for _, f := range all {
		out.Keys = append(out.Keys, *impactKey(f))
	}
	if next != nil {
		out.Next = base64.RawURLEncoding.EncodeToString(next)
	}
	return out, nil
}
