package chargetest

import (
	"fmt"
	"os"
	"sync"
)

// Main is a [TB] for TestMain, which has no testing.TB. The zero value is ready to use.
//
// It writes failures to standard error, with the file and line of the call. If the tests
// fail, it also writes the first 100 lines of the log.
type Main struct {
	mu       sync.Mutex
	failed   bool
	logged   messages
	cleanups []func()
}

// Run runs the tests of a *testing.M, closes the servers and returns the exit status: that
// of the tests, or 1 if they pass but Main has failed.
func (m *Main) Run(tests interface{ Run() int }) int {
	status := tests.Run()
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

// Helper does nothing.
func (*Main) Helper() {}

// Cleanup makes Run call f after the tests.
func (m *Main) Cleanup(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cleanups = append(m.cleanups, f)
}

// Logf keeps a line of the log.
func (m *Main) Logf(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.logged.add(format, args...)
}

// Errorf writes a failure and makes Run fail.
func (m *Main) Errorf(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failed = true
	fmt.Fprintln(os.Stderr, callSite()+fmt.Sprintf(format, args...))
}
