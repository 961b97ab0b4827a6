package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"example.com/chargeingest/internal/cli"
	"example.com/chargeingest/internal/userpath"
)

const standardInput = "-"

const loadAbout = `Sends a file of charge events, one JSON object per line. Lines are sent unchanged.
Blank lines are skipped. FILE "-" is standard input.

If the load stops, run the same command again: no event is stored twice. The server
recognizes an event by its reference. Events with a reference are sent in batches,
each of which is stored completely or not at all.

An event without a reference is sent on its own with an Idempotency-Key, which is
derived from -load-id, the content of the event, and the number of equal events before
it in the file. So equal lines of one file are stored as separate events, but an event
that is equal to one of another file with the same -load-id is not stored again. At the
end, the load warns if it had such events. It needs about 100 bytes of memory for each
different event without a reference.

The last line on standard output, "N events: A new, B already stored, C rejected",
counts events. If the response to a request was lost and the request was retried,
its events count as already stored. If the server does not respond or asks the client
to wait, the load retries each request for up to two minutes. Events are not stored in
the order of the file.

The load stops at a line that is not valid JSON and at an event that the server
rejects, and prints FILE:LINE and the reason to standard error. Nothing of its batch is
stored; earlier events are, and later ones may be. With -rejects, it continues with the
other events, and writes each rejected line to a file:

  {"line":N,"errors":[{"code":"…","field":"…","message":"…"}],"text":"the line"}

"resource_id" is added for a reference that is already used with other content. Instead
of "text", a line that is not UTF-8 has "base64". "truncated" marks a line longer than
4 MiB. SIGINT or SIGTERM stops the load.

Exit status: 0 if all events are stored, 1 if not, 2 for an invalid option or FILE.`

type loadOptions struct {
	server   clientConfig
	maxBatch int64
	loadID   string
	rejects  string
}

func loadCommand(o *loadOptions) *cli.Command {
	return &cli.Command{
		Synopsis: "chargectl load FILE",
		About:    loadAbout,
		Options: append(clientOptions(&o.server),
			cli.Option{
				Name: "batch", Argument: "EVENTS", Default: "500",
				Usage: "maximum number of events per batch, from 1 to 1000; batches of large events have fewer",
				Set:   cli.Int(&o.maxBatch, 1, 1000),
			},
			cli.Option{
				Name: "load-id", Argument: "ID",
				Usage: "distinguishes equal events without a reference in different files; by default the name of FILE\n" +
					"without its directory; required for such events on standard input",
				Set: cli.Text(&o.loadID),
			},
			cli.Option{
				Name: "rejects", Argument: "OUT",
				Usage: "continue after rejected lines, and write them to this file, which must not exist",
				Set:   cli.Text(&o.rejects),
			}),
	}
}

func (p *program) load(ctx context.Context, args []string) (err error) {
	var o loadOptions
	name, err := p.parse(loadCommand(&o), &o.server, args)
	if err != nil {
		return err
	}
	l := &loader{program: p, name: name}
	input, total, err := l.open()
	if err != nil {
		return err
	}
	defer func() { _ = input.Close() }()
	if o.loadID == "" && name != standardInput {
		o.loadID = filepath.Base(name)
	}
	if o.rejects != "" {
		if err := cmp.Or(checkName(o.rejects), checkNew(o.rejects)); err != nil {
			return cli.Usagef("load: -rejects %w", err)
		}
		if l.rejects, err = createRejectsFile(o.rejects); err != nil {
			return cli.Usagef("load: -rejects: %w", userpath.Explain(o.rejects, err))
		}
		defer func() { err = errors.Join(err, l.rejects.close()) }()
	}
	l.progress = p.newProgress("loading", total)
	if l.client, err = p.newClient(o.server, l.logRetry); err != nil {
		return err
	}
	err = l.run(ctx, &chunkReader{lines: newLineReader(input), maxBatch: int(o.maxBatch), keys: newIdempotencyKeys(o.loadID)})
	l.progress.close()
	return l.report(err)
}

// open also returns the number of lines, or -1.
func (l *loader) open() (io.ReadCloser, int64, error) {
	if l.name == standardInput {
		l.name = "standard input"
		return io.NopCloser(l.stdin), -1, nil
	}
	if err := userpath.Check(l.name); err != nil {
		return nil, 0, cli.Usagef("load: FILE %w", err)
	}
	file, err := os.Open(l.name)
	if err != nil {
		return nil, 0, cli.Usagef("load: %w", userpath.Explain(l.name, err))
	}
	if info, err := file.Stat(); err == nil && info.IsDir() {
		_ = file.Close()
		return nil, 0, cli.Usagef("load: FILE %s is a directory", l.name)
	}
	total, err := countLines(file)
	if err != nil {
		_ = file.Close()
		return nil, 0, fmt.Errorf("load: %w", err)
	}
	return file, total, nil
}

func (l *loader) report(err error) error {
	l.warnOfReplays()
	if err != nil {
		return fmt.Errorf("load stopped: %w; so far %v", err, &l.counts)
	}
	if _, err := fmt.Fprintln(l.stdout, &l.counts); err != nil {
		return fmt.Errorf("write to standard output: %w", err)
	}
	if l.rejected > 0 {
		return fmt.Errorf("load: the rejected lines (%d) are in %s", l.rejected, l.rejects.Name())
	}
	return nil
}
