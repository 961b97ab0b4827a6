package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// fileSystem names the kind of file system that a folder is on, and says
// whether that is in memory, where a sync costs nothing.
func fileSystem(folder string) (name string, inMemory bool, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(folder, &s); err != nil {
		return "", false, fmt.Errorf("%s: %w", folder, err)
	}
	switch kind := uint32(s.Type); kind {
	case unix.TMPFS_MAGIC:
		return "tmpfs", true, nil
	case unix.RAMFS_MAGIC:
		return "ramfs", true, nil
	case unix.EXT4_SUPER_MAGIC:
		return "ext4", false, nil
	case unix.XFS_SUPER_MAGIC:
		return "xfs", false, nil
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs", false, nil
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlayfs", false, nil
	default:
		return fmt.Sprintf("file system %#x", kind), false, nil
	}
}
