//go:build !linux

package sqlitestore

func renameToNew(from, to string) error { return linkToNew(from, to) }
