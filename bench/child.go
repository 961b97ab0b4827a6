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
	"syscall"
	"time"

	"example.com/chargeingest/internal/tail"
)

// childCommand is how the program calls itself. Its argument is a role. Parent
// and child exchange JSON values over the child's standard input and output:
// first what the child is to do. The end of standard input tells it to end; that
// is what it gets, too, when the parent dies in whatever way.
const childCommand = "child"

// Roles of children.
const (
	roleServer = "server"
	roleLoad   = "load"
	roleRaw    = "raw"

	rolePostgresRaw = "raw-postgres"
)

// stopPatience is how long a child that was told to end may take.
const stopPatience = time.Minute

// child is a process of ours, as its parent sees it.
type child struct {
	role string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *json.Decoder
	log  tail.Buffer
}

// start starts a child and tells it what to do. Whoever gets one calls stop or
// abandon. The child is killed when ctx ends.
func (p *program) start(ctx context.Context, role string, spec any, env ...string) (*child, error) {
	c := &child{role: role}
	c.cmd = exec.CommandContext(ctx, p.executable, childCommand, role) //nolint:gosec // it is this program
	c.cmd.Env = append(append(os.Environ(), p.env...), env...)
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

func (c *child) pid() int { return c.cmd.Process.Pid }

func (c *child) send(v any) error { return json.NewEncoder(c.in).Encode(v) }

// receive waits for what the child has to say. After an error the child is gone.
func (c *child) receive(v any) error {
	if err := c.out.Decode(v); err != nil {
		return c.failed(err)
	}
	return nil
}

// failed ends a child that did not do as it should and returns why: what it
// wrote to standard error says more than how its end looks from here.
func (c *child) failed(err error) error {
	c.abandon()
	if text := c.log.String(); text != "" {
		return fmt.Errorf("%s process: %s", c.role, text)
	}
	return fmt.Errorf("%s process: %w: %s", c.role, err, c.cmd.ProcessState)
}

// stop tells the child to end, takes its last word where last is one to decode
// into, and waits until it has ended.
func (c *child) stop(last any) error {
	// Where there are no signals the end of standard input is enough.
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	if err := c.in.Close(); err != nil {
		return c.failed(err)
	}
	impatience := time.AfterFunc(stopPatience, func() { _ = c.cmd.Process.Kill() })
	defer impatience.Stop()
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

// abandon kills a child that has not ended. Its database may be left as after a
// power cut.
func (c *child) abandon() {
	if c.cmd.ProcessState == nil {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
	}
}

// parent is the process that started this one, as its child sees it.
type parent struct {
	in  *json.Decoder
	out *json.Encoder

	// proceed has an entry for each time that the parent said to go on.
	proceed chan struct{}
}

// child is the command of that name.
func (p *program) child(ctx context.Context, args []string) error {
	// Ctrl-C at a terminal reaches all processes. The parent decides.
	signal.Ignore(os.Interrupt)
	if len(args) != 1 {
		return usagef("%s is how this program calls itself", childCommand)
	}
	up := &parent{in: json.NewDecoder(p.stdin), out: json.NewEncoder(p.stdout), proceed: make(chan struct{}, 1)}
	switch args[0] {
	case roleServer:
		return runChild(ctx, up, serveChild)
	case roleLoad:
		return runChild(ctx, up, loadChild)
	case roleRaw:
		return runChild(ctx, up, rawChild)
	case rolePostgresRaw:
		return runChild(ctx, up, postgresRawChild)
	}
	return usagef("no such role: %s", args[0])
}

// runChild runs a role, with a context that ends when the parent says so.
func runChild[Spec any](ctx context.Context, up *parent, role func(context.Context, *parent, Spec) error) error {
	var spec Spec
	if err := up.in.Decode(&spec); err != nil {
		return fmt.Errorf("what to do: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		for {
			var word json.RawMessage
			if up.in.Decode(&word) != nil {
				return
			}
			up.proceed <- struct{}{}
		}
	}()
	return role(ctx, up, spec)
}

// wait waits until the parent says to go on.
func (up *parent) wait(ctx context.Context) error {
	select {
	case <-up.proceed:
		return nil
	case <-ctx.Done():
		return errors.New("told to end before it began")
	}
}
