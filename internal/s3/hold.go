package s3

import (
	"sync"
	"time"

	s3api "github.com/sagekeep/sagekeep/api/s3"
)

// nameHold is how long the name of a deleted bucket is refused to other
// accounts. A request is authorised for the bucket of one account and then
// carried out on the bucket of that name: in between the name must not pass to
// somebody else. Requests do not outlive the process, so memory is enough.
//
// Source: S3 User Guide, "Deleting a general purpose bucket": the name might not
// be available at once.
const nameHold = time.Minute

// heldNames holds the names of buckets that were deleted a short while ago.
type heldNames struct {
	mu    sync.Mutex
	names map[string]heldName
	queue []heldName // oldest first
}

type heldName struct {
	name, account string
	until         time.Time
}

// hold keeps a name for the account from now on. It is called before the commit
// that deletes the bucket is visible.
func (h *heldNames) hold(name, account string, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.expire(now)
	n := heldName{name, account, now.Add(nameHold)}
	h.names[name] = n
	h.queue = append(h.queue, n)
}

// check refuses a name that is kept for another account.
//
// Errors: OperationAborted.
func (h *heldNames) check(name, account string, now time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.expire(now)
	if n, ok := h.names[name]; ok && n.account != account {
		return s3api.OperationAborted("A conflicting conditional operation is currently in progress against this resource. Please try again.").With("BucketName", name)
	}
	return nil
}

// expire forgets the names whose time is over.
func (h *heldNames) expire(now time.Time) {
	for len(h.queue) > 0 && !now.Before(h.queue[0].until) {
		if n := h.queue[0]; h.names[n.name] == n {
			delete(h.names, n.name)
		}
		h.queue = h.queue[1:]
	}
}
