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
	"strings"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"example.com/chargeingest/internal/sqlitelock"
	"example.com/chargeingest/internal/userpath"
)

// "chda" in ASCII.
const applicationID = 0x63686461

// tuning is changed by tests only.
type tuning struct {
	wrap func(driver.Connector) driver.Connector

	// milliseconds
	busyTimeout string

	// new WAL pages that start a checkpoint
	checkpointFrames int64

	// drainFrames is the number of WAL pages at which readers pause, because overlapping
	// readers would keep the WAL from restarting.
	drainFrames int64

	recheckEvery time.Duration

	// reportEvery is when blocked checkpoints are logged, unless drainFrames comes first.
	reportEvery time.Duration

	// between attempts, which block reads
	reopenEvery time.Duration

	// For each transaction, this check would slow a single event by a tenth. See
	// https://docs.kernel.org/filesystems/multigrain-ts.html.
	walCheckEvery time.Duration

	turnTimeout time.Duration

	// generationSize is in events. A larger one makes merging cheaper, but takes memory and
	// slows opening.
	generationSize int

	// chunkEntries fit into a page of 4 KiB.
	chunkEntries int

	// of a level, before they are merged
	runsPerLevel int

	// A migration leaves many runs.
	maxRunsAtOpening int

	minFilter int // references

	// For each transaction, the state file would slow a single event by a twentieth.
	stateEvery time.Duration

	onStateSynced func([]byte)

	// In events. Those of a key are never split.
	pruneBatch int

	// events per transaction of a migration
	moveBatch int
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
		chunkEntries:     400,
		runsPerLevel:     8,
		maxRunsAtOpening: 64,
		minFilter:        1 << 20,
		stateEvery:       10 * time.Millisecond,
		onStateSynced:    func([]byte) {},
		pruneBatch:       200,
		moveBatch:        10_000,
	}
}

type file struct {
	path string
	tuning
	logger *slog.Logger

	info     os.FileInfo
	data     *os.File // holds the file lock; closed after SQLite's files
	opening  token
	position atomic.Pointer[markPosition]

	// For the writer only:

	state *stateFile
	wal   os.FileInfo

	seqBeforeWAL  int64  // newest event in the file when opened with a WAL
	replacedState *state // of another database at the path, until logged

	mark       mark
	lastNumber uint64 // the last one set, committed or not
	minNumber  uint64 // the last one seen in the file

	// guard is an idle read-only connection. SQLite deletes the WAL with the last connection,
	// unless that is read-only.
	guard driver.Conn
}

func realPath(path string) (string, error) {
	if path == "" || path == ":memory:" || strings.HasPrefix(path, "file:") {
		return "", errors.New("the path must name a file on disk")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		real, err := filepath.EvalSymlinks(path)
		return real, userpath.Explain(path, err)
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	return filepath.Join(dir, filepath.Base(path)), userpath.Explain(path, err)
}

// prepare changes no file if they do not belong together. Call release even after an error.
func (f *file) prepare(ctx context.Context) error {
	if err := f.checkUnrestored(); err != nil {
		return err
	}
	info, err := os.Stat(f.path)
	isNew := errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().IsRegular() && info.Size() == 0
	switch {
	case isNew && fileSize(f.path+"-wal") > 0:
		return fmt.Errorf("%s is missing or empty, but its write-ahead log %s-wal exists and may hold events: "+
			"restore the database, or move the write-ahead log away", f.path, f.path)
	case isNew:
		if last, err := readState(f.path); err == nil && last != nil && last.newest > 0 {
			return f.databaseGone(last.newest)
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

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

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
		// It just got this name: closing data would release its store's locks.
		keepOpen(data)
		return ErrLocked
	}
	f.data, f.info = data, info
	switch locked, err := sqlitelock.Lock(data); {
	case err != nil:
		return fmt.Errorf("lock %s: %w", f.path, err)
	case !locked:
		return ErrLocked
	}
	return f.checkPath()
}

func (f *file) release() error {
	err := f.closeGuard()
	if f.state != nil {
		err = errors.Join(err, f.state.file.Close())
	}
	if f.data != nil {
		sqlitelock.Unlock(f.data)
		err = errors.Join(err, f.data.Close())
		unclaim(f.info)
	}
	f.state, f.data = nil, nil
	return err
}

// create sets the application id before WAL mode, so that the file itself has it.
func (f *file) create(ctx context.Context) error {
	db, err := f.open([]pragma{{"synchronous", "2"}, {"application_id", fmt.Sprint(applicationID)}})
	if err != nil {
		return err
	}
	return errors.Join(db.PingContext(ctx), db.Close())
}

// checkHeader does not change files of other programs: SQLite opens an immutable file without
// locks and recovery. writable_schema tolerates a schema that is only in the WAL after an
// interrupted checkpoint.
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

func (f *file) open(pragmas []pragma, parameters ...string) (*sql.DB, error) {
	c, err := f.connector(pragmas, parameters...)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(c), nil
}

func (f *file) connector(pragmas []pragma, parameters ...string) (driver.Connector, error) {
	uri := fileURI(f.path)
	uri.RawQuery = strings.Join(parameters, "&")
	driven, err := sqlite.NewConnector(uri.String())
	if err != nil {
		return nil, err
	}
	pragmas = append([]pragma{{"busy_timeout", f.busyTimeout}}, pragmas...)
	return connector{f.wrap(driven), pragmas}, nil
}

func fileURI(path string) *url.URL {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // for Windows drives
	}
	return &url.URL{Scheme: "file", Path: path}
}
