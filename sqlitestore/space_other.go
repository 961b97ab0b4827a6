//go:build !linux && !darwin && !freebsd

package sqlitestore

func freeBytes(string) *int64 { return nil }
