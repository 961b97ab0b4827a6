package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"example.com/chargeingest/internal/tail"
)

// Parent and child exchange JSON values over standard input and output. When they end, the
// child ends.
const childCommand = "child"

const (
	roleServer = "server"
	roleLoad   = "load"
	roleWriter = "writer"
	roleRelay  = "relay"

	roleDestination = "destination"
)

const stopTimeout = time.Minute

type ready struct{}

type process struct {
	role string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *json.Decoder
	log  tail.Buffer
}

// Call stop or kill afterwards.
func (p *program) start(ctx context.Context, role string, spec any) (*process, error) {
	c := &process{role: role}
	c.cmd = exec.CommandContext(ctx, p.executable, childCommand, role) //nolint:gosec // this program
	c.cmd.Env = append(os.Environ(), p.env...)
	c.cmd.Stderr = &c.log
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = json.NewDecoder(out)
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	if err := c.send(spec); err != nil {
		return nil, c.failed(err)
	}
	return c, nil
}

func (c *process) pid() int { return c.cmd.Process.Pid }

func (c *process) send(v any) error { return json.NewEncoder(c.in).Encode(v) }

// receive kills the child after an error.
func (c *process) receive(v any) error {
	if err := c.out.Decode(v); err != nil {
		return c.failed(err)
	}
	return nil
}

// failed kills the child and returns its standard error, or err.
func (c *process) failed(err error) error {
	c.kill()
	if text := c.log.String(); text != "" {
		return fmt.Errorf("%s process: %s", c.role, text)
	}
	return fmt.Errorf("%s process: %w: %s", c.role, err, c.cmd.ProcessState)
}

// stop ends the child, and decodes its last value unless last is nil.
func (c *process) stop(last any) error {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	if err := c.in.Close(); err != nil {
		return c.failed(err)
	}
	timeout := time.AfterFunc(stopTimeout, func() { _ = c.cmd.Process.Kill() })
	defer timeout.Stop()
	if last != nil {
		if err := c.receive(last); err != nil {
			return err
		}
	}
	if err := c.cmd.Wait(); err != nil {
		return c.failed(err)
	}
	return nil
}

func (c *process) kill() {
	if c.cmd.ProcessState == nil {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
	}
}

func (p *program) child(ctx context.Context, args []string) error {
	signal.Ignore(os.Interrupt) // Ctrl-C reaches parent and child; the parent decides
	role := ""
	if len(args) == 1 {
		role = args[0]
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	up := &parent{in: json.NewDecoder(p.stdin), out: json.NewEncoder(p.stdout), cancel: cancel}
	switch role {
	case roleServer:
		var spec serverSpec
		if err := up.in.Decode(&spec); err != nil {
			return err
		}
		go up.awaitEnd()
		return serveChild(ctx, up.out, spec)
	case roleLoad:
		runtime.GOMAXPROCS(1) // for the server
		return runWorker(ctx, up, newLoad)
	case roleWriter:
		return runWorker(ctx, up, newWriter)
	case roleRelay:
		return runWorker(ctx, up, newRelayer)
	case roleDestination:
		runtime.GOMAXPROCS(1)
		if err := up.in.Decode(new(ready)); err != nil {
			return err
		}
		go up.awaitEnd()
		return destinationChild(ctx, up.out)
	}
	return usagef("%s is internal to this program", childCommand)
}

type parent struct {
	in     *json.Decoder
	out    *json.Encoder
	cancel context.CancelFunc
}

func (up *parent) awaitEnd() {
	defer up.cancel()
	_ = up.in.Decode(new(ready))
}

type worker interface {
	run(ctx context.Context) (outcome, error)
	close()
}

func runWorker[Spec any, W worker](ctx context.Context, up *parent, open func(context.Context, Spec) (W, error)) error {
	var spec Spec
	if err := up.in.Decode(&spec); err != nil {
		return err
	}
	w, err := open(ctx, spec)
	if err != nil {
		return err
	}
	defer w.close()
	if err := up.out.Encode(ready{}); err != nil {
		return err
	}
	if err := up.in.Decode(new(ready)); err != nil {
		return errors.New("stopped before the start")
	}
	go up.awaitEnd()
	done, err := w.run(ctx)
	if err != nil {
		return err
	}
	if err := up.out.Encode(done); err != nil {
		return err
	}
	<-ctx.Done() // the parent reads the usage first
	return nil
}
