// Package trace says where a panic came from, for the log.
package panics

import (
	"fmt"
	"runtime"
	"strings"
)

// maxValue and maxFunctions bound the two parts of a Error's text, in bytes:
// a panic value can be as long as what a client sent.
const (
	maxValue     = 1 << 10
	maxFunctions = 4 << 10
)

// Stack lists the functions that led to the caller's caller, innermost
// first, with their lines. It has no paths: those tell where on whose machine
// the program was built.
func Stack() string {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	var b strings.Builder
	for {
		f, more := frames.Next()
		fmt.Fprintf(&b, " < %s:%d", f.Function, f.Line)
		if !more {
			return cut(b.String(), maxFunctions)
		}
	}
}

// Error is a panic that was recovered.
type Error struct {
	Value string
	Where string // see Stack
}

// FromValue returns the error of a recovered panic, with its whole value.
func FromValue(v any) Error { return Error{text(v), Stack()} }

// Error implements [error].
func (e Error) Error() string { return "panic: " + e.Value + e.Where }

// RecoverTo turns a panic into a [Error] if it is deferred. A long value is cut.
func RecoverTo(err *error) {
	if v := recover(); v != nil {
		*err = Error{cut(text(v), maxValue), Stack()}
	}
}

// text returns a panic value as text. The value's own methods may panic again.
func text(v any) (s string) {
	defer func() {
		if recover() != nil {
			s = fmt.Sprintf("a %T, whose text panics", v)
		}
	}()
	return fmt.Sprint(v)
}

// cut returns at most the first n bytes of s, and a mark if there were more.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
