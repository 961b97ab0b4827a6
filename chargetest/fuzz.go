package chargetest

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
)

// fuzzTest keeps logs and failures for a *testing.F until it can accept them. While
// the fuzz function runs, the methods of a *testing.F panic on any goroutine.
type fuzzTest struct {
	TB
	f fuzzer

	mu               sync.Mutex
	logged, failures notes
}

// fuzzer has Fuzz, by which a *testing.F is recognized, and the methods that are
// called.
type fuzzer interface {
	Fuzz(ff any)
	Fail()
	Output() io.Writer
}

// heard returns a TB whose Logf and Errorf any goroutine may call at any time.
func heard(t TB) TB {
	if t == nil {
		panic("chargetest: a server needs a test: in TestMain, which has none, a *chargetest.Main")
	}
	f, ok := t.(fuzzer)
	if !ok {
		return t
	}
	if onGoroutineOf("testing.tRunner") {
		panic("chargetest: a fuzz function must pass its own *testing.T, not the *testing.F")
	}
	later := &fuzzTest{TB: t, f: f}
	t.Cleanup(later.flush)
	return later
}

// Helper implements [TB].
func (*fuzzTest) Helper() {}

// Logf implements [TB].
func (t *fuzzTest) Logf(format string, args ...any) { t.tell(&t.logged, format, args...) }

// Errorf implements [TB].
func (t *fuzzTest) Errorf(format string, args ...any) {
	if inFuzzWorker() && !onGoroutineOf("testing.fRunner") {
		failInput(callSite() + fmt.Sprintf(format, args...))
	}
	t.tell(&t.failures, format, args...)
}

// failInput fails the input that a worker runs, and does not return. The output
// of workers is discarded, so a failure cannot wait for the end of the test.
func failInput(message string) {
	if onGoroutineOf("testing.tRunner") {
		panic(message) // package testing makes it the failure of the input
	}
	// Package testing records the input of a worker that exits. A run of that input
	// shows the message.
	os.Exit(2)
}

func (t *fuzzTest) tell(list *notes, format string, args ...any) {
	t.mu.Lock()
	list.add(format, args...)
	t.mu.Unlock()
	if onGoroutineOf("testing.fRunner") {
		t.flush()
	}
}

// flush passes everything on. It runs on the goroutine of the *testing.F.
func (t *fuzzTest) flush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.failures.lines) > 0 {
		t.f.Fail()
	}
	t.logged.flush(t.f.Output())
	t.failures.flush(t.f.Output())
}

// inFuzzWorker reports whether go test -fuzz started this process to run inputs.
func inFuzzWorker() bool {
	f := flag.Lookup("test.fuzzworker")
	return f != nil && f.Value.String() == "true"
}

// notes are the first 100 messages to a test, to be written later.
type notes struct {
	lines []string
	more  int
}

func (n *notes) add(format string, args ...any) {
	const most = 100
	if len(n.lines) == most {
		n.more++
		return
	}
	n.lines = append(n.lines, callSite()+fmt.Sprintf(format, args...))
}

func (n *notes) flush(w io.Writer) {
	for _, line := range n.lines {
		_, _ = fmt.Fprintln(w, line)
	}
	if n.more > 0 {
		_, _ = fmt.Fprintf(w, "chargetest: … %d more\n", n.more)
	}
	*n = notes{}
}

// callSite returns the file and line that called this package. It is empty on the
// goroutines of net/http.
func callSite() string {
	here := reflect.TypeFor[Server]().PkgPath() + "."
	callers := make([]uintptr, 64)
	frames := runtime.CallersFrames(callers[:runtime.Callers(1, callers)])
	for {
		frame, more := frames.Next()
		of := func(prefix string) bool { return strings.HasPrefix(frame.Function, prefix) }
		switch {
		case !more, of("net/http."), of("testing."):
			return ""
		case of(here), of("runtime."):
			continue
		}
		return fmt.Sprintf("%s:%d: ", filepath.Base(frame.File), frame.Line)
	}
}
