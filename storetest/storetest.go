// Package storetest checks a [chargeingest.EventStore] against its contract.
//
// The test of a store is one call of [Run]. Each case is named by the rule that
// it checks, and quotes the rule when it fails. If the store is a
// [chargeingest.EventReader], the cases read the stored events back. If it has a
// Close method, they check that a closed store refuses. [Reopen] adds the cases
// about durability. Cases that do not apply are skipped with a reason.
//
// A rule holds in every combination, and is checked in many:
//
//   - each rule of listings for each filter, with and without time bounds, in
//     both orders;
//   - each rule of names for names that differ in case, blanks, Unicode
//     normalisation, wildcards, escapes, or the last of 256 characters;
//   - storing for single events, batches, batches with a key, thousands of events
//     and more than 4 MiB.
//
// The batches are like those of a handler: the content is valid, its fields are
// filled, and digests cover the sent content. References and keys are ASCII.
//
// Nothing is timed, and each run does the same, apart from the interleaving of
// goroutines. Cases cannot advance the clock of a store. A store that forgets keys
// or references after a time of its own therefore passes, although the contract
// does not allow it.
package storetest

import (
	"context"
	"fmt"
	"io"
	"slices"
	"testing"

	"example.com/chargeingest"
)

// Option adds cases to a [Run].
type Option func(*options)

type options struct {
	reopen func(*testing.T, chargeingest.EventStore) chargeingest.EventStore
}

// Reopen adds the cases about durability. The function closes the store that it is
// given, while calls to it may be under way, and opens the same data again. Without this option those cases are skipped.
func Reopen(reopen func(t *testing.T, s chargeingest.EventStore) chargeingest.EventStore) Option {
	return func(o *options) { o.reopen = reopen }
}

// Run checks a store in subtests of t, one per rule, none of them parallel.
//
// It calls newStore for a fresh and empty store each time, which newStore
// closes by t.Cleanup if it needs closing. A store that a case has closed is
// closed a second time then.
func Run(t *testing.T, newStore func(t *testing.T) chargeingest.EventStore, opts ...Option) {
	t.Helper()
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	for _, group := range caseGroups() {
		t.Run(group.name, func(t *testing.T) {
			for _, tc := range group.cases {
				t.Run(tc.rule, func(t *testing.T) {
					c := &check{
						testingT: t,
						rule:     tc.rule,
						newStore: func() chargeingest.EventStore { return newStore(t) },
					}
					if o.reopen != nil {
						c.reopen = func(s chargeingest.EventStore) chargeingest.EventStore { return o.reopen(t, s) }
					}
					tc.run(c)
				})
			}
		})
	}
}

// theme is a group of cases that can be run alone, by -run TestX/name.
type caseGroup struct {
	name  string
	cases []testCase
}

func caseGroups() []caseGroup {
	return []caseGroup{
		{"storing", storingCases()},
		{"ending", lifecycleCases()},
		{"references", referenceCases()},
		{"batches", batchCases()},
		{"keys", keyCases()},
		{"concurrency", concurrencyCases()},
		{"platforms", platformCases()},
		{"reading", readingCases()},
		{"paging", pagingCases()},
		{"filters", filterCases()},
		{"following", followingCases()},
		{"reopening", durabilityCases()},
	}
}

// testCase is one rule of the contract. Its sentence is the name of the test.
type testCase struct {
	rule string
	run  func(c *check)
}

// testingT is the part of *testing.T that the cases use: the tests of this package
// put a recorder there, to see a case fail.
type testingT interface {
	Helper()
	Context() context.Context
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

// check is one run of a case.
type check struct {
	testingT
	rule     string
	newStore func() chargeingest.EventStore
	reopen   func(chargeingest.EventStore) chargeingest.EventStore // nil: not offered
}

// failf ends the case. Like Fatalf it is for the goroutine of the case only.
func (c *check) failf(format string, args ...any) {
	c.Helper()
	c.Fatalf("\nrule: %s\ngot:  %s", c.rule, fmt.Sprintf(format, args...))
}

// open returns an empty store.
func (c *check) newTestedStore() *testedStore { return c.testedStore(c.newStore()) }

// openReader returns an empty store that can be read back, or skips the case.
func (c *check) newReader() *testedStore {
	c.Helper()
	s := c.newTestedStore()
	if s.reader == nil {
		c.Skipf("skipped: the store is no chargeingest.EventReader")
	}
	return s
}

// openCloser returns an empty store and its Close, or skips the case.
func (c *check) newCloser() (*testedStore, func() error) {
	c.Helper()
	s := c.newTestedStore()
	closer, ok := s.EventStore.(io.Closer)
	if !ok {
		c.Skipf("skipped: the store has no method Close() error")
	}
	return s, closer.Close
}

// needReopen skips the case if stores cannot be opened again.
func (c *check) requireReopen() {
	c.Helper()
	if c.reopen == nil {
		c.Skipf("skipped: the option storetest.Reopen was not given")
	}
}

func (c *check) testedStore(s chargeingest.EventStore) *testedStore {
	reader, _ := s.(chargeingest.EventReader)
	return &testedStore{EventStore: s, reader: reader, c: c}
}

// equal ends the case if got is not want.
func wantEqual[V comparable](c *check, what string, got, want V) {
	c.Helper()
	if got != want {
		c.failf("%s is %s, want %s", what, show(got), show(want))
	}
}

// equalList ends the case if got and want differ, order included.
func wantList[V comparable](c *check, what string, got, want []V) {
	c.Helper()
	if slices.Equal(got, want) {
		return
	}
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	c.failf("%s: %d entries, want %d; from entry %d on %s, want %s",
		what, len(got), len(want), i, show(got[i:]), show(want[i:]))
}

// show prints a value, cut to a length that a person reads.
func show(v any) string {
	const maxLength = 300
	text := fmt.Sprint(v)
	switch v := v.(type) {
	case string:
		text = fmt.Sprintf("%q", v)
	case chargeingest.Digest:
		text = fmt.Sprintf("%x", v)
	}
	if len(text) > maxLength {
		return fmt.Sprintf("%s… (%d bytes)", text[:maxLength], len(text))
	}
	return text
}
