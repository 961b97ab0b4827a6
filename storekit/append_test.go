package storekit

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/limits"
)

type oneRecord struct{ record IdempotencyRecord }

func (l *oneRecord) IdempotencyRecord(context.Context, string, string) (*IdempotencyRecord, error) {
	return &l.record, nil
}

func (l *oneRecord) EventByReference(context.Context, string, string) (*chargeingest.StoredEvent, error) {
	return nil, nil
}

func limitedContext(t *testing.T, free int64) (context.Context, *limits.Reservation) {
	t.Helper()
	const size = 64 << 20
	budget := limits.NewBudget(size)
	other := &limits.Reservation{Budget: budget, Platform: "other"}
	require.True(t, other.Resize(size-free))
	r := &limits.Reservation{Budget: budget, Platform: "p"}
	return limits.WithComparison(t.Context(), &limits.Comparison{Gate: limits.NewGate(1), Reservation: r}), r
}

type oneEvent struct{ chargeingest.StoredEvent }

func (l *oneEvent) EventByReference(context.Context, string, string) (*chargeingest.StoredEvent, error) {
	return &l.StoredEvent, nil
}

func (l *oneEvent) IdempotencyRecord(context.Context, string, string) (*IdempotencyRecord, error) {
	return nil, nil
}

func TestAppend(t *testing.T) {
	newEvent := func(content string, digest byte) chargeingest.NewEvent {
		return chargeingest.NewEvent{Reference: "r", Content: content, Digest: chargeingest.Digest{digest}}
	}
	large := `{"a":1,"x":{"n":null` + strings.Repeat(" ", 100_000) + `}}`
	for _, c := range []struct {
		name     string
		stored   string
		sent     chargeingest.NewEvent
		attempts int
		conflict bool
	}{
		{"equal digests need one attempt", `{"a":1}`, newEvent(`{"a":1}`, 1), 1, false},
		{"equal content with another digest needs a second attempt", `{"a":1,"b":2}`, newEvent(`{"b":2,"a":1}`, 2), 2, false},
		{"a conflict needs no second attempt", `{"a":1}`, newEvent(`{"a":2}`, 2), 1, true},
		{"large content needs a reservation first", large, newEvent(`{"a":1,"x":{}}`, 2), 3, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			look := &oneEvent{chargeingest.StoredEvent{ID: "chda_x", Content: c.stored, Digest: chargeingest.Digest{1}}}
			attempts := 0
			result, err := Append(t.Context(), chargeingest.Batch{Events: []chargeingest.NewEvent{c.sent}}, func(a Attempt) (chargeingest.AppendResult, error) {
				attempts++
				d, err := a.Decide(t.Context(), look)
				if err != nil {
					require.ErrorIs(t, err, chargeingest.ErrNotStored)
					return chargeingest.AppendResult{}, err
				}
				return d.Apply(nil)
			})
			require.Equal(t, c.attempts, attempts)
			var conflict *chargeingest.ConflictError
			if c.conflict {
				require.ErrorAs(t, err, &conflict)
				return
			}
			require.NoError(t, err)
			require.True(t, result.Outcomes[0].Replayed)

			d, err := Decide(t.Context(), chargeingest.Batch{Events: []chargeingest.NewEvent{c.sent}}, look)
			require.NoError(t, err)
			require.Equal(t, "chda_x", d.events[0].replay.ID)
		})
	}
	t.Run("the stored event changes in each attempt", func(t *testing.T) {
		look := &oneEvent{chargeingest.StoredEvent{Content: `{"a":1,"b":2}`}}
		_, err := Append(t.Context(), chargeingest.Batch{Events: []chargeingest.NewEvent{newEvent(`{"b":2,"a":1}`, 99)}}, func(a Attempt) (chargeingest.AppendResult, error) {
			look.Content += " "
			_, err := a.Decide(t.Context(), look)
			return chargeingest.AppendResult{}, err
		})
		require.ErrorIs(t, err, chargeingest.ErrNotStored)
	})
	t.Run("the comparison does not fit into the budget", func(t *testing.T) {
		ctx, _ := limitedContext(t, 100)
		b := chargeingest.Batch{Events: []chargeingest.NewEvent{newEvent(`{"a":1,"x":{}}`, 2)}}
		_, err := Append(ctx, b, func(a Attempt) (chargeingest.AppendResult, error) {
			d, err := a.Decide(t.Context(), &oneEvent{chargeingest.StoredEvent{Content: large}})
			require.Nil(t, d)
			return chargeingest.AppendResult{}, err
		})
		require.ErrorIs(t, err, chargeingest.ErrOverloaded)
	})
}

