package chargeingest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	wrong := `{"charge_datas":[` + strings.Replace(observedEvent, `"r"`, `1`, 1) + `]}`
	for _, c := range []struct {
		name, method, path, body string
		as                       chargeingest.AuthorizerFunc
		want                     chargeingest.RequestStats
	}{
		{"a fresh event", "POST", "/v1/ingest/charge-data", observedEvent, asAda(nil), chargeingest.RequestStats{
			Subject: "ada", Route: chargeingest.RouteSingle, Method: "POST", Status: 201, Platform: "default", Events: 1, Bytes: int64(len(observedEvent)), Duration: 2 * time.Second,
		}},
		{"a batch with one replay", "POST", "/v1/ingest/charge-datas", batch, asAda(nil), chargeingest.RequestStats{
			Subject: "ada", Route: chargeingest.RouteBatch, Method: "POST", Status: 201, Platform: "default", Events: 2, Replayed: 1, Bytes: int64(len(batch)), Duration: 2 * time.Second,
		}},
		{"a refusal", "POST", "/v1/ingest/charge-data", `{`, asAda(nil), chargeingest.RequestStats{
			Subject: "ada", Route: chargeingest.RouteSingle, Method: "POST", Status: 400, Code: chargeingest.CodeBadRequest, Platform: "default", Bytes: 1, Duration: 2 * time.Second,
		}},
		{"a refusal of a field", "POST", "/v1/ingest/charge-datas", wrong, asAda(nil), chargeingest.RequestStats{
			Subject: "ada", Route: chargeingest.RouteBatch, Method: "POST", Status: 400, Code: chargeingest.CodeInvalidField, Platform: "default", Bytes: int64(len(wrong)), Duration: 2 * time.Second,
			Field: "charge_datas.0.reference", Violations: []chargeingest.Violation{{Code: chargeingest.CodeInvalidField, Field: "charge_datas.0.reference"}},
		}},
		{"a caller that is refused", "POST", "/v1/ingest/charge-data", observedEvent, asAda(chargeingest.ErrForbidden), chargeingest.RequestStats{
			Subject: "ada", Route: chargeingest.RouteSingle, Method: "POST", Status: 403, Code: chargeingest.CodeUserNotAllowed, Duration: time.Second,
		}},
		{"a token that has expired", "POST", "/v1/ingest/charge-data", observedEvent, asAda(chargeingest.ErrInvalidCredential), chargeingest.RequestStats{
			Subject: "ada", Route: chargeingest.RouteSingle, Method: "POST", Status: 401, Code: chargeingest.CodeUnauthorised, Duration: time.Second,
		}},
		{"a listing", "GET", "/v1/ingest/charge-data", "", asAda(nil), chargeingest.RequestStats{
			Subject: "ada", Route: chargeingest.RouteList, Method: "GET", Status: 200, Platform: "default", Events: 2, Duration: time.Second,
		}},
		{"a path that leads nowhere", "GET", "/", "", asAda(nil), chargeingest.RequestStats{
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

// asAda authorizes everyone as ada, or refuses her.
func asAda(err error) chargeingest.AuthorizerFunc {
	return func(*http.Request, chargeingest.Permission) (chargeingest.Principal, error) {
		return chargeingest.Principal{Subject: "ada", Platforms: []string{chargeingest.DefaultPlatform}}, err
	}
}

// The violations are those of the response, however many there are. An observer
// that appends to them does not write over those of others.
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

func TestErrAbortHandler(t *testing.T) {
	h, err := chargeingest.New(chargeingest.Config{
		Store: memstore.New(),
		Authorizer: chargeingest.AuthorizerFunc(func(*http.Request, chargeingest.Permission) (chargeingest.Principal, error) {
			panic(http.ErrAbortHandler)
		}),
	})
	require.NoError(t, err)
	require.PanicsWithValue(t, http.ErrAbortHandler, func() {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/v1/ingest/charge-data", nil))
	})
}

// unready is a store that would take nothing.
type unready struct{ *memstore.Store }

var errUnready = errors.New("disk is read-only")

func (unready) Ready(context.Context) error { return errUnready }

// plain is a store without capabilities.
type plain struct{ chargeingest.EventStore }

func TestReady(t *testing.T) {
	for _, c := range []struct {
		store chargeingest.EventStore
		want  error
	}{{memstore.New(), nil}, {unready{memstore.New()}, errUnready}, {plain{memstore.New()}, nil}} {
		h, err := chargeingest.New(chargeingest.Config{Store: c.store, Authorizer: allowAll})
		require.NoError(t, err)
		require.Equal(t, c.want, h.Ready(t.Context()))
	}
}

func TestIngestInvalidUTF8(t *testing.T) {
	h := newHandler(allowAll)
	_, err := h.Ingest(t.Context(), chargeingest.IngestRequest{Platform: "acme", Events: []chargeingest.ChargeEvent{{ProductItemID: "\xff"}}})
	var refused *chargeingest.Error
	require.ErrorAs(t, err, &refused)
	require.Equal(t, chargeingest.CodeInvalidField, refused.Code)
	require.Equal(t, "charge_datas.0", refused.Field)
}
