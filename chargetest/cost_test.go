package chargetest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

func post(srv *Server, ev chargeingest.ChargeEvent) {
	body, err := ev.MarshalJSON()
	if err != nil {
		panic(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/v1/ingest/charge-data", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-API-KEY", srv.APIKey())
	srv.Handler().ServeHTTP(httptest.NewRecorder(), r)
}

var afterRequests = map[string]func(t TB, srv *Server, i int){
	"WaitEvent":           func(t TB, srv *Server, i int) { srv.WaitEvent(t, Reference(strconv.Itoa(i))) },
	"WaitEvent, any":      func(t TB, srv *Server, _ int) { srv.WaitEvent(t) },
	"WaitEvent, customer": func(t TB, srv *Server, _ int) { srv.WaitEvent(t, Customer("customer-sample")) },
	"WaitEvent, several": func(t TB, srv *Server, i int) {
		srv.WaitEvent(t, Customer("customer-sample"), Reference(strconv.Itoa(i)))
	},
	"WaitEvents":         func(t TB, srv *Server, i int) { srv.WaitEvents(t, 1, Reference(strconv.Itoa(i))) },
	"WaitRequest":        func(t TB, srv *Server, i int) { srv.WaitRequest(t, i+1) },
	"Event":              func(_ TB, srv *Server, i int) { srv.Event(strconv.Itoa(i)) },
	"AssertEvent":        func(t TB, srv *Server, i int) { srv.AssertEvent(t, Sample(strconv.Itoa(i))) },
	"AssertCount":        func(t TB, srv *Server, i int) { srv.AssertCount(t, i+1) },
	"AssertCount, one":   func(t TB, srv *Server, i int) { srv.AssertCount(t, 1, Reference(strconv.Itoa(i))) },
	"AssertCount, all":   func(t TB, srv *Server, i int) { srv.AssertCount(t, i+1, Customer("customer-sample")) },
	"AssertNoRejections": func(t TB, srv *Server, _ int) { srv.AssertNoRejections(t) },
}

func BenchmarkAfterRequests(b *testing.B) {
	for _, n := range []int{1_000, 20_000} {
		srv := New(b)
		for i := range n {
			post(srv, Sample(strconv.Itoa(i)))
		}
		srv.AssertCount(b, n)
		for _, name := range slices.Sorted(maps.Keys(afterRequests)) {
			do := afterRequests[name]
			b.Run(fmt.Sprint(name, "/", n), func(b *testing.B) {
				for b.Loop() {
					do(b, srv, n-1)
				}
			})
		}
	}
}

type cost struct{ listed, compared, allocated int }

type countingStore struct {
	*memstore.Store
	cost *cost
}

func (c countingStore) List(ctx context.Context, q chargeingest.Query) (chargeingest.Page, error) {
	page, err := c.Store.List(ctx, q)
	c.cost.listed += len(page.Events)
	return page, err
}

type countingMatcher struct {
	EventMatcher
	cost *cost
}

func (c countingMatcher) matchesEvent(e *Event) bool {
	c.cost.compared++
	return c.EventMatcher.matchesEvent(e)
}

func (c *cost) measure(do func()) cost {
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	var before, after runtime.MemStats
	*c = cost{}
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	c.allocated = int(after.TotalAlloc - before.TotalAlloc)
	return *c
}

func TestCostDoesNotGrowWithRequests(t *testing.T) {
	const few, many = 50, 1_000
	var counted cost
	srv := NewWith(t, Options{NewStore: func() Store { return countingStore{memstore.New(), &counted} }})
	sent := 0
	send := func() {
		post(srv, Sample(strconv.Itoa(sent)))
		sent++
	}
	measureAfter := func(n int) map[string]cost {
		for sent < n {
			send()
		}
		measured := make(map[string]cost)
		for name, do := range afterRequests {
			do(t, srv, sent-1)
			send()
			measured[name] = counted.measure(func() { do(t, srv, sent-1) })
		}
		return measured
	}
	small, large := measureAfter(few), measureAfter(many)
	for name := range afterRequests {
		require.LessOrEqual(t, small[name].listed, 1, name)
		require.Equal(t, small[name].listed, large[name].listed, name)
		require.LessOrEqual(t, large[name].allocated, small[name].allocated+64<<10, name)
	}
}

func TestMatchersUseIndex(t *testing.T) {
	const n = 300
	var counted cost
	srv := New(t)
	all := countingMatcher{Customer("customer-sample"), &counted}
	for i := range n {
		post(srv, Sample(strconv.Itoa(i)))
		srv.AssertCount(t, 1, all, countingMatcher{Reference(strconv.Itoa(i)), &counted})
		srv.AssertCount(t, 0, all, countingMatcher{Customer("none"), &counted})
	}
	require.LessOrEqual(t, counted.compared, 2*n)
}

func TestWaitExaminesEventsOnce(t *testing.T) {
	const n = 300
	var counted cost
	srv := New(t)
	go func() {
		for i := range n {
			post(srv, Sample(strconv.Itoa(i)))
		}
	}()
	srv.WaitEvents(t, n, countingMatcher{EventWhere(func(Event) bool { return true }), &counted})
	require.Equal(t, n, counted.compared)
}

func TestExhaustedRulesAreRemoved(t *testing.T) {
	srv := New(t)
	for i := range 10 {
		srv.FailNext(1, Status(503))
		srv.FailFor(1, Status(503), Reference("none"))
		post(srv, Sample(strconv.Itoa(i)))
		srv.Advance(1)
	}
	srv.FailNext(1, Status(503), Reference("none"))
	post(srv, Sample("last"))
	require.Len(t, srv.rules, 1)
	require.Empty(t, srv.rules[0].hits)
}

func TestEventsReadOutOfOrder(t *testing.T) {
	text := func(s string) *string { return &s }
	x := index{byReference: make(map[string][]*Event), byCustomer: make(map[string][]*Event)}
	store := &indexedStore{index: x}
	q := &search{matchers: []EventMatcher{EventWhere(func(Event) bool { return true })}}
	all, some := new(search), &search{matchers: []EventMatcher{Customer("c")}}
	for _, id := range []string{"2", "4", "3", "1", "5"} {
		store.index.add(&Event{ChargeEvent: chargeingest.ChargeEvent{ID: id, Reference: text("r"), CustomerID: text("c"), CustomerReference: text("c")}})
		for _, q := range []*search{q, all, some} {
			require.NoError(t, q.update(t.Context(), store))
		}
	}
	for _, q := range []*search{q, all, some, {matchers: []EventMatcher{Reference("r")}}} {
		require.NoError(t, q.update(t.Context(), store))
		var ids []string
		for _, e := range q.found {
			ids = append(ids, e.ID)
		}
		require.Equal(t, []string{"1", "2", "3", "4", "5"}, ids)
	}
}
