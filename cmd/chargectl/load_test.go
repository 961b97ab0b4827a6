package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func TestLoadTwiceStoresOnce(t *testing.T) {
	s := startServer(t)
	file := writeEvents(t, eventLines(45)...)
	first := newTestProgram()
	require.Equal(t, 0, first.runLoad(t.Context(), s.url, file), first.log)
	require.Equal(t, "45 events: 45 new, 0 already stored, 0 rejected\n", first.out.String())
	require.ElementsMatch(t, eventNumbers(eventLines(45)), eventNumbers(s.events(t)))
	require.Empty(t, first.log.String())

	second := newTestProgram()
	require.Equal(t, 0, second.runLoad(t.Context(), s.url, file), second.log)
	require.Equal(t, "45 events: 0 new, 45 already stored, 0 rejected\n", second.out.String())
	require.Len(t, s.events(t), 45)
}

func TestLoadSendsBatches(t *testing.T) {
	var batches, single atomic.Int64
	s := newServer(t)
	tp := newOfflineProgram(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Idempotency-Key") == "" {
			batches.Add(1)
		} else {
			single.Add(1)
		}
		s.ServeHTTP(w, r)
	}))
	require.Equal(t, 0, tp.runLoad(t.Context(), offline, writeEvents(t, eventLines(100)...)), tp.log)
	require.EqualValues(t, 9, batches.Load())
	require.EqualValues(t, 10, single.Load())
}

func TestLoadReadsEnvironment(t *testing.T) {
	s := newServer(t)
	var path, platform string
	tp := newOfflineProgram(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, platform = r.URL.Path, r.Header.Get("X-Platform-Id")
		http.StripPrefix("/billing", s).ServeHTTP(w, r)
	}))
	tp.env["CHARGEINGEST_URL"], tp.env["CHARGEINGEST_API_KEY"] = "http://server/billing/", apiKey
	tp.env["CHARGEINGEST_PLATFORM"] = chargeingest.DefaultPlatform
	require.Equal(t, 0, tp.run(t.Context(), []string{"load", writeEvents(t, eventLine(1))}), tp.log)
	require.Len(t, s.events(t), 1)
	require.Equal(t, "/billing/v1/ingest/charge-datas", path)
	require.Equal(t, chargeingest.DefaultPlatform, platform)
}

func TestLoadWithToken(t *testing.T) {
	var header http.Header
	tp := newOfflineProgram(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header = r.Header
		w.WriteHeader(http.StatusUnauthorized)
	}))
	tp.env["CHARGEINGEST_TOKEN"] = "secret-token"
	require.Equal(t, 1, tp.run(t.Context(), []string{"load", writeEvents(t, eventLine(1))}))
	require.Equal(t, "Bearer secret-token", header.Get("Authorization"))
	require.Empty(t, header.Get("X-Api-Key"))
	require.NotContains(t, tp.log.String(), "secret-token")
}

func TestLoadSendsLinesUnchanged(t *testing.T) {
	odd := `"exact":{"a": 1.50, "b":[1E2,  "\u00e9"]}`
	for _, line := range []string{eventLine(1), unreferencedLine(1)} {
		s := newServer(t, keepUnknownFields)
		tp := newOfflineProgram(s)
		require.Equal(t, 0, tp.runLoad(t.Context(), offline, writeEvents(t, strings.Replace(line, "{", "{"+odd+",", 1))), tp.log)
		require.Contains(t, s.events(t)[0], odd)
	}
}

func TestLoadEmptyFile(t *testing.T) {
	tp := newOfflineProgram(newServer(t))
	require.Equal(t, 0, tp.runLoad(t.Context(), offline, writeEvents(t, "\n")), tp.log)
	require.Equal(t, "0 events: 0 new, 0 already stored, 0 rejected\n", tp.out.String())
}

