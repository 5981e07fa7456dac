package iam

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/store"
)

// useInterval is how often uses become rows. A crash forgets those of the last
// interval: when a key was last used is no promise, and AWS's figure lags too.
const useInterval = time.Minute

// useRow is when an access key or a role was last used, keyed by account and
// the key's id or the role's unique id.
type useRow struct {
	Account string `json:"account"`
	ID      string `json:"id"`
	At      int64  `json:"at"` // µs UTC
	Service string `json:"service,omitempty"`
	Region  string `json:"region,omitempty"`
}

func useTable() *store.Table[useRow] { return store.Hashed[useRow]("iam.use") }

// uses gathers what was used since the last flush, by account and id.
type uses struct {
	mu     sync.Mutex
	recent map[[2]string]useRow
}

func (u *uses) note(r useRow) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.recent == nil {
		u.recent = map[[2]string]useRow{}
	}
	u.recent[[2]string{r.Account, r.ID}] = r
}

func (u *uses) get(account, id string) (useRow, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	r, ok := u.recent[[2]string{account, id}]
	return r, ok
}

func (u *uses) snapshot() map[[2]string]useRow {
	u.mu.Lock()
	defer u.mu.Unlock()
	return maps.Clone(u.recent)
}

// forget drops what a snapshot held, unless it was used again since.
func (u *uses) forget(old map[[2]string]useRow) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for k, r := range old {
		if u.recent[k] == r {
			delete(u.recent, k)
		}
	}
}

// Used notes a request that a caller signed: the access key of a user or of
// the root user, or the role of a session.
func (s *Service) Used(c *identity.Caller, service, region string, at time.Time) {
	r := useRow{Account: c.Account, At: at.UTC().Truncate(time.Second).UnixMicro(), Service: service, Region: region}
	switch {
	case c.Type == identity.AssumedRole:
		r.ID = c.RoleID
	case c.IssuedAt.IsZero():
		r.ID = c.AccessKeyID
	default:
		return // temporary credentials of a user: AWS counts long-term keys alone
	}
	s.uses.note(r)
}

// lastUse is the later of what rows and memory know; the zero row for never.
func (s *Service) lastUse(tx *store.Tx, account, id string) (useRow, error) {
	row, err := s.used.Get(tx, account, id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return useRow{}, fmt.Errorf("read last use: %w", err)
	}
	if recent, ok := s.uses.get(account, id); ok && recent.At > row.At {
		return recent, nil
	}
	return row, nil
}

// roleLastUsed is the role's last use as GetRole shows it.
func (s *Service) roleLastUsed(tx *store.Tx, e *entity) (*iamapi.RoleLastUsed, error) {
	u, err := s.lastUse(tx, e.Account, e.ID)
	if err != nil || u.At == 0 {
		return &iamapi.RoleLastUsed{}, err
	}
	return &iamapi.RoleLastUsed{LastUsedDate: new(timeOf(u.At)), Region: &u.Region}, nil
}

// keyLastUsed is an access key's last use as GetAccessKeyLastUsed shows it.
func keyLastUsed(u useRow) *iamapi.AccessKeyLastUsed {
	out := &iamapi.AccessKeyLastUsed{ServiceName: cmp.Or(u.Service, "N/A"), Region: cmp.Or(u.Region, "N/A")}
	if u.At != 0 {
		out.LastUsedDate = new(timeOf(u.At))
	}
	return out
}

// Maintain writes down what was used until ctx ends, and once more then.
func (s *Service) Maintain(ctx context.Context, log *slog.Logger) {
	t := time.NewTicker(useInterval)
	defer t.Stop()
	for done := false; !done; {
		select {
		case <-ctx.Done():
			done = true
		case <-t.C:
		}
		if err := s.FlushUses(context.WithoutCancel(ctx)); err != nil {
			log.Warn("when access keys were last used could not be stored; it is tried again", "error", err)
		}
	}
}

// FlushUses writes down what was used since the last flush. What was deleted
// meanwhile leaves no row.
func (s *Service) FlushUses(ctx context.Context) error {
	recent := s.uses.snapshot()
	if len(recent) == 0 {
		return nil
	}
	err := s.store.Update(ctx, func(tx *store.Tx) error {
		for _, r := range recent {
			live, err := s.keys.Exists(tx, r.ID)
			if err == nil && !live {
				live, err = s.roles.idExists(tx, r.ID)
			}
			if err == nil && live {
				err = s.used.Put(tx, r, r.Account, r.ID)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("store last uses: %w", err)
	}
	s.uses.forget(recent)
	return nil
}

// forgetUse removes the row of a key or role that is deleted.
func (s *Service) forgetUse(tx *store.Tx, account, id string) error {
	if have, err := s.used.Exists(tx, account, id); err != nil || !have {
		return err
	}
	return s.used.Delete(tx, account, id)
}
