package chargetest_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/chargetest"
)

func TestJournal(t *testing.T) {
	srv := chargetest.New(t)
	sender := overSocket(srv)
	requireStatus(t, 201)(sender.charge(t, "a"))
	requireStatus(t, 201)(sender.charge(t, "a"))
	srv.Advance(time.Second)
	unquoted := `{"product_item_id":"p","pricing_id":"p","pricing_item_id":"p","pricing_item_config_id":"p","reference":"b","value":{"number":1}}`
	requireStatus(t, 400)(sender.do(t.Context(), http.MethodPost, eventPath, []byte(unquoted)))
	sender.key = "wrong"
	requireStatus(t, 401)(sender.charge(t, "c"))

	list := srv.Requests()
	require.Len(t, list, 4)
	for i, want := range []chargetest.Request{
		{Number: 1, Status: 201, Stored: 1, Platform: "default", Route: chargeingest.RouteSingle},
		{Number: 2, Status: 201, Replayed: 1, Platform: "default", Route: chargeingest.RouteSingle},
		{Number: 3, Status: 400, Code: chargeingest.CodeInvalidField, Field: "value.number", Platform: "default", Route: chargeingest.RouteSingle},
		{Number: 4, Status: 401, Code: chargeingest.CodeUnauthorised, Route: chargeingest.RouteSingle},
	} {
		got := list[i]
		require.Equal(t, want, chargetest.Request{
			Number: got.Number, Status: got.Status, Stored: got.Stored, Replayed: got.Replayed,
			Platform: got.Platform, Route: got.Route, Code: got.Code, Field: got.Field,
		})
		require.Equal(t, got.Status >= 400, got.Rejected())
		require.Equal(t, string(got.ResponseBody) != "", got.Status != 0)
	}
	require.Equal(t, "b", *list[2].Events[0].Reference)
	require.Equal(t, srv.Now(), list[3].ReceivedAt)
	require.Equal(t, time.Second, list[3].ReceivedAt.Sub(list[0].ReceivedAt))

	dump := srv.Dump()
	for _, part := range []string{"stored: 1", "requests: 4", "2026-01-01T00:00:01Z", "1 replayed", "UNAUTHORISED", "[c]"} {
		require.Contains(t, dump, part)
	}
	for _, secret := range []string{srv.APIKey(), "wrong"} {
		require.NotContains(t, dump, secret)
	}
}

func TestLogHasRejectionsButNoSuccesses(t *testing.T) {
	tb := new(fakeTB)
	srv := chargetest.New(tb)
	defer tb.end()
	sender := overSocket(srv)
	requireStatus(t, 201)(sender.charge(t, "a"))
	require.Empty(t, tb.log())
	ev := chargetest.Sample("b")
	ev.Value.Amount.Currency = "euro"
	requireStatus(t, 400)(sender.send(t, ev))
	require.Contains(t, tb.log(), "request 2: POST /v1/ingest/charge-data [b]: 400 INVALID_FIELD: value.amount.currency")
	srv.FailNext(1, chargetest.Reset(), chargetest.Reference("c"))
	_, err := sender.charge(t, "c")
	require.Error(t, err)
	require.Contains(t, tb.log(), "request 3: POST /v1/ingest/charge-data [c]: no response (fault FailNext(1, Reset()) for reference \"c\")")
	require.Empty(t, tb.failure())
}

