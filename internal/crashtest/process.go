package crashtest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/tail"
)

const childVariable = "CHARGEINGEST_CRASHTEST"

// Child reports whether [Start] started this process, and decodes its spec.
func Child(spec any) (bool, error) {
	text, ok := os.LookupEnv(childVariable)
	if !ok {
		return false, nil
	}
	return true, json.Unmarshal([]byte(text), spec)
}

const shutdownTimeout = 20 * time.Second

// Serve serves a store until SIGTERM or the end of the parent process.
func Serve(open func() (chargeingest.EventStore, error)) error {
	return ServeHandler(func() (http.Handler, func() error, error) {
		store, err := open()
		if err != nil {
			return nil, nil, err
		}
		closeStore := func() error { return nil }
		if closer, ok := store.(io.Closer); ok {
			closeStore = closer.Close
		}
		h, err := NewHandler(store, NewLogger())
		return h, closeStore, err
	})
}

// ServeHandler is [Serve] for any handler. After the last request, it calls the function that
// open returned.
func ServeHandler(open func() (h http.Handler, finish func() error, err error)) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() { // stdin ends with the parent process
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	h, finish, err := open()
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: shutdownTimeout}
	fmt.Printf("http://%s\n", listener.Addr())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	shutdownCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	return errors.Join(srv.Shutdown(shutdownCtx), finish())
}

// NewLogger returns a logger of errors to the log of the [Process].
func NewLogger() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
}

// NewHandler returns a handler that accepts [Secret].
func NewHandler(store chargeingest.EventStore, logger *slog.Logger) (*chargeingest.Handler, error) {
	keys, err := chargeingest.NewKeys(chargeingest.Key{
		Secret: Secret, Subject: "crashtest", Platforms: Platforms(),
		Permissions: []chargeingest.Permission{chargeingest.PermissionIngest, chargeingest.PermissionView},
	})
	if err != nil {
		return nil, err
	}
	return chargeingest.New(chargeingest.Config{Store: store, Authorizer: keys, Logger: logger})
}

// Process is a child process.
type Process struct {
	Address string
	Ended   chan struct{} // closed at the end of the process

	cmd   *exec.Cmd
	stdin io.Closer
	log   *tail.Buffer
}

// ErrEnded means that a child process ended before it served.
var ErrEnded = errors.New("the server ended before it served")

// Start runs this program as a child process until ctx ends.
func Start(ctx context.Context, spec any, wrapper ...string) (*Process, error) {
	text, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	command := slices.Concat(wrapper, []string{program})
	p := &Process{Ended: make(chan struct{}), log: new(tail.Buffer)}
	p.cmd = exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // this program
	p.cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	p.cmd.Stderr = p.log
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.stdin = stdin
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	line, readErr := bufio.NewReader(stdout).ReadString('\n')
	go func() {
		_ = p.cmd.Wait()
		close(p.Ended)
	}()
	if readErr != nil {
		<-p.Ended
		return nil, fmt.Errorf("%w: %s: %s", ErrEnded, p.cmd.ProcessState, p.log)
	}
	p.Address = strings.TrimSpace(line)
	return p, nil
}

// Kill kills the process.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // may have ended already
	_ = p.stdin.Close()      // ends the child of a wrapper
	<-p.Ended
}

// Signal sends a signal to the process.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Stop shuts the process down.
func (p *Process) Stop() error {
	if err := p.stdin.Close(); err != nil {
		return err
	}
	<-p.Ended
	if !p.cmd.ProcessState.Success() {
		return fmt.Errorf("the server ended with %s: %s", p.cmd.ProcessState, p.log)
	}
	return nil
}

// Log returns the last output to standard error.
func (p *Process) Log() string { return p.log.String() }
