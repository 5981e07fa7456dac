package server

import (
	"context"
	"errors"

	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/iam"
)

// accountError gives the refusals of CreateAccount a public text.
func accountError(err error) error {
	for _, known := range []error{iam.ErrInvalidAccount, iam.ErrReservedAccount, iam.ErrAccountExists} {
		if errors.Is(err, known) {
			return schema.NewError("InvalidAccount", 400, "%s", err.Error()).Because(err)
		}
	}
	return err
}

// CreateAccount opens the data directory of cfg, which no server may have open,
// and adds an account.
func CreateAccount(ctx context.Context, cfg Config, id string) (AccessKey, error) {
	s, err := openExisting(ctx, cfg)
	if err != nil {
		return AccessKey{}, err
	}
	key, err := s.createAccount(ctx, id)
	return key, errors.Join(err, s.Close())
}
