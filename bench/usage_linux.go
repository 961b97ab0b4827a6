package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// usageOf returns what a process has used so far. The peak is that of the
// program itself: the one that the system tells when a process has ended may be
// that of the parent it was forked from.
func usageOf(pid int) (usage, error) {
	var u usage
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) //nolint:gosec // nothing but a number
	if err != nil {
		return u, err
	}
	// The name, in parentheses, may hold anything. From the state behind it on,
	// the twelfth and thirteenth are user and system time, in hundredths of a
	// second whatever the kernel counts in.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	for _, i := range []int{11, 12} {
		ticks, err := strconv.ParseInt(string(fields[i]), 10, 64)
		if err != nil {
			return u, err
		}
		u.cpu += time.Duration(ticks) * 10 * time.Millisecond
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) //nolint:gosec // nothing but a number
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "VmHWM":
			u.peak, err = kilobytes(value)
		case "VmRSS":
			u.resident, err = kilobytes(value)
		}
		if err != nil {
			return u, err
		}
	}
	return u, nil
}

// kilobytes reads "1234 kB" as bytes.
func kilobytes(text string) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(text), " kB"), 10, 64)
	return n << 10, err
}
