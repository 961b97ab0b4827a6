package pgstore

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/relay"
)

func TestPruneKeepsUndeliveredEvents(t *testing.T) {
	var logged bytes.Buffer
	s := newStore(t, newPool(t), Options{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	s.pruneBatch = 2
	j := s.Journal()
	ids, _ := appended(t, s, at(charges("acme", numbered("r", 9)...), pruneDay(0)))
	appended(t, s, at(charges("globex", "free"), pruneDay(1)))
	state := leased(t, j, acme, "a")
	other := relay.Stream{Destination: "other", Platform: "acme"}
	otherState := leased(t, j, other, "a")
	foreign := relay.Stream{Destination: "events of another store", Platform: "acme"}
	_, err := j.Lease(t.Context(), foreign, relay.LeaseRequest{Holder: "a", TTL: time.Minute, Position: "somewhere"})
	require.NoError(t, err)

	require.EqualValues(t, 1, pruned(t, s, 2), "the event of globex, although all others before it stay")
	require.Contains(t, logged.String(), "level=WARN")
	require.Contains(t, logged.String(), acme.Destination)
	require.Equal(t, 1, bytes.Count(logged.Bytes(), []byte("\n")))

	p := positionAfter(t, s, "acme", 5)
	p.Token = state.Token
	for i, entry := range []relay.EntryState{relay.Parked, relay.Dead, relay.DeliveredState} {
		p.Entries = append(p.Entries, relay.EntryChange{EventID: ids[i], State: entry, NextAttempt: pruneDay(9), Attempt: relay.Attempt{At: pruneDay(1)}})
	}
	require.NoError(t, j.Save(t.Context(), acme, p))
	require.Zero(t, pruned(t, s, 2), "the other destination has none of the events")

	last := positionAfter(t, s, "acme", 9)
	last.Token = otherState.Token
	require.NoError(t, j.Save(t.Context(), other, last))
	require.EqualValues(t, 2, pruned(t, s, 2))
	require.Equal(t, []string{ids[0], ids[1], ids[4], ids[5], ids[6], ids[7], ids[8]}, listed(t, s, "acme"))
	status := statusOf(t, j, acme)
	require.EqualValues(t, 4, status.Lag, "events after the position are not deleted")
	require.Equal(t, pruneDay(0).Truncate(time.Microsecond), status.OldestPending)

	skip := relay.Resolution{Stream: acme, Action: relay.Skip, State: relay.Dead, By: "o", At: pruneDay(2)}
	n, err := j.Resolve(t.Context(), skip)
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	require.EqualValues(t, 1, pruned(t, s, 2))

	_, err = j.Resolve(t.Context(), relay.Resolution{Stream: acme, Action: relay.Retire, By: "o", At: pruneDay(2)})
	require.NoError(t, err)
	require.EqualValues(t, 5, pruned(t, s, 2))
	require.Equal(t, ids[8:], listed(t, s, "acme"), "the event at the position")
	logged.Reset()
	_, err = j.Resolve(t.Context(), relay.Resolution{Stream: other, Action: relay.Retire, By: "o", At: pruneDay(2)})
	require.NoError(t, err)
	require.EqualValues(t, 1, pruned(t, s, 2))
	require.Empty(t, logged.String())

	later := leased(t, j, relay.Stream{Destination: "later", Platform: "acme"}, "a")
	require.Empty(t, later.Position)
	require.Zero(t, statusOf(t, j, relay.Stream{Destination: "later", Platform: "acme"}).Lag, "deleted events do not count")
}

func TestPruneKeepsKeysOfUndeliveredEvents(t *testing.T) {
	s := newStore(t, newPool(t), Options{})
	s.pruneBatch = 1
	j := s.Journal()
	first := keyed("first", at(charges("acme", "", "", ""), pruneDay(0)))
	second := keyed("second", at(charges("acme", "", ""), pruneDay(0)))
	third := keyed("third", at(charges("acme", "", ""), pruneDay(0)))
	ids, _ := appended(t, s, first)
	more, _ := appended(t, s, second)
	last, _ := appended(t, s, third)
	p := positionAfter(t, s, "acme", 7) // within the third key
	p.Token = leased(t, j, acme, "a").Token
	p.Entries = []relay.EntryChange{{EventID: ids[1], State: relay.Dead, Attempt: relay.Attempt{At: pruneDay(1)}}}
	require.NoError(t, j.Save(t.Context(), acme, p))

	require.EqualValues(t, 2, pruned(t, s, 1))
	require.Equal(t, append(append([]string{}, ids...), last...), listed(t, s, "acme"))
	again, replayed := appended(t, s, first)
	require.Equal(t, ids, again)
	require.Equal(t, []bool{true, true, true}, replayed)
	again, _ = appended(t, s, third)
	require.Equal(t, last, again)
	again, replayed = appended(t, s, second)
	require.NotEqual(t, more, again)
	require.Equal(t, []bool{false, false}, replayed)
}

func TestPruneSeesStreamsCreatedMeanwhile(t *testing.T) {
	s := newStore(t, newPool(t), Options{})
	ids, _ := appended(t, s, at(charges("acme", "a", "b"), pruneDay(0)))
	p := pruning{store: s, before: pruneDay(1)}
	require.NoError(t, p.start(t.Context()))
	_, groups, err := p.nextGroups(t.Context())
	require.NoError(t, err)
	require.Equal(t, ids, groups[0].ids)
	leased(t, s.Journal(), acme, "a")
	n, err := p.delete(t.Context(), groups[0])
	require.NoError(t, err)
	require.Zero(t, n)
	require.Equal(t, ids, listed(t, s, "acme"))
}

func TestNewStreamWaitsForPrune(t *testing.T) {
	parallel(t)
	s := newStore(t, newPool(t), Options{})
	end := lockStored(t, s.pool, s, s.options.Schema, "acme")
	created := make(chan error)
	go func() {
		_, err := s.Journal().Lease(t.Context(), acme, relay.LeaseRequest{Holder: "a", TTL: time.Minute})
		created <- err
	}()
	awaitLockWaits(t, s.pool, s.options.Schema, 1)
	end()
	require.NoError(t, <-created)
}
