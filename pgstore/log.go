package pgstore

import (
	"context"
	"log/slog"
	"unicode/utf8"

	"example.com/chargeingest/internal/panics"
)

// maxLogText bounds an escaped error in bytes: a line with the logger's attributes stays below
// 16 KiB.
const maxLogText = 12 << 10

// log ignores panics of the logger.
func log(logger *slog.Logger, level slog.Level, message string, err error, more ...slog.Attr) {
	var panicked error
	defer panics.RecoverTo(&panicked)
	attributes := more
	if err != nil {
		attributes = append(attributes, slog.String("error", shorten(err.Error())))
	}
	logger.LogAttrs(context.Background(), level, message, attributes...)
}

// shorten counts six bytes for one that a handler may escape.
func shorten(text string) string {
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
