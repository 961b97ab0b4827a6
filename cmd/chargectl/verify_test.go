package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func (tp *testProgram) runVerify(ctx context.Context, url, file string, args ...string) int {
	return tp.run(ctx, slices.Concat([]string{"verify", file, "-url", url, "-api-key", apiKey}, args))
}

func verify(t *testing.T, status int, url string, lines []string, args ...string) (output, problems []string) {
	t.Helper()
	tp := newTestProgram()
	path := filepath.Join(t.TempDir(), "differences.csv")
	require.Equal(t, status, tp.runVerify(t.Context(), url, writeEvents(t, lines...), append(args, "-o", path)...), tp.log)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, record := range parseCSV(t, string(text)) {
		var cells []string
		for i, cell := range record {
			text := *orZero(cell)
			if i == 2 && strings.HasPrefix(text, "chda_") {
				text = "ID"
			}
			cells = append(cells, text)
		}
		problems = append(problems, strings.Join(cells, "|"))
	}
	require.Equal(t, "line|reference|id|status|fields", problems[0])
	return strings.Split(strings.TrimSpace(tp.out.String()), "\n"), problems[1:]
}

func counted(events, stored, missing, different, invalid int) string {
	return fmt.Sprintf("%s: %d stored, %d missing, %d different, %d invalid", plural(events, "event"), stored, missing, different, invalid)
}

func charges(fields ...string) []string {
	var list []string
	for _, f := range fields {
		list = append(list, charge(f))
	}
	return list
}

func TestVerifyAllStored(t *testing.T) {
	s := startServer(t)
	s.storeJSON(t, eventLines(30)...)
	lines := append(eventLines(30), "", " \t")
	slices.Reverse(lines)
	output, problems := verify(t, 0, s.url, lines)
	require.Equal(t, []string{counted(30, 30, 0, 0, 0), "number: 480.00 in the file, 480.00 stored", "count: 0 in the file, 0 stored"}, output)
	require.Empty(t, problems)

	exported, _ := export(t, s.url, "-format", "ndjson")
	output, _ = verify(t, 0, s.url, strings.Split(exported, "\n"))
	require.Equal(t, counted(30, 30, 0, 0, 0), output[0])
}

func TestVerifyDifferences(t *testing.T) {
	s := startServer(t, keepUnknownFields)
	s.storeJSON(t, charges(
		`"reference":"a","value":{"amount":{"quantity":"1.10","currency":"EUR"}},"timestamp":"2026-09-01T00:00:00Z"`,
		`"reference":"b","value":{"amount":{"quantity":"2","currency":"EUR"},"count":"3"},"timestamp":"2026-09-01T00:00:00Z"`,
		`"reference":"c","description":"c","timestamp":"2026-09-01T00:00:00Z"`,
		`"reference":"d","x":{"y":1,"z":null}`,
	)...)
	output, problems := verify(t, 1, s.url, append(charges(
		`"timestamp":"2026-09-01T02:00:00+02:00","id":1,"value":{"amount":{"currency":"EUR","quantity":"1.10"},"count":null},"reference":"a","description":null`,
		`"reference":"b","value":{"amount":{"quantity":"2.00","currency":"USD"},"count":"3"},"timestamp":"2026-09-01T00:00:01Z"`,
		`"reference":"c","description":"d"`,
		`"reference":"d","x":{"y":1}`,
		`"reference":"e","value":{"amount":{"quantity":"5","currency":"GBP"}}`,
		`"reference":"c","value":{"number":1}`,
		`"reference":"c\u202e"`,
		`"reference":"c","description":"=1"`,
	), `{"reference":"c"}`, `{"reference":"c"`, charge(`"reference":"c","reference":"d"`)))
	require.Equal(t, []string{
		"2|b|ID|different|timestamp, value.amount.currency, value.amount.quantity",
		"3|c|ID|different|description",
		"5|e||missing|",
	}, problems[:3])
	for i, want := range []string{
		`^6\|\|\|invalid\|value.number must be a decimal`,
		`^7\|c\x{202e}\|\|invalid\|reference must`,
		`^8\|c\|\|invalid\|description must`,
		`^9\|c\|\|invalid\|product_item_id is missing|^9\|c\|\|invalid\|.*product_item_id`,
		`^10\|\|\|invalid\|the line ends too early`,
		`^11\|\|\|invalid\|the line has two fields with the name "reference"`,
	} {
		require.Regexp(t, want, problems[3+i])
	}
	require.Equal(t, []string{
		counted(11, 2, 1, 2, 6),
		"amount EUR: 1.10 in the file, 3.10 stored, difference -2.00",
		"amount GBP: 5 in the file, 0 stored, difference 5",
		"amount USD: 2.00 in the file, 0 stored, difference 2.00",
		"number: 0 in the file, 0 stored",
		"count: 3 in the file, 3 stored",
	}, output)
}

