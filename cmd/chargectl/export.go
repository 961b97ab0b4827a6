package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/chargeclient"
	"example.com/chargeingest/internal/cli"
	"example.com/chargeingest/internal/rfc3339"
	"example.com/chargeingest/storekit"
)

const maxPageEvents = 1000

const exportAbout = `Writes the stored events of one platform, in storage order, as CSV or NDJSON. It
reads all events of the platform and selects them by -from and -to; without these,
it exports all events.

At the end it prints to standard error: the number of events; the exact sums of
value.amount per currency, of value.number and of value.count; "until: ID", the last
event that was read; and the SHA-256 of the export, as sha256sum -c reads it. Run
it again with -until ID to get the same bytes even if new events were stored.

CSV follows RFC 4180, with a header. An absent field is an empty cell; an empty
string is "". Unknown fields are JSON in the last column. A cell that begins with
= + - @ ' or with a tab or line break has an apostrophe in front, unless the whole
cell is a decimal number. To get the field back, remove one leading apostrophe. NDJSON
has each event as the server sends it.

With -o, the file appears only once it is complete. An existing file is never
overwritten. On a terminal, control characters and characters that change the text
direction are written as \u escapes.

Exit status: 0 for a complete export, 1 after a failure or a signal, 2 for an
invalid option.`

type exporter struct {
	*program
	from, to  *time.Time
	by        timeOf
	encode    func(dst []byte, e *chargeclient.Event) ([]byte, error)
	header    string
	path      string
	until     string
	progress  *progress // nil if the export is printed to a terminal
	out       io.Writer
	sha256    hash.Hash
	totals    totals
	lastID    string
	escapeOut bool
}

type timeOf func(*chargeingest.ChargeEvent) (time.Time, error)

func (p *program) export(ctx context.Context, args []string) error {
	x := &exporter{program: p, sha256: sha256.New(), out: p.stdout}
	var server clientConfig
	csv := false
	cmd := &cli.Command{
		Synopsis: "chargectl export",
		About:    exportAbout,
		Options: append(clientOptions(&server),
			cli.Option{
				Name: "from", Argument: "TIME",
				Usage: "start, included: a date such as 2026-09-01 (midnight UTC), or an RFC 3339 date and time", Set: instant(&x.from),
			},
			cli.Option{Name: "to", Argument: "TIME", Usage: "end, excluded", Set: instant(&x.to)},
			cli.Option{
				Name: "by", Argument: "TIME", Default: "timestamp",
				Usage: "time that -from and -to refer to: timestamp (of the event), or received (when the server received it)",
				Set: cli.OneOf(&x.by, cli.Choice[timeOf]{Name: "timestamp", Value: eventTime},
					cli.Choice[timeOf]{Name: "received", Value: receiptTime}),
			},
			cli.Option{
				Name: "format", Argument: "FORMAT", Default: "csv", Usage: "csv or ndjson",
				Set: cli.OneOf(&csv, cli.Choice[bool]{Name: "csv", Value: true}, cli.Choice[bool]{Name: "ndjson", Value: false}),
			},
			cli.Option{Name: "until", Argument: "ID", Usage: "end after the event with this id", Set: eventID(&x.until)},
			cli.Option{Name: "o", Argument: "FILE", Usage: "write to this new file instead of standard output", Set: cli.Text(&x.path)},
		),
	}
	if _, err := p.parse(cmd, &server, args); err != nil {
		return err
	}
	if x.from != nil && x.to != nil && !x.from.Before(*x.to) {
		return cli.Usagef("export: -to must be after -from")
	}
	x.encode = appendJSON
	if csv {
		x.encode, x.header = appendCSV, csvHeader()
	}
	return x.run(ctx, server)
}

func (x *exporter) run(ctx context.Context, server clientConfig) error {
	file := new(outputFile)
	if x.path != "" {
		var err error
		if file, err = createOutput(x.path); err != nil {
			return fmt.Errorf("export: %w", err)
		}
		defer file.discard()
		x.out = file
	}
	logRetry := x.printError
	x.escapeOut = x.path == "" && x.isTerminal(x.stdout)
	if !x.escapeOut {
		x.progress = x.newProgress("exporting", -1)
		defer x.progress.close()
		logRetry = x.progress.print
	}
	client, err := x.newClient(server, logRetry)
	if err != nil {
		return err
	}
	if err := x.copyEvents(ctx, client); err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted; the export is not complete")
		}
		return fmt.Errorf("export: %w", err)
	}
	if x.path != "" {
		if err := file.commit(); err != nil {
			return fmt.Errorf("export: %w", err)
		}
	}
	if x.progress != nil {
		x.progress.close()
	}
	x.printSummary()
	return nil
}

