//go:build !unix

package files

import (
	"io/fs"
	"os"
)

const noFollow = 0

func matchUser(*os.File, fs.FileInfo, fs.FileInfo) error { return nil }

func Links(fs.FileInfo) uint64 { return 1 }

func Access(string) error { return nil }
