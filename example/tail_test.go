package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fill stores the events from first to last.
func (s *runningServer) fill(t *testing.T, first, last int) {
	t.Helper()
	status, body := s.send(t, http.MethodPost, "/v1/ingest/charge-datas",
		`{"charge_datas":[`+strings.Join(eventLines(last)[first-1:], ",")+`]}`)
	require.Equal(t, http.StatusCreated, status, body)
}

func (tp *testProgram) tailOf(ctx context.Context, s *runningServer, url string, args ...string) int {
	return tp.run(ctx, slices.Concat([]string{"tail", "-url", url, "-api-key", s.key}, args))
}

// lastPosition is the position that a tail printed at its end.
func (tp *testProgram) lastPosition(t *testing.T) string {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(tp.log.String()), "\n")
	position, ok := strings.CutPrefix(lines[len(lines)-1], "position: ")
	require.True(t, ok, tp.log)
	return position
}

func lines(events []string) string { return strings.Join(events, "\n") + "\n" }

func TestTailPrintsEachEventOnceInOrder(t *testing.T) {
	s := startServer(t)
	s.fill(t, 1, 2*pageEvents+1)
	tp := newTestProgram()
	require.Equal(t, 0, tp.tailOf(t.Context(), s, s.url, "-follow=false"), tp.log)
	require.Equal(t, lines(s.events(t)), tp.out.String())
	require.Equal(t, "position: "+tp.lastPosition(t)+"\n", tp.log.String())

	// A whole number of pages has no other end.
	s = startServer(t)
	s.fill(t, 1, pageEvents)
	tp = newTestProgram()
	require.Equal(t, 0, tp.tailOf(t.Context(), s, s.url, "-follow=false"), tp.log)
	require.Equal(t, lines(s.events(t)), tp.out.String())
}

func TestTailGoesOnFromItsPosition(t *testing.T) {
	s := startServer(t)
	all := ""
	args := []string{"-follow=false"}
	for _, fill := range []int{0, 3, 3, 7} { // nothing yet, three events, nothing more, four more
		if fill > 0 {
			s.fill(t, 1, fill) // those that are there are replayed
		}
		tp := newTestProgram()
		require.Equal(t, 0, tp.tailOf(t.Context(), s, s.url, args...), tp.log)
		all += tp.out.String()
		args = []string{"-follow=false", "-position", tp.lastPosition(t)}
	}
	require.Equal(t, lines(s.events(t)), all)
}

