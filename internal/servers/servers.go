// Package servers keeps a value for each http.Server around a handler.
package servers

import (
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"weak"
)

// Map keeps only the last value, because tests make thousands of servers.
type Map[T any] struct {
	// New returns the value for a server, and a function for its Shutdown.
	New func(*http.Server) (value *T, stop func())

	last atomic.Pointer[entry[T]] // most handlers have one server
	mu   sync.Mutex
	all  map[weak.Pointer[http.Server]]weak.Pointer[entry[T]]
}

type entry[T any] struct {
	server *http.Server
	value  *T
	stop   func()
}

func (e *entry[T]) onShutdown() { e.stop() }

// Of returns nil if r has no server.
func (m *Map[T]) Of(r *http.Request) *T {
	key, _ := r.Context().Value(http.ServerContextKey).(*http.Server)
	if key == nil {
		return nil
	}
	if last := m.last.Load(); last != nil && last.server == key {
		return last.value
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	weakKey := weak.Make(key)
	found := m.all[weakKey].Value()
	if found == nil {
		if m.all == nil {
			m.all = make(map[weak.Pointer[http.Server]]weak.Pointer[entry[T]])
		}
		maps.DeleteFunc(m.all, func(_ weak.Pointer[http.Server], known weak.Pointer[entry[T]]) bool { return known.Value() == nil })
		found = &entry[T]{server: key}
		found.value, found.stop = m.New(key)
		m.all[weakKey] = weak.Make(found)
		key.RegisterOnShutdown(found.onShutdown) // keeps found as long as its http.Server
	}
	m.last.Store(found)
	return found.value
}
