//go:build unix

package main

import (
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

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

func fill(t *testing.T, w *os.File) {
	t.Helper()
	conn, err := w.SyscallConn()
	require.NoError(t, err)
	page := make([]byte, 4096)
	require.NoError(t, conn.Write(func(fd uintptr) bool {
		for {
			if _, err := syscall.Write(int(fd), page); err != nil {
				return true // EAGAIN
			}
		}
	}))
}

func TestServerSurvivesBrokenOutputs(t *testing.T) {
	for name, breakOutputs := range map[string]func(*testing.T, *exec.Cmd) (broken func()){
		"log reader ends": func(t *testing.T, cmd *exec.Cmd) func() {
			r, w := pipe(t)
			cmd.Stderr = w
			return func() { r.Close() }
		},
		"no log reader": func(t *testing.T, cmd *exec.Cmd) func() {
			r, w := pipe(t)
			cmd.Stderr = w
			r.Close()
			return func() {}
		},
		"no reader of standard output": func(t *testing.T, cmd *exec.Cmd) func() {
			r, w := pipe(t)
			cmd.Stdout = w
			r.Close()
			return func() {}
		},
		"log reader is stuck": func(t *testing.T, cmd *exec.Cmd) func() {
			_, w := pipe(t)
			fill(t, w)
			cmd.Stderr = w
			return func() {}
		},
		"disk of the log is full": func(t *testing.T, cmd *exec.Cmd) func() {
			full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
			if err != nil {
				t.Skip(err)
			}
			t.Cleanup(func() { full.Close() })
			cmd.Stderr = full
			return func() {}
		},
		"disk of standard output is full": func(t *testing.T, cmd *exec.Cmd) func() {
			full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
			if err != nil {
				t.Skip(err)
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
			for range 3 {
				require.Equal(t, http.StatusUnauthorized, p.status(t, "/v1/ingest/charge-data"))
			}
			require.Equal(t, http.StatusOK, p.status(t, "/readyz"))
			p.end(t)
		})
	}
}

func TestHangupIsIgnored(t *testing.T) {
	p := startProcess(t, "-db", inMemory)
	for range 2 {
		require.NoError(t, p.Process.Signal(syscall.SIGHUP))
	}
	require.True(t, p.log.waitFor("SIGHUP ignored", p.ended), p.log)
	require.Equal(t, http.StatusOK, p.status(t, "/readyz"))
	p.end(t)
}
