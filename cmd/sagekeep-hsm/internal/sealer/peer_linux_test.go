package sealer

import (
	"net"
	"testing"
)

func TestPeer(t *testing.T) {
	t.Parallel()
	if sameUser(0, 1000) == nil || sameUser(1000, 0) == nil || sameUser(7, 7) != nil {
		t.Error("sameUser is wrong")
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if checkPeer(a) == nil {
		t.Error("a connection that is no Unix socket passes")
	}
}
