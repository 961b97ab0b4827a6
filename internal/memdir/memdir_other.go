//go:build !linux

package memdir

func path() string { return "" }
