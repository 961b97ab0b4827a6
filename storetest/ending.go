package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"example.com/chargeingest"
)

func endingCases() []testCase {
	return []testCase{
		{"a call whose context has ended before it stores nothing", checkEndedBefore},
		{"a context that ends meanwhile never hides what was stored", checkEndedMeanwhile},
		{"a closed store refuses every batch with ErrClosed", checkClosed},
		{"an open store is ready and a closed one is not", checkReady},
	}
}

// ended returns a context that has ended.
func ended(parent context.Context) context.Context {
	ctx, cancel := context.WithCancel(parent)
	cancel()
	return ctx
}

func checkEndedBefore(c *check) {
	s := c.open()
	b := keyed("key", batch(acme, draft{reference: "a"}, draft{}))
	if _, err := s.Append(ended(c.Context()), b); err == nil {
		c.failf("Append returned no error")
	}
	s.holds(acme)
	s.holds(acme, s.fresh(b)...)
}

// checkEndedMeanwhile ends contexts while their calls run. Wherever that hits,
// the error must be true: ErrNotStored only beside nothing, no error only
// beside all, and anything else beside all or nothing.
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

// requests returns n keyed batches of three events, the last of them without a
// reference.
func requests(prefix string, n int) []chargeingest.Batch {
	batches := make([]chargeingest.Batch, n)
	for i := range batches {
		key := fmt.Sprintf("%s-%d", prefix, i)
		batches[i] = keyed(key, batch(acme, append(referenced(key, 2), draft{})...))
	}
	return batches
}

// settle sends again what was sent before, checks that the store then answers
// as the results said, and that each batch is there once in the end.
func (s *subject) settle(batches []chargeingest.Batch, results []result) {
	s.c.Helper()
	for i, r := range results {
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
		equal(s.c, "the number of events stored in the end", len(all), 3*len(batches))
	}
}

func checkClosed(c *check) {
	s, closeStore := c.openCloser()
	b := batch(acme, draft{reference: "a"})
	s.fresh(b)
	if err := closeStore(); err != nil {
		c.failf("Close returned the error %v", err)
	}
	for _, late := range []chargeingest.Batch{b, batch(acme, draft{reference: "b"})} {
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
