//go:build unix

package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTailEndsWithItsReader(t *testing.T) {
	s := startRealServer(t, filepath.Join(t.TempDir(), "charges.db"))
	require.NoError(t, asProcess(t, "load", writeEvents(t, eventLines(10)...), "-url", s.url, "-api-key", apiKey).Run())
	for name, signal := range map[string]syscall.Signal{"closed pipe": syscall.SIGPIPE, "hangup": syscall.SIGHUP} {
		t.Run(name, func(t *testing.T) {
			r, w, err := os.Pipe()
			require.NoError(t, err)
			t.Cleanup(func() {
				r.Close()
				w.Close()
			})
			tail := asProcess(t, "tail", "-url", s.url, "-api-key", apiKey, "-interval", "1ms")
			tail.Stdout = w
			require.NoError(t, tail.Start())
			_, err = io.ReadFull(r, make([]byte, 10))
			require.NoError(t, err)
			if signal == syscall.SIGPIPE {
				require.NoError(t, r.Close())
			} else {
				require.NoError(t, tail.Process.Signal(signal))
			}
			var exit *exec.ExitError
			require.ErrorAs(t, tail.Wait(), &exit)
			require.Equal(t, signal, exit.Sys().(syscall.WaitStatus).Signal())
		})
	}
}
