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
)

// pageEvents is how many events a page of a listing has.
const pageEvents = 200

// tailer follows the events of a platform.
type tailer struct {
	*program
	client   *client
	position string // behind the last event that was written, or empty
	interval time.Duration
	follow   bool
}

func (p *program) tail(ctx context.Context, args []string) error {
	t := &tailer{program: p, client: p.newClient()}
	cmd := &command{
		synopsis: "example tail",
		about: `Writes the events that the server has, in the order of storing, one JSON object a
line exactly as the server answers it, and goes on with those that are stored
later. On a terminal, control characters and those that change the direction of
text are written as \u escapes. Outages of the server are waited out. SIGINT or
SIGTERM ends it. Where it ends, it writes a line "position: …" to standard error;
with that as -position it goes on behind the last event that it wrote, so that
each event comes once. It ends without that line if nothing reads its output.
Exit status: 0 after a signal, 1 for a failure, 2 for a mistake in the options.`,
		options: append(clientOptions(t.client),
			option{"position", "", "POSITION", "", "go on behind this position; without it, at the first event", text(&t.position)},
			option{"interval", "", "TIME", "1s", "how long to wait for more events before asking again", positive(&t.interval)},
			option{"follow", "", "", "true", "-follow=false ends behind the last event there is", boolean(&t.follow)},
		),
	}
	arguments, err := cmd.parse(args, p.lookupEnv, p.stdout)
	switch {
	case err != nil:
		return err
	case len(arguments) > 0:
		return usagef("tail: unexpected argument %q", arguments[0])
	case t.client.apiKey == "":
		return usagef("tail: -api-key or CHARGEINGEST_API_KEY must be given")
	}
	go endWithReader(p.stdout)
	err = t.run(ctx)
	if t.position != "" {
		p.complain("position: " + t.position)
	}
	return unlessEnded(ctx, err)
}

// run writes pages until ctx ends or, where it does not follow, the events do.
func (t *tailer) run(ctx context.Context) error {
	for {
		more, err := t.page(ctx)
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

// page writes the next page and moves the position behind it. It returns
// whether there was more at once.
func (t *tailer) page(ctx context.Context) (more bool, err error) {
	query := url.Values{"order": {"asc"}, "limit": {strconv.Itoa(pageEvents)}}
	if t.position != "" {
		query.Set("after", t.position)
	}
	wait := patience
	if t.follow {
		wait = 0
	}
	a, err := t.client.do(ctx, request{method: http.MethodGet, path: "v1/ingest/charge-data", query: query}, wait)
	if err != nil {
		return false, err
	}
	var page struct {
		Data     []json.RawMessage `json:"data"`
		Next     *string           `json:"next"`
		Position string            `json:"position"`
	}
	if err := json.Unmarshal(a.body, &page); err != nil || page.Position == "" {
		return false, errNotEndpoint
	}
	var lines bytes.Buffer
	terminal := t.isTerminal(t.stdout)
	for _, event := range page.Data {
		// Members that the server keeps as they were sent may have line breaks
		// between their tokens; digits and strings stay as they are.
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
	// One write, so that nobody sees a part of an event.
	if _, err := t.stdout.Write(lines.Bytes()); err != nil {
		return false, fmt.Errorf("write to standard output: %w", err)
	}
	t.position = page.Position
	return page.Next != nil, nil
}
