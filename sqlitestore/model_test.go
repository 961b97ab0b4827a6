package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sqlite3 "modernc.org/sqlite/lib"

	"example.com/chargeingest/internal/storemodel"
)

func TestModel(t *testing.T) {
	t.Parallel()
	storemodel.Test(t, rounds(5), seed(t), func(t *testing.T) storemodel.Subject { return newSubject(t).subject() })
}

type subject struct {
	t      *testing.T
	setup  setup
	store  *Store
	copies int
}

func newSubject(t *testing.T) *subject {
	s := &subject{t: t, setup: newSetup(t)}
	s.setup.tuning.generationSize, s.setup.tuning.chunkEntries, s.setup.tuning.runsPerLevel = 5, 4, 2
	s.setup.tuning.pruneBatch = 1
	s.setup.tuning.checkpointFrames = 20
	s.setup.options.ScanTimeout, s.setup.tuning.turnTimeout = time.Hour, time.Hour
	_, err := s.open(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.store.Close()) })
	return s
}

func (s *subject) subject() storemodel.Subject {
	return storemodel.Subject{
		Store: s.store, Reopen: s.reopen, Copy: s.copy, Fail: s.fail, Verify: s.verify,
		Prune: s.prune,
	}
}

func (s *subject) prune(ctx context.Context, before time.Time) (int64, error) {
	return s.store.Prune(ctx, before)
}

func (s *subject) open(ctx context.Context) (storemodel.Store, error) {
	var err error
	s.store, err = open(ctx, s.setup.path, s.setup.options, s.setup.tuning)
	return s.store, err
}

func (s *subject) reopen(ctx context.Context) (storemodel.Store, error) {
	if err := s.store.Close(); err != nil {
		return nil, err
	}
	return s.open(ctx)
}

func (s *subject) copy(ctx context.Context) (storemodel.Store, error) {
	s.copies++
	path := filepath.Join(filepath.Dir(s.setup.path), fmt.Sprint("copy-", s.copies, ".db"))
	if err := s.store.Backup(ctx, path); err != nil {
		return nil, err
	}
	s.setup.path = path
	return s.reopen(ctx)
}

func (s *subject) fail(n int) (heal func()) {
	statements := []string{"COMMIT", "INSERT INTO chunks", "UPDATE merged", "DELETE FROM chunks", "INSERT INTO events", "DELETE FROM events", "COMMIT", "INSERT INTO request_events"}
	codes := []resultError{sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_BUSY}
	statement, n := statements[n%len(statements)], n/len(statements)
	code, n := codes[n%len(codes)], n/len(codes)
	var skip, failed atomic.Int32
	skip.Store(int32(n / 2 % 3))
	fault := func(ran string) error {
		if ran == statement || statement != "COMMIT" && strings.HasPrefix(ran, statement) {
			if skip.Add(-1) < 0 && failed.Add(1) == 1 {
				return code
			}
		}
		return nil
	}
	if n%2 == 0 {
		s.setup.faults.set(func(st step) error { return fault(st.statement) }, nil)
	} else if statement == "COMMIT" && code == sqlite3.SQLITE_IOERR_WRITE {
		s.setup.faults.set(nil, fault)
	}
	return func() {
		s.setup.faults.clear()
		require.NoError(s.t, s.store.Ready(s.t.Context()))
	}
}

func (s *subject) verify() error {
	for query, want := range map[string]int64{
		"SELECT count(*) FROM pragma_foreign_key_check":                                      0,
		"SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'":          0,
		"SELECT count(*) FROM request_events WHERE request NOT IN (SELECT id FROM requests)": 0,
		"SELECT count(*) FROM requests WHERE id NOT IN (SELECT request FROM request_events)": 0,
	} {
		if got := value[int64](s.t, s.store, query); got != want {
			return fmt.Errorf("%s returned %d", query, got)
		}
	}
	var err error
	doErr := s.store.writer.do(s.t.Context(), func() error {
		err = s.memory()
		return nil
	})
	db, openErr := s.store.file.open(readerPragmas())
	if openErr != nil {
		return errors.Join(err, doErr, openErr)
	}
	tx, beginErr := db.BeginTx(s.t.Context(), nil)
	if beginErr != nil {
		return errors.Join(err, doErr, beginErr, db.Close())
	}
	matches, checkErr := checkIndex(s.t.Context(), tx)
	if !matches {
		err = errors.Join(err, errors.New("the index does not match the events"))
	}
	return errors.Join(err, doErr, checkErr, tx.Rollback(), db.Close())
}

func (s *subject) memory() error {
	session := s.store.writer.session
	rows, err := session.query("SELECT seq > (SELECT merged.seq FROM merged), content ->> '$.reference' <> '', seq FROM events ORDER BY seq")
	if err != nil {
		return err
	}
	held := make(map[int64]bool)
	for _, g := range []*generation{&session.recent.old, &session.recent.young} {
		for _, seq := range g.references {
			held[seq] = true
		}
	}
	for _, row := range rows {
		var seq int64
		var unmerged, referenced bool
		if err := scan(row, &unmerged, &referenced, &seq); err != nil {
			return err
		}
		if unmerged && referenced && !held[seq] {
			return fmt.Errorf("event %d is neither in a run nor in memory", seq)
		}
	}
	return nil
}
