package pgstore

import (
	"context"
	"crypto/rand"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/storekit"
)

type hooks struct {
	armed  atomic.Value
	called atomic.Int64
}

func (h *hooks) at(hook string) {
	if h.armed.Load() == hook {
		h.called.Add(1)
		panic("broken " + hook)
	}
}

func (h *hooks) Enabled(context.Context, slog.Level) bool { h.at("logger"); return true }
func (h *hooks) Handle(context.Context, slog.Record) error {
	h.at("log handler")
	return nil
}
func (h *hooks) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h *hooks) WithGroup(string) slog.Handler      { return h }

func (h *hooks) Read(p []byte) (int, error) {
	h.at("entropy")
	return rand.Read(p)
}

func (h *hooks) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	h.at("query start")
	return ctx
}
func (h *hooks) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) { h.at("query end") }

func (h *hooks) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	h.at("batch start")
	return ctx
}

func (h *hooks) TraceBatchQuery(_ context.Context, _ *pgx.Conn, d pgx.TraceBatchQueryData) {
	h.at("batch query")
	if d.SQL == "COMMIT" {
		h.at("after the commit")
	}
}

func (h *hooks) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) { h.at("batch end") }

func (h *hooks) TracePrepareStart(ctx context.Context, _ *pgx.Conn, _ pgx.TracePrepareStartData) context.Context {
	h.at("prepare start")
	return ctx
}
func (h *hooks) TracePrepareEnd(context.Context, *pgx.Conn, pgx.TracePrepareEndData) {
	h.at("prepare end")
}

func (h *hooks) TraceCopyFromStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceCopyFromStartData) context.Context {
	h.at("copy start")
	return ctx
}
func (h *hooks) TraceCopyFromEnd(context.Context, *pgx.Conn, pgx.TraceCopyFromEndData) {
	h.at("copy end")
}

func (h *hooks) TraceConnectStart(ctx context.Context, _ pgx.TraceConnectStartData) context.Context {
	h.at("connect start")
	return ctx
}
func (h *hooks) TraceConnectEnd(context.Context, pgx.TraceConnectEndData) { h.at("connect end") }

func (h *hooks) TraceAcquireStart(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireStartData) context.Context {
	h.at("acquire start")
	return ctx
}
func (h *hooks) TraceAcquireEnd(context.Context, *pgxpool.Pool, pgxpool.TraceAcquireEndData) {
	h.at("acquire end")
}
func (h *hooks) TraceRelease(*pgxpool.Pool, pgxpool.TraceReleaseData) { h.at("release") }

func (h *hooks) configure(c *pgxpool.Config) {
	c.ConnConfig.Tracer = h
	c.BeforeConnect = func(context.Context, *pgx.ConnConfig) error { h.at("before connect"); return nil }
	c.AfterConnect = func(context.Context, *pgx.Conn) error { h.at("after connect"); return nil }
	c.PrepareConn = func(context.Context, *pgx.Conn) (bool, error) { h.at("prepare conn"); return true, nil }
	c.AfterRelease = func(*pgx.Conn) bool { h.at("after release"); return true }
	c.BeforeClose = func(*pgx.Conn) { h.at("before close") }
	c.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { h.at("should ping"); return false }
	c.ConnConfig.OnNotice = func(*pgconn.PgConn, *pgconn.Notice) { h.at("notice") }
}

