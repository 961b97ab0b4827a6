package pgstore

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

const sizeInterval = time.Minute

type tableSize struct {
	mu        sync.Mutex
	bytes     int64
	measured  time.Time
	measuring bool
}

// databaseBytes measures in the background. It returns 0 before, and after a failure.
func (s *Store) databaseBytes() int64 {
	t := &s.size
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.measuring && time.Since(t.measured) >= sizeInterval && s.beginRead(context.Background()) == nil {
		t.measuring = true
		go s.measureSize()
	}
	return t.bytes
}

func (s *Store) measureSize() {
	defer s.reading.Done()
	var bytes int64
	_ = s.query(context.Background(), func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, s.sql.databaseBytes, s.options.Schema).Scan(&bytes)
	})
	t := &s.size
	t.mu.Lock()
	defer t.mu.Unlock()
	t.measuring, t.measured = false, time.Now()
	t.bytes = bytes
}
