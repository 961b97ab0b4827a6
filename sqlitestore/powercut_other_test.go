//go:build !linux

package sqlitestore

import (
	"errors"
	"testing"
)

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

func cutPower(string) error { return errors.ErrUnsupported }
