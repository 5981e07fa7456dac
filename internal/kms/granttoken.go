package kms

import (
	"strings"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/envelope"
)

// checkTokens refuses tokens that are not ours. A grant works from the instant
// its CreateGrant is answered, so a good token adds nothing.
func (s *Service) checkTokens(tokens []string) error {
	for _, t := range tokens {
		if _, err := s.openGrantToken(t); err != nil {
			return err
		}
	}
	return nil
}

// openGrantToken returns the grant that a token stands for.
func (s *Service) openGrantToken(text string) (grantToken, error) {
	t, err := s.cfg.Keyring.OpenToken(envelope.GrantToken, text, s.cfg.Now())
	if err != nil {
		return grantToken{}, kmsapi.InvalidGrantTokenException("").Because(err)
	}
	keyID, grantID, ok := strings.Cut(string(t.Payload), "|")
	if !ok {
		return grantToken{}, kmsapi.InvalidGrantTokenException("")
	}
	return grantToken{account: t.Account, region: t.Region, keyID: keyID, grantID: grantID}, nil
}

type grantToken struct{ account, region, keyID, grantID string }
