package main

import (
	"bytes"
	"io"
	"log/slog"

	"example.com/chargeingest/internal/logtext"
)

func (c *serverConfig) newLogger(w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{ReplaceAttr: truncateAttr}
	if c.logJSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

func (c *serverConfig) lostLines(n int) []byte {
	var line bytes.Buffer
	c.newLogger(&line).Warn("log lines were lost because they could not be written", "lines", n)
	return line.Bytes()
}

// truncateAttr keeps log lines below 16 KiB: net/http logs stacks of up to 64 KiB, and errors
// have any length.
func truncateAttr(_ []string, a slog.Attr) slog.Attr {
	const maxBytes = 7 << 10 // a line has at most two long texts
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(logtext.Bound(a.Value.String(), maxBytes))
	case slog.KindAny:
		if err, ok := a.Value.Any().(error); ok {
			a.Value = slog.StringValue(logtext.Bound(err.Error(), maxBytes))
		}
	}
	return a
}
