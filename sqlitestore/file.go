package sqlitestore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"example.com/chargeingest/internal/userpath"
)

// applicationID marks the files of this package: "chda" in ASCII.
const applicationID = 0x63686461

// tuning is what only tests change.
type tuning struct {
	// wrap stands between the driver and the store.
	wrap func(driver.Connector) driver.Connector

	// busyTimeout is how long a connection waits for the locks of others, in
	// milliseconds. The store is in nobody's way; a person with the sqlite3
	// shell may be in its.
	busyTimeout string

	// checkpointFrames is how many pages the write-ahead log grows by before
	// the next checkpoint. It bounds how long a checkpoint takes.
	checkpointFrames int64

	// drainFrames is how many pages it may have before the store's own readers
	// are made to pause. MaxReaders that follow one another without a gap keep
	// the log from ever being used again.
	drainFrames int64

	// recheckEvery is how often a checkpoint that readers blocked is tried again.
	recheckEvery time.Duration

	// reportEvery is how long readers block checkpoints until that is logged, and
	// how often it is logged. A log of drainFrames pages is logged at once.
	reportEvery time.Duration

	// reopenEvery is how often opening a database anew that failed is tried, at
	// most. Nobody can read meanwhile.
	reopenEvery time.Duration

	// lookEvery is how often the log is looked for at its place, at most. Not for
	// each transaction: who asks for the times of a file makes its next write
	// change them, and the sync behind that dearer; a lone event takes a tenth
	// longer. See https://docs.kernel.org/filesystems/multigrain-ts.html.
	walCheckEvery time.Duration

	// turnTimeout is how long a call waits for its turn to read.
	turnTimeout time.Duration

	// generation is how many events become old together, see recent. More make
	// merging cheaper; they take memory, and time to read when the database is
	// opened.
	generationSize int

	// mergeAtOnce is the fewest entries of the table lookup that a transaction
	// inserts, so that a single event does not pay for pages of others.
	minMergeEntries int

	// stateEvery is how far the state file may be behind the acknowledged events.
	// A write after each transaction makes the sync of the next one dearer: a lone
	// event takes a twentieth longer.
	stateEvery time.Duration

	// stateSynced is called with each state that is written durably.
	onStateSynced func([]byte)

	// pruneAtOnce is how many events a transaction of Prune looks at, so that
	// appends do not wait long. The events of an idempotency key go together,
	// however many they are.
	pruneBatch int
}

func defaultTuning() tuning {
	return tuning{
		wrap:             func(c driver.Connector) driver.Connector { return c },
		busyTimeout:      "5000",
		checkpointFrames: 1000,
		drainFrames:      16_000,
		recheckEvery:     10 * time.Second,
		reportEvery:      time.Minute,
		reopenEvery:      250 * time.Millisecond,
		walCheckEvery:    time.Second,
		turnTimeout:      2 * time.Second,
		generationSize:   12_000,
		minMergeEntries:  256,
		stateEvery:       10 * time.Millisecond,
		onStateSynced:    func([]byte) {},
		pruneBatch:       200,
	}
}

// file is the database file of a store.
type file struct {
	path string // absolute, symbolic links resolved
	tuning
	logger *slog.Logger

	// Set by prepare, and by settle once a session is open.

	info     os.FileInfo // tells the file from another one at its path
	data     *os.File    // holds the lock on the file; closed after all of SQLite's
	state    *stateFile  // the writer's
	opening  token       // of the marks that this store makes
	position atomic.Pointer[markPosition]

	seqBeforeWAL  int64  // newest event of the file when it was opened with a log
	replacedState *state // of another database that was open at the path, until that is logged

	mark       mark   // the newest that was committed; the writer's
	lastNumber uint64 // number of the newest that a transaction set, committed or not
	minNumber  uint64 // number of one that the file has, or had before a newer one

	// guard is a connection that does nothing and reads only. SQLite moves the
	// write-ahead log into the database, and deletes it, when the last connection
	// closes. It cannot if that is the guard.
	guard driver.Conn

	wal os.FileInfo // the write-ahead log of the last session
}

// realPath returns the one name of the file that path leads to, which need not
// exist.
func realPath(path string) (string, error) {
	if path == "" || path == ":memory:" || strings.HasPrefix(path, "file:") {
		return "", errors.New("the path is not that of a file; a store is a file on disk")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		real, err := filepath.EvalSymlinks(path)
		return real, userpath.Explain(path, err)
	}
	folder, err := filepath.EvalSymlinks(filepath.Dir(path))
	return filepath.Join(folder, filepath.Base(path)), userpath.Explain(path, err)
}

