// Package tail keeps the end of what a process writes.
package tail

import (
	"strings"
	"sync"
)

// most is how many bytes are kept.
const most = 16 << 10

// Buffer is a writer that keeps the last 16 KiB. The zero value is empty and
// ready. Safe for concurrent use.
type Buffer struct {
	mu   sync.Mutex
	text []byte
}

// Write implements [io.Writer]. It never fails.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p...)
	b.text = b.text[max(0, len(b.text)-most):]
	return len(p), nil
}

// String returns what is kept, without white space around it.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.TrimSpace(string(b.text))
}
