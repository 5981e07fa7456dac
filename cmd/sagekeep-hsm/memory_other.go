//go:build !linux

package main

// keepMemory does nothing: only Linux has a switch for it.
func keepMemory() error { return nil }
