//go:build !linux

package sqlitestore

// renameToNew returns fs.ErrExist instead of overwriting a file.
func renameToNew(from, to string) error { return linkToNew(from, to) }
