package iam_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/iam"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/store"
	"github.com/sagekeep/sagekeep/internal/store/memstore"
)

func ExampleService_Lookup() {
	rows, err := memstore.Open()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer rows.Close()
	keyring := envelope.NewMemory()
	s := iam.New(iam.Deps{Store: store.New(rows, keyring, store.Options{}), Keyring: keyring})

	ctx := context.Background()
	root, err := s.CreateAccount(ctx, "111122223333")
	if err != nil {
		fmt.Println(err)
		return
	}
	cred, err := s.Lookup(ctx, root.AccessKeyID, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(cred.Owner.(*identity.Caller).ARN)
	_, err = s.CreateAccount(ctx, "378778860802")
	fmt.Println(errors.Is(err, iam.ErrReservedAccount))
	// Output:
	// arn:aws:iam::111122223333:root
	// true
}
