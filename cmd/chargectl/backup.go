package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"example.com/chargeingest/internal/cli"
	"example.com/chargeingest/internal/userpath"
	"example.com/chargeingest/sqlitestore"
)

const backupAbout = `Copies the database to the new file OUT, while a server runs or not, and after a crash
with the events that are only in the write-ahead log. Every event that was acknowledged
before the start is in the copy. OUT must not exist. It gets mode 0600, appears only when
it is checked and synced, and can be restored with chargectl restore.

The write-ahead log grows while a backup runs, and a server cannot start. A failed or
interrupted backup leaves nothing. A killed one leaves .OUT-draft-* next to OUT, which
the next backup to OUT removes.

Exit status: 0 if OUT is complete, 1 if not, 2 for an invalid option.`

func (p *program) backup(ctx context.Context, args []string) error {
	var db string
	cmd := &cli.Command{Synopsis: "chargectl backup OUT", About: backupAbout, Options: []cli.Option{databaseOption(&db)}}
	arguments, err := cmd.Parse(args, p.lookupEnv, p.stdout)
	switch {
	case err != nil:
		return err
	case len(arguments) != 1:
		return cli.Usagef("backup: one OUT must be given, not %d", len(arguments))
	case db == "":
		return errNoDatabase("backup")
	}
	out := arguments[0]
	if err := userpath.Check(out); err != nil {
		return cli.Usagef("backup: OUT %w", err)
	}
	started := p.now()
	contents, err := sqlitestore.Backup(ctx, db, out)
	if err != nil {
		return interruptedOr(ctx, "backup", err)
	}
	info, err := os.Stat(out) //nolint:gosec // the operator names the file
	if err != nil {
		return err
	}
	return p.printLines(fmt.Sprintf("%s: %s, %s, integrity check passed, %s",
		out, plural(contents.Events, "event"), bytesText(info.Size()), p.now().Sub(started).Round(time.Millisecond)))
}

func interruptedOr(ctx context.Context, command string, err error) error {
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return fmt.Errorf("%s: interrupted", command)
	}
	return err
}

func databaseOption(dst *string) cli.Option {
	return cli.Option{
		Name: "db", Env: "CHARGEINGEST_DB", Argument: "PATH", Usage: "SQLite database of the server, required",
		Set: databasePath(dst),
	}
}

func databasePath(dst *string) func(string) error {
	return func(value string) error {
		*dst = value
		if value == "memory" || strings.HasPrefix(value, "postgres://") || strings.HasPrefix(value, "postgresql://") {
			return errors.New("must be the path of a SQLite file; for PostgreSQL use pg_dump and pg_restore")
		}
		return userpath.Check(value)
	}
}

func errNoDatabase(command string) error {
	return cli.Usagef("%s: -db or CHARGEINGEST_DB must be given", command)
}

func (p *program) printLines(lines ...string) error {
	var b strings.Builder
	for _, line := range lines {
		cli.PrintLine(&b, line)
	}
	if _, err := io.WriteString(p.stdout, b.String()); err != nil {
		return fmt.Errorf("write to standard output: %w", err)
	}
	return nil
}

func bytesText(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d bytes", n)
	}
	value, unit := float64(n)/1e3, "KB"
	for _, next := range []string{"MB", "GB", "TB"} {
		if value < 1e3 {
			break
		}
		value, unit = value/1e3, next
	}
	return fmt.Sprintf("%.1f %s", value, unit)
}
