package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"example.com/chargeingest/internal/panics"
	"example.com/chargeingest/storekit"
)

// session is the writer's connection to a checked database, whose WAL was empty and synced
// when the session began.
type session struct {
	conn
	checkpointConn conn        // checkpoints run beside open transactions
	wal            os.FileInfo // identifies the WAL
	walSeen        time.Time   // last check that it was at its path
	statements

	// platforms has the numbers of known platforms. A rollback empties it, because the
	// transaction may have added some.
	platforms map[string]int64

	recent *recentIndex

	// loaded counts the bytes of content that the open transaction has read.
	loaded int

	// added reports whether the last transaction that changed rows stored events.
	added bool

	// pending has the events of the open transaction that are not inserted yet.
	pending []insertion

	prefetched prefetched
}

// openSession connects to the database, migrates it, and moves the WAL into it. No reader may
// be active.
func openSession(ctx context.Context, f *file) (*session, error) {
	connector, err := f.connector(writerPragmas())
	if err != nil {
		return nil, err
	}
	writing, err := connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	checkpointing, err := connector.Connect(ctx)
	if err != nil {
		return nil, errors.Join(err, writing.Close())
	}
	s := &session{conn: conn{writing}, checkpointConn: conn{checkpointing}, platforms: make(map[string]int64)}
	s.prefetched.absent = make(map[reference]bool)
	if err := s.start(ctx, f); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *session) start(ctx context.Context, f *file) error {
	if f.guard == nil {
		if err := f.openGuard(ctx); err != nil {
			return err
		}
	}
	if err := s.requireAcknowledged(f); err != nil {
		return err
	}
	if err := f.migrate(s.conn); err != nil {
		return err
	}
	if err := s.prepareAll(s.conn); err != nil {
		return err
	}
	if err := s.loadRecent(f); err != nil {
		return err
	}
	if err := s.emptyWAL(); err != nil {
		return err
	}
	if err := syncDir(f.path); err != nil { // the WAL's directory entry may be new
		return err
	}
	var err error
	if s.wal, err = os.Stat(f.path + "-wal"); err != nil {
		return err
	}
	s.walSeen, f.wal = time.Now(), s.wal
	return f.sessionOpened(s.conn, s.recent.newest)
}

// requireAcknowledged refuses a database that misses events: SQLite silently ignores a WAL
// from the first damage on.
func (s *session) requireAcknowledged(f *file) error {
	newest := f.state.state.newest
	if newest == 0 && f.seqBeforeWAL <= 0 {
		return nil // the table of events may not exist
	}
	found, err := s.newestEvent()
	if err != nil {
		return err
	}
	if found < f.seqBeforeWAL {
		return f.walMismatch("-wal", false, false) // the WAL is older than the database
	}
	if found < newest {
		return f.eventsMissing(newest, found)
	}
	return nil
}

func (s *session) schemaVersion() (uint32, error) {
	rows, err := s.query("PRAGMA schema_version")
	if err != nil {
		return 0, err
	}
	var version int64
	err = scan(rows[0], &version)
	return uint32(version), err
}

func (s *session) hasWAL(f *file) bool {
	now, err := os.Stat(f.path + "-wal")
	if err != nil || !os.SameFile(s.wal, now) {
		return false
	}
	s.walSeen = time.Now()
	return true
}

// emptyWAL moves the whole WAL into the database and syncs it.
func (s *session) emptyWAL() error {
	state, err := s.checkpoint("TRUNCATE")
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if state.busy != 0 {
		return errors.New("checkpoint: the write-ahead log is in use; somebody has a transaction open, such as a sqlite3 shell")
	}
	return nil
}

// beforeCommit inserts the pending events and merges the next entries of the recent events.
func (s *session) beforeCommit() error {
	if err := s.flush(len(s.pending)); err != nil {
		return err
	}
	if len(s.recent.txWrites.deleted) > 0 {
		return nil // the next entries may belong to deleted events
	}
	entries, last, lastSeq := s.recent.nextMerge()
	if err := s.mergeEntries(entries); err != nil {
		return err
	}
	s.recent.txWrites.entries = len(entries)
	if last {
		if _, err := s.setMerged.exec(lastSeq); err != nil {
			return err
		}
		s.recent.txWrites.merged = true
	}
	return nil
}

func (s *session) committed() {
	s.recent.commit()
	clear(s.prefetched.absent)
}

func (s *session) rolledBack() {
	s.recent.rollback()
	clear(s.prefetched.absent)
	clear(s.platforms)
	s.pending = s.pending[:0]
}

// Close rolls back and closes the connection. SQLite keeps a connection open until its
// statements are closed.
func (s *session) Close() error {
	return errors.Join(s.closeAll(), s.checkpointConn.Close(), s.conn.Close())
}

// idGenerator continues after the newest event.
func (s *session) idGenerator(entropy io.Reader) (*storekit.IDGenerator, error) {
	rows, err := s.query("SELECT id FROM events ORDER BY seq DESC LIMIT 1")
	if err != nil {
		return nil, err
	}
	var last string
	if len(rows) > 0 {
		if err := scan(rows[0], &last); err != nil {
			return nil, err
		}
	}
	return storekit.NewIDGenerator(entropy, last)
}

func (s *session) walState() (l walState, err error) {
	defer panics.RecoverTo(&err)
	return scanWALState(s.readWALState.query())
}

func (s *session) changes() (n int64, err error) {
	rows, err := s.totalChanges.query()
	if err == nil {
		err = scan(rows[0], &n)
	}
	return n, err
}

// mark sets the next mark if the transaction has changed rows since total_changes was before.
// It returns the mark of the database after the commit.
func (s *session) mark(f *file, before int64) (mark, error) {
	next := f.nextMark(s.recent.newest)
	result, err := s.setMark.exec(next.encode(), before)
	if err != nil {
		return f.mark, err
	}
	if set, err := result.RowsAffected(); err != nil || set == 0 {
		return f.mark, err
	}
	return next, nil
}

// markClosed records that the database was closed. The record is a hint, so errors are
// ignored.
func (s *session) markClosed(f *file) {
	if _, err := s.begin.exec(); err != nil {
		return
	}
	closed := f.nextMark(s.recent.newest)
	closed.open = false
	err := s.exec(setMarkSQL(closed))
	if err == nil {
		_, err = s.commit.exec()
	}
	if err != nil {
		_ = s.exec("ROLLBACK")
	}
}

// probeWrite checks that writing works.
func (s *session) probeWrite() error { return s.exec("UPDATE merged SET seq = seq") }
