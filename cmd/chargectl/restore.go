package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"example.com/chargeingest/internal/cli"
	"example.com/chargeingest/internal/userpath"
	"example.com/chargeingest/sqlitestore"
)

const restoreAbout = `Replaces the database with a copy of BACKUP. Stop the server first. Restore checks the
backup before it changes anything, and refuses an incomplete one, such as a plain copy of
a running server's file. The write-ahead log next to a backup, if any, is used.

Nothing is deleted: the old database, its write-ahead log and its state file are moved to
PATH.before-restore-TIME. BACKUP is unchanged. The new database has the owner and mode of
the old one, or mode 0600.

If restore is interrupted while it moves files, the server does not start; run it again.

Exit status: 0 if the database was replaced, 1 if not, 2 for an invalid option.`

func (p *program) restore(ctx context.Context, args []string) error {
	var db, from string
	cmd := &cli.Command{Synopsis: "chargectl restore", About: restoreAbout, Options: []cli.Option{
		{Name: "from", Argument: "BACKUP", Usage: "backup to restore, required", Set: func(value string) error {
			from = value
			return userpath.Check(value)
		}},
		databaseOption(&db),
	}}
	arguments, err := cmd.Parse(args, p.lookupEnv, p.stdout)
	switch {
	case err != nil:
		return err
	case len(arguments) > 0:
		return cli.Usagef("restore: unexpected argument %q", arguments[0])
	case from == "":
		return cli.Usagef("restore: -from must be given")
	case db == "":
		return errNoDatabase("restore")
	}
	restored, err := sqlitestore.Restore(ctx, from, db)
	if err != nil {
		return interruptedOr(ctx, "restore", err)
	}
	info, err := os.Stat(db)
	if err != nil {
		return err
	}
	var lines []string
	if restored.MovedTo != "" {
		lines = append(lines, fmt.Sprintf("moved to %s: %s", restored.MovedTo, strings.Join(restored.Moved, ", ")))
	}
	return p.printLines(append(lines,
		fmt.Sprintf("%s: restored from %s: %s, %s, integrity check passed", db, from, plural(restored.Events, "event"), bytesText(info.Size())),
		"next: start the server, and start every follower again without a position; with a position from before the restore, it can miss events",
	)...)
}
