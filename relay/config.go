package relay

import (
	"log/slog"
	"time"

	"example.com/chargeingest"
)

// Config configures a Relay. Name, Source, Journal and Sink are required.
type Config struct {
	// Name identifies the destination in the journal: 1 to 256 characters. Delivery to another
	// name begins again at Start.
	Name string

	// Source has the events. It must keep the last delivered event of each platform.
	Source chargeingest.EventReader

	// Journal is usually the same store.
	Journal Journal

	Sink Sink

	// Platforms to deliver. Default: all platforms of Source, which then must implement
	// PlatformLister.
	Platforms []string

	// Start is where delivery begins if the journal does not know the destination.
	Start Start

	// BatchSize limits the events of a Send. Default: 50.
	BatchSize int

	// BatchBytes limits the contents of a Send with more than one event. Default: 3 MiB.
	BatchBytes int

	// Concurrency limits the platforms that are delivered at the same time. Default: 8.
	Concurrency int

	Schedule Schedule

	// PollInterval is the time between looks for new events. Default: one second.
	// [Relay.Notify] looks at once.
	PollInterval time.Duration

	// LeaseTime is how long another process waits before it takes over from a killed one.
	// Default: six seconds.
	LeaseTime time.Duration

	// Clock gives the times of attempts. Default: time.Now.
	Clock func() time.Time

	// Logger receives one line per minute while the destination is down. Default:
	// slog.Default().
	Logger *slog.Logger

	// Observer, if set, is called after each Send by the goroutine of the platform.
	Observer func(Observation)
}

// Start is where delivery begins. The zero value is the oldest event.
type Start struct {
	now      bool
	position string
}

// FromNow is after the last stored event. Platforms without events begin at their first.
func FromNow() Start { return Start{now: true} }

// FromPosition is after a cursor of an ascending listing. Config.Platforms must have exactly
// one platform.
func FromPosition(cursor string) Start { return Start{position: cursor} }

// Schedule is when deferred events, and a destination that is down, are tried again: after Min,
// then twice that time and so on up to Max, each shortened by up to half at random.
type Schedule struct {
	Min time.Duration // default: one second
	Max time.Duration // default: ten minutes

	// MaxAge is the time from its first attempt until an event becomes a dead letter. Default:
	// 72 hours.
	MaxAge time.Duration
}

// Observation describes a Send.
type Observation struct {
	Stream

	Duration time.Duration
	Err      error // of the sink

	// Numbers of events by outcome.
	Unsent, Delivered, Repeated, Deferred, Rejected int

	// Retry reports whether the events had been parked.
	Retry bool
}
