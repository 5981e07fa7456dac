//go:build !linux

package sealer

import "net"

// checkPeer leaves it to the mode of the socket and of its directory.
func checkPeer(net.Conn) error { return nil }
