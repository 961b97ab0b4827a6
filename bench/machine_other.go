//go:build !linux

package main

import "time"

func fileSystem(string) (name string, inMemory bool, err error) { return "", false, nil }

func usage(int) (cpu time.Duration, peak int64, err error) { return 0, 0, nil }
