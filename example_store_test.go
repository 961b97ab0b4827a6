package chargeingest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"sync"
	"testing"

	"example.com/chargeingest"
	"example.com/chargeingest/storekit"
	"example.com/chargeingest/storetest"
)

// sliceStore is a slice with a lock that serves as its transaction.
type sliceStore struct {
	mu      sync.Mutex
	ids     *storekit.IDGenerator
	events  []storedEvent
	records map[[2]string]*storekit.IdempotencyRecord // by platform and key
}

type storedEvent struct {
	platform, reference string
	chargeingest.StoredEvent
}

var _ chargeingest.EventStore = (*sliceStore)(nil)

func newSliceStore() *sliceStore {
	ids, err := storekit.NewIDGenerator(nil, "")
	if err != nil {
		panic(err)
	}
	return &sliceStore{ids: ids, records: make(map[[2]string]*storekit.IdempotencyRecord)}
}

func (s *sliceStore) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
	if err := ctx.Err(); err != nil {
		return chargeingest.AppendResult{}, errors.Join(chargeingest.ErrNotStored, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	decision, err := storekit.Decide(ctx, b, s)
	if err != nil {
		return chargeingest.AppendResult{}, err
	}
	stored := len(s.events)
	result, err := decision.Apply(func(i int) (string, error) {
		e := &b.Events[i]
		id, err := s.ids.Next(e.ReceivedAt)
		s.events = append(s.events, storedEvent{b.Platform, e.Reference, chargeingest.StoredEvent{
			ID: id, Content: e.Content, TimestampAssigned: e.TimestampAssigned, Digest: e.Digest,
		}})
		return id, err
	})
	if err != nil {
		s.events = s.events[:stored] // all or nothing
		return chargeingest.AppendResult{}, errors.Join(chargeingest.ErrNotStored, err)
	}
	if record := decision.IdempotencyRecord(result); record != nil {
		s.records[[2]string{b.Platform, b.IdempotencyKey}] = record
	}
	return result, nil
}

func (s *sliceStore) IdempotencyRecord(_ context.Context, platform, key string) (*storekit.IdempotencyRecord, error) {
	return s.records[[2]string{platform, key}], nil
}

func (s *sliceStore) EventByReference(_ context.Context, platform, reference string) (*chargeingest.StoredEvent, error) {
	for i := range s.events {
		if e := &s.events[i]; e.platform == platform && e.reference == reference {
			return &e.StoredEvent, nil
		}
	}
	return nil, nil
}

// Your own store.
func ExampleEventStore() {
	store := newSliceStore()
	h, err := chargeingest.New(chargeingest.Config{Store: store, Authorizer: allowAll})
	if err != nil {
		panic(err)
	}
	srv := httptest.NewServer(h)
	defer srv.Close()

	fmt.Println(post(srv.URL+"/v1/ingest/charge-data", ""))
	fmt.Println(post(srv.URL+"/v1/ingest/charge-data", ""))
	fmt.Println(len(store.events), "event")
	// Output:
	// 201 Created
	// 201 Created
	// 1 event
}

func TestExampleStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) chargeingest.EventStore { return newSliceStore() })
}
