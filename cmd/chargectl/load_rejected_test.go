package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLoadPrintsRejectedLines(t *testing.T) {
	s := startServer(t)
	lines := eventLines(45)
	lines[22] = strings.Replace(lines[22], `"pricing_id":"pric_1",`, "", 1)
	lines[26] = strings.Replace(lines[26], `"27.50"`, "27.50", 1)
	lines[28] = "[]"
	file := writeEvents(t, lines...)
	tp := newTestProgram()
	require.Equal(t, 1, tp.runLoad(t.Context(), s.url, file))
	printed := strings.Split(tp.log.String(), "\n")
	require.Len(t, printed, 5, tp.log)
	require.Contains(t, printed[0], file+":23: pricing_id is missing")
	require.Contains(t, printed[1], file+":27: value.number must be ")
	require.Contains(t, printed[2], file+":29: the event must be ")
	require.Equal(t, "chargectl: load stopped: "+file+": lines 21 to 30: rejected, see above; nothing of this batch was stored; "+
		"so far 23 events: 20 new, 0 already stored, 3 rejected", printed[3])
	require.Len(t, s.events(t), 20)
	require.Empty(t, tp.out.String())
}

func TestLoadPrintsConflictingLine(t *testing.T) {
	s := startServer(t)
	status, body := s.send(t, http.MethodPost, "/v1/ingest/charge-data", strings.Replace(eventLine(3), `"3.50"`, `"4"`, 1))
	require.Equal(t, http.StatusCreated, status, body)
	file := writeEvents(t, eventLines(5)...)
	tp := newTestProgram()
	require.Equal(t, 1, tp.runLoad(t.Context(), s.url, file))
	require.Regexp(t, `^`+file+`:3: reference .* event chda_.*value\.number`, tp.log.String())
	require.Len(t, s.events(t), 1)
}

func TestLoadStopsAtInvalidLine(t *testing.T) {
	for name, line := range map[string]string{
		"incomplete JSON":        `{"product_item_id":`,
		"two values":             eventLine(13) + eventLine(13),
		"brackets of the batch":  eventLine(13) + "]},{" + `"x":[` + eventLine(13),
		"duplicate name":         `{"reference":"a","reference":"b"}`,
		"invalid UTF-8":          "{\"reference\":\"\xff\"}",
		"lone surrogate":         `{"reference":"\ud800"}`,
		"too long":               `"` + strings.Repeat("x", maxLineBytes) + `"`,
		"byte-order mark":        "\ufeff" + eventLine(13),
		"comma after the event":  eventLine(13) + ",",
		"word without quotation": "hello",
	} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t)
			lines := eventLines(20)
			lines[12] = line
			file := writeEvents(t, lines...)
			tp := newTestProgram()
			require.Equal(t, 1, tp.runLoad(t.Context(), s.url, file))
			require.True(t, strings.HasPrefix(tp.log.String(), file+":13: the line "), tp.log)
			require.Contains(t, tp.log.String(), "\nchargectl: load stopped: the batch with the line above was not sent; "+
				"so far 10 events: 10 new, 0 already stored, 0 rejected\n")
			require.Len(t, s.events(t), 10)
		})
	}
}
