package pgstore

import (
	"context"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/chargeingest/internal/panics"
)

// ContainPanics turns panics of the config's hooks and tracer into errors or log entries.
// Otherwise a panic in a goroutine of pgxpool ends the process. Call it after setting the
// hooks, before creating the pool.
func ContainPanics(cfg *pgxpool.Config, logger *slog.Logger) {
	report := func(err error) { log(logger, slog.LevelError, "pgstore: a hook of the pool failed", err) }
	containConnect(cfg)
	if f := cfg.ShouldPing; f != nil {
		cfg.ShouldPing = func(ctx context.Context, p pgxpool.ShouldPingParams) (ping bool) {
			ping = true
			contain(report, func() { ping = f(ctx, p) })
			return ping
		}
	}
	if f := cfg.AfterRelease; f != nil {
		cfg.AfterRelease = func(conn *pgx.Conn) (keep bool) {
			contain(report, func() { keep = f(conn) })
			return keep
		}
	}
	if f := cfg.BeforeClose; f != nil {
		cfg.BeforeClose = func(conn *pgx.Conn) { contain(report, func() { f(conn) }) }
	}
	if f := cfg.ConnConfig.OnNotice; f != nil {
		cfg.ConnConfig.OnNotice = func(conn *pgconn.PgConn, n *pgconn.Notice) { contain(report, func() { f(conn, n) }) }
	}
	if f := cfg.ConnConfig.OnNotification; f != nil {
		cfg.ConnConfig.OnNotification = func(conn *pgconn.PgConn, n *pgconn.Notification) { contain(report, func() { f(conn, n) }) }
	}
	if t := cfg.ConnConfig.Tracer; t != nil {
		cfg.ConnConfig.Tracer = tracer{t, report}
	}
}

func containConnect(cfg *pgxpool.Config) {
	if f := cfg.BeforeConnect; f != nil {
		cfg.BeforeConnect = func(ctx context.Context, c *pgx.ConnConfig) (err error) {
			defer panics.RecoverTo(&err)
			return f(ctx, c)
		}
	}
	if f := cfg.AfterConnect; f != nil {
		cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) (err error) {
			defer panics.RecoverTo(&err)
			return f(ctx, conn)
		}
	}
	if f := cfg.PrepareConn; f != nil {
		cfg.PrepareConn = func(ctx context.Context, conn *pgx.Conn) (ok bool, err error) {
			defer func() { ok = ok && err == nil }()
			defer panics.RecoverTo(&err)
			return f(ctx, conn)
		}
	} else if f := cfg.BeforeAcquire; f != nil { //nolint:staticcheck // deprecated, and still honored by pgxpool
		cfg.PrepareConn = func(ctx context.Context, conn *pgx.Conn) (ok bool, err error) {
			defer panics.RecoverTo(&err)
			return f(ctx, conn), nil
		}
	}
}

func contain(report func(error), f func()) {
	var err error
	func() {
		defer panics.RecoverTo(&err)
		f()
	}()
	if err != nil {
		report(err)
	}
}

type tracer struct {
	inner  pgx.QueryTracer
	report func(error)
}

var (
	_ pgx.QueryTracer       = tracer{}
	_ pgx.BatchTracer       = tracer{}
	_ pgx.CopyFromTracer    = tracer{}
	_ pgx.PrepareTracer     = tracer{}
	_ pgx.ConnectTracer     = tracer{}
	_ pgxpool.AcquireTracer = tracer{}
	_ pgxpool.ReleaseTracer = tracer{}
)

func (t tracer) start(ctx context.Context, f func() context.Context) context.Context {
	started := ctx
	contain(t.report, func() { started = f() })
	if started == nil {
		return ctx
	}
	return started
}

func (t tracer) TraceQueryStart(ctx context.Context, conn *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	return t.start(ctx, func() context.Context { return t.inner.TraceQueryStart(ctx, conn, d) })
}

