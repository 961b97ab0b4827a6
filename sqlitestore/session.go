package sqlitestore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"example.com/chargeingest/internal/files"
	"example.com/chargeingest/internal/panics"
	"example.com/chargeingest/storekit"
)

// session is the writer's connection to a checked database. Its WAL begins empty and synced.
type session struct {
	conn
	checkpointConn conn        // for checkpoints during transactions
	wal            os.FileInfo // identifies the WAL
	walSeen        time.Time
	statements

	// A rollback clears platforms: it may undo an insertion.
	platforms map[string]int64

	recent *recentIndex

	runs, changedRuns *runs // committed, and of the open transaction

	// bytes of content read by the group
	loaded int

	// added reports whether the last transaction that changed rows stored events.
	added bool

	pending   []insertion
	arguments []driver.NamedValue // of flush

	filters filters
}

// openSession requires that no reader is active.
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
	if err := s.start(ctx, f); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// start makes the WAL of a crash durable before anything is acknowledged. It detects missing
// events before the database changes. emptyWAL syncs all rows that a replay may return.
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
	if err := s.loadIndex(f); err != nil {
		return err
	}
	if err := s.emptyWAL(); err != nil {
		return err
	}
	if err := files.SyncDir(f.path); err != nil { // the WAL's directory entry may be new
		return err
	}
	var err error
	if s.wal, err = os.Stat(f.path + "-wal"); err != nil {
		return err
	}
	s.walSeen, f.wal = time.Now(), s.wal
	return f.sessionOpened(s.conn, s.recent.newest)
}

// requireAcknowledged detects missing events: SQLite ignores a WAL from its first damaged
// frame.
func (s *session) requireAcknowledged(f *file) error {
	newest := f.state.content.newest
	if newest == 0 && f.seqBeforeWAL <= 0 {
		return nil // there may be no events table
	}
	found, err := s.newestEvent()
	if err != nil {
		return err
	}
	if found < f.seqBeforeWAL {
		return f.walMismatch("-wal", false, false)
	}
	if found < newest {
		return f.eventsMissing(newest, found)
	}
	return nil
}

func (s *session) schemaVersion() (uint32, error) {
	var version int64
	err := s.row("PRAGMA schema_version", &version)
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

func (s *session) emptyWAL() error {
	state, err := s.checkpoint("TRUNCATE")
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if state.busy != 0 {
		return errors.New("checkpoint: another program, such as a sqlite3 shell, has a transaction open in the database: end it and try again")
	}
	return nil
}

func (s *session) beforeCommit() error {
	if err := s.flush(len(s.pending)); err != nil {
		return err
	}
	if err := s.fillFilter(); err != nil {
		return err
	}
	s.changedRuns = s.runs
	if !s.runs.busy() {
		return nil
	}
	s.changedRuns = s.runs.clone()
	s.changedRuns.due += mergedPerEvent * s.recent.addedEvents()
	return s.mergeRuns(s.changedRuns)
}

func (s *session) committed() {
	s.recent.commit()
	if s.runs = s.changedRuns; !s.runs.busy() {
		s.runs.due = 0
	}
	if s.runs.retiring() {
		return
	}
	s.recent.forgetOld()
	if s.recent.young.events >= s.recent.generationSize {
		s.retireYoung(s.recent.newest)
	}
}

func (s *session) rolledBack() {
	s.recent.rollback()
	s.runs.due = -1000 * mergedPerEvent // merges wait: they may be too large for the disk
	clear(s.platforms)
	s.pending = s.pending[:0]
}

// SQLite keeps a connection open for its statements, so Close closes them first.
func (s *session) Close() error {
	return errors.Join(s.closeAll(), s.checkpointConn.Close(), s.conn.Close())
}

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

func (s *session) walState() (state walState, err error) {
	defer panics.RecoverTo(&err)
	return scanWALState(s.readWALState.query())
}

// If markClosed fails, the next Open checks more.
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

func (s *session) probeWrite() error { return s.exec("UPDATE merged SET seq = seq") }
