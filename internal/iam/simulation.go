package iam

import "github.com/sagekeep/sagekeep/internal/protocol"

// registerSimulation adds the operations of the policy simulator.
func (s *Service) registerSimulation(_ *protocol.Registry) {}
