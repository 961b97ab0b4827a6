// Package storetest checks a [chargeingest.EventStore] against its contract.
//
// The test of a store is one call of [Run]. Every case is named by the rule
// that it checks, and quotes it when it fails. Where the store is a
// [chargeingest.EventReader], what it stored is read back, too; where it has a
// Close method, its end is checked. Nothing is timed, and apart from the
// interleaving of goroutines each run does the same.
//
// The batches of the cases are such as a handler makes: valid content, its
// fields filled, digests over what was sent.
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

// Reopen adds the cases about what outlives a store. The function closes the
// store that it is given, while calls to it may be under way, and opens the
// same data again. Without this option those cases are skipped.
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
	for _, theme := range themes() {
		t.Run(theme.name, func(t *testing.T) {
			for _, tc := range theme.cases {
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
type theme struct {
	name  string
	cases []testCase
}

func themes() []theme {
	return []theme{
		{"storing", storingCases()},
		{"ending", endingCases()},
		{"references", referenceCases()},
		{"batches", batchCases()},
		{"keys", keyCases()},
		{"concurrency", concurrencyCases()},
		{"platforms", platformCases()},
		{"reading", readingCases()},
		{"paging", pagingCases()},
		{"filters", filterCases()},
		{"following", followingCases()},
		{"reopening", reopeningCases()},
	}
}

// testCase is one rule of the contract. Its sentence is the name of the test.
type testCase struct {
	rule string
	run  func(c *check)
}

// testingT is what the cases use of a *testing.T: the tests of this package
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
	c.Fatalf("\nrule: %s\nseen: %s", c.rule, fmt.Sprintf(format, args...))
}

// open returns an empty store.
func (c *check) open() *subject { return c.subject(c.newStore()) }

// openReader returns an empty store that can be read back, or skips the case.
func (c *check) openReader() *subject {
	c.Helper()
	s := c.open()
	if s.reader == nil {
		c.Skipf("skipped: the store is no chargeingest.EventReader")
	}
	return s
}

// openCloser returns an empty store and its Close, or skips the case.
func (c *check) openCloser() (*subject, func() error) {
	c.Helper()
	s := c.open()
	closer, ok := s.EventStore.(io.Closer)
	if !ok {
		c.Skipf("skipped: the store has no method Close() error")
	}
	return s, closer.Close
}

// needReopen skips the case where stores cannot be opened again.
func (c *check) needReopen() {
	c.Helper()
	if c.reopen == nil {
		c.Skipf("skipped: the option storetest.Reopen was not given")
	}
}

func (c *check) subject(s chargeingest.EventStore) *subject {
	reader, _ := s.(chargeingest.EventReader)
	return &subject{EventStore: s, reader: reader, c: c}
}

// equal ends the case where got is not want.
func equal[V comparable](c *check, what string, got, want V) {
	c.Helper()
	if got != want {
		c.failf("%s is %s, want %s", what, show(got), show(want))
	}
}

// equalList ends the case where got and want differ, order included.
func equalList[V comparable](c *check, what string, got, want []V) {
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

// show prints a value, cut to what a person reads.
func show(v any) string {
	const most = 300
	text := fmt.Sprint(v)
	switch v := v.(type) {
	case string:
		text = fmt.Sprintf("%q", v)
	case chargeingest.Digest:
		text = fmt.Sprintf("%x", v)
	}
	if len(text) > most {
		return fmt.Sprintf("%s… (%d bytes)", text[:most], len(text))
	}
	return text
}
