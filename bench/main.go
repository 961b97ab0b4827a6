// Command bench measures the handler and its stores. The flag -help explains each command.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

const (
	statusOK      = 0
	statusFailure = 1
	statusUsage   = 2 // wrong command line or unusable directory; nothing was measured
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(newProgram().run(ctx, os.Args[1:]))
}

type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	executable     string   // of child processes
	env            []string // in addition to the parent's
	fileSystem     func(dir string) (name string, inMemory bool, err error)
}

func newProgram() *program {
	executable, err := os.Executable()
	if err != nil {
		executable = os.Args[0]
	}
	return &program{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		executable: executable, fileSystem: fileSystem,
	}
}

func (p *program) run(ctx context.Context, args []string) int {
	err := p.dispatch(ctx, args)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return statusOK
	}
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	p.logf("bench: %v", err)
	if usage := (*usageError)(nil); errors.As(err, &usage) {
		return statusUsage
	}
	return statusFailure
}

func (p *program) dispatch(ctx context.Context, args []string) error {
	command := ""
	if len(args) > 0 {
		command = args[0]
	}
	switch command {
	case childCommand:
		return p.child(ctx, args[1:])
	case "growth":
		return p.growth(ctx, args[1:])
	case "postgres":
		return p.postgres(ctx, args[1:])
	}
	return p.compare(ctx, args)
}

func (p *program) logf(format string, args ...any) {
	_, _ = fmt.Fprintf(p.stderr, format+"\n", args...)
}

type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}