func TestHint(t *testing.T) {
	srv := chargetest.New(t)
	sender := overSocket(srv)
	for _, c := range []struct{ path, body, want string }{
		{"/api/v1/ingest/charge-data", `{}`, "/api"},
		{"/v1/ingest/charge-data/", `{}`, "extra slash"},
		{"/v1/ingest/charge-date", `{}`, "did you mean /v1/ingest/charge-data"},
		{"/charge-datas", `{}`, "did you mean /v1/ingest/charge-datas"},
		{"/ingest/charge-data", `{}`, "start with /v1/"},
		{"/v2/ingest/charge-data", `{}`, "start with /v1/"},
		{eventPath, `{"product_item_id":"a","pricing_id":"b","pricing_item_id":"c","pricing_item_config_id":"d","Reference":"e"}`, "Reference: did you mean reference?"},
		{eventPath, `{"productItemId":"a","pricing_id":"b","pricing_item_id":"c","pricing_item_config_id":"d"}`, "productItemId: did you mean product_item_id?"},
		{eventPath, `{"charge_datas":[]}`, "batches are sent to /v1/ingest/charge-datas"},
		{eventPath + "s", `{"product_item_id":"a"}`, "single events are sent to /v1/ingest/charge-data"},
		{eventPath + "s", `{"charge_datas":[]}`, ""},
		{"/v1/charge-data", `{}`, "did you mean /v1/ingest/charge-data?"},
		{eventPath, `{"product_item_id":"a","pricing_id":"b","pricing_item_id":"c","pricing_item_config_id":"d","value":{"Number":"1"}}`, "did you mean value.number?"},
		{eventPath, `{"product_item_id":"","pricing_id":"b","pricing_item_id":"c","pricing_item_config_id":"d"}`, ""},
		{"/health", `{}`, ""},
	} {
		_, err := sender.do(t.Context(), http.MethodPost, c.path, []byte(c.body))
		require.NoError(t, err)
		list := srv.Requests()
		last := list[len(list)-1]
		require.True(t, last.Rejected(), c.path)
		if c.want == "" {
			require.Empty(t, last.Hint, c.path)
		}
		require.Contains(t, last.Hint, c.want, c.path)
	}
}

func TestHintForUnknownKey(t *testing.T) {
	srv := chargetest.New(t)
	sender := overSocket(srv)
	sender.key = "from-the-environment"
	requireStatus(t, 401)(sender.charge(t, "a"))
	require.Contains(t, srv.Requests()[0].Hint, "Server.APIKey")
}

func TestWaitTimeoutReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := new(fakeTB)
		srv := chargetest.NewWith(tb, chargetest.Options{WaitTimeout: 5 * time.Second})
		defer tb.end()
		sender := inMemory(srv)
		requireStatus(t, 201)(sender.charge(t, "order-24"))
		rejected := chargetest.Sample("order-42")
		rejected.PricingID = ""
		requireStatus(t, 400)(sender.send(t, rejected))
		start := time.Now()
		require.Zero(t, srv.WaitEvent(tb, chargetest.Reference("order-42")))
		require.Equal(t, 5*time.Second, time.Since(start))
		for _, part := range []string{
			`reference "order-42": 0 stored, waited for 1`,
			"it was sent in request 2", "pricing_id",
			"a similar reference is stored: default", "order-24", "requests: 2",
		} {
			require.Contains(t, tb.failure(), part)
		}
	})
}

type deadlineTB struct {
	*fakeTB
	deadline time.Time
}

func (d deadlineTB) Deadline() (time.Time, bool) { return d.deadline, true }

func TestWaitEndsBeforeTestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.New(t)
		tb := deadlineTB{new(fakeTB), time.Now().Add(10 * time.Second)}
		start := time.Now()
		require.Empty(t, srv.WaitEvents(tb, 2))
		require.Equal(t, 9*time.Second, time.Since(start))
		require.Contains(t, tb.failure(), "events: 0 stored, waited for 2")

		tb = deadlineTB{new(fakeTB), time.Now().Add(10 * time.Second)}
		require.Empty(t, srv.WaitRequests(tb, 2))
		require.Contains(t, tb.failure(), "0 requests received, waited for 2")
	})
}

func TestAssertions(t *testing.T) {
	tb := new(fakeTB)
	srv := chargetest.New(tb)
	defer tb.end()
	ev := chargetest.Sample("order-42")
	ev.PricingPlanSubscriptionSelector = &chargeingest.Selector{
		Data: []chargeingest.SelectorEntry{{Field: "PRICING_PLAN_REFERENCE", Value: new("a")}}, Rules: []chargeingest.SelectorEntry{},
	}
	srv.Seed(t, ev)
	require.True(t, srv.AssertEvent(tb, ev))
	require.True(t, srv.AssertCount(tb, 1, chargetest.Reference("order-42"), chargetest.Customer("customer-sample")))
	require.True(t, srv.AssertNoRejections(tb))
	require.Empty(t, tb.failure())

	want := chargetest.Sample("order-42")
	want.Value.Amount.Quantity = "1250"
	want.Description = new("twelve fifty")
	want.PricingPlanSubscriptionSelector = &chargeingest.Selector{
		Data: []chargeingest.SelectorEntry{{Field: "PRICING_PLAN_REFERENCE", Value: new("b")}},
	}
	require.False(t, srv.AssertEvent(tb, want))
	for _, line := range []string{
		`  - value.amount.quantity: "1250"`, `  + value.amount.quantity: "12.50"`,
		`  - description: "twelve fifty"`, `  + pricing_plan_subscription_selector.rules: []`,
		`  - pricing_plan_subscription_selector.data.0.value: "b"`,
	} {
		require.Contains(t, tb.failure(), line)
	}
	require.NotContains(t, tb.failure(), "currency", "equal fields are not shown")

	want.Timestamp = new("2020-01-01T00:00:00Z")
	require.False(t, srv.AssertEvent(tb, want))
	require.Contains(t, tb.failure(), `- timestamp: "2020-01-01T00:00:00Z"`)
	require.False(t, srv.AssertEvent(tb, chargetest.Sample("order-43")))
	require.Contains(t, tb.failure(), `reference "order-43": 0 stored, want 1`)
	require.False(t, srv.AssertEvent(tb, chargetest.Sample("")))
	require.False(t, srv.AssertCount(tb, 2))
	require.Contains(t, tb.failure(), "events: 1 stored, want 2")
	requireStatus(t, 404)(overSocket(srv).do(t.Context(), http.MethodGet, "/", nil))
	require.False(t, srv.AssertNoRejections(tb))
	require.Contains(t, tb.failure(), "rejected requests: 1\n  request 1: GET /")
}

