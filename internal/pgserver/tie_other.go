//go:build unix && !linux

package pgserver

import "syscall"

func tie(*syscall.SysProcAttr) {}