func TestPanicsOfHooks(t *testing.T) {
	parallel(t)
	h := new(hooks)
	h.armed.Store("")
	pool := newPool(t, func(c *pgxpool.Config) {
		h.configure(c)
		WatchStandby(c)
		ContainPanics(c, slog.New(h))
	})
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema, Logger: slog.New(h), Entropy: h, Observer: func(chargeingest.CommitStats) { h.at("observer") }})
	_, err := pool.Exec(t.Context(), `CREATE FUNCTION `+schema+`.tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'a notice'; RETURN NEW; END $$;
CREATE TRIGGER tell BEFORE INSERT ON `+schema+`.events FOR EACH ROW EXECUTE FUNCTION `+schema+`.tell()`)
	require.NoError(t, err)
	appended(t, s, charges("acme", ""))
	count := func() int {
		h.armed.Store("")
		return len(listed(t, s, "acme"))
	}
	for _, c := range []struct {
		hook      string
		connect   bool
		notStored bool
		unused    bool
	}{
		{hook: "logger"}, {hook: "log handler"}, {hook: "observer"}, {hook: "notice"},
		{hook: "entropy", notStored: true},
		{hook: "query start", connect: true, unused: true}, {hook: "query end", connect: true, unused: true},
		{hook: "batch start"}, {hook: "batch query"}, {hook: "batch end"}, {hook: "after the commit"},
		{hook: "prepare start", unused: true}, {hook: "prepare end", unused: true},
		{hook: "copy start", unused: true}, {hook: "copy end", unused: true},
		{hook: "connect start", connect: true}, {hook: "connect end", connect: true},
		{hook: "before connect", connect: true, notStored: true}, {hook: "after connect", connect: true, notStored: true},
		{hook: "prepare conn", connect: true, notStored: true},
		{hook: "acquire start"}, {hook: "acquire end"}, {hook: "release"},
		{hook: "after release"}, {hook: "should ping"}, {hook: "before close", connect: true, unused: true},
	} {
		for _, lookupFirst := range []bool{false, true} {
			t.Run(c.hook, func(t *testing.T) {
				before := count()
				s.writer.lookupFirst = lookupFirst
				if c.connect {
					require.NoError(t, s.writer.session.conn.Close(t.Context()))
					pool.Reset()
				}
				if c.hook == "entropy" { // without buffered entropy
					ids, err := storekit.NewIDGenerator(h, listed(t, s, "acme")[before-1])
					require.NoError(t, err)
					s.writer.ids = ids
				}
				h.called.Store(0)
				h.armed.Store(c.hook)
				_, appendErr := s.Append(t.Context(), at(charges("acme", ""), time.Now()))
				if strings.HasPrefix(c.hook, "log") {
					bad := charges("acme", "bad")
					bad.Events[0].CustomerID = "\x00"
					_, err := s.Append(t.Context(), bad)
					require.ErrorIs(t, err, chargeingest.ErrNotStored)
				}
				_, listErr := s.List(t.Context(), chargeingest.Query{Platform: "acme", Limit: 1})
				if !c.unused {
					require.Eventually(t, func() bool { return h.called.Load() > 0 }, 10*time.Second, time.Millisecond)
				}
				h.armed.Store("")
				stored := count() - before
				if c.notStored {
					require.ErrorIs(t, appendErr, chargeingest.ErrNotStored)
					require.Zero(t, stored)
				} else {
					require.NoError(t, appendErr)
					require.NoError(t, listErr)
					require.Equal(t, 1, stored)
				}
				appended(t, s, charges("acme", ""))
			})
		}
	}
}

func TestPanickingTracerWithoutContainPanics(t *testing.T) {
	h := new(hooks)
	h.armed.Store("")
	pool := newPool(t, func(c *pgxpool.Config) { c.ConnConfig.Tracer = h })
	s := newStore(t, pool, Options{Logger: slog.New(slog.DiscardHandler)})
	for _, hook := range []string{"batch start", "batch query", "batch end", "after the commit"} {
		for _, lookupFirst := range []bool{false, true} {
			s.writer.lookupFirst = lookupFirst
			h.armed.Store(hook)
			appended(t, s, charges("acme", ""))
			_, err := s.List(t.Context(), chargeingest.Query{Platform: "acme", Limit: 1})
			if hook != "after the commit" {
				require.ErrorContains(t, err, "broken "+hook)
			}
			h.armed.Store("")
		}
	}
	require.Len(t, listed(t, s, "acme"), 8)
}
