package chargeingest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"
)

// EventStore stores charge events. [EventReader], [ReadyChecker] and [StatsReporter] are
// optional. Package storekit has the parts that every store needs; package storetest checks
// a store.
type EventStore interface {
	// Append stores all new events of the batch in one transaction, or none, and returns an
	// outcome for each event in the order of b.Events. It is called concurrently.
	//
	// Durability: Append returns without an error only when the store's durability
	// guarantee holds for all events of the result, including replayed ones.
	//
	// Atomicity: duplicates are resolved in the transaction that inserts. Of concurrent
	// calls with the same reference or idempotency key, one stores its events and the
	// others see them.
	//
	// References: an event whose reference is stored with the same content is a replay: its
	// outcome is the stored event. If the content differs, Append returns a
	// [*ConflictError] and stores nothing, or with ReturnOriginal treats the event as a
	// replay. If the stored events are too large to return, the error is
	// ErrResponseTooLarge.
	//
	// Idempotency keys: a batch with a key that is recorded for the same request is a
	// replay as a whole. If the key is recorded for another request, Append returns a
	// *ConflictError. The transaction that stores the events also records the key with the
	// sent and the returned events.
	//
	// Order and ids: the store assigns the id and the position of each new event inside the
	// transaction. Within one process, ids strictly increase in storage order.
	//
	// Isolation: references, keys and ids of one platform are invisible to others.
	//
	// Names: platforms, references, keys and event fields are compared byte by byte. They
	// have up to 256 characters of up to four bytes.
	//
	// Size: the store does not limit batches. Handlers do, by default to 1,000 events and 4
	// MiB.
	//
	// Errors: after a *ConflictError or an ErrNotStored (tested with errors.Is) nothing of
	// the batch is or will be stored. An ErrNotStored with an [*Error] of status 4xx is a
	// rejection with that response. If the batch may or may not be stored, the error is an
	// ErrOutcomeUnknown. Callers treat any other error the same way.
	//
	// Cancellation: if ctx has ended before the call, the error is ErrNotStored. If it ends
	// during the call, Append stops waiting, with an ErrNotStored only if the events will
	// not be stored, and otherwise an ErrOutcomeUnknown.
	//
	// Ownership: the store may keep b.Events, which the caller does not change afterwards.
	// The caller may change the result.
	Append(ctx context.Context, b Batch) (AppendResult, error)
}

// EventReader is implemented by stores that can read events back, for the GET routes.
//
// Both methods are called concurrently and see every event whose Append has returned. The
// caller may change the returned slices.
type EventReader interface {
	// Get returns the event of the platform with the given id, or ErrNotFound.
	Get(ctx context.Context, platform, id string) (StoredEvent, error)

	// List returns a page of the events of one platform in storage order.
	//
	// An ascending cursor never skips an event that is committed later: a reader that
	// follows Page.Position sees each event exactly once and in order.
	//
	// The error is ErrInvalidCursor for a cursor that the store did not issue, such as one
	// beyond the last event; ErrScanLimit if the query takes longer than the store allows;
	// and ErrOverloaded if too many reads are queued.
	List(ctx context.Context, q Query) (Page, error)
}

// ReadyChecker is implemented by stores that can check whether they accept events.
type ReadyChecker interface {
	// Ready returns nil if an Append is expected to succeed.
	Ready(ctx context.Context) error
}

// StatsReporter is implemented by stores that report statistics for metrics.
type StatsReporter interface {
	// Stats is cheap enough to be called every second.
	Stats() StoreStats
}

// StoreStats holds the statistics of a store. Fields that do not apply are zero.
type StoreStats struct {
	QueuedRequests int // waiting for a transaction
	QueuedEvents   int // events of these requests

	// WALBytes is the size of the write-ahead log file, which does not shrink.
	// LastCheckpoint is when the database file last had all its content.
	WALBytes       int64
	LastCheckpoint time.Time

	DatabaseBytes int64  // without the write-ahead log
	DiskFreeBytes *int64 // on the file system of the database; 0 if it is full, nil if unknown

	// NewestEvent is the time in the greatest id that the store has found or assigned.
	NewestEvent time.Time

	// WALBlockedSince is the time since which an open read transaction, in any
	// process, has kept the write-ahead log growing, or zero.
	WALBlockedSince time.Time

	Commits    uint64 // since the store was opened
	LastCommit CommitStats
}

// CommitStats describes a transaction that stored events or failed to.
type CommitStats struct {
	Requests int           // requests that shared the transaction
	Events   int           // new events
	Duration time.Duration // time until the events were durable
	Err      error         // nil if the transaction succeeded
}

// Batch is the validated events of one request, stored together or not at all.
type Batch struct {
	// Platform is not empty.
	Platform string

	// Route is part of an idempotency record.
	Route Route

	// IdempotencyKey is optional.
	IdempotencyKey string

	// Digest is of route and events, recorded with the idempotency key.
	Digest Digest

	Duplicates DuplicatePolicy

	// Events are in the order of the request, at least one.
	Events []NewEvent
}

// Route identifies an endpoint.
type Route string

// The routes of the contract.
const (
	RouteSingle Route = "charge-data"
	RouteBatch  Route = "charge-datas"
	RouteGet    Route = "charge-data/{id}"
	RouteList   Route = "charge-data list"
)

