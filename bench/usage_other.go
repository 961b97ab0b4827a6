//go:build !linux

package main

import "errors"

// usageOf does not know how to ask this system. The CPU time of a process that
// has ended is known everywhere.
func usageOf(int) (usage, error) { return usage{}, errors.ErrUnsupported }
