package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"

	_ "modernc.org/sqlite"

	"example.com/chargeingest"
	"example.com/chargeingest/sqlitestore"
)

// openSQLite checks that commits are synced: the driver ignores unknown parameters.
func openSQLite(ctx context.Context, path, parameters string) (*sql.DB, error) {
	const durable = "_pragma=journal_mode(wal)&_pragma=synchronous(full)&_pragma=busy_timeout(5000)"
	db, err := sql.Open("sqlite", fileURI(path, durable+parameters))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	var mode string
	var synchronous int
	err = db.QueryRowContext(ctx, "SELECT journal_mode, synchronous FROM pragma_journal_mode, pragma_synchronous").
		Scan(&mode, &synchronous)
	if err == nil && (mode != "wal" || synchronous != 2) {
		err = fmt.Errorf("journal_mode is %s and synchronous is %d, not wal and 2 (FULL)", mode, synchronous)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func fileURI(path, parameters string) string {
	uri := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: parameters}
	return uri.String()
}

type inserter struct {
	db   *sql.DB
	conn *sql.Conn

	begin, insert, commit driver.Stmt
}

func openInserter(ctx context.Context, path string) (*inserter, error) {
	store, err := sqlitestore.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	if err := store.Close(); err != nil {
		return nil, err
	}
	db, err := openSQLite(ctx, path, "&_pragma=cache_size(-32768)") // as sqlitestore
	if err != nil {
		return nil, err
	}
	s := &inserter{db: db}
	const platform = "INSERT INTO platforms (id, name) VALUES (1, ?)"
	if _, err = db.ExecContext(ctx, platform, chargeingest.DefaultPlatform); err == nil {
		s.conn, err = db.Conn(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := s.conn.Raw(s.prepare); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *inserter) prepare(conn any) error {
	for _, p := range []struct {
		statement *driver.Stmt
		query     string
	}{
		{&s.begin, "BEGIN IMMEDIATE"},
		{&s.insert, `INSERT INTO events (id, platform, timestamp_s, timestamp_ns, timestamp_assigned, received_s, received_ns, digest, content)
			VALUES (?, 1, ?, ?, ?, ?, ?, ?, ?)`},
		{&s.commit, "COMMIT"},
	} {
		var err error
		if *p.statement, err = conn.(driver.Conn).Prepare(p.query); err != nil {
			return err
		}
	}
	return nil
}

func execute(s driver.Stmt, arguments ...driver.Value) (driver.Result, error) {
	named := make([]driver.NamedValue, len(arguments))
	for i, v := range arguments {
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	return s.(driver.StmtExecContext).ExecContext(context.Background(), named)
}

func (s *inserter) write(_ context.Context, events []newEvent) error {
	return s.conn.Raw(func(any) error {
		if _, err := execute(s.begin); err != nil {
			return err
		}
		for i := range events {
			e := &events[i]
			if _, err := execute(s.insert, e.id, e.Timestamp.Unix(), int64(e.Timestamp.Nanosecond()), e.TimestampAssigned,
				e.ReceivedAt.Unix(), int64(e.ReceivedAt.Nanosecond()), e.Digest[:], e.Content); err != nil {
				return err
			}
		}
		_, err := execute(s.commit)
		return err
	})
}

func (s *inserter) close() {
	for _, statement := range []driver.Stmt{s.begin, s.insert, s.commit} {
		if statement != nil {
			_ = statement.Close()
		}
	}
	_ = s.conn.Close()
	_ = s.db.Close()
}
