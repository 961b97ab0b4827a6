//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

const (
	socketMode    = 0o660
	maxSocketPath = len(syscall.RawSockaddrUnix{}.Path) - 1

	directoryLockTimeout = 5 * time.Second
)

// unixListener removes only its own socket.
type unixListener struct {
	*net.UnixListener
	path  string
	file  fs.FileInfo
	close func() error
}

// listenUnix replaces the socket of a killed server.
func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	l, err := listenUnixLocked(ctx, path)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "unix", Addr: &net.UnixAddr{Name: path, Net: "unix"}, Err: err}
	}
	return l, nil
}

func listenUnixLocked(ctx context.Context, path string) (*unixListener, error) {
	// Servers that start together could remove each other's socket.
	lock := flock.New(filepath.Dir(path), flock.SetFlag(os.O_RDONLY))
	defer func() { _ = lock.Close() }()
	timeout, cancel := context.WithTimeout(ctx, directoryLockTimeout)
	defer cancel()
	if _, err := lock.TryLockContext(timeout, 10*time.Millisecond); err != nil {
		return nil, fmt.Errorf("lock the directory of the socket: %w", err)
	}
	if err := removeStaleSocket(ctx, path); err != nil {
		return nil, err
	}
	config := net.ListenConfig{Control: restrictMode}
	listener, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, withoutOp(err)
	}
	l := &unixListener{UnixListener: listener.(*net.UnixListener), path: path}
	l.close = sync.OnceValue(l.removeAndClose)
	if err = os.Chmod(path, socketMode); err == nil {
		l.file, err = os.Lstat(path)
	}
	if err != nil {
		return nil, errors.Join(err, l.UnixListener.Close())
	}
	l.SetUnlinkOnClose(false)
	return l, nil
}

// Linux creates the socket with this mode.
func restrictMode(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), socketMode) })
}

func removeStaleSocket(ctx context.Context, path string) error {
	file, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case file.Mode().Type() != fs.ModeSocket:
		return errors.New("the file exists and is not a socket")
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		return errors.Join(conn.Close(), syscall.EADDRINUSE)
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	}
	return fmt.Errorf("the socket exists and may be in use: %w", withoutOp(err))
}

func withoutOp(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

func (l *unixListener) Close() error { return l.close() }

func (l *unixListener) removeAndClose() error {
	if file, err := os.Lstat(l.path); err == nil && os.SameFile(file, l.file) {
		_ = os.Remove(l.path)
	}
	return l.UnixListener.Close()
}

func isListening(l net.Listener) bool {
	raw, ok := l.(syscall.Conn)
	if !ok {
		return false
	}
	conn, err := raw.SyscallConn()
	if err != nil {
		return false
	}
	var listening int
	controlErr := conn.Control(func(fd uintptr) {
		listening, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN)
	})
	return controlErr == nil && err == nil && listening != 0
}
