package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func invalidEvent(n int) string {
	return strings.Replace(eventLine(n), `"pricing_id":"pric_1",`, "", 1)
}

func TestLoadPrintsRejectedLines(t *testing.T) {
	s := newServer(t)
	lines := eventLines(45)
	lines[24] = invalidEvent(25)
	lines[26] = strings.Replace(lines[26], `"27.50"`, "27.50", 1)
	file := writeEvents(t, lines...)
	tp := newOfflineProgram(s)
	require.Equal(t, 1, tp.runLoad(t.Context(), offline, file))
	printed := strings.Split(tp.log.String(), "\n")
	require.Len(t, printed, 4, tp.log)
	require.Contains(t, printed[0], file+":25: pricing_id is missing")
	require.Contains(t, printed[1], file+":27: value.number must be ")
	require.Equal(t, "chargectl: load stopped: lines were rejected, see above; so far 24 events: 22 new, 0 already stored, 2 rejected", printed[2])
	require.Len(t, s.events(t), 22, "an event of the rejected batch is stored")
	require.Empty(t, tp.out.String())
}

func TestLoadStopsAtUnreferencedRejection(t *testing.T) {
	lines := []string{eventLine(1)}
	for n := 2; n <= 200; n++ {
		lines = append(lines, unreferencedLine(n))
	}
	lines[5] = "[]"
	file := writeEvents(t, lines...)
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		tp := newOfflineProgram(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s.ServeHTTP(w, r); w.(*httptest.ResponseRecorder).Code == http.StatusCreated {
				time.Sleep(time.Second) // the rejection comes first
			}
		}))
		require.Equal(t, 1, tp.runLoad(t.Context(), offline, file))
		require.Contains(t, tp.log.String(), file+":6: the event must be ")
		stored := len(s.events(t))
		require.Contains(t, tp.log.String(), fmt.Sprintf("so far %d events: %d new, 0 already stored, 1 rejected", stored+1, stored))
		require.LessOrEqual(t, stored, maxConnections)
	})
}

func TestLoadStopsAtInvalidLine(t *testing.T) {
	s := newServer(t)
	lines := eventLines(25)
	lines[12] = "hello"
	file := writeEvents(t, lines...)
	tp := newOfflineProgram(s)
	require.Equal(t, 1, tp.runLoad(t.Context(), offline, file))
	require.Regexp(t, "^"+file+":13: the line is not valid JSON.*\nchargectl: load stopped: lines were rejected, see above; "+file+
		": lines 12 to 23 not sent; so far 12 events: 11 new, 0 already stored, 1 rejected\n$", tp.log.String())
	require.Len(t, s.events(t), 11)
}

func loadRejects(t *testing.T, server http.Handler, out string, lines []string, args ...string) []rejection {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rejects.ndjson")
	tp := newOfflineProgram(server)
	require.Equal(t, 1, tp.runLoad(t.Context(), offline, writeEvents(t, lines...), append(args, "-rejects", path)...), tp.log)
	require.Equal(t, out, tp.out.String())
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var list []rejection
	d := json.NewDecoder(strings.NewReader(string(text)))
	for d.More() {
		var r rejection
		require.NoError(t, d.Decode(&r))
		list = append(list, r)
	}
	require.Len(t, list, strings.Count(string(text), "\n"))
	require.Contains(t, tp.log.String(), fmt.Sprintf("chargectl: load: the rejected lines (%d) are in %s\n", len(list), path))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	return list
}

