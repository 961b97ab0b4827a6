package chargeingest_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

// appending is the setting of a store that answers every batch with an error.
func appending(err error) func(*chargeingest.Config) {
	return over(&readableStore{
		Store: memstore.New(),
		append: func(context.Context, chargeingest.Batch) (chargeingest.AppendResult, error) {
			return chargeingest.AppendResult{}, err
		},
	})
}

// everyError provokes each row of the table of errors once.
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
		return f.post(t, eventPath, member("value.number", `"x"`), headers...)
	}},
	{"a field of a batch is invalid", 400, "INVALID_FIELD", "charge_datas.3.period.end_at", nil, func(t *testing.T, f *fixture, headers ...string) response {
		return f.post(t, eventsPath, batch(event(), event(), event(), member("period.end_at", `"x"`)), headers...)
	}},
	{"a parameter is invalid", 400, "INVALID_FIELD", "limit", nil, func(t *testing.T, f *fixture, headers ...string) response {
		return f.get(t, eventPath+"?limit=x", headers...)
	}},
	{"the idempotency key is malformed", 400, "INVALID_FIELD", "Idempotency-Key", nil, func(t *testing.T, f *fixture, headers ...string) response {
		return f.post(t, eventPath, event(), append(headers, "Idempotency-Key: a b")...)
	}},
	{"the body is no JSON", 400, "BAD_REQUEST", "", nil, func(t *testing.T, f *fixture, headers ...string) response {
		return f.post(t, eventPath, "{", headers...)
	}},
	{"the version is another", 400, "UNSUPPORTED_VERSION", "", nil, func(t *testing.T, f *fixture, headers ...string) response {
		return f.post(t, "/v2/ingest/charge-data", event(), headers...)
	}},
	{"the version is missing", 400, "MISSING_VERSION", "", nil, func(t *testing.T, f *fixture, headers ...string) response {
		return f.post(t, "/ingest/charge-data", event(), headers...)
	}},
	{"the credential does not verify", 401, "UNAUTHORISED", "", nil, func(t *testing.T, f *fixture, headers ...string) response {
		return f.post(t, eventPath, event(), append(headers, "X-API-KEY: "+wrongSecret)...)
	}},
	{"the permission is lacking", 403, "USER_NOT_ALLOWED", "", nil, func(t *testing.T, f *fixture, headers ...string) response {
		return f.post(t, eventPath, event(), append(headers, "X-API-KEY: "+viewSecret)...)
	}},
	{"the path is unknown", 404, "RESOURCE_NOT_FOUND", "", nil, func(t *testing.T, f *fixture, headers ...string) response {
		return f.get(t, "/v1/ingest/other", headers...)
	}},
	{"the event is unknown", 404, "RESOURCE_NOT_FOUND", "", nil, func(t *testing.T, f *fixture, headers ...string) response {
		return f.get(t, eventPath+"/x", headers...)
	}},
	{"the method is another", 405, "INVALID_OPERATION", "", nil, func(t *testing.T, f *fixture, headers ...string) response {
		return f.get(t, eventsPath, headers...)
	}},
	{"the body is too large", 413, "BAD_REQUEST", "", []func(*chargeingest.Config){func(c *chargeingest.Config) { c.MaxBodyBytes = 10 }}, func(t *testing.T, f *fixture, headers ...string) response {
		return f.post(t, eventPath, event(), headers...)
	}},
	{"the media type is another", 415, "UNSUPPORTED_MEDIA_TYPE", "", nil, func(t *testing.T, f *fixture, headers ...string) response {
		return f.post(t, eventPath, event(), append(headers, "Content-Type: text/plain")...)
	}},
	{"the reference has other content", 409, "RESOURCE_ALREADY_EXISTS", "reference", nil, func(t *testing.T, f *fixture, headers ...string) response {
		f.post(t, eventPath, event(`"reference":"r"`)).requireStored(t)
		return f.post(t, eventPath, event(`"reference":"r"`, `"description":"x"`), headers...)
	}},
	{"the key has other content", 409, "IDEMPOTENCY_CHECK_FAILED", "Idempotency-Key", nil, func(t *testing.T, f *fixture, headers ...string) response {
		f.post(t, eventPath, event(), "Idempotency-Key: k").requireStored(t)
		return f.post(t, eventPath, event(`"description":"x"`), append(headers, "Idempotency-Key: k")...)
	}},
	{"the outcome is unknown", 500, "INTERNAL_ERROR", "", []func(*chargeingest.Config){appending(errors.New("lost"))}, func(t *testing.T, f *fixture, headers ...string) response {
		return f.post(t, eventPath, event(), headers...)
	}},
	{"the store is overloaded", 503, "INTERNAL_ERROR", "", []func(*chargeingest.Config){appending(chargeingest.ErrOverloaded)}, func(t *testing.T, f *fixture, headers ...string) response {
		return f.post(t, eventPath, event(), headers...)
	}},
}

