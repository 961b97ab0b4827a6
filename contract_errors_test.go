package chargeingest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

var everyError = []struct {
	name        string
	status      int
	code, field string
	settings    []func(*chargeingest.Config)
	provoke     func(t *testing.T, f *fixture, headers ...string) response
}{
	{"a field is missing", 400, "MISSING_FIELD", "pricing_id", nil, func(t *testing.T, f *fixture, headers ...string) response {
		return f.post(t, eventPath, event("-pricing_id"), headers...)
	}},
	{"a field is invalid", 400, "INVALID_FIELD", "value.number", nil, func(t *testing.T, f *fixture, headers ...string) response {
		return f.post(t, eventPath, eventWithField("value.number", `"x"`), headers...)
	}},
	{"a field of a batch is invalid", 400, "INVALID_FIELD", "charge_datas.3.period.end_at", nil, func(t *testing.T, f *fixture, headers ...string) response {
		return f.post(t, eventsPath, batch(event(), event(), event(), eventWithField("period.end_at", `"x"`)), headers...)
	}},
	{"a parameter is invalid", 400, "INVALID_FIELD", "limit", nil, func(t *testing.T, f *fixture, headers ...string) response {
		return f.get(t, eventPath+"?limit=x", headers...)
	}},
	{"the idempotency key is malformed", 400, "INVALID_FIELD", "Idempotency-Key", nil, func(t *testing.T, f *fixture, headers ...string) response {
		return f.post(t, eventPath, event(), append(headers, "Idempotency-Key: a b")...)
	}},
	{"the body is not JSON", 400, "BAD_REQUEST", "", nil, func(t *testing.T, f *fixture, headers ...string) response {
		return f.post(t, eventPath, "{", headers...)
	}},
	{"the version is unsupported", 400, "UNSUPPORTED_VERSION", "", nil, func(t *testing.T, f *fixture, headers ...string) response {
		return f.post(t, "/v2/ingest/charge-data", event(), headers...)
	}},
	{"the version is missing", 400, "MISSING_VERSION", "", nil, func(t *testing.T, f *fixture, headers ...string) response {
		return f.post(t, "/ingest/charge-data", event(), headers...)
	}},
	{"the credential is invalid", 401, "UNAUTHORISED", "", nil, func(t *testing.T, f *fixture, headers ...string) response {
		return f.post(t, eventPath, event(), append(headers, "X-API-KEY: "+wrongSecret)...)
	}},
	{"the permission is missing", 403, "USER_NOT_ALLOWED", "", nil, func(t *testing.T, f *fixture, headers ...string) response {
		return f.post(t, eventPath, event(), append(headers, "X-API-KEY: "+viewSecret)...)
	}},
	{"the path is unknown", 404, "RESOURCE_NOT_FOUND", "", nil, func(t *testing.T, f *fixture, headers ...string) response {
		return f.get(t, "/v1/ingest/other", headers...)
	}},
	{"the event is unknown", 404, "RESOURCE_NOT_FOUND", "", nil, func(t *testing.T, f *fixture, headers ...string) response {
		return f.get(t, eventPath+"/x", headers...)
	}},
	{"the method is not allowed", 405, "INVALID_OPERATION", "", nil, func(t *testing.T, f *fixture, headers ...string) response {
		return f.get(t, eventsPath, headers...)
	}},
	{"the body is too large", 413, "BAD_REQUEST", "", []func(*chargeingest.Config){func(c *chargeingest.Config) { c.MaxBodyBytes = 10 }}, func(t *testing.T, f *fixture, headers ...string) response {
		return f.post(t, eventPath, event(), headers...)
	}},
	{"the media type is not JSON", 415, "UNSUPPORTED_MEDIA_TYPE", "", nil, func(t *testing.T, f *fixture, headers ...string) response {
		return f.post(t, eventPath, event(), append(headers, "Content-Type: text/plain")...)
	}},
	{"the reference is used by another event", 409, "RESOURCE_ALREADY_EXISTS", "reference", nil, func(t *testing.T, f *fixture, headers ...string) response {
		f.post(t, eventPath, event(`"reference":"r"`)).requireStored(t)
		return f.post(t, eventPath, event(`"reference":"r"`, `"description":"x"`), headers...)
	}},
	{"the idempotency key is used by another request", 409, "IDEMPOTENCY_CHECK_FAILED", "Idempotency-Key", nil, func(t *testing.T, f *fixture, headers ...string) response {
		f.post(t, eventPath, event(), "Idempotency-Key: k").requireStored(t)
		return f.post(t, eventPath, event(`"description":"x"`), append(headers, "Idempotency-Key: k")...)
	}},
	{"the outcome is unknown", 500, "INTERNAL_ERROR", "", []func(*chargeingest.Config){withAppendError(errors.New("lost"))}, func(t *testing.T, f *fixture, headers ...string) response {
		return f.post(t, eventPath, event(), headers...)
	}},
	{"the store rejects the event", 404, "RESOURCES_NOT_FOUND", "customer_id", []func(*chargeingest.Config){withAppendError(errStoreRejection)}, func(t *testing.T, f *fixture, headers ...string) response {
		return f.post(t, eventPath, event(), headers...)
	}},
	{"the store is overloaded", 503, "INTERNAL_ERROR", "", []func(*chargeingest.Config){withAppendError(chargeingest.ErrOverloaded)}, func(t *testing.T, f *fixture, headers ...string) response {
		return f.post(t, eventPath, event(), headers...)
	}},
}

