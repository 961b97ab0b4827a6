// Package storemodel runs random steps against a store and compares every
// result with a brute-force model: a slice of events that is searched from its
// beginning.
//
// A program is a slice of bytes that are read as choices, so that a fuzz target
// and a seeded random test run the same steps. A store plugs in by filling a
// [Subject].
package storemodel

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"example.com/chargeingest"
)

// Store is the store under test.
type Store interface {
	chargeingest.EventStore
	chargeingest.EventReader
}

// Subject is an empty store and what can be done to it. A nil function leaves
// its step out. The functions are called one at a time.
type Subject struct {
	Store Store

	// Prune deletes what was received before a time, to the millisecond, and
	// returns how many events it deleted. A key goes with its events once the
	// request and all of them are that old; until then they stay.
	Prune func(ctx context.Context, before time.Time) (deleted int64, err error)

	// Reopen closes the store and opens it again.
	Reopen func(ctx context.Context) (Store, error)

	// Copy makes a backup, closes the store and opens the backup.
	Copy func(ctx context.Context) (Store, error)

	// Fail makes one of the next writes fail in a way that depends on n, from 0
	// to 255. Append and Prune may return errors until heal is called.
	Fail func(n int) (heal func())

	// Verify checks what only the store can know, such as its indexes.
	Verify func() error
}

// Steps is how many steps a random program has.
const Steps = 250

// choicesPerStep is more than a step of average size takes.
const choicesPerStep = 40

// Test runs random programs of [Steps] steps, each on a new subject. A failing
// program is repeated with the seed in its name and one round.
func Test(t *testing.T, rounds int, seed uint64, open func(*testing.T) Subject) {
	for i := range rounds {
		seed := seed + uint64(i)
		ok := t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a repeatable sequence is wanted
			program := make([]byte, Steps*choicesPerStep)
			for i := range program {
				program[i] = byte(random.UintN(256))
			}
			Run(t, program, Steps, open(t))
		})
		if !ok {
			return
		}
	}
}

// Run runs a program until its choices are used up, of at most so many steps.
func Run(t *testing.T, program []byte, steps int, s Subject) {
	t.Helper()
	r := &run{t: t, choices: program, subject: s, now: time.Date(2026, 3, 1, 12, 0, 0, 987_654_321, time.UTC)}
	for ; steps > 0 && len(r.choices) > 0; steps-- {
		r.step()
	}
	r.recover()
	r.compareAll()
}

// run is the state of a program.
type run struct {
	t       *testing.T
	choices []byte
	subject Subject
	model   model
	now     time.Time
	policy  chargeingest.DuplicatePolicy
	unique  int // references that were made up so far
	cursors []cursor
	heal    func() // set while writes may fail
	copies  int
	trace   []string
}

// pick returns a number below n, at most 256.
func (r *run) pick(n int) int {
	if len(r.choices) == 0 {
		return 0
	}
	b := r.choices[0]
	r.choices = r.choices[1:]
	return int(b) % n
}

// chance reports true once in n times.
func (r *run) chance(n int) bool { return r.pick(n) == n-1 }

func (r *run) platform() string { return platforms()[r.pick(len(platforms()))] }

func platforms() []string { return []string{"acme", "globex", "p"} }

// log records a step for the failure message.
func (r *run) log(format string, arguments ...any) {
	r.trace = append(r.trace, fmt.Sprintf(format, arguments...))
}

// failf ends the program.
func (r *run) failf(format string, arguments ...any) {
	r.t.Helper()
	last := r.trace[max(0, len(r.trace)-30):]
	r.t.Fatalf("step %d: %s\nthe last steps:\n%s", len(r.trace), fmt.Sprintf(format, arguments...), strings.Join(last, "\n"))
}

// maxCopies bounds the steps that take long.
const maxCopies = 20

func (r *run) step() {
	switch r.pick(24) {
	case 0, 1, 2, 3, 4:
		r.append(1)
	case 5, 6, 7, 8:
		r.append(1 + r.pick(7))
	case 9, 10, 11:
		r.list()
	case 12, 13:
		r.resume()
	case 14:
		r.pageThrough()
	case 15:
		r.get()
	case 16, 17:
		r.prune()
	case 18:
		r.swap("reopen", r.subject.Reopen)
	case 19:
		if r.chance(3) {
			r.swap("copy", r.subject.Copy)
		}
	case 20:
		r.now = r.now.Add(time.Duration(r.pick(256)*r.pick(256)-8192) * 7 * time.Millisecond)
		r.log("now %s", r.now.Format(time.RFC3339Nano))
	case 21:
		if r.chance(3) {
			years := r.pick(25) - 12
			r.now = clamp(r.now.AddDate(years, 0, 0))
			r.log("now %s", r.now.Format(time.RFC3339Nano))
		}
	case 22:
		r.policy = 1 - r.policy
		r.log("policy %d", r.policy)
	case 23:
		if r.subject.Fail != nil && r.heal == nil {
			n := r.pick(256)
			r.log("fail %d", n)
			r.heal = r.subject.Fail(n)
		}
	}
	r.compareSome()
}

// clamp keeps the clock in the years that every store can keep.
func clamp(t time.Time) time.Time {
	first, last := time.Unix(0, 0).UTC(), time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
	if t.Before(first) {
		return first
	}
	if t.After(last) {
		return last
	}
	return t
}

// recover ends the time in which writes may fail.
func (r *run) recover() {
	if r.heal != nil {
		r.heal()
		r.heal = nil
	}
}

// swap goes on with the store that open returns.
func (r *run) swap(name string, open func(context.Context) (Store, error)) {
	if open == nil || r.copies == maxCopies {
		return
	}
	r.copies++
	r.recover()
	r.log("%s", name)
	store, err := open(r.t.Context())
	if err != nil {
		r.failf("%s: %v", name, err)
	}
	r.subject.Store = store
	r.compareAll()
}

func (r *run) prune() {
	if r.subject.Prune == nil || r.chance(2) {
		return
	}
	before := r.cutOff()
	r.log("prune before %s", before.Format(time.RFC3339Nano))
	deleted, err := r.subject.Prune(r.t.Context(), before)
	failed := err != nil && r.heal != nil
	if failed {
		r.recover()
		_, err = r.subject.Prune(r.t.Context(), before)
	}
	if err != nil {
		r.failf("Prune: %v", err)
	}
	if want := r.model.prune(before); !failed && deleted != want {
		r.failf("Prune deleted %d events, want %d", deleted, want)
	}
	r.verify()
}

// cutOff returns a time before which to prune.
func (r *run) cutOff() time.Time {
	switch kind := r.pick(8); {
	case kind == 0:
		return r.now.AddDate(30, 0, 0)
	case kind == 1:
		return r.now.AddDate(-r.pick(12), 0, 0)
	case kind == 2 || len(r.model.events) == 0:
		return r.now.Add(-time.Duration(r.pick(256)) * time.Second)
	default:
		n := len(r.model.events)
		i := r.pick(256) % n
		if kind > 4 { // near the newest, whose entries stores may not have merged
			i = max(0, n-1-r.pick(16))
		}
		at := r.model.events[i].sent.ReceivedAt
		return at.Add([]time.Duration{0, 1, time.Millisecond, -time.Millisecond}[r.pick(4)])
	}
}
