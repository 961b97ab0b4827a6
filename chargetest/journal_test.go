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

func TestTheJournalHasEveryRequestAndWhatBecameOfIt(t *testing.T) {
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
		{N: 1, Status: 201, Stored: 1, Platform: "default", Route: chargeingest.RouteSingle},
		{N: 2, Status: 201, Replayed: 1, Platform: "default", Route: chargeingest.RouteSingle},
		{N: 3, Status: 400, Code: chargeingest.CodeInvalidField, Field: "value.number", Platform: "default", Route: chargeingest.RouteSingle},
		{N: 4, Status: 401, Code: chargeingest.CodeUnauthorised, Route: chargeingest.RouteSingle},
	} {
		got := list[i]
		require.Equal(t, want, chargetest.Request{
			N: got.N, Status: got.Status, Stored: got.Stored, Replayed: got.Replayed,
			Platform: got.Platform, Route: got.Route, Code: got.Code, Field: got.Field,
		})
		require.Equal(t, got.Status >= 400, got.Rejected())
		require.Equal(t, string(got.Answer) != "", got.Status != 0)
	}
	require.Equal(t, "b", *list[2].Events[0].Reference)
	require.Equal(t, srv.Now(), list[3].At)
	require.Equal(t, time.Second, list[3].At.Sub(list[0].At))

	dump := srv.Dump()
	for _, part := range []string{"stored: 1", "requests: 4", "2026-01-01T00:00:01Z", "1 replayed", "UNAUTHORISED", "[c]"} {
		require.Contains(t, dump, part)
	}
	for _, secret := range []string{srv.APIKey(), "wrong"} {
		require.NotContains(t, dump, secret)
	}
}

func TestARejectionIsInTheTestsLogAndASuccessIsNot(t *testing.T) {
	told := new(recorder)
	srv := chargetest.New(told)
	defer told.end()
	sender := overSocket(srv)
	requireStatus(t, 201)(sender.charge(t, "a"))
	require.Empty(t, told.log())
	ev := chargetest.Sample("b")
	ev.Value.Amount.Currency = "euro"
	requireStatus(t, 400)(sender.send(t, ev))
	require.Contains(t, told.log(), "request 2: POST /v1/ingest/charge-data [b]: 400 INVALID_FIELD: value.amount.currency")
	srv.FailNext(1, chargetest.Reset(), chargetest.Reference("c"))
	_, err := sender.charge(t, "c")
	require.Error(t, err)
	require.Contains(t, told.log(), "request 3: POST /v1/ingest/charge-data [c]: no answer (fault FailNext(1, Reset()))")
	require.Empty(t, told.failure())
}

func TestANearMissIsNamed(t *testing.T) {
	srv := chargetest.New(t)
	sender := overSocket(srv)
	for _, c := range []struct{ path, body, want string }{
		{"/api/v1/ingest/charge-data", `{}`, "/api"},
		{"/v1/ingest/charge-data/", `{}`, "slash too many"},
		{"/v1/ingest/charge-date", `{}`, "did you mean /v1/ingest/charge-data"},
		{"/charge-datas", `{}`, "did you mean /v1/ingest/charge-datas"},
		{"/ingest/charge-data", `{}`, "start with /v1/"},
		{"/v2/ingest/charge-data", `{}`, "start with /v1/"},
		{eventPath, `{"product_item_id":"a","pricing_id":"b","pricing_item_id":"c","pricing_item_config_id":"d","Reference":"e"}`, "Reference: did you mean reference?"},
		{eventPath, `{"productItemId":"a","pricing_id":"b","pricing_item_id":"c","pricing_item_config_id":"d"}`, "productItemId: did you mean product_item_id?"},
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
			require.Empty(t, last.NearMiss, c.path)
		}
		require.Contains(t, last.NearMiss, c.want, c.path)
	}
}

func TestACallerWithAnotherKeyIsToldOfTheRightOne(t *testing.T) {
	srv := chargetest.New(t)
	sender := overSocket(srv)
	sender.key = "from-the-environment"
	requireStatus(t, 401)(sender.charge(t, "a"))
	require.Contains(t, srv.Requests()[0].NearMiss, "Server.APIKey")
}

func TestAWaitThatIsOverTellsWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := new(recorder)
		srv := chargetest.NewWith(told, chargetest.Options{Wait: 5 * time.Second})
		defer told.end()
		sender := inMemory(srv)
		requireStatus(t, 201)(sender.charge(t, "order-24"))
		refused := chargetest.Sample("order-42")
		refused.PricingID = ""
		requireStatus(t, 400)(sender.send(t, refused))
		start := time.Now()
		require.Zero(t, srv.WaitEvent(told, chargetest.Reference("order-42")))
		require.Equal(t, 5*time.Second, time.Since(start))
		for _, part := range []string{
			`reference "order-42": 0 stored, waited for 1`,
			"it was sent by request 2", "pricing_id",
			"a similar one is stored: default", "order-24", "requests: 2",
		} {
			require.Contains(t, told.failure(), part)
		}
	})
}

// dated is a test with a deadline.
type dated struct {
	*recorder
	deadline time.Time
}

