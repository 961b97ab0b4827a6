package logtext

import (
	"bytes"
	"slices"
	"sort"
)

const (
	// MinSecret is the length of the shortest text that is hidden. Shorter ones
	// are not secrets, and occur in words.
	MinSecret = 4

	// maxPattern is the length of the longest pattern. It bounds what is compared
	// at each position of a text.
	maxPattern = 64
)

// Secrets are texts that must not appear in a log line. The zero value has none.
type Secrets struct {
	// patterns are sorted, in lower case, and of MinSecret to maxPattern bytes. A
	// longer secret is several patterns.
	patterns [][]byte

	// prefix has for each pattern the index of the longest other pattern that it
	// starts with, or -1.
	prefix []int32

	starts filter
}

// NewSecrets returns a set of secrets. It ignores those shorter than MinSecret.
func NewSecrets(secrets []string) *Secrets {
	s := new(Secrets)
	for _, secret := range secrets {
		s.add(appendLower(nil, secret))
	}
	slices.SortFunc(s.patterns, bytes.Compare)
	s.patterns = slices.CompactFunc(s.patterns, bytes.Equal)
	s.prefix = make([]int32, len(s.patterns))
	for i, pattern := range s.patterns {
		s.prefix[i] = int32(s.longestPrefix(pattern, i-1))
		s.starts.add(string(pattern[:MinSecret]))
	}
	return s
}

// add splits a long secret into patterns. They touch or overlap, so that together
// they hide all of it.
func (s *Secrets) add(secret []byte) {
	if len(secret) < MinSecret {
		return
	}
	last := max(0, len(secret)-maxPattern)
	for i := 0; i < last; i += maxPattern {
		s.patterns = append(s.patterns, secret[i:i+maxPattern])
	}
	s.patterns = append(s.patterns, secret[last:])
}

// longestPrefix returns the longest pattern that text starts with, or -1. The
// pattern at index i is the last one, in order, that can be such a prefix.
func (s *Secrets) longestPrefix(text []byte, i int) int {
	if i < 0 {
		return -1
	}
	common := commonPrefix(text, s.patterns[i])
	for i >= 0 && len(s.patterns[i]) > common {
		i = int(s.prefix[i])
	}
	return i
}

// commonPrefix returns how many bytes a and b have in common at their start.
func commonPrefix(a, b []byte) int {
	shorter, n := min(len(a), len(b)), 0
	if bytes.Equal(a[:shorter], b[:shorter]) {
		return shorter
	}
	for a[n] == b[n] {
		n++
	}
	return n
}

// match returns the length of the longest pattern at position i of the text, or 0.
func (s *Secrets) match(w *window, i int) int {
	if !s.starts.has(w.text[i:]) {
		return 0
	}
	start := w.from(i)
	// Every prefix of start sorts before it, and the patterns between the two have
	// the same prefix.
	i = s.longestPrefix(start, s.after(start)-1)
	if i < 0 {
		return 0
	}
	return len(s.patterns[i])
}

// begins reports whether a longer pattern starts with text.
func (s *Secrets) begins(text string) bool {
	if len(text) >= maxPattern || !s.starts.has(text) {
		return false
	}
	start := appendLower(nil, text)
	i := s.after(start)
	return i < len(s.patterns) && bytes.HasPrefix(s.patterns[i], start)
}

// after returns the index of the first pattern that sorts after text.
func (s *Secrets) after(text []byte) int {
	return sort.Search(len(s.patterns), func(i int) bool { return bytes.Compare(s.patterns[i], text) > 0 })
}

// window is a part of a text in lower case.
type window struct {
	text  string
	start int
	lower []byte
	room  [16 * maxPattern]byte
}

// from returns maxPattern bytes of the text from i on, or less at its end.
func (w *window) from(i int) []byte {
	end := min(len(w.text), i+maxPattern)
	if i < w.start || end > w.start+len(w.lower) {
		w.start = i
		w.lower = appendLower(w.room[:0], w.text[i:min(len(w.text), i+len(w.room))])
	}
	return w.lower[i-w.start : end-w.start]
}

// filter tells quickly that no pattern starts as a text does. It has a bit for
// each hash of the first MinSecret bytes.
type filter [1 << (filterBits - 6)]uint64

const filterBits = 15

// hash ignores the case of letters, and confuses some other characters.
func hash(s string) uint32 {
	first := uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
	return (first | 0x20202020) * 0x9E3779B1 >> (32 - filterBits)
}

func (f *filter) add(pattern string) {
	h := hash(pattern)
	f[h/64] |= 1 << (h % 64)
}

func (f *filter) has(text string) bool {
	if len(text) < MinSecret {
		return false
	}
	h := hash(text)
	return f[h/64]>>(h%64)&1 != 0
}

// appendLower appends s with its ASCII letters in lower case. Unlike
// strings.ToLower, it keeps the length.
func appendLower(b []byte, s string) []byte {
	n := len(b)
	b = append(b, s...)
	for i, c := range b[n:] {
		if 'A' <= c && c <= 'Z' {
			b[n+i] = c + 'a' - 'A'
		}
	}
	return b
}