func TestVerifyRepeatedReference(t *testing.T) {
	s := startServer(t)
	s.storeJSON(t, charge(`"reference":"a","value":{"number":"1"},"timestamp":"2026-09-01T00:00:00Z"`))
	output, problems := verify(t, 1, s.url, charges(
		`"reference":"a","value":{"number":"1"},"timestamp":"2026-09-01T00:00:00Z"`,
		`"reference":"a","value":{"number":"2"},"timestamp":"2026-09-01T00:00:00Z"`,
		`"reference":"a","value":{"number":"1"},"timestamp":"2026-09-01T01:00:00+01:00"`,
	))
	require.Equal(t, []string{
		counted(3, 2, 0, 1, 0), "lines that repeat an earlier event: 1", "number: 3 in the file, 1 stored, difference 2", "count: 0 in the file, 0 stored",
	}, output)
	require.Equal(t, []string{"2|a|ID|different|value.number"}, problems)
}

func TestVerifyWithoutReferences(t *testing.T) {
	const at = `,"timestamp":"2026-09-01T00:00:00Z"`
	for name, c := range map[string]struct {
		stored, file []string
		missing      int
	}{
		"each stored event counts once":    {charges(`"value":{"number":"1"}`+at, `"value":{"number":"1"}`+at), charges(`"value":{"number":"1"}`+at, `"value":{"number":"1"}`+at, `"value":{"number":"1"}`+at), 1},
		"more stored than in the file":     {charges(`"value":{"number":"1"}`+at, `"value":{"number":"1"}`+at), charges(`"value":{"number":"1"}` + at), 0},
		"other timestamp":                  {charges(`"value":{}` + at), charges(`"value":{},"timestamp":"2026-09-01T00:00:01Z"`), 1},
		"same instant":                     {charges(`"value":{}` + at), charges(`"value":{},"timestamp":"2026-09-01T01:00:00.0+01:00"`), 0},
		"no timestamp matches any":         {charges(`"value":{}`+at, `"value":{}`), charges(`"value":{}`, `"value":{}`), 0},
		"a given timestamp matches first":  {charges(`"value":{}`+at, `"value":{},"timestamp":"2026-09-02T00:00:00Z"`), charges(`"value":{}`, `"value":{}`+at), 0},
		"a stored reference":               {charges(`"reference":"a"` + at), charges(`"reference":null` + at), 1},
		"an empty reference is not absent": {charges(`"reference":""`+at, `"reference":""`+at), charges(`"reference":""`+at, `"reference":null`+at), 1},
		"with and without references":      {charges(`"value":{}`+at, `"reference":"a"`+at), charges(`"value":{}`+at, `"reference":"a"`+at, `"reference":"b"`+at), 1},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range 4 {
				s := startServer(t)
				s.storeJSON(t, c.stored...)
				output, problems := verify(t, min(c.missing, 1), s.url, c.file)
				require.Equal(t, counted(len(c.file), len(c.file)-c.missing, c.missing, 0, 0), output[0])
				require.Len(t, problems, c.missing)
				if c.missing == 0 {
					require.NotContains(t, strings.Join(output, ""), "difference")
				}
				slices.Reverse([][]string{c.file, c.stored}[i%2])
			}
		})
	}
}

func TestVerifyOldEvents(t *testing.T) {
	s := startServer(t)
	const n = 100
	var first []string
	for i := range n {
		first = append(first, charge(fmt.Sprintf(`"reference":"old-%d","value":{"number":"1"},"timestamp":"2026-09-01T00:00:00Z"`, i)))
	}
	s.storeJSON(t, first...)
	s.storeJSON(t, eventLines(8*maxPageEvents)...)
	listings, lookups := 0, make(map[string]int)
	requests := make(chan string, 1000)
	proxy := proxyTo(t, s, func(_ int64, forward http.Handler, w http.ResponseWriter, r *http.Request) {
		requests <- r.URL.Query().Get("reference")
		forward.ServeHTTP(w, r)
	})
	file := append([]string{first[0], first[0]}, first...)
	file = append(file, charge(`"reference":"new"`), strings.Replace(first[5], `"1"`, `"2"`, 1), charge(`"reference":"not valid"`))
	recent := slices.DeleteFunc(eventLines(8 * maxPageEvents)[8*maxPageEvents-n:], func(l string) bool { return strings.Contains(l, `"reference":null`) })
	file = append(file, recent...)
	output, problems := verify(t, 1, proxy, file)
	close(requests)
	for reference := range requests {
		if reference == "" {
			listings++
		} else {
			lookups[reference]++
		}
	}
	require.Equal(t, 5, listings)
	require.Len(t, lookups, n+1)
	for reference, times := range lookups {
		require.Equal(t, 1, times, reference)
	}
	require.Equal(t, []string{counted(len(file), len(file)-3, 1, 1, 1), "lines that repeat an earlier event: 2"}, output[:2])
	require.Equal(t, []string{"103|new||missing|", "104|old-5|ID|different|value.number"}, problems[:2])
	require.Regexp(t, `^105\|not valid\|\|invalid\|reference must`, problems[2])

	output, _ = verify(t, 0, s.url, append(first, eventLine(4)))
	require.Equal(t, counted(n+1, n+1, 0, 0, 0), output[0])
}

