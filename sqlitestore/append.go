package sqlitestore

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/sortedrun"
	"example.com/chargeingest/storekit"
)

type insertion struct {
	seq, platformID int64
	id              string
	event           *chargeingest.NewEvent
}

func (s *session) append(a storekit.Attempt, nextID func(time.Time) (string, error)) (chargeingest.AppendResult, error) {
	b := a.Batch
	decision, err := a.Decide(context.Background(), s)
	if err != nil {
		return chargeingest.AppendResult{}, err
	}
	platformID, err := s.platformID(b.Platform)
	if err == nil && platformID == 0 {
		platformID, err = lastInsertID(s.addPlatform.exec(b.Platform))
	}
	if err != nil {
		return chargeingest.AppendResult{}, err
	}
	s.platforms[b.Platform] = platformID
	seqs := make([]int64, len(b.Events))
	result, err := decision.Apply(func(i int) (string, error) {
		id, err := nextID(b.Events[i].ReceivedAt)
		seq := s.recent.nextSeq()
		if err == nil && seq > sortedrun.MaxSeq {
			err = fmt.Errorf("the database has had %d events: continue in a new one", int64(sortedrun.MaxSeq))
		}
		if err != nil {
			return "", err
		}
		seqs[i] = seq
		s.recent.add(b.Platform, &b.Events[i])
		if received := b.Events[i].ReceivedAt; id >= storekit.FirstID(received.Add(backdatedAfter)) {
			if _, err := s.addBackdated.exec(received.UnixMilli(), seq); err != nil {
				return "", err
			}
		}
		s.pending = append(s.pending, insertion{seq, platformID, id, &b.Events[i]})
		return id, nil
	})
	if err == nil {
		err = s.flush(len(s.pending) - len(s.pending)%bulkRows)
	}
	if record := decision.IdempotencyRecord(result); err == nil && record != nil {
		err = s.recordKey(platformID, b, result, record, seqs)
	}
	return result, err
}

const (
	bulkRows        = 8
	insertEventsSQL = `INSERT INTO events (seq, id, platform, timestamp_s, timestamp_ns, timestamp_assigned, received_s, received_ns, digest, content) VALUES `
	eventRowSQL     = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)

// flush inserts the first pending events.
func (s *session) flush(n int) error {
	for n > 0 {
		statement, rows := s.insertEvents, bulkRows
		if n < bulkRows {
			statement, rows = s.insertEvent, 1
		}
		s.arguments = s.arguments[:0]
		for _, p := range s.pending[:rows] {
			e := p.event
			for _, v := range []driver.Value{
				p.seq, p.id, p.platformID, e.Timestamp.Unix(), int64(e.Timestamp.Nanosecond()), e.TimestampAssigned,
				e.ReceivedAt.Unix(), int64(e.ReceivedAt.Nanosecond()), e.Digest[:], e.Content,
			} {
				s.arguments = append(s.arguments, driver.NamedValue{Ordinal: len(s.arguments) + 1, Value: v})
			}
		}
		if _, err := statement.ExecContext(context.Background(), s.arguments); err != nil {
			return err
		}
		s.pending = slices.Delete(s.pending, 0, rows)
		n -= rows
	}
	return nil
}

// seqs are zero for replayed events.
func (s *session) recordKey(
	platformID int64, b chargeingest.Batch, result chargeingest.AppendResult, record *storekit.IdempotencyRecord, seqs []int64,
) error {
	if err := s.flush(len(s.pending)); err != nil {
		return err
	}
	recordedAt, err := s.recordTime(b, result)
	if err != nil {
		return err
	}
	requestID, err := lastInsertID(s.insertRequest.exec(platformID, b.IdempotencyKey, string(record.Route), record.Digest[:], recordedAt))
	if err != nil {
		return err
	}
	for i := range record.Events {
		e := &record.Events[i]
		if _, err := s.insertRequestEvent.exec(e.ID, requestID, int64(i), seqs[i], nullIfNil(e.EncodeSent())); err != nil {
			return err
		}
	}
	return nil
}

// recordTime returns the latest receipt of the request and its events, in Unix milliseconds.
// Prune deletes them together.
func (s *session) recordTime(b chargeingest.Batch, result chargeingest.AppendResult) (int64, error) {
	latest := b.Events[0].ReceivedAt.UnixMilli()
	for i, o := range result.Outcomes {
		received := b.Events[i].ReceivedAt.UnixMilli()
		if o.Replayed {
			rows, err := s.receivedAt.query(o.ID)
			if err != nil {
				return 0, err
			}
			if err := scan(rows[0], &received); err != nil {
				return 0, err
			}
		}
		latest = max(latest, received)
	}
	return latest, nil
}

func affected(result driver.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func lastInsertID(result driver.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return result.LastInsertId()
}

func nullIfNil(text *string) driver.Value {
	if text == nil {
		return nil
	}
	return *text
}
