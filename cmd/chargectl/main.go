// Command chargectl is a client of a charge event server: load sends a file of
// events, tail prints the stored events.
//
//	go run ./cmd/chargectl load events.ndjson -api-key KEY
//	go run ./cmd/chargectl tail -api-key KEY
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"example.com/chargeingest/internal/cli"
)

func main() {
	os.Exit(newProgram().run(cli.UntilSignal(), os.Args[1:]))
}

type program struct {
	stdout, stderr io.Writer
	lookupEnv      func(name string) (string, bool)
	isTerminal     func(io.Writer) bool
	now            func() time.Time
	sleep          func(context.Context, time.Duration) error
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
	}
}

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

const usage = `usage: chargectl COMMAND [options]

commands:
  load FILE   send a file of charge events to a server
  tail        print the stored events, and follow new ones

"chargectl COMMAND -help" describes a command and its options.
`

func (p *program) run(ctx context.Context, args []string) int {
	return cli.Report(p.stderr, "chargectl", p.runCommand(ctx, args))
}

func (p *program) runCommand(ctx context.Context, args []string) error {
	const commands = "the commands are load and tail; see chargectl -help"
	if len(args) == 0 {
		return cli.Usagef("no command given; %s", commands)
	}
	switch name := args[0]; {
	case name == "load":
		return p.load(ctx, args[1:])
	case name == "tail":
		return p.tail(ctx, args[1:])
	case slices.Contains([]string{"-h", "-help", "--help"}, name):
		if _, err := io.WriteString(p.stdout, usage); err != nil {
			return fmt.Errorf("write to standard output: %w", err)
		}
		return flag.ErrHelp
	case strings.HasPrefix(name, "-"):
		return cli.Usagef("options come after the command; %s", commands)
	default:
		return cli.Usagef("unknown command %q; %s", name, commands)
	}
}

func (p *program) printError(text string) { cli.PrintLine(p.stderr, text) }
