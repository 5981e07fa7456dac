package sealer

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// checkPeer refuses a process of another user, root included.
func checkPeer(c net.Conn) error {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return fmt.Errorf("a connection of type %T", c)
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return fmt.Errorf("look at the other process: %w", err)
	}
	var cred *syscall.Ucred
	var e error
	err = raw.Control(func(fd uintptr) { cred, e = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED) })
	if err != nil || e != nil {
		return fmt.Errorf("look at the other process: %w", errors.Join(err, e))
	}
	return sameUser(int(cred.Uid), os.Getuid())
}

func sameUser(peer, own int) error {
	if peer != own {
		return fmt.Errorf("the other process is of user %d, not %d", peer, own)
	}
	return nil
}
