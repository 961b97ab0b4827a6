package sqlitestore

import (
	"context"
	"crypto/sha256"
	"database/sql/driver"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/groupcommit"
)

func received() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 987_654_321, time.UTC) }

func charge(reference string) chargeingest.NewEvent {
	content := fmt.Sprintf(`{"reference":%q,"timestamp":"2026-03-01T12:00:00Z"}`, reference)
	return chargeingest.NewEvent{
		Content:       content,
		Reference:     reference,
		ProductItemID: "item",
		Timestamp:     received().Truncate(time.Second),
		ReceivedAt:    received(),
		Digest:        sha256.Sum256([]byte(content)),
	}
}

func setCustomer(e *chargeingest.NewEvent, id, reference string) {
	e.CustomerID, e.CustomerReference = id, reference
	e.Content = fmt.Sprintf(`{"customer_id":%q,"customer_reference":%q,`, id, reference) + e.Content[1:]
	e.Digest = sha256.Sum256([]byte(e.Content))
}

func charges(platform string, references ...string) chargeingest.Batch {
	b := chargeingest.Batch{Platform: platform, Route: chargeingest.RouteBatch}
	for _, r := range references {
		b.Events = append(b.Events, charge(r))
	}
	return b
}

func changed(platform, reference string) chargeingest.Batch {
	b := charges(platform, reference)
	b.Events[0].Content = `{"reference":"` + reference + `","description":"changed"}`
	b.Events[0].Digest = sha256.Sum256([]byte(b.Events[0].Content))
	return b
}

func numbered(n int) []string {
	references := make([]string, n)
	for i := range references {
		references[i] = fmt.Sprintf("ref-%d", i)
	}
	return references
}

type setup struct {
	path    string
	options Options
	tuning  tuning
	faults  *faults
}

func newSetup(t *testing.T) setup {
	t.Helper()
	f := new(faults)
	s := setup{
		path:   filepath.Join(t.TempDir(), "charges.db"),
		tuning: defaultTuning(),
		faults: f,
	}
	s.options.Logger = slog.New(slog.DiscardHandler)
	s.tuning.reopenEvery, s.tuning.walCheckEvery, s.tuning.stateEvery = 0, 0, 0
	s.tuning.wrap = func(c driver.Connector) driver.Connector { return faultyConnector{c, f} }
	return s
}

func (s setup) open(t *testing.T) *Store {
	t.Helper()
	store, err := open(t.Context(), s.path, s.options, s.tuning)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

func (s setup) openError(t *testing.T) error {
	t.Helper()
	store, err := open(t.Context(), s.path, s.options, s.tuning)
	if err == nil {
		require.NoError(t, store.Close())
	}
	require.Error(t, err)
	return err
}

func appended(t *testing.T, s *Store, b chargeingest.Batch) []chargeingest.Outcome {
	t.Helper()
	result, err := s.Append(t.Context(), b)
	require.NoError(t, err)
	require.Len(t, result.Outcomes, len(b.Events))
	return result.Outcomes
}

func fresh(t *testing.T, s *Store, b chargeingest.Batch) []string {
	t.Helper()
	return ids(t, appended(t, s, b), false)
}

func replayed(t *testing.T, s *Store, b chargeingest.Batch) []string {
	t.Helper()
	return ids(t, appended(t, s, b), true)
}

func ids(t *testing.T, outcomes []chargeingest.Outcome, replayed bool) []string {
	t.Helper()
	var list []string
	for i, o := range outcomes {
		require.Equal(t, replayed, o.Replayed, "event %d", i)
		list = append(list, o.ID)
	}
	return list
}

func listed(t *testing.T, s *Store, platform string) []string {
	t.Helper()
	page, err := s.List(t.Context(), chargeingest.Query{Platform: platform, Order: chargeingest.Ascending, Limit: 10_000})
	require.NoError(t, err)
	list := []string{}
	for _, e := range page.Events {
		list = append(list, e.ID)
	}
	return list
}

type sending chan groupcommit.Result

func call(ctx context.Context, s *Store, b chargeingest.Batch) sending {
	done := make(sending, 1)
	go func() {
		result, err := s.Append(ctx, b)
		done <- groupcommit.Result{AppendResult: result, Err: err}
	}()
	return done
}

func send(ctx context.Context, s *Store, b chargeingest.Batch) sending {
	waiting := func() int { return s.writer.queue.Stats().QueuedEvents }
	before := waiting()
	done := call(ctx, s, b)
	for waiting() == before {
		runtime.Gosched()
	}
	return done
}

func hold(s *Store) (release func()) {
	held, end := make(chan struct{}), make(chan struct{})
	go s.writer.do(context.Background(), func() error {
		close(held)
		<-end
		return nil
	})
	<-held
	return sync.OnceFunc(func() { close(end) })
}

func awaitReadLock(s *Store) {
	for s.reading.TryRLock() {
		s.reading.RUnlock()
		runtime.Gosched()
	}
}

func value[T any](t *testing.T, s *Store, query string) T {
	t.Helper()
	var v T
	require.NoError(t, s.writer.do(t.Context(), func() error {
		rows, err := s.writer.session.query(query)
		if err == nil {
			v, _ = rows[0][0].(T)
		}
		return err
	}))
	return v
}

func byReferenceQuery(reference string) chargeingest.Query {
	return chargeingest.Query{Platform: "acme", Reference: reference, Order: chargeingest.Ascending, Limit: 10}
}
