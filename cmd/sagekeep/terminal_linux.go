package main

import "golang.org/x/sys/unix"

// readTermios asks a terminal for its settings.
const readTermios = unix.TCGETS
