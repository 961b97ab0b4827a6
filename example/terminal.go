package main

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// actsOnTerminal reports whether a terminal may obey r instead of showing it: a
// control character (C0, DEL, C1), or one that changes the direction of the text
// around it.
func actsOnTerminal(r rune) bool { return unicode.Is(unicode.Bidi_Control, r) || unicode.IsControl(r) }

// escapeForTerminal appends JSON text to dst. Characters that a terminal may obey
// become \u escapes, which mean the same in JSON. The text must have no white
// space between its tokens.
func escapeForTerminal(dst, text []byte) []byte {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if actsOnTerminal(r) || r == utf8.RuneError && n == 1 {
			dst = fmt.Appendf(dst, `\u%04x`, r)
		} else {
			dst = append(dst, text[:n]...)
		}
		text = text[n:]
	}
	return dst
}
