//go:build !linux

package rsakey

// whenIdle does nothing: such a priority is Linux's.
func whenIdle() {}