func TestLoadUnreadableFile(t *testing.T) {
	s := newServer(t)
	tp := newOfflineProgram(s)
	tp.stdin = io.MultiReader(strings.NewReader(eventLine(1)+"\n"), brokenReader{})
	require.Equal(t, 1, tp.runLoad(t.Context(), offline, "-"))
	require.Contains(t, tp.log.String(), "load stopped: standard input: after line 1: broken; so far 0 events")
	require.Empty(t, s.events(t))
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("broken") }

func TestLoadStandardInput(t *testing.T) {
	s := newServer(t)
	tp := newOfflineProgram(s)
	tp.stdin = strings.NewReader(strings.Join(eventLines(3), "\n"))
	require.Equal(t, 0, tp.runLoad(t.Context(), offline, "-"), tp.log)
	require.Equal(t, "3 events: 3 new, 0 already stored, 0 rejected\n", tp.out.String())

	text := strings.Join(eventLines(25), "\n")
	tp = newOfflineProgram(s)
	tp.stdin = strings.NewReader(text)
	require.Equal(t, 1, tp.runLoad(t.Context(), offline, "-"))
	require.Equal(t, "chargectl: load stopped: standard input:4: the event has no reference, so -load-id must be given with standard input; "+
		"lines from 1 on were not sent; so far 0 events: 0 new, 0 already stored, 0 rejected\n", tp.log.String())
	require.Len(t, s.events(t), 3)

	for _, out := range []string{"25 events: 22 new, 3 already stored, 0 rejected\n", "25 events: 0 new, 25 already stored, 0 rejected\n"} {
		tp = newOfflineProgram(s)
		tp.stdin = strings.NewReader(text)
		require.Equal(t, 0, tp.runLoad(t.Context(), offline, "-", "-load-id", "x"), tp.log)
		require.Equal(t, out, tp.out.String())
	}
}

func TestLoadRetries(t *testing.T) {
	file := writeEvents(t, append(eventLines(3), eventLines(13)[10:]...)...)
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		tp := newOfflineProgram(s.intercept(func(n int64, w http.ResponseWriter, r *http.Request) {
			switch n {
			case 1:
				s.loseResponse(r)
			case 2:
				w.Header().Set("Retry-After", "7")
				w.WriteHeader(http.StatusServiceUnavailable)
			default:
				s.ServeHTTP(w, r)
			}
		}))
		require.Equal(t, 0, tp.runLoad(t.Context(), offline, file), tp.log)
		require.Equal(t, "6 events: 0 new, 6 already stored, 0 rejected\n", tp.out.String(), "a batch whose response was lost counts as replayed")
		require.Len(t, s.events(t), 6)
		require.Regexp(t, `503 Service Unavailable, after 2 attempts; retrying in 7(\.\d)?s\n`, tp.log.String())
	})
}

func TestLoadContinuesAfterInterruption(t *testing.T) {
	file := writeEvents(t, eventLines(45)...)
	for _, c := range []struct {
		name      string
		third     func(interrupt func(), s *testServer, r *http.Request)
		stderr    string
		continued string
	}{
		{
			name:      "the server fails before it stores the batch",
			third:     func(func(), *testServer, *http.Request) { panic(http.ErrAbortHandler) },
			stderr:    `lines 12 to 22: .*; the events may be stored \(outcome unknown\); it is safe to run the same command again; so far 11 events: 11 new, 0 already stored, 0 rejected\n$`,
			continued: "45 events: 34 new, 11 already stored, 0 rejected\n",
		},
		{
			name:      "the server fails after it stored the batch",
			third:     func(_ func(), s *testServer, r *http.Request) { s.loseResponse(r) },
			stderr:    `lines 12 to 22: .* so far 11 events: 11 new, 0 already stored, 0 rejected\n$`,
			continued: "45 events: 24 new, 21 already stored, 0 rejected\n",
		},
		{
			name: "a signal arrives while the server stores the batch",
			third: func(interrupt func(), s *testServer, r *http.Request) {
				interrupt()
				s.ServeHTTP(httptest.NewRecorder(), r.WithContext(context.WithoutCancel(r.Context())))
				panic(http.ErrAbortHandler)
			},
			stderr: `^chargectl: load stopped: interrupted at \S+: lines 12 to 22; run the same command again to send the rest; ` +
				`so far 11 events: 11 new, 0 already stored, 0 rejected\n$`,
			continued: "45 events: 24 new, 21 already stored, 0 rejected\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t)
				ctx, interrupt := context.WithCancel(t.Context())
				defer interrupt()
				stopped := newOfflineProgram(s.intercept(func(n int64, w http.ResponseWriter, r *http.Request) {
					if n < 3 {
						s.ServeHTTP(w, r)
					} else {
						c.third(interrupt, s, r)
					}
				}))
				require.Equal(t, 1, stopped.runLoad(ctx, offline, file))
				require.Regexp(t, c.stderr, stopped.log.String())
				require.Empty(t, stopped.out.String())

				again := newOfflineProgram(s)
				require.Equal(t, 0, again.runLoad(t.Context(), offline, file), again.log)
				require.Equal(t, c.continued, again.out.String())
				require.ElementsMatch(t, eventNumbers(eventLines(45)), eventNumbers(s.events(t)))
			})
		})
	}
}

