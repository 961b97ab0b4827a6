package storetest

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

func TestRun(t *testing.T) {
	Run(t,
		func(*testing.T) chargeingest.EventStore { return newIntactStore() },
		Reopen(func(_ *testing.T, s chargeingest.EventStore) chargeingest.EventStore { return reopenStore(s) }))
}

func TestFaults(t *testing.T) {
	cases := make(map[string]testCase)
	for _, group := range caseGroups() {
		for _, tc := range group.cases {
			require.NotContains(t, cases, tc.rule, "rules are unique")
			cases[tc.rule] = tc
		}
	}
	caught := make(map[string]bool)
	for _, f := range faults() {
		t.Run(f.name, func(t *testing.T) {
			for _, rule := range f.caughtBy {
				require.Contains(t, cases, rule)
				broken := func() chargeingest.EventStore {
					s := newIntactStore()
					f.inject(s)
					return s
				}
				r := runCase(t, cases[rule], broken, reopenStore)
				require.Contains(t, r.failure, rule, "the case fails and quotes its rule")
				caught[rule] = true
			}
		})
	}
	for rule := range cases {
		require.Contains(t, caught, rule, "there is a fault for every case")
	}
}

func TestSkippedCases(t *testing.T) {
	var skipped int
	for _, group := range caseGroups() {
		for _, tc := range group.cases {
			appendOnly := func() chargeingest.EventStore { return struct{ chargeingest.EventStore }{newIntactStore()} }
			r := runCase(t, tc, appendOnly, nil)
			require.Empty(t, r.failure)
			if r.skipped != "" {
				require.Contains(t, r.skipped, "skipped: ")
				skipped++
			}
			switch group.name {
			case "reading", "paging", "filters", "following":
				require.NotEmpty(t, r.skipped, tc.rule)
			case "storing", "references", "batches", "keys":
				require.Empty(t, r.skipped, tc.rule)
			}
		}
	}
	require.NotZero(t, skipped)
}

type recorder struct {
	testing.TB
	failure, skipped string
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.failure = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Skipf(format string, args ...any) {
	r.skipped = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// In a synctest bubble, faults can sleep until other calls have run.
func runCase(t *testing.T, tc testCase, newStore func() chargeingest.EventStore, reopen func(chargeingest.EventStore) chargeingest.EventStore) *recorder {
	r := new(recorder)
	synctest.Test(t, func(t *testing.T) {
		r.TB = t
		done := make(chan struct{})
		go func() {
			defer close(done)
			tc.run(&check{testingT: r, rule: tc.rule, newStore: newStore, reopen: reopen})
		}()
		<-done
	})
	return r
}

type store struct {
	append            func(context.Context, chargeingest.Batch) (chargeingest.AppendResult, error)
	get               func(ctx context.Context, platform, id string) (chargeingest.StoredEvent, error)
	list              func(context.Context, chargeingest.Query) (chargeingest.Page, error)
	stats             chargeingest.StoreStats
	rejectsAfterClose bool // returns ErrClosed for every batch
	losesData         bool // at Close
	replaysAfterClose bool // batches with a key

	onReopen func(*store) // changes the next store; may be nil

	mu     sync.RWMutex
	closed bool
}

func newIntactStore() *store {
	m := memstore.New()
	return &store{append: m.Append, get: m.Get, list: m.List, rejectsAfterClose: true}
}

func (s *store) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed && (!s.replaysAfterClose || b.IdempotencyKey == "") {
		return chargeingest.AppendResult{}, chargeingest.ErrClosed
	}
	return s.append(ctx, b)
}

func (s *store) Get(ctx context.Context, platform, id string) (chargeingest.StoredEvent, error) {
	return s.get(ctx, platform, id)
}

func (s *store) List(ctx context.Context, q chargeingest.Query) (chargeingest.Page, error) {
	return s.list(ctx, q)
}

func (s *store) Ready(ctx context.Context) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return chargeingest.ErrClosed
	}
	return nil
}

func (s *store) Stats() chargeingest.StoreStats { return s.stats }

func (s *store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = s.rejectsAfterClose
	return nil
}

func reopenStore(old chargeingest.EventStore) chargeingest.EventStore {
	s := old.(*store)
	_ = s.Close() // never fails
	if s.losesData {
		return newIntactStore()
	}
	again := &store{append: s.append, get: s.get, list: s.list, rejectsAfterClose: s.rejectsAfterClose}
	if s.onReopen != nil {
		s.onReopen(again)
	}
	return again
}
