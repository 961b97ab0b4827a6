package chargeingest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

// This file holds what an audit of the wire contract, line by line, found
// without a test in the files of its sections.

func TestMountedEndpointVersion(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	mux := mountSingly(f.handler)
	stored := responseOf(t, mux, request(http.MethodPost, "/api/v1/charge", strings.NewReader(event()))).requireStored(t)
	require.Len(t, responseOf(t, mux, request(http.MethodPost, "/api/v1/charges", strings.NewReader(batch(event())))).events(t), 1)
	require.Equal(t, http.StatusOK, responseOf(t, mux, request(http.MethodGet, "/api/v1/look", nil)).status)
	require.Equal(t, stored, responseOf(t, mux, request(http.MethodGet, "/api/v1/look/"+stored["id"].(string), nil)).body)
	for _, version := range []string{"v2", "v01", "vv1", "V1", "v"} {
		t.Run("and no other: "+version, func(t *testing.T) {
			a := responseOf(t, mux, request(http.MethodPost, "/api/"+version+"/charge", strings.NewReader(event())))
			a.requireError(t, http.StatusBadRequest, "UNSUPPORTED_VERSION", "")
		})
	}
	require.Len(t, f.list(t, "pf_a"), 2)
}

func TestHEADRejections(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	mux := mountSingly(f.handler)
	id := f.post(t, eventPath, event()).requireStored(t)["id"].(string)
	for _, path := range []string{eventPath, eventPath + "/" + id} {
		for header, status := range map[string]int{
			"X-API-KEY: " + viewSecret: http.StatusOK, "X-API-KEY: " + ingestSecret: http.StatusForbidden,
			"X-API-KEY: " + wrongSecret: http.StatusUnauthorized, "-X-API-KEY": http.StatusUnauthorized,
		} {
			require.Equal(t, status, f.send(t, http.MethodHead, path, "", "", header).status, "%s with %s", path, header)
		}
	}
	for _, path := range []string{"/shop/look", "/shop/look/" + id} {
		t.Run("where an endpoint is mounted singly: "+path, func(t *testing.T) {
			a := responseOf(t, mux, request(http.MethodHead, path, nil))
			require.Equal(t, http.StatusOK, a.status)
			require.Empty(t, a.text)
		})
	}
}

func TestMissingVersionComesFirst(t *testing.T) {
	t.Parallel()
	a := newFixture(t).send(t, http.MethodDelete, "/ingest/charge-data", "", "", "-X-API-KEY")
	a.requireError(t, http.StatusBadRequest, "MISSING_VERSION", "")
}

