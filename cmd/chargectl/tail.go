package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"example.com/chargeingest/internal/cli"
)

const pageEvents = 200

type tailer struct {
	*program
	client   *client
	position string // of the last printed event, or empty
	interval time.Duration
	follow   bool
}

const tailAbout = `Prints the stored events in storage order, one JSON object per line as the server
sends it, and follows new ones. On a terminal, control characters and characters
that change the text direction are printed as \u escapes. It retries while the
server is not available.

At the end it prints "position: …" to standard error. Pass that as -position to
continue with the next event, so that each event is printed once. SIGINT or SIGTERM
ends it. If its output is closed, it ends without printing the position.

Exit status: 0 after a signal or the last event, 1 after a failure, 2 for an
invalid option.`

func (p *program) tail(ctx context.Context, args []string) error {
	t := &tailer{program: p}
	var server clientConfig
	cmd := &cli.Command{
		Synopsis: "chargectl tail",
		About:    tailAbout,
		Options: append(clientOptions(&server),
			cli.Option{
				Name: "position", Argument: "POSITION",
				Usage: "continue after this position; without it, tail starts with the first event", Set: cli.Text(&t.position),
			},
			cli.Option{
				Name: "interval", Argument: "DURATION", Default: "1s",
				Usage: "pause before asking for new events", Set: positiveDuration(&t.interval),
			},
			cli.Option{
				Name: "follow", Default: "true",
				Usage: "follow new events; -follow=false ends after the last stored event", Set: boolean(&t.follow),
			},
		),
	}
	arguments, err := cmd.Parse(args, p.lookupEnv, p.stdout)
	switch {
	case err != nil:
		return err
	case len(arguments) > 0:
		return cli.Usagef("tail: unexpected argument %q", arguments[0])
	}
	if err := server.check("tail"); err != nil {
		return err
	}
	t.client = p.newOldClient(server, p.printError)
	go exitWhenReaderCloses(p.stdout)
	err = t.run(ctx)
	if t.position != "" {
		p.printError("position: " + t.position)
	}
	return cli.UnlessDone(ctx, err)
}

func (t *tailer) run(ctx context.Context) error {
	for {
		more, err := t.printPage(ctx)
		if err != nil {
			return err
		}
		if more {
			continue
		}
		if !t.follow {
			return nil
		}
		if err := t.sleep(ctx, t.interval); err != nil {
			return err
		}
	}
}

func (t *tailer) printPage(ctx context.Context) (more bool, err error) {
	query := url.Values{"order": {"asc"}, "limit": {strconv.Itoa(pageEvents)}}
	if t.position != "" {
		query.Set("after", t.position)
	}
	timeout := retryTimeout
	if t.follow {
		timeout = 0
	}
	res, err := t.client.do(ctx, request{method: http.MethodGet, path: "v1/ingest/charge-data", query: query}, timeout)
	if err != nil {
		return false, err
	}
	var page struct {
		Data     []json.RawMessage `json:"data"`
		Next     *string           `json:"next"`
		Position string            `json:"position"`
	}
	if err := json.Unmarshal(res.body, &page); err != nil || page.Position == "" {
		return false, errNotEndpoint
	}
	var lines bytes.Buffer
	terminal := t.isTerminal(t.stdout)
	for _, event := range page.Data {
		// Unknown fields may have line breaks between their tokens. Compact leaves numbers and
		// strings unchanged.
		start := lines.Len()
		if err := json.Compact(&lines, event); err != nil {
			return false, errNotEndpoint
		}
		if terminal {
			escaped := escapeForTerminal(nil, lines.Bytes()[start:])
			lines.Truncate(start)
			lines.Write(escaped)
		}
		lines.WriteByte('\n')
	}
	// One write, so that readers do not see partial events.
	if _, err := t.stdout.Write(lines.Bytes()); err != nil {
		return false, fmt.Errorf("write to standard output: %w", err)
	}
	t.position = page.Position
	return page.Next != nil, nil
}
