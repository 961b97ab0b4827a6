package main

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// loadFile loads a file in batches of ten and returns the exit status.
func (tp *testProgram) loadFile(ctx context.Context, s *runningServer, url, file string, args ...string) int {
	return tp.run(ctx, slices.Concat([]string{"load", file, "-url", url, "-api-key", s.key, "-batch", "10"}, args))
}

// proxyTo forwards requests to a server; what it does with the nth, from 1, is
// up to the test.
func proxyTo(t *testing.T, s *runningServer, handle func(n int64, forward http.Handler, w http.ResponseWriter, r *http.Request)) string {
	t.Helper()
	target, err := url.Parse(s.url)
	require.NoError(t, err)
	forward := httputil.NewSingleHostReverseProxy(target)
	forward.ErrorLog = log.New(io.Discard, "", 0) // a client that goes away is part of the tests
	var n atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handle(n.Add(1), forward, w, r)
	}))
	t.Cleanup(proxy.Close)
	return proxy.URL
}

// loseAnswer lets a request through and cuts the connection in place of the
// answer.
func loseAnswer(forward http.Handler, r *http.Request) {
	forward.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// numbers returns the numbers of events, see eventLine.
func numbers(events []string) []string {
	var list []string
	for _, e := range events {
		_, rest, _ := strings.Cut(e, `"proi_`)
		n, _, _ := strings.Cut(rest, `"`)
		list = append(list, n)
	}
	return list
}

func TestLoadTwiceStoresOnce(t *testing.T) {
	s := startServer(t)
	file := writeFile(t, "events.ndjson", strings.Join(eventLines(45), "\n")) // without an end of the last line
	first := newTestProgram()
	require.Equal(t, 0, first.loadFile(t.Context(), s, s.url, file), first.log)
	require.Equal(t, "45 events: 45 new, 0 already stored, 0 rejected\n", first.out.String())
	require.Equal(t, numbers(eventLines(45)), numbers(s.events(t)))

	second := newTestProgram()
	require.Equal(t, 0, second.loadFile(t.Context(), s, s.url, file), second.log)
	require.Equal(t, "45 events: 0 new, 45 already stored, 0 rejected\n", second.out.String())
	require.Len(t, s.events(t), 45)
	require.Empty(t, first.log.String()+second.log.String(), "there is no bar beside a terminal")
}

// Files that were formatted in another way have the same events.
func TestLoadOfAReformattedFileStoresOnce(t *testing.T) {
	lines := eventLines(20)
	for i, line := range lines {
		lines[i] = strings.Replace(line, `"reference"`, `"description"`, 1)
	}
	for name, edit := range map[string]func(string) string{
		"blank lines": func(text string) string { return "\n\n" + strings.ReplaceAll(text, "\n", "\n \n") },
		"white space": func(text string) string { return strings.ReplaceAll(text, ",", " , ") },
		"the order of members": func(text string) string {
			return regexp.MustCompile(`(?m)^\{("product_item_id":"\w+"),(.*)\}$`).ReplaceAllString(text, "{$2,$1}")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t)
			text := strings.Join(lines, "\n")
			require.NotEqual(t, text, edit(text))
			for _, text := range []string{text, edit(text)} {
				tp := newTestProgram()
				require.Equal(t, 0, tp.loadFile(t.Context(), s, s.url, writeFile(t, "events.ndjson", text)), tp.log)
			}
			require.Len(t, s.events(t), 20)
		})
	}
}

func TestLoadTakesURLAndKeyFromTheEnvironment(t *testing.T) {
	s := startServer(t)
	tp := newTestProgram()
	tp.env["CHARGEINGEST_URL"], tp.env["CHARGEINGEST_API_KEY"] = s.url+"/", s.key
	file := writeFile(t, "events.ndjson", eventLine(1)+"\n")
	require.Equal(t, 0, tp.run(t.Context(), []string{"load", file}), tp.log)
	require.Len(t, s.events(t), 1)
}

func TestLoadSendsLinesAsTheyStand(t *testing.T) {
	s := startServer(t, "-unknown-fields", "keep")
	odd := `"exact":{"a": 1.50, "b":[1E2,  "\u00e9"]}`
	file := writeFile(t, "events.ndjson", strings.Replace(eventLine(1), "{", "{"+odd+",", 1))
	tp := newTestProgram()
	require.Equal(t, 0, tp.loadFile(t.Context(), s, s.url, file), tp.log)
	require.Contains(t, s.events(t)[0], odd)
}

