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

// session is one life of the writer's connection: a checked database whose
// write-ahead log was empty and synced when the session began.
type session struct {
	conn
	checkpointConn conn        // for checkpoints while a transaction is open
	wal            os.FileInfo // tells the log's file from another one at its path
	walSeen        time.Time   // when it was last at its place
	statements     []statement // all of those below

	begin, commit, readWALState       statement
	totalChanges, setMark             statement
	findPlatform, addPlatform         statement
	findRequest, requestEvents        statement
	findReference, eventAt            statement
	findReferences, setMerged         statement
	insertRequest, insertRequestEvent statement
	oldRequest, requestSeqs           statement
	deleteRequest                     statement
	oldEvents, deleteIfUnkeyed        statement
	addBackdated, oldBackdated        statement
	receivedAt                        statement
	nextPlatforms                     statement
	deleteUnusedPlatforms             statement

	// platforms are the numbers of the platforms seen. It is emptied whenever
	// a transaction is undone, which may have made some of them.
	platforms map[string]int64

	// recent is what the newest events are found by.
	recent *recentIndex

	insertEvents, insertEntries bulk

	// loaded is how much content the open transaction has read, in bytes.
	loaded int

	// added is set if the last transaction that changed rows stored events.
	added bool

	// waiting are events of the open transaction that are not inserted yet.
	pending []insertion

	prefetched prefetched
}

// openSession connects to the database, migrates it, and moves all of the
// write-ahead log into it. Nobody may be reading.
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
	if f.guard == nil {
		err = f.openGuard(ctx)
	}
	if err == nil {
		err = s.requireAcknowledged(f)
	}
	if err == nil {
		err = f.migrate(s.conn)
	}
	if err == nil {
		err = s.prepareAll()
	}
	if err == nil {
		err = s.loadRecent(f)
	}
	if err == nil {
		err = s.emptyWAL()
	}
	if err == nil {
		err = syncDir(f.path) // the log's entry in it may be new
	}
	if err == nil {
		s.wal, err = os.Stat(f.path + "-wal")
		s.walSeen, f.wal = time.Now(), s.wal
	}
	if err == nil {
		err = f.sessionOpened(s.conn, s.recent.newest)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// requireAcknowledged refuses a database that misses events. SQLite replays a log
// up to the first damage in it without a word.
func (s *session) requireAcknowledged(f *file) error {
	newest := f.state.state.newest
	if newest == 0 && f.seqBeforeWAL <= 0 {
		return nil // there may be no table of events
	}
	found, err := s.newestEvent()
	if err != nil {
		return err
	}
	if found < f.seqBeforeWAL {
		return f.walMismatch("-wal", false, false) // it is older than the database
	}
	if found < newest {
		return f.eventsMissing(newest, found)
	}
	return nil
}

// schemaVersion returns the one that the connection sees.
func (s *session) schemaVersion() (uint32, error) {
	rows, err := s.query("PRAGMA schema_version")
	if err != nil {
		return 0, err
	}
	var version int64
	err = scan(rows[0], &version)
	return uint32(version), err
}

// hasLog says that the log is at its place.
func (s *session) hasWAL(f *file) bool {
	now, err := os.Stat(f.path + "-wal")
	if err != nil || !os.SameFile(s.wal, now) {
		return false
	}
	s.walSeen = time.Now()
	return true
}

// emptyLog moves all of the write-ahead log into the database, synced.
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

// finish does what a transaction has to do before its commit: insert what is
// waiting, and merge what is due of the recent events' entries into the table
// lookup.
func (s *session) beforeCommit() error {
	if err := s.flush(len(s.pending)); err != nil {
		return err
	}
	if len(s.recent.txWrites.deleted) > 0 {
		return nil // some of the due entries may be those of deleted events
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

// committed and undone say what became of the open transaction.
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

// Close closes the connection; what was not committed is undone. SQLite keeps
// a connection, and its transaction, as long as it has statements.
func (s *session) Close() error {
	var errs []error
	for _, statement := range s.statements {
		errs = append(errs, statement.Close())
	}
	return errors.Join(append(errs, s.checkpointConn.Close(), s.conn.Close())...)
}

// idGenerator continues behind the newest event.
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

// logState returns how the write-ahead log is, without changing it.
func (s *session) walState() (l walState, err error) {
	defer panics.RecoverTo(&err)
	return scanWALState(s.readWALState.query())
}

// changes returns how many rows the connection has changed so far.
func (s *session) changes() (n int64, err error) {
	rows, err := s.totalChanges.query()
	if err == nil {
		err = scan(rows[0], &n)
	}
	return n, err
}

// mark sets the next mark if the open transaction has changed rows, which were so
// many before. It returns the mark that the database has once that is committed.
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

// markClosed notes in the database that it was closed, which is a hint: an error is
// of no consequence.
func (s *session) markClosed(f *file) {
	if _, err := s.begin.exec(); err != nil {
		return
	}
	closed := f.nextMark(s.recent.newest)
	closed.open = false
	err := s.exec(setMark(closed))
	if err == nil {
		_, err = s.commit.exec()
	}
	if err != nil {
		_ = s.exec("ROLLBACK")
	}
}

// touch writes what is there already, to see whether writing works.
func (s *session) probeWrite() error { return s.exec("UPDATE merged SET seq = seq") }
