package chargeingest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"
)

// EventStore keeps charge events. It is all that a [Handler] needs to take
// them in; [EventReader] and [ReadyChecker] are capabilities more.
//
// Package storetest checks a store against everything that is written here.
// Package storekit has the parts that every store needs.
type EventStore interface {
	// Append stores every event of the batch that is not there yet, or none,
	// and returns what is stored, in the order of b.Events.
	//
	// Durability: Append returns without error only when the store's promise
	// for the events of the receipt holds, the replayed ones included.
	//
	// Atomicity: duplicates are resolved in the transaction that
	// inserts. Of concurrent calls with the same reference or idempotency key
	// one stores, and the others see what it stored.
	//
	// Duplicates: an event whose reference is stored with the same content is
	// not stored again; its outcome is the stored event, marked replayed. With
	// other content Append returns a [*ConflictError] and stores nothing,
	// unless b.Duplicates is ReturnOriginal: then the outcome is the stored event.
	// The error is ErrResponseTooLarge if the stored events are too large together.
	// A batch whose idempotency key is bound to the same request is a replay as a
	// whole; bound to another it is a *ConflictError. The key is bound in the
	// transaction that stores, to what was sent and to what was returned.
	//
	// Order and ids: the store assigns each new event its id and its place in
	// the order of storing, inside the transaction. Ids strictly increase in
	// that order within one process.
	//
	// Isolation: references, keys and ids of one platform are invisible from
	// another.
	//
	// Names: platforms, references, keys and the fields of events are compared
	// byte for byte: case, white space and Unicode normalisation count. They have
	// up to 256 characters, of up to four bytes each.
	//
	// Size: the handler bounds batches, the store does not. By default they have
	// up to 1,000 events and 4 MiB, and a host may allow more.
	//
	// Errors: an error that is ErrNotStored (by errors.Is) or a *ConflictError
	// says that nothing of the batch was stored or will be. Any other
	// error means unknown: all of the batch may be stored, or none.
	//
	// Cancellation: a context that has ended before the call stores nothing.
	// One that ends during it ends the caller's wait. Where the work had
	// begun by then the error is an unknown; it must not be ErrNotStored
	// beside events that get stored.
	//
	// Concurrency: Append is called from many goroutines at once.
	//
	// Ownership: the store may keep b.Events, which the caller does not change
	// afterwards. The outcomes of the receipt are the caller's to change.
	Append(ctx context.Context, b Batch) (AppendResult, error)
}

// EventReader is a store that can be read back. A handler over a store
// without it serves no GET routes.
//
// Both methods are called from many goroutines at once, see every event whose
// Append has returned, and return slices that are the caller's to change.
type EventReader interface {
	// Get returns the event of this platform with this id, or ErrNotFound.
	Get(ctx context.Context, platform, id string) (StoredEvent, error)

	// List returns a page of one platform's events in the order of storing.
	//
	// An ascending cursor never passes an event that can still be committed
	// before it: who follows Page.Position sees each event once, in order,
	// nothing skipped and nothing twice, while others append.
	//
	// It returns ErrInvalidCursor for a cursor that is not one of this store's, such as
	// one behind more events than the store has, and ErrScanLimit for a query that
	// took longer than the store allows. Stores in which reads take turns return
	// ErrOverloaded if the turn did not come.
	List(ctx context.Context, q Query) (Page, error)
}

// ReadyChecker is a store that can say whether it would take events now.
type ReadyChecker interface {
	// Ready returns nil where an Append can be expected to succeed.
	Ready(ctx context.Context) error
}

// StatsReporter is a store that can say how it is doing, for metrics.
type StatsReporter interface {
	// Stats is cheap enough to be asked every second.
	Stats() StoreStats
}

// StoreStats is what a store knows of itself. What a store has not is zero.
type StoreStats struct {
	QueuedRequests int // that wait for a transaction
	QueuedEvents   int // that these have

	// WALBytes is the size of the file of the log that holds what is durable
	// already and not yet at its place; it is written over from its beginning, and
	// does not shrink. LastCheckpoint is when all of it was last moved there.
	WALBytes       int64
	LastCheckpoint time.Time

	// WALBlockedSince is since when a transaction that reads, of any process, has
	// kept a part of the log from its place, so that the log only grows; zero if
	// none does.
	WALBlockedSince time.Time

	Commits    uint64 // since the store was opened
	LastCommit CommitStats
}

// CommitStats is what there is to know about a transaction that stored events, or
// was to.
type CommitStats struct {
	Requests int           // that shared the transaction
	Events   int           // that it stored; those that had been stored before do not count
	Duration time.Duration // from its beginning until what it stored was durable
	Err      error         // why it failed, or nil
}

// Batch is the events of one request: validated, and stored whole or not at all.
type Batch struct {
	// Platform is the tenant that owns the events; never empty.
	Platform string

	// Route is where the request came in. An idempotency key is bound to it.
	Route Route

	// IdempotencyKey is the request's, or empty.
	IdempotencyKey string

	// Digest is the fingerprint of route and events, kept with the key.
	Digest Digest

	// Duplicates says what becomes of a known reference with other content.
	Duplicates DuplicatePolicy

	// Events are in the order sent; never empty.
	Events []NewEvent
}

// Route names the endpoint that took a request in.
type Route string

// The routes of the contract, by the last part of their path.
const (
	RouteSingle Route = "charge-data"
	RouteBatch  Route = "charge-datas"
	RouteGet    Route = "charge-data/{id}"
	RouteList   Route = "charge-data list"
)

