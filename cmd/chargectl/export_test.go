package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func (tp *testProgram) runExport(ctx context.Context, url string, args ...string) int {
	return tp.run(ctx, slices.Concat([]string{"export", "-url", url, "-api-key", apiKey}, args))
}

func export(t *testing.T, url string, args ...string) (text string, summary []string) {
	t.Helper()
	tp := newTestProgram()
	require.Equal(t, 0, tp.runExport(t.Context(), url, args...), tp.log)
	return tp.out.String(), strings.Split(strings.TrimSpace(tp.log.String()), "\n")
}

func charge(fields string) string {
	return `{"product_item_id":"proi","pricing_id":"pric","pricing_item_id":"prii","pricing_item_config_id":"pico",` + fields + `}`
}

func idOf(t *testing.T, event string) string {
	t.Helper()
	var e chargeingest.ChargeEvent
	require.NoError(t, e.UnmarshalJSON([]byte(event)))
	return e.ID
}

func sha256Of(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func TestExportNDJSON(t *testing.T) {
	s := startServer(t)
	s.storeJSON(t, eventLines(2*maxPageEvents+5)...)
	tail := newTestProgram()
	require.Equal(t, 0, tail.runTail(t.Context(), s.url, "-follow=false"), tail.log)
	text, summary := export(t, s.url, "-format", "ndjson")
	require.Equal(t, tail.out.String(), text)
	lines := strings.Split(strings.TrimSpace(text), "\n")
	require.Equal(t, []string{
		"2005 events", "number: 2012017.50", "count: 0", "until: " + idOf(t, lines[len(lines)-1]), sha256Of(text) + "  -",
	}, summary)
}

func TestExportCSV(t *testing.T) {
	at := time.Date(2026, 11, 29, 12, 30, 0, 123_456_789, time.UTC)
	s := startServer(t, keepUnknownFields, func(cfg *chargeingest.Config) { cfg.Now = func() time.Time { return at } })
	s.storeJSON(t,
		charge(`"customer_id":"=cmd|' /C calc'!A0"`),
		charge(`"reference":"","description":"two\nlines\r\nand + more","value":{"number":"-12345678901234567890123456789012345678","unit":"h"},"timestamp":"2026-09-01T09:00:29+09:00"`),
		charge(`"customer_id":"'=1","value":{"amount":{"quantity":"0.0000000000000000000000000000000000001","currency":"EUR"}},"a b":[1.0,{"x":null}],"timestamp":"9999-12-31T23:59:59-14:00"`),
		charge(`"pricing_plan_subscription_selector":{"rules":[],"fallback":"LATEST","new":1}`),
	)
	text, summary := export(t, s.url)
	events := s.events(t)
	records := parseCSV(t, text)
	require.Len(t, records, 5)
	cell := func(record int, name string) *string {
		for i, n := range records[0] {
			if *n == name {
				return records[record][i]
			}
		}
		require.FailNow(t, "no column", name)
		return nil
	}
	require.Equal(t, "'=cmd|' /C calc'!A0", *cell(1, "customer_id"))
	require.Equal(t, "2026-11-29T12:30:00Z", *cell(1, "timestamp"))
	require.Equal(t, "2026-11-29T12:30:00.123Z", *cell(1, "received_at"))
	require.Nil(t, cell(1, "reference"))
	require.Equal(t, new(""), cell(2, "reference"))
	require.Equal(t, "two\nlines\r\nand + more", *cell(2, "description"))
	require.Equal(t, "-12345678901234567890123456789012345678", *cell(2, "value_number"))
	require.Equal(t, "2026-09-01T09:00:29+09:00", *cell(2, "timestamp"))
	require.Equal(t, "2026-09-01T00:00:29.000000000Z", *cell(2, "timestamp_utc"))
	require.Equal(t, "''=1", *cell(3, "customer_id"))
	require.Equal(t, "0.0000000000000000000000000000000000001", *cell(3, "value_amount_quantity"))
	require.Equal(t, "9999-12-31T37:59:59.000000000Z", *cell(3, "timestamp_utc"))
	require.Equal(t, []string{`{"value":{"unit":"h"}}`, `{"a b":[1.0,{"x":null}]}`, `{"rules":[],"fallback":"LATEST","new":1}`},
		[]string{*cell(2, "unknown_fields"), *cell(3, "unknown_fields"), *cell(4, "pricing_plan_subscription_selector")})
	for i, e := range events {
		require.Equal(t, idOf(t, e), *cell(i+1, "id"))
	}
	require.Equal(t, []string{
		"4 events", "amount EUR: 0.0000000000000000000000000000000000001", "number: -12345678901234567890123456789012345678", "count: 0",
		"until: " + idOf(t, events[3]), sha256Of(text) + "  -",
	}, summary)
}

func TestExportSelectsByTime(t *testing.T) {
	clock := time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)
	s := startServer(t, func(cfg *chargeingest.Config) { cfg.Now = func() time.Time { return clock } })
	for i, e := range []struct{ received, timestamp string }{
		{"2026-08-31T23:59:59.999Z", "2026-10-01T00:00:00+02:00"},
		{"2026-09-01T00:00:00Z", "2026-09-01T00:00:00Z"},
		{"2026-09-30T23:59:59.999Z", "2026-08-31T23:59:59.999999999Z"},
		{"2026-10-01T00:00:00Z", "2026-10-01T00:00:00Z"},
	} {
		var err error
		clock, err = time.Parse(time.RFC3339, e.received)
		require.NoError(t, err)
		s.storeJSON(t, charge(fmt.Sprintf(`"value":{"count":"%d"},"timestamp":%q`, i, e.timestamp)))
	}
	for name, c := range map[string]struct {
		args string
		want []string
	}{
		"all":                   {"", []string{"0", "1", "2", "3"}},
		"timestamp":             {"-from 2026-09-01 -to 2026-10-01", []string{"0", "1"}},
		"received":              {"-from 2026-09-01 -to 2026-10-01 -by received", []string{"1", "2"}},
		"from only":             {"-from 2026-10-01", []string{"3"}},
		"to only":               {"-to 2026-09-01T02:00:00.000000001+02:00", []string{"1", "2"}},
		"to only, received":     {"-to 2026-09-01T00:00:00Z -by received", []string{"0"}},
		"no event in the range": {"-from 2027-01-01", nil},
	} {
		t.Run(name, func(t *testing.T) {
			text, summary := export(t, s.url, append(strings.Fields(c.args), "-format", "ndjson")...)
			var counts []string
			for line := range strings.Lines(text) {
				var e chargeingest.ChargeEvent
				require.NoError(t, e.UnmarshalJSON([]byte(line)))
				counts = append(counts, *e.Value.Count)
			}
			require.Equal(t, c.want, counts)
			require.Equal(t, plural(len(c.want), "event"), summary[0])
			require.Equal(t, "until: "+idOf(t, s.events(t)[3]), summary[len(summary)-2])
		})
	}
}