func TestRejectsFile(t *testing.T) {
	s := newServer(t)
	status, body := s.send(t, http.MethodPost, "/v1/ingest/charge-data", strings.Replace(eventLine(7), `"7.50"`, `"4"`, 1))
	require.Equal(t, http.StatusCreated, status, body)
	lines := eventLines(25)
	lines[0] = invalidEvent(1)                                          // first of its batch
	lines[3] = "[]"                                                     // without a reference
	lines[8] = "\t" + strings.Replace(invalidEvent(9), "9", "9\xff", 1) // invalid UTF-8
	lines[12] = "{"
	lines[20] = strings.Replace(invalidEvent(21), `"21.50"`, "21.50", 1)
	lines[24] = `"` + strings.Repeat("x", maxLineBytes) + `"`
	rejects := loadRejects(t, s, "25 events: 18 new, 0 already stored, 7 rejected\n", lines)
	require.Len(t, s.events(t), 19)

	require.Equal(t, rejection{Line: 1, Text: lines[0], Errors: []reason{
		{Code: chargeingest.CodeMissingField, Field: "pricing_id", Message: "pricing_id is missing; it must be a string of 1 to 256 characters without control characters"},
	}}, rejects[0])
	require.Equal(t, 4, rejects[1].Line)
	require.Equal(t, chargeingest.CodeInvalidField, rejects[1].Errors[0].Code)
	require.Empty(t, rejects[1].Errors[0].Field)
	require.Contains(t, rejects[1].Errors[0].Message, "the event must be ")

	conflict := rejects[2]
	require.Equal(t, 7, conflict.Line)
	require.Regexp(t, "^chda_", conflict.ResourceID)
	require.Len(t, conflict.Errors, 1)
	require.Equal(t, chargeingest.CodeResourceAlreadyExists, conflict.Errors[0].Code)
	require.Equal(t, "reference", conflict.Errors[0].Field)
	require.Regexp(t, `^reference is already used by event chda_\w+ with different content \(differs in: value\.number\)$`, conflict.Errors[0].Message)

	require.Equal(t, 9, rejects[3].Line)
	require.Equal(t, strings.TrimSpace(lines[8]), string(rejects[3].Base64))
	require.Empty(t, rejects[3].Text)
	require.Equal(t, rejection{Line: 13, Text: "{", Errors: []reason{
		{Code: chargeingest.CodeBadRequest, Message: "the line ends too early (byte 1)"},
	}}, rejects[4])
	require.Equal(t, 21, rejects[5].Line)
	require.Len(t, rejects[5].Errors, 2)
	require.Equal(t, 25, rejects[6].Line)
	require.True(t, rejects[6].Truncated)
	require.Len(t, rejects[6].Text, keptLineBytes)

	again := loadRejects(t, s, "25 events: 0 new, 18 already stored, 7 rejected\n", lines, "-batch", "1000")
	require.Equal(t, rejects, again)
}

func TestManyRejections(t *testing.T) {
	for name, invalid := range map[string]func(n int) bool{
		"first":          func(n int) bool { return n == 1 },
		"middle":         func(n int) bool { return n == 500 },
		"last":           func(n int) bool { return n == 1000 },
		"every third":    func(n int) bool { return n%3 == 0 },
		"all but one":    func(n int) bool { return n != 700 },
		"the first half": func(n int) bool { return n <= 500 },
		"all":            func(int) bool { return true },
	} {
		for _, kind := range []string{"invalid", "conflicting"} {
			t.Run(kind+" "+name, func(t *testing.T) {
				s := newServer(t)
				var lines []string
				rejected, stored := make([]int, 0), make([]string, 0)
				for n := 1; n <= 1000; n++ {
					line := strings.Replace(unreferencedLine(n), "null", fmt.Sprintf(`"ref-%d"`, n), 1)
					if !invalid(n) {
						stored = append(stored, fmt.Sprint(n))
					} else if rejected = append(rejected, n); kind == "invalid" {
						line = strings.Replace(line, "pric_1", "", 1)
					} else {
						s.storeJSON(t, strings.Replace(line, `"proi_`, `"proi_other`, 1))
					}
					lines = append(lines, line)
				}
				var requests atomic.Int64
				counting := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					requests.Add(1)
					s.ServeHTTP(w, r)
				})
				var got []int
				for _, r := range loadRejects(t, counting, fmt.Sprintf("1000 events: %d new, 0 already stored, %d rejected\n", len(stored), len(rejected)),
					lines, "-batch", "1000") {
					got = append(got, r.Line)
				}
				require.Equal(t, rejected, got)
				require.LessOrEqual(t, requests.Load(), int64(2*1000))
				tp := newOfflineProgram(s)
				require.Equal(t, 0, tp.runTail(t.Context(), offline, "-follow=false"), tp.log)
				var numbers []string
				for _, n := range eventNumbers(strings.Split(strings.TrimSpace(tp.out.String()), "\n")) {
					if n != "" && !strings.HasPrefix(n, "other") {
						numbers = append(numbers, n)
					}
				}
				require.ElementsMatch(t, stored, numbers)
			})
		}
	}
}

