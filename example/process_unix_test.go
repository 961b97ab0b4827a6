//go:build unix

package main

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// pipe returns a pipe whose ends are closed when the test ends.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() {
		r.Close()
		w.Close()
	})
	return r, w
}

// fill fills a pipe, so that a further write waits.
func fill(t *testing.T, w *os.File) {
	t.Helper()
	conn, err := w.SyscallConn()
	require.NoError(t, err)
	page := make([]byte, 4096)
	require.NoError(t, conn.Write(func(fd uintptr) bool {
		for {
			if _, err := syscall.Write(int(fd), page); err != nil {
				return true // EAGAIN: Go's pipes do not block
			}
		}
	}))
}

func TestServerOutlivesItsOutputs(t *testing.T) {
	for name, breakOutputs := range map[string]func(*testing.T, *exec.Cmd) (broken func()){
		"nothing reads its log any more": func(t *testing.T, cmd *exec.Cmd) func() {
			r, w := pipe(t)
			cmd.Stderr = w
			return func() { r.Close() }
		},
		"nothing reads its log from the start": func(t *testing.T, cmd *exec.Cmd) func() {
			r, w := pipe(t)
			cmd.Stderr = w
			r.Close()
			return func() {}
		},
		"nothing reads its standard output from the start": func(t *testing.T, cmd *exec.Cmd) func() {
			r, w := pipe(t)
			cmd.Stdout = w
			r.Close()
			return func() {}
		},
		"the reader of its log is stuck": func(t *testing.T, cmd *exec.Cmd) func() {
			_, w := pipe(t)
			fill(t, w)
			cmd.Stderr = w
			return func() {}
		},
		"the disk under its log is full": func(t *testing.T, cmd *exec.Cmd) func() {
			full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
			if err != nil {
				t.Skip("there is no full disk here: ", err)
			}
			t.Cleanup(func() { full.Close() })
			cmd.Stderr = full
			return func() {}
		},
		"the disk under its standard output is full": func(t *testing.T, cmd *exec.Cmd) func() {
			full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
			if err != nil {
				t.Skip("there is no full disk here: ", err)
			}
			t.Cleanup(func() { full.Close() })
			cmd.Stdout = full
			return func() {}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var broken func()
			p := startProcessWith(t, func(cmd *exec.Cmd) { broken = breakOutputs(t, cmd) }, "-db", inMemory, "-api-key", "k")
			broken()
			// Each refusal is a line of the log.
			for range 3 {
				require.Equal(t, http.StatusUnauthorized, p.status(t, "/v1/ingest/charge-data"))
			}
			require.Equal(t, http.StatusOK, p.status(t, "/readyz"))
			p.end(t)
		})
	}
}

func TestHangupDoesNotEndTheServer(t *testing.T) {
	p := startProcess(t, "-db", inMemory)
	for range 2 {
		require.NoError(t, p.Process.Signal(syscall.SIGHUP))
	}
	require.True(t, p.log.has("SIGHUP is ignored", p.ended), p.log)
	require.Equal(t, http.StatusOK, p.status(t, "/readyz"))
	p.end(t)
}

func TestClientsEndWithTheirReader(t *testing.T) {
	s := startServer(t)
	s.fill(t, 1, 10)
	for name, signal := range map[string]syscall.Signal{"a closed pipe": syscall.SIGPIPE, "a hangup": syscall.SIGHUP} {
		t.Run(name, func(t *testing.T) {
			r, w := pipe(t)
			tail := asProcess(t, "tail", "-url", s.url, "-api-key", s.key, "-interval", "1ms")
			tail.Stdout = w
			require.NoError(t, tail.Start())
			_, err := io.ReadFull(r, make([]byte, 10))
			require.NoError(t, err)
			if signal == syscall.SIGPIPE {
				require.NoError(t, r.Close()) // and no event comes that would be written
			} else {
				require.NoError(t, tail.Process.Signal(signal))
			}
			var exit *exec.ExitError
			require.ErrorAs(t, tail.Wait(), &exit)
			require.Equal(t, signal, exit.Sys().(syscall.WaitStatus).Signal())
		})
	}
}
