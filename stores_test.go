package chargeingest_test

import (
	"context"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

type storeFunc func(context.Context, chargeingest.Batch) (chargeingest.AppendResult, error)

func (f storeFunc) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
	return f(ctx, b)
}

type readableStore struct {
	*memstore.Store
	append func(context.Context, chargeingest.Batch) (chargeingest.AppendResult, error)
	get    func(context.Context, string, string) (chargeingest.StoredEvent, error)
	list   func(context.Context, chargeingest.Query) (chargeingest.Page, error)
}

func (s *readableStore) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
	if s.append != nil {
		return s.append(ctx, b)
	}
	return s.Store.Append(ctx, b)
}

func (s *readableStore) Get(ctx context.Context, platform, id string) (chargeingest.StoredEvent, error) {
	if s.get != nil {
		return s.get(ctx, platform, id)
	}
	return s.Store.Get(ctx, platform, id)
}

func (s *readableStore) List(ctx context.Context, q chargeingest.Query) (chargeingest.Page, error) {
	if s.list != nil {
		return s.list(ctx, q)
	}
	return s.Store.List(ctx, q)
}

type blockingStore struct {
	*memstore.Store
	entered, free chan struct{}
}

func newBlockingStore() *blockingStore {
	return &blockingStore{memstore.New(), make(chan struct{}, 10), make(chan struct{})}
}

func (g *blockingStore) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
	g.entered <- struct{}{}
	select {
	case <-g.free:
		return g.Store.Append(ctx, b)
	case <-ctx.Done():
		return chargeingest.AppendResult{}, ctx.Err()
	}
}
