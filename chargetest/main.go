package chargetest

import (
	"fmt"
	"os"
	"sync"
)

// Main is a [TB] for TestMain. It writes to standard error, at most 100 lines of logs and
// only if the tests fail.
type Main struct {
	mu       sync.Mutex
	failed   bool
	logged   messages
	cleanups []func()
}

// Run runs the tests of a *testing.M and returns the exit status.
func (m *Main) Run(tests interface{ Run() int }) int {
	status := tests.Run()
	m.mu.Lock()
	m.failed = m.failed || status != 0
	m.mu.Unlock()
	for f := m.popCleanup(); f != nil; f = m.popCleanup() {
		f()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if status == 0 && m.failed {
		status = 1
	}
	if status != 0 {
		m.logged.flush(os.Stderr)
	}
	return status
}

func (m *Main) hasFailed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failed
}

func (m *Main) popCleanup() func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	last := len(m.cleanups) - 1
	if last < 0 {
		return nil
	}
	f := m.cleanups[last]
	m.cleanups = m.cleanups[:last]
	return f
}

// Helper implements [TB].
func (*Main) Helper() {}

// Cleanup implements [TB].
func (m *Main) Cleanup(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cleanups = append(m.cleanups, f)
}

// Logf implements [TB].
func (m *Main) Logf(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.logged.add(format, args...)
}

// Errorf implements [TB].
func (m *Main) Errorf(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failed = true
	fmt.Fprintln(os.Stderr, callSite()+fmt.Sprintf(format, args...))
}
