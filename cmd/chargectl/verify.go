package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"example.com/chargeingest/internal/cli"
)

const verifyAbout = `Compares every event of a file, one JSON object per line, with the stored events of
one platform. An event with a reference is compared with the stored event that has
this reference. An event without one counts as stored if a stored event without a
reference has the same content. Each stored event counts for one line only.

Contents are compared as for duplicates: the order of fields does not matter, null
equals an absent field, id and object_type are ignored, and timestamps are compared
as instants. An event without a timestamp matches a stored event with any timestamp.

It prints how many events are stored, missing, different and invalid (no server
accepts the line), and the exact sums of the file and of the stored events that it
matches. Lines that repeat the reference and content of an earlier line count once
in the sums. The first problems are printed to standard error; -o writes all of them
as CSV: line, reference, id of the stored event, status, and the fields that differ
or the reasons why the line is invalid.

It reads the stored events, newest first, as long as they match events of the file,
and then looks up the remaining references one by one. For a missing event without
a reference, it reads all stored events.

Exit status: 0 if all events are stored, 1 if not or after a failure, 2 for an
invalid option.`

const maxPrintedProblems = 10

type verifier struct {
	*program
	name, path string
	file       *eventFile
	matches    *matches
	progress   *progress
}

func (p *program) verify(ctx context.Context, args []string) error {
	v := &verifier{program: p}
	var server clientConfig
	cmd := &cli.Command{
		Synopsis: "chargectl verify FILE",
		About:    verifyAbout,
		Options: append(clientOptions(&server),
			cli.Option{Name: "o", Argument: "FILE", Usage: "write all problems to this new file, as CSV", Set: cli.Text(&v.path)},
		),
	}
	var err error
	if v.name, err = p.parse(cmd, &server, args); err != nil {
		return err
	}
	if err := v.run(ctx, server); err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		return fmt.Errorf("verify: %w", err)
	}
	return nil
}

func (v *verifier) run(ctx context.Context, server clientConfig) (err error) {
	out := new(outputFile)
	if v.path != "" {
		if out, err = createOutput(v.path); err != nil {
			return err
		}
		defer out.discard()
	}
	if v.file, err = openEventFile(v.name); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.file.file.Close()) }()
	if err := v.file.read(ctx); err != nil {
		return fmt.Errorf("%s: %w", v.name, err)
	}
	if err := v.match(ctx, server); err != nil {
		return err
	}
	if err := v.file.explainUnmatched(ctx); err != nil {
		return err
	}
	v.printProblems()
	if v.path != "" {
		if err := v.writeProblems(out); err != nil {
			return err
		}
		if err := out.commit(); err != nil {
			return err
		}
	}
	return v.report()
}

func (v *verifier) match(ctx context.Context, server clientConfig) error {
	v.matches = newMatches(v.file)
	v.progress = v.newProgress("verifying", int64(v.matches.pending()))
	defer v.progress.close()
	client, err := v.newClient(server, v.progress.print)
	if err != nil {
		return err
	}
	isComplete, err := v.matchListing(ctx, client)
	if err != nil || isComplete {
		return err
	}
	return v.lookUp(ctx, client)
}

func (v *verifier) problemCells(i int32) ([]*string, error) {
	l := &v.file.lines[i]
	e, _, err := v.file.event(l)
	if err != nil {
		return nil, err
	}
	p := v.file.problems[i]
	var id, fields *string
	if p.id != "" {
		id = &p.id
	}
	if len(p.fields) > 0 {
		fields = new(strings.Join(p.fields, ", "))
	}
	return []*string{new(strconv.Itoa(l.number)), e.Reference, id, new(l.status.String()), fields}, nil
}

func (v *verifier) writeProblems(out *outputFile) error {
	text := []byte("line,reference,id,status,fields\r\n")
	for i := range v.file.lines {
		if v.file.lines[i].status != lineStored {
			cells, err := v.problemCells(int32(i))
			if err != nil {
				return err
			}
			text = appendRecord(text, cells...)
		}
		if len(text) > 64<<10 {
			if _, err := out.Write(text); err != nil {
				return err
			}
			text = text[:0]
		}
	}
	_, err := out.Write(text)
	return err
}

func (v *verifier) printProblems() {
	printed := 0
	for i := range v.file.lines {
		l := &v.file.lines[i]
		if l.status == lineStored {
			continue
		}
		if printed++; printed > maxPrintedProblems {
			v.printError("more lines are not stored; -o writes all of them")
			return
		}
		text := fmt.Sprintf("%s:%d: %s", v.name, l.number, l.status)
		switch p := v.file.problems[int32(i)]; {
		case p.id != "":
			text += fmt.Sprintf(" from %s: %s", p.id, strings.Join(p.fields, ", "))
		case len(p.fields) > 0:
			text += ": " + strings.Join(p.fields, ", ")
		}
		v.printError(text)
	}
}

func (v *verifier) report() error {
	var counts [lineInvalid + 1]int
	for _, l := range v.file.lines {
		counts[l.status]++
	}
	lines := []string{fmt.Sprintf("%s: %d stored, %d missing, %d different, %d invalid",
		plural(len(v.file.lines), "event"), counts[lineStored], counts[lineMissing], counts[lineDifferent], counts[lineInvalid])}
	if n := v.file.repeated; n > 0 {
		lines = append(lines, fmt.Sprintf("lines that repeat an earlier event: %d", n))
	}
	inFile, stored := &v.file.totals, &v.matches.totals
	storedSums := stored.sums(inFile.currencies()...)
	for i, s := range inFile.sums(stored.currencies()...) {
		text := fmt.Sprintf("%s: %s in the file, %s stored", s.name, s.sum, storedSums[i].sum)
		if difference := s.sum.minus(storedSums[i].sum); !difference.isZero() {
			text += ", difference " + difference.String()
		}
		lines = append(lines, text)
	}
	if _, err := fmt.Fprintln(v.stdout, strings.Join(lines, "\n")); err != nil {
		return fmt.Errorf("write to standard output: %w", err)
	}
	if n := len(v.file.lines) - counts[lineStored]; n > 0 {
		return fmt.Errorf("not stored as in the file: %d of %s", n, plural(len(v.file.lines), "event"))
	}
	return nil
}

func (f *eventFile) explainUnmatched(ctx context.Context) error {
	for i := range f.lines {
		l := &f.lines[i]
		if l.status == lineStored || l.status == lineInvalid {
			continue
		}
		_, text, err := f.event(l)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		found, err := f.violations(ctx, text)
		if err != nil {
			return err
		}
		if len(found) > 0 {
			l.status = lineInvalid
			f.problems[int32(i)] = problem{fields: found}
		}
	}
	return nil
}
