package chargetest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/chargetest"
)

type errorResponse struct {
	Type, Code, Field, Message string
	Errors                     []struct{ Code, Field, Message string }
}

func decodeError(t *testing.T, res response) (e errorResponse) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(res.text), &e), res.text)
	return e
}

func (c client) chargeBatch(t *testing.T, events ...chargeingest.ChargeEvent) (response, error) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"charge_datas": events})
	require.NoError(t, err)
	return c.do(t.Context(), http.MethodPost, eventPath+"s", body)
}

func sampleAt(reference, timestamp string) chargeingest.ChargeEvent {
	ev := chargetest.Sample(reference)
	ev.Timestamp = &timestamp
	return ev
}

var known = chargetest.Catalogue{Customers: []string{"customer-sample"}, Products: []string{"proi_sample"}}

func TestQuirks(t *testing.T) {
	const valid = "2026-01-01T00:30:00Z"
	inPeriod := chargetest.Sample("order-0001")
	inPeriod.Period = &chargeingest.Period{StartAt: new("2026-01-01T00:00:00.5Z"), EndAt: new("2026-01-02T00:00:00Z")}
	subscribed := chargetest.Sample("order-0001")
	subscribed.PricingPlanSubscriptionReference = new("subscription-x")
	tests := map[string]struct {
		quirk  chargetest.Quirks
		events []chargeingest.ChargeEvent // a batch unless it is one
		status int
		fields []string
		hint   string
	}{
		"reference of 9 characters": {
			chargetest.Quirks{MinReferenceLength: 10}, []chargeingest.ChargeEvent{chargetest.Sample("order-001")},
			400, []string{"reference"}, "MinReferenceLength",
		},
		"reference of 10 characters": {
			quirk: chargetest.Quirks{MinReferenceLength: 10}, events: []chargeingest.ChargeEvent{chargetest.Sample("order-0001")}, status: 201,
		},
		"no reference": {
			quirk: chargetest.Quirks{MinReferenceLength: 10}, events: []chargeingest.ChargeEvent{chargetest.Sample("")}, status: 201,
		},
		"short references in a batch": {
			chargetest.Quirks{MinReferenceLength: 10}, []chargeingest.ChargeEvent{chargetest.Sample("a"), chargetest.Sample("order-0001"), chargetest.Sample("b")},
			400, []string{"charge_datas.0.reference", "charge_datas.2.reference"}, "MinReferenceLength",
		},
		"30 minutes ahead": {
			quirk: chargetest.Quirks{MaxFutureSkew: 30 * time.Minute}, events: []chargeingest.ChargeEvent{sampleAt("a", valid)}, status: 201,
		},
		"more than 30 minutes ahead": {
			chargetest.Quirks{MaxFutureSkew: 30 * time.Minute}, []chargeingest.ChargeEvent{sampleAt("a", "2026-01-01T00:30:00.1Z")},
			400, []string{"timestamp"}, "MaxFutureSkew",
		},
		"whole seconds": {
			quirk: chargetest.Quirks{WholeSeconds: true}, events: []chargeingest.ChargeEvent{sampleAt("a", "2026-01-01T02:00:00+02:00"), chargetest.Sample("b")}, status: 201,
		},
		"milliseconds that are zero": {
			chargetest.Quirks{WholeSeconds: true}, []chargeingest.ChargeEvent{sampleAt("a", "2026-01-01T00:00:00.000Z")},
			400, []string{"timestamp"}, "WholeSeconds",
		},
		"a period with a fraction": {
			chargetest.Quirks{WholeSeconds: true}, []chargeingest.ChargeEvent{inPeriod}, 400, []string{"period.start_at"}, "WholeSeconds",
		},
		"a batch of 2": {
			quirk: chargetest.Quirks{MaxBatchEvents: 2}, events: []chargeingest.ChargeEvent{chargetest.Sample("a"), chargetest.Sample("b")}, status: 201,
		},
		"a batch of 3": {
			chargetest.Quirks{MaxBatchEvents: 2}, []chargeingest.ChargeEvent{chargetest.Sample("a"), chargetest.Sample("b"), chargetest.Sample("c")},
			400, []string{"charge_datas"}, "MaxBatchEvents",
		},
		"known names": {
			quirk: chargetest.Quirks{Catalogue: true}, events: []chargeingest.ChargeEvent{chargetest.Sample("a")}, status: 201,
		},
		"an unknown subscription": {
			chargetest.Quirks{Catalogue: true}, []chargeingest.ChargeEvent{chargetest.Sample("a"), subscribed},
			404, []string{"charge_datas.1.pricing_plan_subscription_reference"}, "Catalogue: add what is known with Server.AddToCatalogue or PUT /sandbox/catalogue",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, quirks := range []chargetest.Quirks{{}, test.quirk} {
				srv := chargetest.NewWith(t, chargetest.Options{Quirks: quirks, Catalogue: known})
				send := func() (response, error) { return inMemory(srv).chargeBatch(t, test.events...) }
				if len(test.events) == 1 {
					send = func() (response, error) { return inMemory(srv).send(t, test.events[0]) }
				}
				if test.status == 201 || quirks == (chargetest.Quirks{}) {
					requireStatus(t, 201)(send())
					srv.AssertCount(t, len(test.events))
					continue
				}
				requireRejection(t, srv, requireStatus(t, test.status)(send()), test.fields, "by the quirk "+test.hint)
			}
		})
	}
}

