//go:build unix

// Package pgtest starts PostgreSQL servers for tests and benchmarks, from the
// binaries of this machine, in temporary folders and on Unix sockets.
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

// Variable is the environment variable with the address of a server to use in
// place of one that is started.
const Variable = "CHARGEINGEST_TEST_POSTGRES"

// ErrNoBinaries says that this machine has no PostgreSQL server to start.
var ErrNoBinaries = errors.New("no PostgreSQL server found: none in the PATH, none where pg_config says, none in /usr/lib/postgresql")

// findBinaries returns the folder of the server's programs.
func findBinaries() (string, error) {
	var folders []string
	if text, err := exec.CommandContext(context.Background(), "pg_config", "--bindir").Output(); err == nil {
		folders = append(folders, strings.TrimSpace(string(text)))
	}
	installed, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is well-formed
	slices.Sort(installed)
	slices.Reverse(installed)
	folders = append(folders, installed...)
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			folders = append(folders, filepath.Dir(path))
		}
	}
	for _, folder := range folders {
		if isThere(folder, "postgres") && isThere(folder, "initdb") && isThere(folder, "pg_basebackup") {
			return folder, nil
		}
	}
	return "", ErrNoBinaries
}

// Available returns an ErrNoBinaries where no server can be made.
func Available() error {
	_, err := findBinaries()
	return err
}

func isThere(folder, program string) bool {
	_, err := os.Stat(filepath.Join(folder, program))
	return err == nil
}

// Server is a server in a folder of its own.
type Server struct {
	// Folder has the data, and the socket.
	Folder string

	binaries string
	settings []string
	log      *tail.Buffer

	mu      sync.Mutex
	process *os.Process   // nil while it does not run
	ended   chan struct{} // closed when it has ended
}

// port is part of a socket's name.
const port = "5432"

// New makes a server that is not running, with settings ("name=value") beside
// its own. It is a cluster of its own, whose superuser is postgres, without a
// password.
func New(ctx context.Context, settings ...string) (*Server, error) {
	return NewIn(ctx, "", settings...)
}

// NewIn is New with the folder to make the server's in; empty is the system's for
// temporary files.
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

// Standby makes a server that is not running and follows another one, which is.
func (s *Server) Standby(ctx context.Context, name string, settings ...string) (*Server, error) {
	standby, err := newServer(filepath.Dir(s.Folder), settings)
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
	folder, err := os.MkdirTemp(parent, "pg")
	if err != nil {
		return nil, err
	}
	s := &Server{Folder: folder, binaries: binaries, settings: settings, log: new(tail.Buffer)}
	who, err := ordinaryUser()
	if err == nil && who != nil {
		err = os.Chown(folder, int(who.Uid), int(who.Gid))
	}
	if err != nil {
		return nil, errors.Join(err, s.Remove())
	}
	return s, nil
}

func (s *Server) data() string { return filepath.Join(s.Folder, "data") }

// Address is for a client, as keywords and values.
func (s *Server) Address() string {
	return "host=" + s.Folder + " port=" + port + " user=postgres dbname=postgres"
}

// Log is the end of what the server wrote.
func (s *Server) Log() string { return s.log.String() }

// command is a program of the server's, for its user.
func (s *Server) command(ctx context.Context, program string, args ...string) (*exec.Cmd, error) {
	who, err := ordinaryUser()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(s.binaries, program), args...) //nolint:gosec // a program of the server's
	cmd.Dir = s.Folder
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
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

// Start starts the server and waits until it takes connections.
func (s *Server) Start(ctx context.Context) error {
	args := []string{
		"-D", s.data(), "-k", s.Folder, "-p", port, "-c", "listen_addresses=",
		"-c", "dynamic_shared_memory_type=mmap", // in its folder: a server that is killed leaves nothing in /dev/shm
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
	if err := startTied(cmd, ended); err != nil {
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

// follow reads the server's log, and closes ready when that says so.
func (s *Server) follow(log io.Reader, ready chan<- struct{}) {
	lines := bufio.NewScanner(log)
	for isReady := false; lines.Scan(); {
		_, _ = s.log.Write(append(lines.Bytes(), '\n'))
		if !isReady && strings.Contains(lines.Text(), "ready to accept") {
			isReady = true
			close(ready)
		}
	}
	_, _ = io.Copy(io.Discard, log) // behind a line that is too long
}

// Stop ends the server as it should be ended, with its clients.
func (s *Server) Stop() error { return s.signal(syscall.SIGINT) }

// Kill ends the server as kill -9 does, with all of its processes.
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
		target = -target // the whole group
	}
	if err := syscall.Kill(target, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	<-ended
	return nil
}

// Promote makes a standby a server that takes writes, and waits for that.
func (s *Server) Promote(ctx context.Context) error {
	return s.run(ctx, "pg_ctl", "promote", "-w", "-D", s.data())
}

// Remove ends the server at once and deletes its folder.
func (s *Server) Remove() error { return errors.Join(s.Kill(), os.RemoveAll(s.Folder)) }
