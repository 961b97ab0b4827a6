//go:build !linux

package main

import "testing"

func TestMemoryUnderAttack(t *testing.T) {
	t.Skip("only Linux has a limit on the memory that a process writes to: RLIMIT_DATA")
}
