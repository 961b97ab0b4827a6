//go:build unix

// Package pgtest starts PostgreSQL servers for tests and benchmarks.
package pgtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"example.com/chargeingest/internal/tail"
)

// Variable has the address of a server to use instead.
const Variable = "CHARGEINGEST_TEST_POSTGRES"

// ErrNoBinaries means that PostgreSQL is not installed.
var ErrNoBinaries = errors.New("no PostgreSQL server found in PATH, pg_config --bindir or /usr/lib/postgresql")

func findBinaries() (string, error) {
	var dirs []string
	if text, err := exec.CommandContext(context.Background(), "pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(text)))
	}
	installed, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.Sort(installed)
	slices.Reverse(installed)
	dirs = append(dirs, installed...)
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	for _, dir := range dirs {
		if exists(dir, "postgres") && exists(dir, "initdb") && exists(dir, "pg_basebackup") {
			return dir, nil
		}
	}
	return "", ErrNoBinaries
}

// Available returns ErrNoBinaries if New would.
func Available() error {
	_, err := findBinaries()
	return err
}

func exists(dir, program string) bool {
	_, err := os.Stat(filepath.Join(dir, program))
	return err == nil
}

// Server is a PostgreSQL cluster.
type Server struct {
	// Dir contains the data and the socket.
	Dir string

	binaries string
	settings []string
	log      *tail.Buffer

	mu      sync.Mutex
	process *os.Process // nil unless running
	ended   chan struct{}
}

const port = "5432"

// New makes a server. Settings are NAME=VALUE.
func New(ctx context.Context, settings ...string) (*Server, error) {
	return NewIn(ctx, "", settings...)
}

// NewIn is New with a parent directory, or "" for os.TempDir.
func NewIn(ctx context.Context, parent string, settings ...string) (*Server, error) {
	s, err := newServer(parent, settings)
	if err != nil {
		return nil, err
	}
	if err := s.run(ctx, "initdb", "-D", s.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"); err != nil {
		return nil, errors.Join(err, s.Remove())
	}
	return s, nil
}

// Standby makes a standby of the running s.
func (s *Server) Standby(ctx context.Context, name string, settings ...string) (*Server, error) {
	standby, err := newServer(filepath.Dir(s.Dir), settings)
	if err != nil {
		return nil, err
	}
	if err := standby.run(ctx, "pg_basebackup", "-D", standby.data(), "-R", "-X", "stream", "--no-sync", "-c", "fast",
		"-d", s.Address()+" application_name="+name); err != nil {
		return nil, errors.Join(err, standby.Remove())
	}
	return standby, nil
}

func newServer(parent string, settings []string) (*Server, error) {
	binaries, err := findBinaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(parent, "pg")
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: dir, binaries: binaries, settings: settings, log: new(tail.Buffer)}
	user, err := serverUser()
	if err == nil && user != nil {
		err = os.Chown(dir, int(user.Uid), int(user.Gid))
	}
	if err != nil {
		return nil, errors.Join(err, s.Remove())
	}
	return s, nil
}

func (s *Server) data() string { return filepath.Join(s.Dir, "data") }

// Address is a connection string.
func (s *Server) Address() string {
	return "host=" + s.Dir + " port=" + port + " user=postgres dbname=postgres"
}

// Log is the end of the log.
func (s *Server) Log() string { return s.log.String() }

func (s *Server) command(ctx context.Context, program string, args ...string) (*exec.Cmd, error) {
	user, err := serverUser()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(s.binaries, program), args...) //nolint:gosec // a fixed program
	cmd.Dir = s.Dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	return cmd, nil
}

func (s *Server) run(ctx context.Context, program string, args ...string) error {
	cmd, err := s.command(ctx, program, args...)
	if err != nil {
		return err
	}
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, text)
	}
	return nil
}

// Start waits until the server accepts connections.
func (s *Server) Start(ctx context.Context) error {
	args := []string{
		"-D", s.data(), "-k", s.Dir, "-p", port, "-c", "listen_addresses=",
		"-c", "dynamic_shared_memory_type=mmap", // a killed server leaves nothing in /dev/shm
	}
	for _, setting := range s.settings {
		args = append(args, "-c", setting)
	}
	cmd, err := s.command(context.WithoutCancel(ctx), "postgres", args...)
	if err != nil {
		return err
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	if err := startChild(cmd, ended); err != nil {
		return err
	}
	s.mu.Lock()
	s.process, s.ended = cmd.Process, ended
	s.mu.Unlock()
	ready := make(chan struct{})
	go s.follow(stderr, ready)
	select {
	case <-ready:
		return nil
	case <-ended:
		return fmt.Errorf("the server ended: %s", s.Log())
	case <-ctx.Done():
		return errors.Join(ctx.Err(), s.Kill())
	}
}

func (s *Server) follow(log io.Reader, ready chan<- struct{}) {
	lines := bufio.NewScanner(log)
	for isReady := false; lines.Scan(); {
		_, _ = s.log.Write(append(lines.Bytes(), '\n'))
		if !isReady && strings.Contains(lines.Text(), "ready to accept") {
			isReady = true
			close(ready)
		}
	}
	_, _ = io.Copy(io.Discard, log)
}

// Stop disconnects clients.
func (s *Server) Stop() error { return s.signal(syscall.SIGINT) }

// Kill ends all processes.
func (s *Server) Kill() error { return s.signal(syscall.SIGKILL) }

func (s *Server) signal(signal syscall.Signal) error {
	s.mu.Lock()
	process, ended := s.process, s.ended
	s.process = nil
	s.mu.Unlock()
	if process == nil {
		return nil
	}
	target := process.Pid
	if signal == syscall.SIGKILL {
		target = -target
	}
	if err := syscall.Kill(target, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	<-ended
	return nil
}

// Promote waits until a standby accepts writes.
func (s *Server) Promote(ctx context.Context) error {
	return s.run(ctx, "pg_ctl", "promote", "-w", "-D", s.data())
}

// Remove also kills the server.
func (s *Server) Remove() error { return errors.Join(s.Kill(), os.RemoveAll(s.Dir)) }
