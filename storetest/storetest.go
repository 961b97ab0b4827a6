// Package storetest is the conformance suite for implementations of
// [chargeingest.EventStore].
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) chargeingest.EventStore {
//			return mystore.New(t.TempDir())
//		})
//	}
//
// [Run] has one subtest per rule of the contract, named after the rule. A failure
// quotes the rule. The groups are storing, lifecycle, references, batches, keys,
// concurrency, platforms, reading, paging, filters, following and durability. To run
// one group: go test -run TestStore/keys.
//
// Cases that need more than Append are skipped, with a reason, if the store lacks it:
//
//   - reading, paging, filters and following need a [chargeingest.EventReader];
//     without one, the other groups check only the results of Append;
//   - the cases for a closed store, Ready and Stats need a method Close() error,
//     the latter also a [chargeingest.ReadyChecker] or [chargeingest.StatsReporter];
//   - durability needs the option [Reopen].
//
// A store can pass although it violates the contract: see docs/stores.md.
package storetest

import (
	"context"
	"fmt"
	"io"
	"slices"
	"testing"

	"example.com/chargeingest"
)

// Option extends a [Run].
type Option func(*options)

type options struct {
	reopen        func(*testing.T, chargeingest.EventStore) chargeingest.EventStore
	reopenJournal func(*testing.T, chargeingest.EventStore) (chargeingest.EventStore, Journal)
}

// Reopen adds the durability cases. The function reopen closes s and returns a store
// with the same data. Calls of Append may be running when it closes s.
func Reopen(reopen func(t *testing.T, s chargeingest.EventStore) chargeingest.EventStore) Option {
	return func(o *options) { o.reopen = reopen }
}

// Run checks a store in sequential subtests of t, one for each rule.
//
// Each call of newStore must return a new, empty store. If the store needs closing,
// newStore registers that with t.Cleanup. Some cases close the store themselves, so
// it can be closed twice.
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

type caseGroup struct {
	name  string
	cases []testCase
}

func caseGroups() []caseGroup {
	return []caseGroup{
		{"storing", storingCases()},
		{"lifecycle", lifecycleCases()},
		{"references", referenceCases()},
		{"batches", batchCases()},
		{"keys", keyCases()},
		{"concurrency", concurrencyCases()},
		{"platforms", platformCases()},
		{"reading", readingCases()},
		{"paging", pagingCases()},
		{"filters", filterCases()},
		{"following", followingCases()},
		{"durability", durabilityCases()},
	}
}

type testCase struct {
	rule string
	run  func(c *check)
}

// testingT is implemented by *testing.T, and by a recorder in the tests of this
// package.
type testingT interface {
	Helper()
	Context() context.Context
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

type check struct {
	testingT
	rule     string
	newStore func() chargeingest.EventStore
	reopen   func(chargeingest.EventStore) chargeingest.EventStore // nil without the option
}

// failf ends the case. Only the goroutine of the case may call it.
func (c *check) failf(format string, args ...any) {
	c.Helper()
	c.Fatalf("\nrule: %s\ngot:  %s", c.rule, fmt.Sprintf(format, args...))
}

func (c *check) newTestedStore() *testedStore { return c.testedStore(c.newStore()) }

func (c *check) newReader() *testedStore {
	c.Helper()
	s := c.newTestedStore()
	if s.reader == nil {
		c.Skipf("skipped: the store does not implement chargeingest.EventReader")
	}
	return s
}

func (c *check) newCloser() (*testedStore, func() error) {
	c.Helper()
	s := c.newTestedStore()
	closer, ok := s.EventStore.(io.Closer)
	if !ok {
		c.Skipf("skipped: the store has no method Close() error")
	}
	return s, closer.Close
}

func (c *check) requireReopen() {
	c.Helper()
	if c.reopen == nil {
		c.Skipf("skipped: the option storetest.Reopen is not set")
	}
}

func (c *check) testedStore(s chargeingest.EventStore) *testedStore {
	reader, _ := s.(chargeingest.EventReader)
	return &testedStore{EventStore: s, reader: reader, c: c}
}

func wantEqual[V comparable](c *check, name string, got, want V) {
	c.Helper()
	if got != want {
		c.failf("%s is %s, want %s", name, show(got), show(want))
	}
}

func wantList[V comparable](c *check, name string, got, want []V) {
	c.Helper()
	if slices.Equal(got, want) {
		return
	}
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	c.failf("%s: %d entries, want %d; from index %d: %s, want %s",
		name, len(got), len(want), i, show(got[i:]), show(want[i:]))
}

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
