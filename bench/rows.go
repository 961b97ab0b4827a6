package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

const (
	batchEvents       = 500
	transactionEvents = 512
	maxConnections    = 1024
)

type row struct {
	letter    string
	about     string
	backend   string
	conns     int // HTTP connections; 0 without HTTP
	processes int // that share the connections; 0 means 1
	batch     int // per request, or per transaction without HTTP; 0 means 1
	callers   int // concurrent, without HTTP; 0 means 1
	inspected bool
	relayed   bool // with a relay to a destination
	halfRate  bool
	rate      float64
}

func (r row) name() string {
	if r.conns == 0 {
		return r.letter
	}
	return r.letter + "@" + strconv.Itoa(r.conns)
}

func (r row) over(conns int) row {
	r.conns = conns
	return r
}

func (r row) behindInspector(letter string) row {
	r.letter, r.about, r.inspected = letter, r.about+", behind the inspector", true
	return r
}

func (r row) withRelay(letter string) row {
	r.letter, r.about, r.relayed = letter, r.about+", with the relay running", true
	return r
}

func (r row) atHalfRate(letter string) row {
	r.letter, r.about, r.halfRate = letter, r.about+", at half the rate", true
	return r
}

func singleEvents() row {
	return row{letter: "c", about: "sqlitestore, single events", backend: backendSQLite}
}

// Rows to compare are close: the machine is in the same state.
func compareRows() []row {
	empty := row{letter: "a", about: "empty net/http handler", backend: backendEmpty}
	naive := row{letter: "b", about: "endpoint written by hand, on SQLite", backend: backendNaive}
	batches := row{
		letter: "d", about: fmt.Sprintf("sqlitestore, batches of %d", batchEvents),
		backend: backendSQLite, batch: batchEvents,
	}
	memory := row{letter: "f", about: "memstore, single events", backend: backendMemory}
	return []row{
		singleEvents().over(1), memory.behindInspector("o").over(64), memory.over(64), empty.over(64),
		singleEvents().behindInspector("n").over(64), singleEvents().over(64),
		singleEvents().atHalfRate("s").over(64), singleEvents().withRelay("p").over(64), naive.over(64),
		singleEvents().over(256), batches.over(8),
		{letter: "e", about: fmt.Sprintf("INSERT loop, %d per transaction, events table only", transactionEvents), backend: backendInsertEvents, batch: transactionEvents},
		{letter: "q", about: "relay that catches up, over HTTP", backend: backendRelay, relayed: true},
		{letter: "r", about: fmt.Sprintf("sink of the relay alone, batches of %d", relayBatch), backend: backendRelaySink, relayed: true},
	}
}

func postgresRows() []row {
	one := row{letter: "h", about: "pgstore, one process", backend: backendPostgres}
	batches := row{
		letter: "t", about: fmt.Sprintf("pgstore, one process, batches of %d", batchEvents),
		backend: backendPostgres, batch: batchEvents,
	}
	four := row{letter: "i", about: "pgstore, four processes", backend: backendPostgres, processes: 4}
	naive := row{letter: "j", about: "one transaction per request", backend: backendPostgresNaive}
	loop := func(letter string, batch int) row {
		return row{
			letter: letter, about: fmt.Sprintf("INSERT loop, %d per transaction", batch),
			backend: backendPostgresInsert, batch: batch,
		}
	}
	return []row{
		naive.over(64), one.over(64),
		{
			letter: "k", about: fmt.Sprintf("pgstore without HTTP, %d callers", postgresCallers),
			backend: backendPostgresCalls, callers: postgresCallers,
		},
		loop("l", postgresCallers), four.over(64), loop("m", transactionEvents), batches.over(8), one.over(1), one.over(256),
	}
}

func selectRows(rows []row, list string) ([]row, error) {
	if list == "" {
		return rows, nil
	}
	var selected []row
	isSelected := func(name string) bool {
		return slices.ContainsFunc(selected, func(s row) bool { return s.name() == name })
	}
	for name := range strings.SplitSeq(list, ",") {
		letter, number, numbered := strings.Cut(strings.TrimSpace(name), "@")
		named := slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return r.letter != letter })
		if len(named) == 0 {
			return nil, fmt.Errorf("no row %q; see -help", name)
		}
		if numbered {
			conns, err := strconv.Atoi(number)
			if err != nil || conns < max(1, named[0].processes) || conns > maxConnections || named[0].conns == 0 {
				return nil, fmt.Errorf("%q: connections of a server row must be from 1 to %d", name, maxConnections)
			}
			named = []row{named[0].over(conns)}
		}
		for _, r := range named {
			if r.halfRate && !isSelected("c@64") {
				return nil, errors.New("the row s needs c@64 before it")
			}
			if !isSelected(r.name()) {
				selected = append(selected, r)
			}
		}
	}
	return selected, nil
}
