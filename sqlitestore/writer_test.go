package sqlitestore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sqlite3 "modernc.org/sqlite/lib"

	"example.com/chargeingest"
)

func unknown(t *testing.T, err error) {
	t.Helper()
	require.ErrorIs(t, err, chargeingest.ErrOutcomeUnknown)
	require.NotErrorIs(t, err, chargeingest.ErrNotStored)
	var conflict *chargeingest.ConflictError
	require.NotErrorAs(t, err, &conflict)
}

func TestGroupCommit(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	release := hold(s)
	var calls []sending
	for i := range 20 {
		calls = append(calls, send(t.Context(), s, charges("acme", fmt.Sprint("a", i), fmt.Sprint("b", i))))
	}
	setup.faults.clear()
	release()
	for _, pending := range calls {
		require.NoError(t, (<-pending).Err)
	}
	require.Equal(t, 1, setup.faults.count("COMMIT"))
	require.Len(t, listed(t, s, "acme"), 40)
	fresh(t, s, charges("acme", "alone"))
	require.Equal(t, 2, setup.faults.count("COMMIT"))
}

func TestTransactionEventLimit(t *testing.T) {
	setup := newSetup(t)
	setup.options.MaxTransactionEvents = 5
	s := setup.open(t)
	release := hold(s)
	var calls []sending
	for i := range 6 {
		calls = append(calls, send(t.Context(), s, charges("acme", fmt.Sprint("a", i), fmt.Sprint("b", i))))
	}
	setup.faults.clear()
	release()
	for _, pending := range calls {
		require.NoError(t, (<-pending).Err)
	}
	require.Equal(t, 3, setup.faults.count("COMMIT"))
}

func TestFullQueue(t *testing.T) {
	setup := newSetup(t)
	setup.options.MaxQueuedEvents = 3
	s := setup.open(t)
	release := hold(s)
	defer release()
	first := send(t.Context(), s, charges("acme", "a", "b", "c"))
	_, err := s.Append(t.Context(), charges("acme", "d"))
	require.ErrorIs(t, err, chargeingest.ErrOverloaded)
	other := send(t.Context(), s, charges("globex", "a"))
	require.ErrorIs(t, (<-first).Err, chargeingest.ErrOverloaded, "globex has its share")
	release()
	require.NoError(t, (<-other).Err)
	require.Empty(t, listed(t, s, "acme"))
	fresh(t, s, charges("acme", numbered(4)...))
}

func TestBatchesOfATransactionSeeEachOther(t *testing.T) {
	s := newSetup(t).open(t)
	release := hold(s)
	first := send(t.Context(), s, charges("acme", "a"))
	again := send(t.Context(), s, charges("acme", "a", "b"))
	other := send(t.Context(), s, changed("acme", "b"))
	release()
	stored := ids(t, (<-first).Outcomes, false)
	outcomes := (<-again).Outcomes
	require.Equal(t, stored[0], outcomes[0].ID)
	require.True(t, outcomes[0].Replayed)
	require.False(t, outcomes[1].Replayed)
	var conflict *chargeingest.ConflictError
	require.ErrorAs(t, (<-other).Err, &conflict)
	require.Equal(t, outcomes[1].ID, conflict.EventID)
	require.Equal(t, []string{"description", "timestamp"}, conflict.Fields)
}

func TestRejectedBatchDoesNotAffectItsGroup(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	large := charges("acme", "large")
	large.Events[0].Content = `{"reference":"large","description":"` + strings.Repeat("x", 9<<20) + `"}`
	fresh(t, s, large)
	larger := large
	larger.Events = []chargeingest.NewEvent{large.Events[0]}
	larger.Events[0].Reference = "larger"
	fresh(t, s, larger)
	release := hold(s)
	setup.faults.clear()
	rejected := changed("acme", "large")
	rejected.Duplicates = chargeingest.ReturnOriginal
	rejected.Events = append(rejected.Events, changed("acme", "larger").Events...)
	calls := []sending{send(t.Context(), s, charges("acme", "a")), send(t.Context(), s, rejected), send(t.Context(), s, charges("acme", "b"))}
	release()
	ids(t, (<-calls[0]).Outcomes, false)
	require.ErrorIs(t, (<-calls[1]).Err, chargeingest.ErrResponseTooLarge)
	ids(t, (<-calls[2]).Outcomes, false)
	require.Equal(t, 2, setup.faults.count("COMMIT"), "its group ends, since it has loaded too much")
}

