package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func (tp *testProgram) lastPosition(t *testing.T) string {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(tp.log.String()), "\n")
	position, ok := strings.CutPrefix(lines[len(lines)-1], "position: ")
	require.True(t, ok, tp.log)
	return position
}

func joinLines(events []string) string { return strings.Join(events, "\n") + "\n" }

func TestTailPrintsEventsInOrder(t *testing.T) {
	for name, n := range map[string]int{"last page not full": 2*pageEvents + 1, "last page full": pageEvents} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t)
			s.store(t, 1, n)
			tp := newTestProgram()
			require.Equal(t, 0, tp.runTail(t.Context(), s.url, "-follow=false"), tp.log)
			require.Equal(t, joinLines(s.events(t)), tp.out.String())
			require.Equal(t, "position: "+tp.lastPosition(t)+"\n", tp.log.String())
		})
	}
}

func TestTailContinuesFromPosition(t *testing.T) {
	s := startServer(t)
	all := ""
	args := []string{"-follow=false"}
	for _, last := range []int{0, 3, 3, 7} {
		if last > 0 {
			s.store(t, 1, last)
		}
		tp := newTestProgram()
		require.Equal(t, 0, tp.runTail(t.Context(), s.url, args...), tp.log)
		all += tp.out.String()
		args = []string{"-follow=false", "-position", tp.lastPosition(t)}
	}
	require.Equal(t, joinLines(s.events(t)), all)
}

func TestTailInterruptedWhileWriting(t *testing.T) {
	s := startServer(t)
	s.store(t, 1, 3*pageEvents)
	ctx, interrupt := context.WithCancel(t.Context())
	first := newTestProgram()
	pages := 0
	first.stdout = writerFunc(func(p []byte) (int, error) {
		if pages++; pages == 2 {
			interrupt()
		}
		return first.out.Write(p)
	})
	require.Equal(t, 0, first.runTail(ctx, s.url))
	require.Equal(t, 2*pageEvents, strings.Count(first.out.String(), "\n"))

	second := newTestProgram()
	require.Equal(t, 0, second.runTail(t.Context(), s.url, "-follow=false", "-position", first.lastPosition(t)), second.log)
	require.Equal(t, joinLines(s.events(t)), first.out.String()+second.out.String())
}

func TestTailFollows(t *testing.T) {
	s := startServer(t)
	s.store(t, 1, 2)
	ctx, interrupt := context.WithCancel(t.Context())
	tp := newTestProgram()
	var pauses []time.Duration
	tp.sleep = func(ctx context.Context, d time.Duration) error {
		pauses = append(pauses, d)
		switch len(pauses) {
		case 2:
			s.store(t, 3, 3)
		case 3:
			s.store(t, 5, pageEvents+10)
		case 4:
			interrupt()
		}
		return ctx.Err()
	}
	require.Equal(t, 0, tp.runTail(ctx, s.url, "-interval", "3s"))
	require.Equal(t, joinLines(s.events(t)), tp.out.String())
	require.Equal(t, slices.Repeat([]time.Duration{3 * time.Second}, 4), pauses, "there is no pause between full pages")
}

func TestTailRetriesWithoutLimit(t *testing.T) {
	s := startServer(t)
	s.store(t, 1, 3*pageEvents)
	ctx, interrupt := context.WithCancel(t.Context())
	const outage = 500 // attempts, which take hours; load gives up after minutes
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
	require.Equal(t, 0, tp.runTail(ctx, proxy))
	require.True(t, strings.HasPrefix(joinLines(s.events(t)), tp.out.String()))
	require.GreaterOrEqual(t, strings.Count(tp.out.String(), "\n"), 2*pageEvents)
	require.Contains(t, tp.log.String(), "503 Service Unavailable; retrying in ")
}

