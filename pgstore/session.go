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

// session is the writer's connection. Other users may exhaust the pool.
type session struct {
	pool   *pgxpool.Pool
	logger *slog.Logger

	conn      *pgx.Conn
	connected time.Time
	used      time.Time
	lifetime  time.Duration // MaxConnLifetime
	idle      time.Duration // MaxConnIdleTime

	preparing preparing
	prepared  map[string]bool

	dialing    chan dialResult
	cancelDial context.CancelFunc
}

type dialResult struct {
	conn *pgx.Conn
	err  error
}

const (
	dialTimeout  = 2 * time.Minute // like pgxpool
	pingAfter    = time.Second     // without use
	closeTimeout = time.Second
)

// get returns after the timeout, but keeps connecting for the next call: one of several hosts
// may take longer.
func (s *session) get(ctx context.Context, timeout time.Duration) (conn *pgx.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if s.conn != nil && !s.alive(ctx) {
		s.drop()
	}
	if s.conn == nil {
		if err := s.connect(ctx); err != nil {
			return nil, noConnection(err)
		}
	}
	s.used = time.Now()
	return s.conn, nil
}

func (s *session) alive(ctx context.Context) bool {
	now := time.Now()
	idle := now.Sub(s.used)
	switch {
	case s.conn.IsClosed(), s.conn.PgConn().TxStatus() != 'I', s.conn.PgConn().IsBusy():
		return false
	case s.lifetime > 0 && now.Sub(s.connected) > s.lifetime, s.idle > 0 && idle > s.idle:
		return false
	case idle < pingAfter:
		return true
	}
	timeout := 2 * time.Second
	if deadline, ok := ctx.Deadline(); ok {
		timeout = time.Until(deadline) / 2 // time to connect
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
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
		dialContext, s.cancelDial = context.WithCancel(context.WithoutCancel(ctx))
		s.dialing = make(chan dialResult, 1)
		go func(result chan<- dialResult) {
			conn, err := dial(dialContext, cfg)
			result <- dialResult{conn, err}
		}(s.dialing)
	}
	select {
	case d := <-s.dialing:
		s.cancelDial()
		s.dialing = nil
		if d.err != nil {
			return d.err
		}
		s.conn, s.connected, s.prepared = d.conn, time.Now(), nil
		s.preparing = preparingOf(d.conn.Config())
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

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

// closeConn works in the background, as the server may not respond.
func closeConn(conn *pgx.Conn) {
	go func() {
		var err error
		defer panics.RecoverTo(&err)
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		_ = conn.Close(ctx)
	}()
}

func (s *session) drop() {
	if s.conn != nil {
		closeConn(s.conn)
		s.conn, s.prepared = nil, nil
	}
}

// dropUnlessNew keeps a new connection: another would most likely lead to the same server.
func (s *session) dropUnlessNew() {
	if s.conn != nil && (s.conn.IsClosed() || time.Since(s.connected) >= resetInterval) {
		s.drop()
	}
}

func (s *session) close() {
	if s.dialing != nil {
		s.cancelDial()
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
	_ = s.conn.Close(ctx)
	s.conn = nil
}

const minCacheCapacity = 16

type preparing int

const (
	prepareOnce preparing = iota // per statement
	prepareAlways
	prepareNever
)

func preparingOf(cfg *pgx.ConnConfig) preparing {
	capacity := minCacheCapacity
	switch cfg.DefaultQueryExecMode {
	case pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol:
		return prepareNever
	case pgx.QueryExecModeDescribeExec:
		return prepareAlways
	case pgx.QueryExecModeCacheStatement:
		capacity = cfg.StatementCacheCapacity
	case pgx.QueryExecModeCacheDescribe:
		capacity = cfg.DescriptionCacheCapacity
	}
	if capacity < minCacheCapacity {
		return prepareAlways
	}
	return prepareOnce
}

// isPrepared reports whether pgx will send a batch without preparing a statement first.
func (s *session) isPrepared(b *pgx.Batch) bool {
	if s.preparing != prepareOnce {
		return s.preparing == prepareNever
	}
	for _, q := range b.QueuedQueries {
		if !s.prepared[q.SQL] {
			return false
		}
	}
	return true
}

// After a failed batch pgx forgets all statements.
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
