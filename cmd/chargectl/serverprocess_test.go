package main

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// serverProcess is the example server with a SQLite database.
type serverProcess struct {
	*exec.Cmd
	url, db string
	ended   chan struct{}
}

var serverDir string // empty until buildServer

func removeServer() {
	if serverDir != "" {
		_ = os.RemoveAll(serverDir)
	}
}

var buildServer = sync.OnceValues(func() (binary string, err error) {
	if serverDir, err = os.MkdirTemp("", "chargectl-test-"); err != nil {
		return "", err
	}
	binary = filepath.Join(serverDir, "server")
	cmd := exec.Command("go", "build", "-o", binary, ".")
	cmd.Dir = filepath.Join("..", "..", "example")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", &os.PathError{Op: "go build: " + string(out), Path: cmd.Dir, Err: err}
	}
	return binary, nil
})

// startServerProcess starts a server with the API key apiKey. Its end is part of the test.
func startServerProcess(t *testing.T) *serverProcess {
	t.Helper()
	s := &serverProcess{db: filepath.Join(t.TempDir(), "charges.db")}
	s.start(t, "127.0.0.1:0")
	return s
}

func (s *serverProcess) start(t *testing.T, addr string) {
	t.Helper()
	binary, err := buildServer()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), binary, "-addr", addr, "-db", s.db)
	cmd.Env = append(os.Environ(), "CHARGEINGEST_API_KEY="+apiKey)
	log := new(bytes.Buffer)
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if url, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			s.Cmd, s.url, s.ended = cmd, url, ended
			break
		}
	}
	go func() {
		for lines.Scan() {
		}
		_ = cmd.Wait()
		close(ended)
	}()
	if s.Cmd != cmd {
		<-ended
		require.FailNow(t, "the server did not start", log)
	}
}

// killAndRestart ends the server with SIGKILL and starts it at the same address.
func (s *serverProcess) killAndRestart(t *testing.T) {
	t.Helper()
	require.NoError(t, s.Process.Kill())
	<-s.ended
	s.start(t, strings.TrimPrefix(s.url, "http://"))
}
