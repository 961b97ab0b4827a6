package sqlitestore

import (
	"context"
	"log/slog"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sqlite3 "modernc.org/sqlite/lib"

	"example.com/chargeingest"
)

type panickingHook struct {
	in     string
	panics *atomic.Int32
}

func (p panickingHook) call(method string) {
	if method == p.in {
		p.panics.Add(1)
		panic(method)
	}
}

func (p panickingHook) Enabled(context.Context, slog.Level) bool {
	p.call("Enabled")
	return true
}

func (p panickingHook) Handle(context.Context, slog.Record) error {
	p.call("Handle")
	return nil
}

func (p panickingHook) WithAttrs([]slog.Attr) slog.Handler { return p }
func (p panickingHook) WithGroup(string) slog.Handler      { return p }

func (p panickingHook) Observe(chargeingest.CommitStats) { p.call("Observe") }

func (p panickingHook) Read(b []byte) (int, error) {
	p.call("Read")
	for i := range b {
		b[i] = 1
	}
	return len(b), nil
}

func TestPanicsOfHooks(t *testing.T) {
	for _, hook := range []string{"Enabled", "Handle", "Observe", "Read"} {
		t.Run(hook, func(t *testing.T) {
			p := panickingHook{hook, new(atomic.Int32)}
			setup := newSetup(t)
			setup.options.Logger, setup.options.Observer, setup.options.Entropy = slog.New(p), p.Observe, p
			setup.tuning.checkpointFrames, setup.tuning.drainFrames = 10, 50
			setup.tuning.recheckEvery, setup.tuning.reportEvery = time.Millisecond, 1
			s := setup.open(t)
			send := func(reference string) error {
				_, err := s.Append(t.Context(), charges("acme", reference))
				return err
			}
			for _, statement := range []string{"COMMIT", "PRAGMA wal_checkpoint(PASSIVE)", "CONNECT"} {
				setup.faults.on("COMMIT", errIO)
				require.Error(t, send("a"))
				setup.faults.on(statement, errIO)
				for range 20 {
					_ = send("b")
				}
				setup.faults.clear()
			}
			require.NoError(t, s.Ready(t.Context()))
			end := foreignReader(t, setup.path)
			for range 200 {
				_ = send("")
			}
			if hook != "Read" {
				for s.Stats().WALBlockedSince.IsZero() {
					runtime.Gosched()
				}
			}
			end()
			err := send("c")
			require.Equal(t, hook == "Read", err != nil, "%v", err)
			require.Positive(t, p.panics.Load())
			require.NoError(t, s.Ready(t.Context()))
		})
	}
}

func TestHarmfulCheckpointWithPanickingLogger(t *testing.T) {
	setup := newSetup(t)
	setup.options.Logger = slog.New(panickingHook{"Handle", new(atomic.Int32)})
	setup.tuning.checkpointFrames = 1
	s := setup.open(t)
	setup.faults.on("PRAGMA wal_checkpoint(PASSIVE)", resultError(sqlite3.SQLITE_IOERR_WRITE))
	fresh(t, s, charges("acme", "a"))
	for s.writer.do(t.Context(), func() error { return s.writer.lastErr }) == nil {
		runtime.Gosched()
	}
	setup.faults.clear()
	replayed(t, s, charges("acme", "a"))
}
