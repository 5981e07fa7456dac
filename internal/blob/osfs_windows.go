package blob

import (
	"errors"
	"syscall"

	"golang.org/x/sys/windows"
)

// syncDir does nothing: Windows has no way to sync a folder, and NTFS journals
// names by itself.
func syncDir(string) error { return nil }

func diskSpace(name string) (free, total uint64, err error) {
	p, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return 0, 0, err
	}
	if err := windows.GetDiskFreeSpaceEx(p, &free, &total, nil); err != nil {
		return 0, 0, err
	}
	return free, total, nil
}

// isFull reports whether err says that the device or the quota is used up.
func isFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) ||
		errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED) || errors.Is(err, syscall.ENOSPC)
}