func TestLoadStoppedHalfWayAndRunAgainStoresOnce(t *testing.T) {
	for _, c := range []struct {
		name string
		// third is what becomes of the third batch; interrupt is the signal.
		third    func(interrupt func(), forward http.Handler, w http.ResponseWriter, r *http.Request)
		complain string
		again    string
	}{
		{
			name:  "the server dies with the batch",
			third: func(func(), http.Handler, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			complain: "lines 21 to 30: given up after 2m0s: .*; it is not known whether they are stored; " +
				"the same command sends them again safely; so far 20 events: 20 new, 0 already stored, 0 rejected\n$",
			again: "45 events: 25 new, 20 already stored, 0 rejected\n",
		},
		{
			name: "the server stores the batch and dies with the answer",
			third: func(_ func(), forward http.Handler, _ http.ResponseWriter, r *http.Request) {
				loseAnswer(forward, r)
			},
			complain: "lines 21 to 30: given up after .* so far 20 events: 20 new, 0 already stored, 0 rejected\n$",
			again:    "45 events: 15 new, 30 already stored, 0 rejected\n",
		},
		{
			name: "a signal while the batch is being stored",
			third: func(interrupt func(), forward http.Handler, _ http.ResponseWriter, r *http.Request) {
				stored := httptest.NewRecorder()
				forward.ServeHTTP(stored, r)
				interrupt()
				panic(http.ErrAbortHandler)
			},
			complain: `^example: load stopped: interrupted at \S+: lines 21 to 30; the same command sends the rest; ` +
				`so far 20 events: 20 new, 0 already stored, 0 rejected\n$`,
			again: "45 events: 15 new, 30 already stored, 0 rejected\n",
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
					c.third(interrupt, forward, w, r)
				}
			})
			file := writeFile(t, "events.ndjson", strings.Join(eventLines(45), "\n")+"\n")
			stopped := newTestProgram()
			require.Equal(t, 1, stopped.loadFile(ctx, s, proxy, file))
			require.Regexp(t, c.complain, stopped.log.String())
			require.Empty(t, stopped.out.String())

			again := newTestProgram()
			require.Equal(t, 0, again.loadFile(t.Context(), s, s.url, file), again.log)
			require.Equal(t, c.again, again.out.String())
			require.Equal(t, numbers(eventLines(45)), numbers(s.events(t)))
		})
	}
}

func TestLoadWaitsForAServerThatIsAway(t *testing.T) {
	s := startServer(t)
	proxy := proxyTo(t, s, func(n int64, forward http.Handler, w http.ResponseWriter, r *http.Request) {
		switch n {
		case 2:
			loseAnswer(forward, r)
		case 3:
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusServiceUnavailable)
		case 4:
			w.WriteHeader(http.StatusTooManyRequests)
		default:
			forward.ServeHTTP(w, r)
		}
	})
	file := writeFile(t, "events.ndjson", strings.Join(eventLines(25), "\n")+"\n")
	tp := newTestProgram()
	require.Equal(t, 0, tp.loadFile(t.Context(), s, proxy, file), tp.log)
	require.Equal(t, "25 events: 15 new, 10 already stored, 0 rejected\n", tp.out.String(), "the batch with the lost answer counts as replayed")
	require.Len(t, s.events(t), 25)
	require.Contains(t, tp.pauses, 7*time.Second)
	require.Contains(t, tp.log.String(), "503 Service Unavailable; trying again in 7s\n")
	require.Contains(t, tp.log.String(), "429 Too Many Requests; trying again in ")
}

func TestLoadNamesTheLineOfEachRejectedEvent(t *testing.T) {
	s := startServer(t)
	lines := eventLines(45)
	lines[22] = strings.Replace(lines[22], `"pricing_id":"pric_1",`, "", 1)
	lines[26] = strings.Replace(lines[26], `"27.50"`, "27.50", 1)
	lines[28] = "[]"
	file := writeFile(t, "events.ndjson", strings.Join(lines, "\n"))
	tp := newTestProgram()
	require.Equal(t, 1, tp.loadFile(t.Context(), s, s.url, file))
	complaints := strings.Split(tp.log.String(), "\n")
	require.Len(t, complaints, 5, tp.log)
	require.Contains(t, complaints[0], file+":23: pricing_id is missing")
	require.Contains(t, complaints[1], file+":27: value.number must be ")
	require.Contains(t, complaints[2], file+":29: the event must be ")
	require.Equal(t, "example: load stopped: "+file+": lines 21 to 30: rejected for the lines above, nothing of them was stored; "+
		"so far 23 events: 20 new, 0 already stored, 3 rejected", complaints[3])
	require.Len(t, s.events(t), 20)
	require.Empty(t, tp.out.String())
}

