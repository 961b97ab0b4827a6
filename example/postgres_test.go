package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/pgtest"
)

func postgresServer(t *testing.T) (address string) {
	t.Helper()
	if address = os.Getenv(pgtest.Variable); address != "" {
		return address
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	srv, err := pgtest.New(ctx)
	if errors.Is(err, pgtest.ErrNoBinaries) && os.Getenv("CI") != "true" {
		t.Skipf("%v; %s can name a server", err, pgtest.Variable)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, srv.Remove()) })
	require.NoError(t, srv.Start(ctx))
	return srv.Address()
}

func postgresDatabase(t *testing.T, address string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cfg, err := pgx.ParseConfig(address)
	require.NoError(t, err)
	conn, err := pgx.ConnectConfig(ctx, cfg)
	require.NoError(t, err)
	name := fmt.Sprintf("example_test_%d", os.Getpid())
	_, err = conn.Exec(ctx, "CREATE DATABASE "+name)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := conn.Exec(context.Background(), "DROP DATABASE "+name)
		require.NoError(t, err)
		require.NoError(t, conn.Close(context.Background()))
	})
	t.Setenv("PGPASSWORD", cfg.Password)
	return fmt.Sprintf("host=%s port=%d user=%s dbname=%s", cfg.Host, cfg.Port, cfg.User, name)
}

func TestPostgreSQL(t *testing.T) {
	address := postgresServer(t)
	t.Run("events survive a restart", func(t *testing.T) { testRestart(t, postgresDatabase(t, address)) })
	t.Run("relay", func(t *testing.T) { testRelay(t, postgresDatabase(t, address)) })
	t.Run("retain option", func(t *testing.T) {
		db := postgresDatabase(t, address)
		s, err := openPostgres(t.Context(), db, storeOptions{logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		testRetainOption(t, db, s)
	})
}

func testRestart(t *testing.T, db string) {
	t.Helper()
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

func TestInvalidPostgreSQLURLIsNotPrinted(t *testing.T) {
	for _, db := range []string{"postgres://user:secret@[::1/db", "postgres://user:secret@127.0.0.1:1/db?connect_timeout=1", "password=secret host=127.0.0.1 port=x", " host = 127.0.0.1 password=secret port=1"} {
		tp := newTestProgram()
		require.NotZero(t, tp.run(t.Context(), []string{"-addr", "127.0.0.1:0", "-db", db}))
		require.NotContains(t, tp.log.String(), "secret")
		require.NotEmpty(t, tp.log.String())
	}
}
