package relay

import (
	"context"
	"errors"
	"time"
)

// Stream is the delivery of one platform's events to one destination.
type Stream struct {
	Destination string `json:"destination"`
	Platform    string `json:"platform"`
}

// Journal records what was delivered. The bundled stores implement it, as durable as their
// events.
//
// Each method is one transaction and is called concurrently. After an error other than those
// below, the call may have had an effect; it is safe to repeat it.
type Journal interface {
	// Lease gives the stream to a holder, or extends its lease, and returns the state. It
	// creates a missing stream. A TTL of zero ends the lease.
	//
	// Only one holder has a lease that has not ended, by the journal's clock. A new lease has a
	// greater token than all earlier ones of the stream; an extension keeps it.
	//
	// Errors: ErrLeaseHeld if another holder has the stream, ErrRetired if the destination was
	// retired.
	Lease(ctx context.Context, s Stream, r LeaseRequest) (State, error)

	// Save records all of the progress or nothing. Unless p.Token is the token of the stream's
	// last lease, it saves nothing and returns ErrLeaseLost.
	Save(ctx context.Context, s Stream, p Progress) error

	// Due returns up to limit parked entries whose NextAttempt is not after now, earliest
	// first, and the next attempt after those, or zero. Entries may lack their History.
	Due(ctx context.Context, s Stream, now time.Time, limit int) (due []Entry, next time.Time, err error)
}

// Ledger is the operators' view of a Journal. The bundled stores implement it.
//
// Methods are called concurrently. Each change is one transaction.
type Ledger interface {
	// Status returns the streams of a platform, or of all if it is empty, ordered by
	// destination and platform, without those that have no platform.
	Status(ctx context.Context, platform string) ([]Status, error)

	// Entries returns a page of entries in the order in which they were created. If q.EventID
	// is set, it returns exactly one: for an event without an entry, one without attempts in
	// the state Pending or DeliveredState.
	//
	// Errors: chargeingest.ErrNotFound if there is no such stream or event, and
	// chargeingest.ErrInvalidCursor for a wrong q.After.
	Entries(ctx context.Context, q EntryQuery) (EntryPage, error)

	// Resolve changes entries, records who did it, and returns how many changed. Without
	// EventIDs it may take several transactions, and an error leaves the first of them.
	//
	// Errors: chargeingest.ErrNotFound if there is no such stream, and ErrRetired for Retry of
	// a retired one.
	Resolve(ctx context.Context, r Resolution) (int64, error)
}

// PlatformLister is a store that lists its platforms.
type PlatformLister interface {
	// Platforms returns up to limit platforms with events, after the given one, in ascending
	// order of bytes.
	Platforms(ctx context.Context, after string, limit int) ([]string, error)
}

// The errors of a Journal.
var (
	ErrLeaseHeld = errors.New("another relay delivers this stream")
	ErrLeaseLost = errors.New("the lease of the stream was lost")
	ErrRetired   = errors.New("the destination was retired")
)

// LeaseRequest asks for the lease of a stream.
type LeaseRequest struct {
	Holder string
	TTL    time.Duration

	// Position is where a new stream starts. Empty is the beginning.
	Position string
}

// State is the state of a stream.
type State struct {
	Token int64

	// Position is a cursor of ascending listings: all events up to it are delivered or have an
	// entry. Empty is the beginning.
	Position string

	// LastEventID is the event at the position, empty at the beginning.
	LastEventID string
}

// Progress is what changes in a stream. Zero fields change nothing.
type Progress struct {
	Token int64

	Position    string
	LastEventID string

	// Entries are added to the stream, or their attempts to existing entries.
	Entries []EntryChange

	// These are added to the totals of the stream.
	Delivered, Repeated int64

	// Failure, if set, is why the destination is down, or empty once it is up again.
	Failure *string
}

// EntryChange is an attempt to deliver an event that was not delivered at the first attempt.
type EntryChange struct {
	EventID string

	// State is Parked, Dead or DeliveredState. Only DeliveredState changes a skipped entry.
	State EntryState

	NextAttempt time.Time // of Parked
	Attempt     Attempt
}

