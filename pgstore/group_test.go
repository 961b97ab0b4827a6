package pgstore

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/groupcommit"
	"example.com/chargeingest/storekit"
)

func TestGroupCommit(t *testing.T) {
	pool := newPool(t)
	commits := make(chan chargeingest.CommitStats, 100)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema, StatementTimeout: time.Minute, Observer: func(c chargeingest.CommitStats) { commits <- c }})
	end := lockPlatform(t, pool, schema, "acme")
	var sending sync.WaitGroup
	send := func(b chargeingest.Batch) {
		sending.Go(func() {
			_, err := s.Append(t.Context(), b)
			require.NoError(t, err)
		})
	}
	send(charges("acme", "first"))
	awaitLockWaits(t, pool, schema, 1)
	for i := range 20 {
		send(charges(fmt.Sprintf("platform-%d", i%3), fmt.Sprint(i)))
	}
	require.Eventually(t, func() bool { return s.Stats().QueuedRequests == 20 }, 10*time.Second, time.Millisecond)
	require.Equal(t, 20, s.Stats().QueuedEvents)
	end()
	sending.Wait()
	require.Equal(t, 1, (<-commits).Events)
	group := <-commits
	require.Equal(t, 20, group.Events)
	require.Equal(t, 20, group.Requests)
	require.Positive(t, group.Duration)
	require.EqualValues(t, 2, s.Stats().Commits)
}

func TestDecisionsWithinAGroup(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema, StatementTimeout: time.Minute})
	first, _ := appended(t, s, charges("acme", "a"))

	end := lockPlatform(t, pool, schema, "acme")
	results := make(map[string]chan error)
	send := func(name string, b chargeingest.Batch) {
		done := make(chan error, 1)
		results[name] = done
		go func() {
			_, err := s.Append(context.Background(), b)
			done <- err
		}()
		if n := len(results) - 1; n > 0 {
			require.Eventually(t, func() bool { return s.Stats().QueuedRequests == n }, 10*time.Second, time.Millisecond)
		}
	}
	send("blocks the writer", charges("acme", "b"))
	awaitLockWaits(t, pool, schema, 1)
	keyed := charges("acme", "k1", "k2")
	keyed.IdempotencyKey = "key"
	send("new", charges("acme", "c"))
	send("the same again", charges("acme", "c"))
	send("other content", changed("acme", "c"))
	send("other content of a stored event", changed("acme", "a"))
	send("a replay", charges("acme", "a"))
	send("half new", charges("acme", "a", "d"))
	send("half a conflict", chargeingest.Batch{Platform: "acme", Events: append(charges("acme", "e").Events, changed("acme", "a").Events...)})
	send("keyed", keyed)
	send("keyed again", keyed)
	end()
	for name, done := range results {
		err := <-done
		var conflict *chargeingest.ConflictError
		switch name {
		case "other content", "other content of a stored event", "half a conflict":
			require.ErrorAs(t, err, &conflict, name)
		default:
			require.NoError(t, err, name)
		}
		if name == "other content of a stored event" {
			require.Equal(t, first[0], conflict.EventID)
			require.Equal(t, []string{"product_item_id"}, conflict.Fields)
		}
	}
	require.Len(t, listed(t, s, "acme"), 6)
}

func TestGroupLimits(t *testing.T) {
	s := newStore(t, newPool(t), Options{})
	var requests []*groupcommit.Request
	for i := range 3 {
		requests = append(requests, &groupcommit.Request{Attempt: storekit.Attempt{Batch: charges("acme", fmt.Sprint(i))}})
	}
	decided := func(l *lookup, deadline time.Time) int {
		g, err := decide(t.Context(), requests, l, s.writer.ids.Next, deadline)
		require.NoError(t, err)
		require.Equal(t, len(g.results), g.events.len())
		return len(g.results)
	}
	later := time.Now().Add(time.Hour)
	require.Equal(t, 3, decided(&lookup{}, later))
	require.Equal(t, 1, decided(&lookup{}, time.Now().Add(-1)))
	require.Equal(t, 1, decided(&lookup{fetchedBytes: maxPrefetchBytes + 1}, later))
}