var errStoreRejection = fmt.Errorf("%w: %w", chargeingest.ErrNotStored, &chargeingest.Error{
	Status: http.StatusNotFound, Code: "RESOURCES_NOT_FOUND", Field: "customer_id", Message: "unknown customer",
	Violations: []chargeingest.Violation{{Code: "RESOURCES_NOT_FOUND", Field: "customer_id", Message: "unknown customer"}},
})

func TestErrorShape(t *testing.T) {
	t.Parallel()
	for _, c := range everyError {
		t.Run(fmt.Sprintf("%d %s: %s", c.status, c.code, c.name), func(t *testing.T) {
			resp := c.provoke(t, newFixture(t, c.settings...))
			resp.requireError(t, c.status, c.code, c.field)
			if c.field != "" {
				require.Equal(t, []violation{{c.code, c.field}}, resp.violations(t), "errors contains the violation")
			}
		})
	}
	t.Run("a conflict has the id of the stored event", func(t *testing.T) {
		f := newFixture(t)
		first := f.post(t, eventPath, event(`"reference":"r"`)).requireStored(t)
		resp := f.post(t, eventPath, event(`"reference":"r"`, `"description":"x"`))
		require.Equal(t, first["id"], resp.body["resource_id"])
		require.Equal(t, "CHARGE_DATA", resp.body["resource_type"])
	})
}

