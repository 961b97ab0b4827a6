//go:build !linux

package files

func RenameNew(from, to string) error { return linkNew(from, to) }