func TestRejectedEventDoesNotAffectItsGroup(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	var log bytes.Buffer
	s := newStore(t, pool, Options{Schema: schema, StatementTimeout: time.Minute, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	end := lockPlatform(t, pool, schema, "acme")
	results := make(chan error, 3)
	send := func(b chargeingest.Batch) {
		go func() { _, err := s.Append(context.Background(), b); results <- err }()
	}
	send(charges("acme", "a"))
	awaitLockWaits(t, pool, schema, 1)
	bad := charges("acme", "bad")
	bad.Events[0].CustomerID = "\x00" // the handler would reject it
	send(bad)
	send(charges("acme", "good"))
	require.Eventually(t, func() bool { return s.Stats().QueuedRequests == 2 }, 10*time.Second, time.Millisecond)
	end()
	failed := 0
	for range 3 {
		if err := <-results; err != nil {
			require.ErrorIs(t, err, chargeingest.ErrNotStored)
			failed++
		}
	}
	require.Equal(t, 1, failed)
	require.Len(t, listed(t, s, "acme"), 2)
	require.Contains(t, log.String(), "22021")
}

func TestBrokenReferenceDoesNotAffectItsGroup(t *testing.T) {
	for name, statement := range map[string]string{
		"the event was deleted":   "DELETE FROM $schema.events WHERE reference = 'broken'",
		"the content is not JSON": "UPDATE $schema.events SET content = '{' WHERE reference = 'broken'",
	} {
		pool := newPool(t)
		schema := newSchema(t, pool)
		s := newStore(t, pool, Options{Schema: schema, StatementTimeout: time.Minute})
		appended(t, s, charges("acme", "broken"))
		_, err := pool.Exec(t.Context(), strings.ReplaceAll(statement, "$schema", schema))
		require.NoError(t, err)

		end := lockPlatform(t, pool, schema, "acme")
		var all sync.WaitGroup
		all.Go(func() {
			_, err := s.Append(t.Context(), charges("acme", "first"))
			require.NoError(t, err)
		})
		awaitLockWaits(t, pool, schema, 1)
		var failures [20]error
		for i := range failures {
			all.Go(func() {
				b := charges("acme", fmt.Sprint(i))
				if i == 10 {
					b = changed("acme", "broken")
				}
				_, failures[i] = s.Append(t.Context(), b)
			})
		}
		require.Eventually(t, func() bool { return s.Stats().QueuedRequests == len(failures) }, 10*time.Second, time.Millisecond)
		end()
		all.Wait()
		for i, err := range failures {
			if i == 10 {
				require.ErrorIs(t, err, chargeingest.ErrNotStored, name)
			} else {
				require.NoError(t, err, name)
			}
		}
	}
}

func TestPermanentTransientErrors(t *testing.T) {
	parallel(t)
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema, StatementTimeout: 2 * time.Second})
	_, err := pool.Exec(t.Context(), `CREATE FUNCTION `+schema+`.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
IF NEW.platform = 'evil' THEN RAISE EXCEPTION 'injected' USING ERRCODE = '40001'; END IF; RETURN NEW; END $$;
CREATE TRIGGER fail BEFORE INSERT ON `+schema+`.events FOR EACH ROW EXECUTE FUNCTION `+schema+`.fail()`)
	require.NoError(t, err)
	var all sync.WaitGroup
	for i := range 5 {
		for _, platform := range []string{"evil", "acme", "globex"} {
			all.Go(func() {
				_, err := s.Append(t.Context(), charges(platform, fmt.Sprint(i)))
				if platform == "evil" {
					require.ErrorIs(t, err, chargeingest.ErrNotStored)
				} else {
					require.NoError(t, err)
				}
			})
		}
	}
	all.Wait()
}

func TestSlowConflicts(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema, StatementTimeout: 300 * time.Millisecond})
	large := charges("evil", "large")
	large.Events[0].Content = strings.TrimSuffix(large.Events[0].Content, "}") + `,"description":"` + strings.Repeat("x", 1<<20) + `"}`
	appended(t, s, large)
	end := lockPlatform(t, pool, schema, "hold")
	var all sync.WaitGroup
	all.Go(func() { _, _ = s.Append(t.Context(), charges("hold", "a")) })
	awaitLockWaits(t, pool, schema, 1)
	const many = 250
	for i := range many {
		all.Go(func() {
			_, err := s.Append(t.Context(), changed("evil", "large"))
			var conflict *chargeingest.ConflictError
			require.ErrorAs(t, err, &conflict)
		})
		if i%20 == 0 {
			all.Go(func() {
				_, err := s.Append(t.Context(), charges("acme", fmt.Sprint(i)))
				require.NoError(t, err)
			})
		}
	}
	end()
	all.Wait()
}
