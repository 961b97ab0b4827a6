package main

import (
	"log/slog"
	"sync"

	"github.com/coreos/go-systemd/v22/daemon"
)

// serviceManager notifies systemd.
type serviceManager struct {
	logger *slog.Logger

	mu    sync.Mutex
	ready bool
}

func (m *serviceManager) started() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ready = true
	m.send(daemon.SdNotifyReady)
}

// reload calls f, and notifies systemd unless the server is starting or stopping.
func (m *serviceManager) reload(f func()) {
	m.sendIfReady(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
	f()
	m.sendIfReady(daemon.SdNotifyReady)
}

func (m *serviceManager) stopping() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ready = false
	m.send(daemon.SdNotifyStopping)
}

func (m *serviceManager) sendIfReady(state string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ready {
		m.send(state)
	}
}

func (m *serviceManager) send(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		m.logger.Warn("systemd could not be notified", "error", err)
	}
}