func requireRejection(t *testing.T, srv *chargetest.Server, res response, fields []string, hint string) {
	t.Helper()
	e := decodeError(t, res)
	code := "INVALID_FIELD"
	if res.StatusCode == http.StatusNotFound {
		code = "RESOURCES_NOT_FOUND"
	}
	require.Equal(t, "INVALID_REQUEST", e.Type)
	require.Equal(t, []string{code, fields[0]}, []string{e.Code, e.Field})
	require.Len(t, e.Errors, len(fields), res.text)
	for i, field := range fields {
		require.Equal(t, field, e.Errors[i].Field)
		require.True(t, strings.HasPrefix(e.Errors[i].Message, field+" "), e.Errors[i].Message)
	}
	require.Empty(t, res.Header.Get("Retry-After"))
	require.NotEmpty(t, res.Header.Get("X-Request-Id"))
	srv.AssertCount(t, 0)
	r := srv.WaitRequest(t, 1)
	require.True(t, r.Rejected())
	require.Equal(t, []any{res.StatusCode, chargeingest.Code(code), e.Field, e.Message, len(fields), hint}, []any{r.Status, r.Code, r.Field, r.Message, r.Violations, r.Hint})
}

func TestQuirkReturnOriginal(t *testing.T) {
	srv := chargetest.New(t)
	c := inMemory(srv)
	first := requireStatus(t, 201)(c.charge(t, "order-0001"))
	changed := chargetest.Sample("order-0001")
	changed.CustomerReference = new("someone-else")
	requireStatus(t, 409)(c.send(t, changed))
	require.NoError(t, srv.SetQuirks(chargetest.Quirks{ReturnOriginal: true}))
	again := requireStatus(t, 201)(c.send(t, changed))
	require.Equal(t, first.text, again.text)
	require.Equal(t, "true", again.Header.Get("Idempotent-Replayed"))
	srv.AssertCount(t, 1)
	require.NoError(t, srv.SetQuirks(chargetest.Quirks{}))
	requireStatus(t, 409)(c.send(t, changed))
}

func TestQuirkRateLimit(t *testing.T) {
	srv := chargetest.NewWith(t, chargetest.Options{Quirks: chargetest.Quirks{RateLimit: chargetest.RateLimit{Requests: 2, Window: 10 * time.Second}}})
	c := inMemory(srv)
	requireStatus(t, 201)(c.charge(t, "a"))
	requireStatus(t, 401)(client{c.http, c.base, "wrong"}.charge(t, "b"))
	srv.Advance(7500 * time.Millisecond)
	for range 2 {
		res := requireStatus(t, 429)(c.charge(t, "c"))
		require.Equal(t, "3", res.Header.Get("Retry-After"))
		require.Equal(t, "TOO_MANY_REQUESTS", decodeError(t, res).Code)
	}
	r := srv.WaitRequest(t, 3)
	require.True(t, r.Rejected())
	require.Equal(t, "by the quirk RateLimit", r.Hint)
	require.Equal(t, "c", *r.Events[0].Reference)
	srv.AssertCount(t, 1)
	srv.Advance(2500 * time.Millisecond)
	requireStatus(t, 201)(c.charge(t, "c"))
}

