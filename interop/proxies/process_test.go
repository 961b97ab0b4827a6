//go:build proxies && linux

package proxies_test

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// process is a program that ends with its test.
type process struct {
	*exec.Cmd
	log   *log
	ended chan struct{}
}

// start starts a program, in a directory of its own unless it has one.
func start(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{Cmd: cmd, log: &log{changed: make(chan struct{})}, ended: make(chan struct{})}
	if p.Dir == "" {
		p.Dir = t.TempDir()
	}
	p.Stdout, p.Stderr = p.log, p.log
	p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	started := make(chan error)
	go func() {
		// Pdeathsig is about the thread that starts the program.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.Start()
		started <- err
		if err == nil {
			_ = p.Wait() // the test has ended it
			close(p.ended)
		}
	}()
	require.NoError(t, <-started)
	t.Cleanup(func() {
		p.end(syscall.SIGTERM) // so that nginx ends its workers
		if t.Failed() {
			t.Logf("the last output of %s:\n%s", filepath.Base(cmd.Path), p.log.tail())
		}
	})
	return p
}

// end sends a signal and waits until the process has ended.
func (p *process) end(s os.Signal) {
	_ = p.Process.Signal(s) // which fails if it has ended
	<-p.ended
}

// log is the output of a program.
type log struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{} // closed and replaced at each write
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
	return l.text.Write(p)
}

// find waits until the log has a match, whose submatches it returns, or returns nil
// once done is closed.
func (l *log) find(pattern string, done <-chan struct{}) []string {
	for re := regexp.MustCompile(pattern); ; {
		l.mu.Lock()
		found, changed := re.FindStringSubmatch(l.text.String()), l.changed
		l.mu.Unlock()
		if found != nil {
			return found
		}
		select {
		case <-changed:
		case <-done:
			return nil
		}
	}
}

func (l *log) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.text.String()
	return text[max(0, len(text)-4000):]
}

// Keys of the server.
const (
	ingestKey = "key-that-may-do-everything"
	viewKey   = "key-that-may-only-read"
	wrongKey  = "key-that-nobody-has"
)

// server is the example server on SQLite. It can be restarted at its address.
type server struct {
	*process
	address string
	dir     string
}

func startServer(t *testing.T) *server {
	t.Helper()
	s := &server{address: "127.0.0.1:0", dir: t.TempDir()}
	keys := `[{"key": "` + ingestKey + `", "subject": "a", "platforms": ["p"], "permissions": ["METER_DATA.INGEST", "METER_DATA.VIEW"]},
	          {"key": "` + viewKey + `", "subject": "b", "platforms": ["p"], "permissions": ["METER_DATA.VIEW"]}]`
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "keys.json"), []byte(keys), 0o600))
	s.start(t)
	return s
}

// start starts the server and waits until it listens.
func (s *server) start(t *testing.T) {
	t.Helper()
	cmd := exec.Command(*serverBinary, "-addr", s.address, "-keys", "keys.json")
	cmd.Dir = s.dir
	s.process = start(t, cmd)
	found := s.log.find(`msg=listening url=http://(\S+)`, s.ended)
	require.NotNil(t, found, "the server did not start: %s", s.log.tail())
	s.address = found[1]
}

// startProxy starts a proxy with a configuration. The proxy inherits the listener,
// file descriptor 3: its port is free, and connections wait for it to start.
func startProxy(t *testing.T, name string, config func(listen string) string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	address = l.Addr().String()
	socket, err := l.(*net.TCPListener).File()
	require.NoError(t, err)
	defer socket.Close()

	dir := t.TempDir()
	file := filepath.Join(dir, name+".conf")
	require.NoError(t, os.WriteFile(file, []byte(config(address)), 0o600))
	var cmd *exec.Cmd
	switch name {
	case "nginx":
		cmd = exec.Command("nginx", "-p", dir, "-e", "stderr", "-c", file)
		cmd.Env = append(os.Environ(), "NGINX=3;")
	case "haproxy":
		cmd = exec.Command("haproxy", "-db", "-f", file)
	}
	cmd.Dir = dir
	cmd.ExtraFiles = []*os.File{socket}
	start(t, cmd)
	// os/exec makes the socket block, which two workers of nginx accept from.
	require.NoError(t, syscall.SetNonblock(int(socket.Fd()), true))
	return address
}

// An edit changes the configuration of a document: each old text, which must be
// there, to the new one.
type edit []string

func (e edit) apply(t *testing.T, text string) string {
	t.Helper()
	for i := 0; i < len(e); i += 2 {
		require.Contains(t, text, e[i])
		text = strings.ReplaceAll(text, e[i], e[i+1])
	}
	return text
}
