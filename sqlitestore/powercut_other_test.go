//go:build !linux

package sqlitestore

import "testing"

// powerDisk is a disk whose power can be cut.
type powerDisk struct{}

func newPowerDisk(t *testing.T) *powerDisk {
	t.Helper()
	t.Skip("only Linux has a file system whose power can be cut")
	return nil
}

func (*powerDisk) path(string) string { return "" }
func (*powerDisk) cut(*testing.T)     {}
func (*powerDisk) sync(*testing.T)    {}
func (*powerDisk) restore(*testing.T) {}