func TestTooLargeBatchIsSplit(t *testing.T) {
	const limit = 1000
	s := newServer(t, func(cfg *chargeingest.Config) { cfg.MaxBodyBytes = limit })
	lines := eventLines(25)
	file := writeEvents(t, lines...)
	tp := newOfflineProgram(s)
	require.Equal(t, 0, tp.runLoad(t.Context(), offline, file), tp.log)
	require.Equal(t, "25 events: 25 new, 0 already stored, 0 rejected\n", tp.out.String())

	few := newOfflineProgram(newServer(t, func(cfg *chargeingest.Config) { cfg.MaxBatchEvents = 3 }))
	require.Equal(t, 0, few.runLoad(t.Context(), offline, file), few.log)
	require.Equal(t, tp.out.String(), few.out.String())

	lines[6] = strings.Replace(lines[6], "{", "{"+strings.Repeat(" ", limit), 1)
	rejects := loadRejects(t, s, "25 events: 0 new, 24 already stored, 1 rejected\n", lines)
	require.Equal(t, 7, rejects[0].Line)
	require.Equal(t, chargeingest.CodeBadRequest, rejects[0].Errors[0].Code)
	require.Contains(t, rejects[0].Errors[0].Message, "larger than 1000 bytes")

	proxy := s.intercept(func(n int64, w http.ResponseWriter, r *http.Request) {
		if n == 1 {
			w.WriteHeader(http.StatusRequestEntityTooLarge) // without a code
			return
		}
		s.ServeHTTP(w, r)
	})
	require.Equal(t, chargeingest.CodeBadRequest, loadRejects(t, proxy, "1 event: 0 new, 0 already stored, 1 rejected\n", lines[:1])[0].Errors[0].Code)
}

func TestRejectionWithoutIndex(t *testing.T) {
	s := newServer(t)
	lines := eventLines(25)
	lines[16] = strings.Replace(lines[16], "{", `{"id":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+",", 1)
	rejects := loadRejects(t, s, "25 events: 24 new, 0 already stored, 1 rejected\n", lines)
	require.Equal(t, 17, rejects[0].Line)
	require.Equal(t, chargeingest.CodeBadRequest, rejects[0].Errors[0].Code)
}

func TestConflictingKeyIsARejection(t *testing.T) {
	s := newServer(t)
	other := s.intercept(func(n int64, w http.ResponseWriter, r *http.Request) {
		r.Body = io.NopCloser(strings.NewReader(`{"charge_datas":[` + unreferencedLine(2) + `]}`))
		s.ServeHTTP(w, r)
	})
	require.Equal(t, 0, newOfflineProgram(other).runLoad(t.Context(), offline, writeEvents(t, unreferencedLine(1))))
	rejects := loadRejects(t, s, "2 events: 1 new, 0 already stored, 1 rejected\n", []string{unreferencedLine(3), unreferencedLine(1)})
	require.Equal(t, 2, rejects[0].Line)
	require.Equal(t, chargeingest.CodeIdempotencyCheckFailed, rejects[0].Errors[0].Code)
}

func TestRejectsFileIsNotOverwritten(t *testing.T) {
	path := writeEvents(t, "precious")
	tp := newTestProgram()
	require.Equal(t, 2, tp.runLoad(t.Context(), offline, writeEvents(t, eventLine(1)), "-rejects", path))
	require.Equal(t, "chargectl: load: -rejects "+path+": the file exists; remove it or choose another name\n", tp.log.String())
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "precious", string(text))
}

func TestNoRejectsFileWithoutRejections(t *testing.T) {
	s := newServer(t)
	path := filepath.Join(t.TempDir(), "rejects")
	for range 2 {
		tp := newOfflineProgram(s)
		require.Equal(t, 0, tp.runLoad(t.Context(), offline, writeEvents(t, eventLines(5)...), "-rejects", path), tp.log)
		require.NoFileExists(t, path)
	}
}
