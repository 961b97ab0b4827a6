package sqlitestore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
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
	// are made to pause. Readers that follow one another without a gap keep
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
	lookEvery time.Duration

	// turnTimeout is how long a call waits for its turn to read.
	turnTimeout time.Duration

	// generation is how many events become old together, see recent. More make
	// merging cheaper; they take memory, and time to read when the database is
	// opened.
	generation int

	// mergeAtOnce is the fewest entries of the table lookup that a transaction
	// inserts, so that a single event does not pay for pages of others.
	mergeAtOnce int

	// pruneAtOnce is how many events a transaction of Prune looks at, so that
	// appends do not wait long. The events of an idempotency key go together,
	// however many they are.
	pruneAtOnce int
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
		lookEvery:        time.Second,
		turnTimeout:      2 * time.Second,
		generation:       12_000,
		mergeAtOnce:      256,
		pruneAtOnce:      200,
	}
}

// file is the database file of a store.
type file struct {
	path string      // absolute, symbolic links resolved
	info os.FileInfo // tells the file from another one at its path
	tuning
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

// prepareFile creates the database where there is none, and looks at the one
// that is there without changing anything. The caller has the lock.
func prepareFile(ctx context.Context, path string, t tuning) (*file, error) {
	f := &file{path: path, tuning: t}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().IsRegular() && info.Size() == 0:
		err = f.create(ctx)
	case err == nil && !info.Mode().IsRegular():
		err = fmt.Errorf("%w: not a regular file", ErrForeign)
	case err == nil:
		err = f.identify(ctx)
	}
	if err != nil {
		return nil, err
	}
	f.info, err = os.Stat(path)
	return f, err
}

// create makes a file with nothing but our mark, which is set before the
// switch to a write-ahead log so that it is always in the file itself.
func (f *file) create(ctx context.Context) error {
	if wal, err := os.Stat(f.path + "-wal"); err == nil && wal.Size() > 0 {
		return errors.New("the database is missing or empty, but its write-ahead log is there; it may hold events")
	}
	created, err := os.OpenFile(f.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := created.Close(); err != nil {
		return err
	}
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
func (f *file) identify(ctx context.Context) error {
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
		return ErrForeign
	case err != nil:
		return err
	case id != applicationID:
		return ErrForeign
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

// checkPlace returns an error where the file is not at its path any more, so
// that what is written to it would be lost.
func (f *file) checkPlace() error {
	now, err := os.Stat(f.path)
	if err != nil {
		// This goes to logs, which are not to name files of the server.
		var named *fs.PathError
		if errors.As(err, &named) {
			err = named.Err
		}
		return fmt.Errorf("the database was moved away: %w", err)
	}
	if !os.SameFile(f.info, now) {
		return errors.New("the database was replaced by another file")
	}
	return nil
}

// syncFolder makes the creation of a file in the folder of path durable.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil // it does not sync folders
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
