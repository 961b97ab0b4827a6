package sqlitestore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// pragma is a setting of a connection and the value that reads back.
type pragma struct{ name, set, want string }

func writerPragmas() []pragma {
	return []pragma{
		{"busy_timeout", "5000", "5000"},
		{"journal_mode", "WAL", "wal"},
		{"synchronous", "FULL", "2"},
		{"foreign_keys", "ON", "1"},
	}
}

func readerPragmas() []pragma {
	return append(writerPragmas(), pragma{"query_only", "ON", "1"})
}

// connector opens connections with their pragmas set and read back: SQLite
// passes silently over a pragma that it does not know or cannot set.
type connector struct {
	driver.Connector
	pragmas []pragma
}

// Connect implements [driver.Connector].
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range c.pragmas {
		if err := p.apply(ctx, conn); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return conn, nil
}

func (p pragma) apply(ctx context.Context, conn driver.Conn) error {
	if _, err := ask(ctx, conn, "PRAGMA "+p.name+"="+p.set); err != nil {
		return fmt.Errorf("set %s: %w", p.name, err)
	}
	got, err := ask(ctx, conn, "PRAGMA "+p.name)
	if err != nil {
		return fmt.Errorf("read %s back: %w", p.name, err)
	}
	if got != p.want {
		return fmt.Errorf("%s is %q after it was set to %s", p.name, got, p.set)
	}
	return nil
}

// ask runs a statement and returns the first column of its first row, if any.
func ask(ctx context.Context, conn driver.Conn, statement string) (answer string, err error) {
	queryer, ok := conn.(driver.QueryerContext)
	if !ok {
		return "", errors.New("the driver's connection cannot query")
	}
	rows, err := queryer.QueryContext(ctx, statement, nil)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	row := make([]driver.Value, len(rows.Columns()))
	if err := rows.Next(row); err != nil {
		if errors.Is(err, io.EOF) {
			return "", nil
		}
		return "", err
	}
	return fmt.Sprint(row[0]), nil
}

// openDB returns a pool of connections to a database that exists.
func openDB(path string, pragmas []pragma) (*sql.DB, error) {
	return openMode(path, "rw", pragmas)
}

// openMode opens with a mode of SQLite's URIs: ro, rw or rwc.
func openMode(path, mode string, pragmas []pragma) (*sql.DB, error) {
	// As a URI with its path escaped, a name may hold any character.
	uri := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: "mode=" + mode}
	base, err := sqlite.NewConnector(uri.String())
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector{base, pragmas}), nil
}

// code is the primary result code of an error of SQLite's, 0 for any other.
func code(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

// isDamage says that an error leaves it open what is on disk.
func isDamage(err error) bool {
	switch code(err) {
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN:
		return true
	}
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone)
}

// isFull says that there was no room on the disk.
func isFull(err error) bool { return code(err) == sqlite3.SQLITE_FULL }

// isBusy says that another connection has the lock.
func isBusy(err error) bool {
	return code(err) == sqlite3.SQLITE_BUSY || code(err) == sqlite3.SQLITE_LOCKED
}
