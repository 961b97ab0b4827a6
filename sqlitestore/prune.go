package sqlitestore

import (
	"context"
	"database/sql/driver"
	"fmt"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/eventid"
)

// Prune deletes the events that were received before a time, to the
// millisecond, and returns how many it deleted; beside an error, how many that
// it knows of. Their references can be used again.
//
// An idempotency key that was bound before that time goes, in one transaction,
// with the events that its request was answered with. An event that a key
// bound later was answered with stays until that key goes.
//
// Prune works in small transactions between the appends. What it frees is used
// again; the file does not shrink. A store that closes ends it with
// chargeingest.ErrClosed.
func (s *Store) Prune(ctx context.Context, before time.Time) (deleted int64, err error) {
	first := eventid.First(before)
	after, atOnce := "", s.file.pruneAtOnce
	for _, step := range []func(*session) (gone []int64, more bool, err error){
		func(s *session) ([]int64, bool, error) { return s.pruneRequests(first, atOnce) },
		func(s *session) (gone []int64, more bool, err error) {
			gone, after, err = s.pruneEvents(after, first, atOnce)
			return gone, after != "", err
		},
	} {
		for more := true; more; {
			if s.running.Err() != nil {
				return deleted, chargeingest.ErrClosed
			}
			var gone []int64
			err := s.writer.do(ctx, func() error {
				return s.writer.transact(func(s *session) (err error) {
					gone, more, err = step(s)
					return err
				})
			})
			if err != nil {
				return deleted, fmt.Errorf("sqlitestore: prune: %w", err)
			}
			deleted += int64(len(gone))
		}
	}
	return deleted, nil
}

// pruneRequests deletes the requests bound longest ago, with their events, and
// says whether more may be left.
func (s *session) pruneRequests(before string, atOnce int) (gone []int64, more bool, err error) {
	for looked := 0; looked < atOnce; {
		rows, err := s.oldRequest.query(before)
		if err != nil || len(rows) == 0 {
			return gone, false, err
		}
		request := rows[0][0]
		events, err := scanPlaces(s.requestPlaces.query(request))
		if err != nil {
			return nil, false, err
		}
		if _, err := s.deleteRequest.exec(request); err != nil {
			return nil, false, err
		}
		deleted, err := s.deleteEvents(events)
		if err != nil {
			return nil, false, err
		}
		gone = append(gone, deleted...)
		looked += len(events)
	}
	return gone, true, nil
}

// pruneEvents deletes, of the next events between two ids, those that no key
// holds, and returns the id to go on after, empty at the end.
func (s *session) pruneEvents(after, before string, atOnce int) (gone []int64, last string, err error) {
	events, err := scanPlaces(s.oldEvents.query(after, before, int64(atOnce)))
	if err != nil || len(events) == 0 {
		return nil, "", err
	}
	gone, err = s.deleteEvents(events)
	return gone, events[len(events)-1].id, err
}

// deleteEvents deletes those of the events that no key holds, and returns their
// places.
func (s *session) deleteEvents(events []place) (gone []int64, err error) {
	for _, e := range events {
		result, err := s.deleteUnheld.exec(e.seq)
		if err != nil {
			return nil, err
		}
		n, err := result.RowsAffected()
		if err != nil {
			return nil, err
		}
		if n > 0 {
			gone = append(gone, e.seq)
			s.recent.written.deleted = append(s.recent.written.deleted, e.seq)
		}
	}
	return gone, nil
}

// place is where an event is.
type place struct {
	seq int64
	id  string
}

// scanPlaces reads what a query returned.
func scanPlaces(rows [][]driver.Value, err error) ([]place, error) {
	if err != nil {
		return nil, err
	}
	places := make([]place, len(rows))
	for i, row := range rows {
		if err := scan(row, &places[i].seq, &places[i].id); err != nil {
			return nil, err
		}
	}
	return places, nil
}
