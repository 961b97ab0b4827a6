package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

func TestHandlerOptions(t *testing.T) {
	changed := strings.Replace(eventLine(1), `"1.50"`, `"2"`, 1)
	unknown := strings.Replace(eventLine(2), `{`, `{"colour":"red",`, 1)
	for _, c := range []struct {
		name   string
		args   []string
		body   string
		status int
	}{
		{"body larger than -max-body", []string{"-max-body", "300"}, strings.Repeat(" ", 300) + eventLine(3), http.StatusRequestEntityTooLarge},
		{"conflict", nil, changed, http.StatusConflict},
		{"conflict with return-original", []string{"-duplicates", "return-original"}, changed, http.StatusCreated},
		{"unknown field", nil, unknown, http.StatusBadRequest},
		{"unknown field with keep", []string{"-unknown-fields", "keep"}, unknown, http.StatusCreated},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := startServer(t, c.args...)
			status, body := s.send(t, http.MethodPost, "/v1/ingest/charge-data", eventLine(1))
			require.Equal(t, http.StatusCreated, status, body)
			status, body = s.send(t, http.MethodPost, "/v1/ingest/charge-data", c.body)
			require.Equal(t, c.status, status, body)
		})
	}
}

func TestHealth(t *testing.T) {
	events := memstore.New()
	keys, _, err := new(keyConfig).authorizer()
	require.NoError(t, err)
	logs := newRecorder()
	logger := slog.New(slog.NewTextHandler(logs, nil))
	ingest, err := chargeingest.New(chargeingest.Config{Store: events, Authorizer: keys, Logger: logger})
	require.NoError(t, err)
	svc := &service{ingest: ingest, logger: logger}
	ask := func(method, path string) string {
		w := httptest.NewRecorder()
		svc.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		return http.StatusText(w.Code) + ": " + w.Body.String()
	}

	require.Equal(t, "OK: alive\n", ask(http.MethodGet, "/livez"))
	require.Equal(t, "OK: ready\n", ask(http.MethodGet, "/readyz"))
	require.Equal(t, "Method Not Allowed: method not allowed\n", ask(http.MethodPost, "/readyz"))

	svc.stopping.Store(true)
	require.Equal(t, "Service Unavailable: stopping\n", ask(http.MethodGet, "/readyz"))
	require.Equal(t, "OK: alive\n", ask(http.MethodGet, "/livez"))

	svc.stopping.Store(false)
	require.NoError(t, events.Close())
	require.Equal(t, "Service Unavailable: the store does not accept events\n", ask(http.MethodGet, "/readyz"))
	require.Contains(t, logs.String(), "not ready")
	require.Equal(t, "OK: alive\n", ask(http.MethodGet, "/livez"))
}

type hangingStore struct{ *memstore.Store }

func (hangingStore) Ready(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestTimeoutOfReadinessIsLogged(t *testing.T) {
	for _, c := range []struct {
		name   string
		end    func(context.Context) (context.Context, context.CancelFunc)
		logged bool
	}{
		{"timeout", func(ctx context.Context) (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, 0) }, true},
		{"client is gone", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return ctx, cancel
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			logs := newRecorder()
			logger := slog.New(slog.NewTextHandler(logs, nil))
			keys, _, err := new(keyConfig).authorizer()
			require.NoError(t, err)
			ingest, err := chargeingest.New(chargeingest.Config{Store: hangingStore{memstore.New()}, Authorizer: keys, Logger: logger})
			require.NoError(t, err)
			ctx, cancel := c.end(t.Context())
			defer cancel()
			status, _ := (&service{ingest: ingest, logger: logger}).readiness(ctx)
			require.Equal(t, http.StatusServiceUnavailable, status)
			require.Equal(t, c.logged, strings.Contains(logs.String(), "not ready"))
		})
	}
}
