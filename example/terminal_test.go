package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// hostile has a character of each kind that a terminal may obey: C0, DEL, C1,
// marks, embeddings, overrides and isolates.
const hostile = "\u0000\u001b\u007f\u0080\u009b\u009f\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

func TestTailEscapesWhatATerminalObeys(t *testing.T) {
	event := `{"id":"é\u001b` + strings.TrimLeft(hostile, "\u0000\u001b") + `€","n":1.50}`
	page, err := json.Marshal(map[string]any{"data": []json.RawMessage{json.RawMessage(event)}, "next": nil, "position": "p"})
	require.NoError(t, err)
	s := startServer(t)
	url := proxyTo(t, s, func(_ int64, _ http.Handler, w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(page) })

	onTerminal := newTestProgram()
	onTerminal.isTerminal = func(w io.Writer) bool { return w == onTerminal.stdout }
	require.Equal(t, 0, onTerminal.tailOf(t.Context(), s, url, "-follow=false"), onTerminal.log)
	escaped := `{"id":"é\u001b\u007f\u0080\u009b\u009f\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069€","n":1.50}`
	require.Equal(t, escaped+"\n", onTerminal.out.String())
	require.JSONEq(t, event, onTerminal.out.String())

	toFile := newTestProgram()
	require.Equal(t, 0, toFile.tailOf(t.Context(), s, url, "-follow=false"), toFile.log)
	require.Equal(t, event+"\n", toFile.out.String())
}

func TestBytesThatAreNotUTF8AreEscapedForATerminal(t *testing.T) {
	require.Equal(t, `"\ufffd2J"`, string(escapeForTerminal(nil, []byte("\"\x9b2J\""))))
}

func TestComplaintsHoldNothingThatATerminalObeys(t *testing.T) {
	tp := newTestProgram()
	tp.complain("a" + hostile + "b\nc")
	require.Equal(t, "a"+strings.Repeat(" ", len([]rune(hostile)))+"b; c\n", tp.log.String())
}
