package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"example.com/chargeingest/internal/userpath"
)

// options are what both commands are asked for.
type options struct {
	dir     string
	seed    uint64
	version int
	rounds  int
	time    time.Duration
	report  string

	// Of the comparison alone.
	tasks   []task
	profile string
	chart   string

	// Of growth alone.
	events, soak, lists int64
}

const compareAbout = `usage: bench [options]

Measures the charge event handler and what it is to be compared with, in turn and
in rounds, so that a machine that slows down slows all alike:

  a  an empty net/http handler that reads the body and answers 201
  b  an endpoint as one writes it by hand: encoding/json, JSON Schema, one INSERT
     in a transaction of its own
  c  this package on sqlitestore, single events
  d  the same, batches of %d events
  e  a loop of prepared INSERTs into the events table of sqlitestore, without HTTP
  f  this package on memstore, single events
  g  c at half of its peak rate in the same round
  h  e, and with each event the entries of the table lookup that it is found by,
     which sqlitestore writes later
  i  c beside %d connections that send a byte of their header each second

Servers and load are processes of their own that talk over loopback TCP. Each
measurement has a new database with journal_mode=WAL and synchronous=FULL, and
counts only if afterwards the database holds exactly the events that were
acknowledged. Standard output has the report in Markdown, standard error the
progress. CPU and memory of the other processes are known on Linux alone; where
they are not, the CPU time is that of the server's whole life, and memory is "–".

"bench growth -help" explains the long form, "bench postgres -help" that of
pgstore. Exit status: 0 for a report, whether
its targets are met or not, 1 for a failure, 2 for a mistake in the options.

options:
`

const growthAbout = `usage: bench growth [options]

Measures what becomes of the server as its database grows: fills one with events
through the batch route, once with references that are ordered in time (UUIDv7)
and once with random ones (UUIDv4); compares single events, 64 connections, with
an empty database in rounds; lists; opens; and looks at the memory of the server
through a long run. Without options it takes about a quarter of an hour and some
10 GB of disk. What is stored is verified as in "bench", with SQLite's quick_check
in place of its integrity_check where there are more than 500,000 events.

options:
`

// parseCompare reads the command line of the comparison. The error is a
// *usageError or flag.ErrHelp.
func parseCompare(args []string, out io.Writer) (options, error) {
	var o options
	var only string
	flags := o.common(3, 2*time.Second)
	flags.IntVar(&o.version, "uuid", 4, "the `version` of the UUIDs that are the references: 4, random, or 7, ordered in time")
	flags.StringVar(&only, "only", "", "measure these `variants` only, such as c@64,a@64: the letter and, behind an @, the connections")
	flags.StringVar(&o.profile, "profile", "", "write CPU profiles of the servers of c, d, f and g into this `folder`, which costs a little of their speed")
	flags.StringVar(&o.chart, "chart", "", "write a chart, SVG, to this `file`; \"none\" for none (default bench/chart.svg where the folder is there and -only is not given)")
	if err := parseFlags(flags, args, fmt.Sprintf(compareAbout, batchEvents, dripping), out); err != nil {
		return o, err
	}
	if err := o.check(); err != nil {
		return o, err
	}
	if o.version != 4 && o.version != 7 {
		return o, usagef("-uuid: must be 4 or 7, not %d", o.version)
	}
	o.tasks = round()
	if only != "" {
		var err error
		if o.tasks, err = parseTasks(only); err != nil {
			return o, usagef("-only: %w", err)
		}
	}
	switch info, err := os.Stat("bench"); {
	case o.chart == "none":
		o.chart = ""
	case o.chart == "" && only == "" && err == nil && info.IsDir():
		o.chart = filepath.Join("bench", "chart.svg")
	}
	return o, nil
}

// parseGrowth reads the command line of growth, likewise.
func parseGrowth(args []string, out io.Writer) (options, error) {
	var o options
	flags := o.common(3, 3*time.Second)
	flags.Int64Var(&o.events, "events", 5_000_000, "how `many` events the database is filled with")
	flags.Int64Var(&o.soak, "soak", 2_000_000, "how `many` single events the long run sends")
	flags.Int64Var(&o.lists, "lists", 2000, "how `many` pages are asked for")
	if err := parseFlags(flags, args, growthAbout, out); err != nil {
		return o, err
	}
	if o.events < batchEvents || o.soak < 1 || o.lists < 1 {
		return o, usagef("-events must be at least %d, -soak and -lists at least 1", batchEvents)
	}
	return o, o.check()
}

// common defines the flags that both commands have.
func (o *options) common(rounds int, each time.Duration) *flag.FlagSet {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	flags.IntVar(&o.rounds, "rounds", rounds, "how often everything is measured, 1 to 100; the report has the medians")
	flags.DurationVar(&o.time, "time", each, "how long each measurement takes, without its warm-up, 10ms to 10m")
	flags.StringVar(&o.dir, "dir", "", "a `folder` on the disk to measure; databases go into a new one in there, which is removed (default the system's for temporary files)")
	flags.Uint64Var(&o.seed, "seed", 1, "what bodies and references are made from; equal seeds send equal bodies")
	flags.StringVar(&o.report, "report", "", "write the report to this `file`, too")
	return flags
}

func parseFlags(flags *flag.FlagSet, args []string, about string, out io.Writer) error {
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(out)
		if _, err := io.WriteString(out, about); err != nil {
			return err
		}
		flags.PrintDefaults()
		return flag.ErrHelp
	}
	if err != nil {
		return &usageError{err}
	}
	if flags.NArg() > 0 {
		return usagef("unexpected argument %q; -help explains", flags.Arg(0))
	}
	return nil
}

// check returns an error that names the flag that is wrong.
func (o *options) check() error {
	switch {
	case o.rounds < 1 || o.rounds > 100:
		return usagef("-rounds: must be a number from 1 to 100, not %d", o.rounds)
	case o.time < 10*time.Millisecond || o.time > 10*time.Minute:
		return usagef("-time: must be from 10ms to 10m, not %v", o.time)
	}
	// Now, and not when all is measured.
	for name, path := range map[string]string{"-dir": o.dir, "-profile": o.profile, "-report": o.report, "-chart": o.chart} {
		if err := userpath.Check(path); err != nil {
			return usagef("%s: %w", name, err)
		}
	}
	for name, path := range map[string]string{"-report": o.report, "-chart": o.chart} {
		if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
			return usagef("%s: there is no folder for %s", name, path)
		}
	}
	return nil
}
