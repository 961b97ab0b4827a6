package routers_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func TestProtocols(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T, http.Handler) server{
		"HTTP/1.1":                  serve,
		"HTTP/1.1 with TLS":         func(t *testing.T, h http.Handler) server { return serveTLS(t, h, 1) },
		"HTTP/2 with TLS":           func(t *testing.T, h http.Handler) server { return serveTLS(t, h, 2) },
		"HTTP/2 in clear text, h2c": serveH2C,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			observed := make(chan chargeingest.RequestStats, 1)
			s := start(t, serveMuxHost(endpointsOf(newHandler(t)), ignoreLabel))
			requireContract(t, s)
			requireEndpoints(t, s)
			t.Run("a batch of 1,000 events is stored", s.checkLargeBatch)

			h := newHandler(t, func(c *chargeingest.Config) {
				c.Observer = func(_ context.Context, o chargeingest.RequestStats) { observed <- o }
			})
			aborting := abortedBodies{start(t, serveMuxHost(endpointsOf(h), ignoreLabel)), observed}
			t.Run("an aborted request stores nothing", aborting.check)
		})
	}
}

func serveTLS(t *testing.T, h http.Handler, proto int) server {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.EnableHTTP2 = proto == 2
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return server{client: plainClient(srv.Client()), root: srv.URL, proto: proto}
}

func serveH2C(t *testing.T, h http.Handler) server {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	t.Cleanup(srv.Close)
	client := srv.Client()
	transport := client.Transport.(*http.Transport)
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetUnencryptedHTTP2(true)
	return server{client: plainClient(client), root: srv.URL, proto: 2}
}

func (s server) checkLargeBatch(t *testing.T) {
	events := make([]string, 1000)
	for i := range events {
		events[i] = event(fmt.Sprintf("large-%d", i), "1")
	}
	for _, replayed := range []string{"", "true"} {
		got := s.post(t, eventsPath, batch(events...))
		require.Equal(t, http.StatusCreated, got.status, got.text[:min(len(got.text), 1000)])
		require.Equal(t, replayed, got.header.Get("Idempotent-Replayed"))
		require.Len(t, got.body["charge_datas"], len(events))
	}
}

// An aborting client sees no response, so the Observer reports it.
type abortedBodies struct {
	server
	observed <-chan chargeingest.RequestStats
}

func (a abortedBodies) check(t *testing.T) {
	gaveUp := errors.New("the client gave up")
	whole := event("aborted", "1")
	for name, c := range map[string]struct {
		sent   string
		length int64
	}{
		"in the middle of an event":                   {whole[:len(whole)/2], int64(len(whole))},
		"in the middle of an event of unknown length": {whole[:len(whole)/2], -1},
		"after an event, before the end of the body":  {whole, -1},
		"before announced white space":                {whole, int64(len(whole)) + 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := a.request(t, http.MethodPost, eventPath, whole)
			r.ContentLength = c.length
			r.Body = io.NopCloser(io.MultiReader(strings.NewReader(c.sent), failingReader{gaveUp}))
			require.ErrorIs(t, a.sendExpectingError(t, r), gaveUp)
			o := <-a.observed
			require.Equal(t, http.StatusBadRequest, o.Status)
			require.Equal(t, chargeingest.CodeBadRequest, o.Code)

			require.Empty(t, a.get(t, eventPath).body["data"])
			<-a.observed
		})
	}
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }
