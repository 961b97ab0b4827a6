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

// fuzzTest is a *testing.F. Its methods may be called neither by the function that
// is fuzzed nor by goroutines that serve meanwhile, so it is told later what they
// have to say.
type fuzzTest struct {
	Tester
	f fuzzer

	mu               sync.Mutex
	logged, failures notes
}

// fuzzer is what only a *testing.F has, and what is needed of it besides.
type fuzzer interface {
	Fuzz(ff any)
	Fail()
	Output() io.Writer
}

// heard returns the test as it can be told something by any goroutine at any time.
func heard(t Tester) Tester {
	if t == nil {
		panic("chargetest: a server needs a test: in TestMain, which has none, a *chargetest.Main")
	}
	f, ok := t.(fuzzer)
	if !ok {
		return t
	}
	if onGoroutineOf("testing.tRunner") {
		panic("chargetest: the function that is fuzzed must pass its own *testing.T, not the *testing.F around it")
	}
	later := &fuzzTest{Tester: t, f: f}
	t.Cleanup(later.flush)
	return later
}

// Helper implements [Tester].
func (*fuzzTest) Helper() {}

// Logf implements [Tester].
func (t *fuzzTest) Logf(format string, args ...any) { t.tell(&t.logged, format, args...) }

// Errorf implements [Tester].
func (t *fuzzTest) Errorf(format string, args ...any) {
	if inFuzzWorker() && !onGoroutineOf("testing.fRunner") {
		failInput(callSite() + fmt.Sprintf(format, args...))
	}
	t.tell(&t.failures, format, args...)
}

// failInput fails the input that a worker runs, and does not return. What workers
// write is not shown, so a failure must not wait for the end of the test.
func failInput(message string) {
	if onGoroutineOf("testing.tRunner") {
		panic(message) // package testing makes it the failure of the input
	}
	// Package testing blames the input for the end of the worker, and keeps it: when it
	// is run again, by itself, the message is shown.
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

// flush tells the *testing.F all of it, on the goroutine that it runs on.
func (t *fuzzTest) flush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.failures.lines) > 0 {
		t.f.Fail()
	}
	t.logged.flush(t.f.Output())
	t.failures.flush(t.f.Output())
}

// inFuzzWorker says that the go command's fuzzing started this process.
func inFuzzWorker() bool {
	f := flag.Lookup("test.fuzzworker")
	return f != nil && f.Value.String() == "true"
}

// notes are what a test was told, to be written later: the first 100 of them.
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

// callSite returns the file and line of the test that called this package, for
// those who write no such thing themselves. It is empty for what a server says by
// itself.
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