func TestExportOfNothing(t *testing.T) {
	text, summary := export(t, startServer(t).url)
	require.Equal(t, csvHeader(), text)
	require.Equal(t, []string{"0 events", "number: 0", "count: 0", sha256Of(text) + "  -"}, summary)
}

func TestExportUntilIsRepeatable(t *testing.T) {
	s := startServer(t)
	s.storeJSON(t, eventLines(maxPageEvents+5)...)
	first, summary := export(t, s.url)
	id := strings.TrimPrefix(summary[len(summary)-2], "until: ")
	stored := maxPageEvents + 5
	proxy := proxyTo(t, s, func(_ int64, forward http.Handler, w http.ResponseWriter, r *http.Request) {
		s.storeJSON(t, eventLines(stored + 7)[stored:]...)
		stored += 7
		forward.ServeHTTP(w, r)
	})
	for range 2 {
		text, again := export(t, proxy, "-until", id)
		require.Equal(t, first, text)
		require.Equal(t, summary, again)
	}
	grown, summary := export(t, proxy)
	require.True(t, strings.HasPrefix(grown, first))
	require.Equal(t, fmt.Sprintf("%d events", stored), summary[0])

	events, _ := export(t, s.url, "-format", "ndjson")
	middle := idOf(t, strings.Split(events, "\n")[41])
	text, summary := export(t, s.url, "-until", middle)
	require.Equal(t, 43, strings.Count(text, "\r\n"))
	require.Contains(t, summary, "until: "+middle)

	tp := newTestProgram()
	path := filepath.Join(t.TempDir(), "charges.csv")
	require.Equal(t, 1, tp.runExport(t.Context(), s.url, "-until", "chda_01K4GQXJ5WTM4R2V8ZC6N3HBDA", "-o", path))
	require.Contains(t, tp.log.String(), "the platform has no event chda_01K4GQXJ5WTM4R2V8ZC6N3HBDA")
	require.Empty(t, dirNames(t, filepath.Dir(path)))
}

