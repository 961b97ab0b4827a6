package chargetest

import (
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
)

type testTracker struct {
	mu sync.Mutex

	ended TB // the server's own test

	// A *testing.B is reused.
	endings map[TB]chan struct{}
}

func (r *testTracker) ending(t TB) <-chan struct{} {
	if !reflect.TypeOf(t).Comparable() {
		return nil // never ends
	}
	r.mu.Lock()
	ending, known := r.endings[t]
	if !known {
		if r.endings == nil {
			r.endings = make(map[TB]chan struct{})
		}
		ending = make(chan struct{})
		r.endings[t] = ending
	}
	r.mu.Unlock()
	if !known {
		t.Cleanup(func() { r.end(t) })
	}
	return ending
}

func (r *testTracker) end(t TB) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ending, known := r.endings[t]; known {
		close(ending)
		delete(r.endings, t)
	}
}

func (r *testTracker) close(t TB) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = t
}

// report keeps tracked tests from ending.
func (r *testTracker) report(t TB, report func(TB)) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if reflect.TypeOf(t).Comparable() && t == r.ended {
		return
	}
	defer func() {
		// Package testing panics if t has ended.
		if v := recover(); v != nil && !strings.HasPrefix(panicFrame().Function, "testing.") {
			panic(v)
		}
	}()
	report(t)
}

func panicFrame() runtime.Frame {
	callers := make([]uintptr, 16)
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers)])
	for {
		frame, more := frames.Next()
		if !strings.HasPrefix(frame.Function, "runtime.") || !more {
			return frame
		}
	}
}

func (s *Server) report(t TB, format string, args ...any) {
	t.Helper()
	s.tests.report(t, func(t TB) {
		t.Helper()
		t.Errorf("chargetest: "+format, args...)
	})
}

func (s *Server) errorf(format string, args ...any) {
	s.t.Helper()
	s.report(s.t, format, args...)
}

const maxShown = 50

func (s *Server) reportWithState(t TB, matchers []EventMatcher, format string, args ...any) {
	t.Helper()
	s.report(t, "%s", s.withState(matchers, format, args...))
}

func (s *Server) withState(matchers []EventMatcher, format string, args ...any) string {
	var b strings.Builder
	fmt.Fprintf(&b, format+"\n", args...)
	for _, m := range matchers {
		writeLast(&b, s.missingHints(m), maxShown)
	}
	stored := new(search)
	err := s.refresh(stored)
	return b.String() + s.dump(stored, err, maxShown)
}

func (s *Server) logLine(line string) {
	s.t.Helper()
	s.tests.report(s.t, func(t TB) {
		t.Helper()
		t.Logf("chargetest: %s", line)
	})
}

type logWriter struct{ *Server }

func (w logWriter) Write(p []byte) (int, error) {
	w.logLine(strings.TrimSpace(string(p)))
	return len(p), nil
}

// On another goroutine, FailNow would end that one, and the test could wait forever.
func failNow(t TB) {
	test, ok := t.(interface{ FailNow() })
	if ok && onGoroutineOf("testing.tRunner", "testing.fRunner", "testing.(*B).runN") {
		test.FailNow()
	}
}

func onGoroutineOf(functions ...string) bool {
	callers := make([]uintptr, 256)
	frames := runtime.CallersFrames(callers[:runtime.Callers(0, callers)])
	for {
		frame, more := frames.Next()
		if slices.Contains(functions, frame.Function) {
			return true
		}
		if !more {
			return false
		}
	}
}
