package pgstore

import (
	"context"
	"log/slog"
	"unicode/utf8"

	"example.com/chargeingest/internal/panics"
)

// maxLogText is how many bytes the text of an error takes in a log line, escaped: a
// line stays below 16 KB with the attributes of the host's logger.
const maxLogText = 12 << 10

// log tells the host's logger, whose panic harms nobody.
func log(logger *slog.Logger, level slog.Level, message string, err error) {
	var failed error
	defer panics.RecoverTo(&failed)
	var attributes []slog.Attr
	if err != nil {
		attributes = append(attributes, slog.String("error", shortened(err.Error())))
	}
	logger.LogAttrs(context.Background(), level, message, attributes...)
}

// shortened cuts a text that would take more than maxLogText bytes in a log line. Six
// bytes is the most that a handler writes for one.
func shortened(text string) string {
	size := 0
	for i, r := range text {
		switch {
		case r < ' ' || r == utf8.RuneError || r == '"' || r == '\\' || r == '<' || r == '>' || r == '&':
			size += 6
		case r >= utf8.RuneSelf:
			size += 12 // a surrogate pair
		default:
			size++
		}
		if size > maxLogText {
			return text[:i] + "…"
		}
	}
	return text
}
