// Package sqlitestore stores charge events in a SQLite file.
//
// Append returns after its transaction is committed and synced. The events survive a killed
// process and, if the disk honors fsync, a power cut. One goroutine writes the queued requests
// of many callers in one transaction; platforms take turns.
//
// Other programs may read the database, for example the view charge_events_view. A transaction
// that they leave open keeps the write-ahead log (WAL) growing and can make the next Open fail.
//
// # Files
//
// Only one [Store] can have a database open. The WAL (the path plus "-wal") may hold events
// that the database file does not have: never delete it. docs/data.md describes all files.
//
// To restore a backup, close the store and call [Restore]. Do not use two hard links to a
// database: the WAL is named after the path.
//
// If the database file is replaced while it is open, the store accepts no more events and does
// not change the new file. Close renames the old WAL (to "-wal.replaced-" and the time), and
// returns an error if the file was overwritten.
//
// SQLite loses its locks if the process closes any descriptor of the database file, for example
// after copying it. Use [Store.Backup] for copies, and close other connections before the
// store.
package sqlitestore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/userpath"
	"example.com/chargeingest/storekit"
)

var (
	_ chargeingest.EventStore    = (*Store)(nil)
	_ chargeingest.EventReader   = (*Store)(nil)
	_ chargeingest.ReadyChecker  = (*Store)(nil)
	_ chargeingest.StatsReporter = (*Store)(nil)
	_ io.Closer                  = (*Store)(nil)
)

var (
	// ErrLocked is returned if another store, usually of another process, has the database
	// open.
	ErrLocked = errors.New("database is in use by another store")

	// ErrNotEventDatabase is returned for other files, which stay unchanged.
	ErrNotEventDatabase = errors.New("not a charge event database")

	// ErrWALMismatch is returned if the write-ahead log belongs to another database or state,
	// for example after a backup was copied back. All files are unchanged.
	ErrWALMismatch = errors.New("write-ahead log does not match the database")

	// ErrEventsMissing is returned if the database lacks acknowledged events, for example
	// because its write-ahead log was deleted. All files are unchanged.
	ErrEventsMissing = errors.New("acknowledged events are missing")

	// ErrSchemaTooNew is returned if a newer version of this package wrote the database.
	ErrSchemaTooNew = errors.New("charge event database was written by a newer version")
)

