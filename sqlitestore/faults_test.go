package sqlitestore

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	sqlite3 "modernc.org/sqlite/lib"
)

type resultError int

func (e resultError) Error() string { return fmt.Sprintf("result code %d", int(e)) }

func (e resultError) Code() int { return int(e) }

var errIO = resultError(sqlite3.SQLITE_IOERR_FSYNC)

type step struct {
	ctx       context.Context
	statement string
	arguments []driver.NamedValue
}

type faults struct {
	mu     sync.Mutex
	before func(step) error
	after  func(statement string) error
	seen   []string
}

func (f *faults) set(before func(step) error, after func(string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before, f.after = before, after
}

func (f *faults) on(prefix string, err error) {
	f.set(func(st step) error {
		if strings.HasPrefix(st.statement, prefix) {
			return err
		}
		return nil
	}, nil)
}

func (f *faults) once(prefix string, fault func() error) {
	f.onceIn(prefix, func(context.Context) error { return fault() })
}

func (f *faults) onceIn(prefix string, fault func(context.Context) error) {
	var done atomic.Bool
	f.set(func(st step) error {
		if strings.HasPrefix(st.statement, prefix) && done.CompareAndSwap(false, true) {
			return fault(st.ctx)
		}
		return nil
	}, nil)
}

func (f *faults) clear() {
	f.set(nil, nil)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = nil
}

func (f *faults) count(prefix string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(slices.DeleteFunc(slices.Clone(f.seen), func(s string) bool { return !strings.HasPrefix(s, prefix) }))
}

func run[R any](ctx context.Context, f *faults, statement string, arguments []driver.NamedValue, do func() (R, error)) (result R, err error) {
	f.mu.Lock()
	before, after := f.before, f.after
	f.mu.Unlock()
	if before != nil {
		if err := before(step{ctx, statement, arguments}); err != nil {
			return result, err
		}
	}
	f.mu.Lock()
	f.seen = append(f.seen, statement)
	f.mu.Unlock()
	if result, err = do(); err == nil && after != nil {
		err = after(statement)
	}
	return result, err
}

type faultyConnector struct {
	driver.Connector
	faults *faults
}

func (c faultyConnector) Connect(ctx context.Context) (driver.Conn, error) {
	return run(ctx, c.faults, "CONNECT", nil, func() (driver.Conn, error) {
		conn, err := c.Connector.Connect(ctx)
		if err != nil {
			return nil, err
		}
		return faultyConn{conn.(driverConn), c.faults}, nil
	})
}

type driverConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

type faultyConn struct {
	driverConn
	faults *faults
}

func (c faultyConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	tx, err := c.driverConn.BeginTx(ctx, o)
	return faultyTx{tx, c.faults}, err
}

type faultyTx struct {
	driver.Tx
	faults *faults
}

func (t faultyTx) Rollback() error {
	_, err := run(context.Background(), t.faults, "ROLLBACK", nil, func() (any, error) { return nil, t.Tx.Rollback() })
	return err
}

func (c faultyConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return run(ctx, c.faults, query, args, func() (driver.Result, error) { return c.driverConn.ExecContext(ctx, query, args) })
}

func (c faultyConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return run(ctx, c.faults, query, args, func() (driver.Rows, error) { return c.driverConn.QueryContext(ctx, query, args) })
}

func (c faultyConn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

func (c faultyConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	s, err := c.driverConn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return faultyStmt{s.(contextStatement), query, c.faults}, nil
}

type faultyStmt struct {
	contextStatement
	query  string
	faults *faults
}

func (s faultyStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return run(ctx, s.faults, s.query, args, func() (driver.Result, error) { return s.contextStatement.ExecContext(ctx, args) })
}

func (s faultyStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return run(ctx, s.faults, s.query, args, func() (driver.Rows, error) { return s.contextStatement.QueryContext(ctx, args) })
}
