package chargeingest

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/turns"
)

// boundTo is a Lookup that knows one key and no reference.
type boundTo struct{ bound BoundRequest }

func (l *boundTo) BoundRequest(context.Context, string, string) (*BoundRequest, error) {
	return &l.bound, nil
}

func (l *boundTo) EventByReference(context.Context, string, string) (*StoredEvent, error) {
	return nil, nil
}

// What was sent under a key can be larger than what was returned, and than the
// retry that is compared with it.
func TestSentContentsAreReserved(t *testing.T) {
	large := `{"x":[` + strings.Repeat(" ", 1<<20) + `]}`
	look := &boundTo{BoundRequest{Route: RouteSingle, Events: []BoundEvent{{
		StoredEvent: StoredEvent{ID: "chda_x", Content: `{"x":[]}`, Digest: Digest{1}},
		Sent:        &StoredEvent{Content: large, Digest: Digest{2}},
	}}}}
	b := Batch{
		Route: RouteSingle, IdempotencyKey: "k", Digest: Digest{9},
		Events: []NewEvent{{Content: `{"x":[1]}`, Digest: Digest{3}}},
	}
	budget := &byteBudget{limit: 1000, used: 900}
	b.compared.limits = &limits{slots: turns.NewGate(1), held: &reservation{budget: budget}}
	_, err := CompareOutside(t.Context(), b, func(b Batch) (AppendResult, error) {
		_, err := Decide(t.Context(), b, look)
		return AppendResult{}, err
	})
	require.ErrorIs(t, err, ErrOverloaded)
}

// Between two attempts the stored event is pruned and stored again by another
// request: the same reference and digest, another time of receipt.
func TestEqualDigestsOfTwoAttempts(t *testing.T) {
	stored := func(second int) StoredEvent {
		return StoredEvent{
			ID: fmt.Sprintf("chda_%d", second), TimestampAssigned: true, Digest: Digest{1},
			Content: fmt.Sprintf(`{"reference":"r","timestamp":"2026-05-01T00:00:0%dZ"}`, second),
		}
	}
	look := &oneEvent{stored(1)}
	sent := NewEvent{Reference: "r", Content: `{"reference":"r","timestamp":"2026-05-01T00:00:01Z"}`, Digest: Digest{2}}
	_, err := CompareOutside(t.Context(), Batch{Events: []NewEvent{sent}}, func(b Batch) (AppendResult, error) {
		d, err := Decide(t.Context(), b, look)
		look.StoredEvent = stored(2)
		if err != nil {
			return AppendResult{}, err
		}
		return d.Apply(nil)
	})
	var conflict *ConflictError
	require.ErrorAs(t, err, &conflict, "the timestamps differ by a second")
	require.Equal(t, "chda_2", conflict.EventID)
}

// lateStore is a store whose Append ends its caller's wait, as the contract of
// EventStore allows, before its work ends.
type lateStore struct {
	look  Lookup
	begin chan struct{}
	ended chan struct{}
}

func (s *lateStore) Append(ctx context.Context, b Batch) (AppendResult, error) {
	go func() {
		defer close(s.ended)
		<-s.begin
		_, _ = CompareOutside(ctx, b, func(b Batch) (AppendResult, error) {
			_, err := Decide(ctx, b, s.look)
			return AppendResult{}, err
		})
	}()
	return AppendResult{}, context.DeadlineExceeded
}

func TestReservationEndsWithItsRequest(t *testing.T) {
	s := &lateStore{
		look:  &oneEvent{StoredEvent{Content: `{"x":[` + strings.Repeat(" ", 1<<20) + `]}`}},
		begin: make(chan struct{}), ended: make(chan struct{}),
	}
	budget := &byteBudget{limit: 64 << 20}
	held := &reservation{budget: budget, platform: "p"}
	b := Batch{Events: []NewEvent{{Reference: "r", Content: `{"x":[1]}`, Digest: Digest{1}}}}
	b.compared.limits = &limits{slots: turns.NewGate(1), held: held}
	_, err := s.Append(t.Context(), b)
	require.Error(t, err)
	held.end() // as the exchange does
	close(s.begin)
	<-s.ended
	require.Zero(t, budget.used, "nothing gives these bytes back")
}

// Contents that are compared take memory in proportion to their text. Each entry
// of a list takes 48 bytes, also where its text has two.
func TestComparisonMemory(t *testing.T) {
	const n = 500_000
	for name, c := range map[string]struct{ open, last, end string }{
		"a list of numbers":        {`{"x":[`, "", "]}"},
		"a list of numbers, deep":  {strings.Repeat(`{"x":`, 30) + "[", "", "]" + strings.Repeat("}", 30)},
		"lists of another length":  {`{"x":[`, ",3", "]}"},
		"a list against a number":  {`{"x":[`, "number", "]}"},
		"a list and its white end": {`{"x":[`, " ", "]}"},
	} {
		t.Run(name, func(t *testing.T) {
			was := c.open + strings.Repeat("0,", n/2) + "1" + c.end
			is := c.open + strings.Repeat("0,", n/2) + "2" + c.last + c.end
			if c.last == "number" {
				is = `{"x":1}`
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Differences(StoredEvent{Content: was}, &NewEvent{Content: is, Digest: Digest{1}})
			runtime.ReadMemStats(&after)
			require.NoError(t, err)
			perByte := float64(after.TotalAlloc-before.TotalAlloc) / float64(len(was)+len(is))
			require.LessOrEqual(t, perByte, 16.0)
		})
	}
}
