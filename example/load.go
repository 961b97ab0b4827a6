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

	"example.com/chargeingest/internal/userpath"
)

var errNotEndpoint = errors.New("the answer is not that of a charge event server; is -url right?")

// loader sends a file of events.
type loader struct {
	*program
	client   *client
	name     string // of the file, for messages
	progress *progress
	fresh    int // events in batches of which at least one was new
	replayed int // events in batches that the server had as a whole
}

const loadAbout = `Sends a file of events, one JSON object a line, in batches. Blank lines are
passed over. A line goes out as it stands in the file.

Each batch is stored whole or not at all and carries an Idempotency-Key made from
its lines, the number of its first line and nothing else: after any interruption,
run the same command again, and no event is stored twice, with a reference or
without. That holds for the same lines at the same numbers and the same -batch.
Events that come later belong in a file of their own: at the end of the same one
they change its last batch, and its events without a reference would be stored
again.

The last line on standard output, "N events are stored, R of them in batches that
were stored before", counts by batches: of the others some events may have been
stored before, too. A batch whose answer was lost and that was sent again counts
as one that was. A server that does not answer, or asks to wait, is waited for,
two minutes a batch at most. A line that is no JSON, or an event that the server rejects, ends
the load: standard error has FILE:LINE and the reason of each. Nothing of such a
batch is stored, all before it is. SIGINT or SIGTERM ends it too. Exit status:
0 where all was stored, 1 where not, 2 for a mistake in the options or the FILE.`

func (p *program) load(ctx context.Context, args []string) error {
	l := &loader{program: p, client: p.newClient()}
	var size int64
	cmd := &command{
		synopsis: "example load FILE",
		about:    loadAbout,
		options: append(clientOptions(l.client),
			option{"batch", "", "EVENTS", "500", "the most events of a batch, 1 to 1000; large events make smaller ones", whole(&size, 1, 1000)}),
	}
	arguments, err := cmd.parse(args, p.lookupEnv, p.stdout)
	switch {
	case err != nil:
		return err
	case len(arguments) != 1:
		return usagef("load: one FILE must be given, not %d", len(arguments))
	case l.client.apiKey == "":
		return usagef("load: -api-key or CHARGEINGEST_API_KEY must be given")
	}
	l.name = arguments[0]
	if err := userpath.Check(l.name); err != nil {
		return usagef("load: FILE %w", err)
	}
	file, err := os.Open(l.name)
	if err != nil {
		return usagef("load: %w", userpath.Explain(l.name, err))
	}
	defer func() { _ = file.Close() }()
	l.progress = p.newProgress(file)
	l.client.notice = func(text string) {
		l.progress.clear()
		p.complain(text)
	}
	err = l.run(ctx, newBatchReader(file, int(size)))
	l.progress.clear()
	if err != nil {
		return fmt.Errorf("load stopped: %w; events stored or replayed before that: %d", err, l.fresh+l.replayed)
	}
	_, err = fmt.Fprintf(p.stdout, "%d events are stored, %d of them in batches that were stored before\n", l.fresh+l.replayed, l.replayed)
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
			l.progress.clear()
			l.complain(fmt.Sprintf("%s:%d: %v", l.name, bad.line, bad.err))
			return errors.New("nothing of the batch with the line above was sent")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		if err := l.send(ctx, b); err != nil {
			return err
		}
		l.progress.add(b.size)
	}
}

// send sends a batch and counts its events.
func (l *loader) send(ctx context.Context, b *batch) error {
	a, err := l.client.do(ctx, request{
		method: http.MethodPost,
		path:   "v1/ingest/charge-datas",
		header: map[string]string{"Content-Type": "application/json", "Idempotency-Key": b.key},
		body:   b.body,
	}, patience)
	if err != nil {
		return l.failure(ctx, b, err)
	}
	// Whatever answers 2xx at a wrong address has stored nothing.
	var stored struct {
		Events []json.RawMessage `json:"charge_datas"`
	}
	if json.Unmarshal(a.body, &stored) != nil || len(stored.Events) != len(b.lines) {
		return fmt.Errorf("%s: %w", b.span(l.name), errNotEndpoint)
	}
	if a.header.Get("Idempotent-Replayed") == "true" {
		l.replayed += len(b.lines)
	} else {
		l.fresh += len(b.lines)
	}
	return nil
}

// failure words the end of a load, after a line for each rejected event.
func (l *loader) failure(ctx context.Context, b *batch, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted at %s; the same command sends the rest", b.span(l.name))
	}
	var r *refusal
	if !errors.As(err, &r) || r.status >= http.StatusInternalServerError {
		return fmt.Errorf("%s: %w; it is not known whether they are stored; the same command sends them again safely", b.span(l.name), err)
	}
	if r.status == http.StatusRequestEntityTooLarge && len(b.lines) > 1 {
		return fmt.Errorf("%s: %w; with a smaller -batch, send the lines from %d on as a file of their own", b.span(l.name), err, b.lines[0])
	}
	violations := r.Errors
	if len(violations) == 0 && r.Field != "" {
		violations = []violation{{Field: r.Field, Message: r.Message}}
	}
	l.progress.clear()
	rejected := 0
	for _, v := range violations {
		if i, ok := eventIndex(v.Field, len(b.lines)); ok {
			rejected++
			// The line says which event it is.
			at := batchMember + "." + strconv.Itoa(i)
			message := strings.NewReplacer(at+".", "", at+" ", "the event ").Replace(v.Message)
			l.complain(fmt.Sprintf("%s:%d: %s", l.name, b.lines[i], message))
		}
	}
	if rejected == 0 {
		return fmt.Errorf("%s: %w", b.span(l.name), err)
	}
	return fmt.Errorf("%s: rejected for the lines above, nothing of them was stored", b.span(l.name))
}

// eventIndex returns which event of a batch of n a field belongs to.
func eventIndex(field string, n int) (int, bool) {
	rest, ok := strings.CutPrefix(field, batchMember+".")
	index, _, _ := strings.Cut(rest, ".")
	i, err := strconv.Atoi(index)
	return i, ok && err == nil && i >= 0 && i < n
}
