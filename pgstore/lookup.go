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

// In total. The rest is fetched when needed.
const maxPrefetchBytes = 16 << 20

// scopedName is a reference or idempotency key of a platform.
type scopedName struct{ platform, name string }

// lookup finds the events that the transaction will store and, after queueLookups, stored ones.
type lookup struct {
	conn *pgx.Conn
	sql  *statements

	events  map[scopedName]*chargeingest.StoredEvent
	records map[scopedName]*storekit.IdempotencyRecord

	unfetchedEvents, unfetchedRecords map[scopedName]bool
	fetchedBytes                      int // not prefetched
}

// queueLookups locks the platforms first, so that it sees all earlier commits.
func (l *lookup) queueLookups(b *pgx.Batch, group []*groupcommit.Request) {
	var platforms []string
	var references, keys nameColumns
	for _, r := range group {
		platforms = append(platforms, r.Platform)
		if r.IdempotencyKey != "" {
			keys.add(scopedName{r.Platform, r.IdempotencyKey})
		}
		for i := range r.Events {
			if reference := r.Events[i].Reference; reference != "" {
				references.add(scopedName{r.Platform, reference})
			}
		}
	}
	slices.Sort(platforms)
	b.Queue(l.sql.lock, slices.Compact(platforms))
	if references.seen != nil {
		b.Queue(l.sql.findReferences, references.platforms, references.names, int64(maxPrefetchBytes)).Query(l.scanReferences)
	}
	if keys.seen != nil {
		b.Queue(l.sql.findRecords, keys.platforms, keys.names, int64(maxPrefetchBytes)).Query(l.scanRecords)
	}
}

type nameColumns struct {
	platforms, names []string
	seen             map[scopedName]bool
}

func (c *nameColumns) add(n scopedName) {
	if c.seen[n] {
		return
	}
	if c.seen == nil {
		c.seen = make(map[scopedName]bool)
	}
	c.seen[n] = true
	c.platforms, c.names = append(c.platforms, n.platform), append(c.names, n.name)
}

func (l *lookup) scanReferences(rows pgx.Rows) error {
	for rows.Next() {
		var n scopedName
		var e chargeingest.StoredEvent
		var content *string
		var digest []byte
		if err := rows.Scan(&n.platform, &n.name, &e.ID, &content, &e.TimestampAssigned, &digest); err != nil {
			return err
		}
		copy(e.Digest[:], digest)
		if content == nil {
			if l.unfetchedEvents == nil {
				l.unfetchedEvents = make(map[scopedName]bool)
			}
			l.unfetchedEvents[n] = true
			continue
		}
		e.Content = *content
		l.addEvent(n, e)
	}
	return rows.Err()
}

func (l *lookup) scanRecords(rows pgx.Rows) error {
	for rows.Next() {
		var n scopedName
		var e chargeingest.StoredEvent
		var route string
		var content, sent *string
		var digest, eventDigest []byte
		if err := rows.Scan(&n.platform, &n.name, &route, &digest, &sent, &e.ID, &content, &e.TimestampAssigned, &eventDigest); err != nil {
			return err
		}
		if content == nil {
			if l.unfetchedRecords == nil {
				l.unfetchedRecords = make(map[scopedName]bool)
			}
			l.unfetchedRecords[n] = true
			delete(l.records, n)
		}
		if l.unfetchedRecords[n] {
			continue
		}
		e.Content = *content
		copy(e.Digest[:], eventDigest)
		record := l.records[n]
		if record == nil {
			record = &storekit.IdempotencyRecord{Route: chargeingest.Route(route)}
			copy(record.Digest[:], digest)
			l.addRecord(n, record)
		}
		if err := appendEvent(record, e, sent); err != nil {
			return err
		}
	}
	return rows.Err()
}

func scanEvent(row pgx.Row, before ...any) (e chargeingest.StoredEvent, err error) {
	var digest []byte
	err = row.Scan(append(before, &e.ID, &e.Content, &e.TimestampAssigned, &digest)...)
	copy(e.Digest[:], digest)
	return e, err
}

// IdempotencyRecord implements [storekit.Lookup].
func (l *lookup) IdempotencyRecord(ctx context.Context, platform, key string) (*storekit.IdempotencyRecord, error) {
	n := scopedName{platform, key}
	if !l.unfetchedRecords[n] {
		return l.records[n], nil
	}
	rows, err := l.conn.Query(ctx, l.sql.findRecord, platform, key)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	record := new(storekit.IdempotencyRecord)
	for rows.Next() {
		var route string
		var digest []byte
		var sent *string
		e, err := scanEvent(rows, &route, &digest, &sent)
		if err != nil {
			return nil, err
		}
		record.Route = chargeingest.Route(route)
		copy(record.Digest[:], digest)
		l.fetchedBytes += len(e.Content)
		if sent != nil {
			l.fetchedBytes += len(*sent)
		}
		if err := appendEvent(record, e, sent); err != nil {
			return nil, err
		}
	}
	if err := rows.Err(); err != nil || len(record.Events) == 0 {
		return nil, err // events may have been deleted meanwhile
	}
	l.addRecord(n, record)
	return record, nil
}

func appendEvent(record *storekit.IdempotencyRecord, e chargeingest.StoredEvent, sent *string) error {
	record.Events = append(record.Events, storekit.RecordedEvent{StoredEvent: e})
	return record.Events[len(record.Events)-1].DecodeSent(sent)
}

// EventByReference implements [storekit.Lookup].
func (l *lookup) EventByReference(ctx context.Context, platform, reference string) (*chargeingest.StoredEvent, error) {
	n := scopedName{platform, reference}
	if !l.unfetchedEvents[n] {
		return l.events[n], nil
	}
	e, err := scanEvent(l.conn.QueryRow(ctx, l.sql.findReference, platform, reference))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	l.fetchedBytes += len(e.Content)
	l.addEvent(n, e)
	return &e, nil
}

func (l *lookup) addEvent(reference scopedName, e chargeingest.StoredEvent) {
	if l.events == nil {
		l.events = make(map[scopedName]*chargeingest.StoredEvent)
	}
	delete(l.unfetchedEvents, reference)
	l.events[reference] = &e
}

func (l *lookup) addRecord(key scopedName, record *storekit.IdempotencyRecord) {
	if l.records == nil {
		l.records = make(map[scopedName]*storekit.IdempotencyRecord)
	}
	delete(l.unfetchedRecords, key)
	l.records[key] = record
}
