package rsakey

import "golang.org/x/sys/unix"

// schedIdle is the scheduling policy SCHED_IDLE of sched(7).
const schedIdle = 5

// whenIdle lets the calling thread run only when a processor would be idle. Where
// the system refuses, the thread stays as it is.
func whenIdle() {
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: schedIdle}, 0)
}
