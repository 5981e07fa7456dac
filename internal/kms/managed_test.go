package kms

import (
	"strings"
	"testing"

	"github.com/sagekeep/sagekeep/internal/store"
)

// TestManagedKeyInTransaction: an AWS managed key is not made by who holds the
// store's writer lock, and can be used there once it is made.
func TestManagedKeyInTransaction(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const alias = awsAliases + "s3"
	ctx := f.by(via(root(home), "s3", region))
	describe := func() error {
		return f.store.Update(ctx, func(tx *store.Tx) error { return second(f.s.Describe(tx.Context(ctx), alias)) })
	}
	// As while an erasure begins: a reader of s.wrapping would wait for the writer,
	// the writer for another reader, and that one for the store's lock.
	if err := describe(); err == nil || !strings.Contains(err.Error(), "inside a transaction") {
		t.Errorf("the first use inside a transaction: %v", err)
	}
	if err := f.store.View(ctx, func(tx *store.Tx) error {
		made, err := aliases.Exists(tx, region, home, alias)
		if made {
			t.Error("the key was made")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.s.Describe(ctx, alias); err != nil {
		t.Fatal(err)
	}
	if err := describe(); err != nil {
		t.Errorf("a use inside a transaction: %v", err)
	}
}
