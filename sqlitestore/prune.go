package sqlitestore

import (
	"context"
	"database/sql/driver"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/storekit"
)

// backdatedAfter is longer than a transaction. If the id of an event is later than its receipt
// by this much, the event is in the table backdated.
const backdatedAfter = 10 * time.Second

const receivedMilliseconds = "received_s * 1000 + received_ns / 1000000"

// Prune deletes the events that were received before a time, to the millisecond, and platforms
// without events and keys. It returns the number of events, even with an error. Their
// references can be used again.
//
// An idempotency key recorded before that time is deleted in one transaction with the events it
// returned. Events that a later key also returned stay until that key is deleted.
//
// Events that a stream of the [Journal] has not delivered stay, with their keys: the event at
// its position and those after, and parked and dead ones. The logger gets a warning. A retired
// stream keeps no events.
//
// Prune works in small transactions between appends. Freed space is reused, but the file does
// not shrink. Close ends Prune with chargeingest.ErrClosed.
func (s *Store) Prune(ctx context.Context, before time.Time) (deleted int64, err error) {
	p := &pruning{
		before: before.UnixMilli(), beforeID: storekit.FirstID(before.Add(backdatedAfter)), batch: s.file.pruneBatch,
		destinations: make(map[string]bool), request: [2]int64{math.MinInt64, math.MinInt64}, backdated: [2]int64{math.MinInt64, math.MinInt64},
	}
	for _, step := range []func(*session) (n int64, more bool, err error){p.requests, p.events, p.backdatedEvents, p.platforms} {
		for more := true; more; {
			if s.running.Err() != nil {
				return deleted, chargeingest.ErrClosed
			}
			var n int64
			err := s.writer.do(ctx, func() error {
				return s.writer.transact(func(s *session) (err error) {
					n, more, err = step(s)
					return err
				})
			})
			if err != nil {
				return deleted, fmt.Errorf("sqlitestore: prune: %w", err)
			}
			deleted += n
		}
	}
	if p.kept > 0 {
		s.options.Logger.Warn("sqlitestore: events were kept because a relay has not delivered them",
			"events", p.kept, "destinations", slices.Sorted(maps.Keys(p.destinations)))
	}
	return deleted, nil
}

type pruning struct {
	before   int64  // milliseconds since 1970
	beforeID string // above the ids of old events that are not backdated
	batch    int

	request   [2]int64
	seq       int64
	backdated [2]int64
	platform  int64

	kept         int64           // undelivered
	destinations map[string]bool // of these
}

func (p *pruning) requests(s *session) (n int64, more bool, err error) {
	for visited := 0; visited < p.batch; {
		rows, err := s.oldRequest.query(p.before, p.request[0], p.request[1])
		if err != nil || len(rows) == 0 {
			return n, false, err
		}
		if err := scan(rows[0], &p.request[1], &p.request[0]); err != nil {
			return 0, false, err
		}
		rows, err = s.requestSeqs.query(p.request[1])
		if err != nil {
			return 0, false, err
		}
		deleted, err := p.deleteRequest(s, rows)
		if err != nil {
			return 0, false, err
		}
		n += deleted
		visited += max(1, len(rows))
	}
	return n, true, nil
}

func (p *pruning) deleteRequest(s *session, rows [][]driver.Value) (n int64, err error) {
	seqs := make([]int64, len(rows))
	for i, row := range rows {
		if err := scan(row, &seqs[i]); err != nil {
			return 0, err
		}
		if kept, err := p.keeps(s, seqs[i]); kept || err != nil {
			return 0, err
		}
	}
	if _, err := s.deleteRequest.exec(p.request[1]); err != nil {
		return 0, err
	}
	for _, seq := range seqs {
		deleted, err := s.deleteEvent(seq)
		if err != nil {
			return 0, err
		}
		n += deleted
	}
	return n, nil
}

// keeps reports whether a stream has not delivered the event.
func (p *pruning) keeps(s *session, seq int64) (bool, error) {
	rows, err := s.findUndelivered.query(seq)
	if err != nil || len(rows) == 0 {
		return false, err
	}
	for _, row := range rows {
		var destination string
		if err := scan(row, &destination); err != nil {
			return false, err
		}
		p.destinations[destination] = true
	}
	return true, nil
}

const undeliveredSQL = `SELECT destination FROM events
	CROSS JOIN platforms ON platforms.id = events.platform
	CROSS JOIN relay_streams ON relay_streams.platform = platforms.name
	WHERE events.seq = ? AND retired_ns IS NULL AND (relay_streams.seq < events.seq OR last_event_id = events.id OR EXISTS (
		SELECT 1 FROM relay_entries WHERE stream = relay_streams.id AND event_id = events.id AND state IN ('parked', 'dead')))`

func (p *pruning) deleteEvent(s *session, seq int64) (n int64, err error) {
	kept, err := p.keeps(s, seq)
	if kept {
		p.kept++
	}
	if kept || err != nil {
		return 0, err
	}
	return s.deleteEvent(seq)
}

func (p *pruning) events(s *session) (n int64, more bool, err error) {
	rows, err := s.oldEvents.query(p.beforeID, p.before, p.seq, int64(p.batch))
	if err != nil {
		return 0, false, err
	}
	for _, row := range rows {
		var old bool
		if err := scan(row, &p.seq, &old); err != nil {
			return 0, false, err
		}
		if !old {
			continue
		}
		deleted, err := p.deleteEvent(s, p.seq)
		if err != nil {
			return 0, false, err
		}
		n += deleted
	}
	return n, len(rows) > 0, nil
}

func (p *pruning) backdatedEvents(s *session) (n int64, more bool, err error) {
	rows, err := s.oldBackdated.query(p.backdated[0], p.backdated[1], p.before, int64(p.batch))
	if err != nil {
		return 0, false, err
	}
	for _, row := range rows {
		if err := scan(row, &p.backdated[0], &p.backdated[1]); err != nil {
			return 0, false, err
		}
		deleted, err := p.deleteEvent(s, p.backdated[1])
		if err != nil {
			return 0, false, err
		}
		n += deleted
	}
	return n, len(rows) > 0, nil
}

func (p *pruning) platforms(s *session) (n int64, more bool, err error) {
	rows, err := s.nextPlatforms.query(p.platform, int64(p.batch))
	if err != nil || len(rows) == 0 {
		return 0, false, err
	}
	first := p.platform
	if err := scan(rows[len(rows)-1], &p.platform); err != nil {
		return 0, false, err
	}
	deleted, err := affected(s.deleteUnusedPlatforms.exec(first, p.platform))
	if deleted > 0 {
		clear(s.platforms) // another platform may get the number
	}
	return 0, true, err
}

func (s *session) deleteEvent(seq int64) (n int64, err error) {
	return affected(s.deleteIfUnkeyed.exec(seq))
}
