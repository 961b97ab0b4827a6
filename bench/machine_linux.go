package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func fileSystem(dir string) (name string, inMemory bool, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return "", false, fmt.Errorf("%s: %w", dir, err)
	}
	kind := uint32(s.Type)
	name, known := map[uint32]string{
		unix.TMPFS_MAGIC: "tmpfs", unix.RAMFS_MAGIC: "ramfs", unix.EXT4_SUPER_MAGIC: "ext4",
		unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs", unix.OVERLAYFS_SUPER_MAGIC: "overlayfs",
	}[kind]
	if !known {
		name = fmt.Sprintf("file system %#x", kind)
	}
	return name, kind == unix.TMPFS_MAGIC || kind == unix.RAMFS_MAGIC, nil
}

// usage returns CPU time and peak resident bytes. The rusage of an ended process can include its
// parent's memory.
func usage(pid int) (cpu time.Duration, peak int64, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	// Fields 12 and 13 after the name are user and system time in hundredths of a second.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	for _, field := range fields[11:13] {
		ticks, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, 0, err
		}
		cpu += time.Duration(ticks) * 10 * time.Millisecond
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	_, value, _ := strings.Cut(string(status), "VmHWM:")
	_, err = fmt.Sscanf(value, "%d kB", &peak)
	return cpu, peak << 10, err
}
