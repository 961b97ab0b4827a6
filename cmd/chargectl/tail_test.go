package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
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
	for name, n := range map[string]int{"last page not full": 2*maxPageEvents + 1, "last page full": maxPageEvents} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.store(t, 1, n)
			tp := newOfflineProgram(s)
			require.Equal(t, 0, tp.runTail(t.Context(), offline, "-follow=false"), tp.log)
			require.Equal(t, joinLines(s.events(t)), tp.out.String())
			require.Equal(t, "position: "+tp.lastPosition(t)+"\n", tp.log.String())
		})
	}
}

func TestTailContinuesFromPosition(t *testing.T) {
	s := newServer(t)
	all := ""
	args := []string{"-follow=false"}
	for _, last := range []int{0, 3, 3, 7} {
		if last > 0 {
			s.store(t, 1, last)
		}
		tp := newOfflineProgram(s)
		require.Equal(t, 0, tp.runTail(t.Context(), offline, args...), tp.log)
		all += tp.out.String()
		args = []string{"-follow=false", "-from", tp.lastPosition(t)}
	}
	require.Equal(t, joinLines(s.events(t)), all)
}

func TestTailInterruptedWhileWriting(t *testing.T) {
	s := newServer(t)
	s.store(t, 1, 3*maxPageEvents)
	ctx, interrupt := context.WithCancel(t.Context())
	first := newOfflineProgram(s)
	pages := 0
	first.stdout = writerFunc(func(p []byte) (int, error) {
		if pages++; pages == 2 {
			interrupt()
		}
		return first.out.Write(p)
	})
	require.Equal(t, 0, first.runTail(ctx, offline))
	require.Equal(t, 2*maxPageEvents, strings.Count(first.out.String(), "\n"))

	second := newOfflineProgram(s)
	require.Equal(t, 0, second.runTail(t.Context(), offline, "-follow=false", "-from", first.lastPosition(t)), second.log)
	require.Equal(t, joinLines(s.events(t)), first.out.String()+second.out.String())
}

func TestTailFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		s.store(t, 1, 2)
		ctx, interrupt := context.WithCancel(t.Context())
		tp := newOfflineProgram(s)
		status := make(chan int)
		started := time.Now()
		go func() { status <- tp.runTail(ctx, offline, "-interval", "3s") }()
		for i, last := range []int{2, 3, 10} {
			s.store(t, 1, last)
			time.Sleep(3 * time.Second)
			synctest.Wait()
			require.Equal(t, joinLines(s.events(t)), tp.out.String(), i)
		}
		interrupt()
		require.Equal(t, 0, <-status)
		require.Equal(t, 9*time.Second, time.Since(started))
		require.Equal(t, "position: "+tp.lastPosition(t)+"\n", tp.log.String())
	})
}

func TestTailFromNow(t *testing.T) {
	for _, stored := range []int{0, 2} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t)
			if stored > 0 {
				s.store(t, 1, stored)
			}
			ctx, interrupt := context.WithCancel(t.Context())
			tp := newOfflineProgram(s)
			status := make(chan int)
			go func() { status <- tp.runTail(ctx, offline, "-from", "now") }()
			synctest.Wait()
			s.store(t, 5, 6)
			time.Sleep(time.Second)
			synctest.Wait()
			interrupt()
			require.Equal(t, 0, <-status)
			require.Equal(t, []string{"5", "6"}, eventNumbers(strings.Split(strings.TrimSpace(tp.out.String()), "\n")))
		})
	}
	s := newServer(t)
	s.store(t, 1, 2)
	tp := newOfflineProgram(s)
	require.Equal(t, 0, tp.runTail(t.Context(), offline, "-from", "now", "-follow=false"))
	require.Empty(t, tp.out.String())
	again := newOfflineProgram(s)
	s.store(t, 5, 5)
	require.Equal(t, 0, again.runTail(t.Context(), offline, "-from", tp.lastPosition(t), "-follow=false"))
	require.Equal(t, []string{"5"}, eventNumbers(strings.Split(strings.TrimSpace(again.out.String()), "\n")))
}

func TestTailRetriesWithoutLimit(t *testing.T) {
	for _, from := range []string{"start", "now"} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t)
			ctx, interrupt := context.WithCancel(t.Context())
			const outage = 500 // attempts, which take hours; load gives up after minutes
			tp := newOfflineProgram(s.intercept(func(n int64, w http.ResponseWriter, r *http.Request) {
				switch {
				case n < outage/2:
					w.WriteHeader(http.StatusServiceUnavailable)
				case n < outage:
					panic(http.ErrAbortHandler)
				case n == outage+2:
					s.store(t, 1, 2)
				case n == outage+4:
					interrupt()
				}
				s.ServeHTTP(w, r)
			}))
			require.Equal(t, 0, tp.runTail(ctx, offline, "-from", from))
			require.Equal(t, joinLines(s.events(t)), tp.out.String())
			require.Equal(t, outage, strings.Count(tp.log.String(), "\n"))
			require.Contains(t, tp.log.String(), "503 Service Unavailable, after 2 attempts; retrying in ")
		})
	}
}

func TestTailWithoutFollowGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tp := newOfflineProgram(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
		require.Equal(t, 1, tp.runTail(t.Context(), offline, "-follow=false"))
		require.Contains(t, tp.log.String(), "chargectl: request failed: ")
		require.NotContains(t, tp.log.String(), "position")
	})
}

