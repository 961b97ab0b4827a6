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
	StatusUsage   = 2 // the command line or the environment is invalid; nothing was done
)

// UsageError reports an invalid command line or environment.
type UsageError struct{ err error }

func (e *UsageError) Error() string { return e.err.Error() }
func (e *UsageError) Unwrap() error { return e.err }

// Usagef returns a [*UsageError].
func Usagef(format string, args ...any) error {
	return &UsageError{fmt.Errorf(format, args...)}
}

// Report writes err to w as a line that starts with the name of the program, and
// returns the exit status. It writes nothing for nil and [flag.ErrHelp].
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

// PrintLine writes text, which may come from a file or a server, as one line that
// is safe on a terminal. It ignores write errors.
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

// IsTerminalControl reports whether a terminal may obey r instead of showing it:
// control characters (C0, DEL, C1) and characters that change the text direction.
func IsTerminalControl(r rune) bool {
	return unicode.Is(unicode.Bidi_Control, r) || unicode.IsControl(r)
}