// DuplicatePolicy is the response to a stored reference with different content.
type DuplicatePolicy int

const (
	// RejectConflict responds with 409 and stores nothing. It is the default.
	RejectConflict DuplicatePolicy = iota
	// ReturnOriginal returns the stored event, as the published API does.
	ReturnOriginal
)

// Digest is a SHA-256 fingerprint of sent content. Equal digests mean equal content.
// Different digests are inconclusive.
type Digest [sha256.Size]byte

// NewEvent is a validated event to be stored.
type NewEvent struct {
	// Content is the event as responses return it: a JSON object in UTF-8 with all fields
	// except id and object_type, and always with a timestamp. Stores keep the bytes
	// unchanged.
	Content string

	// Fields of Content that a store looks up or filters by, empty if null. An empty
	// Reference is not unique. The strings can share memory with Content: clone one to keep
	// it alone.
	Reference                        string
	CustomerID                       string
	CustomerReference                string
	PricingPlanSubscriptionID        string
	PricingPlanSubscriptionReference string
	ProductItemID                    string

	// Timestamp is in UTC. Its range, the years 0 to 10000, exceeds int64 nanoseconds.
	Timestamp time.Time

	// TimestampAssigned reports whether the timestamp is the time of receipt, because the
	// client sent none.
	TimestampAssigned bool

	// ReceivedAt is the time of receipt.
	ReceivedAt time.Time

	Digest Digest
}

// StoredEvent is an event in a store.
type StoredEvent struct {
	// ID is assigned by the store: chda_ and 26 characters, see package storekit.
	ID string

	// Content, TimestampAssigned and Digest are those of the NewEvent.
	Content           string
	TimestampAssigned bool
	Digest            Digest
}

// AppendResult is the result of an Append.
type AppendResult struct {
	// Outcomes has an entry for each event of the batch, in order.
	Outcomes []Outcome
}

// Outcome is the result for one event of a batch.
type Outcome struct {
	StoredEvent

	// Replayed reports whether an earlier request, or an earlier event of the batch, had
	// stored it.
	Replayed bool
}

// Query selects events of one platform.
type Query struct {
	Platform string

	// Filters; an empty filter matches all events. The bundled stores have indexes for the
	// first three. The others narrow a scan.
	Reference                        string
	CustomerID                       string
	CustomerReference                string
	PricingPlanSubscriptionID        string
	PricingPlanSubscriptionReference string
	ProductItemID                    string

	// From and To bound the event's timestamp: From ≤ t < To. The zero time is a valid
	// bound.
	From, To *time.Time

	// After is the cursor of an earlier page with the same Order.
	After string

	Order Order

	// Limit is the maximum number of events, at least 1.
	Limit int

	// MaxBytes limits the contents of a page with more than one event; 0 means no bound.
	MaxBytes int
}

// Order is the direction of a listing in storage order.
type Order int

const (
	// Descending starts with the last stored event.
	Descending Order = iota
	// Ascending starts with the first stored event.
	Ascending
)

// Page is a part of a listing.
type Page struct {
	Events []StoredEvent

	// Next is the cursor of the next page, empty if there are no more events now. A cursor
	// has 1 to 256 characters that need no escaping in a URL.
	Next string

	// Position is the cursor for new events. Ascending pages always have it, even without
	// events; descending pages never do.
	Position string
}

// The errors of Append. A store wraps them together with the cause.
var (
	// ErrNotStored means that nothing of a batch was stored. Retrying is safe.
	ErrNotStored = errors.New("nothing was stored")

	// ErrOutcomeUnknown means that the batch may be stored. Retrying is safe only with
	// references or an idempotency key.
	ErrOutcomeUnknown = errors.New("outcome unknown")

	// ErrOverloaded: too many requests or events are queued.
	ErrOverloaded = fmt.Errorf("store overloaded: %w", ErrNotStored)

	ErrClosed = fmt.Errorf("store closed: %w", ErrNotStored)

	// ErrResponseTooLarge: the stored events that a batch replays are more than 16 MiB
	// larger than the events sent.
	ErrResponseTooLarge = fmt.Errorf("response too large: %w", ErrNotStored)
)

// The errors of reading.
var (
	ErrNotFound = errors.New("event not found")

	// ErrInvalidCursor is returned for a cursor that the store did not issue.
	ErrInvalidCursor = errors.New("invalid cursor")

	// ErrScanLimit is returned if a listing takes longer than the store allows.
	ErrScanLimit = errors.New("listing took too long")
)

// ConflictError reports that a batch conflicts with stored events or within itself. Nothing
// was stored.
type ConflictError struct {
	// IdempotencyKey reports a conflict of the key, not of the reference of the event at
	// Index.
	IdempotencyKey bool
	Index          int

	// EventID is the stored event, or empty if the conflict is with an earlier event of the
	// batch.
	EventID string

	// Fields are the paths that differ, such as value.number.
	Fields []string
}

func (e *ConflictError) Error() string {
	if e.IdempotencyKey {
		return "idempotency key was used for a different request"
	}
	return fmt.Sprintf("event %d: reference is already used by an event with different content", e.Index)
}
