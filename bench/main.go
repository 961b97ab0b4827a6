// Command bench measures the charge event handler against what it stands
// between: an empty net/http handler above, the disk below, and what one would
// write by hand beside it.
//
//	go run ./bench
//	go run ./bench growth
//	go run ./bench postgres
//
// Each explains their flags with -help.
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

// Exit statuses.
const (
	statusOK      = 0
	statusFailure = 1 // it was tried and failed, an event that was lost or doubled included
	statusUsage   = 2 // the command line is wrong, or the folder is no place to measure in; nothing was done
)

func main() {
	os.Exit(newProgram().run(untilSignal(), os.Args[1:]))
}

// untilSignal returns a context that the first SIGINT or SIGTERM ends. By then
// a second one finds the system's own handling, which ends the process at once.
func untilSignal() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		signal.Stop(signals)
		cancel()
	}()
	return ctx
}

// program is what the command sees of the world, so that tests can give it
// another one.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	// executable is the program itself, to run as a child, and env what the
	// child has in its environment beside ours.
	executable string
	env        []string

	// fileSystem names the kind of file system that a folder is on, empty
	// where that is not known, and says whether it is one in memory.
	fileSystem func(folder string) (name string, inMemory bool, err error)
}

func newProgram() *program {
	executable, err := os.Executable()
	if err != nil {
		executable = os.Args[0]
	}
	return &program{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		executable: executable,
		fileSystem: fileSystem,
	}
}

// run runs the command and returns the exit status.
func (p *program) run(ctx context.Context, args []string) int {
	err := p.dispatch(ctx, args)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return statusOK
	}
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	// There is nobody to tell where standard error is gone.
	_, _ = fmt.Fprintln(p.stderr, "bench:", err)
	var usage *usageError
	if errors.As(err, &usage) {
		return statusUsage
	}
	return statusFailure
}

func (p *program) dispatch(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case childCommand:
			return p.child(ctx, args[1:])
		case "growth":
			return p.growth(ctx, args[1:])
		case "postgres":
			return p.postgres(ctx, args[1:])
		}
	}
	return p.compare(ctx, args)
}

// usageError is a mistake of whoever started the program.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}
