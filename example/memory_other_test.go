//go:build !linux

package main

import "testing"

func TestMemoryUnderAttack(t *testing.T) {
	t.Skip("needs RLIMIT_DATA of Linux")
}
