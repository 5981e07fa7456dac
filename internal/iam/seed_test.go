package iam

import (
	"testing"
	"time"

	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/store"
	"github.com/sagekeep/sagekeep/internal/store/memstore"
)

// seed is a service with one session, for fuzzing.
type seed struct {
	s         *Service
	id, token string
}

func newSeedFixture(tb testing.TB) seed {
	tb.Helper()
	keyring := envelope.NewMemory()
	s := New(Deps{Store: store.New(memstore.New(tb), keyring, store.Options{}), Keyring: keyring})
	if _, err := s.CreateAccount(tb.Context(), testAccount); err != nil {
		tb.Fatal(err)
	}
	e := entity{Account: testAccount, Name: "reader", Path: "/", ID: newUniqueID("AROA"), Trust: trustAccount, MaxSession: 3600}
	err := s.update(tb.Context(), testAccount, func(tx *store.Tx) error { return s.create(tx, s.roles, &e) })
	if err != nil {
		tb.Fatal(err)
	}
	role, err := s.RoleByARN(tb.Context(), s.roles.arn(&e))
	if err != nil {
		tb.Fatal(err)
	}
	c, err := s.MintSession(SessionSpec{Role: role, Name: "fuzz", Duration: time.Hour})
	if err != nil {
		tb.Fatal(err)
	}
	return seed{s: s, id: c.AccessKeyID, token: c.SessionToken}
}
