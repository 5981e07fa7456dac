//go:build !unix

package main

// noCoreDumps does nothing: core files are of Unix.
func noCoreDumps() error { return nil }