func dirNames(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func withTwoPlatforms(cfg *chargeingest.Config) {
	keys, _ := chargeingest.NewKeys(chargeingest.Key{
		Secret: apiKey, Subject: "test", Platforms: []string{chargeingest.DefaultPlatform, "acme"},
		Permissions: []chargeingest.Permission{chargeingest.PermissionIngest, chargeingest.PermissionView},
	})
	cfg.Authorizer = keys
}

func (tp *testProgram) loadTo(t *testing.T, url, platform string, lines ...string) {
	t.Helper()
	require.Equal(t, 0, tp.runLoad(t.Context(), url, writeEvents(t, lines...), "-platform", platform), tp.log)
}

func TestExportOfOnePlatform(t *testing.T) {
	s := startServer(t, withTwoPlatforms)
	newTestProgram().loadTo(t, s.url, "acme", eventLines(3)...)
	s.store(t, 1, 2)
	ours, _ := export(t, s.url, "-format", "ndjson")
	require.Equal(t, joinLines(s.events(t)), ours)
	theirs, summary := export(t, s.url, "-platform", "acme", "-format", "ndjson")
	require.Equal(t, "3 events", summary[0])
	require.NotContains(t, theirs, idOf(t, strings.Split(ours, "\n")[0]))
}

func TestExportOnATerminal(t *testing.T) {
	s := startServer(t, keepUnknownFields)
	s.storeJSON(t, charge(`"description":"a\nb","x":"`+"\u202e\u009b"+`\u001b[31m"`))
	for format, want := range map[string]string{"csv": `\u000ab`, "ndjson": `\u202e\u009b\u001b[31m`} {
		plain, summary := export(t, s.url, "-format", format)
		tp := newTestProgram()
		tp.isTerminal = func(w io.Writer) bool { return w == tp.stdout }
		require.Equal(t, 0, tp.runExport(t.Context(), s.url, "-format", format))
		require.Contains(t, tp.out.String(), want)
		require.NotRegexp(t, `\p{C}`, strings.ReplaceAll(tp.out.String(), "\r\n", ""))
		require.Equal(t, sha256Of(plain)+"  -", summary[len(summary)-1])
		require.Contains(t, tp.log.String(), summary[len(summary)-1])
	}
}

func TestExportToFile(t *testing.T) {
	s := startServer(t)
	s.store(t, 1, 20)
	text, summary := export(t, s.url)
	dir := t.TempDir()
	path := filepath.Join(dir, `charges \ 1.csv`)
	nothing, fileSummary := export(t, s.url, "-o", path)
	require.Empty(t, nothing)
	stored, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, text, string(stored))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	last := len(summary) - 1
	require.Equal(t, summary[:last], fileSummary[:last])
	require.Equal(t, `\`+sha256Of(text)+"  "+strings.ReplaceAll(path, `\`, `\\`), fileSummary[last])

	link := filepath.Join(dir, "link.csv")
	require.NoError(t, os.Symlink("nowhere", link))
	unused := proxyTo(t, s, func(int64, http.Handler, http.ResponseWriter, *http.Request) { t.Error("a request") })
	for _, name := range []string{path, link, dir, filepath.Join(dir, "no", "file.csv"), filepath.Join(dir, "a\nb")} {
		require.Equal(t, 2, newTestProgram().runExport(t.Context(), unused, "-o", name), name)
	}
	again, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, text, string(again))
	require.ElementsMatch(t, []string{`charges \ 1.csv`, "link.csv"}, dirNames(t, dir))
}

func TestExportFailures(t *testing.T) {
	s := startServer(t)
	s.storeJSON(t, eventLines(maxPageEvents+1)...)
	ctx, interrupt := context.WithCancel(t.Context())
	onSecondPage := func(handle func(w http.ResponseWriter)) string {
		return proxyTo(t, s, func(n int64, forward http.Handler, w http.ResponseWriter, r *http.Request) {
			if n == 2 {
				handle(w)
				return
			}
			forward.ServeHTTP(w, r)
		})
	}
	for name, c := range map[string]struct {
		ctx  context.Context
		url  string
		want string
	}{
		"interrupted": {ctx, onSecondPage(func(http.ResponseWriter) { interrupt() }), "interrupted"},
		"rejected":    {t.Context(), onSecondPage(func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden) }), "403"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			tp := newTestProgram()
			require.Equal(t, 1, tp.runExport(c.ctx, c.url, "-o", filepath.Join(dir, "charges.csv")))
			require.Contains(t, tp.log.String(), c.want)
			require.NotContains(t, tp.log.String(), "until: ")
			require.Empty(t, dirNames(t, dir))
		})
	}
	t.Run("standard output fails", func(t *testing.T) {
		tp := newTestProgram()
		writes := 0
		tp.stdout = writerFunc(func(p []byte) (int, error) {
			if writes++; writes == 2 {
				return 0, errors.New("broken")
			}
			return len(p), nil
		})
		require.Equal(t, 1, tp.runExport(t.Context(), s.url))
		require.Equal(t, "chargectl: export: write to standard output: broken\n", tp.log.String())
	})
}

func TestExportUsage(t *testing.T) {
	for args, want := range map[string]string{
		"-from 2026-13-01":                "-from: must be a date such as",
		"-to yesterday":                   "-to: must be a date such as",
		"-from 2026-10-01 -to 2026-10-01": "-to must be after -from",
		"-by id":                          "-by: must be timestamp or received",
		"-format xml":                     "-format: must be csv or ndjson",
		"-until 17":                       "-until: must be the id of an event",
		"file":                            `unexpected argument "file"`,
		"-api-key k -token t":             "must not both be given",
	} {
		tp := newTestProgram()
		require.Equal(t, 2, tp.run(t.Context(), append([]string{"export", "-url", "http://127.0.0.1:1", "-api-key", "k"}, strings.Fields(args)...)), args)
		require.Contains(t, tp.log.String(), want)
	}
}
