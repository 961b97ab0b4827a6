package memstore

import (
	"cmp"
	"context"
	"slices"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/cursor"
	"example.com/chargeingest/relay"
)

// Status implements [relay.Ledger].
func (j *Journal) Status(ctx context.Context, platform string) ([]relay.Status, error) {
	_, unlock, err := j.store.read(ctx, "")
	if err != nil {
		return nil, err
	}
	defer unlock()
	var list []relay.Status
	for name, s := range j.store.streams {
		if name.Platform != "" && (platform == "" || name.Platform == platform) {
			list = append(list, j.store.status(s))
		}
	}
	slices.SortFunc(list, func(a, b relay.Status) int {
		return cmp.Or(cmp.Compare(a.Destination, b.Destination), cmp.Compare(a.Platform, b.Platform))
	})
	return list, nil
}

func (s *Store) status(st *stream) relay.Status {
	now := st.status
	now.Position, now.LastEventID, now.Lag = st.Position, st.LastEventID, -1
	if sequence, known := s.position(st); known {
		now.Lag = 0
		if p := s.platforms[now.Platform]; p != nil {
			pending := p.events[sequence:]
			if now.Lag = int64(len(pending)); now.Lag > 0 {
				now.OldestPending = pending[0].ReceivedAt
			}
		}
	}
	for _, e := range st.entries {
		switch e.State {
		case relay.Parked:
			now.Parked++
		case relay.Dead:
			now.Dead++
		case relay.Skipped:
			now.Skipped++
		}
	}
	return now
}

// Entries implements [relay.Ledger].
func (j *Journal) Entries(ctx context.Context, q relay.EntryQuery) (relay.EntryPage, error) {
	_, unlock, err := j.store.read(ctx, "")
	if err != nil {
		return relay.EntryPage{}, err
	}
	defer unlock()
	s := j.store.streams[q.Stream]
	if s == nil || q.Platform == "" {
		return relay.EntryPage{}, chargeingest.ErrNotFound
	}
	if q.EventID != "" {
		e, err := j.store.entry(s, q.EventID)
		return relay.EntryPage{Entries: []relay.Entry{e}}, err
	}
	var after int64
	if q.After != "" {
		if after, err = cursor.Decode(q.After); err != nil || after > int64(len(s.entries)) {
			return relay.EntryPage{}, chargeingest.ErrInvalidCursor
		}
	}
	var page relay.EntryPage
	for _, e := range s.entries[after:] {
		if !e.matches(q.State, q.Code) {
			continue
		}
		if len(page.Entries) == q.Limit {
			page.Next = cursor.Encode(after)
			break
		}
		page.Entries = append(page.Entries, e.copied())
		after = e.number
	}
	return page, nil
}

func (s *Store) entry(st *stream, id string) (relay.Entry, error) {
	if e := st.byID[id]; e != nil {
		return e.copied(), nil
	}
	p := s.platforms[st.status.Platform]
	if p == nil || p.byID(id) == nil {
		return relay.Entry{}, chargeingest.ErrNotFound
	}
	state := relay.Pending
	if sequence, known := s.position(st); known && p.byID(id).sequence <= sequence {
		state = relay.DeliveredState
	}
	return relay.Entry{EventID: id, State: state}, nil
}

func (e *entry) matches(state relay.EntryState, code string) bool {
	return (state == "" || e.State == state) && (code == "" || e.Reason.Code == code)
}

// Resolve implements [relay.Ledger].
func (j *Journal) Resolve(ctx context.Context, r relay.Resolution) (changed int64, err error) {
	if err := r.Validate(); err != nil {
		return 0, err
	}
	err = j.write(ctx, r.Stream, func(s *stream) error {
		if s == nil {
			return chargeingest.ErrNotFound
		}
		if r.Action == relay.Retire {
			if s.status.RetiredAt.IsZero() {
				s.status.RetiredAt, s.status.RetiredBy, s.leased = r.At, r.By, time.Time{}
			}
			return nil
		}
		if r.Action == relay.Retry && !s.status.RetiredAt.IsZero() {
			return relay.ErrRetired
		}
		for _, e := range s.selected(r) {
			if e.resolve(r) {
				changed++
			}
		}
		return nil
	})
	return changed, err
}

func (s *stream) selected(r relay.Resolution) (list []*entry) {
	for _, id := range r.EventIDs {
		if e := s.byID[id]; e != nil {
			list = append(list, e)
		}
	}
	if len(r.EventIDs) > 0 {
		return list
	}
	for _, e := range s.entries {
		if e.matches(r.State, r.Code) {
			list = append(list, e)
		}
	}
	return list
}

func (e *entry) resolve(r relay.Resolution) bool {
	switch {
	case e.State == relay.DeliveredState, e.State == relay.Skipped && r.Action == relay.Skip:
		return false
	case r.Action == relay.Skip:
		e.State, e.NextAttempt = relay.Skipped, time.Time{}
	default:
		e.State, e.Since, e.NextAttempt = relay.Parked, r.At, r.At
	}
	e.record(relay.Attempt{At: r.At, Outcome: string(r.Action), By: r.By})
	return true
}
