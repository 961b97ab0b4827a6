package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"example.com/chargeingest"
)

func lifecycleCases() []testCase {
	return []testCase{
		{"Append with an ended context returns ErrNotStored and stores nothing", checkCanceledBefore},
		{"if a context ends during Append, ErrNotStored means that nothing was stored", checkCanceledDuring},
		{"a closed store returns ErrClosed for every batch", checkClosed},
		{"an open store is ready and a closed store is not", checkReady},
		{"Stats reports an empty queue if no request is waiting, and the size of the last commit", checkStats},
	}
}

func canceled(parent context.Context) context.Context {
	ctx, cancel := context.WithCancel(parent)
	cancel()
	return ctx
}

func batchKinds(platform string) []chargeingest.Batch {
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

func checkCanceledBefore(c *check) {
	s := c.newTestedStore()
	late, cancel := context.WithDeadline(c.Context(), time.Time{})
	defer cancel()
	for _, ctx := range []context.Context{canceled(c.Context()), late} {
		for _, b := range batchKinds(acme) {
			if _, err := s.Append(ctx, b); !errors.Is(err, chargeingest.ErrNotStored) {
				c.failf("Append with an ended context returned error %v, want ErrNotStored", err)
			}
		}
	}
	s.wantStored(acme)
	var stored []chargeingest.Outcome
	for _, b := range batchKinds(acme) {
		stored = append(stored, s.appendNew(b)...)
	}
	s.wantStored(acme, stored...)
}

func checkCanceledDuring(c *check) {
	s := c.newTestedStore()
	batches := mixedRequests("r", 60)
	results := make([]appendResult, len(batches))
	var wg sync.WaitGroup
	for i, b := range batches {
		ctx, cancel := context.WithCancel(c.Context())
		called := make(chan struct{})
		wg.Go(func() {
			close(called)
			results[i].result, results[i].err = s.Append(ctx, b)
		})
		wg.Go(func() {
			<-called
			cancel()
		})
	}
	wg.Wait()
	s.wantRetriesResolved(batches, results)
}

func mixedRequests(prefix string, n int) []chargeingest.Batch {
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

// wantRetriesResolved requires that each batch is stored once.
func (s *testedStore) wantRetriesResolved(batches []chargeingest.Batch, results []appendResult) {
	s.c.Helper()
	events := 0
	for i, r := range results {
		events += len(batches[i].Events)
		switch {
		case r.err == nil:
			s.appendReplays(batches[i], s.c.wantSuccess(batches[i], r)...)
		case errors.Is(r.err, chargeingest.ErrNotStored):
			s.appendNew(batches[i])
		default:
			if !errors.Is(r.err, chargeingest.ErrOutcomeUnknown) {
				s.c.failf("Append returned error %q, want one that is ErrNotStored or ErrOutcomeUnknown", r.err)
			}
			outcomes := s.append(batches[i])
			for j := range outcomes {
				wantEqual(s.c, "Replayed after an unknown outcome", outcomes[j].Replayed, outcomes[0].Replayed)
			}
		}
	}
	if s.reader != nil {
		all := s.pages(chargeingest.Query{Platform: acme})
		wantEqual(s.c, "number of stored events", len(all), events)
	}
}

func checkClosed(c *check) {
	s, closeStore := c.newCloser()
	for _, b := range batchKinds(acme) {
		s.appendNew(b)
	}
	if err := closeStore(); err != nil {
		c.failf("Close returned error: %v", err)
	}
	for _, late := range append(batchKinds(acme), batchKinds(globex)...) {
		if _, err := s.Append(c.Context(), late); !errors.Is(err, chargeingest.ErrClosed) {
			c.failf("Append returned error %v, want ErrClosed", err)
		}
	}
}

func checkReady(c *check) {
	s, closeStore := c.newCloser()
	checker, ok := s.EventStore.(chargeingest.ReadyChecker)
	if !ok {
		c.Skipf("skipped: the store does not implement chargeingest.ReadyChecker")
	}
	if err := checker.Ready(c.Context()); err != nil {
		c.failf("Ready of an open store returned error: %v", err)
	}
	if err := closeStore(); err != nil {
		c.failf("Close returned error: %v", err)
	}
	if checker.Ready(c.Context()) == nil {
		c.failf("Ready of a closed store returned no error")
	}
}

// The store is closed first, so that no call is running.
func checkStats(c *check) {
	s, closeStore := c.newCloser()
	reporter, ok := s.EventStore.(chargeingest.StatsReporter)
	if !ok {
		c.Skipf("skipped: the store does not implement chargeingest.StatsReporter")
	}
	s.appendNew(batch(acme, referenced("r", 2)...))
	s.append(batch(acme, referenced("r", 5)...))
	if err := closeStore(); err != nil {
		c.failf("Close returned error: %v", err)
	}
	stats := reporter.Stats()
	wantEqual(c, "QueuedRequests", stats.QueuedRequests, 0)
	wantEqual(c, "QueuedEvents", stats.QueuedEvents, 0)
	if stats.Commits > 0 {
		wantEqual(c, "Commits", stats.Commits, 2)
		wantEqual(c, "LastCommit.Requests", stats.LastCommit.Requests, 1)
		wantEqual(c, "LastCommit.Events", stats.LastCommit.Events, 3)
	}
}
