package chargeingest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

func (f *fixture) page(t *testing.T, parameters ...string) response {
	t.Helper()
	query := make(url.Values)
	for i := 0; i < len(parameters); i += 2 {
		query.Add(parameters[i], parameters[i+1])
	}
	resp := f.get(t, eventPath+"?"+query.Encode())
	require.Equal(t, http.StatusOK, resp.status, resp.text)
	return resp
}

func (resp response) descriptions() []string {
	names := []string{}
	for _, e := range resp.body["data"].([]any) {
		names = append(names, e.(map[string]any)["description"].(string))
	}
	return names
}

func (f *fixture) storeNumbered(t *testing.T, first, n int) {
	t.Helper()
	events := make([]string, n)
	for i := range events {
		events[i] = event(`"description":` + quoted(strconv.Itoa(first+i)))
	}
	f.post(t, eventsPath, batch(events...)).requireStored(t)
}

func numbers(first, last int) []string {
	step := 1
	if last < first {
		step = -1
	}
	list := []string{}
	for i := first; ; i += step {
		list = append(list, strconv.Itoa(i))
		if i == last {
			return list
		}
	}
}

func TestListingShape(t *testing.T) {
	t.Parallel()
	t.Run("an empty page", func(t *testing.T) {
		require.JSONEq(t, `{"data":[],"limit":50,"next":null}`, newFixture(t).page(t).text)
	})
	t.Run("entries equal the response to the POST", func(t *testing.T) {
		f := newFixture(t)
		stored := f.post(t, eventPath, event(`"value":{"number":"1.0"}`, `"period":{}`)).requireStored(t)
		require.Equal(t, []any{stored}, f.page(t).body["data"])
	})
	t.Run("limit of the request", func(t *testing.T) {
		require.JSONEq(t, `{"data":[],"limit":7,"next":null}`, newFixture(t).page(t, "limit", "7").text)
	})
}

func TestListingFilters(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, c := range []struct{ description, fields string }{
		{"A", `"reference":"r-A","customer_id":"c1","customer_reference":"cr 1","pricing_plan_subscription_id":"s1","pricing_plan_subscription_reference":"sr1","timestamp":"2026-03-01T00:00:00Z"`},
		{"B", `"reference":"r-B","customer_id":"c1","customer_reference":"cr 2","pricing_plan_subscription_id":"s1","pricing_plan_subscription_reference":"sr2","timestamp":"2026-03-02T00:00:00.000000001Z","product_item_id":"proi_2"`},
		{"C", `"reference":"R-A","customer_id":"c2","customer_reference":"cr 1","pricing_plan_subscription_id":"s2","pricing_plan_subscription_reference":"sr1","timestamp":"2026-03-03T01:00:00+01:00"`},
		{"D", `"customer_id":null,"timestamp":"0001-01-01T00:00:00Z"`},
		{"E", `"customer_id":"é&=+","timestamp":"9999-12-31T23:59:59.999999999Z"`},
	} {
		fields := []string{`"description":` + quoted(c.description), c.fields}
		if c.description == "B" {
			fields = append(fields, "-product_item_id")
		}
		f.post(t, eventPath, event(fields...)).requireStored(t)
	}
	for _, c := range []struct {
		name       string
		parameters []string
		want       []string
	}{
		{"reference", []string{"reference", "r-A"}, []string{"A"}},
		{"customer_id", []string{"customer_id", "c1"}, []string{"A", "B"}},
		{"customer_id with escaped characters", []string{"customer_id", "é&=+"}, []string{"E"}},
		{"customer_reference", []string{"customer_reference", "cr 1"}, []string{"A", "C"}},
		{"pricing_plan_subscription_id", []string{"pricing_plan_subscription_id", "s1"}, []string{"A", "B"}},
		{"pricing_plan_subscription_reference", []string{"pricing_plan_subscription_reference", "sr1"}, []string{"A", "C"}},
		{"product_item_id", []string{"product_item_id", "proi_2"}, []string{"B"}},
		{"from is inclusive", []string{"from", "2026-03-01T00:00:00Z"}, []string{"A", "B", "C", "E"}},
		{"from is compared by nanoseconds", []string{"from", "2026-03-02T00:00:00.000000002Z", "to", "2027-01-01T00:00:00Z"}, []string{"C"}},
		{"to is exclusive", []string{"to", "2026-03-02T00:00:00.000000001Z"}, []string{"A", "D"}},
		{"from and to are compared as instants", []string{"from", "2026-03-02T23:00:00-01:00", "to", "2026-03-03T00:00:00.000000001Z"}, []string{"C"}},
		{"to in the first year", []string{"to", "0001-01-01T00:00:00.000000001Z"}, []string{"D"}},
		{"to at the first instant", []string{"to", "0001-01-01T00:00:00Z"}, []string{}},
		{"from at the last instant", []string{"from", "9999-12-31T23:59:59.999999999Z"}, []string{"E"}},
		{"from equals to", []string{"from", "2026-03-01T00:00:00Z", "to", "2026-03-01T00:00:00Z"}, []string{}},
		{"lower-case from", []string{"from", "2026-03-03t00:00:00z", "to", "2027-01-01t00:00:00z"}, []string{"C"}},
		{"all filters must match", []string{"customer_id", "c1", "customer_reference", "cr 1", "reference", "r-A"}, []string{"A"}},
		{"filters without a common event", []string{"customer_id", "c2", "reference", "r-A"}, []string{}},
		{"an unknown value", []string{"customer_id", "c9"}, []string{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, f.page(t, append(c.parameters, "order", "asc")...).descriptions())
		})
	}
}

