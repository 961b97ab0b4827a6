// Command example is a charge event server that needs nothing but itself, and
// two clients of it: load sends a file of events, tail follows what is stored.
//
//	go run ./example
//	go run ./example load events.ndjson -api-key KEY
//	go run ./example tail -api-key KEY
//
// Each of the three explains its flags with -help.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"
)

// Exit statuses.
const (
	statusOK      = 0
	statusFailure = 1 // it was tried and failed
	statusUsage   = 2 // the command line, the environment or a file named there is wrong; nothing was done
)

func main() {
	os.Exit(newProgram().run(untilSignal(), os.Args[1:]))
}

// untilSignal returns a context that the first SIGINT or SIGTERM ends. By then
// a second one finds the system's own handling, which ends the process at once;
// signal.NotifyContext would swallow it for a moment longer.
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

// program is what the commands see of the world, so that tests can give them
// another one.
type program struct {
	stdout, stderr io.Writer
	lookupEnv      func(name string) (string, bool)
	isTerminal     func(io.Writer) bool
	now            func() time.Time
	sleep          func(context.Context, time.Duration) error
	openStore      func(ctx context.Context, db string, o storeOptions) (store, error)

	// notify and ignore are those of os/signal.
	notify func(c chan<- os.Signal, signals ...os.Signal)
	ignore func(signals ...os.Signal)

	waits shutdownWaits
}

func newProgram() *program {
	return &program{
		stdout: os.Stdout, stderr: os.Stderr,
		lookupEnv: os.LookupEnv,
		isTerminal: func(w io.Writer) bool {
			f, ok := w.(*os.File)
			return ok && term.IsTerminal(int(f.Fd()))
		},
		now: time.Now, sleep: sleep,
		openStore: openStore,
		notify:    signal.Notify, ignore: signal.Ignore,
		waits: defaultShutdownWaits(),
	}
}

// sleep waits for d, or returns the context's error where that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run runs a command and returns the exit status.
func (p *program) run(ctx context.Context, args []string) int {
	p, command := p.command(args)
	err := command(ctx)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return statusOK
	}
	p.complain("example: " + err.Error())
	var usage *usageError
	if errors.As(err, &usage) {
		return statusUsage
	}
	return statusFailure
}

// command returns the command that args name, and the program to run it with.
func (p *program) command(args []string) (*program, func(context.Context) error) {
	if len(args) > 0 {
		switch args[0] {
		case "load":
			return p, func(ctx context.Context) error { return p.load(ctx, args[1:]) }
		case "tail":
			return p, func(ctx context.Context) error { return p.tail(ctx, args[1:]) }
		}
	}
	server := *p
	server.stdout, server.stderr = newOutput(p.stdout), newOutput(p.stderr)
	return &server, func(ctx context.Context) error { return server.serve(ctx, args) }
}

// unlessEnded returns err, or nil where ctx ended: a command that runs until it
// is told to end has not failed then.
func unlessEnded(ctx context.Context, err error) error {
	select {
	case <-ctx.Done():
		return nil
	default:
		return err
	}
}

// complain writes one line to standard error, whatever the text holds: parts of
// it may come from a file or from the other side of a connection.
func (p *program) complain(text string) {
	text = strings.ReplaceAll(strings.TrimSpace(text), "\n", "; ")
	text = strings.Map(func(r rune) rune {
		if actsOnTerminal(r) {
			return ' '
		}
		return r
	}, text)
	// There is nobody to tell where standard error is gone.
	_, _ = fmt.Fprintln(p.stderr, text)
}

// usageError is a mistake of whoever started the program.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}
