// Package storemodel compares a store with a simple model in random steps.
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

// Subject is an empty store with optional functions.
type Subject struct {
	Store Store

	// Prune deletes events and keys received before a time, to the millisecond, and returns
	// the number of deleted events. A key and its events stay until all are that old.
	Prune func(ctx context.Context, before time.Time) (deleted int64, err error)

	Reopen func(ctx context.Context) (Store, error)

	// Copy makes a backup, closes the store and opens the backup.
	Copy func(ctx context.Context) (Store, error)

	// Fail makes one of the next writes fail; n from 0 to 255 selects how. Append and Prune
	// may return errors until heal is called.
	Fail func(n int) (heal func())

	// Verify checks internal invariants.
	Verify func() error
}

// Steps is the length of a random program.
const Steps = 250

const choicesPerStep = 40

// Test runs random programs. Repeat a failure with its seed and one round.
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

// Run runs at most steps steps.
func Run(t *testing.T, program []byte, steps int, s Subject) {
	t.Helper()
	r := &run{t: t, choices: program, subject: s, now: time.Date(2026, 3, 1, 12, 0, 0, 987_654_321, time.UTC)}
	for ; steps > 0 && len(r.choices) > 0; steps-- {
		r.step()
	}
	r.recoverWrites()
	r.compareAll()
}

type run struct {
	t                *testing.T
	choices          []byte
	subject          Subject
	model            model
	now              time.Time
	policy           chargeingest.DuplicatePolicy
	uniqueReferences int
	cursors          []cursor
	heal             func() // not nil while writes may fail
	replacements     int
	trace            []string
}

func (r *run) choose(n int) int {
	if len(r.choices) == 0 {
		return 0
	}
	b := r.choices[0]
	r.choices = r.choices[1:]
	return int(b) % n
}

func (r *run) oneIn(n int) bool { return r.choose(n) == n-1 }

func (r *run) platform() string { return platforms()[r.choose(len(platforms()))] }

func platforms() []string { return []string{"acme", "globex", "p"} }

func (r *run) log(format string, arguments ...any) {
	r.trace = append(r.trace, fmt.Sprintf(format, arguments...))
}

func (r *run) failf(format string, arguments ...any) {
	r.t.Helper()
	last := r.trace[max(0, len(r.trace)-30):]
	r.t.Fatalf("step %d: %s\nthe last steps:\n%s", len(r.trace), fmt.Sprintf(format, arguments...), strings.Join(last, "\n"))
}

const maxReplacements = 20

func (r *run) step() {
	switch r.choose(24) {
	case 0, 1, 2, 3, 4:
		r.append(1)
	case 5, 6, 7, 8:
		r.append(1 + r.choose(7))
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
		r.replaceStore("reopen", r.subject.Reopen)
	case 19:
		if r.oneIn(3) {
			r.replaceStore("copy", r.subject.Copy)
		}
	case 20:
		r.now = r.now.Add(time.Duration(r.choose(256)*r.choose(256)-8192) * 7 * time.Millisecond)
		r.log("now %s", r.now.Format(time.RFC3339Nano))
	case 21:
		if r.oneIn(3) {
			years := r.choose(25) - 12
			r.now = clampClock(r.now.AddDate(years, 0, 0))
			r.log("now %s", r.now.Format(time.RFC3339Nano))
		}
	case 22:
		r.policy = 1 - r.policy
		r.log("policy %d", r.policy)
	case 23:
		if r.subject.Fail != nil && r.heal == nil {
			n := r.choose(256)
			r.log("fail %d", n)
			r.heal = r.subject.Fail(n)
		}
	}
	r.compareSome()
}

func clampClock(t time.Time) time.Time {
	first, last := time.Unix(0, 0).UTC(), time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
	if t.Before(first) {
		return first
	}
	if t.After(last) {
		return last
	}
	return t
}

func (r *run) recoverWrites() {
	if r.heal != nil {
		r.heal()
		r.heal = nil
	}
}

func (r *run) replaceStore(name string, open func(context.Context) (Store, error)) {
	if open == nil || r.replacements == maxReplacements {
		return
	}
	r.replacements++
	r.recoverWrites()
	r.log("%s", name)
	store, err := open(r.t.Context())
	if err != nil {
		r.failf("%s: %v", name, err)
	}
	r.subject.Store = store
	r.compareAll()
}

func (r *run) prune() {
	if r.subject.Prune == nil || r.oneIn(2) {
		return
	}
	before := r.pruneTime()
	r.log("prune before %s", before.Format(time.RFC3339Nano))
	deleted, err := r.subject.Prune(r.t.Context(), before)
	failed := err != nil && r.heal != nil
	if failed {
		r.recoverWrites()
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

func (r *run) pruneTime() time.Time {
	switch kind := r.choose(8); {
	case kind == 0:
		return r.now.AddDate(30, 0, 0)
	case kind == 1:
		return r.now.AddDate(-r.choose(12), 0, 0)
	case kind == 2 || len(r.model.events) == 0:
		return r.now.Add(-time.Duration(r.choose(256)) * time.Second)
	default:
		n := len(r.model.events)
		i := r.choose(256) % n
		if kind > 4 { // near the newest events, which stores may keep separately
			i = max(0, n-1-r.choose(16))
		}
		at := r.model.events[i].sent.ReceivedAt
		return at.Add([]time.Duration{0, 1, time.Millisecond, -time.Millisecond}[r.choose(4)])
	}
}