// copyEvents filters by time itself: the server would scan, with a time limit.
func (x *exporter) copyEvents(ctx context.Context, client *chargeclient.Client) error {
	if err := x.write(x.record([]byte(x.header))); err != nil {
		return err
	}
	q := chargeclient.Query{Ascending: true, Limit: maxPageEvents}
	for {
		page, err := client.List(ctx, q)
		if err != nil {
			return err
		}
		end, err := x.copyPage(page.Events)
		switch {
		case err != nil:
			return err
		case end:
			return nil
		case page.Next != "":
			q.After = page.Next
		case x.until != "":
			return fmt.Errorf("-until: the platform has no event %s; use the id that an earlier export printed", x.until)
		default:
			return nil
		}
	}
}

func (x *exporter) copyPage(events []chargeclient.Event) (end bool, err error) {
	var text []byte
	for i := range events {
		e := &events[i]
		record, err := x.selectEvent(e)
		if err != nil {
			return false, fmt.Errorf("event %s: %w", e.ID, err)
		}
		text = append(text, record...)
		x.lastID = e.ID
		if end = e.ID == x.until; end {
			events = events[:i+1]
			break
		}
	}
	if err := x.write(text); err != nil {
		return false, err
	}
	if x.progress != nil {
		x.progress.add(len(events))
	}
	return end, nil
}

func (x *exporter) selectEvent(e *chargeclient.Event) ([]byte, error) {
	t, err := x.by(&e.ChargeEvent)
	if err != nil || x.from != nil && t.Before(*x.from) || x.to != nil && !t.Before(*x.to) {
		return nil, err
	}
	if err := x.totals.add(&e.ChargeEvent); err != nil {
		return nil, err
	}
	text, err := x.encode(nil, e)
	if err != nil {
		return nil, err
	}
	return x.record(text), nil
}

// record hashes the text before it is escaped for a terminal.
func (x *exporter) record(text []byte) []byte {
	x.sha256.Write(text)
	if !x.escapeOut {
		return text
	}
	return append(escapeForTerminal(nil, bytes.TrimRight(text, "\r\n")), "\r\n"...)
}

func (x *exporter) write(text []byte) error {
	_, err := x.out.Write(text)
	if err != nil && x.path == "" {
		err = fmt.Errorf("write to standard output: %w", err)
	}
	return err
}

func (x *exporter) printSummary() {
	x.printError(plural(x.totals.events, "event"))
	for _, s := range x.totals.sums() {
		x.printError(s.name + ": " + s.sum.String())
	}
	if x.lastID != "" {
		x.printError("until: " + x.lastID)
	}
	x.printError(checksumLine(x.sha256.Sum(nil), x.path))
}

// checksumLine is for sha256sum -c. A leading backslash announces escapes.
func checksumLine(sum []byte, path string) string {
	if path == "" {
		path = "-"
	}
	line := hex.EncodeToString(sum) + "  " + strings.ReplaceAll(path, `\`, `\\`)
	if strings.Contains(path, `\`) {
		return `\` + line
	}
	return line
}

func eventTime(e *chargeingest.ChargeEvent) (time.Time, error) {
	t, ok := rfc3339.Parse(*orZero(e.Timestamp))
	if !ok {
		return t, fmt.Errorf("timestamp %q is not an RFC 3339 date and time", *orZero(e.Timestamp))
	}
	return t, nil
}

func receiptTime(e *chargeingest.ChargeEvent) (time.Time, error) { return storekit.IDTime(e.ID) }

func appendJSON(dst []byte, e *chargeclient.Event) ([]byte, error) {
	return append(append(dst, e.JSON...), '\n'), nil
}

func instant(dst **time.Time) func(string) error {
	return func(value string) error {
		t, ok := rfc3339.Parse(value)
		if !ok {
			var err error
			if t, err = time.Parse(time.DateOnly, value); err != nil {
				return fmt.Errorf("must be a date such as 2026-09-01 or an RFC 3339 date and time, not %q", value)
			}
		}
		*dst = &t
		return nil
	}
}

func eventID(dst *string) func(string) error {
	return func(value string) error {
		*dst = value
		if _, err := storekit.IDTime(value); err != nil {
			return fmt.Errorf("must be the id of an event, such as chda_01K4GQXJ5WTM4R2V8ZC6N3HBDA, not %q", value)
		}
		return nil
	}
}