func TestCancelWhileQueued(t *testing.T) {
	s := newSetup(t).open(t)
	release := hold(s)
	ctx, cancel := context.WithCancel(t.Context())
	pending := send(ctx, s, charges("acme", "a"))
	cancel()
	err := (<-pending).Err
	require.ErrorIs(t, err, chargeingest.ErrNotStored)
	require.ErrorIs(t, err, context.Canceled)
	release()
	require.Empty(t, listed(t, s, "acme"))
	fresh(t, s, charges("acme", "a"))
}

func TestCancelledCallIsNotQueued(t *testing.T) {
	setup := newSetup(t)
	setup.options.MaxQueuedEvents = 2
	s := setup.open(t)
	release := hold(s)
	pending := send(t.Context(), s, charges("acme", "a", "b"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Append(ctx, charges("globex", "a"))
	require.ErrorIs(t, err, chargeingest.ErrNotStored)
	require.ErrorIs(t, err, context.Canceled)
	release()
	require.NoError(t, (<-pending).Err)
}

func TestCancelDuringCommit(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	committing, end := make(chan struct{}), make(chan struct{})
	setup.faults.once("COMMIT", func() error {
		close(committing)
		<-end
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	pending := call(ctx, s, charges("acme", "a"))
	<-committing
	cancel()
	err := (<-pending).Err
	unknown(t, err)
	require.ErrorIs(t, err, context.Canceled)
	close(end)
	replayed(t, s, charges("acme", "a"))
}

func TestFailingBatchDoesNotAffectItsGroup(t *testing.T) {
	for name, bad := range map[string]struct {
		fault func() error
		check func(*testing.T, error)
	}{
		"an error stores nothing": {
			func() error { return resultError(sqlite3.SQLITE_CONSTRAINT) },
			func(t *testing.T, err error) {
				require.ErrorIs(t, err, chargeingest.ErrNotStored)
				require.ErrorIs(t, err, resultError(sqlite3.SQLITE_CONSTRAINT))
			},
		},
		"a panic is unknown": {
			func() error { panic("bad batch") },
			func(t *testing.T, err error) {
				unknown(t, err)
				require.ErrorContains(t, err, "bad batch")
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			setup := newSetup(t)
			s := setup.open(t)
			session := s.writer.session
			setup.faults.set(func(st step) error {
				if strings.HasPrefix(st.statement, "INSERT INTO events") &&
					slices.ContainsFunc(st.arguments, func(a driver.NamedValue) bool { return a.Value == charge("bad").Content }) {
					return bad.fault()
				}
				return nil
			}, nil)
			release := hold(s)
			var calls []sending
			for _, reference := range []string{"a", "bad", "b"} {
				calls = append(calls, send(t.Context(), s, charges("acme", reference+"-0", reference)))
			}
			release()
			first := ids(t, (<-calls[0]).Outcomes, false)
			bad.check(t, (<-calls[1]).Err)
			last := ids(t, (<-calls[2]).Outcomes, false)
			require.Equal(t, append(first, last...), listed(t, s, "acme"))
			require.Same(t, session, s.writer.session)

			_, err := s.Append(t.Context(), charges("acme", "bad"))
			bad.check(t, err)
			setup.faults.clear()
			fresh(t, s, charges("acme", "bad"))
		})
	}
}

func TestPlatformAfterRollback(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	setup.faults.on("INSERT INTO events", resultError(sqlite3.SQLITE_CONSTRAINT))
	_, err := s.Append(t.Context(), charges("acme", "a"))
	require.ErrorIs(t, err, chargeingest.ErrNotStored)
	setup.faults.clear()
	fresh(t, s, charges("globex", "a"))
	fresh(t, s, charges("acme", "a"))
	require.Len(t, listed(t, s, "globex"), 1)
	require.Len(t, listed(t, s, "acme"), 1)
}

func observed(t *testing.T) (*Store, chan chargeingest.CommitStats) {
	setup, commits := newSetup(t), make(chan chargeingest.CommitStats, 1000)
	setup.options.Observer = func(c chargeingest.CommitStats) { commits <- c }
	return setup.open(t), commits
}

func TestGroupTimeLimit(t *testing.T) {
	s, commits := observed(t)
	fresh(t, s, charges("acme", "a"))
	<-commits
	s.writer.groupTime = 0
	release := hold(s)
	var sendings []sending
	for i := range 10 {
		sendings = append(sendings, send(t.Context(), s, charges("acme", fmt.Sprint("b", i))), send(t.Context(), s, changed("acme", "a")))
	}
	release()
	var stored []string
	for i, done := range sendings {
		result := <-done
		if i%2 == 1 {
			var conflict *chargeingest.ConflictError
			require.ErrorAs(t, result.Err, &conflict)
			continue
		}
		require.NoError(t, result.Err)
		stored = append(stored, result.Outcomes[0].ID)
	}
	require.IsIncreasing(t, stored, "the order of sending")
	require.Len(t, listed(t, s, "acme"), 11)
	for range 10 {
		require.Equal(t, 1, (<-commits).Requests)
	}
}

func TestGroupByteLimitOfReplays(t *testing.T) {
	s, commits := observed(t)
	var sendings []sending
	large := charges("acme", "large")
	large.Events[0].Content = strings.TrimSuffix(large.Events[0].Content, "}") + `,"description":"` + strings.Repeat("x", 4<<20) + `"}`
	fresh(t, s, large)
	<-commits
	release := hold(s)
	for i := range 20 {
		again := changed("acme", "large")
		again.Duplicates = chargeingest.ReturnOriginal
		again.Events = append(again.Events, charges("acme", fmt.Sprint(i)).Events...)
		sendings = append(sendings, send(t.Context(), s, again))
	}
	release()
	for _, done := range sendings {
		result := <-done
		require.NoError(t, result.Err)
		require.Len(t, result.Outcomes[0].Content, len(large.Events[0].Content))
	}
	for range 5 {
		require.Equal(t, 4, (<-commits).Requests)
	}
}

func TestUnreadableDigest(t *testing.T) {
	s := newSetup(t).open(t)
	fresh(t, s, charges("acme", "a"))
	require.NoError(t, s.writer.do(t.Context(), func() error {
		return s.writer.session.exec("UPDATE events SET digest = x'00'")
	}))
	_, err := s.Append(t.Context(), charges("acme", "a"))
	require.ErrorIs(t, err, chargeingest.ErrNotStored)
	_, err = s.List(t.Context(), chargeingest.Query{Platform: "acme", Limit: 1})
	require.Error(t, err)
}

func TestIDsIncreaseWhenTheClockGoesBack(t *testing.T) {
	setup := newSetup(t)
	var all []string
	for i := range 4 {
		s := setup.open(t)
		b := charges("acme", fmt.Sprint("a", i), fmt.Sprint("b", i))
		for j := range b.Events {
			b.Events[j].ReceivedAt = received().Add(-time.Duration(i) * time.Hour)
		}
		all = append(all, fresh(t, s, b)...)
		require.NoError(t, s.Close())
	}
	require.IsIncreasing(t, all)
}

type brokenEntropy struct{ mode string }

func (e *brokenEntropy) Read(p []byte) (int, error) {
	switch e.mode {
	case "error":
		return 0, errors.New("no entropy")
	case "panic":
		panic("no entropy")
	}
	for i := range p {
		p[i] = 7
	}
	return len(p), nil
}

func TestFailingEntropy(t *testing.T) {
	setup := newSetup(t)
	entropy := new(brokenEntropy)
	setup.options.Entropy = entropy
	s := setup.open(t)
	fresh(t, s, charges("acme", "a"))
	batch := charges("acme", numbered(1000)...)
	for i := range batch.Events {
		batch.Events[i].ReceivedAt = received().Add(time.Duration(i+1) * time.Millisecond)
	}
	for _, entropy.mode = range []string{"error", "panic"} {
		_, err := s.Append(t.Context(), batch)
		require.ErrorContains(t, err, "no entropy")
		require.Len(t, listed(t, s, "acme"), 1)
	}
	entropy.mode = ""
	fresh(t, s, batch)
}
