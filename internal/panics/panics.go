// Package panics turns panics of host code into errors that name the functions.
package panics

import (
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
)

const (
	maxValue = 1 << 10
	maxStack = 4 << 10
)

// stack lists functions without file paths, which would reveal the build machine.
func stack() string {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	var b strings.Builder
	for {
		f, more := frames.Next()
		fmt.Fprintf(&b, " < %s:%d", f.Function, f.Line)
		if !more {
			return cut(b.String(), maxStack)
		}
	}
}

// Error is a panic that was recovered.
type Error struct {
	Value string
	Where string // the functions, innermost first
}

// Error implements [error].
func (e Error) Error() string { return "panic: " + e.Value + e.Where }

// RecoverTo turns a panic into an [Error] when deferred. It cuts the value to 1 KiB.
func RecoverTo(err *error) {
	if v := recover(); v != nil {
		*err = Error{cut(text(v), maxValue), stack()}
	}
}

// Catch calls f and turns a panic into an [Error], except http.ErrAbortHandler.
func Catch(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			if abort, ok := v.(error); ok && errors.Is(abort, http.ErrAbortHandler) {
				panic(v)
			}
			err = Error{text(v), stack()}
		}
	}()
	return f()
}

// Ignore drops the panics that Catch catches.
func Ignore(f func()) {
	_ = Catch(func() error {
		f()
		return nil
	})
}

// text formats a panic value, whose methods can panic too.
func text(v any) (s string) {
	defer func() {
		if recover() != nil {
			s = fmt.Sprintf("a %T, whose text panics", v)
		}
	}()
	return fmt.Sprint(v)
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
