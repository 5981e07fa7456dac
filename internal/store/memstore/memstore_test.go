package memstore_test

import (
	"testing"

	"github.com/sagekeep/sagekeep/internal/store/memstore"
	"github.com/sagekeep/sagekeep/internal/store/storetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Engine {
		t.Helper()
		return memstore.NewMachine(uint64(len(t.Name())))
	})
}
