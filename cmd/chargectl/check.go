package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"example.com/chargeingest/internal/cli"
	"example.com/chargeingest/sqlitestore"
)

const checkAbout = `Checks a database or a backup, while a server runs or not, and prints what it holds. It
creates and changes no file. It compares the database with its write-ahead log and its
state file, runs SQLite's integrity check, and checks the tables that find duplicates. It
cannot detect changed bytes inside the text of an event.

The write-ahead log grows while a check runs, and a server cannot start.

Exit status: 0 if the database is intact, 1 if not, 2 for an invalid option.`

func (p *program) check(ctx context.Context, args []string) error {
	var db string
	cmd := &cli.Command{Synopsis: "chargectl check", About: checkAbout, Options: []cli.Option{databaseOption(&db)}}
	arguments, err := cmd.Parse(args, p.lookupEnv, p.stdout)
	switch {
	case err != nil:
		return err
	case len(arguments) > 0:
		return cli.Usagef("check: unexpected argument %q", arguments[0])
	case db == "":
		return errNoDatabase("check")
	}
	report, err := sqlitestore.Check(ctx, db)
	if err != nil {
		return interruptedOr(ctx, "check", err)
	}
	lines := reportLines(&report)
	for _, problem := range report.Problems {
		lines = append(lines, "problem: "+problem.Error())
	}
	if len(report.Problems) == 0 {
		lines = append(lines, "no problems found")
	}
	if err := p.printLines(lines...); err != nil {
		return err
	}
	if n := len(report.Problems); n > 0 {
		return fmt.Errorf("check: problems found in %s: %d", db, n)
	}
	return nil
}

func reportLines(r *sqlitestore.Report) []string {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(name, format string, values ...any) { _, _ = fmt.Fprintf(table, name+"\t"+format+"\n", values...) }
	row("server", "%s", map[bool]string{true: "has the database open", false: "does not have the database open"}[r.InUse])
	row("database file", "%s (%d bytes)", bytesText(r.DatabaseBytes), r.DatabaseBytes)
	row("write-ahead log", "%s", walText(r))
	row("state file", "%s", stateText(r))
	if r.SchemaVersion > 0 {
		row("unused pages", "%s", bytesText(r.UnusedBytes))
		row("schema version", "%d", r.SchemaVersion)
		row("events", "%d, the newest has number %d", r.Events, r.NewestNumber)
		row("idempotency keys", "%d", r.IdempotencyKeys)
		for _, c := range r.Platforms {
			row("platform", "%s: %s, %s", c.Name, plural(c.Events, "event"), plural(c.IdempotencyKeys, "idempotency key"))
		}
		for _, e := range []struct {
			name string
			info *sqlitestore.EventInfo
		}{{"first event", r.First}, {"last event", r.Last}} {
			if e.info != nil {
				row(e.name, "%s, received at %s", e.info.ID, e.info.ReceivedAt.Format(time.RFC3339Nano))
			}
		}
	}
	_ = table.Flush()
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

func walText(r *sqlitestore.Report) string {
	if !r.HasWAL {
		return "none"
	}
	return fmt.Sprintf("%s, %d pages", bytesText(r.WALBytes), r.WALFrames)
}

func stateText(r *sqlitestore.Report) string {
	switch {
	case !r.HasState:
		return "none"
	case !r.StateMatches:
		return "belongs to another database, which was last open at this path"
	}
	return fmt.Sprintf("matches; an event with number %d or later was acknowledged", r.AcknowledgedNumber)
}
