package chargeingest_test

import (
	"context"
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

// page asks for a page of the listing by its parameters.
func (f *fixture) page(t *testing.T, parameters ...string) response {
	t.Helper()
	query := make(url.Values)
	for i := 0; i < len(parameters); i += 2 {
		query.Add(parameters[i], parameters[i+1])
	}
	a := f.get(t, eventPath+"?"+query.Encode())
	require.Equal(t, http.StatusOK, a.status, a.text)
	return a
}

// descriptions names the events of a page: the tests give each its own.
func (a response) descriptions() []string {
	names := []string{}
	for _, e := range a.body["data"].([]any) {
		names = append(names, e.(map[string]any)["description"].(string))
	}
	return names
}

// fill stores n events, described by the numbers from first on.
func (f *fixture) fill(t *testing.T, first, n int) {
	t.Helper()
	events := make([]string, n)
	for i := range events {
		events[i] = event(`"description":` + quoted(strconv.Itoa(first+i)))
	}
	f.post(t, eventsPath, batch(events...)).requireStored(t)
}

// numbers lists the numbers from first to last, downwards where last is less.
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
	t.Run("an empty one is data, limit 50 and a next of null", func(t *testing.T) {
		require.JSONEq(t, `{"data":[],"limit":50,"next":null}`, newFixture(t).page(t).text)
	})
	t.Run("its entries are the events as they were answered", func(t *testing.T) {
		f := newFixture(t)
		stored := f.post(t, eventPath, event(`"value":{"number":"1.0"}`, `"period":{}`)).requireStored(t)
		require.Equal(t, []any{stored}, f.page(t).body["data"])
	})
	t.Run("limit is answered as it was asked for", func(t *testing.T) {
		require.JSONEq(t, `{"data":[],"limit":7,"next":null}`, newFixture(t).page(t, "limit", "7").text)
	})
}

func TestListingFilters(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, c := range []struct{ description, members string }{
		{"A", `"reference":"r-A","customer_id":"c1","customer_reference":"cr 1","pricing_plan_subscription_id":"s1","pricing_plan_subscription_reference":"sr1","timestamp":"2026-03-01T00:00:00Z"`},
		{"B", `"reference":"r-B","customer_id":"c1","customer_reference":"cr 2","pricing_plan_subscription_id":"s1","pricing_plan_subscription_reference":"sr2","timestamp":"2026-03-02T00:00:00.000000001Z","product_item_id":"proi_2"`},
		{"C", `"reference":"R-A","customer_id":"c2","customer_reference":"cr 1","pricing_plan_subscription_id":"s2","pricing_plan_subscription_reference":"sr1","timestamp":"2026-03-03T01:00:00+01:00"`},
		{"D", `"customer_id":null,"timestamp":"0001-01-01T00:00:00Z"`},
		{"E", `"customer_id":"é&=+","timestamp":"9999-12-31T23:59:59.999999999Z"`},
	} {
		members := []string{`"description":` + quoted(c.description), c.members}
		if c.description == "B" {
			members = append(members, "-product_item_id")
		}
		f.post(t, eventPath, event(members...)).requireStored(t)
	}
	for _, c := range []struct {
		name       string
		parameters []string
		want       []string
	}{
		{"reference", []string{"reference", "r-A"}, []string{"A"}},
		{"customer_id", []string{"customer_id", "c1"}, []string{"A", "B"}},
		{"customer_id with characters that a URL escapes", []string{"customer_id", "é&=+"}, []string{"E"}},
		{"customer_reference", []string{"customer_reference", "cr 1"}, []string{"A", "C"}},
		{"pricing_plan_subscription_id", []string{"pricing_plan_subscription_id", "s1"}, []string{"A", "B"}},
		{"pricing_plan_subscription_reference", []string{"pricing_plan_subscription_reference", "sr1"}, []string{"A", "C"}},
		{"product_item_id", []string{"product_item_id", "proi_2"}, []string{"B"}},
		{"from is from ≤ t", []string{"from", "2026-03-01T00:00:00Z"}, []string{"A", "B", "C", "E"}},
		{"from to the nanosecond", []string{"from", "2026-03-02T00:00:00.000000002Z", "to", "2027-01-01T00:00:00Z"}, []string{"C"}},
		{"to is t < to", []string{"to", "2026-03-02T00:00:00.000000001Z"}, []string{"A", "D"}},
		{"from and to are compared as instants", []string{"from", "2026-03-02T23:00:00-01:00", "to", "2026-03-03T00:00:00.000000001Z"}, []string{"C"}},
		{"to in the first year", []string{"to", "0001-01-01T00:00:00.000000001Z"}, []string{"D"}},
		{"to at the first instant", []string{"to", "0001-01-01T00:00:00Z"}, []string{}},
		{"from at the last instant", []string{"from", "9999-12-31T23:59:59.999999999Z"}, []string{"E"}},
		{"from and to of one instant are empty", []string{"from", "2026-03-01T00:00:00Z", "to", "2026-03-01T00:00:00Z"}, []string{}},
		{"from in lower case", []string{"from", "2026-03-03t00:00:00z", "to", "2027-01-01t00:00:00z"}, []string{"C"}},
		{"filters narrow each other", []string{"customer_id", "c1", "customer_reference", "cr 1", "reference", "r-A"}, []string{"A"}},
		{"filters that contradict each other", []string{"customer_id", "c2", "reference", "r-A"}, []string{}},
		{"a value that nothing has", []string{"customer_id", "c9"}, []string{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, f.page(t, append(c.parameters, "order", "asc")...).descriptions())
		})
	}
}