func TestRepeatedContentHeaders(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for path, body := range map[string]string{eventPath: event(), eventsPath: batch(event())} {
		for _, second := range []string{"application/json", "text/plain", ""} {
			a := f.post(t, path, body, "Content-Type: application/json", "Content-Type: "+second)
			a.requireError(t, http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", "")
			require.Equal(t, "application/json", a.header.Get("Accept-Post"))
		}
		a := f.post(t, path, zipped(t, body, 9), "Content-Encoding: gzip", "Content-Encoding: gzip")
		a.requireError(t, http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", "")
	}
	f.requireNothingStored(t)
}

func TestBatchLimits(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(c *chargeingest.Config) { c.MaxBodyBytes = 1000 })
	f.post(t, eventsPath, padded(batch(event()), 1001)).requireError(t, http.StatusRequestEntityTooLarge, "BAD_REQUEST", "")
	f.post(t, eventsPath, zipped(t, padded(batch(event()), 1001), 9), "Content-Encoding: gzip").
		requireError(t, http.StatusRequestEntityTooLarge, "BAD_REQUEST", "")
	f.requireNothingStored(t)
	f.post(t, eventsPath, padded(batch(event()), 1000)).requireStored(t)
}

func TestOtherBatchFields(t *testing.T) {
	t.Parallel()
	t.Run("a member that is kept with no event is refused with KeepUnknownFields too", func(t *testing.T) {
		f := newFixture(t, keepUnknown)
		for _, value := range []string{`1`, `null`, `{"a":[]}`} {
			for _, body := range []string{`{"source":` + value + `,` + batch(event())[1:], strings.TrimSuffix(batch(event()), "}") + `,"source":` + value + `}`} {
				f.post(t, eventsPath, body).requireError(t, http.StatusBadRequest, "INVALID_FIELD", "source")
			}
		}
		f.requireNothingStored(t)
	})
	t.Run("its name is case-sensitive", func(t *testing.T) {
		f := newFixture(t)
		a := f.post(t, eventsPath, `{"Charge_Datas":[`+event()+`]}`)
		require.Equal(t, http.StatusBadRequest, a.status)
		require.ElementsMatch(t, []violation{{"MISSING_FIELD", "charge_datas"}, {"INVALID_FIELD", "Charge_Datas"}}, a.violations(t))
		f.requireNothingStored(t)
	})
}

// TestHostileBodies gives each body a time that is long for a
// slow machine and short for a number that is computed or a stack that grows.
func TestHostileBodies(t *testing.T) {
	t.Parallel()
	f := newFixture(t, keepUnknown)
	const most = 5 * time.Second
	for name, value := range map[string]string{
		"a large exponent": "1e1000001", "a larger one": "1e999999999", "a small one": "-1e-999999999",
		"1,000,000 digits": strings.Repeat("9", 1_000_000), "4,000,000 lists": strings.Repeat("[", 4_000_000),
		"800,000 objects": strings.Repeat(`{"a":`, 800_000), "a string of as many digits": `"` + strings.Repeat("9", 1_000_000) + `"`,
	} {
		for _, field := range []string{"value.number", "value.count", "period.ratio", "timestamp", "value"} {
			t.Run(name+" as "+field, func(t *testing.T) {
				start := time.Now()
				require.Equal(t, http.StatusBadRequest, f.post(t, eventPath, member(field, value)).status)
				require.Less(t, time.Since(start), most)
			})
		}
	}
	f.requireNothingStored(t)
}

func TestSelectorEntryTypes(t *testing.T) {
	t.Parallel()
	const place = "pricing_plan_subscription_selector."
	var rules []rule
	for _, value := range []string{`1`, `true`, `["IN"]`, `{}`} {
		for _, list := range []string{"rules", "filters"} {
			rules = append(rules,
				rule{list + " field of " + value, selector(`"` + list + `":[{"field":` + value + `,"type":"IN"}]`), "INVALID_FIELD", place + list + ".0.field"},
				rule{list + " type of " + value, selector(`"` + list + `":[{"field":"PRICING_PLAN_REFERENCE","type":` + value + `}]`), "INVALID_FIELD", place + list + ".0.type"})
		}
		rules = append(rules, rule{"data field of " + value, selector(`"data":[{"field":` + value + `}]`), "INVALID_FIELD", place + "data.0.field"})
	}
	requireRules(t, rules)
}

func TestUnknownNull(t *testing.T) {
	t.Parallel()
	for _, p := range objectPlaces {
		t.Run("in "+joined(p.path, "the event"), func(t *testing.T) {
			f := newFixture(t, keepUnknown)
			a := f.post(t, eventPath, fullWith(p.opening, `"unknown":null`))
			id := a.requireStored(t)["id"].(string)
			for _, got := range []response{a, f.get(t, eventPath+"/"+id)} {
				require.Contains(t, got.text, `"unknown":null`)
			}
		})
	}
}

func TestFilterLength(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, name := range []string{
		"reference", "customer_id", "customer_reference", "pricing_plan_subscription_id", "pricing_plan_subscription_reference", "product_item_id",
	} {
		require.Equal(t, http.StatusOK, f.get(t, eventPath+"?"+name+"="+strings.Repeat("x", 256)).status)
		f.get(t, eventPath+"?"+name+"="+strings.Repeat("x", 257)).requireError(t, http.StatusBadRequest, "INVALID_FIELD", name)
	}
}

func TestGetUnknownEvent(t *testing.T) {
	t.Parallel()
	a := newFixture(t).get(t, eventPath+"/chda_01K41GZZZZZZZZZZZZZZZZZZZZ")
	a.requireError(t, http.StatusNotFound, "RESOURCE_NOT_FOUND", "")
	require.Equal(t, "chda_01K41GZZZZZZZZZZZZZZZZZZZZ", a.body["resource_id"])
}

func TestRepeatedIdempotencyKey(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for path, body := range map[string]string{eventPath: event(), eventsPath: batch(event())} {
		for _, second := range []string{"k", "other", ""} {
			a := f.post(t, path, body, "Idempotency-Key: k", "Idempotency-Key: "+second)
			a.requireError(t, http.StatusBadRequest, "INVALID_FIELD", "Idempotency-Key")
		}
	}
	f.requireNothingStored(t)
}

func TestNewKeyOverReplays(t *testing.T) {
	t.Parallel()
	const key = "Idempotency-Key: new"
	for name, c := range map[string]struct{ path, body, other string }{
		"one event": {eventPath, event(`"reference":"a"`), event(`"reference":"c"`)},
		"a batch":   {eventsPath, batch(event(`"reference":"a"`), event(`"reference":"b"`)), batch(event(`"reference":"c"`))},
		"a batch of which some are new": {
			eventsPath, batch(event(`"reference":"a"`), event(`"reference":"d"`), event()), batch(event(`"reference":"c"`)),
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.post(t, eventsPath, batch(event(`"reference":"a"`), event(`"reference":"b"`))).requireStored(t)
			first := f.post(t, c.path, c.body, key)
			require.Equal(t, http.StatusCreated, first.status, first.text)
			stored := f.list(t, "pf_a")
			f.post(t, c.path, c.body, key).requireReplayOf(t, first)
			f.post(t, c.path, c.other, key).requireError(t, http.StatusConflict, "IDEMPOTENCY_CHECK_FAILED", "Idempotency-Key")
			require.Equal(t, stored, f.list(t, "pf_a"))
		})
	}
}