func TestSeedStoresAllOrNothing(t *testing.T) {
	tb := new(fakeTB)
	srv := chargetest.New(tb)
	defer tb.end()
	seeded := srv.SeedOn(t, "pf_b", chargetest.Sample("a"), chargetest.Sample("b"))
	require.Equal(t, seeded, srv.Events())
	require.Equal(t, "pf_b", seeded[0].Platform)
	require.Empty(t, srv.Seed(t))
	require.Empty(t, srv.Seed(tb, chargetest.Sample("c"), chargeingest.ChargeEvent{}))
	require.Contains(t, tb.failure(), "charge_datas.1.product_item_id")
	require.Len(t, srv.Events(), 2)

	ev, ok := srv.Event("b")
	require.True(t, ok)
	require.Equal(t, seeded[1], ev)
	_, ok = srv.Event("c")
	require.False(t, ok)
}

type fatalTB struct {
	*fakeTB
	ended bool
}

func (e *fatalTB) FailNow() { e.ended = true }

func TestWaitEndsTestOnlyOnTestGoroutine(t *testing.T) {
	for _, wait := range []func(*chargetest.Server, chargetest.TB){
		func(s *chargetest.Server, t chargetest.TB) { s.WaitEvent(t) },
		func(s *chargetest.Server, t chargetest.TB) { s.WaitRequests(t, 1) },
		func(s *chargetest.Server, t chargetest.TB) { s.Seed(t, chargeingest.ChargeEvent{}) },
	} {
		tb := &fatalTB{fakeTB: new(fakeTB)}
		srv := chargetest.NewWith(tb, chargetest.Options{WaitTimeout: time.Nanosecond})
		done := make(chan struct{})
		go func() {
			defer close(done)
			wait(srv, tb)
		}()
		<-done
		require.NotEmpty(t, tb.failure())
		require.False(t, tb.ended)
		wait(srv, tb)
		require.True(t, tb.ended)
		tb.end()
	}
}

func TestRealTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.NewWith(t, chargetest.Options{RealTime: true, StartTime: time.Unix(0, 0)})
		require.Equal(t, time.Now().UTC(), srv.Now())
		srv.Advance(time.Hour)
		time.Sleep(time.Minute)
		require.Equal(t, time.Now().Add(time.Hour).UTC(), srv.Now())
		srv.Reset()
		require.Equal(t, time.Now().UTC(), srv.Now())
	})
}

func TestRunningClockInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.NewWith(t, chargetest.Options{RunningClock: true})
		start := srv.Now()
		srv.FailFor(90*time.Second, chargetest.Status(503))
		sender := inMemory(srv)
		require.Equal(t, "90", requireStatus(t, 503)(sender.charge(t, "a")).Header.Get("Retry-After"))
		time.Sleep(60 * time.Second)
		srv.Advance(20 * time.Second)
		require.Equal(t, "10", requireStatus(t, 503)(sender.charge(t, "a")).Header.Get("Retry-After"))
		time.Sleep(10 * time.Second)
		requireStatus(t, 201)(sender.charge(t, "a"))
		require.Equal(t, 90*time.Second, srv.Now().Sub(start))
		srv.Reset()
		require.Equal(t, start, srv.Now())
	})
}
