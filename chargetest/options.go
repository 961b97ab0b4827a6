package chargetest

import (
	"math/rand/v2"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

// TB is the part of testing.TB that a [Server] uses.
type TB interface {
	Helper()
	Cleanup(func())
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
}

// Store holds the events of a [Server].
type Store interface {
	chargeingest.EventStore
	chargeingest.EventReader
}

// Options configures a [Server]. The zero value selects the defaults.
type Options struct {
	// Configure, if set, changes the configuration of each new handler. The server overrides
	// Store, Now and RequestID.
	Configure func(*chargeingest.Config)

	// NewStore returns an empty store for New and Reset, which the server closes if it is an
	// io.Closer. Default: a memstore with reproducible ids.
	NewStore func() Store

	// KeepEvents makes Reset fail and do nothing.
	KeepEvents bool

	// APIKey defaults to a constant.
	APIKey string

	// Keys are valid in addition to [Server.APIKey].
	Keys []chargeingest.Key

	// Quirks and Catalogue apply initially and after Reset.
	Quirks    Quirks
	Catalogue Catalogue

	// MaxRequests limits the requests that the server keeps, and their memory to about 64 MiB.
	// Default: no limit; the inspector keeps 10,000.
	MaxRequests int

	// StartTime is that of the clock. Default: 2026-01-01T00:00:00Z.
	StartTime time.Time

	// RunningClock makes the clock advance with time.Now.
	RunningClock bool

	// RealTime makes the clock show time.Now plus what Advance added.
	RealTime bool

	// WaitTimeout limits the Wait methods. Default: one minute; one hour in a synctest bubble.
	WaitTimeout time.Duration
}

const defaultKey = "chargetest-api-key"

func (o Options) withDefaults() Options {
	if o.NewStore == nil {
		o.NewStore = func() Store { return memstore.NewWith(memstore.Options{Entropy: rand.NewChaCha8([32]byte{1})}) }
	}
	if o.StartTime.IsZero() {
		o.StartTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if o.APIKey == "" {
		o.APIKey = defaultKey
	}
	return o
}
