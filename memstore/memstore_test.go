package memstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
	"example.com/chargeingest/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) chargeingest.EventStore { return memstore.New() })
}

func charges(n int) chargeingest.Batch {
	b := chargeingest.Batch{Platform: "acme", Route: chargeingest.RouteBatch}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i := range n {
		reference := fmt.Sprintf("ref-%d", i)
		b.Events = append(b.Events, chargeingest.NewEvent{
			Content:    fmt.Sprintf(`{"reference":%q,"timestamp":"2026-03-01T12:00:00Z"}`, reference),
			Reference:  reference,
			Timestamp:  at,
			ReceivedAt: at,
		})
	}
	return b
}

func seededEntropy() io.Reader { return rand.NewChaCha8([32]byte{1}) }

func TestReproducibleIDs(t *testing.T) {
	first, err := memstore.NewWith(memstore.Options{Entropy: seededEntropy()}).Append(t.Context(), charges(20))
	require.NoError(t, err)
	second, err := memstore.NewWith(memstore.Options{Entropy: seededEntropy()}).Append(t.Context(), charges(20))
	require.NoError(t, err)
	require.Equal(t, first, second)
	other, err := memstore.New().Append(t.Context(), charges(20))
	require.NoError(t, err)
	require.NotEqual(t, first, other)
}

type limitedReader struct {
	io.Reader
	left int
}

var errNoEntropy = errors.New("no entropy")

func (r *limitedReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, errNoEntropy
	}
	n, err := r.Reader.Read(p[:min(len(p), r.left, 8)])
	r.left -= n
	return n, err
}

func TestIDErrorInBatchStoresNothing(t *testing.T) {
	entropy := &limitedReader{seededEntropy(), 32}
	s := memstore.NewWith(memstore.Options{Entropy: entropy})
	b := charges(20)
	b.IdempotencyKey = "key"

	_, err := s.Append(t.Context(), b)
	require.ErrorIs(t, err, chargeingest.ErrNotStored)
	require.ErrorIs(t, err, errNoEntropy)
	require.Zero(t, entropy.left, "ids were made before one failed")
	page, err := s.List(t.Context(), chargeingest.Query{Platform: b.Platform, Limit: 100})
	require.NoError(t, err)
	require.Empty(t, page.Events)

	entropy.left = 1 << 20
	result, err := s.Append(t.Context(), b)
	require.NoError(t, err)
	for i, o := range result.Outcomes {
		require.False(t, o.Replayed, "event %d", i)
	}
}

func TestEndedContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := memstore.New()
	_, err := s.Append(ctx, charges(1))
	require.ErrorIs(t, err, chargeingest.ErrNotStored)
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.Get(ctx, "acme", "any")
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.List(ctx, chargeingest.Query{Platform: "acme", Limit: 1})
	require.ErrorIs(t, err, context.Canceled)
}

func TestMalformedContentIsNotStored(t *testing.T) {
	s := memstore.New()
	_, err := s.Append(t.Context(), charges(1))
	require.NoError(t, err)
	malformed := charges(1)
	malformed.Events[0].Content = `{`
	malformed.Events[0].Digest[0] = 1
	_, err = s.Append(t.Context(), malformed)
	require.ErrorIs(t, err, chargeingest.ErrNotStored)
	var conflict *chargeingest.ConflictError
	require.NotErrorAs(t, err, &conflict)
}

func TestConflictIsNotErrNotStored(t *testing.T) {
	s := memstore.New()
	_, err := s.Append(t.Context(), charges(1))
	require.NoError(t, err)
	changed := charges(1)
	changed.Events[0].Content = `{"reference":"ref-0"}`
	changed.Events[0].Digest[0] = 1
	_, err = s.Append(t.Context(), changed)
	var conflict *chargeingest.ConflictError
	require.ErrorAs(t, err, &conflict)
	require.NotErrorIs(t, err, chargeingest.ErrNotStored)
}

func TestClosedStore(t *testing.T) {
	s := memstore.New()
	result, err := s.Append(t.Context(), charges(1))
	require.NoError(t, err)
	require.NoError(t, s.Ready(t.Context()))
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())

	_, err = s.Append(t.Context(), charges(1))
	require.ErrorIs(t, err, chargeingest.ErrClosed)
	_, err = s.Get(t.Context(), "acme", result.Outcomes[0].ID)
	require.ErrorIs(t, err, chargeingest.ErrClosed)
	_, err = s.List(t.Context(), chargeingest.Query{Platform: "acme", Limit: 1})
	require.ErrorIs(t, err, chargeingest.ErrClosed)
	require.ErrorIs(t, s.Ready(t.Context()), chargeingest.ErrClosed)
}

func TestCursorBeyondEnd(t *testing.T) {
	long, short := memstore.New(), memstore.New()
	_, err := long.Append(t.Context(), charges(3))
	require.NoError(t, err)
	_, err = short.Append(t.Context(), charges(2))
	require.NoError(t, err)
	q := chargeingest.Query{Platform: "acme", Order: chargeingest.Ascending, Limit: 10}
	page, err := long.List(t.Context(), q)
	require.NoError(t, err)

	q.After = page.Position
	_, err = short.List(t.Context(), q)
	require.ErrorIs(t, err, chargeingest.ErrInvalidCursor)
	_, err = long.List(t.Context(), q)
	require.NoError(t, err)
}

func BenchmarkAppend(b *testing.B) {
	s := memstore.New()
	batch := charges(1)
	b.ReportAllocs()
	for i := range b.N {
		batch.Events = []chargeingest.NewEvent{batch.Events[0]}
		batch.Events[0].Reference = strconv.Itoa(i)
		if _, err := s.Append(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
}

func TestJournal(t *testing.T) {
	storetest.RunJournal(t, func(*testing.T) (chargeingest.EventStore, storetest.Journal) {
		s := memstore.New()
		return s, s.Journal()
	})
}
