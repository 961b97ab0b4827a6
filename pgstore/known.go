package pgstore

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/groupcommit"
	"example.com/chargeingest/storekit"
)

// maxFound bounds the content of events that is fetched before anybody needs
// it, in bytes. What is beyond is fetched one by one.
const maxFound = 16 << 20

// named is a reference or a key of a platform.
type named struct{ platform, name string }

// known is what a transaction knows to be stored: what it found, and what it
// is about to store. The zero value knows nothing and can only be added to by
// its own methods.
type known struct {
	conn *pgx.Conn
	sql  *statements

	events   map[named]*chargeingest.StoredEvent
	requests map[named]*storekit.IdempotencyRecord

	// What is there and has to be fetched.
	unread, unreadRequests map[named]bool
	fetched                int // bytes of content so far
}

// lookUp queues the locking of the platforms of requests and the search for
// what is known of them.
func (k *known) lookUp(b *pgx.Batch, requests []*groupcommit.Request) {
	var platforms []string
	var references, keys columnsOf
	for _, r := range requests {
		platforms = append(platforms, r.Batch.Platform)
		if r.Batch.IdempotencyKey != "" {
			keys.add(r.Batch.Platform, r.Batch.IdempotencyKey)
		}
		for i := range r.Batch.Events {
			if reference := r.Batch.Events[i].Reference; reference != "" {
				references.add(r.Batch.Platform, reference)
			}
		}
	}
	slices.Sort(platforms)
	b.Queue(k.sql.lock, slices.Compact(platforms))
	if references.seen != nil {
		b.Queue(k.sql.findReferences, references.platforms, references.names, int64(maxFound)).Query(k.scanReferences)
	}
	if keys.seen != nil {
		b.Queue(k.sql.findRequests, keys.platforms, keys.names, int64(maxFound)).Query(k.scanRequests)
	}
}

// columnsOf are references or keys, each once.
type columnsOf struct {
	platforms, names []string
	seen             map[named]bool
}

func (c *columnsOf) add(platform, name string) {
	at := named{platform, name}
	if c.seen[at] {
		return
	}
	if c.seen == nil {
		c.seen = make(map[named]bool)
	}
	c.seen[at] = true
	c.platforms, c.names = append(c.platforms, platform), append(c.names, name)
}

func (k *known) scanReferences(rows pgx.Rows) error {
	for rows.Next() {
		var at named
		var e chargeingest.StoredEvent
		var content *string
		var digest []byte
		if err := rows.Scan(&at.platform, &at.name, &e.ID, &content, &e.TimestampAssigned, &digest); err != nil {
			return err
		}
		copy(e.Digest[:], digest)
		if content == nil {
			if k.unread == nil {
				k.unread = make(map[named]bool)
			}
			k.unread[at] = true
			continue
		}
		e.Content = *content
		k.store(at.platform, at.name, e)
	}
	return rows.Err()
}

func (k *known) scanRequests(rows pgx.Rows) error {
	for rows.Next() {
		var at named
		var e chargeingest.StoredEvent
		var route string
		var content, text *string
		var digest, digestOfEvent []byte
		if err := rows.Scan(&at.platform, &at.name, &route, &digest, &text, &e.ID, &content, &e.TimestampAssigned, &digestOfEvent); err != nil {
			return err
		}
		if content == nil {
			if k.unreadRequests == nil {
				k.unreadRequests = make(map[named]bool)
			}
			k.unreadRequests[at] = true
			delete(k.requests, at)
		}
		if k.unreadRequests[at] {
			continue
		}
		e.Content = *content
		copy(e.Digest[:], digestOfEvent)
		bound := k.requests[at]
		if bound == nil {
			bound = &storekit.IdempotencyRecord{Route: chargeingest.Route(route)}
			copy(bound.Digest[:], digest)
			k.setRequest(at, bound)
		}
		if err := addEvent(bound, e, text); err != nil {
			return err
		}
	}
	return rows.Err()
}

// scanEvent reads the eventColumns behind others.
func scanEvent(row pgx.Row, before ...any) (e chargeingest.StoredEvent, err error) {
	var digest []byte
	err = row.Scan(append(before, &e.ID, &e.Content, &e.TimestampAssigned, &digest)...)
	copy(e.Digest[:], digest)
	return e, err
}

// IdempotencyRecord implements [storekit.Lookup].
func (k *known) IdempotencyRecord(ctx context.Context, platform, key string) (*storekit.IdempotencyRecord, error) {
	at := named{platform, key}
	if !k.unreadRequests[at] {
		return k.requests[at], nil
	}
	rows, err := k.conn.Query(ctx, k.sql.findRequest, platform, key)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	bound := new(storekit.IdempotencyRecord)
	for rows.Next() {
		var route string
		var digest []byte
		var text *string
		e, err := scanEvent(rows, &route, &digest, &text)
		if err != nil {
			return nil, err
		}
		bound.Route = chargeingest.Route(route)
		copy(bound.Digest[:], digest)
		k.fetched += len(e.Content)
		if text != nil {
			k.fetched += len(*text)
		}
		if err := addEvent(bound, e, text); err != nil {
			return nil, err
		}
	}
	if err := rows.Err(); err != nil || len(bound.Events) == 0 {
		return nil, err // without one they were deleted meanwhile
	}
	delete(k.unreadRequests, at)
	k.setRequest(at, bound)
	return bound, nil
}

// addEvent adds an event to a request, and what was sent for it.
func addEvent(bound *storekit.IdempotencyRecord, e chargeingest.StoredEvent, text *string) error {
	bound.Events = append(bound.Events, storekit.RecordedEvent{StoredEvent: e})
	return bound.Events[len(bound.Events)-1].DecodeSent(text)
}

// EventByReference implements [storekit.Lookup].
func (k *known) EventByReference(ctx context.Context, platform, reference string) (*chargeingest.StoredEvent, error) {
	at := named{platform, reference}
	if !k.unread[at] {
		return k.events[at], nil
	}
	e, err := scanEvent(k.conn.QueryRow(ctx, k.sql.findReference, platform, reference))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	k.fetched += len(e.Content)
	k.store(platform, reference, e)
	return &e, nil
}

// store adds an event with a reference.
func (k *known) store(platform, reference string, e chargeingest.StoredEvent) {
	if k.events == nil {
		k.events = make(map[named]*chargeingest.StoredEvent)
	}
	delete(k.unread, named{platform, reference})
	k.events[named{platform, reference}] = &e
}

// bind adds a request with a key.
func (k *known) bind(b chargeingest.Batch, bound *storekit.IdempotencyRecord) {
	delete(k.unreadRequests, named{b.Platform, b.IdempotencyKey})
	k.setRequest(named{b.Platform, b.IdempotencyKey}, bound)
}

func (k *known) setRequest(at named, r *storekit.IdempotencyRecord) {
	if k.requests == nil {
		k.requests = make(map[named]*storekit.IdempotencyRecord)
	}
	k.requests[at] = r
}