func TestScanLimit(t *testing.T) {
	t.Parallel()
	f := newFixture(t, over(&readableStore{
		Store: memstore.New(),
		list: func(context.Context, chargeingest.Query) (chargeingest.Page, error) {
			return chargeingest.Page{}, fmt.Errorf("slow: %w", chargeingest.ErrScanLimit)
		},
	}))
	a := f.get(t, eventPath+"?product_item_id=x")
	a.requireRetryable(t, true)
	for _, way := range []string{"reference", "customer_id", "customer_reference", "cursor"} {
		require.Contains(t, a.body["message"], way)
	}
}

func TestListingLimit(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.fill(t, 1, 1000)
	f.post(t, eventPath, event(`"description":"1001"`)).requireStored(t)
	for name, c := range map[string]struct{ limit, newest, oldest int }{
		"the default is 50": {0, 1001, 952}, "1 is the least": {1, 1001, 1001}, "1000 is the most": {1000, 1001, 2},
	} {
		t.Run(name, func(t *testing.T) {
			var parameters []string
			if c.limit > 0 {
				parameters = []string{"limit", strconv.Itoa(c.limit)}
			}
			a := f.page(t, parameters...)
			require.Equal(t, numbers(c.newest, c.oldest), a.descriptions())
			require.NotNil(t, a.body["next"])
		})
	}
}

func TestListingOrder(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for i, timestamp := range []string{"2026-03-01T00:00:00Z", "2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z", "2020-01-01T00:00:00Z"} {
		f.advance(-time.Hour) // neither the clock nor the timestamps run with the storing
		f.post(t, eventPath, event(`"description":"`+strconv.Itoa(i+1)+`"`, `"timestamp":`+quoted(timestamp))).requireStored(t)
	}
	for name, c := range map[string]struct {
		parameters []string
		want       []string
	}{
		"the default is desc":       {nil, numbers(4, 1)},
		"desc is last stored first": {[]string{"order", "desc"}, numbers(4, 1)},
		"asc is the storing order":  {[]string{"order", "asc"}, numbers(1, 4)},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, f.page(t, c.parameters...).descriptions()) })
	}
	t.Run("the events of a batch are stored in the order sent", func(t *testing.T) {
		f := newFixture(t)
		f.fill(t, 1, 5)
		require.Equal(t, numbers(5, 1), f.page(t).descriptions())
	})
}

