package chargetest_test

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/chargetest"
)

func TestMatchers(t *testing.T) {
	const other = "key-of-another-service"
	keys := chargetest.Options{Keys: []chargeingest.Key{{
		Secret: other, Subject: "other", Platforms: []string{"pf_b"},
		Permissions: []chargeingest.Permission{chargeingest.PermissionIngest, chargeingest.PermissionView},
	}}}
	ofCustomer := chargetest.Sample("of-acme")
	ofCustomer.CustomerID = new("acme")
	for _, c := range []struct {
		name     string
		matchers []chargetest.Matcher
		hit      func(t *testing.T, c client) (response, error)
		miss     func(t *testing.T, c client) (response, error)
	}{
		{"a reference", []chargetest.Matcher{chargetest.Reference("b")},
			func(t *testing.T, c client) (response, error) { return c.charge(t, "b") },
			func(t *testing.T, c client) (response, error) { return c.charge(t, "a") }},
		{"a reference within a batch", []chargetest.Matcher{chargetest.Reference("b")},
			func(t *testing.T, c client) (response, error) {
				return c.do(t.Context(), http.MethodPost, eventPath+"s", []byte(`{"charge_datas":[{"reference":"x"},{"reference":"b"}]}`))
			},
			func(t *testing.T, c client) (response, error) { return c.charge(t, "x") }},
		{"a reference in an invalid event", []chargetest.Matcher{chargetest.Reference("b")},
			func(t *testing.T, c client) (response, error) {
				return c.do(t.Context(), http.MethodPost, eventPath, []byte(`{"reference":"b","value":1}`))
			},
			func(t *testing.T, c client) (response, error) { return c.charge(t, "x") }},
		{"a customer", []chargetest.Matcher{chargetest.Customer("acme")},
			func(t *testing.T, c client) (response, error) { return c.send(t, ofCustomer) },
			func(t *testing.T, c client) (response, error) { return c.charge(t, "a") }},
		{"a credential", []chargetest.Matcher{chargetest.Credential(other)},
			func(t *testing.T, c client) (response, error) {
				c.key = other
				return c.charge(t, "a")
			},
			func(t *testing.T, c client) (response, error) { return c.charge(t, "a") }},
		{"a route", []chargetest.Matcher{chargetest.Route(chargeingest.RouteList)},
			func(t *testing.T, c client) (response, error) {
				return c.do(t.Context(), http.MethodGet, eventPath, nil)
			},
			func(t *testing.T, c client) (response, error) { return c.charge(t, "a") }},
		{"a predicate on the request", []chargetest.Matcher{chargetest.RequestWhere(func(r chargetest.Request) bool { return r.Header.Get("X-Try") == "2" })},
			func(t *testing.T, c client) (response, error) { return c.charge(t, "a", "X-Try: 2") },
			func(t *testing.T, c client) (response, error) { return c.charge(t, "a", "X-Try: 1") }},
		{"a predicate on the event", []chargetest.Matcher{chargetest.EventWhere(func(e chargetest.Event) bool { return e.Value.Amount.Quantity == "12.50" })},
			func(t *testing.T, c client) (response, error) { return c.charge(t, "a") },
			func(t *testing.T, c client) (response, error) {
				ev := chargetest.Sample("b")
				ev.Value.Amount.Quantity = "1"
				return c.send(t, ev)
			}},
		{"two matchers", []chargetest.Matcher{chargetest.Reference("a"), chargetest.Credential(other)},
			func(t *testing.T, c client) (response, error) {
				c.key = other
				return c.charge(t, "a")
			},
			func(t *testing.T, c client) (response, error) { return c.charge(t, "a") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := chargetest.NewWith(t, keys)
			sender := overSocket(srv)
			rule := srv.FailNext(1, chargetest.Status(418), c.matchers...)
			requireNot(t, 418)(c.miss(t, sender))
			require.Zero(t, rule.Hits())
			requireStatus(t, 418)(c.hit(t, sender))
			require.Equal(t, 1, rule.Hits())
			requireNot(t, 418)(c.hit(t, sender))
		})
	}
}

func requireNot(t *testing.T, status int) func(response, error) {
	return func(res response, err error) {
		t.Helper()
		require.NoError(t, err)
		require.NotEqual(t, status, res.StatusCode, res.text)
	}
}

func TestNthCountsSelectedRequests(t *testing.T) {
	srv := chargetest.New(t)
	sender := overSocket(srv)
	srv.FailNext(1, chargetest.Status(503), chargetest.Nth(2), chargetest.Route(chargeingest.RouteSingle))
	requireStatus(t, 200)(sender.do(t.Context(), http.MethodGet, eventPath, nil))
	requireStatus(t, 201)(sender.charge(t, "a"))
	requireStatus(t, 200)(sender.do(t.Context(), http.MethodGet, eventPath, nil))
	requireStatus(t, 503)(sender.charge(t, "b"))
	requireStatus(t, 201)(sender.charge(t, "b"))
}

func TestOldestRuleAppliesFirst(t *testing.T) {
	srv := chargetest.New(t)
	srv.FailNext(1, chargetest.Status(500))
	removed := srv.FailNext(1, chargetest.Status(501))
	srv.FailNext(1, chargetest.Status(502))
	removed.Remove()
	sender := overSocket(srv)
	for _, status := range []int{500, 502, 201} {
		requireStatus(t, status)(sender.charge(t, "a"))
	}
}