func TestTailStoppedInTheMiddleGoesOnWithTheNextEvent(t *testing.T) {
	s := startServer(t)
	s.fill(t, 1, 3*pageEvents)
	ctx, interrupt := context.WithCancel(t.Context())
	first := newTestProgram()
	// The signal comes while the second page is being written.
	pages := 0
	first.stdout = writerFunc(func(p []byte) (int, error) {
		if pages++; pages == 2 {
			interrupt()
		}
		return first.out.Write(p)
	})
	require.Equal(t, 0, first.tailOf(ctx, s, s.url))
	require.Equal(t, 2*pageEvents, strings.Count(first.out.String(), "\n"))

	second := newTestProgram()
	require.Equal(t, 0, second.tailOf(t.Context(), s, s.url, "-follow=false", "-position", first.lastPosition(t)), second.log)
	require.Equal(t, lines(s.events(t)), first.out.String()+second.out.String())
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestTailFollowsWhatIsStoredLater(t *testing.T) {
	s := startServer(t)
	s.fill(t, 1, 2)
	ctx, interrupt := context.WithCancel(t.Context())
	tp := newTestProgram()
	var pauses []time.Duration
	tp.sleep = func(ctx context.Context, d time.Duration) error {
		pauses = append(pauses, d)
		switch len(pauses) {
		case 2:
			s.fill(t, 3, 3)
		case 3:
			s.fill(t, 5, pageEvents+10)
		case 4:
			interrupt()
		}
		return ctx.Err()
	}
	require.Equal(t, 0, tp.tailOf(ctx, s, s.url, "-interval", "3s"))
	require.Equal(t, lines(s.events(t)), tp.out.String())
	require.Equal(t, slices.Repeat([]time.Duration{3 * time.Second}, 4), pauses, "there is no pause between full pages")
}

func TestTailOutlastsTheServer(t *testing.T) {
	s := startServer(t)
	s.fill(t, 1, 3*pageEvents)
	ctx, interrupt := context.WithCancel(t.Context())
	const outage = 500 // attempts: hours, where a load gives up after minutes
	proxy := proxyTo(t, s, func(n int64, forward http.Handler, w http.ResponseWriter, r *http.Request) {
		switch {
		case n > 1 && n < outage/2:
			w.WriteHeader(http.StatusServiceUnavailable)
		case n > 1 && n < outage:
			panic(http.ErrAbortHandler)
		case n == outage+2:
			interrupt()
			fallthrough
		default:
			forward.ServeHTTP(w, r)
		}
	})
	tp := newTestProgram()
	require.Equal(t, 0, tp.tailOf(ctx, s, proxy))
	require.True(t, strings.HasPrefix(lines(s.events(t)), tp.out.String()))
	require.GreaterOrEqual(t, strings.Count(tp.out.String(), "\n"), 2*pageEvents)
	require.Contains(t, tp.log.String(), "503 Service Unavailable; trying again in ")
}

func TestTailPrintsAnEventOnOneLineAndItsDigitsUntouched(t *testing.T) {
	s := startServer(t, "-unknown-fields", "keep")
	odd := "\"exact\":{\"a\": 1.50,\n \"b\":[1E2,\t\"\\u00e9 <&>\"]}"
	status, body := s.send(t, http.MethodPost, "/v1/ingest/charge-data", strings.Replace(eventLine(1), "{", "{"+odd+",", 1))
	require.Equal(t, http.StatusCreated, status, body)
	tp := newTestProgram()
	require.Equal(t, 0, tp.tailOf(t.Context(), s, s.url, "-follow=false"), tp.log)
	require.Equal(t, 1, strings.Count(tp.out.String(), "\n"))
	require.Contains(t, tp.out.String(), `"exact":{"a":1.50,"b":[1E2,"\u00e9 <&>"]}`)
}

func TestTailEndsWhereAskingAgainIsOfNoUse(t *testing.T) {
	s := startServer(t)
	s.fill(t, 1, 1)
	other := proxyTo(t, s, func(_ int64, _ http.Handler, w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "{}")
	})
	for _, c := range []struct{ name, url, key, position, log string }{
		{"a key that is unknown", s.url, "other", "AAAAAAAAAAA", "position: AAAAAAAAAAA\nexample: the server answered 401 Unauthorized: the credentials do not verify\n"},
		{"a position that is none", s.url, s.key, "x", "position: x\nexample: the server answered 400 Bad Request: after must be a cursor that the endpoint gave as next or position\n"},
		{"something else than the endpoint", other, s.key, "x", "position: x\nexample: " + errNotEndpoint.Error() + "\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tp := newTestProgram()
			require.Equal(t, 1, tp.run(t.Context(), []string{"tail", "-url", c.url, "-api-key", c.key, "-position", c.position}))
			require.Equal(t, c.log, tp.log.String())
			require.Empty(t, tp.out.String())
		})
	}
}

func TestTailWithoutFollowingGivesUp(t *testing.T) {
	s := startServer(t)
	away := proxyTo(t, s, func(int64, http.Handler, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	tp := newTestProgram()
	require.Equal(t, 1, tp.tailOf(t.Context(), s, away, "-follow=false"))
	require.Contains(t, tp.log.String(), "example: given up after ")
	require.NotContains(t, tp.log.String(), "position", "it never knew one")
}

func TestTailThatCannotWriteDoesNotMoveOn(t *testing.T) {
	s := startServer(t)
	s.fill(t, 1, 2*pageEvents)
	tp := newTestProgram()
	pages := 0
	tp.stdout = writerFunc(func(p []byte) (int, error) {
		if pages++; pages == 2 {
			return 0, errors.New("nobody reads")
		}
		return tp.out.Write(p)
	})
	require.Equal(t, 1, tp.tailOf(t.Context(), s, s.url))
	position, failure, _ := strings.Cut(tp.log.String(), "\n")
	require.Equal(t, "example: write to standard output: nobody reads\n", failure)

	again := newTestProgram()
	require.Equal(t, 0, again.tailOf(t.Context(), s, s.url, "-follow=false", "-position", strings.TrimPrefix(position, "position: ")), again.log)
	require.Equal(t, lines(s.events(t)), tp.out.String()+again.out.String())
}
