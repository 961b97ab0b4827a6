// Command chargectl is the operator's tool of a charge event server.
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"example.com/chargeingest/internal/cli"
)

func main() {
	os.Exit(newProgram().run(cli.UntilSignal(), os.Args[1:]))
}

type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	lookupEnv      func(name string) (string, bool)
	isTerminal     func(io.Writer) bool
	now            func() time.Time
	transport      http.RoundTripper
}

func newProgram() *program {
	return &program{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		lookupEnv: os.LookupEnv,
		isTerminal: func(w io.Writer) bool {
			f, ok := w.(*os.File)
			return ok && term.IsTerminal(int(f.Fd()))
		},
		now: time.Now, transport: newTransport(""),
	}
}

type command struct {
	name      string
	arguments string
	summary   string
	run       func(p *program, ctx context.Context, args []string) error
}

var commands = []command{
	{"load", "FILE", "send a file of charge events to a server", (*program).load},
	{"tail", "", "print the stored events, and follow new ones", (*program).tail},
	{"export", "", "write the stored events of a time range as CSV or NDJSON", (*program).export},
	{"verify", "FILE", "compare a file of charge events with the stored events", (*program).verify},
	{"backup", "OUT", "copy the SQLite database of a running or stopped server", (*program).backup},
	{"restore", "", "replace the SQLite database of a stopped server with a backup", (*program).restore},
	{"check", "", "check a SQLite database or a backup for damage", (*program).check},
	{"keys new", "", "generate an API key and its entry for the server", (*program).keysNew},
	{"relay status", "[ID]", "print how far events are delivered to each destination", (*program).relayStatus},
	{"relay dead", "[ID]", "print dead letters with reasons, or the attempts of one event", (*program).relayDead},
	{"relay retry", "[ID…]", "send rejected events again", (*program).relayRetry},
	{"relay skip", "[ID…]", "give up rejected events", (*program).relaySkip},
	{"relay retire", "", "end the delivery to a destination", (*program).relayRetire},
	{"keys hash", "", "print the hash of an API key for the server", (*program).keysHash},
}

func (p *program) run(ctx context.Context, args []string) int {
	return cli.Report(p.stderr, "chargectl", p.runCommand(ctx, args))
}

func (p *program) runCommand(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return cli.Usagef("no command given; %s", listCommands())
	}
	for _, c := range commands {
		words := strings.Fields(c.name)
		if len(args) >= len(words) && slices.Equal(args[:len(words)], words) {
			return c.run(p, ctx, args[len(words):])
		}
	}
	isGroup := slices.ContainsFunc(commands, func(c command) bool { return strings.HasPrefix(c.name, args[0]+" ") })
	option := args[0]
	if isGroup && len(args) > 1 {
		option = args[1]
	}
	switch {
	case slices.Contains([]string{"-h", "-help", "--help"}, option):
		if _, err := io.WriteString(p.stdout, usage()); err != nil {
			return fmt.Errorf("write to standard output: %w", err)
		}
		return nil
	case slices.Contains([]string{"-version", "--version"}, option):
		return cli.PrintVersion(p.stdout, "chargectl")
	case strings.HasPrefix(option, "-"):
		return cli.Usagef("options come after the command; %s", listCommands())
	case isGroup:
		return cli.Usagef("unknown command %q; %s", strings.Join(args[:min(len(args), 2)], " "), listCommands())
	default:
		return cli.Usagef("unknown command %q; %s", args[0], listCommands())
	}
}

func listCommands() string {
	var names []string
	for _, c := range commands {
		names = append(names, c.name)
	}
	last := len(names) - 1
	return fmt.Sprintf("the commands are %s and %s; see chargectl -help", strings.Join(names[:last], ", "), names[last])
}

func usage() string {
	var b strings.Builder
	b.WriteString("usage: chargectl COMMAND [options]\n\ncommands:\n")
	table := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	for _, c := range commands {
		_, _ = fmt.Fprintf(table, "  %s\t%s\n", strings.TrimSpace(c.name+" "+c.arguments), c.summary)
	}
	_ = table.Flush()
	b.WriteString("\n\"chargectl COMMAND -help\" describes a command and its options; -version prints the version.\n")
	return b.String()
}

func (p *program) printError(text string) { cli.PrintLine(p.stderr, text) }
