package kms

import (
	"context"
	"fmt"
	"sync"
)

// maxWaiting bounds the requests of one account that wait for an RSA key at one
// time; all accounts together may have four times as many.
const (
	maxWaiting    = 32
	maxWaitingAll = 4 * maxWaiting
)

// turnstile lets one request in at a time, the accounts in turn: one that asks
// for a hundred keys holds nobody up for more than one.
type turnstile struct {
	mu      sync.Mutex
	busy    bool
	waiting int
	queues  map[string][]chan struct{} // by account, oldest first
	order   []string                   // accounts that wait, the next one first
}

func newTurnstile() *turnstile { return &turnstile{queues: map[string][]chan struct{}{}} }

// enter waits until it is the caller's turn, which ends with leave.
//
// Errors: ThrottlingException when too many wait; the end of ctx.
func (t *turnstile) enter(ctx context.Context, account string) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("kms: wait for an RSA key: %w", err)
	}
	t.mu.Lock()
	if !t.busy {
		t.busy = true
		t.mu.Unlock()
		return t.leave, nil
	}
	if len(t.queues[account]) >= maxWaiting || t.waiting >= maxWaitingAll {
		t.mu.Unlock()
		return nil, throttled()
	}
	turn := make(chan struct{})
	if len(t.queues[account]) == 0 {
		t.order = append(t.order, account)
	}
	t.queues[account] = append(t.queues[account], turn)
	t.waiting++
	t.mu.Unlock()
	select {
	case <-turn:
		return t.leave, nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.withdraw(account, turn) {
		t.next() // it was the caller's turn just then
	}
	return nil, fmt.Errorf("kms: wait for an RSA key: %w", ctx.Err())
}

func (t *turnstile) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next()
}

// next lets the oldest request of the next account in.
func (t *turnstile) next() {
	if len(t.order) == 0 {
		t.busy = false
		return
	}
	account := t.order[0]
	t.order = t.order[1:]
	queue := t.queues[account]
	close(queue[0])
	t.waiting--
	if len(queue) == 1 {
		delete(t.queues, account)
		return
	}
	t.queues[account] = queue[1:]
	t.order = append(t.order, account)
}

// withdraw takes a request out of its queue; false when it has left it.
func (t *turnstile) withdraw(account string, turn chan struct{}) bool {
	queue := t.queues[account]
	for i, c := range queue {
		if c != turn {
			continue
		}
		t.waiting--
		if len(queue) > 1 {
			t.queues[account] = append(queue[:i:i], queue[i+1:]...)
			return true
		}
		delete(t.queues, account)
		for j, a := range t.order {
			if a == account {
				t.order = append(t.order[:j:j], t.order[j+1:]...)
				break
			}
		}
		return true
	}
	return false
}
