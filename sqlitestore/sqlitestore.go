// Package sqlitestore keeps charge events in a SQLite database.
//
// Append returns when the transaction with the events was committed and synced
// to disk (journal_mode=WAL, synchronous=FULL). One process at a time has a
// database; the sqlite3 shell and backups can read along. What is in it is
// easiest seen in charge_events_view.
//
// One goroutine writes. It takes whatever waits into one transaction, so that
// many requests share one sync of the disk, and a lone one waits for nobody.
package sqlitestore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"example.com/chargeingest"
)

var (
	// ErrLocked says that another process, or another Store, has the database.
	ErrLocked = errors.New("the database is in use by another process")

	// ErrForeign says that a file is no database of this package.
	ErrForeign = errors.New("the file is not a database of charge events")

	// ErrNewer says that a newer version of this package wrote the database.
	ErrNewer = errors.New("the database is of a newer version")
)

// Options change what a store is like. The zero value of each is its default.
type Options struct {
	// Entropy is where the random part of ids comes from. Default: crypto/rand.Reader.
	Entropy io.Reader

	// ScanTimeout bounds a listing, after which it is
	// chargeingest.ErrScanLimit. Default: 2 s.
	ScanTimeout time.Duration

	// QueueEvents bounds the events that wait to be stored; what comes beyond
	// is chargeingest.ErrOverloaded. Default: 65,536.
	QueueEvents int

	// TransactionEvents bounds the events of one transaction; a batch is never
	// split. Default: 4,096.
	TransactionEvents int

	// Readers bounds the connections that read at one time. Default: 4.
	Readers int

	// Logger is told when writing fails and when it works again. Default:
	// slog.Default().
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	for _, field := range []struct {
		name  string
		value int64
	}{
		{"ScanTimeout", int64(o.ScanTimeout)}, {"QueueEvents", int64(o.QueueEvents)},
		{"TransactionEvents", int64(o.TransactionEvents)}, {"Readers", int64(o.Readers)},
	} {
		if field.value < 0 {
			return o, fmt.Errorf("sqlitestore: Options.%s is negative", field.name)
		}
	}
	if o.Entropy == nil {
		o.Entropy = rand.Reader
	}
	if o.ScanTimeout == 0 {
		o.ScanTimeout = 2 * time.Second
	}
	if o.QueueEvents == 0 {
		o.QueueEvents = 65536
	}
	if o.TransactionEvents == 0 {
		o.TransactionEvents = 4096
	}
	if o.Readers == 0 {
		o.Readers = 4
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o, nil
}

// Store keeps charge events in one database file. It is safe for concurrent use.
type Store struct {
	path    string
	options Options
	lock    *flock.Flock
	readers *sql.DB
	queue   *queue
	writer  *writer

	stopped   chan struct{} // closed when the writer has ended
	closeOnce sync.Once
	closeErr  error
}

var (
	_ chargeingest.EventStore   = (*Store)(nil)
	_ chargeingest.EventReader  = (*Store)(nil)
	_ chargeingest.ReadyChecker = (*Store)(nil)
)

// Open opens the database at path, a file name, and creates it where there is
// none. The error is ErrLocked, ErrForeign, ErrNewer or one of the system's; a
// foreign or newer file stays as it is.
//
// What a crash left in the write-ahead log is taken over, checkpointed and
// synced before Open returns.
func Open(ctx context.Context, path string) (*Store, error) {
	return OpenWith(ctx, path, Options{})
}

// OpenWith is Open with options.
func OpenWith(ctx context.Context, path string, options Options) (*Store, error) {
	options, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	path, err = realPath(path)
	if err != nil {
		return nil, fmt.Errorf("sqlitestore: %w", err)
	}
	lock := flock.New(path + ".lock")
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("sqlitestore: lock %s: %w", path, err)
	}
	if !locked {
		return nil, fmt.Errorf("sqlitestore: %s: %w", path, ErrLocked)
	}
	s := &Store{path: path, options: options, lock: lock, queue: newQueue(options.QueueEvents), stopped: make(chan struct{})}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("sqlitestore: %s: %w", path, err), lock.Unlock())
	}
	go s.run()
	return s, nil
}

// realPath is the absolute path of a database, whatever links lead to it, so
// that two names of one file share one lock.
func realPath(path string) (string, error) {
	if path == "" || path == ":memory:" {
		return "", fmt.Errorf("%q is not a file name; for events in memory there is memstore", path)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real, nil
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	return filepath.Join(dir, filepath.Base(path)), err
}

// open makes the database ready: ours, checkpointed, migrated.
func (s *Store) open(ctx context.Context) error {
	if err := claim(ctx, s.path); err != nil {
		return err
	}
	w, err := openWriter(ctx, s.path, s.options)
	if err != nil {
		return err
	}
	s.writer = w
	s.readers, err = openDB(s.path, readerPragmas())
	if err != nil {
		return errors.Join(err, w.close())
	}
	s.readers.SetMaxOpenConns(s.options.Readers)
	s.readers.SetMaxIdleConns(s.options.Readers)
	return nil
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the host chose the directory
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Close takes no more events, stores those that it took, and closes the
// database. Calls after the first return what the first did.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.queue.close()
		<-s.stopped
		s.closeErr = errors.Join(s.readers.Close(), s.writer.close(), s.lock.Unlock())
	})
	return s.closeErr
}

// Ready returns nil where events can be expected to be stored: the store is
// open and its database can be written to.
func (s *Store) Ready(ctx context.Context) error {
	return s.do(ctx, func() error { return s.writer.check() })
}

// do runs a job on the writer's goroutine, between transactions.
func (s *Store) do(ctx context.Context, job func() error) error {
	done := make(chan error, 1)
	if err := s.queue.pushJob(func() { done <- job() }); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
