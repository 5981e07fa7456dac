package iam

import "github.com/sagekeep/sagekeep/internal/protocol"

// registerAccount adds the operations on the account as a whole.
func (s *Service) registerAccount(_ *protocol.Registry) {}