// Options are the settings of a [Store]. The zero value selects the defaults.
type Options struct {
	// Entropy is the source of the random part of event ids. Default: crypto/rand.Reader.
	Entropy io.Reader

	// ScanTimeout bounds each Get and List. A longer call returns chargeingest.ErrScanLimit. A
	// call that waits two seconds for its turn returns chargeingest.ErrOverloaded. Default: 2
	// s.
	ScanTimeout time.Duration

	// MaxQueuedEvents bounds the queued events. Beyond it Append returns
	// chargeingest.ErrOverloaded. An empty queue accepts any batch. Default: 20,000.
	MaxQueuedEvents int

	// MaxTransactionEvents bounds the events of a transaction. A larger batch gets its own.
	// Default: 2,000.
	MaxTransactionEvents int

	// MaxReaders bounds the connections for reading. One platform cannot use all of several.
	// Listings that scan use at most half. Default: 4.
	MaxReaders int

	// Observer, if set, is called after each transaction that stored events or failed.
	// The writer waits for it, so it must not call Append, Ready, Prune or Close.
	Observer func(chargeingest.CommitStats)

	// Logger receives errors that no caller sees. Default: slog.Default().
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	switch {
	case o.ScanTimeout < 0:
		return o, errors.New("Options.ScanTimeout is negative")
	case o.MaxQueuedEvents < 0:
		return o, errors.New("Options.MaxQueuedEvents is negative")
	case o.MaxTransactionEvents < 0:
		return o, errors.New("Options.MaxTransactionEvents is negative")
	case o.MaxReaders < 0:
		return o, errors.New("Options.MaxReaders is negative")
	}
	if o.Entropy == nil {
		o.Entropy = rand.Reader
	}
	if o.ScanTimeout == 0 {
		o.ScanTimeout = 2 * time.Second
	}
	if o.MaxQueuedEvents == 0 {
		o.MaxQueuedEvents = 20_000
	}
	if o.MaxTransactionEvents == 0 {
		o.MaxTransactionEvents = 2000
	}
	if o.MaxReaders == 0 {
		o.MaxReaders = 4
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	o.Logger = safeLogger(o.Logger)
	return o, nil
}

// Store is a [chargeingest.EventStore] in a SQLite file. It is safe for concurrent use.
type Store struct {
	options Options
	file    *file
	lock    *flock.Flock
	writer  *writer
	readers *sql.DB
	gates   gates

	// held by reads, and exclusively to finish a blocked checkpoint, to reopen and to close
	reading sync.RWMutex

	running context.Context
	stop    context.CancelFunc
	once    sync.Once
	closed  error

	backupsMu sync.Mutex
	backups   sync.WaitGroup
}

// Open opens or creates the database at path with the default [Options]. The path must name a
// file, without control characters; URIs are rejected. A new file has mode 0600.
//
// Open first moves the WAL's events into the database and syncs it, so that every event that
// Append may replay is durable. ctx bounds only the opening.
//
// The error may wrap [ErrLocked], [ErrNotEventDatabase], [ErrWALMismatch], [ErrEventsMissing],
// [ErrSchemaTooNew] or [ErrRestoreUnfinished].
func Open(ctx context.Context, path string) (*Store, error) {
	return OpenWith(ctx, path, Options{})
}

// OpenWith is [Open] with options. Errors name an invalid field.
func OpenWith(ctx context.Context, path string, o Options) (*Store, error) {
	return open(ctx, path, o, defaultTuning())
}

func open(ctx context.Context, path string, o Options, t tuning) (*Store, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("sqlitestore: %w", err)
	}
	if err := userpath.Check(path); err != nil {
		return nil, fmt.Errorf("sqlitestore: path %w", err)
	}
	s := &Store{options: o, gates: newGates(o.MaxReaders)}
	if err := s.open(ctx, path, t); err != nil {
		return nil, fmt.Errorf("sqlitestore: open %s: %w", path, errors.Join(err, s.release()))
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, path string, t tuning) (err error) {
	path, err = realPath(path)
	if err != nil {
		return err
	}
	defer func() { err = explainPermission(path, err) }()
	if s.lock, err = lockFile(path); err != nil {
		return err
	}
	s.file = &file{path: path, tuning: t, logger: s.options.Logger}
	if err := s.file.prepare(ctx); err != nil {
		return err
	}
	session, err := openSession(ctx, s.file)
	if err != nil {
		return err
	}
	s.writer = newWriter(s, session)
	if s.writer.ids, err = session.idGenerator(s.options.Entropy); err != nil {
		return err
	}
	if s.readers, err = s.file.open(readerPragmas()); err != nil {
		return err
	}
	s.readers.SetMaxOpenConns(s.options.MaxReaders)
	s.readers.SetMaxIdleConns(s.options.MaxReaders)
	s.writer.dropReaders = func() {
		s.readers.SetMaxIdleConns(0)
		s.readers.SetMaxIdleConns(s.options.MaxReaders)
	}
	if err := s.readers.PingContext(ctx); err != nil {
		return err
	}
	s.running, s.stop = context.WithCancel(context.Background())
	go s.writer.run()
	return nil
}

// Append implements [chargeingest.EventStore].
func (s *Store) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
	result, err := storekit.Append(ctx, b, func(a storekit.Attempt) (chargeingest.AppendResult, error) {
		return s.writer.queue.Append(ctx, a)
	})
	if err != nil && errors.Is(err, ctx.Err()) {
		err = fmt.Errorf("sqlitestore: %w", err)
	}
	return result, err
}

func notStored(cause error) error {
	return fmt.Errorf("sqlitestore: %w: %w", chargeingest.ErrNotStored, cause)
}

// Ready implements [chargeingest.ReadyChecker]. It queues among the appends, and tries to
// recover a failed store.
func (s *Store) Ready(ctx context.Context) error {
	if s.running.Err() != nil {
		return chargeingest.ErrClosed
	}
	return s.writer.do(ctx, s.writer.ready)
}

// Close stores the queued events, ends Backup and Prune, and closes the database. Other methods
// then return chargeingest.ErrClosed. Every call returns the same error: closing failed, or
// another database overwrote the file.
func (s *Store) Close() error {
	s.once.Do(func() {
		s.backupsMu.Lock()
		s.stop()
		s.backupsMu.Unlock()
		s.writer.queue.Close()
		<-s.writer.stopped
		s.backups.Wait()
		if err := s.release(); err != nil {
			s.closed = fmt.Errorf("sqlitestore: close: %w", err)
		}
	})
	return s.closed
}

// release closes the readers before the writer, whose last connection deletes the WAL, and then
// unlocks the database.
func (s *Store) release() error {
	s.reading.Lock()
	defer s.reading.Unlock()
	var errs []error
	if s.readers != nil {
		errs = append(errs, s.readers.Close())
	}
	if s.writer != nil {
		errs = append(errs, s.writer.release())
	}
	if s.file != nil {
		errs = append(errs, s.file.release())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}
