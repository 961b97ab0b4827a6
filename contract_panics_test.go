package chargeingest_test

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

type panicHandler struct{ slog.Handler }

func (panicHandler) Enabled(context.Context, slog.Level) bool { return true }

func (panicHandler) Handle(context.Context, slog.Record) error { panic("no disk") }

// The event has no reference, so without a response a retry would bill twice.
func TestLoggerPanicKeepsTheResponse(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(c *chargeingest.Config) { c.Logger = slog.New(panicHandler{}) })
	srv := f.serve(t)
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	req, err := http.NewRequest(http.MethodPost, srv.URL+eventPath, strings.NewReader(event()))
	require.NoError(t, err)
	req.Header.Set("X-API-KEY", fullSecret)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusCreated, res.StatusCode)
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