// DuplicatePolicy says what a known reference with other content gets.
type DuplicatePolicy int

const (
	// RejectConflict answers 409 and stores nothing. The default.
	RejectConflict DuplicatePolicy = iota
	// ReturnOriginal answers with the event stored first, as the published API does.
	ReturnOriginal
)

// Digest is a SHA-256 fingerprint of what a client sent. Equal digests mean
// equal content; different ones mean nothing.
type Digest [sha256.Size]byte

// NewEvent is a validated event on its way into a store.
type NewEvent struct {
	// Content is the event as it will be answered: a JSON object in UTF-8 with
	// every member but id and object_type, the timestamp among them. Stores
	// keep these bytes as they are; decimals in it are text and stay it.
	Content string

	// Fields of Content that a store looks up or filters by. Empty is null;
	// an empty Reference is not unique. They may be parts of Content: who keeps
	// one without the other clones it.
	Reference                        string
	CustomerID                       string
	CustomerReference                string
	PricingPlanSubscriptionID        string
	PricingPlanSubscriptionReference string
	ProductItemID                    string

	// Timestamp is the instant of the timestamp in Content, years 0 to 10000
	// in UTC: more than int64 nanoseconds hold.
	Timestamp time.Time

	// TimestampAssigned says that the client sent none and that the one in
	// Content is the time of receipt.
	TimestampAssigned bool

	// ReceivedAt is when the request came in.
	ReceivedAt time.Time

	// Digest is the fingerprint of what the client sent of this event.
	Digest Digest
}

// StoredEvent is an event that a store keeps.
type StoredEvent struct {
	// ID was assigned by the store: chda_ and 26 characters, see package storekit.
	ID string

	// Content, TimestampAssigned and Digest are those of the NewEvent.
	Content           string
	TimestampAssigned bool
	Digest            Digest
}

// AppendResult is what Append did.
type AppendResult struct {
	// Outcomes has an entry for each event of the batch, in its order.
	Outcomes []Outcome
}

// Outcome is what became of one event of a batch.
type Outcome struct {
	StoredEvent

	// Replayed says that the event was stored before, by an earlier request or
	// by an earlier event of the same batch.
	Replayed bool
}

// Query selects events of one platform.
type Query struct {
	Platform string

	// Filters; an empty one does not filter. The first three are indexed by
	// the bundled stores, the others narrow a scan.
	Reference                        string
	CustomerID                       string
	CustomerReference                string
	PricingPlanSubscriptionID        string
	PricingPlanSubscriptionReference string
	ProductItemID                    string

	// From and To bound the event's timestamp, From ≤ t < To; nil is open.
	// They are pointers because the zero time is an instant that events have.
	From, To *time.Time

	// After is a cursor of an earlier page: continue behind it, in Order.
	After string

	Order Order

	// Limit is the most events of a page, 1 or more.
	Limit int

	// MaxBytes is the most bytes that the Content of a page's events comes to;
	// 0 is no bound. A page has at least one event, however large it is.
	MaxBytes int
}

// Order is the direction of a listing, by the order of storing.
type Order int

const (
	// Descending is last stored first. The default.
	Descending Order = iota
	// Ascending is first stored first, the order to follow events in.
	Ascending
)

// Page is a part of a listing.
type Page struct {
	Events []StoredEvent

	// Next is the cursor of the page that follows, empty where nothing more is
	// there now.
	Next string

	// Position is the cursor to continue from later. Ascending pages always
	// have it, the empty one too; descending ones never do.
	Position string
}

// ErrNotStored says that nothing of a batch was stored, so that sending it
// again is safe. Stores wrap it around the cause.
var ErrNotStored = errors.New("nothing was stored")

// ErrOutcomeUnknown is the error of an Append whose batch may be stored or not. Stores wrap
// it around the cause.
var ErrOutcomeUnknown = errors.New("outcome unknown")

var (
	// ErrOverloaded is an ErrNotStored: too much work is waiting.
	ErrOverloaded = fmt.Errorf("store overloaded: %w", ErrNotStored)

	// ErrClosed is an ErrNotStored: the store is shutting down.
	ErrClosed = fmt.Errorf("store closed: %w", ErrNotStored)

	// ErrResponseTooLarge is an ErrNotStored: the stored events that a batch
	// repeats are larger by 16 MiB than those that it has.
	ErrResponseTooLarge = fmt.Errorf("answer too large: %w", ErrNotStored)

	// ErrNotFound says that the platform has no event with this id.
	ErrNotFound = errors.New("event not found")

	// ErrInvalidCursor says that a cursor is not one of the store's.
	ErrInvalidCursor = errors.New("malformed cursor")

	// ErrScanLimit says that a listing took longer than the store allows.
	ErrScanLimit = errors.New("listing took too long")
)

// ConflictError says that a batch contradicts what is stored, or itself.
// Nothing of it was stored.
type ConflictError struct {
	// IdempotencyKey is true for a conflict of the idempotency key, false for one of the
	// reference of the event at Index.
	IdempotencyKey bool
	Index          int

	// EventID is the event that was stored first; empty where the conflict is
	// with an earlier event of the same batch.
	EventID string

	// Fields are the paths that differ, such as value.number.
	Fields []string
}

func (e *ConflictError) Error() string {
	if e.IdempotencyKey {
		return "idempotency key is bound to another request"
	}
	return fmt.Sprintf("event %d: reference is taken by an event with other content", e.Index)
}
