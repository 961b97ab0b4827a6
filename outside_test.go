package chargeingest

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/turns"
)

// oneEvent is a Lookup that knows one event by any reference.
type oneEvent struct{ StoredEvent }

func (l *oneEvent) EventByReference(context.Context, string, string) (*StoredEvent, error) {
	return &l.StoredEvent, nil
}

func (l *oneEvent) BoundRequest(context.Context, string, string) (*BoundRequest, error) {
	return nil, nil
}

func TestCompareOutside(t *testing.T) {
	newEvent := func(content string, digest byte) NewEvent {
		return NewEvent{Reference: "r", Content: content, Digest: Digest{digest}}
	}
	large := `{"a":1,"x":{"n":null` + strings.Repeat(" ", 100_000) + `}}`
	for _, c := range []struct {
		name     string
		stored   string
		sent     NewEvent
		attempts int
		conflict bool
	}{
		{"equal digests need one attempt", `{"a":1}`, newEvent(`{"a":1}`, 1), 1, false},
		{"equal contents need a second attempt", `{"a":1,"b":2}`, newEvent(`{"b":2,"a":1}`, 2), 2, false},
		{"a conflict needs no second attempt", `{"a":1}`, newEvent(`{"a":2}`, 2), 1, true},
		{"a larger content needs room first", large, newEvent(`{"a":1,"x":{}}`, 2), 3, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			look := &oneEvent{StoredEvent{ID: "chda_x", Content: c.stored, Digest: Digest{1}}}
			attempts := 0
			receipt, err := CompareOutside(t.Context(), Batch{Events: []NewEvent{c.sent}}, func(b Batch) (AppendResult, error) {
				attempts++
				d, err := Decide(t.Context(), b, look)
				if err != nil {
					require.ErrorIs(t, err, ErrNotStored)
					return AppendResult{}, err
				}
				return d.Apply(nil)
			})
			require.Equal(t, c.attempts, attempts)
			var conflict *ConflictError
			if c.conflict {
				require.ErrorAs(t, err, &conflict)
				return
			}
			require.NoError(t, err)
			require.True(t, receipt.Outcomes[0].Replayed)

			// A store that does not know of CompareOutside decides the same.
			d, err := Decide(t.Context(), Batch{Events: []NewEvent{c.sent}}, look)
			require.NoError(t, err)
			require.Equal(t, "chda_x", d.events[0].replay.ID)
		})
	}
	t.Run("it gives up if what is stored keeps changing", func(t *testing.T) {
		look := &oneEvent{StoredEvent{Content: `{"a":1,"b":2}`}}
		_, err := CompareOutside(t.Context(), Batch{Events: []NewEvent{newEvent(`{"b":2,"a":1}`, 99)}}, func(b Batch) (AppendResult, error) {
			look.Content += " "
			_, err := Decide(t.Context(), b, look)
			return AppendResult{}, err
		})
		require.ErrorIs(t, err, ErrNotStored)
	})
	t.Run("no memory is held without a reservation", func(t *testing.T) {
		budget := &byteBudget{limit: 1000, used: 900}
		b := Batch{Events: []NewEvent{newEvent(`{"a":1,"x":{}}`, 2)}}
		b.compared.limits = &limits{slots: turns.NewGate(1), held: &reservation{budget: budget}}
		_, err := CompareOutside(t.Context(), b, func(b Batch) (AppendResult, error) {
			d, err := Decide(t.Context(), b, &oneEvent{StoredEvent{Content: large}})
			require.Nil(t, d)
			return AppendResult{}, err
		})
		require.ErrorIs(t, err, ErrOverloaded)
	})
}

func TestValidationIsGivenUp(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	// status is that of a request of platform p that was given up.
	status := func(t *testing.T, v *validator, body string) int {
		route := RouteSingle
		if strings.HasPrefix(body, `{"charge_datas"`) {
			route = RouteBatch
		}
		_, err := v.records(ended, "p", []byte(body), route, time.Now())
		var e *Error
		require.ErrorAs(t, err, &e)
		return e.Status
	}
	// busy returns a validator of which all slots but one are held.
	busy := func(t *testing.T) *validator {
		v, err := newValidator(1000, true, crossRules{})
		require.NoError(t, err)
		for range runtime.GOMAXPROCS(0) {
			leave, err := v.slots.Enter(t.Context(), "others")
			require.NoError(t, err)
			t.Cleanup(leave)
		}
		return v
	}
	list := `{"x":[` + strings.Repeat(`1,`, 10_000) + `1]}`
	batch := `{"charge_datas":[` + strings.Repeat(`{"x":[1,2,3]},`, 2000) + `{}]}`
	for name, body := range map[string]string{"a large event": list, "a large batch": batch} {
		t.Run(name+" is validated while no other request waits", func(t *testing.T) {
			require.Equal(t, 400, status(t, busy(t), body))
		})
		t.Run(name+" makes way for another request", func(t *testing.T) {
			v := busy(t)
			var wait sync.WaitGroup
			wait.Go(func() {
				if leave, err := v.slots.Enter(t.Context(), "others"); err == nil {
					leave()
				}
			})
			t.Cleanup(wait.Wait) // after the slots are left
			for !v.slots.Waiting() {
				runtime.Gosched()
			}
			require.Equal(t, 503, status(t, v, body))
			leave, ok := v.slots.TryEnter("p")
			require.True(t, ok, "its slot is free")
			leave()
			require.Equal(t, 400, status(t, v, `{"x":1}`), "a small body")
		})
	}
	t.Run("it does not wait for a slot", func(t *testing.T) {
		v := busy(t)
		leave, err := v.slots.Enter(t.Context(), "last")
		require.NoError(t, err)
		defer leave()
		require.Equal(t, 503, status(t, v, `{"x":1}`))
	})
}

func TestUnknownNamesAreBounded(t *testing.T) {
	many := make([]string, 5000)
	for i := range many {
		many[i] = fmt.Sprintf(`"%s%s%d":1`, strings.Repeat(".", i%7), strings.Repeat("n", i%300), i)
	}
	names := strings.Join(many, ",")
	v, err := newValidator(1000, false, crossRules{})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		body  string
		route Route
	}{
		"of an event":          {`{` + names + `}`, RouteSingle},
		"of a value":           {`{"value":{` + names + `}}`, RouteSingle},
		"next to charge_datas": {`{` + names + `,"charge_datas":[]}`, RouteBatch},
		"of a batch's event":   {`{"charge_datas":[{` + names + `}]}`, RouteBatch},
	} {
		t.Run(name, func(t *testing.T) {
			err := v.judge(t.Context(), []byte(c.body), c.route, time.Now())
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Len(t, e.Violations, maxViolations)
			for _, violation := range e.Violations {
				require.LessOrEqual(t, len([]rune(violation.Field)), maxEchoedChars)
			}
		})
	}
}
