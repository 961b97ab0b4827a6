//go:build unix

package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "charges") // short, unlike t.TempDir
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "it's.sock")
}

func unixClient(t *testing.T, path string) *http.Client {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func getUnix(t *testing.T, path, target string) (status int, text string) {
	t.Helper()
	res, err := unixClient(t, path).Get("http://localhost" + target)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(body)
}

func onlySocket(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1, "there are other files")
	info, err := os.Lstat(path)
	require.NoError(t, err)
	require.Equal(t, fs.ModeSocket|0o660, info.Mode())
}

func TestUnixSocket(t *testing.T) {
	for name, umask := range map[string]string{"usual umask": "022", "no umask": "0", "strict umask": "077"} {
		t.Run(name, func(t *testing.T) {
			path := socketPath(t)
			p := startProcessWith(t, func(cmd *exec.Cmd) { underUmask(cmd, umask) }, "-db", inMemory, "-addr", "unix:"+path, "-api-key", "k")
			require.Equal(t, "unix:"+path, p.url)
			onlySocket(t, path)
			status, _ := getUnix(t, path, "/readyz")
			require.Equal(t, http.StatusOK, status)
			status, _ = getUnix(t, path, "/v1/ingest/charge-data")
			require.Equal(t, http.StatusUnauthorized, status)
			require.True(t, p.log.waitFor(" client=unix ", p.ended), p.log)
			p.end(t)
			entries, err := os.ReadDir(filepath.Dir(path))
			require.NoError(t, err)
			require.Empty(t, entries)
		})
	}
}

func TestSocketIsNeverOpenToOthers(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux applies the mode of a socket when it is bound")
	}
	defer syscall.Umask(syscall.Umask(0))
	path := socketPath(t)
	l, err := (&net.ListenConfig{Control: restrictMode}).Listen(t.Context(), "unix", path)
	require.NoError(t, err)
	defer l.Close()
	onlySocket(t, path)
}

func underUmask(cmd *exec.Cmd, umask string) {
	cmd.Args = append([]string{"sh", "-c", `umask ` + umask + `; exec "$0" "$@"`}, cmd.Args...)
	cmd.Path = "/bin/sh"
}

func TestCurlCommandOverAUnixSocket(t *testing.T) {
	path := socketPath(t)
	s := startServer(t, "-addr", "unix:"+path)
	require.True(t, strings.HasPrefix(s.curl, `curl -i --unix-socket '`+strings.ReplaceAll(path, "'", `'\''`)+`' http://localhost/v1/`), s.curl)
	require.Regexp(t, created, runCurl(t, s.curl))
	for host, option := range map[string]string{"localhost": "--cacert ", "charges.example": "-k "} {
		path := socketPath(t)
		certFile, keyFile := certificateFor(t, host)
		s := startServer(t, "-addr", "unix:"+path, "-tls-cert", certFile, "-tls-key", keyFile)
		require.Contains(t, s.curl, "' "+option)
		require.Regexp(t, created, runCurl(t, s.curl))
	}
}

func TestMetricsOverAUnixSocket(t *testing.T) {
	path, metrics := socketPath(t), socketPath(t)
	startServer(t, "-addr", "unix:"+path, "-metrics-addr", "unix:"+metrics)
	status, text := getUnix(t, metrics, "/metrics")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, text, "\ngo_goroutines ")
	status, _ = getUnix(t, path, "/metrics")
	require.Equal(t, http.StatusNotFound, status)
}

func TestSocketOfAKilledServer(t *testing.T) {
	path := socketPath(t)
	for range 3 {
		p := startProcess(t, "-db", inMemory, "-addr", "unix:"+path)
		status, _ := getUnix(t, path, "/readyz")
		require.Equal(t, http.StatusOK, status)
		require.NoError(t, p.Process.Kill())
		<-p.ended
		onlySocket(t, path)
	}
}

