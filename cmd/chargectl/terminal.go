package main

import (
	"fmt"
	"unicode/utf8"

	"example.com/chargeingest/internal/cli"
)

// escapeForTerminal escapes terminal controls in compact JSON, whose meaning stays the same.
func escapeForTerminal(dst, text []byte) []byte {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if cli.IsTerminalControl(r) || r == utf8.RuneError && n == 1 {
			dst = fmt.Appendf(dst, `\u%04x`, r)
		} else {
			dst = append(dst, text[:n]...)
		}
		text = text[n:]
	}
	return dst
}
