package main

import (
	"log/slog"
	"sync"

	"github.com/coreos/go-systemd/v22/daemon"
)

// serviceManager tells systemd the state of a service with Type=notify or notify-reload.
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

// reload calls f. Before the start is complete, and during the shutdown, systemd is not told.
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
