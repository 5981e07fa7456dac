package geospatial

import (
	"context"
	"fmt"
	"time"

	"github.com/sagekeep/sagekeep/internal/store"
)

// KeyUse is one Earth Observation job whose results lie under a KMS key.
type KeyUse struct {
	ARN, Name, Status, Role string
	GrantID                 string // the grant that the service uses, as the job's row has it
	Created                 time.Time
	Files, Bytes            int64 // results under the key
}

// KeyUses finds the jobs under a key. One call looks at about budget jobs; next
// continues, nil at the end.
func (s *Service) KeyUses(ctx context.Context, keyARN string, cursor []byte, budget int) (found []KeyUse, next []byte, read int, err error) {
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		found = nil
		page, err := jobsTable.Page(tx, nil, store.ScanOptions{After: cursor, Limit: budget})
		if err != nil {
			return err
		}
		next, read = page.Next, len(page.Values)
		for i := range page.Values {
			job := &page.Values[i]
			if job.KeyARN != keyARN {
				continue
			}
			u := KeyUse{
				ARN: job.Ref.jobARN(), Name: job.Name, Status: string(job.Status), Role: job.Role, GrantID: job.GrantID, Created: job.Created,
			}
			for row, err := range outputs.Scan(tx, job.Ref.key(), store.ScanOptions{}) {
				if err != nil {
					return err
				}
				if row.Value.Wrapped != nil {
					u.Files++
					u.Bytes += row.Value.Size
				}
			}
			found = append(found, u)
		}
		return nil
	})
	if err != nil {
		return nil, nil, 0, fmt.Errorf("geospatial: read jobs: %w", err)
	}
	return found, next, read, nil
}
