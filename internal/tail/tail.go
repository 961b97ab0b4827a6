// Package tail keeps the end of the output of a process.
package tail

import (
	"strings"
	"sync"
)

const maxBytes = 16 << 10

// Buffer keeps the last 16 KiB. It is safe for concurrent use.
type Buffer struct {
	mu   sync.Mutex
	text []byte
}

// Write never fails.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p...)
	b.text = b.text[max(0, len(b.text)-maxBytes):]
	return len(p), nil
}

// String omits surrounding white space.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.TrimSpace(string(b.text))
}
