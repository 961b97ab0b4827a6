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

// Journal records what was delivered. The bundled stores implement it next to the events,
// with the same durability.
//
// Each method is one transaction and is called concurrently. An error that is not one of
// those below means that the call may or may not have had an effect. Calling again is safe.
type Journal interface {
	// Lease gives the stream to a holder until a time, or extends its lease, and returns the
	// state. It creates a stream that does not exist. A TTL of zero ends the lease.
	//
	// Only one holder has a lease that has not ended. The token of a lease is greater than
	// all earlier ones of the stream; an extension keeps it. The time is the journal's own.
	//
	// The error is ErrLeaseHeld if another holder has the stream, and ErrRetired if the
	// destination was retired.
	Lease(ctx context.Context, s Stream, r LeaseRequest) (State, error)

	// Save records progress, all of it or nothing. The error is ErrLeaseLost, and nothing is
	// saved, unless p.Token is the token of the last lease of the stream.
	Save(ctx context.Context, s Stream, p Progress) error

	// Due returns up to limit parked entries whose NextAttempt is not after now, the one
	// that has waited longest first, and the time of the next attempt after those, or zero.
	// The History of the entries may be missing.
	Due(ctx context.Context, s Stream, now time.Time, limit int) (due []Entry, next time.Time, err error)
}

// Ledger is what operators see and change in a Journal. The bundled stores implement it.
//
// All methods are called concurrently. Each change is one transaction.
type Ledger interface {
	// Status returns the status of each stream of a platform, or of all platforms if the
	// platform is empty, ordered by destination and platform.
	Status(ctx context.Context, platform string) ([]Status, error)

	// Entries returns a page of entries in the order in which they were first parked or
	// rejected. If q.EventID is set, it returns exactly one entry: for an event that was
	// never parked or rejected, one without attempts in the state Pending or DeliveredState.
	//
	// The error is chargeingest.ErrNotFound if the stream does not exist, or the platform has
	// no event q.EventID, and chargeingest.ErrInvalidCursor for a wrong q.After.
	Entries(ctx context.Context, q EntryQuery) (EntryPage, error)

	// Resolve changes entries, records who did it, and returns their number. The error is
	// chargeingest.ErrNotFound without the stream, and ErrRetired for Retry of a retired one.
	Resolve(ctx context.Context, r Resolution) (int64, error)
}

// PlatformLister is implemented by stores that list their platforms.
type PlatformLister interface {
	// Platforms returns up to limit platforms with events, after the given one, in
	// ascending order of their bytes.
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
	Holder string // unique per Relay
	TTL    time.Duration

	// Position is the position of a stream that does not exist yet. Empty is the beginning.
	Position string
}

// State is the state of a stream.
type State struct {
	Token int64

	// Position is a cursor of ascending listings: all events up to it are delivered or have
	// an entry. It is empty at the beginning.
	Position string

	// LastEventID is the event at the position. It is empty at the beginning.
	LastEventID string
}

// Progress is what changes in a stream. Zero fields change nothing.
type Progress struct {
	Token int64

	Position    string
	LastEventID string

	// Entries are added to the stream, or to the history of its entries.
	Entries []EntryChange

	// Delivered and Repeated are added to the totals of the stream.
	Delivered, Repeated int64

	// Failure, unless nil, is why the destination is down, or empty once it is up again.
	Failure *string
}

// EntryChange is an attempt to deliver an event that was not delivered at first.
type EntryChange struct {
	EventID string

	// State is Parked, Dead or DeliveredState. A skipped entry changes only if it was
	// delivered.
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
	// Dead events are not sent again until an operator decides. They are dead letters.
	Dead EntryState = "dead"
	// Skipped events are dead letters that an operator has given up.
	Skipped EntryState = "skipped"
	// DeliveredState is the state of delivered events.
	DeliveredState EntryState = "delivered"
)

// Entry is an event that was not delivered at the first attempt.
type Entry struct {
	EventID     string     `json:"event_id"`
	State       EntryState `json:"state"`
	Attempts    int        `json:"attempts"`
	Since       time.Time  `json:"since,omitzero"` // first attempt, or an operator's last retry
	NextAttempt time.Time  `json:"next_attempt,omitzero"`

	// Reason is that of the last attempt that failed.
	Reason Reason `json:"reason"`

	// History has the first attempt and the last 49 attempts and decisions, oldest first.
	History []Attempt `json:"history,omitempty"`
}

// Attempt is an attempt to deliver an event, or a decision of an operator.
type Attempt struct {
	At time.Time `json:"at"`

	// Outcome is delivered, repeated, deferred, rejected, or expired (deferred for longer
	// than Schedule.MaxAge); or retry or skip, by an operator.
	Outcome string `json:"outcome"`

	Reason Reason `json:"reason,omitzero"`
	By     string `json:"by,omitempty"` // the operator
}

// Status describes a stream.
type Status struct {
	Stream

	Position    string `json:"position"`
	LastEventID string `json:"last_event_id"`

	// Lag is the number of events after the position, and OldestPending the time of receipt
	// of the first of them, zero without any. Both are unknown, -1 and zero, if the events
	// are in another store.
	Lag           int64     `json:"lag"`
	OldestPending time.Time `json:"oldest_pending,omitzero"`

	Parked  int64 `json:"parked"`
	Dead    int64 `json:"dead"`
	Skipped int64 `json:"skipped"`

	// Totals since the stream exists. Repeated events are not counted as delivered.
	Delivered int64 `json:"delivered"`
	Repeated  int64 `json:"repeated"`

	SavedAt time.Time `json:"saved_at,omitzero"` // of the last Save

	// Failure is why the destination is down, since FailingSince. It is empty if it is up.
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

	// EventIDs, unless empty, are the events to change. Otherwise all entries of the
	// stream are changed that have the State and, unless it is empty, the Code.
	EventIDs []string
	State    EntryState // Parked or Dead, for Skip and Retry; Skipped for Retry
	Code     string

	By string // required
	At time.Time
}

// Action is what an operator decides.
type Action string

const (
	// Retry sends parked, dead and skipped events again at once. Their age starts again.
	Retry Action = "retry"
	// Skip gives up parked and dead events.
	Skip Action = "skip"
	// Retire ends the stream, so that Prune no longer keeps its undelivered events. Neither
	// EventIDs nor State are set.
	Retire Action = "retire"
)