func (t tracer) TraceQueryEnd(ctx context.Context, conn *pgx.Conn, d pgx.TraceQueryEndData) {
	contain(t.report, func() { t.inner.TraceQueryEnd(ctx, conn, d) })
}

func (t tracer) TraceBatchStart(ctx context.Context, conn *pgx.Conn, d pgx.TraceBatchStartData) context.Context {
	if h, ok := t.inner.(pgx.BatchTracer); ok {
		return t.start(ctx, func() context.Context { return h.TraceBatchStart(ctx, conn, d) })
	}
	return ctx
}

func (t tracer) TraceBatchQuery(ctx context.Context, conn *pgx.Conn, d pgx.TraceBatchQueryData) {
	if h, ok := t.inner.(pgx.BatchTracer); ok {
		contain(t.report, func() { h.TraceBatchQuery(ctx, conn, d) })
	}
}

func (t tracer) TraceBatchEnd(ctx context.Context, conn *pgx.Conn, d pgx.TraceBatchEndData) {
	if h, ok := t.inner.(pgx.BatchTracer); ok {
		contain(t.report, func() { h.TraceBatchEnd(ctx, conn, d) })
	}
}

func (t tracer) TraceCopyFromStart(ctx context.Context, conn *pgx.Conn, d pgx.TraceCopyFromStartData) context.Context {
	if h, ok := t.inner.(pgx.CopyFromTracer); ok {
		return t.start(ctx, func() context.Context { return h.TraceCopyFromStart(ctx, conn, d) })
	}
	return ctx
}

func (t tracer) TraceCopyFromEnd(ctx context.Context, conn *pgx.Conn, d pgx.TraceCopyFromEndData) {
	if h, ok := t.inner.(pgx.CopyFromTracer); ok {
		contain(t.report, func() { h.TraceCopyFromEnd(ctx, conn, d) })
	}
}

func (t tracer) TracePrepareStart(ctx context.Context, conn *pgx.Conn, d pgx.TracePrepareStartData) context.Context {
	if h, ok := t.inner.(pgx.PrepareTracer); ok {
		return t.start(ctx, func() context.Context { return h.TracePrepareStart(ctx, conn, d) })
	}
	return ctx
}

func (t tracer) TracePrepareEnd(ctx context.Context, conn *pgx.Conn, d pgx.TracePrepareEndData) {
	if h, ok := t.inner.(pgx.PrepareTracer); ok {
		contain(t.report, func() { h.TracePrepareEnd(ctx, conn, d) })
	}
}

func (t tracer) TraceConnectStart(ctx context.Context, d pgx.TraceConnectStartData) context.Context {
	if h, ok := t.inner.(pgx.ConnectTracer); ok {
		return t.start(ctx, func() context.Context { return h.TraceConnectStart(ctx, d) })
	}
	return ctx
}

func (t tracer) TraceConnectEnd(ctx context.Context, d pgx.TraceConnectEndData) {
	if h, ok := t.inner.(pgx.ConnectTracer); ok {
		contain(t.report, func() { h.TraceConnectEnd(ctx, d) })
	}
}

func (t tracer) TraceAcquireStart(ctx context.Context, pool *pgxpool.Pool, d pgxpool.TraceAcquireStartData) context.Context {
	if h, ok := t.inner.(pgxpool.AcquireTracer); ok {
		return t.start(ctx, func() context.Context { return h.TraceAcquireStart(ctx, pool, d) })
	}
	return ctx
}

func (t tracer) TraceAcquireEnd(ctx context.Context, pool *pgxpool.Pool, d pgxpool.TraceAcquireEndData) {
	if h, ok := t.inner.(pgxpool.AcquireTracer); ok {
		contain(t.report, func() { h.TraceAcquireEnd(ctx, pool, d) })
	}
}

func (t tracer) TraceRelease(pool *pgxpool.Pool, d pgxpool.TraceReleaseData) {
	if h, ok := t.inner.(pgxpool.ReleaseTracer); ok {
		contain(t.report, func() { h.TraceRelease(pool, d) })
	}
}
