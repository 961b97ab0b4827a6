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

var (
	_ relay.Journal = (*Journal)(nil)
	_ relay.Ledger  = (*Journal)(nil)
)

// Journal is a [relay.Journal] and a [relay.Ledger] in a [Store].
type Journal struct{ store *Store }

// Journal returns the journal of the store.
func (s *Store) Journal() *Journal { return &Journal{s} }

type stream struct {
	relay.State
	status  relay.Status // without what is computed from entries and events
	holder  string
	leased  time.Time
	entries []*entry
	byID    map[string]*entry
}

type entry struct {
	relay.Entry
	number int64
}

func (j *Journal) write(ctx context.Context, name relay.Stream, f func(*stream) error) error {
	j.store.mu.Lock()
	defer j.store.mu.Unlock()
	if j.store.closed {
		return chargeingest.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return f(j.store.streams[name])
}

// Lease implements [relay.Journal].
func (j *Journal) Lease(ctx context.Context, name relay.Stream, r relay.LeaseRequest) (state relay.State, err error) {
	err = j.write(ctx, name, func(s *stream) error {
		now := time.Now()
		if s == nil {
			s = &stream{State: relay.State{Position: r.Position}, byID: make(map[string]*entry)}
			s.status.Stream = name
			j.store.streams[name] = s
		}
		switch held := now.Before(s.leased); {
		case !s.status.RetiredAt.IsZero():
			return relay.ErrRetired
		case held && s.holder != r.Holder:
			return relay.ErrLeaseHeld
		case !held && r.TTL > 0:
			s.Token++
		}
		s.holder, s.leased = r.Holder, now.Add(r.TTL)
		state = s.State
		return nil
	})
	return state, err
}

// Save implements [relay.Journal].
func (j *Journal) Save(ctx context.Context, name relay.Stream, p relay.Progress) error {
	return j.write(ctx, name, func(s *stream) error {
		if s == nil || s.Token == 0 || s.Token != p.Token {
			return relay.ErrLeaseLost
		}
		s.Position = cmp.Or(p.Position, s.Position)
		s.LastEventID = cmp.Or(p.LastEventID, s.LastEventID)
		for _, c := range p.Entries {
			s.change(c)
		}
		now := time.Now().UTC()
		s.status.Delivered += p.Delivered
		s.status.Repeated += p.Repeated
		s.status.SavedAt = now
		if p.Failure != nil {
			if s.status.Failure == "" {
				s.status.FailingSince = now
			}
			if s.status.Failure = *p.Failure; s.status.Failure == "" {
				s.status.FailingSince = time.Time{}
			}
		}
		return nil
	})
}

func (s *stream) change(c relay.EntryChange) {
	e := s.byID[c.EventID]
	if e == nil {
		e = &entry{Entry: relay.Entry{EventID: c.EventID, Since: c.Attempt.At}, number: int64(len(s.entries)) + 1}
		s.byID[c.EventID] = e
		s.entries = append(s.entries, e)
	}
	if e.State == relay.Skipped && c.State != relay.DeliveredState {
		return
	}
	e.State, e.NextAttempt = c.State, time.Time{}
	if c.State == relay.Parked {
		e.NextAttempt = c.NextAttempt
	}
	if c.State != relay.DeliveredState {
		e.Reason = c.Attempt.Reason
	}
	e.Attempts++
	e.record(c.Attempt)
}

const maxHistory = 50

func (e *entry) record(a relay.Attempt) {
	if len(e.History) == maxHistory {
		e.History = slices.Delete(e.History, 1, 2)
	}
	e.History = append(e.History, a)
}

func (e *entry) copied() relay.Entry {
	c := e.Entry
	c.History = slices.Clone(c.History)
	return c
}

// Due implements [relay.Journal].
func (j *Journal) Due(ctx context.Context, name relay.Stream, now time.Time, limit int) (due []relay.Entry, next time.Time, err error) {
	_, unlock, err := j.store.read(ctx, "")
	if err != nil {
		return nil, time.Time{}, err
	}
	defer unlock()
	s := j.store.streams[name]
	if s == nil {
		return nil, time.Time{}, nil
	}
	var ready []*entry
	for _, e := range s.entries {
		switch {
		case e.State != relay.Parked:
		case !e.NextAttempt.After(now):
			ready = append(ready, e)
		case next.IsZero() || e.NextAttempt.Before(next):
			next = e.NextAttempt
		}
	}
	slices.SortStableFunc(ready, func(a, b *entry) int { return a.NextAttempt.Compare(b.NextAttempt) })
	if len(ready) > limit {
		ready, next = ready[:limit], ready[limit].NextAttempt
	}
	for _, e := range ready {
		due = append(due, e.copied())
	}
	return due, next, nil
}

func (s *Store) position(st *stream) (sequence int64, known bool) {
	if st.Position == "" {
		return 0, true
	}
	sequence, err := cursor.Decode(st.Position)
	p := s.platforms[st.status.Platform]
	return sequence, err == nil && p != nil && sequence <= int64(len(p.events))
}