func TestKeyAfter500(t *testing.T) {
	t.Parallel()
	store, broken := memstore.New(), true
	f := newFixture(t, over(&readableStore{Store: store, append: func(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
		if broken {
			panic("index out of range")
		}
		return store.Append(ctx, b)
	}}))
	f.post(t, eventPath, event(), "Idempotency-Key: k").requireRetryable(t, false)
	broken = false
	f.post(t, eventPath, event(`"description":"other"`), "Idempotency-Key: k").requireStored(t)
}

func TestSameContentInBatch(t *testing.T) {
	t.Parallel()
	const r = `"reference":"r"`
	t.Run("its events read back can be sent again", func(t *testing.T) {
		f := newFixture(t)
		first := f.post(t, eventsPath, batch(event(r), fullEvent))
		first.requireStored(t)
		f.advance(time.Minute)
		f.post(t, eventsPath, first.text).requireReplayOf(t, first)
	})
	t.Run("a timestamp that equals the one the service sets is the same within one, too", func(t *testing.T) {
		f := newFixture(t)
		events := f.post(t, eventsPath, batch(event(r), event(r, `"timestamp":"2026-09-01T12:00:00Z"`))).events(t)
		require.Equal(t, events[0], events[1])
		require.Len(t, f.list(t, "pf_a"), 1)
	})
	t.Run("a replay and then other content is a 409 on the second, with the stored event's id", func(t *testing.T) {
		f := newFixture(t)
		stored := f.post(t, eventPath, event(r)).requireStored(t)
		a := f.post(t, eventsPath, batch(event(r), event(), event(r, `"description":"other"`)))
		a.requireError(t, http.StatusConflict, "RESOURCE_ALREADY_EXISTS", "charge_datas.2.reference")
		require.Equal(t, stored["id"], a.body["resource_id"])
		require.Equal(t, []any{stored}, f.list(t, "pf_a"))
	})
	t.Run("under return-original a stored event is the first and wins", func(t *testing.T) {
		f := newFixture(t, returnOriginal)
		stored := f.post(t, eventPath, event(r)).requireStored(t)
		a := f.post(t, eventsPath, batch(event(r, `"description":"A"`), event(r, `"description":"B"`)))
		require.Equal(t, "true", a.header.Get("Idempotent-Replayed"))
		require.Equal(t, []map[string]any{stored, stored}, a.events(t))
	})
}

func TestCookieOfAnErrorIsRedacted(t *testing.T) {
	t.Parallel()
	const session = "session-of-somebody"
	f := newFixture(t, authorizedBy(chargeingest.AuthorizerFunc(func(r *http.Request, _ chargeingest.Permission) (chargeingest.Principal, error) {
		return chargeingest.Principal{}, fmt.Errorf("no such session %s: %w", r.Header.Get("Cookie"), chargeingest.ErrInvalidCredential)
	})))
	a := f.post(t, eventPath, event(), "-X-API-KEY", "Cookie: sid="+session)
	require.NotContains(t, a.text+f.log.text(), session)
}

func TestInternalCausesAreNotSent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ cause, detail string }{
		"a file path in a URI": {"open file:/var/lib/billing/charges.db?mode=rw: denied", "/var/lib/billing/charges.db"},
		"SQL":                  {"INSERT INTO charges (id) VALUES (?): locked", "INSERT INTO charges (id)"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, appending(errors.New(c.cause)))
			a := f.post(t, eventPath, event())
			require.NotContains(t, a.text, c.detail)
			require.Contains(t, f.log.text(), c.detail)
		})
	}
}
