//go:build unix

package main

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// exitWhenReaderCloses ends a process that has nothing to write to the closed pipe w.
func exitWhenReaderCloses(w io.Writer) {
	f, ok := w.(*os.File)
	if !ok {
		return
	}
	if info, err := f.Stat(); err != nil || info.Mode().Type() != os.ModeNamedPipe {
		return
	}
	fds := []unix.PollFd{{Fd: int32(f.Fd())}}
	_, err := unix.Poll(fds, -1)
	for errors.Is(err, unix.EINTR) {
		_, err = unix.Poll(fds, -1)
	}
	if err == nil && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0 {
		_, _ = f.WriteString("\n") // raises SIGPIPE
	}
}
