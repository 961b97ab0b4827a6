package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func TestLoadTwiceStoresOnce(t *testing.T) {
	s := startServer(t)
	file := writeEvents(t, eventLines(45)...)
	first := newTestProgram()
	require.Equal(t, 0, first.runLoad(t.Context(), s.url, file), first.log)
	require.Equal(t, "45 events: 45 new, 0 already stored, 0 rejected\n", first.out.String())
	require.Equal(t, eventNumbers(eventLines(45)), eventNumbers(s.events(t)))

	second := newTestProgram()
	require.Equal(t, 0, second.runLoad(t.Context(), s.url, file), second.log)
	require.Equal(t, "45 events: 0 new, 45 already stored, 0 rejected\n", second.out.String())
	require.Len(t, s.events(t), 45)
	require.Empty(t, first.log.String()+second.log.String(), "there is no progress bar without a terminal")
}

func TestLoadReformattedFileStoresOnce(t *testing.T) {
	lines := eventLines(20)
	for i, line := range lines {
		lines[i] = strings.Replace(line, `"reference"`, `"description"`, 1)
	}
	for name, edit := range map[string]func(string) string{
		"blank lines": func(text string) string { return "\n\n" + strings.ReplaceAll(text, "\n", "\n \n") },
		"white space": func(text string) string { return strings.ReplaceAll(text, ",", " , ") },
		"order of fields": func(text string) string {
			return regexp.MustCompile(`(?m)^\{("product_item_id":"\w+"),(.*)\}$`).ReplaceAllString(text, "{$2,$1}")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t)
			text := strings.Join(lines, "\n")
			require.NotEqual(t, text, edit(text))
			for _, text := range []string{text, edit(text)} {
				tp := newTestProgram()
				require.Equal(t, 0, tp.runLoad(t.Context(), s.url, writeEvents(t, text)), tp.log)
			}
			require.Len(t, s.events(t), 20)
		})
	}
}

func TestLoadReadsEnvironment(t *testing.T) {
	s := startServer(t)
	tp := newTestProgram()
	tp.env["CHARGEINGEST_URL"], tp.env["CHARGEINGEST_API_KEY"] = s.url+"/", apiKey
	require.Equal(t, 0, tp.run(t.Context(), []string{"load", writeEvents(t, eventLine(1))}), tp.log)
	require.Len(t, s.events(t), 1)
}

func TestLoadSendsLinesUnchanged(t *testing.T) {
	s := startServer(t, keepUnknownFields)
	odd := `"exact":{"a": 1.50, "b":[1E2,  "\u00e9"]}`
	file := writeEvents(t, strings.Replace(eventLine(1), "{", "{"+odd+",", 1))
	tp := newTestProgram()
	require.Equal(t, 0, tp.runLoad(t.Context(), s.url, file), tp.log)
	require.Contains(t, s.events(t)[0], odd)
}

func TestLoadBlankLinesAndLineEndings(t *testing.T) {
	s := startServer(t)
	text := "\r\n" + eventLine(1) + "\r\n \t\r\n" + eventLine(2) + "  \n\n" + `{"pricing_id":null}` + "\r\n"
	tp := newTestProgram()
	file := writeEvents(t, text)
	require.Equal(t, 1, tp.runLoad(t.Context(), s.url, file))
	require.Contains(t, tp.log.String(), file+":6: ")

	tp = newTestProgram()
	file = writeEvents(t, strings.Replace(text, `{"pricing_id":null}`, "", 1))
	require.Equal(t, 0, tp.runLoad(t.Context(), s.url, file), tp.log)
	require.Equal(t, "2 events: 2 new, 0 already stored, 0 rejected\n", tp.out.String())
}

func TestLoadEmptyFile(t *testing.T) {
	s := startServer(t)
	tp := newTestProgram()
	require.Equal(t, 0, tp.runLoad(t.Context(), s.url, writeEvents(t, "\n")), tp.log)
	require.Equal(t, "0 events: 0 new, 0 already stored, 0 rejected\n", tp.out.String())
}

func TestLoadDirectory(t *testing.T) {
	tp := newTestProgram()
	dir := t.TempDir()
	require.Equal(t, 1, tp.run(t.Context(), []string{"load", dir, "-api-key", "k"}))
	require.Equal(t, "chargectl: load stopped: "+dir+": after line 0: read "+dir+
		": is a directory; so far 0 events: 0 new, 0 already stored, 0 rejected\n", tp.log.String())
}

func TestLoadProgressBarOnATerminal(t *testing.T) {
	s := startServer(t)
	tp := newTestProgram()
	tp.isTerminal = func(w io.Writer) bool { return w == tp.stderr }
	require.Equal(t, 0, tp.runLoad(t.Context(), s.url, writeEvents(t, eventLines(20)...)), tp.log)
	require.Contains(t, tp.log.String(), "loading 100%")
	require.Equal(t, "20 events: 20 new, 0 already stored, 0 rejected\n", tp.out.String())
}

func TestLoadRetries(t *testing.T) {
	s := startServer(t)
	proxy := proxyTo(t, s, func(n int64, forward http.Handler, w http.ResponseWriter, r *http.Request) {
		switch n {
		case 2:
			loseResponse(forward, r)
		case 3:
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusServiceUnavailable)
		case 4:
			w.WriteHeader(http.StatusTooManyRequests)
		default:
			forward.ServeHTTP(w, r)
		}
	})
	tp := newTestProgram()
	require.Equal(t, 0, tp.runLoad(t.Context(), proxy, writeEvents(t, eventLines(25)...)), tp.log)
	require.Equal(t, "25 events: 15 new, 10 already stored, 0 rejected\n", tp.out.String(), "a batch whose response was lost counts as replayed")
	require.Len(t, s.events(t), 25)
	require.Contains(t, tp.pauses, 7*time.Second)
	require.Contains(t, tp.log.String(), "503 Service Unavailable; retrying in 7s\n")
	require.Contains(t, tp.log.String(), "429 Too Many Requests; retrying in ")
}

