// Package sqlitestore keeps charge events in a SQLite file.
//
// An event that was acknowledged is on disk: the transaction that holds it was
// committed and synced before. It outlives a killed process and, on a disk
// that honours fsync, a power cut.
//
// One goroutine writes. What waits for it goes into one transaction and is
// synced once, so that many requests at a time cost little more than one.
// Platforms take turns while they wait.
//
// What the newest events are found by, some ten thousand, is kept in memory, some
// ten megabytes, and written in the order of keys later; opening a database reads
// it from them.
//
// One process, and one [Store] of it, has a database at a time. The lock is on
// the file, whatever its name (Linux, macOS, Windows), and on a lock file next to
// it (its path and ".lock", which stays there). Other programs may read: the sqlite3
// shell finds a view charge_events_view with a column for every field. Its
// timestamp_utc compares by instant, which the text of timestamp does not; see
// docs/queries.md. A transaction that is left open there keeps the write-ahead log
// from being reused, and from being taken over when the database is opened again.
//
// # Files
//
// Next to a database are its write-ahead log (its path and "-wal"), which may have
// events that are nowhere else, and a state file (".state"). SQLite replays any log
// with the name of the database over it. So the database and the log have marks that
// tell whether the log continues that database, as it is now; one that does not is an
// [ErrWALMismatch]. The state file says which database was last open there and which
// event is the newest that was acknowledged; a database that misses some is an
// [ErrEventsMissing]. Both errors name the files and the remedy. Without a state file
// no event is missed. Files that the store makes have the owner, if the system
// permits it, and the mode of the database.
//
// To restore a backup: close the store, move the database and all files whose names
// begin with its name away, and copy the backup to its path. Together with its log,
// a database can be moved and copied while no store has it open. It must not be
// opened by two names in turn, hard links to one file: the log has one name.
//
// A database that is replaced while a store has it open takes no events. The store
// writes nothing to the file that is there, and Close moves the old log away (to
// "-wal.replaced-" and the time); if the file was written over, Close returns an
// error.
//
// The store has a descriptor of the database that SQLite does not know of. Closing
// it, or any other, as copying the file within the process does, releases the locks
// that SQLite holds for this process; see sqlite.OFDLocking of modernc.org/sqlite.
// A program that has connections of its own to the database closes them before the
// store. [Store.Backup] copies without that.
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
	// ErrLocked says that another store, most likely another process, has the
	// database open.
	ErrLocked = errors.New("database is in use by another store")

	// ErrNotEventDatabase says that a file is not a database of this package. It was
	// not changed.
	ErrNotEventDatabase = errors.New("not a charge event database")

	// ErrWALMismatch says that the write-ahead log next to a database was written
	// by another one, or by another state of it, most likely the one that was there
	// before a backup was restored. SQLite would write it over the database. Nothing
	// was changed.
	ErrWALMismatch = errors.New("write-ahead log of another database")

	// ErrEventsMissing says that a database has fewer events than were
	// acknowledged, most likely because its write-ahead log was deleted after a
	// crash, or the database itself. Nothing was changed.
	ErrEventsMissing = errors.New("acknowledged events are missing")

	// ErrSchemaTooNew says that a database was written by a newer version of this
	// package, which this one cannot read.
	ErrSchemaTooNew = errors.New("charge event database of a newer version")
)

// Options are the settings of a [Store]. The zero value has the defaults.
type Options struct {
	// Entropy is where the random part of the ids comes from.
	// Default: crypto/rand.Reader.
	Entropy io.Reader

	// ScanTimeout bounds one call of Get or List from its turn on; what takes
	// longer is chargeingest.ErrScanLimit. A call that gets no turn within two
	// seconds is chargeingest.ErrOverloaded. Default: 2 s.
	ScanTimeout time.Duration

	// MaxQueuedEvents bounds the events that wait to be stored; what is beyond is
	// chargeingest.ErrOverloaded. A batch that is larger by itself is taken
	// where nothing else waits. Default: 20,000.
	MaxQueuedEvents int

	// MaxTransactionEvents bounds the events of one transaction, which is how
	// long a request waits for those stored with it. A batch that is larger by
	// itself has a transaction of its own. Default: 2,000.
	MaxTransactionEvents int

	// MaxReaders is the most connections that read at a time. Platforms take turns,
	// and one platform leaves a connection to the others. Listings that scan use
	// at most half of the connections. Default: 4.
	MaxReaders int

	// Observer, if set, is called after each transaction that stored events, or
	// was to. Those whose events it has, and the next transaction, wait for it,
	// so it must not call what waits for them: Append, Ready, Prune or Close.
	Observer func(chargeingest.CommitStats)

	// Logger is told what a caller cannot see, such as a disk that failed.
	// Default: slog.Default().
	Logger *slog.Logger
}

// withDefaults returns the options with their defaults in place, or an error
// that names the field that is wrong.
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

// Store is a [chargeingest.EventStore] in a SQLite file. Safe for concurrent
// use.
type Store struct {
	options Options
	file    *file
	lock    *flock.Flock
	writer  *writer
	readers *sql.DB
	gates   gates

	// reading is held for reading by every call that reads, and for writing
	// where nobody may be reading: to empty the write-ahead log, and to close.
	reading sync.RWMutex

	// running ends when the store closes.
	running context.Context
	stop    context.CancelFunc
	once    sync.Once
	closed  error

	// backups are those under way; starting guards adding one.
	backupsMu sync.Mutex
	backups   sync.WaitGroup
}

// Open opens the database at path with the default [Options], and creates it
// where it does not exist. A new file is readable and writable by its owner
// alone; one that exists, even an empty one, keeps its mode. The path is one of
// a file, never a URI. One with control characters is refused.
//
// What an earlier process left in the write-ahead log is moved into the
// database and synced before Open returns, so that the answer to a retry of it
// is durable. The context is for opening alone.
//
// The error is an [ErrLocked], [ErrNotEventDatabase], [ErrWALMismatch], [ErrEventsMissing]
// or [ErrSchemaTooNew] where it applies.
func Open(ctx context.Context, path string) (*Store, error) {
	return OpenWith(ctx, path, Options{})
}

// OpenWith is [Open] with settings of the caller's own. The error names the
// field of o that is wrong.
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

// Append implements [chargeingest.EventStore]. The id of an event carries the
// time of its receipt.
func (s *Store) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
	receipt, err := storekit.Append(ctx, b, func(a storekit.Attempt) (chargeingest.AppendResult, error) {
		return s.writer.queue.Append(ctx, a)
	})
	if err != nil && errors.Is(err, ctx.Err()) {
		err = fmt.Errorf("sqlitestore: %w", err)
	}
	return receipt, err
}

// notStored marks an error as one that left nothing behind.
func notStored(cause error) error {
	return fmt.Errorf("sqlitestore: %w: %w", chargeingest.ErrNotStored, cause)
}

// Ready implements [chargeingest.ReadyChecker]. It takes its turn among the
// appends. A store that failed is tried again, so that asking it makes it
// ready as soon as it can be.
func (s *Store) Ready(ctx context.Context) error {
	if s.running.Err() != nil {
		return chargeingest.ErrClosed
	}
	return s.writer.do(ctx, s.writer.ready)
}

// Close refuses further calls with chargeingest.ErrClosed, stores what waits
// to be stored, ends backups and prunings, and closes the database. It is an error
// if the database was written over by another one. Every call returns what the
// first one did.
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

// release gives up whatever is open. The writer's connection is the last, as
// closing the last one removes the write-ahead log, unless that is not to be.
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
