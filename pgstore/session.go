package pgstore

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/chargeingest/internal/panics"
)

// session is a connection of the writer's own, made as the pool makes its
// connections. The pool may be exhausted by reads or by the host: that must not keep
// events from being stored. A session belongs to one goroutine.
type session struct {
	pool   *pgxpool.Pool
	logger *slog.Logger

	conn       *pgx.Conn // nil without a connection
	made, used time.Time
	lifetime   time.Duration
	idle       time.Duration

	planning planning
	prepared map[string]bool // statements that the connection has prepared

	dialing chan dialed // nil unless a connection is being made
	stop    context.CancelFunc
}

// dialed is what connecting led to.
type dialed struct {
	conn *pgx.Conn
	err  error
}

const (
	// dialTimeout bounds connecting where the pool's config has no timeout, as pgxpool does.
	dialTimeout = 2 * time.Minute

	// pingAfter is how long a connection may be idle before it is checked.
	pingAfter = time.Second

	// closeTimeout bounds closing a connection.
	closeTimeout = time.Second
)

// get returns the connection, within a time. Connecting goes on beyond it: the first
// of several hosts may take longer to fail.
func (s *session) get(ctx context.Context, limit time.Duration) (conn *pgx.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if s.conn != nil && !s.alive(ctx) {
		s.drop()
	}
	if s.conn == nil {
		if err := s.connect(ctx); err != nil {
			// Why there is no connection is nothing that a statement has caused, so
			// the error unwraps to nothing.
			return nil, errors.New("no connection: " + err.Error())
		}
	}
	s.used = time.Now()
	return s.conn, nil
}

// alive reports whether the connection can be used for another transaction.
func (s *session) alive(ctx context.Context) bool {
	now := time.Now()
	idle := now.Sub(s.used)
	switch {
	case s.conn.IsClosed(), s.conn.PgConn().TxStatus() != 'I', s.conn.PgConn().IsBusy():
		return false
	case s.lifetime > 0 && now.Sub(s.made) > s.lifetime, s.idle > 0 && idle > s.idle:
		return false
	case idle < pingAfter:
		return true
	}
	limit := 2 * time.Second // or a dead connection would leave no time for a new one
	if deadline, ok := ctx.Deadline(); ok {
		limit = time.Until(deadline) / 2
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var err error
	func() {
		defer panics.RecoverTo(&err)
		err = s.conn.Ping(ctx)
	}()
	return err == nil
}

func (s *session) connect(ctx context.Context) error {
	if s.dialing == nil {
		cfg := s.pool.Config()
		ContainPanics(cfg, s.logger)
		s.lifetime, s.idle = cfg.MaxConnLifetime, cfg.MaxConnIdleTime
		timeout := cfg.ConnConfig.ConnectTimeout
		if timeout <= 0 {
			timeout = dialTimeout
			cfg.ConnConfig.ConnectTimeout = timeout
		}
		var dialContext context.Context
		dialContext, s.stop = context.WithCancel(context.WithoutCancel(ctx))
		s.dialing = make(chan dialed, 1)
		go func(result chan<- dialed) {
			conn, err := dial(dialContext, cfg)
			result <- dialed{conn, err}
		}(s.dialing)
	}
	select {
	case d := <-s.dialing:
		s.stop()
		s.dialing = nil
		if d.err != nil {
			return d.err
		}
		s.conn, s.made, s.prepared = d.conn, time.Now(), nil
		s.planning = planningOf(d.conn.Config())
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// dial makes a connection with the hooks of a pool's config.
func dial(ctx context.Context, cfg *pgxpool.Config) (conn *pgx.Conn, err error) {
	defer func() {
		if err != nil && conn != nil {
			closeConn(conn)
			conn = nil
		}
	}()
	defer panics.RecoverTo(&err)
	if cfg.BeforeConnect != nil {
		if err := cfg.BeforeConnect(ctx, cfg.ConnConfig); err != nil {
			return nil, err
		}
	}
	if conn, err = pgx.ConnectConfig(ctx, cfg.ConnConfig); err != nil {
		return nil, err
	}
	if cfg.AfterConnect != nil {
		if err := cfg.AfterConnect(ctx, conn); err != nil {
			return conn, err
		}
	}
	if cfg.PrepareConn == nil {
		return conn, nil
	}
	ok, err := cfg.PrepareConn(ctx, conn)
	if err == nil && !ok {
		err = errors.New("the pool's hook refused the connection")
	}
	return conn, err
}

// closeConn closes a connection in the background: the server may be gone.
func closeConn(conn *pgx.Conn) {
	go func() {
		var err error
		defer panics.RecoverTo(&err)
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		_ = conn.Close(ctx) // it is of no use whatever the server says
	}()
}

// drop gives the connection up. A transaction that it has open is undone.
func (s *session) drop() {
	if s.conn != nil {
		closeConn(s.conn)
		s.conn, s.prepared = nil, nil
	}
}

// leave gives up a connection to a server that takes no writes. One that was made a
// moment ago is kept: another one would most likely lead to the same server.
func (s *session) leave() {
	if s.conn != nil && (s.conn.IsClosed() || time.Since(s.made) >= resetPause) {
		s.drop()
	}
}

// close gives the connection up for good and waits until it is closed.
func (s *session) close() {
	if s.dialing != nil {
		s.stop()
		if d := <-s.dialing; d.err == nil {
			s.conn = d.conn
		}
		s.dialing = nil
	}
	if s.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	var err error
	defer panics.RecoverTo(&err)
	_ = s.conn.Close(ctx) // everything was answered
	s.conn = nil
}

// minStatements is the smallest statement cache that holds all of the writer's.
const minStatements = 16

// planning is when a connection prepares statements.
type planning int

const (
	once   planning = iota // the first time, outside the transaction's timeouts
	always                 // each time, outside the transaction's timeouts
	never                  // they are parsed within the transaction
)

func planningOf(cfg *pgx.ConnConfig) planning {
	capacity := minStatements
	switch cfg.DefaultQueryExecMode {
	case pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol:
		return never
	case pgx.QueryExecModeDescribeExec:
		return always
	case pgx.QueryExecModeCacheStatement:
		capacity = cfg.StatementCacheCapacity
	case pgx.QueryExecModeCacheDescribe:
		capacity = cfg.DescriptionCacheCapacity
	}
	if capacity < minStatements {
		return always
	}
	return once
}

// isPrepared reports whether a batch can be sent without preparing anything first.
func (s *session) isPrepared(b *pgx.Batch) bool {
	if s.planning != once {
		return s.planning == never
	}
	for _, q := range b.QueuedQueries {
		if !s.prepared[q.SQL] {
			return false
		}
	}
	return true
}

// setPrepared records what a batch that succeeded has prepared; pgx forgets all
// statements of one that failed.
func (s *session) setPrepared(b *pgx.Batch, ok bool) {
	switch {
	case !ok:
		s.prepared = nil
	case s.prepared == nil:
		s.prepared = make(map[string]bool)
		fallthrough
	default:
		for _, q := range b.QueuedQueries {
			s.prepared[q.SQL] = true
		}
	}
}
