package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func asProcess(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Dir = t.TempDir()
	return cmd
}

type serverProcess struct {
	*exec.Cmd
	url   string
	log   *recorder
	ended chan struct{}
	err   error // valid once ended is closed
}

func startProcess(t *testing.T, args ...string) *serverProcess {
	t.Helper()
	return startProcessWith(t, func(*exec.Cmd) {}, args...)
}

func startProcessWith(t *testing.T, setUp func(*exec.Cmd), args ...string) *serverProcess {
	t.Helper()
	p := &serverProcess{
		Cmd: asProcess(t, append([]string{"-addr", "127.0.0.1:0"}, args...)...),
		log: newRecorder(), ended: make(chan struct{}),
	}
	out := newRecorder()
	setUp(p.Cmd)
	source, before, after := out, "listening on ", "\ncurl "
	if p.Stdout != nil {
		source, before, after = p.log, "msg=listening url=", "\n"
	} else {
		p.Stdout = out
	}
	if p.Stderr == nil {
		p.Stderr = p.log
	}
	require.NoError(t, p.Start())
	go func() {
		defer close(p.ended)
		p.err = p.Wait()
	}()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.ended
	})
	require.True(t, source.waitFor(before, p.ended) && source.waitFor(after, p.ended), "the server did not start: %s", p.log)
	_, rest, _ := strings.Cut(source.String(), before)
	p.url, _, _ = strings.Cut(rest, "\n")
	return p
}

func (p *serverProcess) end(t *testing.T) {
	t.Helper()
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	<-p.ended
	require.NoError(t, p.err, p.log)
}

func (p *serverProcess) status(t *testing.T, path string) int {
	t.Helper()
	res, err := http.Get(p.url + path)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	return res.StatusCode
}

func TestSignalExitStatus(t *testing.T) {
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			p := startProcess(t)
			require.NoError(t, p.Process.Signal(signal))
			<-p.ended
			require.NoError(t, p.err)
			require.FileExists(t, filepath.Join(p.Dir, "charges.db"))
		})
	}
}

func TestUsageErrorExitStatus(t *testing.T) {
	var exit *exec.ExitError
	require.ErrorAs(t, asProcess(t, "-log-format", "xml").Run(), &exit)
	require.Equal(t, 2, exit.ExitCode())
}

func TestDatabaseInUseByAnotherProcess(t *testing.T) {
	p := startProcess(t)
	tp := newTestProgram()
	args := []string{"-addr", "127.0.0.1:0", "-db", filepath.Join(p.Dir, "charges.db")}
	require.Equal(t, 1, tp.run(context.Background(), args))
	require.Regexp(t, `^chargeingest: .*charges\.db.* in use by another .*\n$`, tp.log.String())
	require.Equal(t, 1, strings.Count(tp.log.String(), "\n"))
	require.Empty(t, tp.out.String())
}

func TestSecondSignalEndsTheServer(t *testing.T) {
	p := startProcessWith(t, func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, asProgram+"=1h") }, "-db", inMemory, "-api-key", "k")
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "POST /v1/ingest/charge-data HTTP/1.1\r\nHost: x\r\nX-API-KEY: k\r\n"+
		"Content-Type: application/json\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
	require.NoError(t, err)
	line, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 100 Continue\r\n", line)

	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.True(t, p.log.waitFor("msg=stopping", p.ended), p.log)
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	<-p.ended
	var exit *exec.ExitError
	require.ErrorAs(t, p.err, &exit)
	require.Equal(t, syscall.SIGTERM, exit.Sys().(syscall.WaitStatus).Signal())
}
