package chargetest

import (
	"reflect"
	"runtime"
	"strings"
	"sync"
)

// audiences are the tests that a server speaks to.
type audiences struct {
	mu sync.Mutex

	// ended is the server's own test once that has ended. It is told nothing more.
	ended TB

	// ends has a channel for each test that has called a Wait method, closed and
	// removed when the test ends: a benchmark begins again after that.
	ends map[TB]chan struct{}
}

// attend returns a channel that is closed when the test ends.
func (a *audiences) attend(t TB) <-chan struct{} {
	if !reflect.TypeOf(t).Comparable() {
		return nil // it cannot be told from others, and is taken to go on
	}
	a.mu.Lock()
	ended, known := a.ends[t]
	if !known {
		if a.ends == nil {
			a.ends = make(map[TB]chan struct{})
		}
		ended = make(chan struct{})
		a.ends[t] = ended
	}
	a.mu.Unlock()
	if !known {
		t.Cleanup(func() { a.end(t) })
	}
	return ended
}

func (a *audiences) end(t TB) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if ended, known := a.ends[t]; known {
		close(ended)
		delete(a.ends, t)
	}
}

// close records that the server's own test is over.
func (a *audiences) close(t TB) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = t
}

// report tells a test something. A test that attends does not end meanwhile.
func (a *audiences) report(t TB, tell func(TB)) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if reflect.TypeOf(t).Comparable() && t == a.ended {
		return
	}
	defer func() {
		// Package testing panics if the test has ended. Before that it has written the
		// message for, and failed, the test around it.
		if v := recover(); v != nil && !strings.HasPrefix(panicFrame().Function, "testing.") {
			panic(v)
		}
	}()
	tell(t)
}

// panicFrame returns where a panic was that the caller, a deferred function,
// recovered.
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