func TestEveryRuleCountsForNth(t *testing.T) {
	srv := chargetest.New(t)
	srv.FailNext(1, chargetest.Status(500))
	srv.FailNext(1, chargetest.Status(502), chargetest.Nth(2))
	sender := overSocket(srv)
	for _, status := range []int{500, 502, 201, 201} {
		requireStatus(t, status)(sender.charge(t, "a"))
	}
	tb := new(fakeTB)
	other := chargetest.New(tb)
	other.FailNext(1, chargetest.Reset(), chargetest.Nth(0))
	other.FailNext(2, chargetest.Reset(), chargetest.Nth(1))
	require.Equal(t, 2, strings.Count(tb.failure(), "Nth must be 1 or more, and FailNext with Nth needs n = 1"))
	tb.end()
}

func TestFailForWithoutRetryAfter(t *testing.T) {
	srv := chargetest.New(t)
	srv.FailFor(time.Minute, chargetest.Status(500))
	requireStatus(t, 500)(overSocket(srv).charge(t, "a"))
	srv.Advance(time.Minute)
	requireStatus(t, 201)(overSocket(srv).charge(t, "a"))
}

func TestQuotaFirstWindow(t *testing.T) {
	srv := chargetest.New(t)
	srv.Quota(1, time.Minute)
	srv.Advance(59 * time.Second)
	requireStatus(t, 201)(overSocket(srv).charge(t, "a"))
	srv.Advance(59 * time.Second)
	requireStatus(t, 429)(overSocket(srv).charge(t, "b"))
	srv.Advance(time.Second)
	requireStatus(t, 201)(overSocket(srv).charge(t, "b"))
}

func TestCredentialMatchesBearerToken(t *testing.T) {
	srv := chargetest.New(t)
	srv.FailNext(1, chargetest.Status(418), chargetest.Credential(srv.APIKey()))
	bearer := overSocket(srv)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, bearer.base+eventPath, nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+srv.APIKey())
	res, err := bearer.http.Do(r)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, 418, res.StatusCode)
}

func TestFailForFollowsServerClock(t *testing.T) {
	srv := chargetest.New(t)
	sender := overSocket(srv)
	srv.FailFor(time.Minute, chargetest.Status(503))
	require.Equal(t, "60", requireStatus(t, 503)(sender.charge(t, "a")).Header.Get("Retry-After"))
	srv.Advance(45 * time.Second)
	require.Equal(t, "15", requireStatus(t, 503)(sender.charge(t, "a")).Header.Get("Retry-After"))
	srv.Advance(15 * time.Second)
	requireStatus(t, 201)(sender.charge(t, "a"))
}

func TestQuotaRefillsEachWindow(t *testing.T) {
	srv := chargetest.New(t)
	sender := overSocket(srv)
	rule := srv.Quota(2, time.Minute, chargetest.Route(chargeingest.RouteSingle))
	for window := range 3 {
		requireStatus(t, 201)(sender.charge(t, strconv.Itoa(window)+"a"))
		requireStatus(t, 201)(sender.charge(t, strconv.Itoa(window)+"b"))
		srv.Advance(20 * time.Second)
		a := requireStatus(t, 429)(sender.charge(t, strconv.Itoa(window)+"c"))
		require.Equal(t, "40", a.Header.Get("Retry-After"))
		require.Contains(t, a.text, "TOO_MANY_REQUESTS")
		requireStatus(t, 200)(sender.do(t.Context(), http.MethodGet, eventPath, nil))
		srv.Advance(40 * time.Second)
	}
	require.Equal(t, 3, rule.Hits())
	srv.AssertCount(t, 6)
}

func TestFailSometimesIsReproducible(t *testing.T) {
	run := func(seed uint64) (statuses []int) {
		srv := chargetest.New(t)
		srv.FailSometimes(0.5, seed, chargetest.Status(503))
		sender := inMemory(srv)
		for i := range 64 {
			a, err := sender.charge(t, strconv.Itoa(i))
			require.NoError(t, err)
			statuses = append(statuses, a.StatusCode)
		}
		return statuses
	}
	first := run(1)
	require.Equal(t, first, run(1))
	for p, want := range map[float64]int{0: 0, 0.9: 45, 1: 50} {
		srv := chargetest.New(t)
		rule := srv.FailSometimes(p, 7, chargetest.Status(503))
		for range 50 {
			_, err := inMemory(srv).charge(t, "a")
			require.NoError(t, err)
		}
		require.InDelta(t, want, rule.Hits(), 4)
	}
	require.NotEqual(t, first, run(2))
	require.Contains(t, first, 201)
	require.Contains(t, first, 503)
}

func TestFailNextWithConcurrentRequests(t *testing.T) {
	srv := chargetest.New(t)
	srv.FailNext(20, chargetest.Status(503))
	sender := overSocket(srv)
	var mu sync.Mutex
	got := make(map[int]int)
	var sending sync.WaitGroup
	for i := range 100 {
		sending.Go(func() {
			a, err := sender.charge(t, strconv.Itoa(i))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				got[a.StatusCode]++
			}
		})
	}
	sending.Wait()
	require.Equal(t, map[int]int{201: 80, 503: 20}, got)
	srv.AssertCount(t, 80)
}

func TestUnusedFaultIsLogged(t *testing.T) {
	tb := new(fakeTB)
	srv := chargetest.New(tb)
	srv.FailNext(2, chargetest.Status(503), chargetest.Reference("order-42"))
	srv.FailFor(time.Hour, chargetest.Reset(), chargetest.Reference("never"))
	requireStatus(t, 503)(overSocket(srv).charge(t, "order-42"))
	tb.end()
	require.Contains(t, tb.log(), `FailNext(2, Status(503)) for reference "order-42" was used 1 of 2 times`)
	require.NotContains(t, tb.log(), "FailFor")
	require.Empty(t, tb.failure())
}
