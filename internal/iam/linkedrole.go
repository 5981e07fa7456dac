package iam

import "github.com/sagekeep/sagekeep/internal/protocol"

// registerLinkedRoles adds the operations on service-linked roles.
func (s *Service) registerLinkedRoles(_ *protocol.Registry) {}
