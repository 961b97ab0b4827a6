package logtext

import (
	"bytes"
	"slices"
	"sort"
)

const (
	// MinSecret is the minimum length of a secret. Shorter texts occur in words.
	MinSecret = 4

	maxPattern = 64
)

// Secrets is a set of texts to redact. The zero value is empty.
type Secrets struct {
	// patterns are sorted, in lower case, and of MinSecret to maxPattern bytes.
	patterns [][]byte

	// prefix is the index of the longest prefix among the patterns, or -1.
	prefix []int32

	starts filter
}

// NewSecrets ignores secrets shorter than MinSecret.
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

// add splits a long secret into adjacent or overlapping patterns.
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

// longestPrefix returns the index, up to i, of the longest pattern that text starts
// with, or -1.
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

func (s *Secrets) match(w *window, i int) int {
	if !s.starts.has(w.text[i:]) {
		return 0
	}
	start := w.at(i)
	// Prefixes of start sort before it. All patterns in between have the same prefix.
	i = s.longestPrefix(start, s.firstAfter(start)-1)
	if i < 0 {
		return 0
	}
	return len(s.patterns[i])
}

func (s *Secrets) startsLonger(text string) bool {
	if len(text) >= maxPattern || !s.starts.has(text) {
		return false
	}
	start := appendLower(nil, text)
	i := s.firstAfter(start)
	return i < len(s.patterns) && bytes.HasPrefix(s.patterns[i], start)
}

func (s *Secrets) firstAfter(text []byte) int {
	return sort.Search(len(s.patterns), func(i int) bool { return bytes.Compare(s.patterns[i], text) > 0 })
}

type window struct {
	text  string
	start int
	lower []byte
	buf   [16 * maxPattern]byte
}

func (w *window) at(i int) []byte {
	end := min(len(w.text), i+maxPattern)
	if i < w.start || end > w.start+len(w.lower) {
		w.start = i
		w.lower = appendLower(w.buf[:0], w.text[i:min(len(w.text), i+len(w.buf))])
	}
	return w.lower[i-w.start : end-w.start]
}

// filter excludes most texts that no pattern matches.
type filter [1 << (filterBits - 6)]uint64

const filterBits = 15

// hash ignores case.
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