func TestViolationOrder(t *testing.T) {
	t.Parallel()
	const missing, invalid = "MISSING_FIELD", "INVALID_FIELD"
	const sel = "pricing_plan_subscription_selector"
	t.Run("in the contract's order, then by path", func(t *testing.T) {
		body := `{"zzz":1,"aaa":1,"timestamp":"x","period":{"zz":1,"ratio":1,"end_at":"x"},"value":{"number":1,"count":1,"amount":{},"a":1},"description":1,"reference":1,
			"` + sel + `":{"fallback":1,"filters":1,"data":[{"field":"x"},{"value":1}]},"pricing_plan_subscription_reference":"","pricing_plan_subscription_id":"","customer_reference":"","customer_id":"","pricing_item_id":null}`
		want := []violation{
			{missing, "product_item_id"}, {missing, "pricing_id"}, {invalid, "pricing_item_id"}, {missing, "pricing_item_config_id"},
			{invalid, "customer_id"}, {invalid, "customer_reference"}, {invalid, "pricing_plan_subscription_id"}, {invalid, "pricing_plan_subscription_reference"},
			{invalid, sel + ".data.0.field"}, {missing, sel + ".data.1.field"}, {invalid, sel + ".data.1.value"}, {invalid, sel + ".fallback"}, {invalid, sel + ".filters"},
			{invalid, "reference"}, {invalid, "description"},
			{invalid, "value.a"}, {missing, "value.amount.currency"}, {missing, "value.amount.quantity"}, {invalid, "value.count"}, {invalid, "value.number"},
			{invalid, "period.end_at"}, {invalid, "period.ratio"}, {invalid, "period.zz"},
			{invalid, "timestamp"}, {invalid, "aaa"}, {invalid, "zzz"},
		}
		f := newFixture(t)
		for range 20 {
			resp := f.post(t, eventPath, body)
			resp.requireError(t, 400, missing, "product_item_id")
			require.Equal(t, want, resp.violations(t))
		}
		for i := range want {
			want[i].field = "charge_datas.1." + want[i].field
		}
		require.Equal(t, want, f.post(t, eventsPath, batch(event(), body)).violations(t))
	})
	t.Run("by index in the batch, as a number", func(t *testing.T) {
		events := slices.Repeat([]string{event()}, 12)
		events[2], events[10], events[11] = event(`"zzz":1`), event("-product_item_id"), event("-pricing_id")
		require.Equal(t, []violation{{invalid, "charge_datas.2.zzz"}, {missing, "charge_datas.10.product_item_id"}, {missing, "charge_datas.11.pricing_id"}},
			newFixture(t).post(t, eventsPath, batch(events...)).violations(t))
	})
	t.Run("rules across fields are sorted with the others", func(t *testing.T) {
		f := newFixture(t, func(c *chargeingest.Config) { c.RequireReference, c.MaxFutureSkew = true, 1 })
		resp := f.post(t, eventPath, event(`"timestamp":"2999-01-01T00:00:00Z"`, `"zzz":1`, `"customer_id":""`,
			`"period":{"start_at":"2026-05-02T00:00:00Z","end_at":"2026-05-01T00:00:00Z"}`, `"description":"."`))
		require.Equal(t, []violation{{invalid, "customer_id"}, {missing, "reference"}, {invalid, "description"}, {invalid, "period.end_at"}, {invalid, "timestamp"}, {invalid, "zzz"}}, resp.violations(t))
	})
	t.Run("one per path and code", func(t *testing.T) {
		resp := newFixture(t).post(t, eventPath, event(`"customer_id":`+quoted(strings.Repeat("\x01", 300)), `"value":{"number":"`+strings.Repeat("9", 50)+`e"}`))
		require.Equal(t, []violation{{invalid, "customer_id"}, {invalid, "value.number"}}, resp.violations(t))
	})
	t.Run("at most 100", func(t *testing.T) {
		got := newFixture(t).post(t, eventsPath, batch(slices.Repeat([]string{"1"}, 150)...)).violations(t)
		require.Len(t, got, 100)
		require.Equal(t, violation{invalid, "charge_datas.99"}, got[99])
	})
}

func TestErrorSize(t *testing.T) {
	t.Parallel()
	unknown := func(n int, name func(i int) string) string {
		fields := make([]string, n)
		for i := range fields {
			fields[i] = quoted(name(i)) + ":1"
		}
		return event(strings.Join(fields, ","))
	}
	long := func(s string) func(int) string {
		return func(i int) string { return strconv.Itoa(100_000+i) + strings.Repeat(s, 300) }
	}
	for name, body := range map[string]string{
		"20,000 unknown fields":                  unknown(20_000, strconv.Itoa),
		"200 long names":                         unknown(200, long("x")),
		"200 long names of wide characters":      unknown(200, long("😀")),
		"200 long names of control characters":   unknown(200, long("\x00")),
		"200 long names of quotes":               unknown(200, long(`"`)),
		"one name of 100,000 characters":         unknown(1, func(int) string { return strings.Repeat("é", 100_000) }),
		"20,000 unknown fields of a value":       event(`"value":` + unknown(20_000, strconv.Itoa)),
		"100 list entries with an unknown field": eventWithSelector(`"data":[` + strings.TrimSuffix(strings.Repeat(`{"x":1},`, 100), ",") + `]`),
	} {
		f := newFixture(t)
		bodies := map[string]string{eventPath: body, eventsPath: batch(body)}
		if strings.HasPrefix(name, "20,000 unknown fields") {
			bodies = map[string]string{eventPath: body}
		}
		for path, body := range bodies {
			t.Run(name+" at "+path, func(t *testing.T) {
				resp := f.post(t, path, body)
				require.Equal(t, http.StatusBadRequest, resp.status)
				resp.requireError(t, http.StatusBadRequest, resp.body["code"].(string), resp.body["field"].(string))
				require.NotEmpty(t, resp.violations(t))
				for _, v := range resp.violations(t) {
					require.LessOrEqual(t, utf8.RuneCountInString(v.field), 128)
				}
			})
		}
	}
	t.Run("paths and names have at most 128 characters", func(t *testing.T) {
		f := newFixture(t)
		longest, tooLong := strings.Repeat("é", 128), strings.Repeat("é", 129)
		require.Equal(t, longest, f.post(t, eventPath, event(quoted(longest)+":1")).body["field"])
		resp := f.post(t, eventPath, event(quoted(tooLong)+":1"))
		require.Equal(t, 128, utf8.RuneCountInString(resp.body["field"].(string)))
		require.NotContains(t, resp.text, tooLong)
	})
	t.Run("all text from the client is cut", func(t *testing.T) {
		f := newFixture(t, keepUnknown)
		tooLong := strings.Repeat("x", 129)
		f.post(t, eventPath, event(`"reference":"r"`)).requireStored(t)
		for name, resp := range map[string]response{
			"a version":    f.get(t, "/v"+tooLong+"/ingest/charge-data"),
			"a method":     f.send(t, tooLong, eventPath, "", ""),
			"an id":        f.get(t, eventPath+"/"+tooLong),
			"a parameter":  f.get(t, eventPath+"?"+tooLong+"=1"),
			"a difference": f.post(t, eventPath, event(`"reference":"r"`, quoted(tooLong)+":1")),
			"a name twice": f.post(t, eventPath, event(quoted(tooLong)+":1", quoted(tooLong)+":1")),
		} {
			require.GreaterOrEqual(t, resp.status, 400, name)
			require.NotContains(t, resp.text, tooLong, name)
		}
	})
	t.Run("2,000 unknown parameters", func(t *testing.T) {
		query := make([]string, 2000)
		for i := range query {
			query[i] = "x" + strconv.Itoa(i) + "=1"
		}
		resp := newFixture(t).get(t, eventPath+"?"+strings.Join(query, "&"))
		resp.requireError(t, http.StatusBadRequest, "INVALID_FIELD", "x0")
	})
	t.Run("a conflict with 2,000 differences", func(t *testing.T) {
		f := newFixture(t, keepUnknown)
		f.post(t, eventPath, event(`"reference":"r"`)).requireStored(t)
		body := strings.TrimSuffix(unknown(2000, long("\x00")), "}") + `,"reference":"r"}`
		f.post(t, eventPath, body).requireError(t, http.StatusConflict, "RESOURCE_ALREADY_EXISTS", "reference")
	})
}