func TestLoadNamesTheLineOfAConflict(t *testing.T) {
	s := startServer(t)
	status, body := s.send(t, http.MethodPost, "/v1/ingest/charge-data", strings.Replace(eventLine(3), `"3.50"`, `"4"`, 1))
	require.Equal(t, http.StatusCreated, status, body)
	file := writeFile(t, "events.ndjson", strings.Join(eventLines(5), "\n"))
	tp := newTestProgram()
	require.Equal(t, 1, tp.loadFile(t.Context(), s, s.url, file))
	require.Contains(t, tp.log.String(), file+":3: reference is the reference of event chda_")
	require.Contains(t, tp.log.String(), "value.number")
	require.Len(t, s.events(t), 1)
}

func TestLoadStopsAtALineThatCannotBeSent(t *testing.T) {
	for name, line := range map[string]string{
		"no JSON":                    `{"product_item_id":`,
		"two values":                 eventLine(13) + eventLine(13),
		"a way out of its place":     eventLine(13) + "]},{" + `"x":[` + eventLine(13),
		"two members of one name":    `{"reference":"a","reference":"b"}`,
		"bytes that are not UTF-8":   "{\"reference\":\"\xff\"}",
		"half a surrogate pair":      `{"reference":"\ud800"}`,
		"a line beyond the limit":    `"` + strings.Repeat("x", maxLineBytes) + `"`,
		"a byte-order mark in it":    "\ufeff" + eventLine(13),
		"a comma behind the event":   eventLine(13) + ",",
		"a bare word without quotes": "hello",
	} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t)
			lines := eventLines(20)
			lines[12] = line
			file := writeFile(t, "events.ndjson", strings.Join(lines, "\n"))
			tp := newTestProgram()
			require.Equal(t, 1, tp.loadFile(t.Context(), s, s.url, file))
			require.True(t, strings.HasPrefix(tp.log.String(), file+":13: the line is "), tp.log)
			require.Contains(t, tp.log.String(), "\nexample: load stopped: nothing of the batch with the line above was sent; "+
				"so far 10 events: 10 new, 0 already stored, 0 rejected\n")
			require.Len(t, s.events(t), 10)
		})
	}
}

func TestLoadTakesBlankLinesAndEveryEndOfLine(t *testing.T) {
	s := startServer(t)
	text := "\r\n" + eventLine(1) + "\r\n \t\r\n" + eventLine(2) + "  \n\n" + `{"pricing_id":null}` + "\r\n"
	file := writeFile(t, "events.ndjson", text)
	tp := newTestProgram()
	require.Equal(t, 1, tp.loadFile(t.Context(), s, s.url, file))
	require.Contains(t, tp.log.String(), file+":6: ")

	file = writeFile(t, "events.ndjson", strings.Replace(text, `{"pricing_id":null}`, "", 1))
	tp = newTestProgram()
	require.Equal(t, 0, tp.loadFile(t.Context(), s, s.url, file), tp.log)
	require.Equal(t, "2 events: 2 new, 0 already stored, 0 rejected\n", tp.out.String())
}

func TestLoadOfAnEmptyFileSendsNothing(t *testing.T) {
	s := startServer(t)
	tp := newTestProgram()
	require.Equal(t, 0, tp.loadFile(t.Context(), s, s.url, writeFile(t, "events.ndjson", "\n")), tp.log)
	require.Equal(t, "0 events: 0 new, 0 already stored, 0 rejected\n", tp.out.String())
}