func TestTailWithoutFollowGivesUp(t *testing.T) {
	s := startServer(t)
	down := proxyTo(t, s, func(int64, http.Handler, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	tp := newTestProgram()
	require.Equal(t, 1, tp.runTail(t.Context(), down, "-follow=false"))
	require.Contains(t, tp.log.String(), "chargectl: gave up after ")
	require.NotContains(t, tp.log.String(), "position")
}

func TestTailPermanentErrors(t *testing.T) {
	s := startServer(t)
	s.store(t, 1, 1)
	other := proxyTo(t, s, func(_ int64, _ http.Handler, w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "{}")
	})
	for _, c := range []struct{ name, url, key, position, stderr string }{
		{"unknown key", s.url, "other", "AAAAAAAAAAA", "position: AAAAAAAAAAA\nchargectl: the server responded with 401 Unauthorized: "},
		{"invalid position", s.url, apiKey, "x", "position: x\nchargectl: the server responded with 400 Bad Request: after is not a cursor "},
		{"not the endpoint", other, apiKey, "x", "position: x\nchargectl: " + errNotEndpoint.Error() + "\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tp := newTestProgram()
			require.Equal(t, 1, tp.run(t.Context(), []string{"tail", "-url", c.url, "-api-key", c.key, "-position", c.position}))
			require.True(t, strings.HasPrefix(tp.log.String(), c.stderr), tp.log)
			require.Equal(t, 2, strings.Count(tp.log.String(), "\n"))
			require.Empty(t, tp.out.String())
		})
	}
}

func TestTailWriteErrorKeepsPosition(t *testing.T) {
	s := startServer(t)
	s.store(t, 1, 2*pageEvents)
	tp := newTestProgram()
	pages := 0
	tp.stdout = writerFunc(func(p []byte) (int, error) {
		if pages++; pages == 2 {
			return 0, errors.New("closed")
		}
		return tp.out.Write(p)
	})
	require.Equal(t, 1, tp.runTail(t.Context(), s.url))
	position, failure, _ := strings.Cut(tp.log.String(), "\n")
	require.Equal(t, "chargectl: write to standard output: closed\n", failure)

	again := newTestProgram()
	require.Equal(t, 0, again.runTail(t.Context(), s.url, "-follow=false", "-position", strings.TrimPrefix(position, "position: ")), again.log)
	require.Equal(t, joinLines(s.events(t)), tp.out.String()+again.out.String())
}

func TestTailPrintsOneUnchangedLinePerEvent(t *testing.T) {
	s := startServer(t, keepUnknownFields)
	odd := "\"exact\":{\"a\": 1.50,\n \"b\":[1E2,\t\"\\u00e9 <&>\"]}"
	status, body := s.send(t, http.MethodPost, "/v1/ingest/charge-data", strings.Replace(eventLine(1), "{", "{"+odd+",", 1))
	require.Equal(t, http.StatusCreated, status, body)
	tp := newTestProgram()
	require.Equal(t, 0, tp.runTail(t.Context(), s.url, "-follow=false"), tp.log)
	require.Equal(t, 1, strings.Count(tp.out.String(), "\n"))
	require.Contains(t, tp.out.String(), `"exact":{"a":1.50,"b":[1E2,"\u00e9 <&>"]}`)
}

func TestTailEscapesOnATerminal(t *testing.T) {
	// Terminal controls of each kind that JSON allows in a string.
	const controls = "\u007f\u0080\u009b\u009f\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
	event := `{"id":"é\u001b` + controls + `€","n":1.50}`
	page, err := json.Marshal(map[string]any{"data": []json.RawMessage{json.RawMessage(event)}, "next": nil, "position": "p"})
	require.NoError(t, err)
	s := startServer(t)
	url := proxyTo(t, s, func(_ int64, _ http.Handler, w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(page) })

	onTerminal := newTestProgram()
	onTerminal.isTerminal = func(w io.Writer) bool { return w == onTerminal.stdout }
	require.Equal(t, 0, onTerminal.runTail(t.Context(), url, "-follow=false"), onTerminal.log)
	escaped := `{"id":"é\u001b\u007f\u0080\u009b\u009f\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069€","n":1.50}`
	require.Equal(t, escaped+"\n", onTerminal.out.String())
	require.JSONEq(t, event, onTerminal.out.String())

	toFile := newTestProgram()
	require.Equal(t, 0, toFile.runTail(t.Context(), url, "-follow=false"), toFile.log)
	require.Equal(t, event+"\n", toFile.out.String())
}

func TestInvalidUTF8IsEscaped(t *testing.T) {
	require.Equal(t, `"\ufffd2J"`, string(escapeForTerminal(nil, []byte("\"\x9b2J\""))))
}
