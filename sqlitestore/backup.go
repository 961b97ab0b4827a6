package sqlitestore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"example.com/chargeingest"
)

// Backup writes a copy of the database to path, where nothing may be yet. The
// copy is of one moment, complete and synced when Backup returns; events are
// taken in meanwhile. Open opens it.
func (s *Store) Backup(ctx context.Context, path string) (err error) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fs.ErrExist
		}
		return fmt.Errorf("sqlitestore: backup to %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("sqlitestore: backup to %s: %w", path, err)
		}
	}()
	// A name of its own until it is whole, so that half a backup is never
	// taken for one.
	partial := path + "." + rand.Text() + ".partial"
	defer func() { err = errors.Join(err, removeIfThere(partial)) }()
	db, err := openDB(s.path, []pragma{{"busy_timeout", "5000", "5000"}})
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `VACUUM INTO ?`, partial)
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := syncFile(partial); err != nil {
		return err
	}
	if err := os.Rename(partial, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0) //nolint:gosec // the host chose the path
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// pruneStep is how many events a transaction of Prune deletes: few enough that
// requests hardly wait for it.
const pruneStep = 500

// Prune deletes the events that were received before a time, by their ids, and
// returns how many it deleted. An idempotency key goes in the same transaction
// as the events it was bound to; an event that a later request is bound to
// stays for as long as that one. The references of deleted events are free
// again: choose a time before which nobody sends again.
//
// It works in small transactions between those of Append. On an error what it
// deleted stays deleted.
func (s *Store) Prune(ctx context.Context, before time.Time) (deleted int64, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return deleted, err
		}
		var step int64
		// The job is waited for whatever the context says: it counts.
		err := s.do(context.WithoutCancel(ctx), func() error {
			var err error
			step, err = s.writer.prune(before)
			return err
		})
		deleted += step
		if err != nil || step == 0 {
			return deleted, err
		}
	}
}

// prune deletes some of the events before a time, in one transaction.
func (w *writer) prune(before time.Time) (int64, error) {
	ctx := context.Background()
	if err := w.heal(ctx); err != nil {
		return 0, err
	}
	if _, err := w.conn.ExecContext(ctx, `BEGIN IMMEDIATE`); err != nil {
		return 0, w.failed(err)
	}
	deleted, err := w.pruneRows(ctx, before)
	if err != nil {
		return 0, w.rollback(ctx, err)
	}
	if _, err := w.conn.ExecContext(ctx, `COMMIT`); err != nil {
		return 0, w.commitFailed(ctx, err)
	}
	return deleted, nil
}

// unbound is the condition that no request since a time is bound to an event.
const unbound = `NOT EXISTS (SELECT 1 FROM request_events AS r JOIN requests AS q ON q.id = r.request
	WHERE r.event = e.seq AND q.bound_ms >= ?)`

func (w *writer) pruneRows(ctx context.Context, before time.Time) (int64, error) {
	ms := before.UnixMilli()
	events, err := w.numbers(ctx, `SELECT e.seq FROM events AS e WHERE e.id < ? AND `+unbound+` ORDER BY e.id LIMIT ?`,
		chargeingest.FirstID(before), ms, pruneStep)
	if err != nil || len(events) == 0 {
		return 0, err
	}
	// A request goes with all of its events, which may belong to requests more.
	var requests []int64
	for known := 0; known < len(events); {
		known = len(events)
		requests, err = w.numbers(ctx, `SELECT DISTINCT request FROM request_events WHERE event IN (`+list(events)+`)`)
		if err != nil {
			return 0, err
		}
		more, err := w.numbers(ctx, `SELECT DISTINCT e.seq FROM request_events AS b JOIN events AS e ON e.seq = b.event
			WHERE b.request IN (`+list(requests)+`) AND `+unbound, ms)
		if err != nil {
			return 0, err
		}
		events = slices.Compact(slices.Sorted(slices.Values(append(events, more...))))
	}
	if _, err := w.conn.ExecContext(ctx, `DELETE FROM requests WHERE id IN (`+list(requests)+`)`); err != nil {
		return 0, err
	}
	res, err := w.conn.ExecContext(ctx, `DELETE FROM events WHERE seq IN (`+list(events)+`)`)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// numbers returns the one column of a query.
func (w *writer) numbers(ctx context.Context, query string, args ...any) (numbers []int64, err error) {
	rows, err := w.conn.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		numbers = append(numbers, n)
	}
	return numbers, rows.Err()
}

// list is numbers as SQL: nothing in it but digits and commas.
func list(numbers []int64) string {
	return strings.Trim(strings.Join(strings.Fields(fmt.Sprint(numbers)), ","), "[]")
}
