package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// Exit statuses.
const (
	StatusOK      = 0
	StatusFailure = 1
	StatusUsage   = 2 // nothing was done
)

// UsageError reports an invalid command line or environment.
type UsageError struct{ err error }

func (e *UsageError) Error() string { return e.err.Error() }
func (e *UsageError) Unwrap() error { return e.err }

// Usagef returns a [*UsageError].
func Usagef(format string, args ...any) error {
	return &UsageError{fmt.Errorf(format, args...)}
}

// Report writes err to w, unless it is nil or [flag.ErrHelp], and returns the exit status.
func Report(w io.Writer, program string, err error) int {
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return StatusOK
	}
	PrintLine(w, program+": "+err.Error())
	var usage *UsageError
	if errors.As(err, &usage) {
		return StatusUsage
	}
	return StatusFailure
}

// PrintLine writes untrusted text as one line without terminal controls.
func PrintLine(w io.Writer, text string) {
	text = strings.ReplaceAll(strings.TrimSpace(text), "\n", "; ")
	text = strings.Map(func(r rune) rune {
		if IsTerminalControl(r) {
			return ' '
		}
		return r
	}, text)
	_, _ = fmt.Fprintln(w, text)
}

// IsTerminalControl reports whether a terminal may obey r.
func IsTerminalControl(r rune) bool {
	return unicode.Is(unicode.Bidi_Control, r) || unicode.IsControl(r)
}
