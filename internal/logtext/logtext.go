// Package logtext shortens and redacts untrusted text for log lines.
package logtext

import (
	"strings"
	"unicode/utf8"
)

// Marker replaces a secret.
const Marker = "[redacted]"

const (
	ellipsis = "…"

	maxScanned = 64 << 10
)

// Hide replaces each run of secrets in text by Marker, ignoring ASCII case, also a
// truncated one before a final ellipsis. The result has at most maxBytes bytes
// after the escaping of a text or JSON handler, and no part of a secret.
func (s *Secrets) Hide(text string, maxBytes int) string {
	const reserve = len(ellipsis) + 3*utf8.UTFMax
	uncut, cut := strings.CutSuffix(text, ellipsis)
	w := window{text: text}
	var b strings.Builder
	size, hiddenEnd := 0, -1
	for i := range len(text) {
		n := s.match(&w, i)
		if cut && i < len(uncut) && s.startsLonger(uncut[i:]) {
			n = max(n, len(uncut)-i)
		}
		if n > 0 && i > hiddenEnd || n == 0 && i >= hiddenEnd {
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
			hiddenEnd = max(hiddenEnd, i+n)
		}
	}
	return strings.ToValidUTF8(b.String(), "\ufffd")
}

// Bound truncates text to maxBytes bytes after escaping.
func Bound(text string, maxBytes int) string { return new(Secrets).Hide(text, maxBytes) }

// escapedSize is a maximum.
func escapedSize(c byte) int {
	switch {
	case c >= 0x80:
		return 3
	case c < ' ', c == 0x7f, c == '"', c == '\\', c == '<', c == '>', c == '&':
		return 6
	}
	return 1
}
