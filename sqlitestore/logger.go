package sqlitestore

import (
	"context"
	"log/slog"
)

// safeHandler recovers panics, because the writer logs while it holds locks.
type safeHandler struct{ slog.Handler }

func safeLogger(l *slog.Logger) *slog.Logger { return slog.New(safeHandler{l.Handler()}) }

func (h safeHandler) Enabled(ctx context.Context, level slog.Level) (enabled bool) {
	defer func() { _ = recover() }()
	return h.Handler.Enabled(ctx, level)
}

func (h safeHandler) Handle(ctx context.Context, r slog.Record) error {
	return guarded(func() error { return h.Handler.Handle(ctx, r) })
}
