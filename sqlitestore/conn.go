package sqlitestore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"

	sqlite3 "modernc.org/sqlite/lib"

	"example.com/chargeingest/internal/panics"
)

type pragma struct{ name, value string }

const maxWALBytes = "67108864"

func writerPragmas() []pragma {
	return append(commonPragmas(),
		pragma{"wal_autocheckpoint", "0"}, // the writer does it after responding
		pragma{"journal_size_limit", maxWALBytes},
		pragma{"cache_size", "-32768"}, // KiB; random references touch many pages
	)
}

func readerPragmas() []pragma { return append(commonPragmas(), pragma{"query_only", "1"}) }

func commonPragmas() []pragma {
	return []pragma{
		{"journal_mode", "wal"},
		{"synchronous", "2"}, // FULL: sync every commit
		{"foreign_keys", "1"},
	}
}

type connector struct {
	driver.Connector
	pragmas []pragma
}

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	opened, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range c.pragmas {
		if err := p.set(conn{opened}); err != nil {
			return nil, errors.Join(err, opened.Close())
		}
	}
	return opened, nil
}

// set also reads: SQLite ignores unknown names and values.
func (p pragma) set(c conn) error {
	if _, err := c.query("PRAGMA " + p.name + " = " + p.value); err != nil {
		return fmt.Errorf("set %s: %w", p.name, err)
	}
	rows, err := c.query("PRAGMA " + p.name)
	if err != nil {
		return fmt.Errorf("read %s back: %w", p.name, err)
	}
	if len(rows) != 1 || fmt.Sprint(rows[0][0]) != p.value {
		return fmt.Errorf("%s is %v and cannot be set to %s", p.name, rows, p.value)
	}
	return nil
}

// conn is for one goroutine. Unlike one of database/sql, it can be closed after a panic.
type conn struct{ driver.Conn }

func (c conn) exec(query string) error {
	s, err := c.prepare(query)
	if err != nil {
		return err
	}
	defer s.closeQuietly()
	_, err = s.exec()
	return err
}

func (c conn) query(query string) ([][]driver.Value, error) {
	s, err := c.prepare(query)
	if err != nil {
		return nil, err
	}
	defer s.closeQuietly()
	return s.query()
}

// row is for queries that return one row.
func (c conn) row(query string, destinations ...any) error {
	rows, err := c.query(query)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return sql.ErrNoRows
	}
	return scan(rows[0], destinations...)
}

func (c conn) prepare(query string) (statement, error) {
	s, err := c.Prepare(query)
	if err != nil {
		return statement{}, err
	}
	prepared, ok := s.(contextStatement)
	if !ok {
		return statement{}, errors.Join(fmt.Errorf("the driver's %T does not support contexts", s), s.Close())
	}
	return statement{contextStatement: prepared}, nil
}

// newestSeq is the greatest seq, even if pruned.
const newestSeq = "max(coalesce((SELECT pruned FROM merged), 0), coalesce((SELECT max(seq) FROM events), 0))"

// newestEvent returns newestSeq, of any schema version.
func (c conn) newestEvent() (seq int64, err error) {
	var version int64
	if err := c.row("PRAGMA user_version", &version); err != nil {
		return 0, err
	}
	err = c.row("SELECT "+newestSeqSQL(version), &seq)
	return seq, err
}

func newestSeqSQL(version int64) string {
	if version < movingVersion {
		return "(SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events')"
	}
	return newestSeq
}

func (c conn) checkpoint(mode string) (state walState, err error) {
	defer panics.RecoverTo(&err)
	return scanWALState(c.query("PRAGMA wal_checkpoint(" + mode + ")"))
}

func scanWALState(rows [][]driver.Value, err error) (state walState, _ error) {
	if err == nil {
		err = scan(rows[0], &state.busy, &state.frames, &state.checkpointed)
	}
	return state, err
}

type walState struct {
	busy         int64 // 1 if another connection blocked the checkpoint
	frames       int64
	checkpointed int64 // frames synced in the database
}

type statement struct {
	contextStatement
	changed *bool // set by exec
}

type contextStatement interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

func (s statement) closeQuietly() { _ = s.Close() }

func (s statement) exec(arguments ...driver.Value) (driver.Result, error) {
	result, err := s.ExecContext(context.Background(), namedValues(arguments))
	if n, _ := affected(result, err); n > 0 && s.changed != nil {
		*s.changed = true
	}
	return result, err
}

func (s statement) query(arguments ...driver.Value) (all [][]driver.Value, err error) {
	err = s.each(func(row []driver.Value) error {
		all = append(all, row)
		return nil
	}, arguments...)
	return all, err
}

// each ends without an error if f returns io.EOF.
func (s statement) each(f func(row []driver.Value) error, arguments ...driver.Value) error {
	rows, err := s.QueryContext(context.Background(), namedValues(arguments))
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for err == nil {
		row := make([]driver.Value, len(rows.Columns()))
		if err = rows.Next(row); err == nil {
			err = f(row)
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func namedValues(arguments []driver.Value) []driver.NamedValue {
	list := make([]driver.NamedValue, len(arguments))
	for i, v := range arguments {
		list[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	return list
}

func scan(row []driver.Value, destinations ...any) error {
	for i, destination := range destinations {
		ok := false
		switch d := destination.(type) {
		case *int64:
			*d, ok = row[i].(int64)
		case *bool:
			var n int64
			n, ok = row[i].(int64)
			*d = n != 0
		case *string:
			*d, ok = row[i].(string)
		case *[]byte:
			switch v := row[i].(type) {
			case string:
				*d, ok = []byte(v), true
			case []byte:
				*d, ok = v, true
			}
		}
		if !ok {
			return fmt.Errorf("cannot scan column %d, a %T, into a %T", i, row[i], destination)
		}
	}
	return nil
}

func resultCode(err error) int {
	var coded interface{ Code() int }
	if !errors.As(err, &coded) {
		return 0
	}
	return coded.Code() & 0xff
}

func endsSession(err error) bool {
	switch resultCode(err) {
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN,
		sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERNAL, sqlite3.SQLITE_MISUSE:
		return true
	}
	return errors.Is(err, driver.ErrBadConn)
}
