// Package trace says where a panic came from, for the log.
package trace

import (
	"fmt"
	"runtime"
	"strings"
)

// maxValue and maxFunctions bound the two parts of a PanicError's text, in bytes:
// a panic value can be as long as what a client sent.
const (
	maxValue     = 1 << 10
	maxFunctions = 4 << 10
)

// Functions lists the functions that led to the caller's caller, innermost
// first, with their lines. It has no paths: those tell where on whose machine
// the program was built.
func Functions() string {
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

// PanicError is a panic that was caught.
type PanicError struct {
	value string
	where string
}

// Error says what was thrown, and where.
func (e PanicError) Error() string { return "panic: " + e.value + e.where }

// RecoverTo turns a panic into a [PanicError], where it is deferred.
func RecoverTo(err *error) {
	if v := recover(); v != nil {
		*err = PanicError{text(v), Functions()}
	}
}

// text returns a panic value as text. The value's own methods may panic again.
func text(v any) (s string) {
	defer func() {
		if recover() != nil {
			s = fmt.Sprintf("a %T, whose text panics", v)
		}
	}()
	return cut(fmt.Sprint(v), maxValue)
}

// cut returns at most the first n bytes of s, and a mark if there were more.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
