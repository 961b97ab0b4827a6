package chargeclient_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/chargeclient"
	"example.com/chargeingest/chargetest"
)

var errStop = errors.New("stop")

func TestGetUnknownID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.New(t)
		c := newClient(t, srv)
		for _, id := range []string{"chda_none", "a/b", "../charge-data", "?x=1", "%2e"} {
			_, err := c.Get(t.Context(), id)
			var failed *chargeclient.Error
			require.ErrorAs(t, err, &failed, id)
			require.Equal(t, 404, failed.Status, id)
			require.Equal(t, id, failed.ResourceID)
		}
		for _, id := range []string{"", ".", ".."} {
			_, err := c.Get(t.Context(), id)
			require.EqualError(t, err, "chargeclient: the id is not that of an event")
		}
		require.Len(t, srv.Requests(), 5)
	})
}

func TestQueryParameters(t *testing.T) {
	var sent url.Values
	c := newClientOf(t, func(r *http.Request) (*http.Response, error) {
		require.Equal(t, "/billing/v1/ingest/charge-data", r.URL.Path)
		sent = r.URL.Query()
		return respond(r, 200, `{"data":[],"next":"n","position":"p","limit":7}`)
	})
	from := time.Date(2026, 9, 1, 0, 0, 0, 5, time.FixedZone("", 7200))
	page, err := c.List(t.Context(), chargeclient.Query{
		Reference: "r", CustomerID: "c&d", CustomerReference: "ü", PricingPlanSubscriptionID: "s", PricingPlanSubscriptionReference: "t",
		ProductItemID: "p", From: from, To: from.Add(time.Hour), After: "x", Ascending: true, Limit: 7,
	})
	require.NoError(t, err)
	require.Equal(t, chargeclient.Page{Events: []chargeclient.Event{}, Next: "n", Position: "p"}, page)
	require.Equal(t, url.Values{
		"reference": {"r"}, "customer_id": {"c&d"}, "customer_reference": {"ü"}, "pricing_plan_subscription_id": {"s"},
		"pricing_plan_subscription_reference": {"t"}, "product_item_id": {"p"},
		"from": {"2026-09-01T00:00:00.000000005+02:00"}, "to": {"2026-09-01T01:00:00.000000005+02:00"},
		"after": {"x"}, "order": {"asc"}, "limit": {"7"},
	}, sent)
	_, err = c.List(t.Context(), chargeclient.Query{})
	require.NoError(t, err)
	require.Empty(t, sent)
}

func TestListPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.New(t)
		srv.Seed(t, samples(10)...)
		c := newClient(t, srv)
		var got []string
		q := chargeclient.Query{CustomerReference: "customer-sample", Limit: 3}
		for {
			page, err := c.List(t.Context(), q)
			require.NoError(t, err)
			for _, e := range page.Events {
				got = append(got, *e.Reference)
			}
			if q.After = page.Next; q.After == "" {
				break
			}
		}
		require.Equal(t, []string{"r-9", "r-8", "r-7", "r-6", "r-5", "r-4", "r-3", "r-2", "r-1", "r-0"}, got)
	})
}

func TestWrongListResponse(t *testing.T) {
	for name, body := range map[string]string{
		"no data": `{"position":"p"}`, "no position": `{"data":[]}`, "not an event": `{"data":[{}],"position":"p"}`, "a list": `[]`,
		"the same position after an event": `{"data":[` + storedSample + `],"position":"x"}`,
		"the same page again":              `{"data":[],"position":"x","next":"x"}`,
	} {
		t.Run(name, func(t *testing.T) {
			c := newClientOf(t, func(r *http.Request) (*http.Response, error) { return respond(r, 200, body) })
			_, err := c.List(t.Context(), chargeclient.Query{After: "x", Ascending: true})
			require.ErrorContains(t, err, "not a response of the charge event endpoint")
			require.NotErrorIs(t, err, chargeingest.ErrOutcomeUnknown)
			err = c.Follow(t.Context(), "x", func(chargeclient.Page) error { return errStop })
			require.ErrorContains(t, err, "not a response of the charge event endpoint")
		})
	}
	c := newClientOf(t, func(r *http.Request) (*http.Response, error) { return respond(r, 200, storedSample) })
	_, err := c.Get(t.Context(), "chda_2")
	require.ErrorContains(t, err, "not a response of the charge event endpoint")
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 2500
		srv := chargetest.New(t)
		for i, f := range []chargetest.Fault{
			chargetest.Reset(), chargetest.Truncated(), chargetest.Status(503), chargetest.Status(429), chargetest.Malformed(),
		} {
			srv.FailSometimes(0.2, uint64(i), f)
		}
		c := newClient(t, srv, func(cfg *chargeclient.Config) { cfg.RetryTimeout = time.Nanosecond })
		var seeding sync.WaitGroup
		seeding.Go(func() {
			events := samples(n)
			for len(events) > 0 {
				count := min(len(events), 1000, 1+len(events)*7%1500)
				srv.Seed(t, events[:count]...)
				events = events[count:]
				time.Sleep(time.Second)
				srv.Restart()
			}
		})
		position, got := "", 0
		for got < n {
			err := c.Follow(t.Context(), position, func(p chargeclient.Page) error {
				for _, e := range p.Events {
					require.Equal(t, "r-"+strconv.Itoa(got), *e.Reference)
					got++
				}
				position = p.Position
				if got%2 == 0 || got == n {
					return errStop
				}
				return nil
			})
			require.ErrorIs(t, err, errStop)
		}
		seeding.Wait()
	})
}

func TestFollowWaitsForEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.New(t)
		c := newClient(t, srv, func(cfg *chargeclient.Config) { cfg.PollInterval = 10 * time.Second })
		start := time.Now()
		go func() {
			time.Sleep(time.Hour + time.Second)
			srv.Seed(t, chargetest.Sample("a"))
		}()
		var arrived time.Duration
		ctx, cancel := context.WithCancel(t.Context())
		err := c.Follow(ctx, "", func(p chargeclient.Page) error {
			if len(p.Events) > 0 {
				arrived = time.Since(start)
				time.AfterFunc(5*time.Second, cancel)
			}
			return nil
		})
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, time.Hour+10*time.Second, arrived)
		require.Equal(t, time.Hour+15*time.Second, time.Since(start))
		require.Len(t, srv.Requests(), 362)
	})
}

func TestFollowReadsPagesWithoutPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.New(t)
		for range 3 {
			srv.Seed(t, slices.Repeat([]chargeingest.ChargeEvent{chargetest.Sample("")}, 1000)...)
		}
		start, got := time.Now(), 0
		err := newClient(t, srv).Follow(t.Context(), "", func(p chargeclient.Page) error {
			if got += len(p.Events); got == 3000 {
				return errStop
			}
			return nil
		})
		require.ErrorIs(t, err, errStop)
		require.Zero(t, time.Since(start))
	})
}

func TestFollowRetriesWithoutLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.NewWith(t, chargetest.Options{RunningClock: true})
		srv.Seed(t, chargetest.Sample("a"))
		srv.FailFor(3*time.Hour, chargetest.Reset())
		c := newClient(t, srv, func(cfg *chargeclient.Config) { cfg.RetryTimeout = time.Second })
		err := c.Follow(t.Context(), "", func(p chargeclient.Page) error {
			require.Len(t, p.Events, 1)
			return errStop
		})
		require.ErrorIs(t, err, errStop)
	})
}

func TestFollowRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.New(t)
		for position, status := range map[string]int{"!": 400, "AAAAAAAAAAk": 400} {
			err := newClient(t, srv).Follow(t.Context(), position, nil)
			var failed *chargeclient.Error
			require.ErrorAs(t, err, &failed)
			require.Equal(t, status, failed.Status)
			require.Equal(t, "after", failed.Field)
		}
		srv.FailNext(1, chargetest.Status(401))
		require.ErrorContains(t, newClient(t, srv).Follow(t.Context(), "", nil), "401")
	})
}

func TestPosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.New(t)
		c := newClient(t, srv)
		for i := range 3 {
			position, err := c.Position(t.Context())
			require.NoError(t, err)
			srv.Seed(t, chargetest.Sample(strconv.Itoa(i)))
			err = c.Follow(t.Context(), position, func(p chargeclient.Page) error {
				require.Len(t, p.Events, 1)
				require.Equal(t, strconv.Itoa(i), *p.Events[0].Reference)
				return errStop
			})
			require.ErrorIs(t, err, errStop)
		}
		srv.FailNext(1, chargetest.Status(403))
		_, err := c.Position(t.Context())
		require.ErrorContains(t, err, "403")
	})
}
