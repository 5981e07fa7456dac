package iam

import "github.com/sagekeep/sagekeep/internal/protocol"

// registerProviders adds the operations on identity providers.
func (s *Service) registerProviders(_ *protocol.Registry) {}