// The content sent with a key can be larger than the stored event and the retry.
func TestSentContentsAreReserved(t *testing.T) {
	large := `{"x":[` + strings.Repeat(" ", 1<<20) + `]}`
	look := &oneRecord{IdempotencyRecord{Route: chargeingest.RouteSingle, Events: []RecordedEvent{{
		StoredEvent: chargeingest.StoredEvent{ID: "chda_x", Content: `{"x":[]}`, Digest: chargeingest.Digest{1}},
		Sent:        &chargeingest.StoredEvent{Content: large, Digest: chargeingest.Digest{2}},
	}}}}
	b := chargeingest.Batch{
		Route: chargeingest.RouteSingle, IdempotencyKey: "k", Digest: chargeingest.Digest{9},
		Events: []chargeingest.NewEvent{{Content: `{"x":[1]}`, Digest: chargeingest.Digest{3}}},
	}
	ctx, _ := limitedContext(t, 100)
	_, err := Append(ctx, b, func(a Attempt) (chargeingest.AppendResult, error) {
		_, err := a.Decide(t.Context(), look)
		return chargeingest.AppendResult{}, err
	})
	require.ErrorIs(t, err, chargeingest.ErrOverloaded)
}

func TestEqualDigestsOfTwoAttempts(t *testing.T) {
	stored := func(second int) chargeingest.StoredEvent {
		return chargeingest.StoredEvent{
			ID: fmt.Sprintf("chda_%d", second), TimestampAssigned: true, Digest: chargeingest.Digest{1},
			Content: fmt.Sprintf(`{"reference":"r","timestamp":"2026-05-01T00:00:0%dZ"}`, second),
		}
	}
	look := &oneEvent{stored(1)}
	sent := chargeingest.NewEvent{Reference: "r", Content: `{"reference":"r","timestamp":"2026-05-01T00:00:01Z"}`, Digest: chargeingest.Digest{2}}
	_, err := Append(t.Context(), chargeingest.Batch{Events: []chargeingest.NewEvent{sent}}, func(a Attempt) (chargeingest.AppendResult, error) {
		d, err := a.Decide(t.Context(), look)
		look.StoredEvent = stored(2)
		if err != nil {
			return chargeingest.AppendResult{}, err
		}
		return d.Apply(nil)
	})
	var conflict *chargeingest.ConflictError
	require.ErrorAs(t, err, &conflict, "the timestamps differ by a second")
	require.Equal(t, "chda_2", conflict.EventID)
}

type lateStore struct {
	lookup Lookup
	begin  chan struct{}
	ended  chan struct{}
}

func (s *lateStore) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
	go func() {
		defer close(s.ended)
		<-s.begin
		_, _ = Append(ctx, b, func(a Attempt) (chargeingest.AppendResult, error) {
			_, err := a.Decide(ctx, s.lookup)
			return chargeingest.AppendResult{}, err
		})
	}()
	return chargeingest.AppendResult{}, context.DeadlineExceeded
}

func TestReservationEndsWithItsRequest(t *testing.T) {
	s := &lateStore{
		lookup: &oneEvent{chargeingest.StoredEvent{Content: `{"x":[` + strings.Repeat(" ", 1<<20) + `]}`}},
		begin:  make(chan struct{}), ended: make(chan struct{}),
	}
	ctx, held := limitedContext(t, 32<<20)
	b := chargeingest.Batch{Events: []chargeingest.NewEvent{{Reference: "r", Content: `{"x":[1]}`, Digest: chargeingest.Digest{1}}}}
	_, err := s.Append(ctx, b)
	require.Error(t, err)
	held.Release() // as the handler does
	close(s.begin)
	<-s.ended
	require.Zero(t, held.Bytes(), "the request has ended")
}

func TestComparisonMemory(t *testing.T) {
	const n = 500_000
	for name, c := range map[string]struct{ open, last, end string }{
		"a list of numbers":          {`{"x":[`, "", "]}"},
		"a nested list of numbers":   {strings.Repeat(`{"x":`, 30) + "[", "", "]" + strings.Repeat("}", 30)},
		"lists of different lengths": {`{"x":[`, ",3", "]}"},
		"a list and a number":        {`{"x":[`, "number", "]}"},
		"white space after a list":   {`{"x":[`, " ", "]}"},
	} {
		t.Run(name, func(t *testing.T) {
			was := c.open + strings.Repeat("0,", n/2) + "1" + c.end
			is := c.open + strings.Repeat("0,", n/2) + "2" + c.last + c.end
			if c.last == "number" {
				is = `{"x":1}`
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Differences(chargeingest.StoredEvent{Content: was}, &chargeingest.NewEvent{Content: is, Digest: chargeingest.Digest{1}})
			runtime.ReadMemStats(&after)
			require.NoError(t, err)
			perByte := float64(after.TotalAlloc-before.TotalAlloc) / float64(len(was)+len(is))
			require.LessOrEqual(t, perByte, 16.0)
		})
	}
}
