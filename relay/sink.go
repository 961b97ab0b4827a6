package relay

import (
	"context"
	"time"

	"example.com/chargeingest"
)

// Sink sends events to a destination.
type Sink interface {
	// Send sends events of one platform, in order, and returns a result for each. It is called
	// concurrently for different platforms, and must return soon after ctx has ended. It must
	// not change or keep the slice.
	//
	// A result may be [Delivered] only if the destination has stored the event durably. After
	// any error the same events are sent again, perhaps in other batches and by another
	// process: the destination must recognize an event that it has.
	//
	// An error means that the batch has no results:
	//
	//   - After a [*BatchError] the relay sends smaller batches to find the events that cause it.
	//   - Any other error means that the destination is down. The relay sends nothing else for
	//     the platform, waits, and starts again after the last saved position. If the error has a
	//     method RetryAfter() time.Duration, the relay waits at least that long.
	Send(ctx context.Context, platform string, events []chargeingest.StoredEvent) ([]Result, error)
}

// SinkFunc implements [Sink] with a function.
type SinkFunc func(ctx context.Context, platform string, events []chargeingest.StoredEvent) ([]Result, error)

// Send implements [Sink].
func (f SinkFunc) Send(ctx context.Context, platform string, events []chargeingest.StoredEvent) ([]Result, error) {
	return f(ctx, platform, events)
}

// Outcome is the result of sending an event.
type Outcome int

const (
	// Unsent means that the destination has not decided, for example because it rejected the
	// batch for another event. The event is sent again at once.
	Unsent Outcome = iota
	// Delivered means that the destination has stored the event.
	Delivered
	// Repeated means that the destination had the event already.
	Repeated
	// Deferred means rejected for now. The event is parked and sent again later.
	Deferred
	// Rejected means that the destination will never accept the event, which becomes a dead
	// letter.
	Rejected
)

// Result is the outcome for one event.
type Result struct {
	Outcome Outcome

	// Reason and RetryAfter describe a Deferred or Rejected event. A deferred one is sent again
	// after RetryAfter at the earliest.
	Reason     Reason
	RetryAfter time.Duration
}

// Reason is why an event was not accepted. All fields are optional, and cut to
// 1,000 bytes.
type Reason struct {
	Status  int    `json:"status,omitempty"` // of an HTTP response
	Code    string `json:"code,omitempty"`
	Field   string `json:"field,omitempty"` // of the event, such as value.number
	Message string `json:"message,omitempty"`
}

// BatchError is returned by a [Sink] if the destination rejected the batch as a whole.
type BatchError struct {
	// Permanent means that the batch will never be accepted. Otherwise the relay finds out by
	// sending single events whether the destination is down.
	Permanent bool

	Reason     Reason
	RetryAfter time.Duration
	Err        error // the message if Reason is empty
}