func TestTailPermanentErrors(t *testing.T) {
	s := newServer(t)
	s.store(t, 1, 1)
	other := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") })
	for _, c := range []struct {
		name                string
		server              http.Handler
		key, position, text string
	}{
		{"unknown key", s, "other", "AAAAAAAAAAA", "position: AAAAAAAAAAA\nchargectl: response 401 Unauthorized: "},
		{"invalid position", s, apiKey, "x", "chargectl: tail: -from: the server has no such position, for example after a restore; use -from start: response 400 Bad Request: INVALID_FIELD: after is not a cursor "},
		{"not the endpoint", other, apiKey, "x", "position: x\nchargectl: response 200 OK: this is not a response of the charge event endpoint"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tp := newOfflineProgram(c.server)
			require.Equal(t, 1, tp.run(t.Context(), []string{"tail", "-api-key", c.key, "-from", c.position}))
			require.True(t, strings.HasPrefix(tp.log.String(), c.text), tp.log)
			require.Equal(t, strings.Count(c.text, "\n")+1, strings.Count(tp.log.String(), "\n"))
			require.Empty(t, tp.out.String())
		})
	}
}

func TestTailWriteErrorKeepsPosition(t *testing.T) {
	s := newServer(t)
	s.store(t, 1, 2*maxPageEvents)
	tp := newOfflineProgram(s)
	pages := 0
	tp.stdout = writerFunc(func(p []byte) (int, error) {
		if pages++; pages == 2 {
			return 0, errors.New("closed")
		}
		return tp.out.Write(p)
	})
	require.Equal(t, 1, tp.runTail(t.Context(), offline))
	position, failure, _ := strings.Cut(tp.log.String(), "\n")
	require.Equal(t, "chargectl: write to standard output: closed\n", failure)

	again := newOfflineProgram(s)
	require.Equal(t, 0, again.runTail(t.Context(), offline, "-follow=false", "-from", strings.TrimPrefix(position, "position: ")), again.log)
	require.Equal(t, joinLines(s.events(t)), tp.out.String()+again.out.String())
}

func TestTailPrintsOneUnchangedLinePerEvent(t *testing.T) {
	s := newServer(t, keepUnknownFields)
	odd := "\"exact\":{\"a\": 1.50,\n \"b\":[1E2,\t\"\\u00e9 <&>\"]}"
	status, body := s.send(t, http.MethodPost, "/v1/ingest/charge-data", strings.Replace(eventLine(1), "{", "{"+odd+",", 1))
	require.Equal(t, http.StatusCreated, status, body)
	tp := newOfflineProgram(s)
	require.Equal(t, 0, tp.runTail(t.Context(), offline, "-follow=false"), tp.log)
	require.Equal(t, 1, strings.Count(tp.out.String(), "\n"))
	require.Contains(t, tp.out.String(), `"exact":{"a":1.50,"b":[1E2,"\u00e9 <&>"]}`)
}

const controls = "\u007f\u0080\u009b\u009f\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

const escapedControls = `\u007f\u0080\u009b\u009f\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069`

func TestTailEscapesOnATerminal(t *testing.T) {
	event := `{"id":"é\u001b` + controls + `€","n":1.50}`
	page, err := json.Marshal(map[string]any{"data": []json.RawMessage{json.RawMessage(event)}, "next": nil, "position": "p"})
	require.NoError(t, err)
	s := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(page)
	})
	onTerminal := newOfflineProgram(s)
	onTerminal.isTerminal = func(w io.Writer) bool { return w == onTerminal.stdout }
	require.Equal(t, 0, onTerminal.runTail(t.Context(), offline, "-follow=false"), onTerminal.log)
	require.Contains(t, onTerminal.out.String(), `{"id":"é\u001b`+escapedControls+`€","n":1.50}`)
	require.JSONEq(t, event, onTerminal.out.String())

	toFile := newOfflineProgram(s)
	require.Equal(t, 0, toFile.runTail(t.Context(), offline, "-follow=false"), toFile.log)
	require.Equal(t, event+"\n", toFile.out.String())
}

func TestTailText(t *testing.T) {
	s := newServer(t)
	event := strings.Replace(eventLine(1), `"value":{"number":"1.50"}`,
		`"customer_id":"id","customer_reference":"ACME`+controls[1:]+`","value":{"number":"-1.50","amount":{"quantity":"12.00","currency":"EUR"},"count":"3"}`, 1)
	for _, line := range []string{event, strings.Replace(unreferencedLine(2), `"value":{"number":"2.50"}`, `"customer_id":"cust_1","value":{}`, 1), eventLine(3)} {
		s.storeJSON(t, line)
	}
	tp := newOfflineProgram(s)
	require.Equal(t, 0, tp.runTail(t.Context(), offline, "-follow=false", "-format", "text"), tp.log)
	lines := strings.Split(regexp.MustCompile(`chda_\w{26}`).ReplaceAllString(tp.out.String(), "ID"), "\n")
	require.Equal(t, []string{
		`2026-09-01T09:00:29+09:00  ID  ref-1                     ACME` + escapedControls[6:] + `  number -1.50, amount 12.00 EUR, count 3`,
		`2026-09-01T09:00:29+09:00  ID  -                         cust_1                    -`,
		`2026-09-01T09:00:29+09:00  ID  ref-3                     -                         number 3.50`,
		"",
	}, lines)
}

func TestInvalidUTF8IsEscaped(t *testing.T) {
	require.Equal(t, `"\ufffd2J"`, string(escapeForTerminal(nil, []byte("\"\x9b2J\""))))
}
