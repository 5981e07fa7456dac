package iam

import "github.com/sagekeep/sagekeep/internal/protocol"

// registerGroups adds the operations on groups.
func (s *Service) registerGroups(_ *protocol.Registry) {}
