package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"example.com/chargeingest"
)

func endingCases() []testCase {
	return []testCase{
		{"a call whose context has ended before it stores nothing", checkEndedBefore},
		{"a context that ends meanwhile never hides what was stored", checkEndedMeanwhile},
		{"a closed store refuses every batch with ErrClosed", checkClosed},
		{"an open store is ready and a closed one is not", checkReady},
		{"Stats tell of no queue where nothing waits, and of what the last commit stored", checkStats},
	}
}

// ended returns a context that has ended.
func ended(parent context.Context) context.Context {
	ctx, cancel := context.WithCancel(parent)
	cancel()
	return ctx
}

// kinds are batches for which a store may have different code.
func kinds(platform string) []chargeingest.Batch {
	return []chargeingest.Batch{
		batch(platform, draft{}),
		batch(platform, draft{reference: "a"}),
		batch(platform, draft{}, draft{}),
		batch(platform, referenced("b", 2)...),
		returnOriginal(batch(platform, draft{reference: "c"})),
		keyed("single", batch(platform, draft{})),
		keyed("batch", batch(platform, draft{reference: "d"}, draft{})),
	}
}

func checkEndedBefore(c *check) {
	s := c.open()
	late, cancel := context.WithDeadline(c.Context(), time.Time{})
	defer cancel()
	for _, ctx := range []context.Context{ended(c.Context()), late} {
		for _, b := range kinds(acme) {
			if _, err := s.Append(ctx, b); err == nil {
				c.failf("Append returned no error after %v", ctx.Err())
			}
		}
	}
	s.holds(acme)
	var stored []chargeingest.Outcome
	for _, b := range kinds(acme) {
		stored = append(stored, s.fresh(b)...)
	}
	s.holds(acme, stored...)
}

// checkEndedMeanwhile ends contexts while their calls run. Wherever that hits,
// the error must be true: after ErrNotStored nothing is stored, without an error
// everything, after any other error all or nothing.
func checkEndedMeanwhile(c *check) {
	s := c.open()
	batches := requests("r", 60)
	results := make([]result, len(batches))
	var wg sync.WaitGroup
	for i, b := range batches {
		ctx, cancel := context.WithCancel(c.Context())
		called := make(chan struct{})
		wg.Go(func() {
			close(called)
			results[i].receipt, results[i].err = s.Append(ctx, b)
		})
		wg.Go(func() {
			<-called
			cancel()
		})
	}
	wg.Wait()
	s.settle(batches, results)
}

// requests returns n batches that are safe to repeat. By turns they are three
// events with a key, of which one has no reference, and one event with a reference.
func requests(prefix string, n int) []chargeingest.Batch {
	batches := make([]chargeingest.Batch, n)
	for i := range batches {
		name := fmt.Sprintf("%s-%d", prefix, i)
		if i%2 == 0 {
			batches[i] = keyed(name, batch(acme, append(referenced(name, 2), draft{})...))
		} else {
			batches[i] = batch(acme, draft{reference: name})
		}
	}
	return batches
}

// settle sends the batches again, checks that the outcomes agree with the results
// of the first time, and that each batch is stored once in the end.
func (s *subject) settle(batches []chargeingest.Batch, results []result) {
	s.c.Helper()
	events := 0
	for i, r := range results {
		events += len(batches[i].Events)
		switch {
		case r.err == nil:
			s.replayed(batches[i], s.c.outcomes(batches[i], r)...)
		case errors.Is(r.err, chargeingest.ErrNotStored):
			s.fresh(batches[i])
		default:
			outcomes := s.append(batches[i])
			for j := range outcomes {
				equal(s.c, "Replayed of an event of a batch whose fate was unknown", outcomes[j].Replayed, outcomes[0].Replayed)
			}
		}
	}
	if s.reader != nil {
		all := s.pages(chargeingest.Query{Platform: acme})
		equal(s.c, "the number of events stored in the end", len(all), events)
	}
}

func checkClosed(c *check) {
	s, closeStore := c.openCloser()
	for _, b := range kinds(acme) {
		s.fresh(b)
	}
	if err := closeStore(); err != nil {
		c.failf("Close returned the error %v", err)
	}
	for _, late := range append(kinds(acme), kinds(globex)...) {
		if _, err := s.Append(c.Context(), late); !errors.Is(err, chargeingest.ErrClosed) {
			c.failf("Append returned the error %v", err)
		}
	}
}

func checkReady(c *check) {
	s, closeStore := c.openCloser()
	checker, ok := s.EventStore.(chargeingest.ReadyChecker)
	if !ok {
		c.Skipf("skipped: the store is no chargeingest.ReadyChecker")
	}
	if err := checker.Ready(c.Context()); err != nil {
		c.failf("Ready of an open store returned the error %v", err)
	}
	if err := closeStore(); err != nil {
		c.failf("Close returned the error %v", err)
	}
	if checker.Ready(c.Context()) == nil {
		c.failf("Ready of a closed store returned no error")
	}
}

// checkStats reads the statistics of a closed store, in which nothing is under way.
// A store that does not count commits reports zero.
func checkStats(c *check) {
	s, closeStore := c.openCloser()
	reporter, ok := s.EventStore.(chargeingest.StatsReporter)
	if !ok {
		c.Skipf("skipped: the store is no chargeingest.StatsReporter")
	}
	s.fresh(batch(acme, referenced("r", 2)...))
	s.append(batch(acme, referenced("r", 5)...))
	if err := closeStore(); err != nil {
		c.failf("Close returned the error %v", err)
	}
	stats := reporter.Stats()
	equal(c, "QueuedRequests", stats.QueuedRequests, 0)
	equal(c, "QueuedEvents", stats.QueuedEvents, 0)
	if stats.Commits > 0 {
		equal(c, "Commits", stats.Commits, 2)
		equal(c, "LastCommit.Requests", stats.LastCommit.Requests, 1)
		equal(c, "LastCommit.Events", stats.LastCommit.Events, 3)
	}
}