func TestErrorShape(t *testing.T) {
	t.Parallel()
	for _, c := range everyError {
		t.Run(fmt.Sprintf("%d %s: %s", c.status, c.code, c.name), func(t *testing.T) {
			a := c.provoke(t, newFixture(t, c.settings...))
			a.requireError(t, c.status, c.code, c.field)
			if c.field != "" {
				require.Equal(t, []violation{{c.code, c.field}}, a.violations(t), "a violation is among the errors")
			}
		})
	}
	t.Run("a conflict names the resource", func(t *testing.T) {
		f := newFixture(t)
		first := f.post(t, eventPath, event(`"reference":"r"`)).requireStored(t)
		a := f.post(t, eventPath, event(`"reference":"r"`, `"description":"x"`))
		require.Equal(t, first["id"], a.body["resource_id"])
		require.Equal(t, "CHARGE_DATA", a.body["resource_type"])
	})
}

func TestViolationOrder(t *testing.T) {
	t.Parallel()
	const missing, invalid = "MISSING_FIELD", "INVALID_FIELD"
	const sel = "pricing_plan_subscription_selector"
	t.Run("by the table's order, then by path, whatever the order sent", func(t *testing.T) {
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
		for range 20 { // the same every time
			a := f.post(t, eventPath, body)
			a.requireError(t, 400, missing, "product_item_id")
			require.Equal(t, want, a.violations(t))
		}
		for i := range want {
			want[i].field = "charge_datas.1." + want[i].field
		}
		require.Equal(t, want, f.post(t, eventsPath, batch(event(), body)).violations(t))
	})
	t.Run("by batch index first, as a number", func(t *testing.T) {
		events := slices.Repeat([]string{event()}, 12)
		events[2], events[10], events[11] = event(`"zzz":1`), event("-product_item_id"), event("-pricing_id")
		require.Equal(t, []violation{{invalid, "charge_datas.2.zzz"}, {missing, "charge_datas.10.product_item_id"}, {missing, "charge_datas.11.pricing_id"}},
			newFixture(t).post(t, eventsPath, batch(events...)).violations(t))
	})
	t.Run("the rules beyond single fields have their place among them", func(t *testing.T) {
		f := newFixture(t, func(c *chargeingest.Config) { c.RequireReference, c.MaxFutureSkew = true, 1 })
		a := f.post(t, eventPath, event(`"timestamp":"2999-01-01T00:00:00Z"`, `"zzz":1`, `"customer_id":""`,
			`"period":{"start_at":"2026-05-02T00:00:00Z","end_at":"2026-05-01T00:00:00Z"}`, `"description":"."`))
		require.Equal(t, []violation{{invalid, "customer_id"}, {missing, "reference"}, {invalid, "description"}, {invalid, "period.end_at"}, {invalid, "timestamp"}, {invalid, "zzz"}}, a.violations(t))
	})
	t.Run("one per path and kind", func(t *testing.T) {
		a := newFixture(t).post(t, eventPath, event(`"customer_id":`+quoted(strings.Repeat("\x01", 300)), `"value":{"number":"`+strings.Repeat("9", 50)+`e"}`))
		require.Equal(t, []violation{{invalid, "customer_id"}, {invalid, "value.number"}}, a.violations(t))
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
		members := make([]string, n)
		for i := range members {
			members[i] = quoted(name(i)) + ":1"
		}
		return event(strings.Join(members, ","))
	}
	long := func(s string) func(int) string {
		return func(i int) string { return strconv.Itoa(100_000+i) + strings.Repeat(s, 300) }
	}
	for name, body := range map[string]string{
		"20,000 unknown members":            unknown(20_000, strconv.Itoa),
		"200 of long names":                 unknown(200, long("x")),
		"200 of long names of wide letters": unknown(200, long("😀")),
		"200 of long names to be escaped":   unknown(200, long("\x00")),
		"200 of long names of quotes":       unknown(200, long(`"`)),
		"one name of 100,000 characters":    unknown(1, func(int) string { return strings.Repeat("é", 100_000) }),
		"20,000 unknown members of a value": event(`"value":` + unknown(20_000, strconv.Itoa)),
		"100 list entries of a wrong name":  selector(`"data":[` + strings.TrimSuffix(strings.Repeat(`{"x":1},`, 100), ",") + `]`),
	} {
		f := newFixture(t)
		bodies := map[string]string{eventPath: body, eventsPath: batch(body)}
		if strings.HasPrefix(name, "20,000 unknown members") {
			bodies = map[string]string{eventPath: body} // the largest once is enough
		}
		for path, body := range bodies {
			t.Run(name+" at "+path, func(t *testing.T) {
				a := f.post(t, path, body)
				require.Equal(t, http.StatusBadRequest, a.status)
				a.requireError(t, http.StatusBadRequest, a.body["code"].(string), a.body["field"].(string)) // at most 16 KB and 100 errors
				require.NotEmpty(t, a.violations(t))
				for _, v := range a.violations(t) {
					require.LessOrEqual(t, utf8.RuneCountInString(v.field), 128)
				}
			})
		}
	}
	t.Run("paths and echoed names are cut at 128 characters", func(t *testing.T) {
		f := newFixture(t)
		whole, longer := strings.Repeat("é", 128), strings.Repeat("é", 129)
		require.Equal(t, whole, f.post(t, eventPath, event(quoted(whole)+":1")).body["field"])
		a := f.post(t, eventPath, event(quoted(longer)+":1"))
		require.Equal(t, 128, utf8.RuneCountInString(a.body["field"].(string)))
		require.NotContains(t, a.text, longer)
	})
	t.Run("whatever is echoed is cut", func(t *testing.T) {
		f := newFixture(t, keepUnknown)
		longer := strings.Repeat("x", 129)
		f.post(t, eventPath, event(`"reference":"r"`)).requireStored(t)
		for name, a := range map[string]response{
			"a version":    f.get(t, "/v"+longer+"/ingest/charge-data"),
			"a method":     f.send(t, longer, eventPath, "", ""),
			"an id":        f.get(t, eventPath+"/"+longer),
			"a parameter":  f.get(t, eventPath+"?"+longer+"=1"),
			"a difference": f.post(t, eventPath, event(`"reference":"r"`, quoted(longer)+":1")),
			"a name twice": f.post(t, eventPath, event(quoted(longer)+":1", quoted(longer)+":1")),
		} {
			require.GreaterOrEqual(t, a.status, 400, name)
			require.NotContains(t, a.text, longer, name)
		}
	})
	t.Run("2,000 unknown parameters", func(t *testing.T) {
		query := make([]string, 2000)
		for i := range query {
			query[i] = "x" + strconv.Itoa(i) + "=1"
		}
		a := newFixture(t).get(t, eventPath+"?"+strings.Join(query, "&"))
		a.requireError(t, http.StatusBadRequest, "INVALID_FIELD", "x0")
	})
	t.Run("a conflict in 2,000 fields", func(t *testing.T) {
		f := newFixture(t, keepUnknown)
		f.post(t, eventPath, event(`"reference":"r"`)).requireStored(t)
		body := strings.TrimSuffix(unknown(2000, long("\x00")), "}") + `,"reference":"r"}`
		f.post(t, eventPath, body).requireError(t, http.StatusConflict, "RESOURCE_ALREADY_EXISTS", "reference")
	})
}

func TestRetryHeaders(t *testing.T) {
	t.Parallel()
	const key = "Idempotency-Key: k"
	one, two := event(`"reference":"r-1"`), event(`"reference":"r-2"`)
	const cause = "connection reset"
	unknown := errors.New(cause)
	because := func(sentinel error) error { return fmt.Errorf("%s: %w", cause, sentinel) }
	for _, c := range []struct {
		name       string
		err        error
		path, body string
		headers    []string
		safe       bool
	}{
		{"nothing was stored", because(chargeingest.ErrNotStored), eventPath, event(), nil, true},
		{"nothing of a batch was stored", because(chargeingest.ErrNotStored), eventsPath, batch(event()), nil, true},
		{"overloaded", because(chargeingest.ErrOverloaded), eventPath, event(), nil, true},
		{"shutting down", because(chargeingest.ErrClosed), eventPath, event(), nil, true},
		{"unknown, and the event has a reference", unknown, eventPath, one, nil, true},
		{"unknown, and the event has none", unknown, eventPath, event(), nil, false},
		{"unknown, and the reference is empty", unknown, eventPath, event(`"reference":""`), nil, false},
		{"unknown, and the reference is null", unknown, eventPath, event(`"reference":null`), nil, false},
		{"unknown, and the request has a key", unknown, eventPath, event(), []string{key}, true},
		{"unknown, and every event has a reference", unknown, eventsPath, batch(one, two), nil, true},
		{"unknown, and one event has none", unknown, eventsPath, batch(one, event(), two), nil, false},
		{"unknown, and the batch has a key", unknown, eventsPath, batch(one, event()), []string{key}, true},
		{"given up while it was stored, and the event has none", because(context.Canceled), eventPath, event(), nil, false},
		{"given up while it was stored, and the event has a reference", because(context.DeadlineExceeded), eventPath, one, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, appending(c.err))
			a := f.post(t, c.path, c.body, c.headers...)
			a.requireRetryable(t, c.safe)
			require.NotContains(t, a.text, cause, "the cause is in the log alone")
			require.Contains(t, f.log.text(), cause)
		})
	}
	t.Run("a bug is a 500, one fixed message for all", func(t *testing.T) {
		var messages []any
		for _, store := range []storeFunc{
			func(context.Context, chargeingest.Batch) (chargeingest.AppendResult, error) {
				panic("index out of range")
			},
			func(context.Context, chargeingest.Batch) (chargeingest.AppendResult, error) { panic(unknown) },
			func(context.Context, chargeingest.Batch) (chargeingest.AppendResult, error) {
				return chargeingest.AppendResult{}, nil
			},
			func(context.Context, chargeingest.Batch) (chargeingest.AppendResult, error) {
				return chargeingest.AppendResult{}, unknown
			},
		} {
			a := newFixture(t, over(store)).post(t, eventPath, event())
			a.requireRetryable(t, false)
			messages = append(messages, a.body["message"])
		}
		require.Len(t, slices.Compact(messages), 1)
	})
	t.Run("what reads can always be sent again", func(t *testing.T) {
		f := newFixture(t, over(&readableStore{
			Store: memstore.New(),
			get: func(context.Context, string, string) (chargeingest.StoredEvent, error) {
				return chargeingest.StoredEvent{}, unknown
			},
			list: func(context.Context, chargeingest.Query) (chargeingest.Page, error) {
				return chargeingest.Page{}, unknown
			},
		}))
		f.get(t, eventPath).requireRetryable(t, true)
		f.get(t, eventPath+"/x").requireRetryable(t, true)
	})
	t.Run("what is safe to send again stores once when it is", func(t *testing.T) {
		store := memstore.New()
		failures := 1
		f := newFixture(t, over(&readableStore{
			Store: store,
			append: func(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
				r, err := store.Append(ctx, b)
				if failures--; err == nil && failures == 0 {
					return chargeingest.AppendResult{}, unknown // stored, and the store could not say so
				}
				return r, err
			},
		}))
		f.post(t, eventPath, event(), key).requireRetryable(t, true)
		require.Equal(t, "true", f.post(t, eventPath, event(), key).header.Get("Idempotent-Replayed"))
		require.Len(t, f.list(t, "pf_a"), 1)
	})
	t.Run("http.ErrAbortHandler is passed on", func(t *testing.T) {
		f := newFixture(t, over(storeFunc(func(context.Context, chargeingest.Batch) (chargeingest.AppendResult, error) {
			panic(http.ErrAbortHandler)
		})))
		require.PanicsWithValue(t, http.ErrAbortHandler, func() {
			f.handler.ServeHTTP(httptest.NewRecorder(), request(http.MethodPost, eventPath, strings.NewReader(event())))
		})
	})
}

