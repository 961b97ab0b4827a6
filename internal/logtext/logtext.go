// Package logtext prepares text from outside the program for a log line: it
// bounds the text and hides secrets in it.
package logtext

import (
	"slices"
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

	// maxOverlap is how far before the end of a hidden part Hide looks for
	// another secret that goes on beyond it.
	maxOverlap = 256
)

// Secrets are texts that must not appear in a log line. The zero value has none.
type Secrets struct {
	sorted []string

	// prefix has for each secret the index of the longest other secret that it
	// starts with, or -1.
	prefix []int
}

// NewSecrets returns a set of secrets. It reorders and keeps the slice, and
// ignores empty strings.
func NewSecrets(secrets []string) *Secrets {
	slices.Sort(secrets)
	secrets = slices.Compact(secrets)
	if len(secrets) > 0 && secrets[0] == "" {
		secrets = secrets[1:]
	}
	s := &Secrets{sorted: secrets, prefix: make([]int, len(secrets))}
	for i, secret := range secrets {
		s.prefix[i] = s.longestPrefix(secret, i-1)
	}
	return s
}

// longestPrefix returns the longest secret that text starts with, or -1. The
// secret at index i is the last one, in order, that can be such a prefix.
func (s *Secrets) longestPrefix(text string, i int) int {
	if i < 0 {
		return -1
	}
	common := commonPrefix(text, s.sorted[i])
	for i >= 0 && len(s.sorted[i]) > common {
		i = s.prefix[i]
	}
	return i
}

// commonPrefix returns how many bytes a and b have in common at their start.
func commonPrefix(a, b string) int {
	const step = 64 // compared at once
	shorter, n := min(len(a), len(b)), 0
	for n+step <= shorter && a[n:n+step] == b[n:n+step] {
		n += step
	}
	for n < shorter && a[n] == b[n] {
		n++
	}
	return n
}

// match returns the length of the longest secret that text starts with, or 0.
func (s *Secrets) match(text string) int {
	i, found := slices.BinarySearch(s.sorted, text)
	if !found {
		// Every prefix of text sorts before it, and the strings between the two
		// have the same prefix.
		i = s.longestPrefix(text, i-1)
	}
	if i < 0 {
		return 0
	}
	return len(s.sorted[i])
}

// Hide returns text with each occurrence of a secret replaced by Marker.
// The result takes at most maxBytes in a log line, with the escapes of a text or
// JSON handler counted. A text that is cut never ends within a secret.
func (s *Secrets) Hide(text string, maxBytes int) string {
	const reserve = len(ellipsis) + 3*utf8.UTFMax // so that a character can be completed
	var b strings.Builder
	size, hidden := 0, 0 // hidden is the end of the last match
	for i := 0; i < len(text); {
		n := s.match(text[i:])
		if i >= hidden {
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
		hidden = max(hidden, i+n)
		i = max(i+1, hidden-maxOverlap)
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