func TestVerifyBehindNewerEvents(t *testing.T) {
	s := startServer(t)
	var file []string
	for i := range 2 * maxPageEvents {
		file = append(file, charge(fmt.Sprintf(`"reference":"old-%d"`, i)))
	}
	s.storeJSON(t, file...)
	s.store(t, 1, 4*maxPageEvents)
	var lookups atomic.Int64
	proxy := proxyTo(t, s, func(_ int64, forward http.Handler, w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("reference") {
			lookups.Add(1)
		}
		forward.ServeHTTP(w, r)
	})
	output, _ := verify(t, 0, proxy, file)
	require.Equal(t, counted(len(file), len(file), 0, 0, 0), output[0])
	require.Zero(t, lookups.Load(), "six pages cost less")
}

func TestVerifyLookupFails(t *testing.T) {
	s := startServer(t)
	s.storeJSON(t, eventLines(5*maxPageEvents)...)
	proxy := proxyTo(t, s, func(_ int64, forward http.Handler, w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("reference") == "r-20" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		forward.ServeHTTP(w, r)
	})
	var lines []string
	for i := range 100 {
		lines = append(lines, charge(fmt.Sprintf(`"reference":"r-%d"`, i)))
	}
	tp := newTestProgram()
	dir := t.TempDir()
	require.Equal(t, 1, tp.runVerify(t.Context(), proxy, writeEvents(t, lines...), "-o", filepath.Join(dir, "out.csv")))
	require.Contains(t, tp.log.String(), "403")
	require.Empty(t, tp.out.String())
	require.Empty(t, dirNames(t, dir))
}

func TestVerifyEmptyFile(t *testing.T) {
	output, problems := verify(t, 0, startServer(t).url, []string{"", ""})
	require.Equal(t, []string{counted(0, 0, 0, 0, 0), "number: 0 in the file, 0 stored", "count: 0 in the file, 0 stored"}, output)
	require.Empty(t, problems)
}

func TestVerifyOnePlatform(t *testing.T) {
	s := startServer(t, withTwoPlatforms)
	newTestProgram().loadTo(t, s.url, "acme", eventLines(3)...)
	output, _ := verify(t, 0, s.url, eventLines(3), "-platform", "acme")
	require.Equal(t, counted(3, 3, 0, 0, 0), output[0])
	output, _ = verify(t, 1, s.url, eventLines(3))
	require.Equal(t, counted(3, 0, 3, 0, 0), output[0])
}

func TestVerifyLongLine(t *testing.T) {
	s := startServer(t)
	s.storeJSON(t, eventLines(2)...)
	output, problems := verify(t, 1, s.url, []string{eventLine(1), `{"` + strings.Repeat("x", 2*maxLineBytes), eventLine(2)})
	require.Equal(t, counted(3, 2, 0, 0, 1), output[0])
	require.Equal(t, []string{"2|||invalid|the line is longer than 4194304 bytes"}, problems)
}

func TestVerifyPrintsFirstProblems(t *testing.T) {
	s := startServer(t, keepUnknownFields)
	s.storeJSON(t, charge(`"reference":"a","x\u001b[31m\u202e":1`))
	tp := newTestProgram()
	lines := slices.Concat(charges(`"reference":"a","description":"x"`), eventLines(11))
	require.Equal(t, 1, tp.runVerify(t.Context(), s.url, writeEvents(t, lines...)))
	printed := strings.Split(strings.TrimSpace(tp.log.String()), "\n")
	require.Len(t, printed, 12)
	require.Regexp(t, `events.ndjson:1: different from chda_\w{26}: description, x`, printed[0])
	require.Contains(t, printed[9], "events.ndjson:10: missing")
	require.Equal(t, "more lines are not stored; -o writes all of them", printed[10])
	require.Equal(t, "chargectl: verify: not stored as in the file: 12 of 12 events", printed[11])
	require.NotRegexp(t, `\p{C}`, strings.ReplaceAll(tp.log.String(), "\n", ""))
}

func TestVerifyUnreadableFile(t *testing.T) {
	s := startServer(t)
	dir := t.TempDir()
	for path, want := range map[string]string{
		filepath.Join(dir, "none"): "no such file",
		"a\nb":                     "FILE must not have control characters",
		dir:                        "must be a regular file",
	} {
		tp := newTestProgram()
		require.Equal(t, 2, tp.runVerify(t.Context(), s.url, path))
		require.Contains(t, tp.log.String(), want)
	}
}

func TestVerifyFileThatChanges(t *testing.T) {
	s := startServer(t)
	s.storeJSON(t, eventLines(2)...)
	file := writeEvents(t, charge(`"reference":"ref-1","description":"a"`))
	proxy := proxyTo(t, s, func(_ int64, forward http.Handler, w http.ResponseWriter, r *http.Request) {
		require.NoError(t, os.WriteFile(file, []byte(charge(`"reference":"ref-1","description":"b"`)), 0o600))
		forward.ServeHTTP(w, r)
	})
	tp := newTestProgram()
	require.Equal(t, 1, tp.runVerify(t.Context(), proxy, file))
	require.Contains(t, tp.log.String(), "the file changed while it was verified")
}