func (d dated) Deadline() (time.Time, bool) { return d.deadline, true }

func TestAWaitEndsBeforeTheTestsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.New(t)
		told := dated{new(recorder), time.Now().Add(10 * time.Second)}
		start := time.Now()
		require.Empty(t, srv.WaitEvents(told, 2))
		require.Equal(t, 9*time.Second, time.Since(start))
		require.Contains(t, told.failure(), "events: 0 stored, waited for 2")

		told = dated{new(recorder), time.Now().Add(10 * time.Second)}
		require.Empty(t, srv.WaitRequests(told, 2))
		require.Contains(t, told.failure(), "0 requests came in, waited for 2")
	})
}

func TestAnAssertionThatFailsShowsTheDifference(t *testing.T) {
	told := new(recorder)
	srv := chargetest.New(told)
	defer told.end()
	ev := chargetest.Sample("order-42")
	ev.PricingPlanSubscriptionSelector = &chargeingest.Selector{
		Data: []chargeingest.SelectorEntry{{Field: "PRICING_PLAN_REFERENCE", Value: new("a")}}, Rules: []chargeingest.SelectorEntry{},
	}
	srv.Seed(t, ev)
	require.True(t, srv.AssertEvent(told, ev))
	require.True(t, srv.AssertCount(told, 1, chargetest.Reference("order-42"), chargetest.Customer("customer-sample")))
	require.True(t, srv.AssertNoRejections(told))
	require.Empty(t, told.failure())

	want := chargetest.Sample("order-42")
	want.Value.Amount.Quantity = "1250"
	want.Description = new("twelve fifty")
	want.PricingPlanSubscriptionSelector = &chargeingest.Selector{
		Data: []chargeingest.SelectorEntry{{Field: "PRICING_PLAN_REFERENCE", Value: new("b")}},
	}
	require.False(t, srv.AssertEvent(told, want))
	for _, line := range []string{
		`  - value.amount.quantity: "1250"`, `  + value.amount.quantity: "12.50"`,
		`  - description: "twelve fifty"`, `  + pricing_plan_subscription_selector.rules: []`,
		`  - pricing_plan_subscription_selector.data.0.value: "b"`,
	} {
		require.Contains(t, told.failure(), line)
	}
	require.NotContains(t, told.failure(), "currency", "what is equal is not shown")

	want.Timestamp = new("2020-01-01T00:00:00Z")
	require.False(t, srv.AssertEvent(told, want))
	require.Contains(t, told.failure(), `- timestamp: "2020-01-01T00:00:00Z"`)
	require.False(t, srv.AssertEvent(told, chargetest.Sample("order-43")))
	require.Contains(t, told.failure(), `reference "order-43": 0 stored, want 1`)
	require.False(t, srv.AssertEvent(told, chargetest.Sample("")))
	require.False(t, srv.AssertCount(told, 2))
	require.Contains(t, told.failure(), "events: 1 stored, want 2")
	requireStatus(t, 404)(overSocket(srv).do(t.Context(), http.MethodGet, "/", nil))
	require.False(t, srv.AssertNoRejections(told))
	require.Contains(t, told.failure(), "1 requests were rejected:\n  request 1: GET /")
}

func TestSeedStoresAllOrNothing(t *testing.T) {
	told := new(recorder)
	srv := chargetest.New(told)
	defer told.end()
	seeded := srv.SeedOn(t, "pf_b", chargetest.Sample("a"), chargetest.Sample("b"))
	require.Equal(t, seeded, srv.Events())
	require.Equal(t, "pf_b", seeded[0].Platform)
	require.Empty(t, srv.Seed(t))
	require.Empty(t, srv.Seed(told, chargetest.Sample("c"), chargeingest.ChargeEvent{}))
	require.Contains(t, told.failure(), "charge_datas.1.product_item_id")
	require.Len(t, srv.Events(), 2)

	ev, ok := srv.Event("b")
	require.True(t, ok)
	require.Equal(t, seeded[1], ev)
	_, ok = srv.Event("c")
	require.False(t, ok)
}

// ending is a test that can be ended.
type ending struct {
	*recorder
	ended bool
}

func (e *ending) FailNow() { e.ended = true }

func TestAWaitEndsTheTestOnItsOwnGoroutineOnly(t *testing.T) {
	for _, wait := range []func(*chargetest.Server, chargetest.TB){
		func(s *chargetest.Server, t chargetest.TB) { s.WaitEvent(t) },
		func(s *chargetest.Server, t chargetest.TB) { s.WaitRequests(t, 1) },
		func(s *chargetest.Server, t chargetest.TB) { s.Seed(t, chargeingest.ChargeEvent{}) },
	} {
		told := &ending{recorder: new(recorder)}
		srv := chargetest.NewWith(told, chargetest.Options{Wait: time.Nanosecond})
		done := make(chan struct{})
		go func() {
			defer close(done)
			wait(srv, told)
		}()
		<-done
		require.NotEmpty(t, told.failure())
		require.False(t, told.ended)
		wait(srv, told)
		require.True(t, told.ended)
		told.end()
	}
}

func TestAClockThatRunsGoesWithTheBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.NewWith(t, chargetest.Options{ClockRuns: true})
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
