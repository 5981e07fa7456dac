package server

import (
	"fmt"

	"github.com/sagekeep/sagekeep/internal/blob"
)

// FreeSpace returns the free bytes of the file system of dir and how many of
// them writes leave alone.
func FreeSpace(dir string) (free, reserve uint64, err error) {
	free, total, err := blob.OS().Space(dir)
	if err != nil {
		return 0, 0, fmt.Errorf("ask for free space: %w", err)
	}
	return free, blob.Reserve(total), nil
}
