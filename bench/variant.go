package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// dripping is how many slow clients healthy ones are measured beside.
const dripping = 1000

// batchEvents is the size of the batches that are measured.
const batchEvents = 500

// variant is one of the things that are compared.
type variant struct {
	letter      string // what it is called on the command line
	about       string // what it is called in the report
	serve       string // what the server has behind it; empty for the raw loop
	batches     bool   // of batchEvents, instead of single events
	paced       bool   // at half the peak rate of variant c over as many connections
	entries     bool   // of the raw loop: with what events are found by
	dripping    int    // connections beside that send a byte a second
	connections []int  // that are measured where nothing else is asked for
}

const (
	letterEmpty  = "a"
	letterNaive  = "b"
	letterSingle = "c"
	letterBatch  = "d"
	letterRaw    = "e"
	letterMemory = "f"
	letterPaced  = "g"
	letterFound  = "h"
	letterDrip   = "i"
)

func variants() []variant {
	all := []int{1, 8, 64, 256}
	return []variant{
		{letter: letterEmpty, about: "empty net/http handler", serve: serveEmpty, connections: all},
		{letter: letterNaive, about: "naive endpoint on SQLite", serve: serveNaive, connections: all},
		{letter: letterSingle, about: "sqlitestore, single events", serve: serveSQLite, connections: all},
		{letter: letterBatch, about: fmt.Sprintf("sqlitestore, batches of %d", batchEvents), serve: serveSQLite, batches: true, connections: []int{1, 8, 64}},
		{letter: letterRaw, about: fmt.Sprintf("raw INSERT loop, %d a transaction", rawTransaction), connections: []int{1}},
		{letter: letterMemory, about: "memstore, single events", serve: serveMemory, connections: all},
		{letter: letterPaced, about: "sqlitestore, single events at half its peak rate", serve: serveSQLite, paced: true, connections: []int{64}},
		{letter: letterFound, about: "raw INSERT loop with what events are found by", entries: true, connections: []int{1}},
		{letter: letterDrip, about: fmt.Sprintf("sqlitestore, single events, beside %d connections that drip", dripping), serve: serveSQLite, dripping: dripping, connections: []int{8}},
	}
}

// task is a variant over a number of connections.
type task struct {
	variant
	conns int
}

// String is what the task is called on the command line.
func (t task) String() string {
	if t.serve == "" {
		return t.letter
	}
	return t.letter + "@" + strconv.Itoa(t.conns)
}

// queue is how many events have to fit into the queue of sqlitestore so that
// nobody is refused, or 0 where they do by default, which has room for 20,000.
func (t task) queue() int {
	if waiting := t.conns * batchEvents; t.batches && waiting > 20_000 {
		return waiting
	}
	return 0
}

// round returns the tasks of a round, in their order: what is divided by each
// other stands close together, so that both see the machine in the same mood.
func round() []task {
	var tasks []task
	add := func(letter string, connections ...int) {
		for _, v := range variants() {
			if v.letter == letter {
				for _, n := range connections {
					tasks = append(tasks, task{v, n})
				}
			}
		}
	}
	add(letterNaive, 64)
	add(letterSingle, 64)
	add(letterEmpty, 64)
	add(letterMemory, 64)
	add(letterPaced, 64)
	add(letterSingle, 1, 8)
	add(letterDrip, 8)
	add(letterBatch, 8)
	add(letterRaw, 1)
	add(letterFound, 1)
	for _, v := range variants() {
		for _, n := range v.connections {
			if !slices.ContainsFunc(tasks, func(t task) bool { return t.letter == v.letter && t.conns == n }) {
				tasks = append(tasks, task{v, n})
			}
		}
	}
	return tasks
}

// parseTasks reads what -only was given: letters with or without connections.
// They come back in the order of a round.
func parseTasks(text string) ([]task, error) {
	var tasks []task
	for name := range strings.SplitSeq(text, ",") {
		letter, connections, given := strings.Cut(strings.TrimSpace(name), "@")
		i := slices.IndexFunc(variants(), func(v variant) bool { return v.letter == letter })
		if i < 0 {
			return nil, fmt.Errorf("must be variants such as c@64,a@64 with letters from a to i, not %q", name)
		}
		v := variants()[i]
		wanted := v.connections
		if given {
			n, err := strconv.Atoi(connections)
			if err != nil || n < 1 || n > maxConnections {
				return nil, fmt.Errorf("must have a number of connections from 1 to %d after the @, not %q", maxConnections, name)
			}
			wanted = []int{n}
		}
		for _, n := range wanted {
			if !slices.ContainsFunc(tasks, func(t task) bool { return t.letter == v.letter && t.conns == n }) {
				tasks = append(tasks, task{v, n})
			}
		}
	}
	order := round()
	at := func(t task) int {
		i := slices.IndexFunc(order, func(o task) bool { return o.letter == t.letter && o.conns == t.conns })
		if i < 0 {
			return len(order) // a number of connections that is not measured otherwise
		}
		return i
	}
	slices.SortStableFunc(tasks, func(a, b task) int { return at(a) - at(b) })
	for _, t := range tasks {
		if t.paced && !slices.ContainsFunc(tasks, func(o task) bool { return o.letter == letterSingle && o.conns == t.conns }) {
			return nil, fmt.Errorf("must have %s@%d for %s to know the peak rate", letterSingle, t.conns, t)
		}
	}
	return tasks, nil
}

// maxConnections is what the number of a connection has room for, and more than
// a load can make sense of.
const maxConnections = 1024