func TestLoadInterruptedWhileReading(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	ctx, interrupt := context.WithCancel(t.Context())
	tp := newTestProgram()
	tp.stdin = readerFunc(func(p []byte) (int, error) {
		interrupt()
		return r.Read(p)
	})
	require.Equal(t, 1, tp.runLoad(ctx, offline, "-"))
	require.Contains(t, tp.log.String(), "load stopped: interrupted while reading standard input; run the same command again")
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestLoadPermanentErrors(t *testing.T) {
	s := newServer(t)
	respond := func(status int, header, value, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(header, value)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
	}
	json := func(status int, body string) http.Handler {
		return respond(status, "Content-Type", "application/json", body)
	}
	file := writeEvents(t, eventLines(12)...)
	for _, c := range []struct {
		name        string
		handler     http.Handler
		key, stderr string
	}{
		{"unknown key", s, "other", "lines 1 to 11: response 401 Unauthorized: "},
		{"platform of another caller", json(http.StatusForbidden, `{"code":"USER_NOT_ALLOWED"}`), apiKey, "response 403 "},
		{"wrong prefix", http.StripPrefix("/billing", s), apiKey, "response 404 Not Found"},
		{"unsupported version", json(http.StatusBadRequest, `{"code":"UNSUPPORTED_VERSION"}`), apiKey, "response 400 Bad Request: UNSUPPORTED_VERSION"},
		{"400 of a proxy", respond(http.StatusBadRequest, "Content-Type", "text/html", "<html>"), apiKey, "response 400 Bad Request"},
		{"redirect", respond(http.StatusTemporaryRedirect, "Location", "http://other", ""), apiKey, "response 307 Temporary Redirect"},
		{"other content", respond(http.StatusOK, "Content-Type", "text/html", "<html>"), apiKey, "not a response of the charge event endpoint"},
		{"fewer events than sent", json(http.StatusCreated, `{"charge_datas":[]}`), apiKey, "response"},
		{"internal error", respond(http.StatusInternalServerError, "Idempotency-Retryable", "false", "oops"), apiKey,
			"; the events may be stored (outcome unknown); it is safe to run the same command again; so far"},
	} {
		for _, args := range [][]string{nil, {"-rejects", "rejects"}} {
			t.Run(c.name, func(t *testing.T) {
				t.Chdir(t.TempDir())
				tp := newOfflineProgram(c.handler)
				require.Equal(t, 1, tp.run(t.Context(), append([]string{"load", file, "-api-key", c.key, "-batch", "10"}, args...)))
				require.Contains(t, tp.log.String(), c.stderr)
				require.Equal(t, 1, strings.Count(tp.log.String(), "\n"), "%s", tp.log)
				require.Contains(t, tp.log.String(), "so far 0 events: 0 new, 0 already stored, 0 rejected\n")
				require.NoFileExists(t, "rejects")
			})
		}
	}
}
