//go:build !unix

package sqlitestore

import (
	"io/fs"
	"os"
)

const noFollow = 0

// ownLike does nothing: files have no owner of that kind.
func ownLike(*os.File, fs.FileInfo, fs.FileInfo) error { return nil }

// links returns 1: how many names a file has is not known.
func links(fs.FileInfo) uint64 { return 1 }

// access returns nil: whether a file can be opened is not known.
func access(string) error { return nil }
