package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"example.com/chargeingest"
	"example.com/chargeingest/storekit"
)

const (
	backendInsertEvents   = "INSERT loop, events table of sqlitestore"
	backendPostgresInsert = "INSERT loop, pgstore"
	backendPostgresCalls  = "calls of pgstore"
)

type writerSpec struct {
	workload
	Backend  string
	Database string
	Callers  int
	Batch    int
}

type writer struct {
	writerSpec
	sink

	mu     sync.Mutex
	events *eventSource
}

type sink interface {
	write(ctx context.Context, events []newEvent) error
	close()
}

type newEvent struct {
	chargeingest.NewEvent
	id string
}

func newWriter(ctx context.Context, spec writerSpec) (*writer, error) {
	events, err := newEventSource(ctx, spec.workload)
	if err != nil {
		return nil, err
	}
	w := &writer{writerSpec: spec, events: events}
	switch spec.Backend {
	case backendInsertEvents:
		w.sink, err = openInserter(ctx, spec.Database)
	case backendPostgresInsert:
		w.sink, err = openPostgresInserter(ctx, spec.Database)
	case backendPostgresCalls:
		w.sink, err = openPostgresCaller(ctx, spec.Database)
	default:
		err = fmt.Errorf("unknown backend %q", spec.Backend)
	}
	return w, err
}

func (w *writer) run(ctx context.Context) (outcome, error) {
	return w.workload.run(ctx, w.Callers, func() {}, func(ctx context.Context, _ int) (operation, error) {
		op := operation{started: time.Now(), count: int64(w.Batch)}
		w.mu.Lock()
		events, err := w.events.next(w.Batch, &op.stored)
		w.mu.Unlock()
		if err != nil {
			return op, err
		}
		return op, w.write(ctx, events)
	})
}

type eventSource struct {
	events     []chargeingest.NewEvent
	sent       int
	ids        *storekit.IDGenerator
	references *references
	digests    interface{ Read([]byte) (int, error) }
}

func newEventSource(ctx context.Context, w workload) (*eventSource, error) {
	s := &eventSource{
		references: newReferences(w.Seed, w.Stream<<16, w.UUID),
		digests:    newRandom(w.Seed, w.Stream, 0x64696765737473),
	}
	var err error
	if s.ids, err = storekit.NewIDGenerator(nil, ""); err != nil {
		return nil, err
	}
	var c capture
	h, err := newHandler(&c)
	if err != nil {
		return nil, err
	}
	g := newGenerator(w.Seed)
	references := newReferences(w.Seed, 0, 4)
	for range eventBodies {
		made := g.next()
		if _, err := references.fill(made.body[made.reference:]); err != nil {
			return nil, err
		}
		event := make([]chargeingest.ChargeEvent, 1)
		if err := event[0].UnmarshalJSON(made.body); err != nil {
			return nil, err
		}
		r := chargeingest.IngestRequest{Platform: chargeingest.DefaultPlatform, Events: event}
		if _, err := h.Ingest(ctx, r); err != nil {
			return nil, err
		}
	}
	s.events = c.events
	return s, nil
}

func (s *eventSource) next(n int, stored *tally) ([]newEvent, error) {
	events := make([]newEvent, n)
	for i := range events {
		e := newEvent{NewEvent: s.events[s.sent%len(s.events)]}
		s.sent++
		content := []byte(e.Content)
		position := strings.Index(e.Content, e.Reference)
		var reference uuid.UUID
		var err error
		if reference, err = s.references.fill(content[position:]); err != nil {
			return nil, err
		}
		stored.add(reference)
		e.Content = string(content)
		e.Reference = e.Content[position : position+referenceLength]
		e.ReceivedAt = time.Now()
		if _, err = s.digests.Read(e.Digest[:]); err != nil {
			return nil, err
		}
		if e.id, err = s.ids.Next(e.ReceivedAt); err != nil {
			return nil, err
		}
		events[i] = e
	}
	return events, nil
}

type capture struct{ events []chargeingest.NewEvent }

func (c *capture) Append(_ context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
	c.events = append(c.events, b.Events...)
	return stored(b.Events, storekit.FirstID(time.Now())), nil
}

func stored(events []chargeingest.NewEvent, id string) chargeingest.AppendResult {
	result := chargeingest.AppendResult{Outcomes: make([]chargeingest.Outcome, len(events))}
	for i := range events {
		result.Outcomes[i].StoredEvent = chargeingest.StoredEvent{
			ID: id, Content: events[i].Content, TimestampAssigned: events[i].TimestampAssigned, Digest: events[i].Digest,
		}
	}
	return result
}
