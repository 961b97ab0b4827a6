//go:build !linux && !darwin && !freebsd

package files

func Free(string) *int64 { return nil }