func TestScanLimit(t *testing.T) {
	t.Parallel()
	f := newFixture(t, withStore(&readableStore{
		Store: memstore.New(),
		list: func(context.Context, chargeingest.Query) (chargeingest.Page, error) {
			return chargeingest.Page{}, fmt.Errorf("slow: %w", chargeingest.ErrScanLimit)
		},
	}))
	resp := f.get(t, eventPath+"?product_item_id=x")
	resp.requireRetryable(t, true)
	for _, name := range []string{"reference", "customer_id", "customer_reference", "cursor"} {
		require.Contains(t, resp.body["message"], name)
	}
}

func TestListingLimit(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.storeNumbered(t, 1, 1000)
	f.post(t, eventPath, event(`"description":"1001"`)).requireStored(t)
	for name, c := range map[string]struct{ limit, newest, oldest int }{
		"the default is 50": {0, 1001, 952}, "1 is the minimum": {1, 1001, 1001}, "1000 is the maximum": {1000, 1001, 2},
	} {
		t.Run(name, func(t *testing.T) {
			var parameters []string
			if c.limit > 0 {
				parameters = []string{"limit", strconv.Itoa(c.limit)}
			}
			resp := f.page(t, parameters...)
			require.Equal(t, numbers(c.newest, c.oldest), resp.descriptions())
			require.NotNil(t, resp.body["next"])
		})
	}
}

func TestListingOrder(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for i, timestamp := range []string{"2026-03-01T00:00:00Z", "2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z", "2020-01-01T00:00:00Z"} {
		f.advance(-time.Hour) // clock and timestamps differ from the order of storage
		f.post(t, eventPath, event(`"description":"`+strconv.Itoa(i+1)+`"`, `"timestamp":`+quoted(timestamp))).requireStored(t)
	}
	for name, c := range map[string]struct {
		parameters []string
		want       []string
	}{
		"the default is desc":         {nil, numbers(4, 1)},
		"desc starts with the newest": {[]string{"order", "desc"}, numbers(4, 1)},
		"asc starts with the oldest":  {[]string{"order", "asc"}, numbers(1, 4)},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, f.page(t, c.parameters...).descriptions()) })
	}
	t.Run("events of a batch keep their order", func(t *testing.T) {
		f := newFixture(t)
		f.storeNumbered(t, 1, 5)
		require.Equal(t, numbers(5, 1), f.page(t).descriptions())
	})
}

func TestListingPages(t *testing.T) {
	t.Parallel()
	for _, order := range []string{"asc", "desc"} {
		t.Run("next returns each event once and is null at the end: "+order, func(t *testing.T) {
			f := newFixture(t)
			f.storeNumbered(t, 1, 6)
			want := numbers(1, 6)
			if order == "desc" {
				want = numbers(6, 1)
			}
			for _, limit := range []int{1, 2, 3, 4, 6, 7} {
				got := []string{}
				parameters := []string{"order", order, "limit", strconv.Itoa(limit)}
				resp := f.page(t, parameters...)
				for got = append(got, resp.descriptions()...); resp.body["next"] != nil; got = append(got, resp.descriptions()...) {
					require.Len(t, resp.body["data"], limit)
					require.Regexp(t, `^[A-Za-z0-9_~.-]+$`, resp.body["next"], "a cursor has only URL-safe characters")
					require.Less(t, len(got), 6, "next is null on the last page")
					resp = f.page(t, append(parameters, "after", resp.body["next"].(string))...)
				}
				require.Equal(t, want, got, "limit %d", limit)
			}
		})
	}
	t.Run("next with a filter", func(t *testing.T) {
		f := newFixture(t)
		for i := range 6 {
			f.post(t, eventPath, event(`"description":"`+strconv.Itoa(i)+`"`, `"customer_id":"c`+strconv.Itoa(i%2)+`"`)).requireStored(t)
		}
		first := f.page(t, "customer_id", "c1", "limit", "2")
		require.Equal(t, []string{"5", "3"}, first.descriptions())
		second := f.page(t, "customer_id", "c1", "limit", "2", "after", first.body["next"].(string))
		require.Equal(t, []string{"1"}, second.descriptions())
		require.Nil(t, second.body["next"])
	})
	t.Run("descending pages do not change when events are stored", func(t *testing.T) {
		f := newFixture(t)
		f.storeNumbered(t, 1, 4)
		first := f.page(t, "limit", "2")
		f.storeNumbered(t, 5, 3)
		second := f.page(t, "limit", "2", "after", first.body["next"].(string))
		require.Equal(t, numbers(4, 1), append(first.descriptions(), second.descriptions()...))
		require.Nil(t, second.body["next"])
	})
}

