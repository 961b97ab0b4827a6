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

// childVariable tells a process that it is a server, and of which store.
const childVariable = "CHARGEINGEST_CRASHTEST"

// Child says whether this process is a server that [Start] made, and decodes
// what it was told into spec.
func Child(spec any) (bool, error) {
	text, ok := os.LookupEnv(childVariable)
	if !ok {
		return false, nil
	}
	return true, json.Unmarshal([]byte(text), spec)
}

// grace is how long a server that is told to end waits for what it has begun.
const grace = 20 * time.Second

// Serve serves a store that it opens, as the child of [Start], until it is told
// to end.
func Serve(open func() (chargeingest.EventStore, error)) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() { // when the parent dies, in whatever way
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	store, err := open()
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	h, err := NewHandler(store, logger)
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: grace}
	fmt.Printf("http://%s\n", listener.Addr())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err = srv.Shutdown(ending)
	if closer, ok := store.(io.Closer); ok {
		err = errors.Join(err, closer.Close())
	}
	return err
}

// NewHandler returns the endpoint that the clients talk to.
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

// Process is a server in a process of its own.
type Process struct {
	// Address is its URL.
	Address string

	// Ended is closed when the process has ended.
	Ended chan struct{}

	cmd   *exec.Cmd
	stdin io.Closer
	log   *tail.Buffer
}

// ErrEnded says that a server ended before it served.
var ErrEnded = errors.New("the server ended before it served")

// Start runs this program again as a server that is told spec. The command
// before it, if any, is what it runs under. It is killed when ctx ends.
func Start(ctx context.Context, spec any, before ...string) (*Process, error) {
	text, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	command := slices.Concat(before, []string{program})
	p := &Process{Ended: make(chan struct{}), log: new(tail.Buffer)}
	p.cmd = exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // it is this program
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
		_ = p.cmd.Wait() // how it ended is in ProcessState
		close(p.Ended)
	}()
	if readErr != nil {
		<-p.Ended
		return nil, fmt.Errorf("%w: %s: %s", ErrEnded, p.cmd.ProcessState, p.log)
	}
	p.Address = strings.TrimSpace(line)
	return p, nil
}

// Kill ends the process as kill -9 does, and waits for its end.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	_ = p.stdin.Close()      // ends what ran under it, if it was a tracer
	<-p.Ended
}

// Stop tells the process to end, and waits until it has.
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

// Log is the end of what the process wrote to standard error.
func (p *Process) Log() string { return p.log.String() }
