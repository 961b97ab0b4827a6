package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

func openTerminal(t *testing.T) (outer, inner *os.File) {
	t.Helper()
	outer, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("there are no pseudoterminals: %v", err)
	}
	t.Cleanup(func() { outer.Close() })
	require.NoError(t, unix.IoctlSetPointerInt(int(outer.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(outer.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	inner, err = os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { inner.Close() })
	return outer, inner
}

func readUntil(t *testing.T, r io.Reader, text string) string {
	t.Helper()
	var all bytes.Buffer
	buf := make([]byte, 256)
	for !strings.Contains(all.String(), text) {
		n, err := r.Read(buf)
		require.NoError(t, err, all.String())
		all.Write(buf[:n])
	}
	return all.String()
}

func TestKeysHashOnTerminal(t *testing.T) {
	outer, inner := openTerminal(t)
	var stdout bytes.Buffer
	cmd := asProcess(t, "keys", "hash")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inner, &stdout, inner
	require.NoError(t, cmd.Start())
	shown := readUntil(t, outer, "API key: ")
	awaitNoEcho(t, inner)
	_, err := outer.WriteString("secret-key\n")
	require.NoError(t, err)
	require.NoError(t, cmd.Wait())
	require.Equal(t, keyHash("secret-key")+"\n", stdout.String())
	shown += readUntil(t, outer, "\n")
	require.NotContains(t, shown, "secret")
}

func awaitNoEcho(t *testing.T, terminal *os.File) {
	t.Helper()
	for {
		state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
		require.NoError(t, err)
		if state.Lflag&unix.ECHO == 0 {
			return
		}
	}
}

func TestKeysHashInterrupted(t *testing.T) {
	outer, inner := openTerminal(t)
	before, err := term.GetState(int(inner.Fd()))
	require.NoError(t, err)
	cmd := asProcess(t, "keys", "hash")
	cmd.Stdin, cmd.Stderr = inner, inner
	require.NoError(t, cmd.Start())
	readUntil(t, outer, "API key: ")
	awaitNoEcho(t, inner)
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	var exit *exec.ExitError
	require.ErrorAs(t, cmd.Wait(), &exit)
	require.Equal(t, 1, exit.ExitCode())
	after, err := term.GetState(int(inner.Fd()))
	require.NoError(t, err)
	require.Equal(t, before, after)
}
