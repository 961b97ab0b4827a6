package chargetest

import (
	"reflect"
	"sync"
)

// audiences are the tests that a server speaks to. One that has ended must not
// be spoken to: package testing panics then.
type audiences struct {
	mu    sync.Mutex
	ended map[Tester]chan struct{} // closed when the test has ended
}

// attend returns a channel that is closed when the test ends.
func (a *audiences) attend(t Tester) <-chan struct{} {
	if !reflect.TypeOf(t).Comparable() {
		return nil // it cannot be told from others, and is taken to go on
	}
	a.mu.Lock()
	ended, known := a.ended[t]
	if !known {
		if a.ended == nil {
			a.ended = make(map[Tester]chan struct{})
		}
		ended = make(chan struct{})
		a.ended[t] = ended
	}
	a.mu.Unlock()
	if !known {
		t.Cleanup(func() { a.end(t) })
	}
	return ended
}

// end says that a test is over.
func (a *audiences) end(t Tester) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended == nil {
		a.ended = make(map[Tester]chan struct{})
	}
	if !reflect.TypeOf(t).Comparable() {
		return
	}
	ended, known := a.ended[t]
	if !known {
		ended = make(chan struct{})
		a.ended[t] = ended
	}
	select {
	case <-ended:
	default:
		close(ended)
	}
}

// report tells a test something, unless it has ended. It does not end meanwhile.
func (a *audiences) report(t Tester, tell func(Tester)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if reflect.TypeOf(t).Comparable() {
		select {
		case <-a.ended[t]: // never, where nobody waits for its end
			return
		default:
		}
	}
	t.Helper()
	tell(t)
}
