// Command example is a standalone charge event server.
//
//	go run ./example
//	go run ./example -help
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"time"

	"example.com/chargeingest/internal/cli"
	"example.com/chargeingest/relay"
)

func main() {
	os.Exit(newProgram().run(cli.UntilSignal(), os.Args[1:]))
}

type program struct {
	stdout, stderr io.Writer
	lookupEnv      func(name string) (string, bool)
	openStore      func(ctx context.Context, db string, o storeOptions) (store, error)
	notifySignals  func(c chan<- os.Signal, signals ...os.Signal)
	ignoreSignals  func(signals ...os.Signal)
	timeouts       shutdownTimeouts
	tuneRelay      func(*relay.Config)
	tick           func(period time.Duration) <-chan time.Time
}

func newProgram() *program {
	return &program{
		stdout: os.Stdout, stderr: os.Stderr,
		lookupEnv:     os.LookupEnv,
		openStore:     openStore,
		notifySignals: signal.Notify, ignoreSignals: signal.Ignore,
		timeouts:  defaultShutdownTimeouts(),
		tuneRelay: func(*relay.Config) {},
		tick:      time.Tick,
	}
}

func (p *program) run(ctx context.Context, args []string) int {
	server := *p
	server.stdout, server.stderr = newOutput(p.stdout), newOutput(p.stderr)
	return cli.Report(server.stderr, programName, server.serve(ctx, args))
}
