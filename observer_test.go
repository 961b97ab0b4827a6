package chargeingest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

const observedEvent = `{"product_item_id":"a","pricing_id":"b","pricing_item_id":"c","pricing_item_config_id":"d","reference":"r"}`

func serveOne(t *testing.T, cfg chargeingest.Config, method, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	if cfg.Authorizer == nil {
		cfg.Authorizer = allowAll
	}
	h, err := chargeingest.New(cfg)
	require.NoError(t, err)
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestObserver(t *testing.T) {
	store := memstore.New()
	batch := `{"charge_datas":[` + observedEvent + `,` + strings.Replace(observedEvent, `"r"`, `"s"`, 1) + `]}`
	invalid := `{"charge_datas":[` + strings.Replace(observedEvent, `"r"`, `1`, 1) + `]}`
	for _, c := range []struct {
		name, method, path, body string
		as                       chargeingest.AuthorizerFunc
		want                     chargeingest.RequestStats
	}{
		{"a new event", "POST", "/v1/ingest/charge-data", observedEvent, authorizeAda(nil), chargeingest.RequestStats{
			Subject: "ada", Route: chargeingest.RouteSingle, Method: "POST", Status: 201, Platform: "default", Events: 1, Bytes: int64(len(observedEvent)), Duration: 2 * time.Second,
		}},
		{"a batch with one replay", "POST", "/v1/ingest/charge-datas", batch, authorizeAda(nil), chargeingest.RequestStats{
			Subject: "ada", Route: chargeingest.RouteBatch, Method: "POST", Status: 201, Platform: "default", Events: 2, Replayed: 1, Bytes: int64(len(batch)), Duration: 2 * time.Second,
		}},
		{"a rejection", "POST", "/v1/ingest/charge-data", `{`, authorizeAda(nil), chargeingest.RequestStats{
			Subject: "ada", Route: chargeingest.RouteSingle, Method: "POST", Status: 400, Code: chargeingest.CodeBadRequest, Platform: "default", Bytes: 1, Duration: 2 * time.Second,
		}},
		{"a rejection because of a field", "POST", "/v1/ingest/charge-datas", invalid, authorizeAda(nil), chargeingest.RequestStats{
			Subject: "ada", Route: chargeingest.RouteBatch, Method: "POST", Status: 400, Code: chargeingest.CodeInvalidField, Platform: "default", Bytes: int64(len(invalid)), Duration: 2 * time.Second,
			Field: "charge_datas.0.reference", Violations: []chargeingest.Violation{{Code: chargeingest.CodeInvalidField, Field: "charge_datas.0.reference"}},
		}},
		{"a missing permission", "POST", "/v1/ingest/charge-data", observedEvent, authorizeAda(chargeingest.ErrForbidden), chargeingest.RequestStats{
			Subject: "ada", Route: chargeingest.RouteSingle, Method: "POST", Status: 403, Code: chargeingest.CodeUserNotAllowed, Duration: time.Second,
		}},
		{"an invalid credential", "POST", "/v1/ingest/charge-data", observedEvent, authorizeAda(chargeingest.ErrInvalidCredential), chargeingest.RequestStats{
			Subject: "ada", Route: chargeingest.RouteSingle, Method: "POST", Status: 401, Code: chargeingest.CodeUnauthorised, Duration: time.Second,
		}},
		{"a listing", "GET", "/v1/ingest/charge-data", "", authorizeAda(nil), chargeingest.RequestStats{
			Subject: "ada", Route: chargeingest.RouteList, Method: "GET", Status: 200, Platform: "default", Events: 2, Duration: time.Second,
		}},
		{"an unknown path", "GET", "/", "", authorizeAda(nil), chargeingest.RequestStats{
			Method: "GET", Status: 404, Code: chargeingest.CodeResourceNotFound, Duration: time.Second,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []chargeingest.RequestStats
			now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
			w := serveOne(t, chargeingest.Config{
				Store: store, Authorizer: c.as,
				Now: func() time.Time { now = now.Add(time.Second); return now },
				Observer: func(_ context.Context, o chargeingest.RequestStats) {
					got = append(got, o)
				},
			}, c.method, c.path, c.body)
			require.Len(t, got, 1)
			for i := range got[0].Violations {
				require.NotEmpty(t, got[0].Violations[i].Message)
				got[0].Violations[i].Message = ""
			}
			c.want.RequestID = w.Header().Get("X-Request-Id")
			require.NotEmpty(t, c.want.RequestID)
			require.Equal(t, c.want, got[0])
		})
	}
}

func authorizeAda(err error) chargeingest.AuthorizerFunc {
	return func(*http.Request, chargeingest.Permission) (chargeingest.Principal, error) {
		return chargeingest.Principal{Subject: "ada", Platforms: []string{chargeingest.DefaultPlatform}}, err
	}
}

// An observer that appends must not overwrite memory.
func TestObservedViolationsAreBounded(t *testing.T) {
	var names []string
	for i := range 200 {
		names = append(names, fmt.Sprintf("%q:1", fmt.Sprintf("x%03d", i)))
	}
	var got chargeingest.RequestStats
	w := serveOne(t, chargeingest.Config{
		Store: memstore.New(), Observer: func(_ context.Context, o chargeingest.RequestStats) { got = o },
	}, http.MethodPost, "/v1/ingest/charge-data", "{"+strings.Join(names, ",")+"}")
	var body struct {
		Errors []struct{ Field string }
	}
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body))
	require.Len(t, got.Violations, 100)
	require.Equal(t, 100, cap(got.Violations))
	for i, e := range body.Errors {
		require.Equal(t, e.Field, got.Violations[i].Field)
	}
	require.Equal(t, got.Field, got.Violations[0].Field)
}

