package sqlitestore

import (
	"cmp"
	"context"
	"database/sql/driver"
	"io"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/sortedrun"
	"example.com/chargeingest/storekit"
)

func (s *session) platformID(name string) (int64, error) {
	if id, ok := s.platforms[name]; ok {
		return id, nil
	}
	rows, err := s.findPlatform.query(name)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	var id int64
	if err := scan(rows[0], &id); err != nil {
		return 0, err
	}
	s.platforms[name] = id
	return id, nil
}

func (s *session) IdempotencyRecord(_ context.Context, platform, key string) (*storekit.IdempotencyRecord, error) {
	platformID, err := s.platformID(platform)
	if err != nil || platformID == 0 {
		return nil, err
	}
	rows, err := s.findRequest.query(platformID, key)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	var id int64
	var route string
	var digest []byte
	if err := scan(rows[0], &id, &route, &digest); err != nil {
		return nil, err
	}
	record := &storekit.IdempotencyRecord{Route: chargeingest.Route(route)}
	copy(record.Digest[:], digest)
	rows, err = s.requestEvents.query(id)
	if err != nil {
		return nil, err
	}
	record.Events = make([]storekit.RecordedEvent, len(rows))
	for i, row := range rows {
		e := &record.Events[i]
		var text string
		e.StoredEvent, err = scanEvent(func(d ...any) error { return scan(row, d...) }, &text)
		s.loaded += len(e.Content) + len(text)
		if err == nil {
			err = e.DecodeSent(&text)
		}
		if err != nil {
			return nil, err
		}
	}
	return record, nil
}

func (s *session) EventByReference(_ context.Context, platform, value string) (*chargeingest.StoredEvent, error) {
	reference := s.recent.of(byReference, platform, value)
	if seq, ok := s.recent.find(reference); ok {
		if err := s.flush(len(s.pending)); err != nil { // it may be pending
			return nil, err
		}
		return s.firstEvent(s.eventAt.query(seq))
	}
	platformID, err := s.platformID(platform)
	if err != nil || platformID == 0 || !s.filters.mayHave(reference) {
		return nil, err
	}
	low, high := reference.entry(0), reference.entry(sortedrun.MaxSeq)
	var found *chargeingest.StoredEvent
	err = s.chunksBetween.each(func(row []driver.Value) error {
		var entries []byte
		if err := scan(row, &entries); err != nil {
			return err
		}
		for _, seq := range sortedrun.Between(entries, low, high) {
			if found, err = s.firstEvent(s.eventWithReference.query(seq, platformID, value)); found != nil || err != nil {
				return cmp.Or(err, io.EOF)
			}
		}
		return nil
	}, low, high)
	return found, err
}

func (s *session) firstEvent(rows [][]driver.Value, err error) (*chargeingest.StoredEvent, error) {
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	e, err := scanEvent(func(d ...any) error { return scan(rows[0], d...) })
	s.loaded += len(e.Content)
	return &e, err
}
