package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/cli"
)

const sandboxFault = `{"next":1,"fault":{"type":"reset","after_commit":true}}`

func TestSandboxGreeting(t *testing.T) {
	s := startServer(t, "-sandbox")
	require.Regexp(t, `^WARNING: .*not for production.*\nlistening on http://127\.0\.0\.1:[1-9][0-9]*\n`+
		`Inspector: http://127\.0\.0\.1:[0-9]+/inspector/#key=[A-Z2-7]{26}\nAPI key \(generated at each start\): [A-Z2-7]{26}\n`+
		`To store .*, run:\ncurl .*\nTo send an event, run:\ncurl .*\n$`, s.out.String())
	require.NotContains(t, s.log.String(), s.key)

	_, rest, _ := strings.Cut(s.out.String(), "\ncurl ")
	fault, _, _ := strings.Cut(rest, "\n")
	require.Contains(t, fault, sandboxFault)
	runCurl(t, "curl -f "+fault)
	require.True(t, responseIsLost(t, s, exampleEvent))
	require.Contains(t, runCurl(t, s.curl), "Idempotent-Replayed: true")
	require.Len(t, s.events(t), 1)
	require.Regexp(t, `level=INFO msg="request 1: POST .*Reset\(\).*AfterCommit\(\)`, s.log.String())
}

func responseIsLost(t *testing.T, s *runningServer, event string) bool {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, s.url+"/v1/ingest/charge-data", strings.NewReader(event))
	require.NoError(t, err)
	req.Header.Set("X-API-KEY", s.key)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err == nil {
		_, err = io.Copy(io.Discard, res.Body)
		require.NoError(t, res.Body.Close())
	}
	return err != nil
}

func TestSandboxOfVendor(t *testing.T) {
	s := startServer(t, "-sandbox", "-profile", "vendor")
	status, text := s.send(t, http.MethodPost, "/v1/ingest/charge-data", exampleEvent)
	require.Equal(t, http.StatusNotFound, status, text)
	require.Contains(t, text, "RESOURCES_NOT_FOUND")
	_, rest, _ := strings.Cut(s.out.String(), "catalogue, run:\n")
	catalogue, _, _ := strings.Cut(rest, "\n")
	require.Regexp(t, `^HTTP/1.1 200`, runCurl(t, catalogue))
	require.Regexp(t, created, runCurl(t, s.curl))
}

func TestSandboxClock(t *testing.T) {
	s := startServer(t, "-sandbox")
	now := func() string {
		_, text := s.send(t, http.MethodGet, "/sandbox/clock", "")
		var clock struct{ Now string }
		require.NoError(t, json.Unmarshal([]byte(text), &clock))
		return clock.Now
	}
	first := now()
	status, text := s.send(t, http.MethodPost, "/sandbox/clock", `{"advance":"24h"}`)
	require.Equal(t, http.StatusOK, status, text)
	require.Greater(t, now()[:10], first[:10])
	status, text = s.send(t, http.MethodPost, "/sandbox/reset", "")
	require.Equal(t, http.StatusNoContent, status, text)
	require.Greater(t, now(), first, "the clock runs")
}

func TestSandboxWithDatabase(t *testing.T) {
	db := filepath.Join(t.TempDir(), "charges.db")
	start := func(args ...string) *runningServer {
		s := startServer(t, append(args, "-db", db, "-api-key", "k")...)
		s.key = "k"
		return s
	}
	s := start("-sandbox")
	require.NotContains(t, s.out.String()+s.log.String(), "generated")
	status, text := s.send(t, http.MethodPost, "/v1/ingest/charge-data", eventLine(1))
	require.Equal(t, http.StatusCreated, status, text)
	status, text = s.send(t, http.MethodPost, "/sandbox/reset", "")
	require.Equal(t, http.StatusConflict, status, text)
	stored := s.events(t)
	require.Len(t, stored, 1)
	s.stop()
	<-s.done
	require.Zero(t, s.status, s.log)

	require.Equal(t, stored, start("-sandbox").events(t))
}

func TestSandboxInMemory(t *testing.T) {
	t.Chdir(t.TempDir())
	s := newTestProgram().startOnly(t, "-sandbox")
	status, text := s.send(t, http.MethodPost, "/v1/ingest/charge-data", eventLine(1))
	require.Equal(t, http.StatusCreated, status, text)
	s.stop()
	<-s.done
	require.Zero(t, s.status, s.log)
	files, err := os.ReadDir(".")
	require.NoError(t, err)
	require.Empty(t, files)
}

func TestSandboxSettings(t *testing.T) {
	s := startServer(t, "-sandbox", "-references", "required", "-unknown-fields", "keep", "-max-body", "1000", "-duplicates", "return-original")
	for body, want := range map[string]int{
		strings.Replace(eventLine(1), `"reference":"ref-1",`, "", 1): http.StatusBadRequest,
		strings.Replace(eventLine(2), `{`, `{"colour":"red",`, 1):    http.StatusCreated,
		eventLine(3) + strings.Repeat(" ", 1000):                     http.StatusRequestEntityTooLarge,
	} {
		status, text := s.send(t, http.MethodPost, "/v1/ingest/charge-data", body)
		require.Equal(t, want, status, text)
	}
	status, text := s.send(t, http.MethodPost, "/v1/ingest/charge-data", strings.Replace(eventLine(2), `"2.50"`, `"3"`, 1))
	require.Equal(t, http.StatusCreated, status, text)
}

func TestSandboxAddress(t *testing.T) {
	tp := newTestProgram()
	require.Equal(t, cli.StatusUsage, tp.run(t.Context(), strings.Fields("-sandbox -addr 0.0.0.0:0")))
	require.Regexp(t, `^chargeingest: -sandbox listens only on a loopback address or a unix socket, not on .*, unless -sandbox-remote is given\n$`, tp.log.String())
	require.Empty(t, tp.out.String())

	s := startServer(t, "-sandbox", "-addr", "0.0.0.0:0", "-sandbox-remote")
	require.Contains(t, s.out.String(), "\nlistening on http://localhost:")
}

func TestSandboxJournalLimit(t *testing.T) {
	s := startServer(t, "-sandbox")
	for range maxSandboxRequests + 1 {
		s.send(t, http.MethodGet, "/v1/ingest/charge-data/x", "")
	}
	_, journal := s.send(t, http.MethodGet, "/sandbox/requests?limit=1", "")
	require.Contains(t, journal, `"number":2,`, "the first request was dropped")
}

func TestSandboxWithoutPage(t *testing.T) {
	s := startServer(t, "-sandbox", "-inspector", "off")
	require.NotContains(t, s.out.String(), "Inspector: ")
	for path, want := range map[string]int{"/inspector/": http.StatusNotFound, "/livez": http.StatusOK, "/readyz": http.StatusOK} {
		status, text := s.send(t, http.MethodGet, path, "")
		require.Equal(t, want, status, text)
	}
	_, journal := s.send(t, http.MethodGet, "/sandbox/requests", "")
	require.NotContains(t, journal, "/readyz")
}

func TestSandboxEndsWaits(t *testing.T) {
	s := startServer(t, "-sandbox")
	sent, ended := make(chan struct{}), make(chan error, 1)
	trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { close(sent) }}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodGet,
		s.url+"/sandbox/wait?requests=1&timeout=1h", nil)
	require.NoError(t, err)
	req.Header.Set("X-API-KEY", s.key)
	go func() {
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			err = res.Body.Close()
		}
		ended <- err
	}()
	<-sent
	s.stop()
	<-s.done
	<-ended
	require.Zero(t, s.status, s.log)
}
