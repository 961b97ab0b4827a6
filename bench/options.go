package main

import (
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"time"

	"example.com/chargeingest/internal/userpath"
)

type options struct {
	dir    string
	seed   uint64
	rounds int
	time   time.Duration
	rows   []row  // of compare and postgres
	chart  string // of compare
	events int64  // of growth, and of the relay in compare
}

const compareHelp = `usage: bench [flags]

Measures these rows in turn, in rounds, so that a slow moment of the machine slows
all rows alike:

  a  an empty net/http handler that reads the body and responds with 201
  b  an endpoint written by hand: encoding/json, JSON Schema, one INSERT per request
  c  the charge event handler on sqlitestore, single events
  d  the same, batches of %d events
  e  a loop of INSERTs into the events table of sqlitestore, without HTTP
  f  the charge event handler on memstore, single events
  n  c, behind the middleware of package inspector
  o  f, behind the middleware of package inspector
  p  c, while a relay sends the events, over HTTP, to a process that only counts them
  q  a relay that catches up on stored events, in batches of %d to the same process
  r  the HTTP sink of q without the relay
  s  c, at half the rate of c@64
` + commonHelp

const postgresHelp = `usage: bench postgres [flags]

Starts a PostgreSQL server with default settings from the binaries of this machine,
and measures these rows in turn, in rounds:

  h  the charge event handler on pgstore, one process, single events
  i  the same, four processes
  j  the charge event handler on a store that runs one transaction per request
  k  pgstore without HTTP, %d concurrent callers
  l  a loop of the INSERT statement of pgstore, %d events per transaction
  m  the same, %d events per transaction
  t  h, batches of %d events
` + commonHelp

const growthHelp = `usage: bench growth [flags]

Fills a sqlitestore database through the batch route, measures single events in
rounds, in turn with an empty database, and lists the first page of customers.
Does so once with references that are ordered in time (UUIDv7) and once with
random references (UUIDv4). Five million events need 5 GB of disk.
` + commonHelp

const commonHelp = `
Servers and load generators are separate processes that talk over loopback TCP.
Each measurement has a new database (journal_mode=WAL and synchronous=FULL for
SQLite; fsync and synchronous_commit for PostgreSQL). A measurement fails if the
database does not hold exactly the acknowledged events afterwards.

The report, in Markdown, is written to standard output, the progress to standard
error. CPU time and memory are measured on Linux only. Exit status: 0 for a
report, 1 for a failure, 2 for a wrong flag.

flags:
`

func (o *options) flags() *flag.FlagSet {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	flags.IntVar(&o.rounds, "rounds", 3, "how often each row is measured, 1 to 100; the report shows medians")
	flags.DurationVar(&o.time, "time", 3*time.Second, "length of a measurement after its warm-up, 10ms to 10m")
	flags.StringVar(&o.dir, "dir", "",
		"`directory` for the databases, on the disk to measure (default the system's temporary directory)")
	flags.Uint64Var(&o.seed, "seed", 1, "seed of request bodies and references; equal seeds send equal bodies")
	return flags
}

func (o *options) parseRowFlags(flags *flag.FlagSet, args []string, help string, rows []row, out io.Writer) error {
	only := flags.String("only", "",
		"measure these `rows`, in this order, such as c@64,d@8: the letter and, after an @, the connections")
	if err := o.parse(flags, args, help, out); err != nil {
		return err
	}
	var err error
	if o.rows, err = selectRows(rows, *only); err != nil {
		return usagef("-only: %w", err)
	}
	return nil
}

func (o *options) parse(flags *flag.FlagSet, args []string, help string, out io.Writer) error {
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = io.WriteString(out, help)
		flags.SetOutput(out)
		flags.PrintDefaults()
		return flag.ErrHelp
	case err != nil:
		return &usageError{err}
	case flags.NArg() > 0:
		return usagef("unexpected argument %q; see -help", flags.Arg(0))
	case o.rounds < 1 || o.rounds > 100:
		return usagef("-rounds: must be from 1 to 100, but is %d", o.rounds)
	case o.time < 10*time.Millisecond || o.time > 10*time.Minute:
		return usagef("-time: must be from 10ms to 10m, but is %v", o.time)
	}
	for name, path := range map[string]string{"-dir": o.dir, "-chart": o.chart} {
		if err := userpath.Check(path); err != nil {
			return usagef("%s: %w", name, err)
		}
	}
	if info, err := os.Stat(filepath.Dir(o.chart)); err != nil || !info.IsDir() {
		return usagef("-chart: no directory for %s", o.chart)
	}
	return nil
}