func TestNoSecretsInResponsesAndLogs(t *testing.T) {
	t.Parallel()
	for name, headers := range map[string][]string{
		"an API key":             {"X-API-KEY: " + wrongSecret},
		"a token":                {"-X-API-KEY", "Authorization: Bearer " + wrongSecret},
		"credentials of a login": {"-X-API-KEY", "Authorization: Basic " + wrongSecret},
		"a scheme of the host's": {"-X-API-KEY", "Authorization: Token key=" + wrongSecret},
		"a short key":            {"X-API-KEY: s3cr3t"},
		"a short token":          {"-X-API-KEY", "Authorization: Bearer s3cr3t"},
	} {
		t.Run(name+" that an authorizer's error quotes", func(t *testing.T) {
			for _, sentinel := range []error{chargeingest.ErrInvalidCredential, chargeingest.ErrForbidden, errors.New("key server down")} {
				f := newFixture(t, authorizedBy(chargeingest.AuthorizerFunc(func(r *http.Request, _ chargeingest.Permission) (chargeingest.Principal, error) {
					return chargeingest.Principal{}, fmt.Errorf("no such key %s%s: %w", r.Header.Get("X-Api-Key"), r.Header.Get("Authorization"), sentinel)
				})))
				a := f.post(t, eventPath, event(), headers...)
				require.Contains(t, f.log.text(), "no such key") // the cause is logged
				for _, secret := range []string{wrongSecret, "s3cr3t"} {
					require.NotContains(t, a.text, secret)
					require.NotContains(t, f.log.text(), secret)
				}
			}
		})
	}
	const path = "/var/lib/billing/charges.db"
	refused := func(path string) error { return &fs.PathError{Op: "write", Path: path, Err: fs.ErrPermission} }
	for name, fail := range map[string]func() error{
		"alone":                   func() error { return refused(path) },
		"wrapped":                 func() error { return fmt.Errorf("commit: %w", refused(path)) },
		"beside a sentinel":       func() error { return fmt.Errorf("%w: %w", chargeingest.ErrNotStored, refused(path)) },
		"beside another":          func() error { return errors.Join(refused("/tmp"), refused(path)) },
		"of a rename":             func() error { return &os.LinkError{Op: "rename", Old: path, New: path + "-old", Err: fs.ErrPermission} },
		"in the value of a panic": func() error { panic(refused(path)) },
	} {
		t.Run("a file path in a store's error is only logged, "+name, func(t *testing.T) {
			f := newFixture(t, over(storeFunc(func(context.Context, chargeingest.Batch) (chargeingest.AppendResult, error) {
				return chargeingest.AppendResult{}, fail()
			})))
			a := f.post(t, eventPath, event())
			require.Contains(t, f.log.text(), "permission denied")
			require.NotContains(t, a.text, path)
			require.Contains(t, f.log.text(), path)
		})
	}
	t.Run("the stack of a panic has no paths of files", func(t *testing.T) {
		here, err := os.Getwd()
		require.NoError(t, err)
		f := newFixture(t, over(storeFunc(func(context.Context, chargeingest.Batch) (chargeingest.AppendResult, error) { panic("torn") })))
		a := f.post(t, eventPath, event())
		for _, text := range []string{a.text, f.log.text()} {
			require.NotContains(t, text, here)
			require.NotContains(t, text, ".go:")
		}
		require.NotContains(t, a.text, "torn")
		require.Contains(t, f.log.text(), "torn")
	})
	t.Run("SQL in a store's error stays out of the response", func(t *testing.T) {
		a := newFixture(t, appending(errors.New("INSERT INTO charges: locked"))).post(t, eventPath, event())
		require.NotContains(t, a.text, "INSERT")
	})
	t.Run("a success is logged without its credential", func(t *testing.T) {
		f := newFixture(t)
		f.post(t, eventPath, event()).requireStored(t)
		require.Contains(t, f.log.text(), "status=201")
		requireNoSecret(t, f.log.text())
	})
}