func TestObserverPanic(t *testing.T) {
	var log bytes.Buffer
	w := serveOne(t, chargeingest.Config{
		Store:    memstore.New(),
		Logger:   slog.New(slog.NewTextHandler(&log, nil)),
		Observer: func(context.Context, chargeingest.RequestStats) { panic("no more metrics") },
	}, http.MethodPost, "/v1/ingest/charge-data", observedEvent)
	require.Equal(t, http.StatusCreated, w.Code)
	require.Contains(t, log.String(), "no more metrics")
}

func TestWithObserver(t *testing.T) {
	type key struct{}
	var calls []string
	var stats []chargeingest.RequestStats
	observer := func(name string) func(context.Context, chargeingest.RequestStats) {
		return func(ctx context.Context, s chargeingest.RequestStats) {
			calls = append(calls, fmt.Sprint(name, " ", ctx.Value(key{})))
			stats = append(stats, s)
			if strings.HasPrefix(name, "panicking") {
				panic("no more metrics")
			}
		}
	}
	for _, c := range []struct {
		name             string
		config           string
		outermost, inner string // added to the context in this order
		want             []string
	}{
		{"one", "", "outer", "", []string{"outer value"}},
		{"after Config.Observer", "config", "outer", "", []string{"config value", "outer value"}},
		{"after a Config.Observer that panics", "panicking config", "outer", "", []string{"panicking config value", "outer value"}},
		{"nested", "config", "outer", "inner", []string{"config value", "inner value", "outer value"}},
		{"nested, the inner one panics", "", "outer", "panicking inner", []string{"panicking inner value", "outer value"}},
		{"none", "config", "", "", []string{"config value"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			calls, stats = nil, nil
			var log bytes.Buffer
			cfg := chargeingest.Config{Store: memstore.New(), Authorizer: authorizeAda(nil), Logger: slog.New(slog.NewTextHandler(&log, nil))}
			if c.config != "" {
				cfg.Observer = observer(c.config)
			}
			h, err := chargeingest.New(cfg)
			require.NoError(t, err)
			ctx := context.WithValue(t.Context(), key{}, "value")
			for _, name := range []string{c.outermost, c.inner} {
				if name != "" {
					ctx = chargeingest.WithObserver(ctx, observer(name))
				}
			}
			r := httptest.NewRequest(http.MethodPost, "/v1/ingest/charge-data", strings.NewReader(observedEvent)).WithContext(ctx)
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			require.Equal(t, http.StatusCreated, w.Code)
			require.Equal(t, c.want, calls)
			for _, s := range stats {
				require.Equal(t, stats[0], s)
				require.Equal(t, http.StatusCreated, s.Status)
			}
			require.Equal(t, strings.Contains(strings.Join(c.want, " "), "panicking"), strings.Contains(log.String(), "no more metrics"))
		})
	}
}

func TestWithObserverOfUnreadBody(t *testing.T) {
	var observed error
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, _ := chargeingest.New(chargeingest.Config{Store: memstore.New(), Authorizer: authorizeAda(chargeingest.ErrInvalidCredential)})
		ctx, cancel := context.WithCancel(r.Context())
		ctx = chargeingest.WithObserver(ctx, func(ctx context.Context, _ chargeingest.RequestStats) {
			cancel()
			observed = ctx.Err()
		})
		h.ServeHTTP(w, r.WithContext(ctx))
	}))
	defer srv.Close()
	res, err := http.Post(srv.URL+"/v1/ingest/charge-data", "application/json", io.MultiReader(strings.NewReader(observedEvent)))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	srv.Close()
	require.NoError(t, observed)
}