func TestLoadEndsWhereSendingAgainIsOfNoUse(t *testing.T) {
	s := startServer(t, "-max-body", "1000")
	file := writeFile(t, "events.ndjson", strings.Join(eventLines(12), "\n"))
	answers := func(status int, header, value, body string) string {
		return proxyTo(t, s, func(_ int64, _ http.Handler, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(header, value)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
	}
	certFile, keyFile := certificateFor(t, "127.0.0.1")
	for _, c := range []struct{ name, url, key, complaint string }{
		{"a key that is unknown", s.url, "other", "lines 1 to 10: the server answered 401 Unauthorized: the credentials do not verify; so far"},
		{"a wrong prefix", s.url + "/billing", s.key, "lines 1 to 10: the server answered 404 Not Found: there is nothing at this path"},
		{"a body that the server does not take", s.url, s.key, "with a smaller -batch, send the lines from 1 on as a file of their own; so far"},
		{"a redirection, which would take the key elsewhere", answers(http.StatusTemporaryRedirect, "Location", s.url, ""), s.key,
			"lines 1 to 10: the server answered 307 Temporary Redirect; so far"},
		{"a page of something else", answers(http.StatusOK, "Content-Type", "text/html", "<html>"), s.key, errNotEndpoint.Error()},
		{"fewer events than were sent", answers(http.StatusCreated, "Content-Type", "application/json", `{"charge_datas":[{}]}`), s.key, errNotEndpoint.Error()},
		{"a failure of the server", answers(http.StatusInternalServerError, "Idempotency-Retryable", "false", "oops"), s.key,
			"the server answered 500 Internal Server Error; it is not known whether they are stored; the same command sends them again safely; so far"},
		{"an outage that is not safe to try again", answers(http.StatusServiceUnavailable, "Idempotency-Retryable", "false", ""), s.key, "503 Service Unavailable; it is not known"},
		{"a certificate that is not trusted", startServer(t, "-tls-cert", certFile, "-tls-key", keyFile).url, s.key, "failed to verify certificate"},
		{"no TLS where it should be", strings.Replace(s.url, "http:", "https:", 1), s.key, "server gave HTTP response to HTTPS client"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tp := newTestProgram()
			require.Equal(t, 1, tp.run(t.Context(), []string{"load", file, "-url", c.url, "-api-key", c.key, "-batch", "10"}))
			require.Contains(t, tp.log.String(), c.complaint)
			require.Equal(t, 1, strings.Count(tp.log.String(), "\n"), tp.log)
			require.Contains(t, tp.log.String(), "so far 0 events: 0 new, 0 already stored, 0 rejected\n")
			require.Empty(t, tp.pauses, "it was tried again")
		})
	}
}

func TestLoadShowsABarOnATerminal(t *testing.T) {
	s := startServer(t)
	tp := newTestProgram()
	tp.isTerminal = func(w io.Writer) bool { return w == tp.stderr }
	file := writeFile(t, "events.ndjson", strings.Join(eventLines(20), "\n"))
	require.Equal(t, 0, tp.loadFile(t.Context(), s, s.url, file), tp.log)
	require.Contains(t, tp.log.String(), "loading 100%")
	require.Equal(t, "20 events: 20 new, 0 already stored, 0 rejected\n", tp.out.String())
}

func TestLoadOfAFolderIsOneLine(t *testing.T) {
	tp := newTestProgram()
	folder := t.TempDir()
	require.Equal(t, 1, tp.run(t.Context(), []string{"load", folder, "-api-key", "k"}))
	require.Equal(t, "example: load stopped: "+folder+": behind line 0: read "+folder+
		": is a directory; so far 0 events: 0 new, 0 already stored, 0 rejected\n", tp.log.String())
}

// batchServer answers batches as an endpoint does that stores nothing. answer sets
// the headers of the nth, from 1.
func batchServer(t *testing.T, answer func(n int, h http.Header)) string {
	t.Helper()
	n := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n++
		answer(n, w.Header())
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write(body)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestLoadCountsEventsByTheirFate(t *testing.T) {
	counts := []string{"0", "3", "10", "2"}
	for name, c := range map[string]struct {
		header func(n int, h http.Header)
		out    string
	}{
		"counted": {func(n int, h http.Header) { h.Set("Idempotent-Replayed-Count", counts[n-1]) }, "35 events: 20 new, 15 already stored, 0 rejected\n"},
		"a server that does not count": {func(n int, h http.Header) {
			if n == 3 {
				h.Set("Idempotent-Replayed", "true")
			}
		}, "35 events: 25 new, 10 already stored, 0 rejected\n"},
		"a count that cannot be": {func(_ int, h http.Header) { h.Set("Idempotent-Replayed-Count", "11") }, "35 events: 35 new, 0 already stored, 0 rejected\n"},
	} {
		t.Run(name, func(t *testing.T) {
			tp := newTestProgram()
			file := writeFile(t, "events.ndjson", strings.Join(eventLines(35), "\n"))
			args := []string{"load", file, "-url", batchServer(t, c.header), "-api-key", "k", "-batch", "10"}
			require.Equal(t, 0, tp.run(t.Context(), args), tp.log)
			require.Equal(t, c.out, tp.out.String())
		})
	}
}

func TestLoadCountsWhatTheServerHad(t *testing.T) {
	s := startServer(t)
	s.fill(t, 5, 13) // of the first batch all but its last event, which has no reference
	file := writeFile(t, "events.ndjson", strings.Join(eventLines(30)[4:], "\n"))
	tp := newTestProgram()
	require.Equal(t, 0, tp.loadFile(t.Context(), s, s.url, file), tp.log)
	require.Equal(t, "26 events: 17 new, 9 already stored, 0 rejected\n", tp.out.String())
	require.Contains(t, tp.log.String(), "lines 1 to 10: warning: ")
	require.Len(t, s.events(t), 26)
}

// Events without a reference in a batch of which others had been stored before may
// be known, too: nothing tells.
func TestLoadWarnsOnceOfEventsThatMayBeStoredTwice(t *testing.T) {
	partly := func(_ int, h http.Header) { h.Set("Idempotent-Replayed-Count", "9") }
	file := writeFile(t, "events.ndjson", strings.Join(eventLines(30), "\n"))
	tp := newTestProgram()
	require.Equal(t, 0, tp.run(t.Context(), []string{"load", file, "-url", batchServer(t, partly), "-api-key", "k", "-batch", "10"}))
	require.Equal(t, file+": lines 1 to 10: warning: only a part of these events had been stored before; "+
		"if those without a reference had been, they are stored twice now: line 4\n", tp.log.String())

	var referenced []string
	for _, line := range eventLines(30) {
		if strings.Contains(line, `"ref-`) {
			referenced = append(referenced, line)
		}
	}
	file = writeFile(t, "events.ndjson", strings.Join(referenced, "\n"))
	tp = newTestProgram()
	require.Equal(t, 0, tp.run(t.Context(), []string{"load", file, "-url", batchServer(t, partly), "-api-key", "k", "-batch", "10"}))
	require.Empty(t, tp.log.String())
}

func TestLoadInOtherBatchesStoresNothingTwice(t *testing.T) {
	all := eventLines(45)
	for _, c := range []struct {
		name   string
		first  []string
		second []string
		batch  string
		stored int    // events, in the end
		log    string // of the second load; empty if it succeeds
	}{
		{"smaller batches", all, all, "7", 45, `lines 1 to 7: this file was sent before with another -batch, or other lines; nothing of this batch was sent now, .*: line 4; .*so far 0 events`},
		{"larger batches", all, all, "20", 45, `lines 1 to 20: .* stored twice: lines 4, 14; `},
		{"the smallest batches", all, all, "1", 45, `:4: .* stored twice: line 4; .*so far 3 events`},
		{"the load was stopped early", all[:10], all, "20", 10, `lines 1 to 20: `},
		{"lines were added", all[:33], append(all[:33:33], all[40:]...), "10", 33, `lines 31 to 38: .*: line 37; .*so far 30 events`},
		{"a line was changed", all, append(append(all[:12:12], all[44]), all[13:]...), "10", 45, `lines 11 to 20: .*: line 14; .*so far 10 events`},
		{"all have a reference", all[4:13], all[4:13], "3", 9, ""},
		{"what has none comes later", all[4:13], all[4:23], "5", 9, `lines 6 to 10: .*: line 10; .*so far 5 events`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := startServer(t)
			tp := newTestProgram()
			require.Equal(t, 0, tp.loadFile(t.Context(), s, s.url, writeFile(t, "a", strings.Join(c.first, "\n"))), tp.log)
			file := writeFile(t, "b", strings.Join(c.second, "\n"))
			again := newTestProgram()
			status := again.loadFile(t.Context(), s, s.url, file, "-batch", c.batch)
			if c.log == "" {
				require.Equal(t, 0, status, again.log)
			} else {
				require.Equal(t, 1, status)
				require.Regexp(t, `^example: load stopped: `+file+`:? ?`+c.log, again.log.String())
			}
			require.Len(t, s.events(t), c.stored)
		})
	}
}

func TestLoadIDTellsFilesApart(t *testing.T) {
	s := startServer(t)
	same := eventLine(4) // without a reference
	for i, c := range []struct {
		file string
		args []string
		ok   bool
	}{
		{same + "\n" + eventLine(1), nil, true},
		{same + "\n" + eventLine(2), nil, false},
		{same + "\n" + eventLine(2), []string{"-load-id", "b"}, true},
		{same + "\n" + eventLine(2), []string{"-load-id", "b"}, true}, // again
	} {
		tp := newTestProgram()
		require.Equal(t, c.ok, tp.loadFile(t.Context(), s, s.url, writeFile(t, "f", c.file), c.args...) == 0, "%d: %s", i, tp.log)
	}
	require.Equal(t, []string{"4", "1", "4", "2"}, numbers(s.events(t)))
}
