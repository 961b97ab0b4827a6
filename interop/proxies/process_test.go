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

type process struct {
	*exec.Cmd
	log   *log
	ended chan struct{}
}

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
		// Pdeathsig refers to the thread.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.Start()
		started <- err
		if err == nil {
			_ = p.Wait()
			close(p.ended)
		}
	}()
	require.NoError(t, <-started)
	t.Cleanup(func() {
		p.end(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("the last output of %s:\n%s", filepath.Base(cmd.Path), p.log.tail())
		}
	})
	return p
}

func (p *process) end(s os.Signal) {
	_ = p.Process.Signal(s)
	<-p.ended
}

type log struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
	return l.text.Write(p)
}

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

const (
	ingestKey = "key-that-may-do-everything"
	viewKey   = "key-that-may-only-read"
	wrongKey  = "key-that-is-unknown"
)

type server struct {
	*process
	address string
	dir     string
}

func startServer(t *testing.T) *server {
	t.Helper()
	return startServerAt(t, "127.0.0.1:0")
}

func startServerAt(t *testing.T, address string) *server {
	t.Helper()
	s := &server{address: address, dir: t.TempDir()}
	keys := `[{"key": "` + ingestKey + `", "subject": "a", "platforms": ["p"], "permissions": ["METER_DATA.INGEST", "METER_DATA.VIEW"]},
	          {"key": "` + viewKey + `", "subject": "b", "platforms": ["p"], "permissions": ["METER_DATA.VIEW"]}]`
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "keys.json"), []byte(keys), 0o600))
	s.start(t)
	return s
}

func (s *server) start(t *testing.T) {
	t.Helper()
	cmd := exec.Command(*serverBinary, "-addr", s.address, "-keys", "keys.json")
	cmd.Dir = s.dir
	s.process = start(t, cmd)
	found := s.log.find(`msg=listening url=(?:http://)?(\S+)`, s.ended)
	require.NotNil(t, found, "the server did not start: %s", s.log.tail())
	s.address = found[1]
}

// startProxy passes the listener as file descriptor 3, so connections wait for the proxy.
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
	// os/exec makes the socket blocking, but nginx workers share it.
	require.NoError(t, syscall.SetNonblock(int(socket.Fd()), true))
	return address
}

// An edit replaces old texts with new texts, in pairs.
type edit []string

func (e edit) apply(t *testing.T, text string) string {
	t.Helper()
	for i := 0; i < len(e); i += 2 {
		require.Contains(t, text, e[i])
		text = strings.ReplaceAll(text, e[i], e[i+1])
	}
	return text
}
