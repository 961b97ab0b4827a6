package chargetest

import (
	"flag"
	"fmt"
	"io"
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

	mu     sync.Mutex
	told   notes
	failed bool
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
func (t *fuzzTest) Logf(format string, args ...any) { t.tell(false, format, args...) }

// Errorf implements [Tester].
func (t *fuzzTest) Errorf(format string, args ...any) {
	if onGoroutineOf("testing.tRunner") && inFuzzWorker() {
		// What a worker writes is not shown, except for what fails the input. Package
		// testing recovers the panic for that.
		panic(callSite() + fmt.Sprintf(format, args...))
	}
	t.tell(true, format, args...)
}

func (t *fuzzTest) tell(failed bool, format string, args ...any) {
	t.mu.Lock()
	t.told.add(format, args...)
	t.failed = t.failed || failed
	t.mu.Unlock()
	if onGoroutineOf("testing.fRunner") {
		t.flush()
	}
}

// flush tells the *testing.F all of it, on the goroutine that it runs on.
func (t *fuzzTest) flush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.told.flush(t.f.Output())
	if t.failed {
		t.f.Fail()
	}
}

// inFuzzWorker says that the go command's fuzzing started this process.
func inFuzzWorker() bool {
	f := flag.Lookup("test.fuzzworker")
	return f != nil && f.Value.String() == "true"
}

// notes are what a test was told, to be written later: the first of them.
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
		_, _ = fmt.Fprintf(w, "chargetest: %d more, see Server.Requests\n", n.more)
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
		switch {
		case strings.HasPrefix(frame.Function, here) && more:
			continue
		case strings.HasPrefix(frame.Function, "net/http."), strings.HasPrefix(frame.Function, "testing."), !more:
			return ""
		}
		return fmt.Sprintf("%s:%d: ", filepath.Base(frame.File), frame.Line)
	}
}
