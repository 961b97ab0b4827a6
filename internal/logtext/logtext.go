// Package logtext prepares text from outside the program for a log line: it
// bounds the text and hides secrets in it.
package logtext

import (
	"strings"
	"unicode/utf8"
)

// Marker stands in for a secret.
const Marker = "[redacted]"

const (
	ellipsis = "…"

	// maxScanned is how far into a text Hide looks. Only a text that is mostly
	// hidden reaches it.
	maxScanned = 64 << 10
)

// Hide returns text with each run of secrets replaced by Marker. It ignores the
// case of ASCII letters. In a text that was cut, and ends in an ellipsis, it also
// hides the beginning of a secret before the ellipsis.
//
// The result takes at most maxBytes in a log line, with the escapes of a text or
// JSON handler counted. A text that Hide cuts never ends within a secret.
func (s *Secrets) Hide(text string, maxBytes int) string {
	const reserve = len(ellipsis) + 3*utf8.UTFMax // so that a character can be completed
	uncut, cut := strings.CutSuffix(text, ellipsis)
	w := window{text: text}
	var b strings.Builder
	size, hidden := 0, -1 // hidden is the end of the last match
	for i := range len(text) {
		n := s.match(&w, i)
		if cut && i < len(uncut) && s.begins(uncut[i:]) {
			n = max(n, len(uncut)-i)
		}
		if n > 0 && i > hidden || n == 0 && i >= hidden {
			next, nextSize := text[i:i+1], escapedSize(text[i])
			if n > 0 {
				next, nextSize = Marker, len(Marker)
			}
			size += nextSize
			if size > maxBytes || size > maxBytes-reserve && utf8.RuneStart(text[i]) {
				b.WriteString(ellipsis)
				break
			}
			b.WriteString(next)
		}
		if i >= maxScanned {
			b.WriteString(ellipsis)
			break
		}
		if n > 0 {
			hidden = max(hidden, i+n)
		}
	}
	return strings.ToValidUTF8(b.String(), "\ufffd")
}

// Bound returns text cut to at most maxBytes in a log line, with the
// escapes of a text or JSON handler counted.
func Bound(text string, maxBytes int) string { return new(Secrets).Hide(text, maxBytes) }

// escapedSize is the most bytes that one byte of a text takes in a log line:
// \u001b for a control character, \u00e9 for two bytes, \U0010ffff for four.
func escapedSize(c byte) int {
	switch {
	case c >= 0x80:
		return 3
	case c < ' ', c == 0x7f, c == '"', c == '\\', c == '<', c == '>', c == '&':
		return 6
	}
	return 1
}