// EntryState is the state of an entry.
type EntryState string

// The states of entries.
const (
	// Pending events are after the position of the stream. They have no stored entry.
	Pending EntryState = "pending"
	// Parked events are sent again at NextAttempt.
	Parked EntryState = "parked"
	// Dead events (dead letters) are not sent again until an operator retries them.
	Dead EntryState = "dead"
	// Skipped events were given up by an operator.
	Skipped EntryState = "skipped"
	// DeliveredState is the state of delivered events.
	DeliveredState EntryState = "delivered"
)

// Entry is an event that was not delivered at the first attempt.
type Entry struct {
	EventID     string     `json:"event_id"`
	State       EntryState `json:"state"`
	Attempts    int        `json:"attempts"`
	Since       time.Time  `json:"since,omitzero"` // of the first attempt, or of the last retry by an operator
	NextAttempt time.Time  `json:"next_attempt,omitzero"`

	// Reason is why the last failed attempt failed.
	Reason Reason `json:"reason"`

	// History has the first attempt and the last 49 attempts and decisions, oldest first.
	History []Attempt `json:"history,omitempty"`
}

// Attempt is an attempt to deliver an event, or a decision of an operator.
type Attempt struct {
	At time.Time `json:"at"`

	// Outcome of an attempt is delivered, repeated, deferred, rejected, or expired (deferred
	// for longer than Schedule.MaxAge). A decision is retry or skip.
	Outcome string `json:"outcome"`

	Reason Reason `json:"reason,omitzero"`
	By     string `json:"by,omitempty"` // the operator
}

// Status describes a stream.
type Status struct {
	Stream

	Position    string `json:"position"`
	LastEventID string `json:"last_event_id"`

	// Lag is the number of events after the position, perhaps an estimate if it is large.
	// OldestPending is when the first of them was received (NewEvent.ReceivedAt), zero without any. If the events
	// are in another store, Lag is -1. Counts of entries may stop at a million.
	Lag           int64     `json:"lag"`
	OldestPending time.Time `json:"oldest_pending,omitzero"`

	Parked  int64 `json:"parked"`
	Dead    int64 `json:"dead"`
	Skipped int64 `json:"skipped"`

	// Totals. Repeated events are not counted as delivered.
	Delivered int64 `json:"delivered"`
	Repeated  int64 `json:"repeated"`

	SavedAt time.Time `json:"saved_at,omitzero"` // of the last Save

	// Failure is why the destination is down, empty if it is up.
	Failure      string    `json:"failure,omitempty"`
	FailingSince time.Time `json:"failing_since,omitzero"`

	RetiredAt time.Time `json:"retired_at,omitzero"`
	RetiredBy string    `json:"retired_by,omitempty"`
}

// EntryQuery selects entries of a stream by its non-empty fields.
type EntryQuery struct {
	Stream

	EventID string
	State   EntryState
	Code    string // of the reason

	After string // EntryPage.Next of an earlier page with the same fields
	Limit int    // at least 1
}

// EntryPage is a page of entries.
type EntryPage struct {
	Entries []Entry `json:"entries"`
	Next    string  `json:"next"` // empty on the last page
}

// Resolution is a decision of an operator.
type Resolution struct {
	Stream

	Action Action

	// EventIDs, unless empty, are the events to change. Otherwise the entries with the State
	// and, if set, the Code are changed.
	EventIDs []string
	State    EntryState // Parked or Dead, for Skip and Retry; Skipped for Retry
	Code     string

	By string
	At time.Time
}

// Action is what an operator decides.
type Action string

const (
	// Retry sends parked, dead and skipped events again at once. Their age starts again.
	Retry Action = "retry"
	// Skip gives up parked and dead events.
	Skip Action = "skip"
	// Retire ends the stream: Prune no longer keeps its undelivered events. EventIDs and State
	// are not set.
	Retire Action = "retire"
)
