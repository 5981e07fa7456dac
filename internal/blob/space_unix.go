//go:build linux || darwin || freebsd

package blob

import "golang.org/x/sys/unix"

func diskSpace(name string) (free, total uint64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(name, &s); err != nil {
		return 0, 0, err
	}
	return uint64(max(s.Bavail, 0)) * uint64(s.Bsize), s.Blocks * uint64(s.Bsize), nil
}