func TestListingPosition(t *testing.T) {
	t.Parallel()
	t.Run("ascending pages have a position, descending pages do not", func(t *testing.T) {
		f := newFixture(t)
		require.NotEmpty(t, f.page(t, "order", "asc").body["position"], "an empty page")
		f.storeNumbered(t, 1, 3)
		for _, limit := range []string{"1", "3", "50"} {
			position := f.page(t, "order", "asc", "limit", limit).body["position"]
			require.NotEmpty(t, position)
			require.Regexp(t, `^[A-Za-z0-9_~.-]+$`, position)
			require.NotContains(t, f.page(t, "limit", limit).body, "position")
		}
	})
	t.Run("a consumer follows new events", func(t *testing.T) {
		f := newFixture(t)
		resp := f.page(t, "order", "asc")
		for i, n := range []int{0, 1, 2, 0, 3} {
			if n > 0 {
				f.storeNumbered(t, 10*i, n)
			}
			resp = f.page(t, "order", "asc", "after", resp.body["position"].(string))
			require.Nil(t, resp.body["next"])
			if n == 0 {
				require.Empty(t, resp.body["data"])
				continue
			}
			require.Equal(t, numbers(10*i, 10*i+n-1), resp.descriptions())
		}
	})
	t.Run("a consumer follows new events with a filter", func(t *testing.T) {
		f := newFixture(t)
		f.storeNumbered(t, 1, 3)
		position := f.page(t, "order", "asc", "customer_id", "c").body["position"].(string)
		f.post(t, eventPath, event(`"customer_id":"c"`, `"description":"4"`)).requireStored(t)
		resp := f.page(t, "order", "asc", "customer_id", "c", "after", position)
		require.Equal(t, []string{"4"}, resp.descriptions())
	})
}

func TestAscendingCursorSkipsNoEvent(t *testing.T) {
	t.Parallel()
	const writers, each = 4, 50
	f := newFixture(t)
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				body := strings.NewReader(event(fmt.Sprintf(`"description":"%d-%d"`, w, i)))
				f.handler.ServeHTTP(httptest.NewRecorder(), request(http.MethodPost, eventPath, body))
			}
		})
	}
	done := make(chan struct{})
	go func() {
		writing.Wait()
		close(done)
	}()
	got := []string{}
	parameters := []string{"order", "asc", "limit", "7"}
	resp := f.page(t, parameters...)
	for last := false; ; {
		got = append(got, resp.descriptions()...)
		if resp.body["next"] == nil {
			if last {
				break
			}
			select {
			case <-done:
				last = true
			default:
			}
		}
		resp = f.page(t, append(parameters, "after", resp.body["position"].(string))...)
	}
	require.Len(t, got, writers*each, "each event is returned once")
	stored := []string{}
	for _, e := range f.list(t, "pf_a") {
		stored = append(stored, e.(map[string]any)["description"].(string))
	}
	require.Equal(t, stored, got, "in the order of storage")
}

func TestPageBytes(t *testing.T) {
	store := memstore.New()
	const events = 30
	large := `,"blob":"` + strings.Repeat("x", 300<<10) + `"}`
	for i := range events {
		body := strings.Replace(observedEvent, `"r"`, fmt.Sprintf(`"r%d"`, i), 1)
		w := serveOne(t, chargeingest.Config{Store: store, KeepUnknownFields: true},
			http.MethodPost, "/v1/ingest/charge-data", strings.TrimSuffix(body, "}")+large)
		require.Equal(t, http.StatusCreated, w.Code)
	}
	seen, after := 0, ""
	for {
		w := serveOne(t, chargeingest.Config{Store: store}, http.MethodGet, "/v1/ingest/charge-data?order=asc&limit=1000"+after, "")
		require.Equal(t, http.StatusOK, w.Code)
		require.Less(t, w.Body.Len(), 5<<20)
		var page struct {
			Data []json.RawMessage
			Next *string
		}
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &page))
		require.NotEmpty(t, page.Data)
		seen += len(page.Data)
		if page.Next == nil {
			break
		}
		after = "&after=" + *page.Next
	}
	require.Equal(t, events, seen)
}