func TestSocketPathInUse(t *testing.T) {
	for name, c := range map[string]struct {
		occupy func(t *testing.T, path string)
		cause  string
	}{
		"another server":      {func(t *testing.T, path string) { startServer(t, "-addr", "unix:"+path) }, "address already in use"},
		"regular file":        {func(t *testing.T, path string) { require.NoError(t, os.WriteFile(path, []byte("x"), 0o600)) }, "the file exists and is not a socket"},
		"directory":           {func(t *testing.T, path string) { require.NoError(t, os.Mkdir(path, 0o700)) }, "the file exists and is not a socket"},
		"symbolic link":       {func(t *testing.T, path string) { require.NoError(t, os.Symlink("gone", path)) }, "the file exists and is not a socket"},
		"socket of datagrams": {listenForDatagrams, "the socket exists and may be in use: connect: protocol wrong type for socket"},
	} {
		t.Run(name, func(t *testing.T) {
			path := socketPath(t)
			c.occupy(t, path)
			before, err := os.Lstat(path)
			require.NoError(t, err)
			tp := newTestProgram()
			db := filepath.Join(t.TempDir(), "charges.db")
			require.Equal(t, 1, tp.run(context.Background(), []string{"-db", db, "-addr", "unix:" + path}))
			require.Equal(t, "chargeingest: listen unix "+path+": "+c.cause+"\n", tp.log.String())
			require.NoFileExists(t, db)
			after, err := os.Lstat(path)
			require.NoError(t, err)
			require.True(t, os.SameFile(before, after))
		})
	}
}

func listenForDatagrams(t *testing.T, path string) {
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
}

func TestSocketDirectoryIsMissing(t *testing.T) {
	path := filepath.Join(socketPath(t), "charges.sock")
	tp := newTestProgram()
	require.Equal(t, 1, tp.run(context.Background(), []string{"-addr", "unix:" + path}))
	require.Equal(t, "chargeingest: listen unix "+path+": lock the directory of the socket: open "+filepath.Dir(path)+": no such file or directory\n", tp.log.String())
}

func TestServersThatStartTogether(t *testing.T) {
	path := socketPath(t)
	for range 100 {
		stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		require.NoError(t, err)
		stale.SetUnlinkOnClose(false)
		require.NoError(t, stale.Close())

		var starts sync.WaitGroup
		listening, failed := make(chan net.Listener, 8), make(chan error, 8)
		for range cap(listening) {
			starts.Go(func() {
				l, err := listenUnix(context.Background(), path)
				if err != nil {
					failed <- err
					return
				}
				listening <- l
			})
		}
		starts.Wait()
		require.Len(t, listening, 1)
		for range len(failed) {
			require.ErrorIs(t, <-failed, syscall.EADDRINUSE)
		}
		l := <-listening
		conn, err := net.Dial("unix", path)
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		require.NoError(t, l.Close())
		require.NoFileExists(t, path)
	}
}

func TestSocketOfASuccessorIsKept(t *testing.T) {
	path := socketPath(t)
	first, err := listenUnix(t.Context(), path)
	require.NoError(t, err)
	require.NoError(t, os.Remove(path))
	second, err := listenUnix(t.Context(), path)
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, first.Close())
	}
	onlySocket(t, path)

	require.NoError(t, second.Close())
	third, err := listenUnix(t.Context(), path)
	require.NoError(t, err)
	defer third.Close()
	require.NoError(t, second.Close(), "the inode of its socket may be used again")
	onlySocket(t, path)
}

func TestShutdownOverAUnixSocket(t *testing.T) {
	path := socketPath(t)
	p := startProcessWith(t, func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, asProgram+"=1h") }, "-db", inMemory, "-addr", "unix:"+path, "-api-key", "k")
	event := eventLine(1)
	c := sendHead(t, p, "k", len(event))
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.True(t, p.log.waitFor("msg=stopping", p.ended), p.log)
	for removed := false; !removed; runtime.Gosched() {
		_, err := os.Lstat(path)
		removed = errors.Is(err, fs.ErrNotExist)
	}
	c.send(t, event)
	status, _, body := c.response(t)
	require.Equal(t, http.StatusCreated, status, body)
	<-p.ended
	require.NoError(t, p.err, p.log)
}