func TestQuirksOfVendor(t *testing.T) {
	srv := chargetest.NewWith(t, chargetest.Options{Quirks: chargetest.VendorQuirks()})
	c := inMemory(srv)
	e := decodeError(t, requireStatus(t, 404)(c.chargeBatch(t, chargetest.Sample("order-0001"), chargetest.Sample("order-0002"))))
	var fields []string
	for _, v := range e.Errors {
		fields = append(fields, v.Field)
	}
	require.Equal(t, []string{
		"charge_datas.0.product_item_id", "charge_datas.0.customer_reference", "charge_datas.1.product_item_id", "charge_datas.1.customer_reference",
	}, fields)
	require.Equal(t, `charge_datas.0.product_item_id names an unknown product: "proi_sample"`, e.Message)
	srv.AddToCatalogue(known)
	requireStatus(t, 201)(c.charge(t, "order-0001"))
	srv.AddToCatalogue(chargetest.Catalogue{Customers: []string{"b", "a", "b"}})
	require.Equal(t, chargetest.Catalogue{Customers: []string{"a", "b", "customer-sample"}, Products: known.Products}, srv.Catalogue())
	srv.SetCatalogue(chargetest.Catalogue{})
	requireStatus(t, 404)(c.charge(t, "order-0001"))
	srv.Seed(t, chargetest.Sample("s")) // not a request
	srv.AssertCount(t, 2)
}

func TestQuirksComeAfterOtherRules(t *testing.T) {
	srv := chargetest.NewWith(t, chargetest.Options{Quirks: chargetest.Quirks{Catalogue: true, MinReferenceLength: 10}})
	c := inMemory(srv)
	invalid := chargetest.Sample("short")
	invalid.PricingID = ""
	e := decodeError(t, requireStatus(t, 400)(c.send(t, invalid)))
	require.Equal(t, "pricing_id", e.Field)
	require.Len(t, e.Errors, 1)
	requireStatus(t, 401)(client{c.http, c.base, "wrong"}.charge(t, "short"))
	require.Equal(t, "reference", decodeError(t, requireStatus(t, 400)(c.charge(t, "short"))).Field)
	srv.FailNext(1, chargetest.StoreError(chargeingest.ErrOverloaded))
	requireStatus(t, 404)(c.charge(t, "order-0001"))
	srv.FailNext(1, chargetest.Reset().AfterCommit())
	_, err := c.charge(t, "order-0001")
	require.Error(t, err)
	srv.AssertCount(t, 0)
}

func TestQuirksChangeWhileServing(t *testing.T) {
	initial := chargetest.Quirks{MinReferenceLength: 4}
	srv := chargetest.NewWith(t, chargetest.Options{Quirks: initial, Catalogue: known})
	c := inMemory(srv)
	requireStatus(t, 201)(c.charge(t, "long"))
	require.NoError(t, srv.SetQuirks(chargetest.Quirks{MinReferenceLength: 5}))
	srv.Restart()
	requireStatus(t, 400)(c.charge(t, "less"))
	srv.AssertCount(t, 1)
	require.Len(t, srv.Requests(), 2)
	for field, invalid := range map[string]chargetest.Quirks{
		"MinReferenceLength": {MinReferenceLength: 257},
		"MaxFutureSkew":      {MaxFutureSkew: -1},
		"MaxBatchEvents":     {MaxBatchEvents: -1},
		"RateLimit":          {RateLimit: chargetest.RateLimit{Requests: 1}},
	} {
		require.ErrorContains(t, srv.SetQuirks(invalid), "Quirks."+field+" must be ")
	}
	require.Equal(t, chargetest.Quirks{MinReferenceLength: 5}, srv.Quirks())
	srv.SetCatalogue(chargetest.Catalogue{})
	srv.Reset()
	require.Equal(t, initial, srv.Quirks())
	require.Equal(t, known.Customers, srv.Catalogue().Customers)
}

func TestQuirkViolationsAreLimited(t *testing.T) {
	srv := chargetest.NewWith(t, chargetest.Options{Quirks: chargetest.Quirks{Catalogue: true}})
	var events []chargeingest.ChargeEvent
	for i := range 300 {
		ev := chargetest.Sample("")
		ev.ProductItemID = fmt.Sprint(i, strings.Repeat("x", 200))
		events = append(events, ev)
	}
	res := requireStatus(t, 404)(inMemory(srv).chargeBatch(t, events...))
	require.LessOrEqual(t, len(decodeError(t, res).Errors), 100)
	require.Less(t, len(res.text), 16<<10)
}
