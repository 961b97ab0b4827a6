package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"example.com/chargeingest/internal/cli"
	"example.com/chargeingest/internal/userpath"
)

var errNotEndpoint = errors.New("the response is not from a charge event server; check -url")

type loader struct {
	*program
	client   *client
	name     string
	progress *progress
	counts   counts

	// differentBatches is set once an idempotency key conflicts.
	differentBatches bool

	warned bool // about events that may be stored twice
}

type counts struct{ stored, replayed, rejected int }

func (c counts) String() string {
	return fmt.Sprintf("%d events: %d new, %d already stored, %d rejected",
		c.stored+c.replayed+c.rejected, c.stored, c.replayed, c.rejected)
}

const loadAbout = `Sends a file of charge events, one JSON object per line, in batches. Lines are sent
unchanged. Blank lines are skipped.

A batch is stored completely or not at all. If the load stops, run the same command
again: no event is stored twice. The server recognizes an event by its reference.
For events without one, each batch has an Idempotency-Key, derived from the number
and the content of its first event. If the rest of the batch is not the same as
before, because of another -batch or because later lines were added or changed, the
load stops before it could store an event without a reference twice. But if lines
were added or removed at the start of the file, or the first line of a batch was
changed, the events without a reference are stored again. Put new events into a new
file.

The last line on standard output, "N events: A new, B already stored, C rejected",
counts events. If the response to a batch was lost and the batch was sent again, its
events count as already stored. If the server does not respond or asks the client to
wait, the load retries for up to two minutes per batch.

The load stops at a line that is not valid JSON and at an event that the server
rejects. It prints FILE:LINE and the reason for each to standard error. Nothing of that
batch is stored; all earlier batches are. SIGINT or SIGTERM also stops the load.

Exit status: 0 if all events are stored, 1 if not, 2 for an invalid option or FILE.`

func (p *program) load(ctx context.Context, args []string) error {
	l := &loader{program: p}
	var server clientConfig
	var maxEvents int64
	var loadID string
	cmd := &cli.Command{
		Synopsis: "chargectl load FILE",
		About:    loadAbout,
		Options: append(clientOptions(&server),
			cli.Option{
				Name: "batch", Argument: "EVENTS", Default: "500",
				Usage: "maximum number of events per batch, from 1 to 1000; batches of large events have fewer",
				Set:   cli.Int(&maxEvents, 1, 1000),
			},
			cli.Option{
				Name: "load-id", Argument: "ID",
				Usage: "part of the Idempotency-Keys, to tell apart files that begin with the same line",
				Set:   cli.Text(&loadID),
			}),
	}
	arguments, err := cmd.Parse(args, p.lookupEnv, p.stdout)
	switch {
	case err != nil:
		return err
	case len(arguments) == 0:
		return cli.Usagef("load: FILE is missing")
	case len(arguments) > 1:
		return cli.Usagef("load: one FILE must be given, not %d", len(arguments))
	}
	if err := server.check("load"); err != nil {
		return err
	}
	l.name = arguments[0]
	if err := userpath.Check(l.name); err != nil {
		return cli.Usagef("load: FILE %w", err)
	}
	file, err := os.Open(l.name) //nolint:gosec // the operator names the file
	if err != nil {
		return cli.Usagef("load: %w", userpath.Explain(l.name, err))
	}
	defer func() { _ = file.Close() }()
	total, err := countLines(file)
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	l.progress = p.newProgress("loading", total)
	l.client = p.newOldClient(server, l.progress.print)
	err = l.run(ctx, newBatchReader(file, int(maxEvents), loadID))
	l.progress.close()
	if err != nil {
		return fmt.Errorf("load stopped: %w; so far %v", err, l.counts)
	}
	_, err = fmt.Fprintln(p.stdout, l.counts)
	return err
}

