package server

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
)

// makeRSA makes an RSA key where the configuration says, and here when that
// fails. The log says so once until it works again.
func (s *Server) makeRSA(ctx context.Context, bits int) (*rsa.PrivateKey, error) {
	if s.cfg.MakeRSA != nil {
		key, err := s.cfg.MakeRSA(ctx, bits)
		if err == nil {
			s.rsaHere.Store(false)
			return key, nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
		if !s.rsaHere.Swap(true) {
			s.cfg.Log.Warn("RSA keys are made inside the server, and slow other requests down meanwhile", "error", err)
		}
	}
	return rsa.GenerateKey(rand.Reader, bits)
}
