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
	counts   counts

	// otherCut is set if the server knows the key of a batch with other lines: the
	// file was sent before in other batches.
	otherCut bool

	warned bool // of events that may be stored twice
}

// counts are events, by what became of them.
type counts struct{ fresh, known, rejected int }

func (c counts) String() string {
	return fmt.Sprintf("%d events: %d new, %d already stored, %d rejected", c.fresh+c.known+c.rejected, c.fresh, c.known, c.rejected)
}

const loadAbout = `Sends a file of events, one JSON object a line, in batches. Blank lines are
passed over. A line goes out as it stands in the file.

Each batch is stored whole or not at all. After any interruption, run the same
command again: no event is stored twice. The server knows an event with a
reference by that. For the others each batch carries an Idempotency-Key, made
from the number and the content of its first event. If such a batch has other lines
than the one that was sent before, because of another -batch or because later lines
were added or changed, the load stops before an event without a reference could be
stored twice. It cannot know a file again in which lines were added or removed at
the start, or the first line of a batch was changed: such a file stores its events
without a reference again. Events that come later belong in a file of their own.

The last line on standard output, "N events: A new, B already stored, C rejected",
counts events. Those of a batch whose response was lost, and that was sent again,
count as already stored. A server that does not answer, or asks to wait, is waited
for, two minutes a batch at most. A line that is no JSON, or an event that the
server rejects, ends the load: standard error has FILE:LINE and the reason of
each. Nothing of such a batch is stored, all before it is. SIGINT or SIGTERM ends
it too. Exit status: 0 where all was stored, 1 where not, 2 for a mistake in the
options or the FILE.`

func (p *program) load(ctx context.Context, args []string) error {
	l := &loader{program: p, client: p.newClient()}
	var size int64
	var loadID string
	cmd := &command{
		synopsis: "example load FILE",
		about:    loadAbout,
		options: append(clientOptions(l.client),
			option{"batch", "", "EVENTS", "500", "the most events of a batch, 1 to 1000; large events make smaller ones", whole(&size, 1, 1000)},
			option{"load-id", "", "ID", "",
				"part of the Idempotency-Keys; tells a file from another one that begins with the same line", text(&loadID)}),
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
	err = l.run(ctx, newBatchReader(file, int(size), loadID))
	l.progress.clear()
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
	r := request{
		method: http.MethodPost,
		path:   "v1/ingest/charge-datas",
		header: map[string]string{"Content-Type": "application/json", "Idempotency-Key": b.key},
		body:   b.body,
	}
	if l.otherCut {
		if len(b.unreferenced) > 0 {
			return l.unsafe(b)
		}
		delete(r.header, "Idempotency-Key")
	}
	a, err := l.client.do(ctx, r, patience)
	var refused *refusal
	if errors.As(err, &refused) && refused.Code == "IDEMPOTENCY_CHECK_FAILED" {
		l.otherCut = true
		return l.send(ctx, b)
	}
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
	known := knownEvents(a.header, len(b.lines))
	l.counts.known += known
	l.counts.fresh += len(b.lines) - known
	if known > 0 && known < len(b.lines) && len(b.unreferenced) > 0 && !l.warned {
		l.warned = true
		l.progress.clear()
		l.complain(fmt.Sprintf("%s: warning: only a part of these events had been stored before; "+
			"if those without a reference had been, they are stored twice now: %s", b.span(l.name), lineNumbers(b.unreferenced)))
	}
	return nil
}

// knownEvents is how many events of a batch of n had been stored before. Servers
// without the number say at least whether all had been.
func knownEvents(header http.Header, n int) int {
	known, err := strconv.Atoi(header.Get("Idempotent-Replayed-Count"))
	switch {
	case err == nil && known >= 0 && known <= n:
		return known
	case header.Get("Idempotent-Replayed") == "true":
		return n
	}
	return 0
}

// unsafe words the end of a load that was sent before in other batches.
func (l *loader) unsafe(b *batch) error {
	return fmt.Errorf("%s: this file was sent before with another -batch, or other lines; nothing of this batch was sent now, because events without a reference "+
		"could be stored twice: %s; use the same -batch and file, or -load-id for another file that begins with the same line",
		b.span(l.name), lineNumbers(b.unreferenced))
}

// lineNumbers names some lines.
func lineNumbers(lines []int) string {
	const most = 10
	text := "line"
	if len(lines) > 1 {
		text = "lines"
	}
	for i, n := range lines[:min(len(lines), most)] {
		if i > 0 {
			text += ","
		}
		text += " " + strconv.Itoa(n)
	}
	if more := len(lines) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
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
	rejected := make(map[int]bool)
	for _, v := range violations {
		if i, ok := eventIndex(v.Field, len(b.lines)); ok {
			rejected[i] = true
			// The line says which event it is.
			at := batchMember + "." + strconv.Itoa(i)
			message := strings.NewReplacer(at+".", "", at+" ", "the event ").Replace(v.Message)
			l.complain(fmt.Sprintf("%s:%d: %s", l.name, b.lines[i], message))
		}
	}
	l.counts.rejected += len(rejected)
	if len(rejected) == 0 {
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
