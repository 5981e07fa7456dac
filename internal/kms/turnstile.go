package kms

import (
	"context"
	"fmt"
	"sync"
)

// maxWaiting bounds the requests of one customer that wait for an RSA key at one
// time, for their memory's sake: those behind it would wait for minutes. All customers together may have four times as many, and each of them one.
const (
	maxWaiting    = 256
	maxWaitingAll = 4 * maxWaiting
)

// turnstile lets one request in at a time, the customers in turn: one that asks
// for a hundred keys holds nobody up for more than one.
type turnstile struct {
	mu      sync.Mutex
	busy    bool
	waiting int
	queues  map[string][]chan struct{} // by customer, oldest first
	order   []string                   // customers that wait, the next one first
}

func newTurnstile() *turnstile { return &turnstile{queues: map[string][]chan struct{}{}} }

// enter waits until it is the caller's turn, which ends with leave.
//
// Errors: ThrottlingException when too many wait; the end of ctx.
func (t *turnstile) enter(ctx context.Context, customer string) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("kms: wait for one's turn: %w", err)
	}
	t.mu.Lock()
	if !t.busy {
		t.busy = true
		t.mu.Unlock()
		return t.leave, nil
	}
	if n := len(t.queues[customer]); n >= maxWaiting || n > 0 && t.waiting >= maxWaitingAll {
		t.mu.Unlock()
		return nil, throttled()
	}
	turn := make(chan struct{})
	if len(t.queues[customer]) == 0 {
		t.order = append(t.order, customer)
	}
	t.queues[customer] = append(t.queues[customer], turn)
	t.waiting++
	t.mu.Unlock()
	select {
	case <-turn:
		return t.leave, nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.withdraw(customer, turn) {
		t.next() // it was the caller's turn just then
	}
	return nil, fmt.Errorf("kms: wait for one's turn: %w", ctx.Err())
}

func (t *turnstile) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next()
}

// next lets the oldest request of the next customer in.
func (t *turnstile) next() {
	if len(t.order) == 0 {
		t.busy = false
		return
	}
	customer := t.order[0]
	t.order = t.order[1:]
	queue := t.queues[customer]
	close(queue[0])
	t.waiting--
	if len(queue) == 1 {
		delete(t.queues, customer)
		return
	}
	t.queues[customer] = queue[1:]
	t.order = append(t.order, customer)
}

// withdraw takes a request out of its queue; false when it has left it.
func (t *turnstile) withdraw(customer string, turn chan struct{}) bool {
	queue := t.queues[customer]
	for i, c := range queue {
		if c != turn {
			continue
		}
		t.waiting--
		if len(queue) > 1 {
			t.queues[customer] = append(queue[:i:i], queue[i+1:]...)
			return true
		}
		delete(t.queues, customer)
		for j, a := range t.order {
			if a == customer {
				t.order = append(t.order[:j:j], t.order[j+1:]...)
				break
			}
		}
		return true
	}
	return false
}