func TestErrorText(t *testing.T) {
	err := &chargeingest.Error{Status: 400, Code: chargeingest.CodeMissingField, Message: "reference is missing"}
	require.EqualError(t, err, "400 MISSING_FIELD: reference is missing")
}

func TestStoreWithoutContent(t *testing.T) {
	t.Parallel()
	empty := chargeingest.StoredEvent{ID: "chda_1"}
	f := newFixture(t, withStore(&readableStore{
		Store: memstore.New(),
		append: func(context.Context, chargeingest.Batch) (chargeingest.AppendResult, error) {
			return chargeingest.AppendResult{Outcomes: []chargeingest.Outcome{{StoredEvent: empty}}}, nil
		},
		get: func(context.Context, string, string) (chargeingest.StoredEvent, error) { return empty, nil },
		list: func(context.Context, chargeingest.Query) (chargeingest.Page, error) {
			return chargeingest.Page{Events: []chargeingest.StoredEvent{empty}}, nil
		},
	}))
	for name, c := range map[string]struct {
		resp response
		want string
	}{
		"append": {f.post(t, eventPath, event()), "it is unknown whether the events were stored"},
		"get":    {f.get(t, eventPath+"/chda_1"), "internal error; nothing was stored"},
		"list":   {f.get(t, eventPath), "internal error; nothing was stored"},
	} {
		t.Run(name, func(t *testing.T) {
			c.resp.requireError(t, http.StatusInternalServerError, "INTERNAL_ERROR", "")
			require.Contains(t, c.resp.body["message"], c.want)
			require.Contains(t, f.log.text(), `stored event \"chda_1\" has no JSON object as its content`)
		})
	}
	_, err := empty.Event()
	require.Error(t, err)
}

func TestInternalErrorBeforeTheStore(t *testing.T) {
	t.Parallel()
	f := newFixture(t, withAuthorizer(chargeingest.AuthorizerFunc(func(*http.Request, chargeingest.Permission) (chargeingest.Principal, error) {
		panic("torn")
	})))
	resp := f.post(t, eventPath, event())
	resp.requireError(t, http.StatusInternalServerError, "INTERNAL_ERROR", "")
	require.Equal(t, "internal error; nothing was stored", resp.body["message"])
}