func TestListingPages(t *testing.T) {
	t.Parallel()
	for _, order := range []string{"asc", "desc"} {
		t.Run("next leads through all of it and is null at its end: "+order, func(t *testing.T) {
			f := newFixture(t)
			f.fill(t, 1, 6)
			want := numbers(1, 6)
			if order == "desc" {
				want = numbers(6, 1)
			}
			for _, limit := range []int{1, 2, 3, 4, 6, 7} {
				got := []string{}
				parameters := []string{"order", order, "limit", strconv.Itoa(limit)}
				a := f.page(t, parameters...)
				for got = append(got, a.descriptions()...); a.body["next"] != nil; got = append(got, a.descriptions()...) {
					require.Len(t, a.body["data"], limit)
					require.Regexp(t, `^[A-Za-z0-9_~.-]+$`, a.body["next"], "a cursor is of URL-safe characters")
					require.Less(t, len(got), 6, "next is null when nothing more is there")
					a = f.page(t, append(parameters, "after", a.body["next"].(string))...)
				}
				require.Equal(t, want, got, "limit %d", limit)
			}
		})
	}
	t.Run("next leads through what a filter lets pass", func(t *testing.T) {
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
	t.Run("descending, events stored meanwhile neither come twice nor push others out", func(t *testing.T) {
		f := newFixture(t)
		f.fill(t, 1, 4)
		first := f.page(t, "limit", "2")
		f.fill(t, 5, 3)
		second := f.page(t, "limit", "2", "after", first.body["next"].(string))
		require.Equal(t, numbers(4, 1), append(first.descriptions(), second.descriptions()...))
		require.Nil(t, second.body["next"])
	})
}

func TestListingPosition(t *testing.T) {
	t.Parallel()
	t.Run("ascending it is always given, descending never", func(t *testing.T) {
		f := newFixture(t)
		require.NotEmpty(t, f.page(t, "order", "asc").body["position"], "on an empty page too")
		f.fill(t, 1, 3)
		for _, limit := range []string{"1", "3", "50"} {
			position := f.page(t, "order", "asc", "limit", limit).body["position"]
			require.NotEmpty(t, position)
			require.Regexp(t, `^[A-Za-z0-9_~.-]+$`, position)
			require.NotContains(t, f.page(t, "limit", limit).body, "position")
		}
	})
	t.Run("a consumer follows the events by it as they come", func(t *testing.T) {
		f := newFixture(t)
		a := f.page(t, "order", "asc")
		for i, n := range []int{0, 1, 2, 0, 3} {
			if n > 0 {
				f.fill(t, 10*i, n)
			}
			a = f.page(t, "order", "asc", "after", a.body["position"].(string))
			require.Nil(t, a.body["next"])
			if n == 0 {
				require.Empty(t, a.body["data"])
				continue
			}
			require.Equal(t, numbers(10*i, 10*i+n-1), a.descriptions())
		}
	})
	t.Run("a consumer follows what a filter lets pass", func(t *testing.T) {
		f := newFixture(t)
		f.fill(t, 1, 3)
		position := f.page(t, "order", "asc", "customer_id", "c").body["position"].(string)
		f.post(t, eventPath, event(`"customer_id":"c"`, `"description":"4"`)).requireStored(t)
		a := f.page(t, "order", "asc", "customer_id", "c", "after", position)
		require.Equal(t, []string{"4"}, a.descriptions())
	})
}

// TestAscendingCursorSkipsNoEvent follows the list while others write.
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
	followed := []string{}
	parameters := []string{"order", "asc", "limit", "7"}
	a := f.page(t, parameters...)
	for last := false; ; {
		followed = append(followed, a.descriptions()...)
		if a.body["next"] == nil {
			if last {
				break
			}
			select {
			case <-done:
				last = true // one look more sees everything
			default:
			}
		}
		a = f.page(t, append(parameters, "after", a.body["position"].(string))...)
	}
	require.Len(t, followed, writers*each, "nothing is skipped, nothing comes twice")
	stored := []string{}
	for _, e := range f.list(t, "pf_a") {
		stored = append(stored, e.(map[string]any)["description"].(string))
	}
	require.Equal(t, stored, followed, "the order is the order of storing")
}

func TestInvalidParameter(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	position := f.page(t, "order", "asc").body["position"].(string)
	good := map[string]string{
		"reference": "r", "customer_id": "c", "customer_reference": "c", "pricing_plan_subscription_id": "s",
		"pricing_plan_subscription_reference": "s", "product_item_id": "p", "from": "2026-03-01T00:00:00Z",
		"to": "2026-03-01T00:00:00Z", "limit": "1", "after": position, "order": "asc",
	}
	for name, value := range good {
		pair := name + "=" + url.QueryEscape(value)
		t.Run("given once it is fine: "+name, func(t *testing.T) {
			require.Equal(t, http.StatusOK, f.get(t, eventPath+"?"+pair).status)
		})
		t.Run("repeated: "+name, func(t *testing.T) {
			f.get(t, eventPath+"?"+pair+"&"+pair).requireError(t, http.StatusBadRequest, "INVALID_FIELD", name)
		})
	}
	for name, query := range map[string]string{"percent-encoding": "limit=%zz", "a semicolon": "limit=1;order=asc"} {
		t.Run("malformed by "+name, func(t *testing.T) {
			f.get(t, eventPath+"?"+query).requireError(t, http.StatusBadRequest, "INVALID_FIELD", "limit")
		})
	}
	for _, name := range []string{"foo", "Limit", "limit[]", "order ", "id", "description", "position", "next", "data"} {
		t.Run("unknown: "+name, func(t *testing.T) {
			f.get(t, eventPath+"?"+url.QueryEscape(name)+"=1").requireError(t, http.StatusBadRequest, "INVALID_FIELD", name)
		})
	}
	identifiers := []string{"", "\x00", "a\nb", "\x7f"}
	dates := []string{"", "2026-03-01", "2026-03-01T00:00:00", "2026-03-01 00:00:00Z", "2026-02-30T00:00:00Z", "2026-03-01T00:00:60Z", "0000-01-01T00:00:00Z", "1772323200", "now"}
	for name, values := range map[string][]string{
		"limit":                               {"", "0", "1001", "-1", "+1", "1.5", " 5", "5 ", "0x10", "1e2", "ten", "99999999999999999999", "٥"},
		"order":                               {"", "DESC", "Asc", "ascending", "desc,asc", "-1"},
		"after":                               {"", "!!", "not a cursor", "AAAA", position + "A", position + "=", "9999999999", "../../etc"},
		"from":                                dates,
		"to":                                  dates,
		"reference":                           {"a b", "é", "a.b", "a\n"},
		"customer_id":                         identifiers,
		"customer_reference":                  identifiers,
		"pricing_plan_subscription_id":        identifiers,
		"pricing_plan_subscription_reference": identifiers,
		"product_item_id":                     identifiers,
	} {
		for _, value := range values {
			t.Run(fmt.Sprintf("malformed: %s=%q", name, value), func(t *testing.T) {
				a := f.get(t, eventPath+"?"+name+"="+url.QueryEscape(value))
				a.requireError(t, http.StatusBadRequest, "INVALID_FIELD", name)
			})
		}
	}
	t.Run("one that is bad twice is named once", func(t *testing.T) {
		for _, query := range []string{"limit=%zz&limit=%zz", "limit=%zz&limit=0", "limit=0&limit=0", "foo=1&foo=2"} {
			require.Len(t, f.get(t, eventPath+"?"+query).violations(t), 1, query)
		}
	})
	t.Run("what is not UTF-8 is malformed", func(t *testing.T) {
		f.get(t, eventPath+"?customer_id=%ff").requireError(t, http.StatusBadRequest, "INVALID_FIELD", "customer_id")
	})
	t.Run("every bad parameter is among the errors", func(t *testing.T) {
		a := f.get(t, eventPath+"?zzz=1&limit=0&order=up&aaa=1")
		var fields []string
		for _, v := range a.violations(t) {
			require.Equal(t, "INVALID_FIELD", v.code)
			fields = append(fields, v.field)
		}
		require.ElementsMatch(t, []string{"aaa", "limit", "order", "zzz"}, fields)
	})
}
