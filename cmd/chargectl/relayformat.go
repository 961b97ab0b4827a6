package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"example.com/chargeingest/relay"
)

func (c *relayCommand) print(text string) error {
	if _, err := c.stdout.Write([]byte(text)); err != nil {
		return fmt.Errorf("write to standard output: %w", err)
	}
	return nil
}

func (c *relayCommand) printJSON(texts []json.RawMessage) error {
	var lines []byte
	for _, text := range texts {
		if c.isTerminal(c.stdout) {
			text = escapeForTerminal(nil, text)
		}
		lines = append(append(lines, text...), '\n')
	}
	return c.print(string(lines))
}

func (c *relayCommand) printChanged(action relay.Action, n int64) error {
	if c.asJSON {
		return c.print(fmt.Sprintf("{\"changed\":%d}\n", n))
	}
	text := map[relay.Action]string{
		relay.Retry:  fmt.Sprintf("%s will be sent again to %s\n", count(n, "event"), cell(&c.destination)),
		relay.Skip:   fmt.Sprintf("%s skipped for %s\n", count(n, "event"), cell(&c.destination)),
		relay.Retire: fmt.Sprintf("%s is retired\n", cell(&c.destination)),
	}
	return c.print(text[action])
}

func count(n int64, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprint(n, " ", noun)
}

func instantCell(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

func reasonCell(r relay.Reason) string {
	text := strings.ReplaceAll(r.String(), "\n", " ")
	return cell(&text)
}

func streamsTable(streams []relay.Status) string {
	if len(streams) == 0 {
		return "no relay has delivered events of this platform\n"
	}
	var b, notes strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "DESTINATION\tSTATE\tLAG\tOLDEST\tPARKED\tDEAD\tSKIPPED\tDELIVERED\tREPEATED\tLAST EVENT")
	for _, s := range streams {
		state, lag, name := "up", fmt.Sprint(s.Lag), cell(&s.Destination)
		if s.Lag < 0 {
			lag = "unknown"
		}
		switch {
		case !s.RetiredAt.IsZero():
			state = "retired"
			fmt.Fprintf(&notes, "%s: retired by %s at %s\n", name, cell(&s.RetiredBy), instantCell(s.RetiredAt))
		case s.Failure != "":
			state = "down"
			fmt.Fprintf(&notes, "%s: down since %s: %s\n", name, instantCell(s.FailingSince), cell(&s.Failure))
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%s\n", name, state, lag, instantCell(s.OldestPending),
			s.Parked, s.Dead, s.Skipped, s.Delivered, s.Repeated, cell(&s.LastEventID))
	}
	_ = table.Flush()
	return b.String() + notes.String()
}

// entriesTable has fixed widths: the pages follow each other.
func entriesTable(entries []relay.Entry) string {
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "%-31s  %-9s  %s  %12s  %s\n", cell(&e.EventID), e.State, instantCell(e.Since),
			count(int64(e.Attempts), "attempt"), reasonCell(e.Reason))
	}
	return b.String()
}

func attemptsTable(destination string, entries []relay.Entry) string {
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "%s: %s, %s", cell(&destination), e.State, count(int64(e.Attempts), "attempt"))
		if !e.NextAttempt.IsZero() {
			fmt.Fprintf(&b, ", next at %s", instantCell(e.NextAttempt))
		}
		b.WriteByte('\n')
		for _, a := range e.History {
			what := reasonCell(a.Reason)
			if a.By != "" {
				what = "by " + cell(&a.By)
			}
			fmt.Fprintf(&b, "  %s  %-9s  %s\n", instantCell(a.At), a.Outcome, what)
		}
	}
	return b.String()
}
