package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/pgserver"
)

// postgresURL leads to a server, which it starts unless the environment names one.
func postgresURL(t *testing.T) string {
	t.Helper()
	if address := os.Getenv(pgserver.Variable); strings.HasPrefix(address, "postgres") {
		return address
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	srv, err := pgserver.New(ctx)
	if errors.Is(err, pgserver.ErrNoBinaries) && os.Getenv("CI") != "true" {
		t.Skipf("skipped: %v; %s can name a server by its URL", err, pgserver.Variable)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, srv.Remove()) })
	require.NoError(t, srv.Start(ctx))
	return "postgres:///postgres?host=" + url.QueryEscape(srv.Folder) + "&user=postgres"
}

func TestEventsAreInPostgreSQLAndOutliveTheServer(t *testing.T) {
	db := postgresURL(t)
	s := startServer(t, "-db", db)
	status, body := s.send(t, http.MethodPost, "/v1/ingest/charge-data", eventLine(1))
	require.Equal(t, http.StatusCreated, status, body)
	_, metrics := s.send(t, http.MethodGet, "/metrics", "")
	require.Contains(t, metrics, "\nchargeingest_commit_events_sum 1\n")
	status, _ = s.send(t, http.MethodGet, "/readyz", "")
	require.Equal(t, http.StatusOK, status)
	s.stop()
	<-s.done
	require.Equal(t, 0, s.status, s.log)

	again := startServer(t, "-db", db)
	require.Equal(t, []string{strings.TrimSpace(body)}, again.events(t))
}

func TestAPostgreSQLURLThatIsWrongIsNotRepeated(t *testing.T) {
	for _, db := range []string{"postgres://user:secret@[::1/db", "postgres://user:secret@127.0.0.1:1/db?connect_timeout=1"} {
		tp := newTestProgram()
		require.NotZero(t, tp.run(t.Context(), []string{"-addr", "127.0.0.1:0", "-db", db}))
		require.NotContains(t, tp.log.String(), "secret")
		require.NotEmpty(t, tp.log.String())
	}
}
