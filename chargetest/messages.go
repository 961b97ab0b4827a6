package chargetest

import (
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
)

type messages struct {
	lines   []string
	omitted int
}

func (m *messages) add(format string, args ...any) {
	const maxLines = 100
	if len(m.lines) == maxLines {
		m.omitted++
		return
	}
	m.lines = append(m.lines, callSite()+fmt.Sprintf(format, args...))
}

func (m *messages) flush(w io.Writer) {
	for _, line := range m.lines {
		_, _ = fmt.Fprintln(w, line)
	}
	if m.omitted > 0 {
		_, _ = fmt.Fprintf(w, "chargetest: … %d more\n", m.omitted)
	}
	*m = messages{}
}

// callSite returns the location of the call into this package, or "" on goroutines of
// net/http.
func callSite() string {
	thisPackage := reflect.TypeFor[Server]().PkgPath() + "."
	callers := make([]uintptr, 64)
	frames := runtime.CallersFrames(callers[:runtime.Callers(1, callers)])
	for {
		frame, more := frames.Next()
		in := func(prefix string) bool { return strings.HasPrefix(frame.Function, prefix) }
		switch {
		case !more, in("net/http."), in("testing."):
			return ""
		case in(thisPackage), in("runtime."):
			continue
		}
		return fmt.Sprintf("%s:%d: ", filepath.Base(frame.File), frame.Line)
	}
}
