package server

import "runtime"

// heapFloor is memory that is reserved and never touched, so that it costs no
// RAM, in bytes.
const heapFloor = 20 << 20

// HoldHeap makes the garbage collector run when tens of megabytes have been
// allocated instead of a few: it counts the floor as live. Most of what a
// request allocates is dead when it is answered. A larger GOGC would do the same
// for a small heap, and let the heap of a raster job grow past a gigabyte. The
// floor stands until release is called.
func HoldHeap() (release func()) {
	floor := make([]byte, heapFloor)
	return func() { runtime.KeepAlive(floor) }
}
