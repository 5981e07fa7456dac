package main

import "golang.org/x/sys/windows"

// terminalAt reports whether the handle is a console's.
func terminalAt(handle uintptr) bool {
	var mode uint32
	return windows.GetConsoleMode(windows.Handle(handle), &mode) == nil
}
