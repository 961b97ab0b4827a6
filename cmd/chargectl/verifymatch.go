package main

import (
	"context"
	"fmt"
	"sync"

	"example.com/chargeingest"
	"example.com/chargeingest/chargeclient"
	"example.com/chargeingest/storekit"
)

const (
	concurrentLookups = 8
	eventsPerLookup   = 10
)

type matches struct {
	file *eventFile

	mu     sync.Mutex
	totals totals // of stored events

	references, unreferenced int // not found yet
}

func newMatches(f *eventFile) *matches {
	return &matches{file: f, references: f.references, unreferenced: f.unreferenced}
}

func (m *matches) pending() int { return m.references + m.unreferenced }

// add is called once for each stored event.
func (m *matches) add(e *chargeclient.Event) error {
	reference := *orZero(e.Reference)
	if reference == "" {
		return m.addUnreferenced(e)
	}
	i, ok := m.file.index[referenceKey(reference)]
	if !ok {
		return nil
	}
	full, untimed, err := contentDigests(e.ChargeEvent)
	if err != nil {
		return fmt.Errorf("event %s: %w", e.ID, err)
	}
	for ; i >= 0; i = m.file.lines[i].next {
		l := &m.file.lines[i]
		if l.content == full || l.content == untimed {
			l.status = lineStored
		} else if err := m.compare(e, i); err != nil {
			return err
		}
	}
	return m.count(e, &m.references)
}

func (m *matches) compare(e *chargeclient.Event, i int32) error {
	l := &m.file.lines[i]
	sent, _, err := m.file.event(l)
	if err != nil {
		return err
	}
	stored := e.ChargeEvent
	stored.ID, sent.ID = "", ""
	storedText, err := stored.MarshalJSON()
	if err != nil {
		return err
	}
	sentText, err := sent.MarshalJSON()
	if err != nil {
		return err
	}
	fields, err := storekit.Differences(
		chargeingest.StoredEvent{ID: e.ID, Content: string(storedText), TimestampAssigned: l.untimed},
		// Equal digests would mean equal contents.
		&chargeingest.NewEvent{Content: string(sentText), TimestampAssigned: l.untimed, Digest: chargeingest.Digest{1}},
	)
	if err != nil {
		return err
	}
	l.status = lineStored
	if len(fields) > 0 {
		l.status = lineDifferent
		m.mu.Lock()
		m.file.problems[i] = problem{e.ID, fields}
		m.mu.Unlock()
	}
	return nil
}

// addUnreferenced prefers lines with a timestamp: the others match any.
func (m *matches) addUnreferenced(e *chargeclient.Event) error {
	full, untimed, err := contentDigests(e.ChargeEvent)
	if err != nil {
		return fmt.Errorf("event %s: %w", e.ID, err)
	}
	for _, key := range []digest{full, untimed} {
		i, ok := m.file.index[key]
		if !ok {
			continue
		}
		l := &m.file.lines[i]
		l.status = lineStored
		if l.next < 0 {
			delete(m.file.index, key)
		} else {
			m.file.index[key] = l.next
		}
		return m.count(e, &m.unreferenced)
	}
	return nil
}

func (m *matches) count(e *chargeclient.Event, pending *int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.totals.add(&e.ChargeEvent); err != nil {
		return fmt.Errorf("event %s: %w", e.ID, err)
	}
	*pending--
	return nil
}

// matchListing reads from the last event back, unless lookups cost less.
func (v *verifier) matchListing(ctx context.Context, client *chargeclient.Client) (isComplete bool, err error) {
	q := chargeclient.Query{Limit: maxPageEvents}
	total, read := v.matches.pending(), 0
	for v.matches.pending() > 0 {
		matched := total - v.matches.pending()
		if v.matches.unreferenced == 0 && read >= max(3*total, 4*maxPageEvents)+eventsPerLookup*matched {
			return false, nil
		}
		page, err := client.List(ctx, q)
		if err != nil {
			return false, err
		}
		for i := range page.Events {
			if err := v.matches.add(&page.Events[i]); err != nil {
				return false, err
			}
		}
		read += len(page.Events)
		v.progress.add(total - v.matches.pending() - matched)
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	return true, nil
}

func (v *verifier) lookUp(ctx context.Context, client *chargeclient.Client) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan *fileLine, concurrentLookups)
	var workers sync.WaitGroup
	for range concurrentLookups {
		workers.Go(func() {
			for l := range work {
				if err := v.lookUpLine(ctx, client, l); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := range v.file.lines {
		l := &v.file.lines[i]
		if l.next >= 0 || l.status != lineMissing { // one line of each reference
			continue
		}
		select {
		case work <- l:
		case <-ctx.Done():
		}
	}
	close(work)
	workers.Wait()
	return context.Cause(ctx)
}

func (v *verifier) lookUpLine(ctx context.Context, client *chargeclient.Client, l *fileLine) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	sent, _, err := v.file.event(l)
	if err != nil {
		return err
	}
	page, err := client.List(ctx, chargeclient.Query{Reference: *sent.Reference, Limit: 1})
	if err != nil {
		return err
	}
	for i := range page.Events {
		if err := v.matches.add(&page.Events[i]); err != nil {
			return err
		}
	}
	v.progress.add(1)
	return nil
}
