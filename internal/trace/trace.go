// Package trace says where a panic came from, for the log.
package trace

import (
	"fmt"
	"runtime"
	"strings"
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
			return b.String()
		}
	}
}

// PanicError is a panic that was recovered.
type PanicError struct {
	Value any
	Where string // see Functions
}

// Error implements [error].
func (e PanicError) Error() string { return fmt.Sprintf("panic: %v%s", e.Value, e.Where) }

// RecoverTo turns a panic into a [PanicError], where it is deferred.
func RecoverTo(err *error) {
	if v := recover(); v != nil {
		*err = PanicError{v, Functions()}
	}
}
