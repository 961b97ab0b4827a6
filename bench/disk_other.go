//go:build !linux

package main

// fileSystem does not know how to ask this system.
func fileSystem(string) (name string, inMemory bool, err error) { return "", false, nil }
