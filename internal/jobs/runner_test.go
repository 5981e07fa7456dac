package jobs_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/jobs"
	"github.com/sagekeep/sagekeep/internal/jobs/jobstest"
	"github.com/sagekeep/sagekeep/internal/store"
	"github.com/sagekeep/sagekeep/internal/store/memstore"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	jobstest.Run(t, func(t *testing.T) jobstest.Env {
		st := store.New(memstore.New(t), envelope.NewMemory(), store.Options{})
		return jobstest.Env{Store: st, New: func(node string) jobstest.Queue {
			return jobs.New(jobs.Config{
				Store: st, Node: node, Log: slog.New(slog.DiscardHandler), Lease: 600 * time.Millisecond,
				Poll: 20 * time.Millisecond, Backoff: 5 * time.Millisecond, MaxBackoff: 20 * time.Millisecond,
			})
		}}
	})
}

func TestRegisterRefuses(t *testing.T) {
	t.Parallel()
	for name, k := range map[string]jobs.Kind{
		"no handler": {Name: "k"},
		"no name":    {Run: nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if recover() == nil {
					t.Error("Register did not panic")
				}
			}()
			jobs.New(jobs.Config{}).Register(k)
		})
	}
}
