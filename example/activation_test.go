//go:build unix

package main

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func passSockets(cmd *exec.Cmd, count, names string, files ...*os.File) {
	cmd.Args = append([]string{"sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`}, cmd.Args...)
	cmd.Path = "/bin/sh"
	cmd.Env = append(cmd.Env, "LISTEN_FDS="+count)
	if names != "" {
		cmd.Env = append(cmd.Env, "LISTEN_FDNAMES="+names)
	}
	cmd.ExtraFiles = files
}

func listenTCP(t *testing.T) (f *os.File, url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	f, err = l.(*net.TCPListener).File()
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f, "http://" + l.Addr().String()
}

func listenOnPath(t *testing.T, path string) *os.File {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	l.SetUnlinkOnClose(false)
	defer l.Close()
	f, err := l.File()
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func startActivated(t *testing.T, names string, files []*os.File, args ...string) *serverProcess {
	t.Helper()
	return startProcessWith(t, func(cmd *exec.Cmd) {
		cmd.Args = append(cmd.Args[:1], cmd.Args[3:]...)
		passSockets(cmd, strconv.Itoa(len(files)), names, files...)
	}, append([]string{"-db", inMemory}, args...)...)
}

func TestPassedTCPSocket(t *testing.T) {
	f, url := listenTCP(t)
	for range 2 {
		early := dialRaw(t, &serverProcess{url: url})
		early.send(t, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
		p := startActivated(t, "", []*os.File{f})
		require.Equal(t, url, p.url)
		status, _, _ := early.response(t)
		require.Equal(t, http.StatusOK, status, "a request from before the start")
		require.Equal(t, http.StatusOK, p.status(t, "/readyz"))
		require.Equal(t, http.StatusOK, p.status(t, "/metrics"))
		p.end(t)
	}
}

func TestPassedUnixSocketIsNotRemoved(t *testing.T) {
	path := socketPath(t)
	f := listenOnPath(t, path)
	for range 2 {
		p := startActivated(t, "charges.socket", []*os.File{f})
		require.Equal(t, "unix:"+path, p.url)
		status, _ := getUnix(t, path, "/readyz")
		require.Equal(t, http.StatusOK, status)
		p.end(t)
		require.FileExists(t, path)
	}
}

func TestPassedSocketForMetrics(t *testing.T) {
	main, url := listenTCP(t)
	metricsPath := socketPath(t)
	metrics := listenOnPath(t, metricsPath)
	for names, files := range map[string][]*os.File{"web:metrics": {main, metrics}, "metrics:connection": {metrics, main}} {
		p := startActivated(t, names, files)
		require.Equal(t, url, p.url)
		require.Equal(t, http.StatusNotFound, p.status(t, "/metrics"))
		status, _ := getUnix(t, metricsPath, "/metrics")
		require.Equal(t, http.StatusOK, status)
		p.end(t)
	}
	p := startActivated(t, "metrics", []*os.File{metrics}, "-addr", "127.0.0.1:0")
	require.Equal(t, http.StatusNotFound, p.status(t, "/metrics"))
	p.end(t)
}

func TestSocketsOfAnotherProcess(t *testing.T) {
	f, url := listenTCP(t)
	p := startProcessWith(t, func(cmd *exec.Cmd) {
		cmd.Env = append(cmd.Env, "LISTEN_PID=1", "LISTEN_FDS=x")
		cmd.ExtraFiles = []*os.File{f}
	}, "-db", inMemory)
	require.NotEqual(t, url, p.url)
}

func TestUnusablePassedSockets(t *testing.T) {
	tcp, url := listenTCP(t)
	other, _ := listenTCP(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	connected, err := conn.(*net.TCPConn).File()
	require.NoError(t, err)
	defer connected.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer udp.Close()
	datagrams, err := udp.(*net.UDPConn).File()
	require.NoError(t, err)
	defer datagrams.Close()
	r, _ := pipe(t)

	const notListening = "must be a listening stream socket (ListenStream= and Accept=no)"
	for name, c := range map[string]struct {
		count, names string
		files        []*os.File
		args         []string
		line         string
	}{
		"no number":          {"x", "", nil, nil, `LISTEN_FDS: must be 1 or 2, not "x": a socket for the endpoint, and one named metrics`},
		"none":               {"0", "", nil, nil, `LISTEN_FDS: must be 1 or 2, not "0": a socket for the endpoint, and one named metrics`},
		"three":              {"3", "", nil, nil, `LISTEN_FDS: must be 1 or 2, not "3": a socket for the endpoint, and one named metrics`},
		"too few names":      {"2", "a", []*os.File{tcp, other}, nil, `LISTEN_FDNAMES: must have a name for each of 2 sockets, separated by colons, not "a"`},
		"too many names":     {"1", "a:b", []*os.File{tcp}, nil, `LISTEN_FDNAMES: must have a name for each of 1 sockets, separated by colons, not "a:b"`},
		"two for the events": {"2", "a:b", []*os.File{tcp, other}, nil, "LISTEN_FDNAMES: more than one socket for the endpoint; the one for /metrics must be named metrics (FileDescriptorName=)"},
		"two for metrics":    {"2", "metrics:metrics", []*os.File{tcp, other}, nil, "LISTEN_FDNAMES: more than one socket named metrics (FileDescriptorName=)"},
		"connection":         {"1", "a", []*os.File{connected}, nil, `LISTEN_FDS: socket "a" ` + notListening},
		"datagrams":          {"1", "", []*os.File{datagrams}, nil, `LISTEN_FDS: socket "LISTEN_FD_3" ` + notListening},
		"pipe":               {"1", "", []*os.File{r}, nil, `LISTEN_FDS: socket "LISTEN_FD_3" ` + notListening},
		"no descriptor":      {"1", "", nil, nil, `LISTEN_FDS: socket "LISTEN_FD_3" ` + notListening},
		"with -addr":         {"1", "", []*os.File{tcp}, []string{"-addr", ":0"}, "-addr must not be given together with the socket " + strings.TrimPrefix(url, "http://") + " of systemd"},
		"with -metrics-addr": {"1", "metrics", []*os.File{tcp}, []string{"-metrics-addr", ":0", "-addr", "127.0.0.1:0"}, "-metrics-addr must not be given together with the socket " + strings.TrimPrefix(url, "http://") + " of systemd"},
		"invalid process id": {"", "", nil, nil, `LISTEN_PID: must be a process id, not "x"`},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := asProcess(t, append([]string{"-db", "charges.db"}, c.args...)...)
			passSockets(cmd, c.count, c.names, c.files...)
			if c.count == "" {
				cmd.Args[2] = strings.Replace(cmd.Args[2], "$$", "x", 1)
			}
			var text strings.Builder
			cmd.Stderr = &text
			var exit *exec.ExitError
			require.ErrorAs(t, cmd.Run(), &exit)
			require.Equal(t, "chargeingest: "+c.line+"\n", text.String())
			require.Equal(t, 2, exit.ExitCode())
			entries, err := os.ReadDir(cmd.Dir)
			require.NoError(t, err)
			require.Empty(t, entries)
		})
	}
}
