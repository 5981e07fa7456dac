package rsakey

import "golang.org/x/sys/unix"

// The scheduling policies of sched(7).
const (
	schedNormal = 0
	schedIdle   = 5
)

// whenIdle lets the calling thread run only when a processor would be idle, until
// ordinary is called. Where the system refuses, the thread stays as it is.
func whenIdle() (ordinary func()) {
	set := func(thread int, policy uint32) {
		_ = unix.SchedSetAttr(thread, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: policy}, 0)
	}
	thread := unix.Gettid()
	set(thread, schedIdle)
	return func() { set(thread, schedNormal) }
}