// prepare takes hold of the database, creates it if there is none, and refuses
// files that do not belong together, without a change to them. The
// caller has the lock file, and calls release in any case.
func (f *file) prepare(ctx context.Context) error {
	info, err := os.Stat(f.path)
	isNew := errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().IsRegular() && info.Size() == 0
	switch {
	case isNew && fileSize(f.path+"-wal") > 0:
		return fmt.Errorf("%s is missing or empty, but its write-ahead log %s-wal is there and may hold events: "+
			"put the database back, or move the log away", f.path, f.path)
	case isNew:
		if newest := lastAcknowledged(f.path); newest > 0 {
			return f.databaseGone(newest)
		}
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%w: not a regular file", ErrNotEventDatabase)
	case isClaimed(info):
		return ErrLocked
	default:
		if err := f.checkHeader(ctx); err != nil {
			return err
		}
	}
	if err := f.openAndLock(); err != nil {
		return err
	}
	if err := f.validate(ctx); err != nil {
		return err
	}
	if isNew {
		return f.create(ctx)
	}
	return nil
}

// fileSize is 0 for a file that is not there.
func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// hold opens the file, and locks it until release.
func (f *file) openAndLock() error {
	data, err := os.OpenFile(f.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	info, err := data.Stat()
	if err != nil {
		return errors.Join(err, data.Close())
	}
	if !claim(info) {
		// It got this name a moment ago. To close it would release the locks of
		// the store that has it.
		keepOpen(data)
		return ErrLocked
	}
	f.data, f.info = data, info
	switch locked, err := lockDataFile(data); {
	case err != nil:
		return fmt.Errorf("lock %s: %w", f.path, err)
	case !locked:
		return ErrLocked
	}
	return f.checkPath()
}

// release closes the files that prepare opened. SQLite has no file of the database open
// any more but the guard's.
func (f *file) release() error {
	err := f.closeGuard()
	if f.state != nil {
		err = errors.Join(err, f.state.file.Close())
	}
	if f.data != nil {
		unlockData(f.data)
		err = errors.Join(err, f.data.Close())
		unclaim(f.info)
	}
	f.state, f.data = nil, nil
	return err
}

// create makes a database with nothing but our mark, which is set before the
// switch to a write-ahead log so that it is always in the file itself.
func (f *file) create(ctx context.Context) error {
	db, err := f.open([]pragma{{"synchronous", "2"}, {"application_id", fmt.Sprint(applicationID)}})
	if err != nil {
		return err
	}
	return errors.Join(db.PingContext(ctx), db.Close())
}

// identify refuses what is not ours. SQLite reads an immutable file without
// locks, journals or recovery, so that a foreign one stays as it is; our mark
// and the version of the schema are in the header of its first page. Nothing
// else may be needed: after a checkpoint that was cut off that page may be newer
// than the rest, and speak of pages that are only in the log. With a schema that
// is writable SQLite takes no offence at that.
func (f *file) checkHeader(ctx context.Context) error {
	db, err := f.open([]pragma{{"writable_schema", "1"}}, "immutable=1", "mode=ro")
	if err != nil {
		return err
	}
	var id, version int64
	err = db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id)
	if err == nil {
		err = db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version)
	}
	switch err = errors.Join(err, db.Close()); {
	case resultCode(err) == sqlite3.SQLITE_NOTADB:
		return ErrNotEventDatabase
	case err != nil:
		return err
	case id != applicationID:
		return ErrNotEventDatabase
	}
	return checkVersion(version)
}

// open returns connections to the file, see connector.
func (f *file) open(pragmas []pragma, parameters ...string) (*sql.DB, error) {
	c, err := f.connector(pragmas, parameters...)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(c), nil
}

// connector makes connections to the file, each with the pragmas set and read
// back. The parameters are those of SQLite's URIs.
func (f *file) connector(pragmas []pragma, parameters ...string) (driver.Connector, error) {
	path := filepath.ToSlash(f.path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // a Windows drive
	}
	uri := url.URL{Scheme: "file", Path: path, RawQuery: strings.Join(parameters, "&")}
	driven, err := sqlite.NewConnector(uri.String())
	if err != nil {
		return nil, err
	}
	pragmas = append([]pragma{{"busy_timeout", f.busyTimeout}}, pragmas...)
	return connector{f.wrap(driven), pragmas}, nil
}

// syncFolder makes the creation of a file in the folder of path durable.
func syncDir(path string) error {
	if runtime.GOOS == "windows" {
		return nil // it does not sync folders
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