func TestLoadContinuesAfterInterruption(t *testing.T) {
	for _, c := range []struct {
		name      string
		third     func(interrupt func(), forward http.Handler, r *http.Request)
		stderr    string
		continued string
	}{
		{
			name:  "the server fails before it stores the batch",
			third: func(func(), http.Handler, *http.Request) { panic(http.ErrAbortHandler) },
			stderr: "lines 21 to 30: gave up after 2m0s: .*; outcome unknown: the events may be stored; " +
				"it is safe to run the same command again; so far 20 events: 20 new, 0 already stored, 0 rejected\n$",
			continued: "45 events: 25 new, 20 already stored, 0 rejected\n",
		},
		{
			name:      "the server fails after it stored the batch",
			third:     func(_ func(), forward http.Handler, r *http.Request) { loseResponse(forward, r) },
			stderr:    "lines 21 to 30: gave up after .* so far 20 events: 20 new, 0 already stored, 0 rejected\n$",
			continued: "45 events: 15 new, 30 already stored, 0 rejected\n",
		},
		{
			name: "a signal arrives while the server stores the batch",
			third: func(interrupt func(), forward http.Handler, r *http.Request) {
				forward.ServeHTTP(httptest.NewRecorder(), r)
				interrupt()
				panic(http.ErrAbortHandler)
			},
			stderr: `^chargectl: load stopped: interrupted at \S+: lines 21 to 30; run the same command again to send the rest; ` +
				`so far 20 events: 20 new, 0 already stored, 0 rejected\n$`,
			continued: "45 events: 15 new, 30 already stored, 0 rejected\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := startServer(t)
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			proxy := proxyTo(t, s, func(n int64, forward http.Handler, w http.ResponseWriter, r *http.Request) {
				if n < 3 {
					forward.ServeHTTP(w, r)
				} else {
					c.third(interrupt, forward, r)
				}
			})
			file := writeEvents(t, eventLines(45)...)
			stopped := newTestProgram()
			require.Equal(t, 1, stopped.runLoad(ctx, proxy, file))
			require.Regexp(t, c.stderr, stopped.log.String())
			require.Empty(t, stopped.out.String())

			again := newTestProgram()
			require.Equal(t, 0, again.runLoad(t.Context(), s.url, file), again.log)
			require.Equal(t, c.continued, again.out.String())
			require.Equal(t, eventNumbers(eventLines(45)), eventNumbers(s.events(t)))
		})
	}
}

func TestLoadPermanentErrors(t *testing.T) {
	s := startServer(t, func(cfg *chargeingest.Config) { cfg.MaxBodyBytes = 1000 })
	respond := func(status int, header, value, body string) string {
		return proxyTo(t, s, func(_ int64, _ http.Handler, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(header, value)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
	}
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = discardLog
	untrusted.StartTLS()
	defer untrusted.Close()
	file := writeEvents(t, eventLines(12)...)
	for _, c := range []struct{ name, url, key, stderr string }{
		{"unknown key", s.url, "other", "lines 1 to 10: the server responded with 401 Unauthorized: "},
		{"wrong prefix", s.url + "/billing", apiKey, "lines 1 to 10: the server responded with 404 Not Found: "},
		{"body too large", s.url, apiKey, "; send the lines from 1 on as a separate file, with a smaller -batch; so far"},
		{"redirect", respond(http.StatusTemporaryRedirect, "Location", s.url, ""), apiKey,
			"lines 1 to 10: the server responded with 307 Temporary Redirect; so far"},
		{"other content", respond(http.StatusOK, "Content-Type", "text/html", "<html>"), apiKey, errNotEndpoint.Error()},
		{"fewer events than sent", respond(http.StatusCreated, "Content-Type", "application/json", `{"charge_datas":[{}]}`), apiKey, errNotEndpoint.Error()},
		{"internal error", respond(http.StatusInternalServerError, "Idempotency-Retryable", "false", "oops"), apiKey,
			"the server responded with 500 Internal Server Error; outcome unknown: the events may be stored; it is safe to run the same command again; so far"},
		{"unavailable, not retryable", respond(http.StatusServiceUnavailable, "Idempotency-Retryable", "false", ""), apiKey, "503 Service Unavailable; outcome unknown"},
		{"untrusted certificate", untrusted.URL, apiKey, "failed to verify certificate"},
		{"https to an http server", strings.Replace(s.url, "http:", "https:", 1), apiKey, "server gave HTTP response to HTTPS client"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tp := newTestProgram()
			require.Equal(t, 1, tp.run(t.Context(), []string{"load", file, "-url", c.url, "-api-key", c.key, "-batch", "10"}))
			require.Contains(t, tp.log.String(), c.stderr)
			require.Equal(t, 1, strings.Count(tp.log.String(), "\n"), tp.log)
			require.Contains(t, tp.log.String(), "so far 0 events: 0 new, 0 already stored, 0 rejected\n")
			require.Empty(t, tp.pauses, "it was retried")
		})
	}
}
