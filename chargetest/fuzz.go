package chargetest

import (
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
)

type fuzzTB struct {
	TB
	f fuzzer

	mu               sync.Mutex
	logged, failures messages
}

type fuzzer interface {
	Fuzz(ff any)
	Fail()
	Failed() bool
	Output() io.Writer
}

func concurrentTB(t TB) TB {
	if t == nil {
		panic("chargetest: New needs a test: pass a *chargetest.Main in TestMain")
	}
	f, ok := t.(fuzzer)
	if !ok {
		return t
	}
	if onGoroutineOf("testing.tRunner") {
		panic("chargetest: the function passed to f.Fuzz must use its own *testing.T, not the *testing.F")
	}
	buffered := &fuzzTB{TB: t, f: f}
	t.Cleanup(buffered.flush)
	return buffered
}

func (*fuzzTB) Helper() {}

func (t *fuzzTB) Logf(format string, args ...any) { t.add(&t.logged, format, args...) }

func (t *fuzzTB) Errorf(format string, args ...any) {
	if inFuzzWorker() && !onGoroutineOf("testing.fRunner") {
		failInput(callSite() + fmt.Sprintf(format, args...))
	}
	t.add(&t.failures, format, args...)
}

// The output of fuzz workers is discarded.
func failInput(message string) {
	if onGoroutineOf("testing.tRunner") {
		panic(message)
	}
	// Package testing records the input, which then shows the message.
	os.Exit(2)
}

func (t *fuzzTB) add(list *messages, format string, args ...any) {
	t.mu.Lock()
	list.add(format, args...)
	t.mu.Unlock()
	if onGoroutineOf("testing.fRunner") {
		t.flush()
	}
}

func (t *fuzzTB) Failed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.failures.lines) > 0 || t.f.Failed()
}

// flush runs on the goroutine of the *testing.F.
func (t *fuzzTB) flush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.failures.lines) > 0 {
		t.f.Fail()
	}
	t.logged.flush(t.f.Output())
	t.failures.flush(t.f.Output())
}

func inFuzzWorker() bool {
	f := flag.Lookup("test.fuzzworker")
	return f != nil && f.Value.String() == "true"
}
