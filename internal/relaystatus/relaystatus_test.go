package relaystatus_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/relaystatus"
	"example.com/chargeingest/relay"
)

type ledger struct {
	relay.Ledger
	status func(ctx context.Context) ([]relay.Status, error)
	calls  atomic.Int64
}

func (l *ledger) Status(ctx context.Context, platform string) ([]relay.Status, error) {
	l.calls.Add(1)
	if platform != "" {
		return nil, errors.New("the status of one platform was asked for")
	}
	return l.status(ctx)
}

func stream(destination, platform string) relay.Status {
	return relay.Status{Stream: relay.Stream{Destination: destination, Platform: platform}}
}

func TestSumOverPlatforms(t *testing.T) {
	oldest := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var streams []relay.Status
	for i := range 10_000 {
		s := stream("a", fmt.Sprint(i))
		s.Lag, s.Parked, s.Dead = 2, 3, 4
		if i%2 == 0 {
			s.OldestPending = oldest.Add(time.Duration((i+5000)%10_000) * time.Second)
		}
		streams = append(streams, s)
	}
	retired := stream("a", "retired")
	retired.Lag, retired.OldestPending, retired.Parked, retired.RetiredAt = 1e9, oldest.Add(-time.Hour), 1, oldest
	unknown := stream("b", "x")
	unknown.Lag = -1
	known := stream("b", "y")
	known.Lag = 5
	l := &ledger{status: func(context.Context) ([]relay.Status, error) { return append(streams, retired, unknown, known), nil }}
	got, _ := relaystatus.NewReader(l).Read()
	require.Equal(t, map[string]relaystatus.Destination{
		"a": {Lag: 20_000, OldestPending: oldest, Parked: 30_000, Dead: 40_000},
		"b": {Lag: 5, Unknown: 1},
	}, got)
	require.Equal(t, time.Minute, got["a"].Age(oldest.Add(time.Minute)))
	require.Zero(t, got["a"].Age(oldest.Add(-time.Minute)), "by a clock that is behind")
	require.Zero(t, got["b"].Age(oldest))
}

func TestCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var err error
		l := &ledger{status: func(context.Context) ([]relay.Status, error) { return []relay.Status{stream("a", "p")}, err }}
		r := relaystatus.NewReader(l)
		start := time.Now()
		for range 49 { // 4.9 seconds
			got, at := r.Read()
			require.Len(t, got, 1)
			require.Equal(t, start, at)
			time.Sleep(100 * time.Millisecond)
		}
		require.EqualValues(t, 1, l.calls.Load())
		err = errors.New("locked")
		time.Sleep(time.Second)
		got, at := r.Read()
		require.EqualValues(t, 2, l.calls.Load())
		require.Len(t, got, 1, "the last known status")
		require.Equal(t, start, at)
	})
}

func TestSlowStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{status: func(ctx context.Context) ([]relay.Status, error) {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(3 * time.Second):
				return []relay.Status{stream("a", "p")}, nil
			}
		}}
		r := relaystatus.NewReader(l)
		start := time.Now()
		for range 2 {
			before := time.Now()
			got, at := r.Read()
			require.Empty(t, got)
			require.Zero(t, at)
			require.Equal(t, time.Second, time.Since(before))
		}
		require.EqualValues(t, 1, l.calls.Load(), "one read at a time")
		time.Sleep(2 * time.Second)
		got, at := r.Read()
		require.Len(t, got, 1)
		require.Equal(t, start, at, "not the time when it was known")
		require.EqualValues(t, 1, l.calls.Load())
	})
}

func TestStuckStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{status: func(ctx context.Context) ([]relay.Status, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		r := relaystatus.NewReader(l)
		r.Read()
		time.Sleep(time.Minute)
		r.Read()
		require.EqualValues(t, 2, l.calls.Load(), "a read that takes half a minute is given up")
		time.Sleep(time.Minute)
	})
}
