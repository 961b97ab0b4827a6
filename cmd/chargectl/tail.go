package main

import (
	"context"
	"errors"
	"fmt"

	"example.com/chargeingest/chargeclient"
	"example.com/chargeingest/internal/cli"
)

const (
	fromStart = "start"
	fromNow   = "now"
)

type tailer struct {
	*program
	client   *chargeclient.Client
	position string // of the last printed event, or empty
	format   func(dst []byte, e *chargeclient.Event) []byte
	follow   bool
}

const tailAbout = `Prints the stored events in storage order, and follows new ones. While the server is
not available, it retries without a limit and prints a message for each retry.

The format ndjson is one JSON object per line, as the server sends it. On a terminal,
control characters and characters that change the text direction are printed as
\u escapes. The format text, for people, is one line per event: timestamp, id,
reference, customer and value, with the same escapes everywhere.

At the end it prints "position: …" to standard error. Pass that as -from to continue
with the next event, so that each event is printed once. SIGINT or SIGTERM ends it. If
its output is closed, it ends without printing the position.

Exit status: 0 after a signal or the last event, 1 after a failure, 2 for an
invalid option.`

func (p *program) tail(ctx context.Context, args []string) error {
	t := &tailer{program: p}
	var server clientConfig
	var from string
	var text bool
	cmd := &cli.Command{
		Synopsis: "chargectl tail",
		About:    tailAbout,
		Options: append(clientOptions(&server),
			cli.Option{
				Name: "from", Argument: "POSITION", Default: fromStart,
				Usage: "start (all events), now (only events that are stored from now on), or a position, to continue with\n" +
					"the event after it",
				Set: cli.Text(&from),
			},
			cli.Option{
				Name: "format", Argument: "FORMAT", Default: "ndjson", Usage: "ndjson or text",
				Set: cli.OneOf(&text, cli.Choice[bool]{Name: "ndjson"}, cli.Choice[bool]{Name: "text", Value: true}),
			},
			cli.Option{
				Name: "interval", Argument: "DURATION", Default: "1s",
				Usage: "pause before asking for new events", Set: positiveDuration(&server.PollInterval),
			},
			cli.Option{
				Name: "follow", Default: "true",
				Usage: "follow new events; -follow=false ends after the last stored event, and retries for only two minutes",
				Set:   boolean(&t.follow),
			},
		),
	}
	_, err := p.parse(cmd, &server, args)
	if err != nil {
		return err
	}
	if t.follow {
		server.RetryTimeout = -1
	}
	if t.client, err = p.newClient(server, p.printError); err != nil {
		return err
	}
	t.format = p.eventFormat(text)
	go exitWhenReaderCloses(p.stdout)
	err = t.run(ctx, from)
	var rejection *chargeclient.Error
	if errors.As(err, &rejection) && rejection.Field == "after" {
		return fmt.Errorf("tail: -from: the server has no such position, for example after a restore; use -from start: %w", err)
	}
	if t.position != "" {
		p.printError("position: " + t.position)
	}
	return cli.UnlessDone(ctx, err)
}

func (p *program) eventFormat(text bool) func(dst []byte, e *chargeclient.Event) []byte {
	switch {
	case text:
		return appendText
	case p.isTerminal(p.stdout):
		return func(dst []byte, e *chargeclient.Event) []byte { return escapeForTerminal(dst, e.JSON) }
	default:
		return func(dst []byte, e *chargeclient.Event) []byte { return append(dst, e.JSON...) }
	}
}

func (t *tailer) run(ctx context.Context, from string) (err error) {
	switch from {
	case fromStart:
	case fromNow:
		if t.position, err = t.client.Position(ctx); err != nil {
			return err
		}
	default:
		t.position = from
	}
	if t.follow {
		return t.client.Follow(ctx, t.position, t.print)
	}
	for {
		page, err := t.client.List(ctx, chargeclient.Query{After: t.position, Ascending: true, Limit: maxPageEvents})
		if err != nil {
			return err
		}
		if err := t.print(page); err != nil || page.Next == "" {
			return err
		}
	}
}

// print writes whole events.
func (t *tailer) print(page chargeclient.Page) error {
	var lines []byte
	for i := range page.Events {
		lines = append(t.format(lines, &page.Events[i]), '\n')
	}
	if _, err := t.stdout.Write(lines); err != nil {
		return fmt.Errorf("write to standard output: %w", err)
	}
	t.position = page.Position
	return nil
}