func (l *loader) run(ctx context.Context, batches *batchReader) error {
	for {
		b, err := batches.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		var bad *lineError
		if errors.As(err, &bad) {
			l.progress.print(fmt.Sprintf("%s:%d: %v", l.name, bad.line, bad.err))
			return errors.New("the batch with the line above was not sent")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		if err := l.send(ctx, b); err != nil {
			return err
		}
		l.progress.add(len(b.lines))
	}
}

func (l *loader) send(ctx context.Context, b *batch) error {
	r := request{
		method: http.MethodPost,
		path:   "v1/ingest/charge-datas",
		header: map[string]string{"Content-Type": "application/json", "Idempotency-Key": b.idempotencyKey},
		body:   b.body,
	}
	if l.differentBatches {
		if len(b.unreferenced) > 0 {
			return l.differentBatchesError(b)
		}
		delete(r.header, "Idempotency-Key") // the references are enough
	}
	res, err := l.client.do(ctx, r, retryTimeout)
	var rejected *statusError
	if errors.As(err, &rejected) && rejected.Code == "IDEMPOTENCY_CHECK_FAILED" {
		l.differentBatches = true
		return l.send(ctx, b)
	}
	if err != nil {
		return l.sendError(ctx, b, err)
	}
	// A wrong URL may respond with 2xx too.
	var stored struct {
		Events []json.RawMessage `json:"charge_datas"`
	}
	if json.Unmarshal(res.body, &stored) != nil || len(stored.Events) != len(b.lines) {
		return fmt.Errorf("%s: %w", b.span(l.name), errNotEndpoint)
	}
	replayed := replayedEvents(res.header, len(b.lines))
	l.counts.replayed += replayed
	l.counts.stored += len(b.lines) - replayed
	if replayed > 0 && replayed < len(b.lines) && len(b.unreferenced) > 0 && !l.warned {
		l.warned = true
		l.progress.print(fmt.Sprintf("%s: warning: only some of these events were already stored; "+
			"if the ones without a reference were, they are now stored twice: %s", b.span(l.name), lineNumbers(b.unreferenced)))
	}
	return nil
}

// Some servers only report whether all n events were already stored.
func replayedEvents(header http.Header, n int) int {
	count, err := strconv.Atoi(header.Get("Idempotent-Replayed-Count"))
	switch {
	case err == nil && count >= 0 && count <= n:
		return count
	case header.Get("Idempotent-Replayed") == "true":
		return n
	}
	return 0
}

func (l *loader) differentBatchesError(b *batch) error {
	return fmt.Errorf("%s: this file was sent before with another -batch or other lines; this batch was not sent, because events without a reference "+
		"could be stored twice: %s; use the same -batch and file, or -load-id if this is a different file that begins with the same line",
		b.span(l.name), lineNumbers(b.unreferenced))
}

func lineNumbers(lines []int) string {
	const maxNumbers = 10
	text := "line"
	if len(lines) > 1 {
		text = "lines"
	}
	for i, n := range lines[:min(len(lines), maxNumbers)] {
		if i > 0 {
			text += ","
		}
		text += " " + strconv.Itoa(n)
	}
	if more := len(lines) - maxNumbers; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// sendError prints a line for each rejected event.
func (l *loader) sendError(ctx context.Context, b *batch, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted at %s; run the same command again to send the rest", b.span(l.name))
	}
	var e *statusError
	if !errors.As(err, &e) || e.status >= http.StatusInternalServerError {
		return fmt.Errorf("%s: %w; outcome unknown: the events may be stored; it is safe to run the same command again", b.span(l.name), err)
	}
	if e.status == http.StatusRequestEntityTooLarge && len(b.lines) > 1 {
		return fmt.Errorf("%s: %w; send the lines from %d on as a separate file, with a smaller -batch", b.span(l.name), err, b.lines[0])
	}
	violations := e.Errors
	if len(violations) == 0 && e.Field != "" {
		violations = []violation{{Field: e.Field, Message: e.Message}}
	}
	rejected := make(map[int]bool)
	for _, v := range violations {
		if i, ok := eventIndex(v.Field, len(b.lines)); ok {
			rejected[i] = true
			// The line number replaces the path of the event.
			path := batchField + "." + strconv.Itoa(i)
			message := strings.NewReplacer(path+".", "", path+" ", "the event ").Replace(v.Message)
			l.progress.print(fmt.Sprintf("%s:%d: %s", l.name, b.lines[i], message))
		}
	}
	l.counts.rejected += len(rejected)
	if len(rejected) == 0 {
		return fmt.Errorf("%s: %w", b.span(l.name), err)
	}
	return fmt.Errorf("%s: rejected, see above; nothing of this batch was stored", b.span(l.name))
}

func eventIndex(field string, n int) (int, bool) {
	rest, ok := strings.CutPrefix(field, batchField+".")
	index, _, _ := strings.Cut(rest, ".")
	i, err := strconv.Atoi(index)
	return i, ok && err == nil && i >= 0 && i < n
}
